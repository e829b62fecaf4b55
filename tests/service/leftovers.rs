//! What readers leave behind: nothing, whatever ends them.

use rustix::process::Signal;

use crate::support::args;
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::Fixture;
use crate::support::mount::{Mount, detach};
use crate::support::need::require_fuse;

#[test]
fn a_reader_makes_no_file_outside_its_repository_and_leaves_none_when_it_is_killed() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let temporary = fixture.scratch.mkdir("temporary");
    let left = || std::fs::read_dir(&temporary).expect("it can be listed").count();
    let mut mount = Mount::foreground_with(&fixture.repo, |command| {
        command.env("TMPDIR", &temporary);
    });
    assert_eq!(left(), 0, "a mount keeps files in TMPDIR");
    assert_same(&fixture.source, &fixture.in_mount(&mount), Rules::ALL);
    // It catches up with what is written meanwhile.
    std::fs::write(fixture.source.join("new"), "new").expect("it can be written");
    let id = fixture.repo.create(&fixture.source);
    assert_same(&fixture.source, &mount.source(&id, &fixture.source), Rules::ALL);
    assert_eq!(left(), 0, "a mount keeps files in TMPDIR");
    assert_eq!(mount.end_by(Signal::KILL), 137);
    detach(mount.point());
    assert_eq!(left(), 0, "a killed mount leaves files in TMPDIR");
    // Its lease is the one thing that stays, until the next collection.
    fixture.repo.gc();
    let leases = std::fs::read_dir(fixture.repo.path().join("leases")).expect("it can be listed");
    let names: Vec<_> = leases.flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["gate"]);
}

#[test]
fn a_reader_needs_no_directory_for_temporary_files() {
    let fixture = Fixture::plain();
    let mut command = fixture.repo.command(args!["ls", "latest"]);
    command.env("TMPDIR", fixture.scratch.join("none"));
    crate::support::command::run(&mut command).expect(0);
}
