//! Commands killed at random moments, and what the next ones find.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::command::{code_of, finish};
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::plain_tree;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::{Repo, id_of, signal};
use crate::support::rng::Rng;
use crate::support::scratch::Scratch;
use crate::support::tree::{Shape, generate};

const ROUNDS: u64 = 50;
/// Bytes that each killed `create` has to add.
const NEW: usize = 24 << 20;

/// A repository with two snapshots that must survive, and a place that grows.
struct Victim {
    _scratch: Scratch,
    repo: Repo,
    /// Sources of the survivors, never changed, and their ids.
    survivors: Vec<(PathBuf, String)>,
    source: PathBuf,
}

impl Victim {
    fn new() -> Self {
        let scratch = Scratch::new();
        let repo = Repo::new();
        let (corners, plain) = (scratch.join("corners/tree"), scratch.join("plain"));
        std::fs::create_dir(scratch.join("corners")).expect("a directory can be made");
        generate(&corners, 11, Shape::SMALL);
        plain_tree(&plain, 12, 200, 40_000);
        let ids = [repo.create(&corners), repo.create(&plain)];
        let survivors = [corners, plain].into_iter().zip(ids).collect();
        let source = scratch.join("source");
        Self { _scratch: scratch, repo, survivors, source }
    }

    /// Gives the place content that no snapshot has.
    fn refill(&self, seed: u64) {
        if self.source.exists() {
            std::fs::remove_dir_all(&self.source).expect("it can be removed");
        }
        plain_tree(&self.source, seed, NEW / 100_000, 100_000);
    }

    /// Fails unless the survivors are whole, and every other snapshot that is
    /// listed equals the place as it is now. Returns the ids of those others.
    fn check(&self, rules: Rules) -> Vec<String> {
        let mount = Mount::new(&self.repo);
        let mut ids = self.repo.ids();
        for (source, id) in &self.survivors {
            assert!(ids.contains(id), "snapshot {id} is gone");
            ids.retain(|other| other != id);
            assert_same(source, &mount.source(id, source), rules);
        }
        for id in &ids {
            assert_same(&self.source, &mount.source(id, &self.source), Rules::ALL);
        }
        mount.unmount();
        ids
    }

    fn delete(&self, ids: &[String]) {
        if !ids.is_empty() {
            let mut arguments = vec!["delete", "--yes"];
            arguments.extend(ids.iter().map(String::as_str));
            self.repo.ok(arguments);
        }
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.repo.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().expect("icecore starts")
    }
}

/// Waits, kills, and returns true if the child had not ended by itself.
fn kill_after(child: Child, delay: Duration, what: &str) -> bool {
    std::thread::sleep(delay);
    signal(&child, Signal::KILL);
    let outcome = finish(child, what);
    assert!([0, 137].contains(&outcome.code), "{what}: {} {}", outcome.code, outcome.error());
    outcome.code == 137
}

#[test]
fn after_kill_9_at_50_moments_of_create_every_earlier_snapshot_is_whole() {
    if !require_fuse() {
        return;
    }
    let mut rng = Rng::printed("moments");
    let victim = Victim::new();
    victim.repo.gc();
    let small = victim.repo.du();
    victim.refill(1_000);
    let start = Instant::now();
    let first = victim.repo.create(&victim.source);
    let typical = start.elapsed();
    victim.delete(&[first]);
    let mut killed = 0;
    for round in 0..ROUNDS {
        victim.refill(2_000 + round);
        let source = victim.source.to_str().expect("a text");
        let child = victim.start(&["create", source]);
        // One moment in each fiftieth of the time that it takes.
        let slot = typical.as_nanos() as u64 / ROUNDS;
        let delay = Duration::from_nanos(slot * round + rng.below(slot.max(1)));
        killed += u64::from(kill_after(child, delay, "create"));
        let full = round % 10 == 9;
        let done = victim.check(if full { Rules::ALL } else { Rules::QUICK });
        victim.delete(&done);
        if full {
            let id = victim.repo.create(&victim.source);
            assert_eq!(victim.check(Rules::ALL), std::slice::from_ref(&id));
            victim.delete(&[id]);
        }
    }
    assert!(killed >= ROUNDS / 2, "only {killed} of {ROUNDS} were killed before their end");
    victim.repo.gc();
    assert_eq!(victim.check(Rules::ALL), [""; 0]);
    let left = victim.repo.du();
    let bound = small + small / 4 + (8 << 20);
    assert!(left <= bound, "{small} bytes before, {left} after all was collected");
}

#[test]
fn after_kill_9_in_gc_every_snapshot_is_whole_and_the_next_gc_ends_the_work() {
    if !require_fuse() {
        return;
    }
    let mut rng = Rng::printed("moments");
    let victim = Victim::new();
    victim.repo.gc();
    let small = victim.repo.du();
    let mut typical = Duration::from_millis(200);
    for round in 0..12 {
        victim.refill(5_000 + round);
        let id = victim.repo.create(&victim.source);
        victim.delete(&[id]);
        let child = victim.start(&["gc", "--max-unused", "0"]);
        let delay = Duration::from_nanos(rng.below(typical.as_nanos() as u64 + 1));
        kill_after(child, delay, "gc");
        victim.check(Rules::QUICK);
        let start = Instant::now();
        victim.repo.gc();
        typical = start.elapsed();
    }
    assert_eq!(victim.check(Rules::ALL), [""; 0]);
    let left = victim.repo.du();
    assert!(left <= small + small / 4 + (8 << 20), "{small} bytes before, {left} after");
}

#[test]
fn a_snapshot_that_create_reported_survives_the_death_of_the_next_writer() {
    if !require_fuse() {
        return;
    }
    let victim = Victim::new();
    victim.refill(1);
    let summary: Value = victim.repo.create_json([&victim.source], 0);
    let next = victim.survivors[0].0.with_file_name("next");
    let frozen = loop {
        plain_tree(&next, 2, 300, 200_000);
        if let Some(child) = victim.repo.start_create_and_freeze(&next) {
            break child;
        }
        victim.delete(&["latest".to_owned()]);
        std::fs::rename(&next, next.with_file_name("was")).expect("it can be renamed once");
    };
    frozen.thaw(Some(Signal::KILL)).expect(137);
    let others = victim.check(Rules::ALL);
    assert_eq!(others, [id_of(&summary)]);
}

#[test]
fn an_interrupted_create_ends_with_130_and_leaves_only_garbage() {
    if !require_fuse() {
        return;
    }
    let victim = Victim::new();
    victim.repo.gc();
    let small = victim.repo.du();
    let mut interrupted = 0;
    for (seed, by, code) in [(1, Signal::INT, 130), (2, Signal::TERM, 143), (3, Signal::INT, 130)] {
        victim.refill(7_000 + seed);
        let Some(child) = victim.repo.start_create_and_freeze(&victim.source) else {
            victim.delete(&["latest".to_owned()]);
            continue;
        };
        child.thaw(Some(by)).fails(code, &[]);
        assert_eq!(victim.check(Rules::QUICK), [""; 0], "an interrupted create left a snapshot");
        interrupted += 1;
    }
    assert!(interrupted > 0, "no create lived long enough to be interrupted");
    victim.repo.gc();
    let left = victim.repo.du();
    assert!(left <= small + small / 4 + (4 << 20), "{small} bytes before, {left} after");
    assert_eq!(victim.check(Rules::ALL), [""; 0]);
}

#[test]
fn a_killed_init_can_be_repeated() {
    let mut rng = Rng::printed("moments");
    for _ in 0..10 {
        let repo = Repo::missing();
        let child = repo.command(["init"]).stderr(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut child = child.expect("icecore starts");
        std::thread::sleep(Duration::from_micros(rng.below(60_000)));
        let _ended_by_itself = child.kill();
        let code = code_of(child.wait().expect("it can be waited for"));
        if code == 137 && repo.run(["list"]).code != 0 {
            repo.ok(["init"]);
        }
        repo.ok(["list"]);
    }
}
