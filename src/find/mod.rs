//! Finding files in many snapshots at once.
//!
//! Purpose: [`search`] goes through any number of snapshots together and tells
//! every distinct version of every file that fits [`Criteria`], in the order of
//! paths; [`versions`] does so for one path.
//!
//! Invariants:
//! - A page of a directory is read once, however many snapshots hold it at that
//!   place: ten snapshots of the same files cost as much as one.
//! - Memory is the distinct entries of one page for each directory on the way
//!   down, and for each distinct large directory the page above.
//! - What cannot be read for damage is told with its path, and passed over.
//!
//! Imports: `base`, `dag`, `patterns`, `repository`.

mod criteria;
mod error;
mod pattern;
mod search;
mod union;
mod versions;

#[cfg(test)]
mod tests;

pub use criteria::{Criteria, OwnerName, SizeRange, kind_letter};
pub use error::FindError;
pub use pattern::FilePatterns;
pub use search::{Found, Report, search};
pub use union::{Damage, Version};
pub use versions::{History, versions};
