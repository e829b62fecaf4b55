//! A repository that somebody else made, before anything opens its store.
//!
//! Imports: `base`, `store`.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use crate::base::progress::Monitor;
use crate::repository::error::RepositoryError;
use crate::repository::layout::Layout;
use crate::store::rocks::untrusted::{ForgedFile, forged_files};

impl Layout {
    /// Reads every file of the store, and returns those that can lead whatever opens them
    /// out of its memory. Nothing is opened by the engine or written. Ends early if
    /// `monitor` is cancelled.
    ///
    /// # Errors
    /// Fails if parts of the repository lie elsewhere, or a directory cannot be listed.
    pub fn forged_files(&self, monitor: &dyn Monitor) -> Result<Vec<ForgedFile>, RepositoryError> {
        self.check_places()?;
        let mut found = Vec::new();
        // A repair opens the second one if the first is lost.
        let directories = [self.db(), self.rebuilt()];
        let bytes = directories.iter().map(|path| bytes_in(path)).fold(0, u64::saturating_add);
        monitor.begin("files", 0, bytes);
        for directory in directories {
            let looked = forged_files(&directory, &mut |_, bytes| {
                monitor.advance(0, bytes);
                if monitor.cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            match looked {
                Ok(faults) => found.extend(faults),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(RepositoryError::io("list", directory)(error)),
            }
        }
        Ok(found)
    }
}

/// The bytes of all files in a directory, as far as they can be told.
fn bytes_in(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries.filter_map(|entry| entry.metadata().ok());
    files.map(|metadata| metadata.len()).fold(0, u64::saturating_add)
}
