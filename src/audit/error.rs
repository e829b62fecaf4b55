//! What can go wrong with the audit log.

use std::io;
use std::path::PathBuf;

use crate::crypto::RandomnessError;

/// A failure of the audit log. It never makes anything else fail.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// There is no repository that the log could belong to.
    #[error("There is no repository at {path:?}; `icecore init` makes one")]
    NoRepository {
        /// Where one was looked for.
        path: PathBuf,
    },
    /// An event cannot be named.
    #[error("Cannot go on: {0}")]
    Randomness(#[from] RandomnessError),
    /// A file of the log cannot be used.
    #[error("Cannot {action} {path:?}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Another process holds the log's lock.
    #[error("Another process holds {path:?}; waited {seconds} s")]
    Busy {
        /// The lock.
        path: PathBuf,
        /// How long.
        seconds: u64,
    },
    /// An event exceeds what a line may hold.
    #[error("An event of {bytes} bytes is too large to be logged")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The log cannot be continued or understood.
    #[error("The audit log is damaged at {path:?}: {detail}; `icecore log verify` says more")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
}

impl AuditError {
    /// Wraps an I/O error with what was being done to which file.
    pub(super) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// Whether the medium is read-only, so that nothing can change there.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(self, Self::Io { source, .. }
            if source.kind() == io::ErrorKind::ReadOnlyFilesystem)
    }
}
