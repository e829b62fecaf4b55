//! What can go wrong: with a source, with the repository, or on request.

use std::io;
use std::sync::{Mutex, PoisonError};

use crate::base::format::system_words;
use crate::base::limits::MANIFEST_LIST_MAX;
use crate::base::name::printable;
use crate::base::progress::Monitor;
use crate::patterns::PatternError;
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
    /// A pattern makes no sense.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// The stream to save did not come to a good end.
    #[error("{0}; no snapshot was made")]
    Stream(String),
    /// What is remembered of the sources does not fit the repository. Never
    /// leaves this layer: everything is read again instead.
    #[error("What is remembered of the sources does not fit the repository ({0})")]
    Stale(String),
    /// It was cancelled.
    #[error(
        "Cancelled; no snapshot was made. The next `icecore create` goes on from what was stored \
         so far, `icecore gc` removes it"
    )]
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

/// Says what could not be done to an item, and why.
pub(crate) fn problem(action: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "vanished before it could be saved".to_owned(),
        _ => format!("cannot {action}: {}", system_words(error)),
    }
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

/// Source errors so far, from whichever thread meets them: how many, and the
/// first messages.
#[derive(Debug, Default)]
pub(crate) struct SourceErrors {
    found: Mutex<(u64, Vec<String>)>,
}

impl SourceErrors {
    pub(crate) fn add(&self, path: &[u8], problem: &str, monitor: &dyn Monitor) {
        let error = SourceError { path: path.to_vec(), problem: problem.to_owned() };
        let message = shortened(&error.to_string());
        monitor.problem(&message);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.0 += 1;
        if found.1.len() < MANIFEST_LIST_MAX {
            found.1.push(message);
        }
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// The first messages.
    pub(crate) fn messages(&self) -> Vec<String> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
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
        let errors = SourceErrors::default();
        errors.add(&path, "cannot open it", &Silent);
        let message = &errors.messages()[0];
        assert!(message.len() < 5000 && message.ends_with("cannot open it"), "{message}");
        assert!(message.len() < MANIFEST_TEXT_BYTES_MAX);
        assert!(message.len() * MANIFEST_LIST_MAX < TREE_BYTES_MAX);
    }
}
