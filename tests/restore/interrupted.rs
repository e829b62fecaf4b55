//! Restores that are cut short: what is there is whole, and running it again
//! finishes it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::place::{Place, leftovers};
use crate::support::command::finish;
use crate::support::fixture::{Fixture, plain_tree};
use crate::support::generate::{link, symlink};
use crate::support::repo::{count_of, signal};
use crate::support::rng::Rng;

const ROUNDS: u64 = 10;

fn tree() -> Place {
    Place::new(Fixture::built(|source| {
        plain_tree(source, 9, 300, 40_000);
        plain_tree(&source.join("large"), 10, 2, 20_000_000);
        for index in 0..200 {
            symlink(&source.join(format!("link-{index}")), b"somewhere");
            link(&source.join("directory-0/file-0"), &source.join(format!("hard-{index}")));
        }
    }))
}

/// Starts a restore, ends it after a while, and returns its code.
fn cut(place: &Place, options: &[&str], delay: Duration, by: Signal) -> i32 {
    let mut command = place.command(options);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().expect("icecore starts");
    std::thread::sleep(delay);
    signal(&child, by);
    finish(child, "restore").code
}

/// Each file that is there under its own name is whole.
fn all_is_whole(place: &Place) {
    for (path, ..) in super::place::stamps(&place.target) {
        let inner = path.strip_prefix(&place.target).expect("it is in the target");
        let original = place.fixture.source.join(inner);
        if path.is_file() && original.is_file() {
            let same = std::fs::read(&path).ok() == std::fs::read(&original).ok();
            assert!(same, "{} is not whole", path.display());
        }
    }
}

#[test]
fn a_restore_that_was_killed_is_finished_by_the_next_one_which_leaves_nothing_behind() {
    let place = tree();
    let start = Instant::now();
    place.summary(&[], 0);
    let typical = start.elapsed().as_micros() as u64;
    let mut rng = Rng::printed("moments");
    let mut ended_early = 0;
    for round in 0..ROUNDS {
        if round % 3 != 2 {
            std::fs::remove_dir_all(&place.target).expect("it can be removed");
        }
        let by = if round % 2 == 0 { Signal::KILL } else { Signal::INT };
        let slot = typical / ROUNDS;
        let delay = Duration::from_micros(slot * round + rng.below(slot.max(1)));
        let options = if round % 3 == 2 { &["--overwrite", "always"][..] } else { &[] };
        let code = cut(&place, options, delay, by);
        assert!([0, 130, 137].contains(&code), "{code}");
        ended_early += u64::from(code != 0);
        all_is_whole(&place);
        if by == Signal::INT {
            let left = leftovers(&place.target);
            let marker = |path: &std::path::PathBuf| path.ends_with(".icecore-restore-unfinished");
            assert!(left.iter().all(marker), "{left:?}");
        }
        // What is right already is not written again, and nothing is asked.
        let again = if round % 3 == 2 { &["--yes"][..] } else { &[] };
        place.summary(again, 0);
        place.compare();
        assert_eq!(leftovers(&place.target), Vec::<std::path::PathBuf>::new());
    }
    assert!(ended_early >= ROUNDS / 3, "only {ended_early} of {ROUNDS} were cut short");
}

#[test]
fn the_next_one_skips_what_is_right() {
    let place = tree();
    place.summary(&[], 0);
    for name in ["directory-3", "large"] {
        std::fs::remove_dir_all(place.at(name)).expect("it is there");
    }
    let summary = place.summary(&[], 0);
    assert_eq!(count_of(&summary, "files_created"), 12, "{summary}");
    place.compare();
}

#[test]
fn a_target_of_which_only_its_own_time_is_wrong_is_finished_without_a_trace() {
    let place = Place::of(&["a", "b/c"]);
    place.summary(&[], 0);
    crate::support::generate::mtime(&place.target, 1, 0);
    place.summary(&["--yes"], 0);
    place.compare();
}

#[test]
fn two_restores_into_one_target_do_not_work_at_once() {
    let place = tree();
    let mut command = place.command(&[]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().expect("icecore starts");
    // Its text is written when nobody else can have it.
    crate::support::wait_until("the marker is held", 60, || {
        let marker = std::fs::metadata(place.at(".icecore-restore-unfinished"));
        marker.is_ok_and(|marker| marker.len() > 0)
    });
    signal(&child, Signal::STOP);
    let refused = place.restore(&["--yes"]);
    signal(&child, Signal::CONT);
    let outcome = finish(child, "restore");
    assert_eq!(outcome.code, 0, "{}", outcome.error());
    refused.fails(1, &["another restore"]);
    place.compare();
}

#[test]
fn a_snapshot_deleted_and_collected_meanwhile_is_restored_whole() {
    let place = tree();
    let mut command = place.command(&[]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().expect("icecore starts");
    crate::support::wait_until("the marker is there", 60, || {
        place.at(".icecore-restore-unfinished").exists()
    });
    signal(&child, Signal::STOP);
    place.fixture.repo.ok(["delete", "--yes", &place.fixture.id]);
    place.fixture.repo.gc();
    signal(&child, Signal::CONT);
    let outcome = finish(child, "restore");
    assert_eq!(outcome.code, 0, "{}", outcome.error());
    place.compare();
}
