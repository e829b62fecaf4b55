//! `gc` on a disk that has no space for what it rewrites.

use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::plain_tree;
use crate::support::mount::Mount;
use crate::support::need::{require_fuse, require_root};
use crate::support::repo::{Repo, count_of};
use crate::support::scratch::Scratch;

const M: u64 = 1 << 20;

/// A small disk that is unmounted at the end.
struct Disk(std::path::PathBuf);

impl Drop for Disk {
    fn drop(&mut self) {
        let _gone = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// Takes all space of a disk but so many bytes.
fn fill(disk: &Path, name: &str, left: u64) {
    let free = rustix::fs::statvfs(disk).expect("it is a disk");
    let bytes = (free.f_bavail * free.f_frsize).saturating_sub(left);
    let zeros = vec![0; usize::try_from(bytes).expect("a small disk")];
    std::fs::write(disk.join(name), zeros).expect("it fits");
}

#[test]
fn gc_on_a_full_disk_says_so_loses_nothing_and_the_next_one_ends_the_work() {
    if !require_fuse() || !require_root("mounting a small disk") {
        return;
    }
    let scratch = Scratch::new();
    let (source, point) = (scratch.join("source"), scratch.mkdir("disk"));
    let made = mount("icecore-test", &point, "tmpfs", MountFlags::empty(), c"size=160m");
    made.expect("a tmpfs can be mounted");
    let disk = Disk(point);
    let repo = Repo::at(&disk.0.join("repo"));
    plain_tree(&source.join("kept"), 1, 100, 200_000);
    plain_tree(&source.join("gone"), 2, 100, 200_000);
    let first = repo.create(&source);
    std::fs::remove_dir_all(source.join("gone")).expect("it is there");
    let second = repo.create(&source);
    plain_tree(&source.join("whole"), 3, 100, 100_000);
    let third = repo.create(&source);
    repo.ok(["delete", &first, &third, "--yes"]);
    std::fs::remove_dir_all(source.join("whole")).expect("it is there");

    // With it the disk would not be full for `gc`.
    std::fs::remove_file(repo.path().join("reserve")).expect("it is there");
    let before = repo.du();
    fill(&disk.0, "filler", 4 * M);
    let gc = ["gc", "--max-unused", "0"];
    repo.run(gc).fails(1, &["no space"]);
    // What is garbage altogether goes first, and needs no space to go.
    assert!(repo.du() + 9 * M < before, "{before} bytes before, {} after", repo.du());
    fill(&disk.0, "another", 4 * M);
    repo.run(gc).fails(1, &["no space"]);
    let shown = Mount::new(&repo);
    assert_same(&source, &shown.source(&second, &source), Rules { root: false, ..Rules::ALL });
    shown.unmount();

    for name in ["filler", "another"] {
        std::fs::remove_file(disk.0.join(name)).expect("it is there");
    }
    let report = repo.gc();
    assert!(count_of(&report, "freed_bytes") >= 18 * M, "{report}");
    let shown = Mount::new(&repo);
    assert_same(&source, &shown.source(&second, &source), Rules { root: false, ..Rules::ALL });
    shown.unmount();
    assert_eq!(count_of(&repo.gc(), "freed_bytes"), 0);
}
