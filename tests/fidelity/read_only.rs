//! A mount is read-only for real.

use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file, symlink, xattr};
use crate::support::need::{require_fuse, require_root};
use crate::support::{args, command::try_tool};

type Change = (&'static str, fn(&Path) -> Result<(), Errno>);

const SOME_MODE: Mode = Mode::RWXU;

fn open(path: &Path, flags: OFlags) -> Result<(), Errno> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, SOME_MODE).map(drop)
}

fn write(path: &Path, flags: OFlags) -> Result<(), Errno> {
    let file = rustix::fs::open(path, flags | OFlags::CLOEXEC, SOME_MODE)?;
    rustix::io::write(&file, b"changed")?;
    rustix::fs::fsync(&file)
}

fn touch(path: &Path, flags: AtFlags) -> Result<(), Errno> {
    let time = Timespec { tv_sec: 1, tv_nsec: 1 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, flags)
}

/// Every call that changes a file or a directory. The fallocate family needs a
/// descriptor to write, which none of these opens.
const CHANGES: [Change; 27] = [
    ("open to write", |top| open(&top.join("file"), OFlags::WRONLY)),
    ("open to read and write", |top| open(&top.join("file"), OFlags::RDWR)),
    ("open to append", |top| open(&top.join("file"), OFlags::WRONLY | OFlags::APPEND)),
    ("open to truncate", |top| open(&top.join("file"), OFlags::WRONLY | OFlags::TRUNC)),
    ("creat", |top| open(&top.join("new"), OFlags::CREATE | OFlags::WRONLY)),
    ("creat to read", |top| open(&top.join("new"), OFlags::CREATE | OFlags::RDONLY)),
    ("mkdir", |top| rustix::fs::mkdir(top.join("new"), SOME_MODE)),
    ("rmdir", |top| rustix::fs::rmdir(top.join("empty"))),
    ("unlink", |top| rustix::fs::unlink(top.join("file"))),
    ("unlink a symlink", |top| rustix::fs::unlink(top.join("symlink"))),
    ("rename", |top| rustix::fs::rename(top.join("file"), top.join("new"))),
    ("rename onto another", |top| rustix::fs::rename(top.join("file"), top.join("other"))),
    ("rename a directory", |top| rustix::fs::rename(top.join("empty"), top.join("new"))),
    ("link", |top| rustix::fs::link(top.join("file"), top.join("new"))),
    ("symlink", |top| rustix::fs::symlink("file", top.join("new"))),
    ("mknod of a file", |top| mknod(&top.join("new"), FileType::RegularFile)),
    ("mknod of a fifo", |top| mknod(&top.join("new"), FileType::Fifo)),
    ("mknod of a socket", |top| mknod(&top.join("new"), FileType::Socket)),
    ("truncate", |top| truncate(&top.join("file"))),
    ("chmod", |top| rustix::fs::chmod(top.join("file"), SOME_MODE)),
    ("chmod of a directory", |top| rustix::fs::chmod(top.join("empty"), SOME_MODE)),
    ("chown", |top| chown(&top.join("file"), AtFlags::empty())),
    ("lchown", |top| chown(&top.join("symlink"), AtFlags::SYMLINK_NOFOLLOW)),
    ("utimensat", |top| touch(&top.join("file"), AtFlags::empty())),
    ("utimensat of a symlink", |top| touch(&top.join("symlink"), AtFlags::SYMLINK_NOFOLLOW)),
    ("setxattr", |top| {
        rustix::fs::setxattr(top.join("file"), "user.new", b"1", XattrFlags::empty())
    }),
    ("removexattr", |top| rustix::fs::removexattr(top.join("file"), "user.kept")),
];

/// `truncate` of a path, which only perl offers without opening the file.
fn truncate(path: &Path) -> Result<(), Errno> {
    let script = "truncate($ARGV[0], 1) or exit($! + 0)";
    match try_tool("perl", args!["-e", script, path]).code {
        0 => Ok(()),
        code => Err(Errno::from_raw_os_error(code)),
    }
}

fn mknod(path: &Path, kind: FileType) -> Result<(), Errno> {
    rustix::fs::mknodat(CWD, path, kind, SOME_MODE, 0)
}

fn chown(path: &Path, flags: AtFlags) -> Result<(), Errno> {
    let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
    let (uid, gid) = (Uid::from_raw(uid.as_raw()), Gid::from_raw(gid.as_raw()));
    rustix::fs::chownat(CWD, path, Some(uid), Some(gid), flags)
}

fn fixture() -> Fixture {
    Fixture::built(|source| {
        directory(&source.join("empty"));
        file(&source.join("file"), b"content");
        file(&source.join("other"), b"content of another");
        symlink(&source.join("symlink"), b"file");
        xattr(&source.join("file"), "user.kept", b"value");
    })
}

fn refused(top: &Path, which: impl Fn(&str) -> bool) {
    let wrong: Vec<_> = CHANGES
        .iter()
        .filter(|(name, _)| which(name))
        .map(|(name, change)| (name, change(top)))
        .filter(|(_, result)| *result != Err(Errno::ROFS))
        .collect();
    assert!(wrong.is_empty(), "not EROFS in {}: {wrong:?}", top.display());
}

/// Changes that need no file to be there.
fn makes(name: &str) -> bool {
    ["creat", "mkdir", "symlink", "mknod of a fifo"].contains(&name)
}

#[test]
fn every_call_that_would_change_a_mounted_file_gives_erofs() {
    if !require_fuse() {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount();
    refused(&fixture.in_mount(&mount), |_| true);
    refused(mount.point(), makes);
    refused(&mount.snapshot(&fixture.id), makes);
    mount.unmount();
}

#[test]
fn even_a_mount_that_was_remounted_writable_refuses_every_change_with_erofs() {
    if !require_fuse() || !require_root("remounting") {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount();
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    if let Err(error) = rustix::mount::mount_remount(mount.point(), flags, c"") {
        return eprintln!("the kernel remounts no such mount: {error}");
    }
    let top = fixture.in_mount(&mount);
    // To open is no change yet, and the kernel may not even ask.
    let opens = ["open to write", "open to read and write", "open to append"];
    refused(&top, |name| !opens.contains(&name));
    for flags in [OFlags::WRONLY, OFlags::RDWR, OFlags::WRONLY | OFlags::APPEND] {
        assert_eq!(write(&top.join("file"), flags), Err(Errno::ROFS), "{flags:?}");
    }
    refused(mount.point(), makes);
    refused(&mount.snapshot(&fixture.id), makes);
    let content = std::fs::read(fixture.in_mount(&mount).join("file"));
    assert_eq!(content.expect("it can be read"), b"content");
    mount.unmount();
}

#[test]
fn making_what_is_there_already_gives_eexist_as_on_any_file_system() {
    if !require_fuse() {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount();
    let top = fixture.in_mount(&mount);
    assert_eq!(rustix::fs::mkdir(top.join("empty"), SOME_MODE), Err(Errno::EXIST));
    assert_eq!(rustix::fs::symlink("file", top.join("file")), Err(Errno::EXIST));
    assert_eq!(mknod(&top.join("file"), FileType::Fifo), Err(Errno::EXIST));
    assert_eq!(open(&top.join("file"), OFlags::CREATE | OFlags::RDONLY), Ok(()));
    mount.unmount();
}
