//! The audit log: what was done to a repository, by whom, in a chain of hashes.
//!
//! Purpose: [`AuditLog`] appends events to the files below `<repository>/log`,
//! shows them, proves that the chain is unbroken, and removes the oldest ones.
//! It is no part of the store, and no promise about snapshots rests on it.
//!
//! Invariants:
//! - Each event holds the hash of the one before it; its own hash covers all that
//!   stands in its line. Numbers rise by one.
//! - Events are appended under `flock` of `log/lock`, whole and synced, to the
//!   last segment only. Segments before the last one are never written again.
//! - What an append that was cut off has left is declared by the event behind it;
//!   nothing else between two events is accepted.
//! - Readers take no lock.
//!
//! - In an encrypted repository no event tells a name, a path or a tag in the clear.
//!
//! Imports: `base`, `crypto`, and of `repository` where its files are.

mod anchor;
mod append;
mod backwards;
mod details;
mod error;
mod event;
mod follow;
mod prune;
mod query;
mod segment;
mod tail;
mod verify;

/// Understands a line of the log, if it is an event, for `crate::fuzzing`.
pub(crate) fn parse_line(line: &[u8]) -> bool {
    event::Event::parse(line).map(|event| (event.computed(), event.time())).is_ok()
}

/// The line of an event with its details in the clear, if it is one and they are sealed
/// with that key, for `crate::fuzzing`.
pub(crate) fn unsealed_line(line: &[u8], key: &crate::crypto::SealingKey) -> Option<String> {
    Some(event::Event::parse(line).ok()?.unsealed(key)?.line().to_owned())
}

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use anchor::Anchor;
pub use append::Rotation;
pub use details::Details;
pub use error::AuditError;
pub use event::{Actor, Event, EventKind, Record, Subject, Torn};
pub use follow::Follower;
pub use prune::{Pruned, Retention};
pub use query::{Filter, Query};
pub use verify::{Break, TornText, Verification};

use crate::repository::Layout;

/// The audit log of one repository.
#[derive(Clone, Debug)]
pub struct AuditLog {
    layout: Layout,
    directory: PathBuf,
    rotation: Rotation,
}

impl AuditLog {
    /// Returns the log of a repository, whether there is one yet or not.
    #[must_use]
    pub fn new(layout: &Layout) -> Self {
        let rotation = Rotation::default();
        Self { layout: layout.clone(), directory: layout.log(), rotation }
    }

    /// Returns the same log with other bounds on a segment.
    #[must_use]
    pub fn with_rotation(mut self, rotation: Rotation) -> Self {
        self.rotation = rotation;
        self
    }

    /// Whether there is anything of a log.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.directory.is_dir()
    }
}
