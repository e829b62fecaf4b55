//! Every bound in one table.
//!
//! A length that comes from a disk or a peer is checked against a constant of
//! this module before anything is allocated for it.

/// Bytes of a file name, as on every Linux file system.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes of a symlink target: `PATH_MAX` without its NUL.
pub const SYMLINK_BYTES_MAX: usize = 4095;
/// Bytes of one extended attribute's name.
pub const XATTR_NAME_BYTES_MAX: usize = 255;
/// Bytes of one extended attribute's value (`XATTR_SIZE_MAX`).
pub const XATTR_VALUE_BYTES_MAX: usize = 64 << 10;
/// Bytes of the names of one file's extended attributes, each with a NUL: of more, Linux
/// does not tell (`XATTR_LIST_MAX`).
pub const XATTR_LIST_BYTES_MAX: usize = 64 << 10;
/// Bytes of all extended attributes of one file together.
pub const XATTR_TOTAL_BYTES_MAX: usize = 1 << 20;
/// Bytes of a user's, group's or host's name.
pub const LABEL_BYTES_MAX: usize = 256;
/// Bytes of content kept inside a directory entry instead of a chunk.
pub const INLINE_CONTENT_BYTES_MAX: usize = 256;
/// Segments (chunks and holes) of a file kept inside its directory entry.
pub const INLINE_SEGMENTS_MAX: usize = 16;
/// Plain bytes of a chunk: the largest size that a repository may configure.
pub const CHUNK_BYTES_MAX: usize = 8 << 20;
/// Plain bytes of a stored tree, chunk list or manifest.
pub const TREE_BYTES_MAX: usize = 8 << 20;
/// Encoded bytes after which a page of a directory is closed.
pub const TREE_PAGE_BYTES_SOFT: usize = 1 << 20;
/// Fewest items of a page that is not the last one.
pub const TREE_PAGE_ITEMS_MIN: usize = 512;
/// Mean distance of content-defined page boundaries behind the fewest items.
pub const TREE_PAGE_ITEMS_SPREAD: u64 = 512;
/// Most items of a page.
pub const TREE_PAGE_ITEMS_MAX: usize = 2048;
/// Levels of index pages over the pages of a directory or a chunk list.
pub const TREE_LEVELS_MAX: u8 = 8;
/// Levels of directories below a source. A path of `PATH_MAX` bytes has fewer.
pub const DIRECTORY_DEPTH_MAX: usize = 4096;
/// Levels of directories in a snapshot: those below a source, and those of the
/// path under which it is kept. Nothing deeper is looked into.
pub const TREE_DEPTH_MAX: usize = 2 * DIRECTORY_DEPTH_MAX;
/// Bytes of a repository's `config` file.
pub const CONFIG_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a lease file.
pub const LEASE_BYTES_MAX: u64 = 4 << 20;
/// Bytes of one event's line in the audit log.
pub const EVENT_BYTES_MAX: usize = 1 << 20;
/// Bytes of the audit log's `anchor.json`.
pub const ANCHOR_BYTES_MAX: u64 = 64 << 10;
/// Sources, tags, exclusions or listed errors of one manifest.
pub const MANIFEST_LIST_MAX: usize = 1000;
/// Bytes of one text of a manifest.
pub const MANIFEST_TEXT_BYTES_MAX: usize = 64 << 10;

const _: () = assert!(INLINE_CONTENT_BYTES_MAX < CHUNK_BYTES_MAX);
const _: () = assert!(TREE_PAGE_ITEMS_MIN < TREE_PAGE_ITEMS_MAX);
const _: () = assert!(TREE_PAGE_BYTES_SOFT + 2 * XATTR_TOTAL_BYTES_MAX < TREE_BYTES_MAX);
