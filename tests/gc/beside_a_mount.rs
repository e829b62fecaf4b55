//! `gc` while a mount serves: nothing is pulled from under a reader, and
//! nothing is kept for a reader that is gone.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;

use super::reclaim::Three;
use crate::support::beside;
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::plain_tree;
use crate::support::mount::{Mount, detach};
use crate::support::need::require_fuse;
use crate::support::repo::count_of;

const UNIQUE: u64 = 30 << 20;

/// A process that does nothing in a directory until this is dropped.
struct Sleeper(Child);

impl Sleeper {
    fn within(directory: &Path) -> Self {
        let mut command = Command::new("sleep");
        Self(command.arg("600").current_dir(directory).spawn().expect("sleep starts"))
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn an_open_file_of_a_deleted_snapshot_stays_readable_through_gc() {
    if !require_fuse() {
        return;
    }
    let three = Three::new();
    let mount = Mount::new(&three.repo);
    let name = "of-the-middle/directory-5/file-55";
    let shown = mount.source(&three.ids[1], &three.source);
    let mut file = std::fs::File::open(shown.join(name)).expect("it opens");
    let mut content = vec![0; 1_000];
    file.read_exact(&mut content).expect("it can be read");
    three.repo.ok(["delete", &three.ids[1], "--yes"]);
    let report = three.repo.gc();
    assert!(count_of(&report, "freed_bytes") < UNIQUE / 2, "freed what is in use: {report}");
    file.read_to_end(&mut content).expect("it can still be read");
    let expected = std::fs::read(three.copies[1].join(name)).expect("it can be read");
    assert!(content == expected, "other bytes than before");
    drop(file);
    assert_same(&three.copies[2], &mount.source(&three.ids[2], &three.source), Rules::ALL);
    mount.unmount();
    let report = three.repo.gc();
    assert!(count_of(&report, "freed_bytes") >= UNIQUE, "the lease went, its data not: {report}");
    three.compare(&[0, 2]);
}

#[test]
fn a_working_directory_in_a_deleted_snapshot_stays_readable_through_gc() {
    if !require_fuse() {
        return;
    }
    let three = Three::new();
    let mount = Mount::new(&three.repo);
    let shown = mount.source(&three.ids[1], &three.source).join("of-the-middle");
    let sleeper = Sleeper::within(&shown);
    three.repo.ok(["delete", &three.ids[1], "--yes"]);
    three.repo.gc();
    let inside = format!("/proc/{}/cwd/.", sleeper.0.id());
    let expected = three.copies[1].join("of-the-middle");
    assert_same(&expected, Path::new(&inside), Rules { root: false, ..Rules::ALL });
    drop(sleeper);
    mount.unmount();
    let report = three.repo.gc();
    assert!(count_of(&report, "freed_bytes") >= UNIQUE, "{report}");
}

#[test]
fn a_mount_that_does_not_use_the_deleted_snapshot_holds_nothing_back() {
    if !require_fuse() {
        return;
    }
    let three = Three::new();
    let mount = Mount::new(&three.repo);
    assert_same(&three.copies[0], &mount.source(&three.ids[0], &three.source), Rules::QUICK);
    three.repo.ok(["delete", &three.ids[1], "--yes"]);
    let report = three.repo.gc();
    assert!(count_of(&report, "freed_bytes") >= UNIQUE, "{report}");
    for round in [0, 2] {
        let shown = mount.source(&three.ids[round], &three.source);
        assert_same(&three.copies[round], &shown, Rules::ALL);
    }
    mount.unmount();
}

#[test]
fn the_lease_of_a_killed_mount_holds_nothing_back() {
    if !require_fuse() {
        return;
    }
    let three = Three::new();
    let mut mount = Mount::foreground(&three.repo);
    let sleeper = Sleeper::within(&mount.source(&three.ids[1], &three.source));
    assert_eq!(mount.end_by(Signal::KILL), 137);
    drop(sleeper);
    detach(mount.point());
    three.repo.ok(["delete", &three.ids[1], "--yes"]);
    let report = three.repo.gc();
    assert!(count_of(&report, "freed_bytes") >= UNIQUE, "{report}");
    three.compare(&[0, 2]);
}

#[test]
fn a_mount_reads_on_through_many_rounds_of_create_delete_and_gc() {
    if !require_fuse() {
        return;
    }
    let three = Three::new();
    let mount = Mount::new(&three.repo);
    let shown = mount.source(&three.ids[0], &three.source);
    let read = |stop: &AtomicBool| {
        while !stop.load(Ordering::Relaxed) {
            assert_same(&three.copies[0], &shown, Rules::ALL);
        }
    };
    beside(read, || {
        let extra = three.source.join("extra");
        for round in 0..5 {
            plain_tree(&extra, round, 20, 200_000);
            let id = three.repo.create(&three.source);
            three.repo.ok(["delete", &id, "--yes"]);
            three.repo.gc();
        }
    });
    assert_same(&three.copies[0], &shown, Rules::ALL);
    mount.unmount();
}
