//! The ground on which commands work: a small disk to write to, and beside it what
//! nobody may touch, to which whatever stands on that disk already leads.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::support::need::require_root;
use crate::support::scratch::Scratch;

/// What the disk holds at most, so that a file of 2^62 bytes costs the machine
/// little.
const DISK: &str = "size=64m,nr_inodes=20000,mode=700";
/// Names of forged entries: each leads out of the disk before a restore begins.
const PLANTED: [&str; 12] =
    ["a", "b", "bad", "d", "deep", "file", "forged", "inner", "link", "tree", "wide", "x"];

/// So many more are called `bad0`, `bad1` and so on.
const BAD: usize = 13;

/// A scratch directory with `source`, `victim` and, if it is wanted, a disk at
/// `disk` with the directories `out`, which is empty, and `root`, which is not.
pub(super) struct Ground {
    scratch: Scratch,
    before: Vec<String>,
    is_mounted: bool,
}

impl Ground {
    /// Prepares it; the disk is there only for root, and its lack is said.
    pub(super) fn new(wants_disk: bool) -> Self {
        let scratch = Scratch::new();
        let write = |path: PathBuf, text| fs::write(path, text).expect("it can be written");
        write(scratch.mkdir("source").join("new"), "new");
        write(scratch.mkdir("victim/inner").join("kept"), "kept");
        write(scratch.join("victim/keep"), "keep me");
        let is_mounted = wants_disk && require_root("a small disk to write to");
        let disk = scratch.mkdir("disk");
        if is_mounted {
            let options = std::ffi::CString::new(DISK).expect("no NUL");
            let mounted = mount("tmpfs", &disk, "tmpfs", MountFlags::NODEV, Some(&*options));
            mounted.expect("a tmpfs can be mounted");
            fs::create_dir(disk.join("out")).expect("it is empty");
            plant(&disk.join("root"));
        }
        let mut ground = Self { scratch, before: Vec::new(), is_mounted };
        ground.before = ground.state();
        ground
    }

    pub(super) fn has_disk(&self) -> bool {
        self.is_mounted
    }

    /// Where commands run.
    pub(super) fn path(&self) -> PathBuf {
        self.scratch.path()
    }

    pub(super) fn source(&self) -> PathBuf {
        self.scratch.join("source")
    }

    pub(super) fn out(&self) -> PathBuf {
        self.scratch.join("disk/out")
    }

    pub(super) fn root(&self) -> PathBuf {
        self.scratch.join("disk/root")
    }

    /// Fails if anything but the disk was changed.
    #[track_caller]
    pub(super) fn is_untouched(&self, what: &str) {
        assert_eq!(self.state(), self.before, "{what} wrote outside of its target");
    }

    fn state(&self) -> Vec<String> {
        let mut found = Vec::new();
        describe(&self.scratch.path(), &self.scratch.join("disk"), &mut found);
        found.sort();
        found
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if self.is_mounted {
            // In use or not: the test is over, and so is the disk.
            let _gone = unmount(self.scratch.join("disk"), UnmountFlags::DETACH);
        }
    }
}

/// Makes a directory in which every name that a snapshot may hold leads elsewhere.
fn plant(root: &Path) {
    fs::create_dir(root).expect("it is empty");
    let bad = (0..BAD).map(|number| format!("bad{number}"));
    let names = PLANTED.iter().map(|name| (*name).to_owned()).chain(bad);
    for (number, name) in names.enumerate() {
        let to = ["../../victim", "../../victim/keep", "../../victim/new", "/proc/self/cwd/victim"];
        symlink(to[number % to.len()], root.join(name)).expect("a symlink can be made");
    }
}

/// Describes all below a directory, but not what is below `without`.
fn describe(directory: &Path, without: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("it can be listed").flatten() {
        let (path, metadata) = (entry.path(), entry.metadata().expect("it is there"));
        if path == without {
            continue;
        }
        let (mode, uid, mtime) = (metadata.mode(), metadata.uid(), metadata.mtime_nsec());
        let content =
            if metadata.is_file() { fs::read(&path).expect("a file") } else { Vec::new() };
        found.push(format!("{path:?} {mode:o} {uid} {mtime} {}", content.escape_ascii()));
        if metadata.is_dir() {
            describe(&path, without, found);
        }
    }
}

#[test]
fn what_is_written_outside_of_the_disk_is_noticed() {
    let ground = Ground::new(false);
    ground.is_untouched("nothing");
    for path in ["victim/keep", "victim/inner/kept", "new"] {
        fs::write(ground.path().join(path), "other").expect("it can be written");
        assert_ne!(ground.state(), ground.before, "{path}");
    }
}
