//! What the system says of a file, by one `statx`.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Statx, StatxAttributes, StatxFlags, StatxTimestamp, statx};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::base::time::{NANOS_PER_SECOND, Timestamp};
use crate::dag::Device;
use crate::dag::node::MODE_MASK;

/// Names a file while it is there: device and inode number.
pub(crate) type Identity = (Device, u64);

/// What the system says of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status {
    pub(crate) kind: FileType,
    pub(crate) mode: u16,
    pub(crate) device: Device,
    pub(crate) inode: u64,
    pub(crate) links: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// In bytes.
    pub(crate) size: u64,
    /// Bytes that are not holes.
    pub(crate) allocated: u64,
    /// The device that a device file stands for.
    pub(crate) special: Device,
    pub(crate) mtime: Timestamp,
    pub(crate) ctime: Timestamp,
    pub(crate) atime: Timestamp,
    /// Marked by `chattr +d`.
    pub(crate) nodump: bool,
}

impl Status {
    /// Asks for the status of a name in a directory.
    pub(crate) fn of_name(directory: impl AsFd, name: impl Arg) -> Result<Self, Errno> {
        asked(directory, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Asks for the status of what a name leads to, through symlinks too.
    pub(crate) fn of_followed(directory: impl AsFd, name: impl Arg) -> Result<Self, Errno> {
        asked(directory, name, AtFlags::empty())
    }

    /// Asks for the status of an open file.
    pub(crate) fn of_file(file: impl AsFd) -> Result<Self, Errno> {
        asked(file, c"", AtFlags::EMPTY_PATH)
    }

    pub(crate) const fn identity(&self) -> Identity {
        (self.device, self.inode)
    }

    pub(crate) fn is(&self, kind: FileType) -> bool {
        self.kind == kind
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.is(FileType::Directory)
    }

    /// The word for its kind.
    pub(crate) fn kind_name(&self) -> &'static str {
        match self.kind {
            FileType::RegularFile => "file",
            FileType::Directory => "directory",
            FileType::Symlink => "symlink",
            FileType::Fifo => "fifo",
            FileType::Socket => "socket",
            _ => "device",
        }
    }

    /// What differs once the content was written to.
    pub(crate) const fn stamp(&self) -> (u64, Timestamp, Timestamp) {
        (self.size, self.mtime, self.ctime)
    }
}

fn asked(directory: impl AsFd, name: impl Arg, flags: AtFlags) -> Result<Status, Errno> {
    statx(directory, name, flags, StatxFlags::BASIC_STATS).map(Status::from)
}

impl From<Statx> for Status {
    fn from(statx: Statx) -> Self {
        Self {
            kind: FileType::from_raw_mode(statx.stx_mode.into()),
            mode: statx.stx_mode & MODE_MASK,
            device: Device { major: statx.stx_dev_major, minor: statx.stx_dev_minor },
            inode: statx.stx_ino,
            links: statx.stx_nlink,
            uid: statx.stx_uid,
            gid: statx.stx_gid,
            size: statx.stx_size,
            allocated: statx.stx_blocks.saturating_mul(512),
            special: Device { major: statx.stx_rdev_major, minor: statx.stx_rdev_minor },
            mtime: timestamp(statx.stx_mtime),
            ctime: timestamp(statx.stx_ctime),
            atime: timestamp(statx.stx_atime),
            nodump: statx.stx_attributes.contains(StatxAttributes::NODUMP),
        }
    }
}

fn timestamp(time: StatxTimestamp) -> Timestamp {
    let nanoseconds = time.tv_nsec.min(NANOS_PER_SECOND - 1);
    Timestamp::new(time.tv_sec, nanoseconds).unwrap_or_default()
}
