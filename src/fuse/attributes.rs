//! Attributes as the kernel wants them.

use std::time::SystemTime;

use fuser::{FileAttr, FileType, INodeNo};

use crate::base::time::Timestamp;
use crate::dag::{Device, Kind, Node};
use crate::view::Guard;

/// Bytes that tools should read at once.
const BLOCK_BYTES: u32 = 4096;

/// Who owns the directories that exist only in the mount.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MountOwner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The attributes of a node under an inode number.
pub(crate) fn of_node(number: u64, node: &Node) -> FileAttr {
    let mtime = node.mtime.to_system_time();
    let (blocks, rdev) = match &node.kind {
        Kind::File(content) => (content.blocks(), 0),
        Kind::Directory(_) => (u64::from(BLOCK_BYTES / 512), 0),
        Kind::BlockDevice(device) | Kind::CharDevice(device) => (0, encode_device(*device)),
        Kind::Symlink(_) | Kind::Fifo | Kind::Socket => (0, 0),
    };
    FileAttr {
        ino: INodeNo(number),
        size: node.size(),
        blocks,
        atime: node.atime.map_or(mtime, Timestamp::to_system_time),
        mtime,
        ctime: mtime,
        crtime: mtime,
        kind: file_type(&node.kind),
        perm: node.mode,
        nlink: node.link_count(),
        uid: node.owner.uid,
        gid: node.owner.gid,
        rdev,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

/// The attributes of something that exists only in the mount.
pub(crate) fn of_mount(
    number: u64,
    kind: FileType,
    size: u64,
    nlink: u32,
    changed: SystemTime,
    owner: MountOwner,
) -> FileAttr {
    FileAttr {
        ino: INodeNo(number),
        size,
        blocks: 0,
        atime: changed,
        mtime: changed,
        ctime: changed,
        crtime: changed,
        kind,
        perm: if kind == FileType::Symlink { 0o777 } else { 0o555 },
        nlink,
        uid: owner.uid,
        gid: owner.gid,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

/// The attributes of a directory under the permissions that guard it.
pub(crate) fn guarded(attributes: FileAttr, guard: &Guard, mounter: MountOwner) -> FileAttr {
    let (uid, gid) = guard.owner.unwrap_or((mounter.uid, mounter.gid));
    FileAttr { perm: guard.mode, uid, gid, ..attributes }
}

pub(crate) const fn file_type(kind: &Kind) -> FileType {
    match kind {
        Kind::File(_) => FileType::RegularFile,
        Kind::Directory(_) => FileType::Directory,
        Kind::Symlink(_) => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::BlockDevice(_) => FileType::BlockDevice,
        Kind::CharDevice(_) => FileType::CharDevice,
    }
}

/// The kernel's 32 bits of a device: 12 of the major and 20 of the minor number
/// (`new_encode_dev` in Linux).
const fn encode_device(device: Device) -> u32 {
    (device.minor & 0xff) | (device.major & 0xfff) << 8 | (device.minor & 0xf_ff00) << 12
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_encoded_as_the_kernel_decodes_them() {
        // new_decode_dev: major = (dev & 0xfff00) >> 8,
        // minor = (dev & 0xff) | ((dev >> 12) & 0xfff00).
        for (major, minor) in [(8, 1), (259, 70_000), (4095, 0xf_ffff), (0, 0)] {
            let encoded = encode_device(Device { major, minor });
            assert_eq!((encoded & 0xf_ff00) >> 8, major);
            assert_eq!((encoded & 0xff) | (encoded >> 12 & 0xf_ff00), minor);
        }
    }
}
