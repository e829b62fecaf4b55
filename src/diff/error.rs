//! What can end a comparison.

use std::io;

use crate::base::name::printable;
use crate::repository::RepositoryError;

/// A failure that ends a comparison. What cannot be read of a live directory is
/// a problem that is told, and the comparison goes on.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// The repository failed, or a snapshot is damaged.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The live directory itself cannot be opened.
    #[error("Cannot open {}: {source}", printable(path))]
    Live {
        /// Which one.
        path: Vec<u8>,
        /// The system's words.
        source: io::Error,
    },
    /// Whoever asked has asked to stop.
    #[error("Cancelled")]
    Cancelled,
}
