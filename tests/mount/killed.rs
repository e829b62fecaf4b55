//! A mount whose process was killed, and the next one in its place.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Signal;

use crate::support::args;
use crate::support::command::{code_of, wait};
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::Fixture;
use crate::support::generate::file;
use crate::support::mount::{Mount, is_mounted};
use crate::support::need::require_fuse;
use crate::support::repo::signal;
use crate::support::rng::Rng;
use crate::support::wait_until;

/// What the kernel says for a mount without a process: at once, and to whoever
/// was waiting for an answer.
const DEAD: [Option<i32>; 2] =
    [Some(Errno::NOTCONN.raw_os_error()), Some(Errno::CONNABORTED.raw_os_error())];

fn error_of<T>(result: std::io::Result<T>) -> Option<i32> {
    result.map(drop).expect_err("a dead mount answers nothing").raw_os_error()
}

/// Waits until a mount is dead: for a moment the kernel may know the way by
/// itself.
#[track_caller]
fn wait_for_death(path: &Path) {
    let answer = || std::fs::read_dir(path).map(drop).map_err(|error| error.raw_os_error());
    wait_until("the mount is dead", 5, || answer().is_err_and(|error| DEAD.contains(&error)));
}

#[test]
fn a_killed_mount_answers_enotconn_and_is_mounted_anew_after_umount() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let content = Rng::new(31).bytes(6 << 20);
    file(&fixture.source.join("large"), &content);
    let id = fixture.repo.create(&fixture.source);
    let mut mount = Mount::foreground(&fixture.repo);
    let shown = mount.source(&id, &fixture.source);
    let opened = File::open(shown.join("large")).expect("it opens");
    let mut start = [0; 1000];
    opened.read_exact_at(&mut start, 0).expect("it can be read");
    assert_eq!(mount.end_by(Signal::KILL), 137);
    assert!(is_mounted(mount.point()), "the kernel keeps the dead mount");
    wait_for_death(mount.point());
    assert!(DEAD.contains(&error_of(std::fs::metadata(shown.join("directory-0/file-1")))));
    // The page cache may still answer, with what is right.
    let mut bytes = vec![0; content.len()];
    match opened.read_at(&mut bytes, 0) {
        Ok(length) => assert!(bytes[..length] == content[..length]),
        Err(error) => assert!(DEAD.contains(&error.raw_os_error()), "{error}"),
    }
    // A second mount on top of a dead one would hide the trouble.
    let refused = fixture.repo.run(args!["mount", mount.point()]);
    refused.fails(1, &["dead mount", "umount"]);
    drop(opened);
    fixture.repo.ok(args!["umount", mount.point()]);
    assert!(!is_mounted(mount.point()));
    fixture.repo.ok(args!["mount", mount.point()]);
    assert_same(&fixture.source, &shown, Rules::ALL);
    fixture.repo.ok(args!["umount", mount.point()]);
}

#[test]
fn a_mount_killed_while_it_is_read_fails_readers_at_once_and_leaves_nothing_behind() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let mut rng = Rng::printed("moments");
    for _ in 0..5 {
        let mut mount = Mount::foreground(&fixture.repo);
        let shown = fixture.in_mount(&mount);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    // Ends with an error, or else it would go on for ever.
                    wait_until("the reader fails", 20, || {
                        let listed = std::fs::read_dir(&shown);
                        let listed = listed.and_then(|all| all.collect::<Result<Vec<_>, _>>());
                        let read = std::fs::read(shown.join("directory-1/file-11"));
                        listed.is_err() && read.is_err()
                    });
                });
            }
            std::thread::sleep(Duration::from_micros(rng.below(30_000)));
            assert_eq!(mount.end_by(Signal::KILL), 137);
        });
        fixture.repo.ok(args!["umount", mount.point()]);
        // The dead reader's lease and scratch directory hinder nobody.
        fixture.repo.gc();
    }
    let leases = std::fs::read_dir(fixture.repo.path().join("leases")).expect("a directory");
    let left: Vec<_> = leases
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().ends_with(".lease"))
        .collect();
    assert!(left.is_empty(), "leases of the dead: {left:?}");
    let mount = fixture.mount();
    assert_same(&fixture.source, &fixture.in_mount(&mount), Rules::ALL);
    mount.unmount();
}

/// Signals a mount in the foreground as soon as the kernel shows it, which may
/// be before it serves. Returns its exit code.
fn end_when_mounted(fixture: &Fixture, point: &Path, by: Signal) -> i32 {
    let mut command = fixture.repo.command(args!["mount", "--foreground", point]);
    let mut child = command.stderr(Stdio::null()).spawn().expect("icecore starts");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_mounted(point) {
        assert!(Instant::now() < deadline, "nothing is mounted");
        std::thread::yield_now();
    }
    signal(&child, by);
    code_of(wait(&mut child, Duration::from_secs(20), "a mount that had just begun"))
}

#[test]
fn a_mount_ends_by_any_signal_at_its_very_first_moment() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::plain();
    let point = fixture.scratch.mkdir("mnt");
    for _ in 0..15 {
        for by in [Signal::TERM, Signal::INT] {
            assert_eq!(end_when_mounted(&fixture, &point, by), 0, "{by:?}");
            assert!(!is_mounted(&point), "still mounted after {by:?}");
        }
        // Killed while it asked its own mount, it would hang for ever.
        assert_eq!(end_when_mounted(&fixture, &point, Signal::KILL), 137);
        fixture.repo.ok(args!["umount", &point]);
    }
}
