//! What the formats have in common: an entry on its way into an archive, and
//! one that was found in one.

use std::io;
use std::sync::Arc;

use crate::archive::tar::Extent;
use crate::base::time::Timestamp;
use crate::dag::{Device, LinkGroup, Node, Xattr};

/// An entry to write.
pub(super) struct Entry<'a> {
    /// Its path in the archive.
    pub(super) path: &'a [u8],
    pub(super) node: &'a Node,
    /// The path of the file that it is another link of.
    pub(super) link: Option<&'a [u8]>,
}

/// Writes entries in one format: `begin`, then all data and holes of a regular
/// file in order, then `end`.
pub(super) trait FormatWriter {
    /// Begins an entry. `extents` says where the data of a file with holes lies.
    fn begin(&mut self, entry: &Entry<'_>, extents: Option<&[Extent]>) -> io::Result<()>;

    /// The next bytes of the file.
    fn data(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The next hole of the file.
    fn hole(&mut self, bytes: u64) -> io::Result<()>;

    /// Ends the entry.
    fn end(&mut self) -> io::Result<()>;
}

/// An entry that was found. Its content is read behind it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Its path as it stands in the archive, without `.` and empty names.
    pub(super) path: Vec<u8>,
    pub(super) kind: FoundKind,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) user: Vec<u8>,
    pub(super) group: Vec<u8>,
    pub(super) mtime: Timestamp,
    pub(super) atime: Option<Timestamp>,
    /// By rising names; entries may share a list.
    pub(super) xattrs: Arc<[Xattr]>,
    /// The links that the file had and their group, where the archive says so.
    pub(super) links: Option<LinkGroup>,
    pub(super) changed_while_read: bool,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FoundKind {
    /// A regular file: its size, and where its data lies if it has holes.
    File {
        size: u64,
        extents: Option<Vec<Extent>>,
    },
    /// Another link of the file with that path.
    HardLink(Vec<u8>),
    Symlink(Vec<u8>),
    Directory,
    Fifo,
    CharDevice(Device),
    BlockDevice(Device),
}
