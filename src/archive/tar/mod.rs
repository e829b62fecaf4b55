//! The tar format: POSIX pax, with what GNU tar and star add for attributes,
//! ACLs and holes.
//!
//! Purpose: [`TarWriter`] and [`TarReader`], both streaming. They are our own
//! because the crate for it neither reads nor writes holes in the pax form
//! (`GNU.sparse.*`), and because one parser with one length field is what keeps
//! an archive from showing other members to us than to others.
//!
//! Invariants:
//! - A length is checked before anything is allocated for it.
//! - What does not make sense is damage, never skipped over.
//!
//! Sources: POSIX.1-2017 `pax`; the GNU tar manual, "Storing Sparse Files"; the
//! `star(5)` manual for `SCHILY.*`.

mod acl;
mod header;
mod pax;
mod reader;
mod sparse;
mod writer;

#[cfg(test)]
mod tests;

pub(super) use reader::{TarError, TarReader};
pub(super) use sparse::{EXTENTS_MAX, Extent};
pub(super) use writer::TarWriter;

/// Bytes of a block.
pub(super) const BLOCK: usize = 512;
/// Bytes of the extended headers of a member at most: all attributes of a file, its
/// names and some numbers.
const PAX_BYTES_MAX: u64 = 4 << 20;
/// Bytes of the records that hold for all members, at most, and of the attributes
/// among them: they count for every one.
const GLOBAL_BYTES_MAX: usize = 64 << 10;
const GLOBAL_XATTR_BYTES_MAX: usize = 4 << 10;

/// The bytes that fill up the last block of so many.
const fn padding(bytes: u64) -> usize {
    let rest = (bytes % BLOCK as u64) as usize;
    (BLOCK - rest) % BLOCK
}
