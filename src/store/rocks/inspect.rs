//! Looking at the engine's files before anything relies on them.
//!
//! A secondary instance that meets a missing file shows the last state in which
//! every file was there: snapshots vanish without a word. So the files that the
//! manifest names are looked for first.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread::sleep;

use rocksdb::{DB, LiveFile, Options};

use crate::store::rocks::errors::{twice, unreadable};
use crate::store::rocks::{READER_RETRY, READER_TRIES, database_options, descriptors};
use crate::store::{StoreError, StoreFault};

/// Files that are opened to read the manifest; the engine opens no fewer.
const OPEN_FILES: i32 = 16;

/// Lists the files that the manifest names and that are missing or of a wrong
/// size. What a writer beside this replaces is none of them.
///
/// # Errors
/// Fails if the manifest cannot be read.
pub(super) fn faults(path: &Path) -> Result<Vec<StoreFault>, StoreError> {
    let mut before = None;
    loop {
        let found = look(path)?;
        // A writer may have removed a file between two steps; then the next
        // manifest does not name it.
        let names: BTreeSet<_> = found.iter().map(|fault| fault.file.clone()).collect();
        if names.is_empty() || before.as_ref() == Some(&names) {
            return Ok(found);
        }
        before = Some(names);
        sleep(READER_RETRY);
    }
}

fn look(path: &Path) -> Result<Vec<StoreFault>, StoreError> {
    let mut faults = Vec::new();
    for file in live_files(path)? {
        let name = file.name.trim_start_matches('/').to_owned();
        let detail = match fs::metadata(path.join(&name)) {
            Ok(metadata) if metadata.len() == file.size as u64 => continue,
            Ok(metadata) => format!("it has {} bytes instead of {}", metadata.len(), file.size),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                "it is missing".to_owned()
            }
            Err(error) => error.to_string(),
        };
        faults.push(StoreFault {
            file: name,
            family: file.column_family_name,
            first: file.start_key.unwrap_or_default(),
            last: file.end_key.unwrap_or_default(),
            detail,
        });
    }
    Ok(faults)
}

/// Lists the files that the manifest names.
///
/// # Errors
/// Fails if the manifest cannot be read.
pub(super) fn live_files(path: &Path) -> Result<Vec<LiveFile>, StoreError> {
    let mut tries = 1;
    loop {
        let mut options = database_options();
        options.set_max_open_files(OPEN_FILES);
        options.set_max_file_opening_threads(1);
        options.set_paranoid_checks(false);
        let opened = DB::open_cf_descriptors_read_only(&options, path, descriptors().0, false);
        match opened.and_then(|db| db.live_files()) {
            Ok(files) => return Ok(files),
            Err(_) if tries < READER_TRIES => {
                tries += 1;
                sleep(READER_RETRY);
            }
            Err(error) => return Err(unreadable("opening the store")(error)),
        }
    }
}

/// Opens a store that lacks files, for reading what is there.
///
/// # Errors
/// Fails if the manifest cannot be read.
pub(super) fn open_damaged(path: &Path) -> Result<(DB, Options), StoreError> {
    let mut options = database_options();
    options.set_paranoid_checks(false);
    let bulk_options = descriptors().1;
    let open = || DB::open_cf_descriptors_read_only(&options, path, descriptors().0, false);
    Ok((twice(open).map_err(unreadable("opening the store"))?, bulk_options))
}
