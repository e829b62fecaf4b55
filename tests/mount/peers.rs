//! Defects of peers that no other test is about.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::io::Errno;

use super::server;
use crate::support::args;
use crate::support::command::run_tool;
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file, mtime};
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::tree::Shape;
use crate::support::wait_until;

#[test]
fn nothing_in_a_mount_has_no_links_and_directories_count_those_below() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::generated(Shape::SMALL);
    let mount = fixture.mount();
    // The root, what exists only in the mount, and every kind of file.
    let none = run_tool("find", args![mount.point(), "-links", "0"]);
    assert_eq!((none.text(), none.error()), (String::new(), String::new()));
    let all = run_tool("find", args![mount.point(), "-type", "d", "-printf", "%n %p\\0"]);
    let mut checked = 0;
    for found in all.stdout.split(|byte| *byte == 0).filter(|found| !found.is_empty()) {
        let space = found.iter().position(|byte| *byte == b' ').expect("two fields");
        let links = std::str::from_utf8(&found[..space]).expect("a number");
        let path = Path::new(OsStr::from_bytes(&found[space + 1..]));
        let entries = std::fs::read_dir(path).expect("it can be listed");
        let inner = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir()));
        assert_eq!(links.parse(), Ok(2 + inner.count()), "{}", path.display());
        checked += 1;
    }
    assert!(checked > 20, "only {checked} directories");
    mount.unmount();
}

#[test]
fn a_directory_has_its_own_size_and_time_and_not_those_of_what_is_in_it() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::built(|source| {
        let inner = source.join("directory");
        file(&directory(&inner).join("large"), &[7; 1_000_000]);
        mtime(&inner.join("large"), 2_000_000_000, 1);
        mtime(&inner, 1_000_000_000, 2);
    });
    let mount = fixture.mount();
    let metadata = std::fs::metadata(fixture.in_mount(&mount).join("directory"));
    let metadata = metadata.expect("it is there");
    assert_eq!(metadata.len(), 4096);
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (1_000_000_000, 2));
    mount.unmount();
}

/// Writes zeros over the trees of a repository. What a mount still shows then,
/// it shows without them.
fn destroy_trees(repository: &Path) {
    let mut destroyed = 0;
    for entry in std::fs::read_dir(repository.join("db")).expect("it can be listed").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|kind| kind != "sst") {
            continue;
        }
        let table = OpenOptions::new().write(true).open(&path).expect("it can be opened");
        let size = table.metadata().expect("it has a size").len();
        table.write_all_at(&vec![0; size as usize], 0).expect("it can be written");
        destroyed += 1;
    }
    assert!(destroyed > 0, "there are no tables");
}

#[test]
fn listing_all_snapshots_with_their_attributes_reads_no_tree() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    for round in 0..12 {
        file(&fixture.source.join("new"), format!("{round}").as_bytes());
        fixture.repo.create(&fixture.source);
    }
    let mount = fixture.mount();
    destroy_trees(fixture.repo.path());
    for _ in 0..2 {
        let listed = run_tool("ls", args!["-l", "--time-style=full-iso", mount.point()]);
        assert_eq!(listed.error(), "");
        let of_snapshots = listed.text().lines().filter(|line| line.starts_with("drwx")).count();
        assert_eq!(of_snapshots, 13, "{}", listed.text());
    }
    let found = run_tool("find", args![mount.point(), "-maxdepth", "1", "-printf", "%n %T@ %i\\n"]);
    assert!(found.text().lines().count() > 13 && found.error().is_empty());
    // That the trees are gone is shown by the first thing that needs one.
    let entered = std::fs::read_dir(mount.snapshot(&fixture.id))
        .and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let errno = entered.expect_err("a tree was read from zeros").raw_os_error();
    assert_eq!(errno, Some(Errno::IO.raw_os_error()));
    mount.unmount();
}

#[test]
fn latest_is_right_at_the_very_moment_create_has_returned() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let mount = Mount::new(&fixture.repo);
    let latest = mount.point().join("latest");
    let target = || std::fs::read_link(&latest).expect("there is a latest");
    assert_eq!(target(), Path::new(&fixture.id));
    for round in 0..5 {
        file(&fixture.source.join("new"), format!("{round}").as_bytes());
        let id = fixture.repo.create(&fixture.source);
        assert_eq!(target(), Path::new(&id));
        let inner = fixture.source.strip_prefix("/").expect("it is absolute").join("new");
        let read = std::fs::read(latest.join(inner)).expect("it can be read through the link");
        assert_eq!(read, format!("{round}").as_bytes());
        fixture.repo.ok(["delete", &id, "--yes"]);
        assert_eq!(target(), Path::new(&fixture.id));
    }
    mount.unmount();
}

/// Asks for a handle of a file, lets the kernel forget all, and opens it.
const HANDLES: &str = "
import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
class Handle(ctypes.Structure):
    _fields_ = [('bytes', ctypes.c_uint), ('type', ctypes.c_int), ('f', ctypes.c_ubyte * 128)]
point, source, shown = sys.argv[1:4]
mount = os.open(point, os.O_RDONLY)
def handle_of(path):
    handle, number = Handle(bytes=128), ctypes.c_int()
    if libc.name_to_handle_at(-100, path.encode(), ctypes.byref(handle), ctypes.byref(number), 0):
        raise OSError(ctypes.get_errno(), 'name_to_handle_at')
    return handle
def open_by(handle):
    opened = libc.open_by_handle_at(mount, ctypes.byref(handle), os.O_RDONLY)
    return opened if opened >= 0 else os.strerror(ctypes.get_errno())
handle = handle_of(shown)
opened = open_by(handle)
assert isinstance(opened, int), opened
expected = open(source, 'rb').read()
assert os.read(opened, 1 << 20) == expected
os.close(opened)
subprocess.run(['mount', '-i', '-o', 'remount,ro', point], check=True)
# A file that is open is found by its handle, and a directory finds its parents.
opened = open_by(handle_of(os.path.dirname(shown)))
assert isinstance(opened, int), opened
assert os.readlink('/proc/self/fd/%d' % opened) == os.path.dirname(shown)
os.close(opened)
subprocess.run(['mount', '-i', '-o', 'remount,ro', point], check=True)
opened = open_by(handle)
if isinstance(opened, int):
    assert os.read(opened, 1 << 20) == expected
    print('opened')
else:
    assert opened == 'Stale file handle', opened
    print('stale')
";

#[test]
fn a_file_handle_leads_to_its_file_or_is_stale_and_never_to_another() {
    let root = || crate::support::need::require_root("opening by handle");
    if !require_fuse() || !root() || !super::python("file handles") {
        return;
    }
    let fixture = Fixture::plain();
    let mount = fixture.mount();
    let name = "directory-1/file-12";
    let (source, shown) = (fixture.source.join(name), fixture.in_mount(&mount).join(name));
    let outcome = run_tool("python3", args!["-c", HANDLES, mount.point(), source, shown]);
    eprintln!("after the kernel forgot the file, its handle: {}", outcome.text());
    mount.unmount();
}

#[test]
fn the_process_of_a_mount_dies_with_it() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let mount = fixture.mount();
    let process = server(mount.point());
    mount.unmount();
    wait_until("the serving process has ended", 10, || {
        !Path::new(&format!("/proc/{process}")).exists()
    });
}
