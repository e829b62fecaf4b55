//! The lock of the one writer: a file under `flock`, which the kernel releases
//! when its holder dies, and which says who that is.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::base::files::open_own;
use crate::base::progress::Monitor;
use crate::base::time::Timestamp;
use crate::repository::error::RepositoryError;
use crate::repository::layout::Layout;

/// Pause between two tries.
const RETRY: Duration = Duration::from_millis(100);
/// Bytes read of what the holder wrote about itself.
const HOLDER_BYTES_MAX: u64 = 512;

/// The lock, held until it is dropped.
#[derive(Debug)]
pub(crate) struct WriterLock {
    _file: File,
}

impl WriterLock {
    /// Takes the lock for `purpose` (the command's name), waiting up to `wait`.
    pub(crate) fn acquire(
        layout: &Layout,
        purpose: &str,
        wait: Duration,
        monitor: &dyn Monitor,
    ) -> Result<Self, RepositoryError> {
        let path = layout.lock();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = open_own(&mut options, &path).map_err(RepositoryError::io("open", &path))?;
        let start = Instant::now();
        let mut told = false;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(error) => return Err(RepositoryError::io("lock", &path)(error.into())),
            }
            if monitor.cancelled() {
                return Err(RepositoryError::Cancelled { path: layout.root().to_owned() });
            }
            if start.elapsed() >= wait {
                return Err(RepositoryError::Busy {
                    path: layout.root().to_owned(),
                    holder: holder(&mut file),
                    waited: format!("{:.1} s", start.elapsed().as_secs_f64()),
                });
            }
            if !told {
                monitor.warn(&format!("Waiting for the repository: {}", holder(&mut file)));
                told = true;
            }
            sleep(RETRY.min(wait));
        }
        // Who cannot be told who writes can still be told that somebody does; on a
        // full disk there may be no space even for that.
        let _ = file.set_len(0).and_then(|()| {
            let since = Timestamp::now().to_rfc3339_local();
            write!(file, "icecore {purpose} (process {}) since {since}", std::process::id())
        });
        Ok(Self { _file: file })
    }
}

/// What is said of who holds the lock, by what stands in the file, for fuzzers.
pub(crate) fn holder_in(path: &Path) -> Option<String> {
    open_own(OpenOptions::new().read(true), path).ok().map(|mut file| holder(&mut file))
}

fn holder(file: &mut File) -> String {
    let mut text = Vec::new();
    let read = file
        .seek(SeekFrom::Start(0))
        .and_then(|_| file.take(HOLDER_BYTES_MAX).read_to_end(&mut text));
    let _ = file.seek(SeekFrom::Start(0));
    match read {
        Ok(length) if length > 0 => {
            format!("{} writes to it", crate::base::name::printable(&text))
        }
        _ => "another process writes to it".to_owned(),
    }
}
