//! How a mount begins and ends, and where it refuses to begin.

use std::path::Path;

use rustix::process::Signal;

use crate::support::args;
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::Fixture;
use crate::support::mount::{Mount, detach, is_mounted};
use crate::support::need::require_fuse;

#[test]
fn a_foreground_mount_ends_cleanly_on_sigint_and_sigterm() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    for by in [Signal::INT, Signal::TERM] {
        let mut mount = Mount::foreground(&fixture.repo);
        assert_same(&fixture.source, &fixture.in_mount(&mount), Rules::QUICK);
        assert_eq!(mount.end_by(by), 0, "after {by:?}; log: {}", mount.log());
        assert!(!is_mounted(mount.point()), "still mounted after {by:?}");
    }
}

#[test]
fn umount_ends_a_foreground_mount_with_code_0() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    Mount::foreground(&fixture.repo).unmount();
}

#[test]
fn after_a_killed_mount_the_next_one_serves_at_the_same_place() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let mut mount = Mount::foreground(&fixture.repo);
    assert_eq!(mount.end_by(Signal::KILL), 137);
    detach(mount.point());
    fixture.repo.ok(args!["mount", mount.point()]);
    assert_same(&fixture.source, &fixture.in_mount(&mount), Rules::ALL);
    fixture.repo.ok(args!["umount", mount.point()]);
    assert!(!is_mounted(mount.point()));
}

#[test]
fn two_mounts_of_one_repository_serve_beside_each_other() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let (one, two) = (fixture.mount(), fixture.mount());
    assert_same(&fixture.in_mount(&one), &fixture.in_mount(&two), Rules::ALL);
    one.unmount();
    assert_same(&fixture.source, &fixture.in_mount(&two), Rules::ALL);
    two.unmount();
}

#[test]
fn a_mountpoint_that_overlaps_the_repository_is_refused() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let repository = fixture.repo.path();
    let inside = repository.join("tmp/inside");
    std::fs::create_dir_all(&inside).expect("a directory can be made");
    let above = repository.parent().expect("it is in a directory");
    let alias = fixture.scratch.join("alias");
    std::os::unix::fs::symlink(repository, &alias).expect("a symlink can be made");
    for point in [repository, &inside, above, &alias, &repository.join("../repo/db")] {
        for option in [&[][..], &["--foreground"][..]] {
            let mut arguments = vec!["mount".into()];
            arguments.extend(option.iter().map(Into::into));
            arguments.push(point.as_os_str().to_owned());
            fixture.repo.run(&arguments).fails(14, &[&name_of(point)]);
            assert!(!is_mounted(&point.canonicalize().expect("it exists")));
        }
    }
}

#[test]
fn a_file_or_nothing_as_mountpoint_is_refused_by_its_name() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let file = fixture.scratch.join("a-plain-file");
    std::fs::write(&file, "x").expect("it can be written");
    for point in [file, fixture.scratch.join("nothing-there")] {
        for option in ["--foreground", "--allow-other"] {
            let outcome = fixture.repo.run(args!["mount", option, &point]);
            outcome.fails(1, &[&name_of(&point)]);
        }
    }
}

#[test]
fn umount_of_what_is_not_mounted_fails_by_its_name() {
    let fixture = Fixture::plain();
    let point = fixture.scratch.mkdir("not-mounted");
    fixture.repo.run(args!["umount", &point]).fails(1, &["not-mounted"]);
}

fn name_of(path: &Path) -> String {
    path.file_name().expect("it has a name").to_string_lossy().into_owned()
}
