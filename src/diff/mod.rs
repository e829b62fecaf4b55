//! How two trees differ: two snapshots, or a snapshot and a live directory.
//!
//! Purpose: [`Comparison::tell`] tells every difference in the order of paths:
//! what was added, removed, modified (and in what), renamed.
//!
//! Invariants:
//! - Subtrees and pages that two snapshots have in common are never read: a
//!   comparison costs what changed. No content of a snapshot is read to compare
//!   it with another one.
//! - Differences of two snapshots are those that `changes/A..B` of a mount shows:
//!   all that is kept counts, but for the mtime of a directory. What was a
//!   directory and is none now, or the other way round, is removed and added.
//! - A live directory is read by names in open directories, without following
//!   symlinks. What cannot be read there is a problem that is told.
//! - Memory is a page of entries, or the names of a live directory, for each level,
//!   and a bounded number of differences that wait for renames.
//!
//! Imports: `base`, `dag`, `patterns`, `repository`.

mod change;
mod comparison;
mod content;
mod content_keys;
mod error;
mod fields;
mod live;
mod live_content;
mod moved;
mod pairs;
mod renames;
mod side;
mod text;

#[cfg(test)]
mod tests;

pub use change::{
    Change, ChangeClass, Difference, DirectoryContent, Field, FileContent, Item, ItemKind, Links,
    Summary, Tally,
};
pub use comparison::{Comparison, DiffOptions, Root};
pub use content::ContentError;
pub use error::DiffError;
pub use renames::{Listing, Told, VisitDifference};
pub use text::{is_binary, write_unified};
