//! Makes a repository of many snapshots, for measurements of what grows with
//! their number: copies of the newest snapshot's manifest, an hour apart each.
//!
//! ```sh
//! cargo bench --bench many_snapshots -- REPOSITORY COUNT
//! ```

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use icecore::base::progress::Monitor;
use icecore::base::time::Timestamp;
use icecore::repository::Writer;

/// Bytes of small files that are joined at once, as behind a `create`.
const JOINED_BYTES: u64 = 64 << 20;
/// Snapshots between two joinings.
const JOIN_INTERVAL: i64 = 16;

struct Silent;

impl Monitor for Silent {}

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds an option of its own.
    let mut arguments = std::env::args_os().skip(1).filter(|argument| argument != "--bench");
    let (Some(path), Some(count)) = (arguments.next().map(PathBuf::from), arguments.next()) else {
        return Err("REPOSITORY and COUNT are needed".into());
    };
    let count: i64 = count.to_str().ok_or("COUNT is no number")?.parse()?;
    let writer = Writer::open(&path, None, "benchmark", Duration::from_secs(60), &Silent)?;
    let newest = writer.snapshots()?.pop().ok_or("the repository has no snapshot")?.1;
    for index in 1..=count {
        let seconds = newest.time.seconds() + index * 3600;
        let mut manifest = newest.clone();
        manifest.time = Timestamp::new(seconds, 0).ok_or("too many snapshots")?;
        writer.begin()?.commit(&manifest)?;
        if index % JOIN_INTERVAL == 0 {
            writer.merge_small_files(JOINED_BYTES)?;
        }
    }
    writer.close()?;
    Ok(())
}
