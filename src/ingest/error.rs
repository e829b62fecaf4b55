//! What can go wrong: with a source, with the repository, or on request.

use std::io;

use crate::base::limits::MANIFEST_LIST_MAX;
use crate::base::name::printable;
use crate::base::progress::Monitor;
use crate::repository::RepositoryError;

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The repository failed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// No source could be read at all.
    #[error("Nothing to save: {0}")]
    NoSource(String),
    /// A text exceeds what a snapshot can hold.
    #[error("{what} exceeds its limit of {max}")]
    TooLong {
        /// Which text.
        what: &'static str,
        /// Its limit.
        max: usize,
    },
    /// A thread ended in a way that it never should.
    #[error("Internal error: {0}")]
    Internal(&'static str),
    /// It was cancelled.
    #[error("Cancelled; no snapshot was made, and `icecore gc` removes what was stored so far")]
    Cancelled,
}

impl IngestError {
    /// The repository's part in it, if it has one.
    #[must_use]
    pub const fn repository(&self) -> Option<&RepositoryError> {
        match self {
            Self::Repository(error) => Some(error),
            _ => None,
        }
    }
}

/// A source item that could not be read whole. Never fatal.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", printable(path))]
pub struct SourceError {
    /// The item's path as it was reached.
    pub path: Vec<u8>,
    /// What is wrong with it.
    pub problem: String,
}

impl SourceError {
    /// Describes a failed system call.
    pub(crate) fn io(path: &[u8], action: &str, error: impl Into<io::Error>) -> Self {
        let error = error.into();
        let problem = match error.kind() {
            io::ErrorKind::NotFound => "vanished before it could be saved".to_owned(),
            _ => format!("cannot {action}: {}", describe(&error)),
        };
        Self { path: path.to_vec(), problem }
    }
}

/// The system's words without the number behind them.
fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// Source errors so far: how many, and the first messages.
#[derive(Debug, Default)]
pub(crate) struct SourceErrors {
    pub(crate) count: u64,
    pub(crate) messages: Vec<String>,
}

impl SourceErrors {
    pub(crate) fn add(&mut self, error: &SourceError, monitor: &dyn Monitor) {
        let message = error.to_string();
        monitor.warn(&message);
        self.count += 1;
        if self.messages.len() < MANIFEST_LIST_MAX {
            self.messages.push(message);
        }
    }
}
