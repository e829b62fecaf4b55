//! The repository's disk is full.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::plain_tree;
use crate::support::mount::Mount;
use crate::support::need::{require_fuse, require_root};
use crate::support::repo::{Repo, count_of};
use crate::support::scratch::Scratch;
use crate::support::{args, command::run_tool};

/// A small disk that is unmounted at the end.
struct Disk(std::path::PathBuf);

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.0, UnmountFlags::DETACH) {
            eprintln!("{}: not unmounted: {error}", self.0.display());
        }
    }
}

/// A `create` that does not fit fails, costs no earlier snapshot, and the next
/// one that fits works with no manual step.
fn fails_and_recovers(disk: &Disk, scratch: &Scratch) {
    let repo = Repo::at(&disk.0.join("repo"));
    let (small, large) = (scratch.join("small"), scratch.join("large"));
    plain_tree(&small, 1, 100, 30_000);
    plain_tree(&large, 2, 400, 500_000);
    let first = repo.create(&small);
    for _ in 0..2 {
        repo.run(args!["create", &large]).fails(1, &["no space"]);
        assert_eq!(repo.ids(), std::slice::from_ref(&first));
    }
    let shown = Mount::new(&repo);
    assert_same(&small, &shown.source(&first, &small), Rules::ALL);
    shown.unmount();
    repo.gc();
    plain_tree(&small.join("more"), 3, 100, 30_000);
    let second = repo.create(&small);
    let shown = Mount::new(&repo);
    assert_same(&small, &shown.source(&second, &small), Rules::ALL);
    shown.unmount();
}

/// Takes all space that there is; gives it back when it is removed.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file can be made");
    for size in [1 << 20, 4096] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}

#[test]
fn what_is_on_a_full_disk_can_be_read_and_a_mount_that_serves_leases_on() {
    if !require_fuse() || !require_root("mounting a small disk") {
        return;
    }
    let scratch = Scratch::new();
    let point = scratch.mkdir("disk");
    let made = mount("icecore-test", &point, "tmpfs", MountFlags::empty(), c"size=32m");
    made.expect("a tmpfs can be mounted");
    let disk = Disk(point);
    let repo = Repo::at(&disk.0.join("repo"));
    let (one, two) = (scratch.join("one"), scratch.join("two"));
    plain_tree(&one, 1, 20, 30_000);
    plain_tree(&two, 2, 20, 30_000);
    let (first, second) = (repo.create(&one), repo.create(&two));
    let serving = Mount::foreground(&repo);
    assert_same(&one, &serving.source(&first, &one), Rules::ALL);

    let filler = disk.0.join("filler");
    fill(&filler);
    // What leases nothing says so; what leased before goes on.
    let late = Mount::foreground(&repo);
    for shown in [&serving, &late] {
        assert_same(&two, &shown.source(&second, &two), Rules::ALL);
    }
    assert!(late.log().contains("full file system") && !serving.log().contains("full"));
    late.unmount();
    repo.ok(["ls", "-R", "latest"]);
    repo.ok(["check", "--read-data"]);

    // What was leased before the disk was full is leased still.
    let open = File::open(serving.snapshot(&first)).expect("it can be opened");
    std::fs::remove_file(&filler).expect("it can be removed");
    repo.ok(["delete", &first, "--yes"]);
    assert_eq!(count_of(&repo.gc(), "leased_snapshots"), 1);
    drop(open);
    serving.unmount();
}

#[test]
fn a_full_tmpfs_fails_create_in_one_line_and_costs_nothing_else() {
    if !require_fuse() || !require_root("mounting a small disk") {
        return;
    }
    let scratch = Scratch::new();
    let point = scratch.mkdir("disk");
    let made = mount("icecore-test", &point, "tmpfs", MountFlags::empty(), c"size=96m");
    made.expect("a tmpfs can be mounted");
    fails_and_recovers(&Disk(point), &scratch);
}

#[test]
fn a_full_ext4_fails_create_in_one_line_and_costs_nothing_else() {
    if !require_fuse() || !require_root("mounting a small disk") {
        return;
    }
    let scratch = Scratch::new();
    let (image, point) = (scratch.join("image"), scratch.mkdir("disk"));
    let file = std::fs::File::create(&image).expect("a file can be made");
    file.set_len(96 << 20).expect("it can be sparse");
    let tool = ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"];
    let Some(tool) = tool.iter().find(|path| std::path::Path::new(path).exists()) else {
        return eprintln!("SKIPPED: there is no mkfs.ext4");
    };
    run_tool(tool, args!["-q", "-m", "0", &image]);
    let looped = crate::support::command::try_tool("mount", args!["-o", "loop", &image, &point]);
    if looped.code != 0 {
        return eprintln!("SKIPPED: no loop device: {}", looped.error());
    }
    fails_and_recovers(&Disk(point), &scratch);
}
