//! Going through snapshots in the order of names, without caches.
//!
//! Purpose: what the verbs that read whole trees share: a position in a
//! directory ([`DirectoryCursor`]), a walk over everything below one
//! ([`TreeWalk`]), the segments and bytes of a file, a node by its path, and one
//! path in many snapshots ([`PathTrail`]). Who jumps
//! back and forth, as a mount does, uses the cached `view` instead.
//!
//! Invariants:
//! - Memory is one page of entries for each directory on the way down, however
//!   many entries there are.
//! - A page that contradicts what refers to it is damage, never followed.
//!
//! Imports: `base`, `dag`, and the repository's objects.

mod content;
mod cursor;
mod path;
mod segments;
mod trail;
mod walk;

#[cfg(test)]
mod tests;

pub use content::VisitBytes;
pub use cursor::DirectoryCursor;
pub use segments::VisitSegment;
pub use trail::{Held, Met, PathTrail};
pub use walk::{Step, TreeWalk};
