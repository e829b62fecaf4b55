//! A repository that somebody else made, before anything opens its store.
//!
//! Imports: `base`, `store`.

use std::ops::ControlFlow;

use crate::base::progress::Monitor;
use crate::repository::error::RepositoryError;
use crate::repository::layout::Layout;
use crate::store::rocks::tables::{TableFault, faults};

impl Layout {
    /// Reads every table of the store, and returns those that can lead whatever opens
    /// them out of its memory. Nothing is opened by the engine or written. Ends early if
    /// `monitor` is cancelled.
    ///
    /// # Errors
    /// Fails if parts of the repository lie elsewhere, or a directory cannot be listed.
    pub fn forged_tables(&self, monitor: &dyn Monitor) -> Result<Vec<TableFault>, RepositoryError> {
        self.check_places()?;
        let mut found = Vec::new();
        // A repair opens the second one if the first is lost.
        for directory in [self.db(), self.rebuilt()] {
            let looked = faults(&directory, &mut |_, bytes| {
                monitor.advance(1, bytes);
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
