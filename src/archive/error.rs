//! What can go wrong with an archive.

use std::io;
use std::path::Path;

use crate::base::format::system_words;
use crate::base::name::printable;
use crate::repository::RepositoryError;

/// A failure of writing or reading an archive. Failures of the repository have a
/// type of their own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The repository failed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A file of a snapshot is damaged.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// The file's path, as printable text.
        path: String,
        /// What is damaged.
        source: RepositoryError,
    },
    /// What an archive is written to cannot be.
    #[error("The archive cannot be written: {}", system_words(.0))]
    Output(io::Error),
    /// A file outside of the repository cannot be used.
    #[error("Cannot {action} {path}: {}", system_words(source))]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file, as printable text.
        path: String,
        /// The system's words.
        source: io::Error,
    },
    /// An archive or an event log is not what was written.
    #[error("{archive} is damaged{place}: {detail}; nothing was imported")]
    Damaged {
        /// The archive, as printable text.
        archive: String,
        /// Where in it, with a blank before; or nothing.
        place: String,
        /// What is wrong.
        detail: String,
    },
    /// An archive holds what no tree may.
    #[error("{archive} is refused: {detail}; nothing was imported")]
    Unsafe {
        /// The archive, as printable text.
        archive: String,
        /// What it holds.
        detail: String,
    },
    /// The format cannot hold what is to be written.
    #[error("{0}")]
    Unsuited(String),
    /// A file of that name is there already.
    #[error("{path} is there already; nothing was written")]
    Occupied {
        /// The file, as printable text.
        path: String,
    },
    /// An event log makes no sense.
    #[error("The event log {path} cannot be exported: {detail}")]
    EventLog {
        /// The log, as printable text.
        path: String,
        /// What is wrong.
        detail: String,
    },
    /// It was cancelled.
    #[error("Cancelled; nothing was kept")]
    Cancelled,
    /// A contradiction in this program.
    #[error("Internal error: {0}")]
    Internal(&'static str),
}

impl ArchiveError {
    /// Wraps an I/O error with what was being done to which file.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = printable(path.as_os_str().as_encoded_bytes());
        move |source| Self::Io { action, path, source }
    }
}
