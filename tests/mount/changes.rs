//! Every call that changes something, beyond those in `fidelity::read_only`,
//! on every level of the mount.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dev, FallocateFlags, FileType, Gid, IFlags, Mode, OFlags, RenameFlags, Timespec,
    Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file, link, symlink, xattr};
use crate::support::need::{require_fuse, require_root};
use crate::support::{args, command::try_tool};

const SOME_MODE: Mode = Mode::RWXU;
const NOW: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
    last_modification: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
};

type Change = (&'static str, fn(&Path) -> Result<(), Errno>);

fn fixture() -> Fixture {
    Fixture::built(|source| {
        file(&directory(&source.join("full")).join("below"), b"below");
        directory(&source.join("empty"));
        file(&source.join("file"), b"content");
        file(&source.join("other"), b"content of another");
        symlink(&source.join("symlink"), b"file");
        link(&source.join("file"), &source.join("link"));
        for name in ["file", "full"] {
            xattr(&source.join(name), "user.kept", b"value");
        }
    })
}

fn open(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, SOME_MODE)
}

fn opens(path: &Path, flags: OFlags) -> Result<(), Errno> {
    open(path, flags).map(drop)
}

/// The descriptor of a file that may be read alone.
fn readable(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, OFlags::RDONLY)
}

fn rename(top: &Path, from: &str, to: &str, flags: RenameFlags) -> Result<(), Errno> {
    rustix::fs::renameat_with(CWD, top.join(from), CWD, top.join(to), flags)
}

fn mknod(path: &Path, kind: FileType, device: Dev) -> Result<(), Errno> {
    rustix::fs::mknodat(CWD, path, kind, SOME_MODE, device)
}

fn myself() -> (Option<Uid>, Option<Gid>) {
    (Some(rustix::process::getuid()), Some(rustix::process::getgid()))
}

fn set(path: &Path, name: &str, flags: XattrFlags) -> Result<(), Errno> {
    rustix::fs::lsetxattr(path, name, b"changed", flags)
}

/// Calls that open a file to change it.
const OPENS: [Change; 6] = [
    ("open and truncate", |top| opens(&top.join("file"), OFlags::RDWR | OFlags::TRUNC)),
    ("read and truncate", |top| opens(&top.join("file"), OFlags::RDONLY | OFlags::TRUNC)),
    ("create exclusively", |top| {
        opens(&top.join("new"), OFlags::CREATE | OFlags::EXCL | OFlags::RDWR)
    }),
    ("write or create", |top| opens(&top.join("file"), OFlags::CREATE | OFlags::WRONLY)),
    ("write through a symlink", |top| opens(&top.join("symlink"), OFlags::WRONLY)),
    ("O_TMPFILE", |top| opens(top, OFlags::TMPFILE | OFlags::RDWR)),
];

/// Calls that change names.
const NAMES: [Change; 12] = [
    ("rename onto nothing", |top| rename(top, "file", "new", RenameFlags::NOREPLACE)),
    ("exchange", |top| rename(top, "file", "other", RenameFlags::EXCHANGE)),
    ("exchange directories", |top| rename(top, "full", "empty", RenameFlags::EXCHANGE)),
    ("rename into a directory", |top| rename(top, "file", "empty/new", RenameFlags::empty())),
    ("rename out of a directory", |top| rename(top, "full/below", "new", RenameFlags::empty())),
    ("rename a symlink", |top| rename(top, "symlink", "new", RenameFlags::empty())),
    ("unlink one of two links", |top| rustix::fs::unlink(top.join("link"))),
    ("link in a directory", |top| rustix::fs::link(top.join("file"), top.join("empty/new"))),
    ("link a symlink", |top| rustix::fs::link(top.join("symlink"), top.join("new"))),
    ("mkdir below", |top| rustix::fs::mkdir(top.join("empty/new"), SOME_MODE)),
    ("symlink below", |top| rustix::fs::symlink("x", top.join("empty/new"))),
    ("rmdir of a full one", |top| rustix::fs::rmdir(top.join("full"))),
];

/// Calls that change what is kept about a file.
const METADATA: [Change; 14] = [
    ("fchmod", |top| rustix::fs::fchmod(readable(&top.join("file"))?, SOME_MODE)),
    ("fchown", |top| {
        let (uid, gid) = myself();
        rustix::fs::fchown(readable(&top.join("file"))?, uid, gid)
    }),
    ("futimens", |top| rustix::fs::futimens(readable(&top.join("file"))?, &NOW)),
    ("futimens of a directory", |top| rustix::fs::futimens(readable(top)?, &NOW)),
    ("touch", |top| rustix::fs::utimensat(CWD, top, &NOW, AtFlags::empty())),
    ("chown", |top| {
        let (uid, gid) = myself();
        rustix::fs::chownat(CWD, top, uid, gid, AtFlags::empty())
    }),
    ("chmod", |top| rustix::fs::chmod(top, SOME_MODE)),
    ("setxattr to create", |top| set(&top.join("file"), "user.new", XattrFlags::CREATE)),
    ("setxattr to replace", |top| set(&top.join("file"), "user.kept", XattrFlags::REPLACE)),
    ("setxattr of a directory", |top| set(&top.join("full"), "user.kept", XattrFlags::empty())),
    ("setxattr of our own", |top| {
        set(&top.join("file"), "user.icecore.sha256", XattrFlags::empty())
    }),
    ("fsetxattr", |top| {
        let file = readable(&top.join("file"))?;
        rustix::fs::fsetxattr(file, "user.new", b"1", XattrFlags::empty())
    }),
    ("removexattr of a directory", |top| rustix::fs::removexattr(top.join("full"), "user.kept")),
    ("FS_IOC_SETFLAGS", |top| {
        rustix::fs::ioctl_setflags(readable(&top.join("file"))?, IFlags::IMMUTABLE)
    }),
];

fn refused(top: &Path, changes: &[Change]) {
    let wrong: Vec<_> = changes
        .iter()
        .map(|(name, change)| (name, change(top)))
        .filter(|(_, result)| *result != Err(Errno::ROFS))
        .collect();
    assert!(wrong.is_empty(), "not EROFS in {}: {wrong:?}", top.display());
}

fn some<'a>(changes: &'a [Change], names: &'a [&str]) -> Vec<Change> {
    let some: Vec<_> = changes.iter().filter(|(name, _)| names.contains(name)).copied().collect();
    assert_eq!(some.len(), names.len(), "a name is wrong");
    some
}

#[test]
fn each_flag_and_each_way_to_change_a_mounted_file_gives_erofs() {
    if !require_fuse() {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount();
    let top = fixture.in_mount(&mount);
    for changes in [&OPENS[..], &NAMES, &METADATA] {
        refused(&top, changes);
    }
    // What exists in the mount alone is no more writable.
    for top in [mount.point(), &mount.snapshot(&fixture.id)] {
        refused(top, &some(&OPENS, &["create exclusively", "O_TMPFILE"]));
        refused(top, &some(&METADATA, &["touch", "chown", "chmod", "futimens of a directory"]));
    }
    let point = mount.point();
    let id = fixture.id.as_str();
    assert_eq!(rename(point, id, "new", RenameFlags::empty()), Err(Errno::ROFS));
    assert_eq!(rustix::fs::unlink(point.join("latest")), Err(Errno::ROFS));
    assert_eq!(rustix::fs::rmdir(point.join(id)), Err(Errno::ROFS));
    for (path, expected) in [("file", Errno::ROFS), ("empty", Errno::ROFS)] {
        let access = rustix::fs::access(top.join(path), rustix::fs::Access::WRITE_OK);
        assert_eq!(access, Err(expected), "access to write {path}");
    }
    mount.unmount();
}

#[test]
fn what_needs_a_writable_descriptor_finds_none() {
    if !require_fuse() {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount();
    let path = fixture.in_mount(&mount).join("file");
    for flags in [OFlags::RDWR, OFlags::WRONLY, OFlags::WRONLY | OFlags::APPEND] {
        assert_eq!(opens(&path, flags), Err(Errno::ROFS), "{flags:?}");
    }
    let only_read = readable(&path).expect("it can be read");
    let from = File::open(fixture.source.join("other")).expect("it can be read");
    let fallocate = rustix::fs::fallocate(&only_read, FallocateFlags::empty(), 0, 10);
    assert_eq!(fallocate, Err(Errno::BADF));
    assert_eq!(rustix::fs::ftruncate(&only_read, 1), Err(Errno::INVAL));
    assert_eq!(rustix::io::write(&only_read, b"x"), Err(Errno::BADF));
    let copied = rustix::fs::copy_file_range(&from, None, &only_read, None, 5);
    assert_eq!(copied, Err(Errno::BADF));
    // Out of the mount it works.
    let target = File::create(fixture.scratch.join("copy")).expect("it can be made");
    let copied = rustix::fs::copy_file_range(&only_read, None, &target, None, 7);
    assert!([Ok(7), Err(Errno::XDEV)].contains(&copied), "{copied:?}");
    drop(only_read);
    mount.unmount();
}

#[test]
fn devices_and_acls_are_refused_with_erofs_too() {
    if !require_fuse() || !require_root("making devices") {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount();
    let top = fixture.in_mount(&mount);
    let device = rustix::fs::makedev(1, 3);
    for kind in [FileType::CharacterDevice, FileType::BlockDevice] {
        assert_eq!(mknod(&top.join("new"), kind, device), Err(Errno::ROFS), "{kind:?}");
    }
    for name in ["trusted.new", "security.new"] {
        assert_eq!(set(&top.join("file"), name, XattrFlags::empty()), Err(Errno::ROFS), "{name}");
    }
    let set = try_tool("setfacl", args!["-m", "u:12345:rwx", top.join("file")]);
    set.fails(1, &["read-only file system"]);
    mount.unmount();
}

#[test]
fn a_mount_that_was_remounted_writable_writes_nothing_through_a_descriptor() {
    if !require_fuse() || !require_root("remounting") {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount();
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    if let Err(error) = rustix::mount::mount_remount(mount.point(), flags, c"") {
        return eprintln!("SKIPPED: the kernel remounts no such mount: {error}");
    }
    let top = fixture.in_mount(&mount);
    let path = top.join("file");
    let opened = open(&path, OFlags::RDWR).expect("the kernel opens it without asking");
    let from = File::open(top.join("other")).expect("it can be read");
    let results = [
        ("fallocate", rustix::fs::fallocate(&opened, FallocateFlags::empty(), 0, 100)),
        ("punch", {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&opened, flags, 0, 3)
        }),
        ("ftruncate", rustix::fs::ftruncate(&opened, 1)),
        ("fchmod", rustix::fs::fchmod(&opened, SOME_MODE)),
        ("copy_file_range", {
            rustix::fs::copy_file_range(&from, None, &opened, None, 5).map(drop)
        }),
    ];
    for (name, result) in results {
        assert_eq!(result, Err(Errno::ROFS), "{name}");
    }
    // Answers of FUSE for what it has no request for.
    let flags = rustix::fs::ioctl_setflags(&opened, IFlags::IMMUTABLE);
    assert!(flags.is_err(), "FS_IOC_SETFLAGS: {flags:?}");
    assert!(opens(&top, OFlags::TMPFILE | OFlags::RDWR).is_err(), "O_TMPFILE");
    refused(&top, &some(&NAMES, &["exchange", "rename onto nothing", "mkdir below"]));
    drop((opened, from));
    assert_eq!(std::fs::read(&path).expect("it can be read"), b"content");
    mount.unmount();
}
