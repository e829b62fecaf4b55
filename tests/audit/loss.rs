//! A log that is gone, cannot be read or written, or is garbage: nothing else is
//! lost, and every command works.

use std::fs::{self, OpenOptions};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount};

use super::{proof, read, segment, types};
use crate::support::args;
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::Fixture;
use crate::support::mount::Mount;
use crate::support::need::{require_fuse, require_root};
use crate::support::repo::Repo;

/// Runs every command that is logged, each with `warnings` lines on standard
/// error that say so, and compares the newest snapshot with its source.
fn everything_works(fixture: &Fixture, warnings: usize) {
    let (repo, source) = (&fixture.repo, &fixture.source);
    let file = source.join("directory-1/file-11");
    let told = |error: &str| error.lines().filter(|line| line.contains("audit log lacks")).count();
    let id = repo.create(source);
    let commands = [args!["create", source].to_vec(), args!["delete", "--yes", &id].to_vec()];
    for arguments in commands.into_iter().chain([args!["gc"].to_vec()]) {
        let outcome = repo.ok(&arguments);
        assert_eq!(told(&outcome.error()), warnings, "{arguments:?}: {}", outcome.error());
    }
    let shown = read(repo, &file).expect(0);
    assert_eq!(told(&shown.error()), warnings, "{}", shown.error());
    assert!(shown.stdout == fs::read(&file).expect("it is there"));
    if require_fuse() {
        let mount = Mount::new(repo);
        let newest = repo.ids().pop().expect("there is one");
        assert_same(source, &mount.source(&newest, source), Rules::ALL);
        mount.unmount();
    }
}

fn log(repo: &Repo) -> std::path::PathBuf {
    repo.path().join("log")
}

#[test]
fn a_log_that_was_deleted_begins_anew_and_says_so() {
    let fixture = Fixture::plain();
    let repo = &fixture.repo;
    fs::remove_dir_all(log(repo)).expect("it is there");
    repo.run(["log", "verify"]).fails(4, &["no audit log"]);
    assert!(repo.ok(["log"]).error().contains("no such events"));
    repo.ok(["list"]);
    everything_works(&fixture, 0);
    assert_eq!(proof(repo)["from_creation"], false);
    let shown = repo.ok(["log", "verify"]).text();
    assert!(shown.contains("begun anew"), "{shown}");
    assert_eq!(types(repo)[0], "snapshot.created");
}

#[test]
fn garbage_in_the_log_is_found_by_verify_alone() {
    let fixture = Fixture::plain();
    let repo = &fixture.repo;
    for garbage in [&b"\n\n\n"[..], b"\0\xff\xfe garbage\n{}\n[]\n", &[b'x'; 3 << 20], b""] {
        fs::write(segment(repo, 1), garbage).expect("it can be written");
        everything_works(&fixture, 0);
        repo.ok(["log"]);
        let code = if garbage.is_empty() { 0 } else { 4 };
        repo.run(["log", "verify"]).expect(code);
    }
}

#[test]
fn files_and_pipes_in_the_place_of_the_log_cost_one_warning_each() {
    let fixture = Fixture::plain();
    let repo = &fixture.repo;
    fs::remove_dir_all(log(repo)).expect("it is there");
    fs::write(log(repo), "garbage").expect("it can be written");
    everything_works(&fixture, 1);
    repo.run(["log", "verify"]).expect(1);
    fs::remove_file(log(repo)).expect("it is there");
    fs::create_dir(log(repo)).expect("it can be made");
    fs::create_dir(segment(repo, 1)).expect("it can be made");
    everything_works(&fixture, 1);
    fs::remove_dir(segment(repo, 1)).expect("it is there");
    crate::support::command::run_tool("mkfifo", args![segment(repo, 1)]);
    everything_works(&fixture, 1);
}

#[test]
fn a_lock_that_is_never_released_costs_seconds_and_a_warning() {
    let fixture = Fixture::plain();
    let lock = OpenOptions::new().write(true).open(log(&fixture.repo).join("lock"));
    let lock = lock.expect("it is there");
    flock(&lock, FlockOperation::LockExclusive).expect("it can be taken");
    let shown = read(&fixture.repo, &fixture.source.join("directory-0/file-1"));
    shown.fails(0, &["audit log lacks", "another process holds", "lock"]);
    // Readers of the log take no lock.
    assert_eq!(proof(&fixture.repo)["events"], 2);
}

struct ReadOnly<'a>(&'a Path);

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        if let Err(error) = unmount(self.0, UnmountFlags::DETACH) {
            eprintln!("{}: not unmounted: {error}", self.0.display());
        }
    }
}

#[test]
fn a_read_only_medium_is_no_reason_for_a_warning() {
    if !require_root("mounting") {
        return;
    }
    let fixture = Fixture::plain();
    let place = log(&fixture.repo);
    mount_bind(&place, &place).expect("it can be bound");
    let bound = ReadOnly(&place);
    mount_remount(&place, MountFlags::RDONLY | MountFlags::BIND, c"").expect("it can be remounted");
    everything_works(&fixture, 0);
    assert_eq!(proof(&fixture.repo)["events"], 2);
    drop(bound);
    everything_works(&fixture, 0);
    assert_ne!(proof(&fixture.repo)["events"], 2);
}

#[test]
fn a_log_whose_repository_is_lost_can_still_be_read_and_proved() {
    let fixture = Fixture::plain();
    let repo = &fixture.repo;
    fs::remove_dir_all(repo.path().join("db")).expect("it is there");
    assert_eq!(types(repo), ["repository.created", "snapshot.created"]);
    fs::remove_file(repo.path().join("config")).expect("it is there");
    assert_eq!(proof(repo)["events"], 2);
    repo.run(args!["create", &fixture.source]).fails(10, &["no repository"]);
    assert_eq!(proof(repo)["events"], 2);
}
