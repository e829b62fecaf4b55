//! One file at a time: the makers from which trees are built.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat,
    lsetxattr, mkdirat, mknodat, openat, utimensat,
};

/// A time of access that nothing compares.
const SOME_TIME: Timespec = Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 };

/// A path for a name of any bytes.
pub(crate) fn named(directory: &Path, name: &[u8]) -> PathBuf {
    directory.join(OsStr::from_bytes(name))
}

/// Makes a directory and those above it.
pub(crate) fn directory(path: &Path) -> &Path {
    std::fs::create_dir_all(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}

/// Makes a regular file.
pub(crate) fn file(path: &Path, content: &[u8]) {
    std::fs::write(path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Makes a file of `size` bytes that holds data only at `places`.
pub(crate) fn sparse(path: &Path, size: u64, places: &[(u64, &[u8])]) {
    let file = File::create(path).expect("a file can be made");
    file.set_len(size).expect("a file can be sparse");
    for (offset, content) in places {
        file.write_all_at(content, *offset).expect("a file can be written");
    }
}

/// Makes a symlink with a target of any bytes.
pub(crate) fn symlink(path: &Path, target: &[u8]) {
    std::os::unix::fs::symlink(OsStr::from_bytes(target), path).expect("a symlink can be made");
}

/// Gives a file one more name.
pub(crate) fn link(from: &Path, to: &Path) {
    rustix::fs::linkat(CWD, from, CWD, to, AtFlags::empty()).expect("a link can be made");
}

/// Makes a fifo, a socket or a device.
pub(crate) fn special(path: &Path, kind: FileType, device: (u32, u32)) {
    let device = rustix::fs::makedev(device.0, device.1);
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o640), device).expect("a node can be made");
}

/// Sets the permission bits.
pub(crate) fn mode(path: &Path, bits: u32) {
    rustix::fs::chmod(path, Mode::from_raw_mode(bits)).expect("a mode can be set");
}

/// Sets owner and group.
pub(crate) fn owner(path: &Path, uid: u32, gid: u32) {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).expect("chown works");
}

/// Sets the time of modification, of a symlink its own.
pub(crate) fn mtime(path: &Path, seconds: i64, nanoseconds: u32) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    let times = Timestamps { last_access: SOME_TIME, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("a time can be set");
}

/// Sets an extended attribute, of a symlink its own.
pub(crate) fn xattr(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty())
        .unwrap_or_else(|error| panic!("{} of {}: {error}", name, path.display()));
}

/// Makes a chain of `levels` directories, each named `name`, with a file at
/// its end. The path may be longer than `PATH_MAX`.
pub(crate) fn chain(top: &Path, name: &CStr, levels: usize) {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut current =
        openat(CWD, directory(top), flags, Mode::empty()).expect("the top can be opened");
    for _ in 0..levels {
        mkdirat(&current, name, Mode::from_raw_mode(0o755)).expect("a level can be made");
        current = openat(&current, name, flags, Mode::empty()).expect("a level can be opened");
    }
    let create = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(&current, c"bottom", create, Mode::from_raw_mode(0o644));
    let file = File::from(file.expect("a file can be made at the bottom"));
    file.write_all_at(b"deep down", 0).expect("a file can be written");
}

/// Makes a directory of `count` files, every hundredth with content.
pub(crate) fn wide(path: &Path, count: usize) {
    let top = File::open(directory(path)).expect("the directory can be opened");
    for index in 0..count {
        let name = format!("entry-{index:06}");
        let create = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&top, name.as_str(), create, Mode::from_raw_mode(0o644));
        let file = File::from(file.expect("a file can be made"));
        if index % 100 == 0 {
            file.write_all_at(name.as_bytes(), 0).expect("a file can be written");
        }
    }
}
