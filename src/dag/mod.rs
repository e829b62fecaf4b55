//! The metadata DAG: snapshots point to trees, trees to trees, chunk lists and
//! chunks, each by the hash of what it names.
//!
//! Purpose: the types of that graph and their canonical encodings. Everything
//! here is pure; storing is the caller's business.
//!
//! Invariants:
//! - One value has one encoding, and a decoder refuses any other: names rise
//!   strictly, numbers are in their shortest form, nothing trails.
//! - What is hashed holds only what belongs to a file's meaning: no inode
//!   number, no ctime, no device number of the source.
//! - Beside the hashed bytes a stored record carries *hints*: the sequence
//!   number of each object it names, as known when it was written. A hint is
//!   never trusted, only tried.
//!
//! Imports: `base`.

pub mod chunk_list;
pub mod content;
pub mod directory;
pub mod manifest;
pub mod node;
pub mod paging;
pub mod record;
pub mod tree;
mod xattr_classes;

#[cfg(test)]
mod tests;

pub use chunk_list::{ChunkList, ChunkListBuilder, ChunkListRef};
pub use content::{Body, Content, Segment};
pub use directory::DirectoryBuilder;
pub use manifest::{Counters, Manifest};
pub use node::{Device, Entry, Kind, LinkGroup, Node, Owner, Xattr};
pub use record::{DagError, Hint, Record};
pub use tree::{Branch, Totals, Tree, TreeRef};
pub use xattr_classes::XattrClasses;
