//! What can go wrong: with the target, with the repository, or on request.

use std::io;
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;

use crate::base::format::system_words;
use crate::base::name::printable;
use crate::base::progress::Monitor;
use crate::repository::RepositoryError;

/// Messages that a report keeps.
const MESSAGES_MAX: usize = 1000;
/// Bytes of a path in a message that are kept of its beginning, and of its end.
const PATH_HALF_BYTES: usize = 1024;

/// Why a restore ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The repository failed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The target as a whole cannot be used.
    #[error("Cannot {action} {path}: {}", system_words(source))]
    Target {
        /// What was being done.
        action: &'static str,
        /// Where.
        path: String,
        /// The system's words.
        source: io::Error,
    },
    /// The target's file system is full.
    #[error(
        "There is no space left in {path}. What is there is whole; free some space and run the \
         same command again, which goes on from there"
    )]
    Full {
        /// The target.
        path: String,
    },
    /// The process may not open more files.
    #[error("Too many open files at {path}; raise the limit (`ulimit -n`) and run it again")]
    Descriptors {
        /// Where it was.
        path: String,
    },
    /// It would harm what it must not.
    #[error("{0}")]
    Refused(String),
    /// Another process restores into the same target.
    #[error("Another restore works in {path}; wait for its end")]
    Busy {
        /// The target.
        path: String,
    },
    /// A thread ended in a way that it never should.
    #[error("Internal error: {0}")]
    Internal(&'static str),
    /// It was cancelled.
    #[error("Cancelled; what is there is whole, and the same command goes on from there")]
    Cancelled,
}

impl RestoreError {
    /// Wraps what the system says of the target as a whole.
    pub(super) fn target(action: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> Self {
        let path = shown(path);
        move |source| Self::Target { action, path, source: source.into() }
    }
}

/// Why one item could not be restored.
#[derive(Debug)]
pub(super) enum ItemError {
    /// It could not be read from the repository.
    Repository(RepositoryError),
    /// The target refused.
    Target { action: &'static str, source: Errno },
    /// Anything else.
    Problem(String),
    /// It is time to stop.
    Stopped,
}

impl From<RepositoryError> for ItemError {
    fn from(error: RepositoryError) -> Self {
        Self::Repository(error)
    }
}

impl ItemError {
    /// Wraps what the system says of an item of the target.
    pub(super) fn target(action: &'static str) -> impl FnOnce(Errno) -> Self {
        move |source| Self::Target { action, source }
    }

    /// What is wrong, behind the item's path.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Repository(error) => error.to_string(),
            Self::Target { action, source } => {
                let hint = match *source {
                    Errno::PERM if rustix::process::geteuid().is_root() => {
                        " (immutable, perhaps: see lsattr)"
                    }
                    _ => "",
                };
                format!("cannot {action}: {}{hint}", system_words(&(*source).into()))
            }
            Self::Problem(text) => text.clone(),
            Self::Stopped => "not reached".to_owned(),
        }
    }
}

/// A path for a message: a tree may be deeper than a line is long.
pub(super) fn shown(path: &[u8]) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    if path.len() <= 2 * PATH_HALF_BYTES {
        return printable(path);
    }
    let (start, rest) = path.split_at_checked(PATH_HALF_BYTES).unwrap_or((path, &[]));
    let end = rest.get(rest.len().saturating_sub(PATH_HALF_BYTES)..).unwrap_or_default();
    format!("{}[...]{}", printable(start), printable(end))
}

/// What could not be restored so far, from whichever thread meets it: how much,
/// and the first messages.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Mutex<(u64, Vec<String>)>,
}

impl Problems {
    pub(super) fn add(&self, path: &[u8], problem: &str, monitor: &dyn Monitor) {
        let message = format!("{}: {problem}", shown(path));
        monitor.problem(&message);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.0 += 1;
        if found.1.len() < MESSAGES_MAX {
            found.1.push(message);
        }
    }

    /// How many there were, and the first messages.
    pub(super) fn take(&self) -> (u64, Vec<String>) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
