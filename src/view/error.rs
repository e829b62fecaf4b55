//! Why something in the view cannot be had.

use crate::base::name::printable;
use crate::repository::RepositoryError;

/// A failure of the view.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The repository failed. Shared, since several readers may wait for the
    /// same object.
    #[error("{0}")]
    Repository(std::sync::Arc<RepositoryError>),
    /// A tree says of itself what is not so.
    #[error("Damage: {0}")]
    Inconsistent(String),
    /// Nothing has that path.
    #[error("There is no {} in snapshot {snapshot}", printable(path))]
    NotFound {
        /// The path inside the snapshot.
        path: Vec<u8>,
        /// The snapshot's short id.
        snapshot: String,
    },
    /// A path leads through something that is no directory.
    #[error("{} in snapshot {snapshot} is no directory", printable(path))]
    NotADirectory {
        /// The path inside the snapshot.
        path: Vec<u8>,
        /// The snapshot's short id.
        snapshot: String,
    },
}

impl ViewError {
    /// The repository's part in it, if it has one.
    #[must_use]
    pub fn repository(&self) -> Option<&RepositoryError> {
        match self {
            Self::Repository(error) => Some(error),
            _ => None,
        }
    }

    /// Whether stored bytes are missing or wrong, or the disk does not give them.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Repository(error) => error.is_loss(),
            Self::Inconsistent(_) => true,
            Self::NotFound { .. } | Self::NotADirectory { .. } => false,
        }
    }
}

impl From<RepositoryError> for ViewError {
    fn from(error: RepositoryError) -> Self {
        Self::Repository(std::sync::Arc::new(error))
    }
}
