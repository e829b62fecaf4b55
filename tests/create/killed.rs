//! A `create` that ended too early misleads no later one: what it had noted of
//! files is worth nothing without the content that it had not stored yet.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::place::{Place, rest};
use crate::support::args;
use crate::support::command::{finish, run};
use crate::support::fixture::plain_tree;
use crate::support::need::require_fuse;
use crate::support::repo::{id_of, signal};
use crate::support::rng::Rng;

const ROUNDS: u64 = 12;

/// Starts a `create`, ends it after a while, and returns true if it had not
/// ended by itself.
fn cut(place: &Place, delay: Duration, by: Signal) -> bool {
    let mut command = place.command(&args!["."]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().expect("icecore starts");
    std::thread::sleep(delay);
    signal(&child, by);
    let outcome = finish(child, "create");
    assert!([0, 130, 137, 143].contains(&outcome.code), "{}: {}", outcome.code, outcome.error());
    outcome.code != 0
}

#[test]
fn after_a_create_that_was_cut_short_the_next_one_is_right() {
    if !require_fuse() {
        return;
    }
    let mut rng = Rng::printed("moments");
    let place = Place::new();
    let new = place.at("new");
    plain_tree(&place.at("old"), 1, 100, 20_000);
    plain_tree(&new, 2, 400, 80_000);
    rest();
    let start = Instant::now();
    let first = place.create(&[]);
    let typical = start.elapsed().as_micros() as u64;
    place.compare(&first);
    let mut ended_early = 0;
    for round in 0..ROUNDS {
        std::fs::remove_dir_all(&new).expect("it is there");
        plain_tree(&new, 100 + round, 400, 80_000);
        place.file("changing", &rng.bytes(30_000));
        rest();
        let by = [Signal::KILL, Signal::INT, Signal::TERM][(round % 3) as usize];
        let slot = typical / ROUNDS;
        let delay = Duration::from_micros(slot * round + rng.below(slot.max(1)));
        ended_early += u64::from(cut(&place, delay, by));
        if round % 2 == 1 {
            place.repo.gc();
        }
        let summary = place.create(&[]);
        place.compare(&summary);
    }
    assert!(ended_early >= ROUNDS / 3, "only {ended_early} of {ROUNDS} were cut short");
    place.compare(&place.create(&args!["--force"]));
}

#[test]
fn after_a_gc_that_was_cut_short_the_next_create_is_right() {
    if !require_fuse() {
        return;
    }
    let mut rng = Rng::printed("moments");
    let place = Place::new();
    plain_tree(&place.at("old"), 1, 50, 20_000);
    let mut typical = 200_000;
    let mut ended_early = 0;
    for round in 0..ROUNDS {
        let top = place.at("new");
        if top.exists() {
            std::fs::remove_dir_all(&top).expect("it is there");
        }
        plain_tree(&top, 200 + round, 150, 60_000);
        rest();
        // All that it notes of the tree is about trees and chunks that only
        // this snapshot has.
        let summary = place.create(&[]);
        place.repo.ok(["delete", "--yes", &id_of(&summary)]);
        let mut command = place.repo.command(["gc", "--max-unused", "0"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let start = Instant::now();
        let child = command.spawn().expect("icecore starts");
        std::thread::sleep(Duration::from_micros(rng.below(typical)));
        signal(&child, Signal::KILL);
        if finish(child, "gc").code == 0 {
            typical = start.elapsed().as_micros() as u64;
        } else {
            ended_early += 1;
        }
        let summary = place.create(&[]);
        place.compare(&summary);
    }
    assert!(ended_early >= 2, "only {ended_early} of {ROUNDS} were cut short");
}

#[test]
fn after_a_create_that_could_not_finish_its_command_files_are_still_right() {
    if !require_fuse() {
        return;
    }
    let place = Place::new();
    plain_tree(&place.at("tree"), 3, 20, 50_000);
    rest();
    place.compare(&place.create(&[]));
    let script = "head -c 5000000 /dev/urandom; exit 1";
    run(&mut place.command(&args!["--from-command", "--", "sh", "-c", script])).expect(1);
    place.repo.gc();
    let summary = place.create(&[]);
    assert_eq!(summary["files_read"], 0, "{summary}");
    place.compare(&summary);
}
