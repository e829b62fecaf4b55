//! What somebody else wrote into lease files and the lock, held or not.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::support::args;
use crate::support::command::Outcome;
use crate::support::fixture::Fixture;

use super::forge::encoded;
use super::run::steers;

/// What is slower than this waits for something.
const SOON: Duration = Duration::from_secs(60);

/// A lease file that a living process holds: this one.
fn held(fixture: &Fixture, name: &str, bytes: &[u8]) -> (PathBuf, File) {
    let path = fixture.repo.path().join("leases").join(name);
    let mut file = File::create(&path).expect("it can be made");
    file.write_all(bytes).expect("it can be written");
    flock(&file, FlockOperation::NonBlockingLockExclusive).expect("nobody else has it");
    (path, file)
}

/// Runs a command, which must end soon and steer no terminal.
fn soon(fixture: &Fixture, words: &[&str]) -> Outcome {
    let begun = Instant::now();
    let outcome = fixture.repo.run(words);
    assert!(begun.elapsed() < SOON, "{words:?}");
    assert_eq!(steers(outcome.error().as_bytes()), None, "{words:?}");
    assert_eq!(steers(&outcome.stdout), None, "{words:?}");
    outcome
}

#[test]
fn a_held_lease_of_any_content_stops_a_collection_or_names_nothing_and_loses_nothing() {
    let fixture = Fixture::plain();
    let steering = "\u{1b}[2J\u{202e}".repeat(2000);
    let absurd = encoded(|lease| lease.number(u64::MAX));
    let too_many = encoded(|lease| {
        lease.number(100);
        lease.raw(&[7; 640]);
    });
    for bytes in [&[0xff; 5000][..], &absurd, &too_many, steering.as_bytes(), &[0x80]] {
        let (path, _file) = held(&fixture, "99999999-0.lease", bytes);
        let outcome = soon(&fixture, &["gc", "--max-unused", "0"]);
        // Garbage is named as such; what looks like a list names what is not there.
        outcome.ends(4, &[]);
        assert_eq!(fs::read(&path).expect("it is still there"), bytes);
        soon(&fixture, &["check", "--read-data"]).expect(0);
    }
}

#[test]
fn a_held_lease_on_what_is_not_there_keeps_nothing_and_harms_nothing() {
    let fixture = Fixture::plain();
    // As many as a lease may name, none of which is a snapshot or a tree.
    let pairs = encoded(|lease| {
        lease.number(60_000);
        for number in 0..60_000_u64 {
            lease.raw(&number.to_be_bytes().repeat(8));
        }
    });
    let (path, _file) = held(&fixture, "99999999-0.lease", &pairs);
    let outcome = soon(&fixture, &["gc", "--max-unused", "0"]);
    assert!(matches!(outcome.code, 0 | 4), "{} {}", outcome.code, outcome.error());
    assert!(path.exists());
    soon(&fixture, &["check", "--read-data"]).expect(0);
}

#[test]
fn a_held_lease_without_end_takes_neither_memory_nor_time() {
    let fixture = Fixture::plain();
    let (_, file) = held(&fixture, "99999999-0.lease", b"");
    file.set_len(1 << 40).expect("it can be sparse");
    soon(&fixture, &["gc"]).expect(0);
    soon(&fixture, &["list"]).expect(0);
}

#[test]
fn thousands_of_leases_that_nobody_holds_are_removed_and_nothing_else_is() {
    let fixture = Fixture::plain();
    let leases = fixture.repo.path().join("leases");
    for number in 0..3000 {
        fs::write(leases.join(format!("{number}-0.lease")), [0xff; 100]).expect("a file");
    }
    fs::write(leases.join("\u{1b}[2J.lease"), "x").expect("a file");
    fs::write(leases.join("notes"), "mine").expect("a file");
    soon(&fixture, &["gc"]).expect(0);
    let mut left: Vec<_> =
        fs::read_dir(&leases).expect("a directory").flatten().map(|it| it.file_name()).collect();
    left.sort();
    assert_eq!(left, ["gate", "notes"]);
}

#[test]
fn the_text_of_who_holds_the_lock_steers_no_terminal_and_fills_none() {
    let fixture = Fixture::plain();
    let text = "\u{1b}]0;owned\u{7}\r\u{202e}\u{9b}31m\nicecore: all is well\n".repeat(10_000);
    let path = fixture.repo.path().join("lock");
    for bytes in [text.as_bytes(), &[0xff; 100_000], b""] {
        fs::write(&path, bytes).expect("it can be written");
        let file = File::open(&path).expect("it is there");
        flock(&file, FlockOperation::NonBlockingLockExclusive).expect("nobody else has it");
        for command in [args!["gc", "--wait", "0s"], args!["create", "--wait=1s", "/dev/null"]] {
            let outcome = fixture.repo.run(&command);
            let error = outcome.error();
            assert_eq!(steers(error.as_bytes()), None, "{error}");
            assert!(error.len() < 10_000 && error.lines().count() <= 2, "{error}");
            outcome.ends(11, &["writes to it"]);
        }
        soon(&fixture, &["list"]).expect(0);
    }
}
