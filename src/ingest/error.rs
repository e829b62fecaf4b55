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

/// Bytes of a message that are kept of its beginning, and of its end.
const MESSAGE_HALF_BYTES: usize = 2048;

/// A path may be as long as a tree is deep; what a manifest keeps is bounded.
fn shortened(message: &str) -> String {
    if message.len() <= 2 * MESSAGE_HALF_BYTES {
        return message.to_owned();
    }
    let start = message.floor_char_boundary(MESSAGE_HALF_BYTES);
    let end = message.ceil_char_boundary(message.len() - MESSAGE_HALF_BYTES);
    let (start, end) = (message.get(..start), message.get(end..));
    format!("{} [...] {}", start.unwrap_or_default(), end.unwrap_or_default())
}

/// Source errors so far: how many, and the first messages.
#[derive(Debug, Default)]
pub(crate) struct SourceErrors {
    pub(crate) count: u64,
    pub(crate) messages: Vec<String>,
}

impl SourceErrors {
    pub(crate) fn add(&mut self, error: &SourceError, monitor: &dyn Monitor) {
        let message = shortened(&error.to_string());
        monitor.warn(&message);
        self.count += 1;
        if self.messages.len() < MANIFEST_LIST_MAX {
            self.messages.push(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::{MANIFEST_TEXT_BYTES_MAX, TREE_BYTES_MAX};
    use crate::base::progress::Silent;

    #[test]
    fn a_message_is_bounded_however_deep_the_path_that_it_names() {
        let path = "d\u{e9}/".repeat(50_000).into_bytes();
        let mut errors = SourceErrors::default();
        errors.add(&SourceError { path, problem: "cannot open it".to_owned() }, &Silent);
        let message = errors.messages.first().unwrap();
        assert!(message.len() < 5000 && message.ends_with("cannot open it"), "{message}");
        assert!(message.len() < MANIFEST_TEXT_BYTES_MAX);
        assert!(message.len() * MANIFEST_LIST_MAX < TREE_BYTES_MAX);
    }
}
