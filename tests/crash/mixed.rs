//! One repository through a life of commands that are killed at random moments.
//!
//! `ICECORE_CRASH_ROUNDS=N` makes the life longer. What is known after each
//! round: a command that ended with 0 did what it says; one that was killed did
//! all of it or none, and takes nothing that it does not name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::crash::life::rounds;
use crate::support::command::{Outcome, finish};
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::plain_tree;
use crate::support::generate::file;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::{Repo, id_of, signal};
use crate::support::rng::Rng;
use crate::support::scratch::Scratch;
use crate::support::tools::cp_copy;

/// Rounds, unless `ICECORE_CRASH_ROUNDS` says more.
const ROUNDS: u64 = 60;
/// Rounds between two comparisons of every byte.
const FULL: u64 = 15;
/// Snapshots that are kept at most, so that the comparison ends.
const SNAPSHOTS_MAX: usize = 8;
const VERBS: [&str; 10] =
    ["create", "create", "delete", "prune", "undelete", "tag", "gc", "gc", "repair", "check"];

/// What is known of the repository.
struct Model {
    repo: Repo,
    scratch: Scratch,
    source: PathBuf,
    rng: Rng,
    /// Each snapshot that was ever made, by its id, with a copy of its source.
    copies: BTreeMap<String, PathBuf>,
    present: BTreeSet<String>,
    /// How long each verb takes when it is left alone.
    typical: BTreeMap<&'static str, Duration>,
    killed: u64,
    copies_made: u64,
}

impl Model {
    fn new() -> Self {
        let (repo, scratch) = (Repo::new(), Scratch::new());
        let (source, rng) = (scratch.join("source"), Rng::printed("moments and commands"));
        let (copies, present, typical) = Default::default();
        let (killed, copies_made) = (0, 0);
        Self { repo, scratch, source, rng, copies, present, typical, killed, copies_made }
    }

    /// Changes a part of the source, and copies it for later comparisons.
    fn edit(&mut self) -> PathBuf {
        let part = self.source.join(format!("part-{}", self.rng.below(5)));
        if part.exists() {
            std::fs::remove_dir_all(&part).expect("it can be removed");
        }
        plain_tree(&part, self.rng.next(), 12, 30_000);
        file(&self.source.join("round"), self.rng.next().to_string().as_bytes());
        self.copies_made += 1;
        let copy = self.scratch.join(&format!("copy-{}", self.copies_made));
        cp_copy(&self.source, &copy);
        copy
    }

    /// One of the snapshots that are there.
    fn any(&mut self) -> Option<String> {
        let count = self.present.len() as u64;
        let index = (count > 0).then(|| self.rng.below(count))?;
        self.present.iter().nth(usize::try_from(index).expect("it is small")).cloned()
    }

    /// The arguments of a verb, with the snapshots that it may remove.
    fn arguments(&mut self, verb: &str) -> (Vec<String>, BTreeSet<String>) {
        let any = self.any();
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let of = |ids: Option<&String>| ids.into_iter().cloned().collect();
        match (verb, &any) {
            ("create", _) => (texts(&["create", "--json", &path(&self.source)]), of(None)),
            ("delete", Some(id)) => (texts(&["delete", "--yes", id]), of(Some(id))),
            ("prune", _) => (texts(&["prune", "--yes", "--keep-last", "5"]), self.present.clone()),
            ("undelete", _) => (texts(&["undelete", "--all"]), of(None)),
            // There is nothing to repair: whatever was killed before it left garbage alone.
            ("repair", _) => (texts(&["repair", "--yes"]), of(None)),
            ("check", _) => (texts(&["check", "--read-data"]), of(None)),
            ("tag", Some(id)) => (texts(&["tag", "--add", "marked", id]), of(None)),
            _ => (texts(&["gc", "--max-unused", "0"]), of(None)),
        }
    }

    /// Runs a verb, and kills it after a random part of its usual time, or leaves
    /// it alone now and then.
    fn run(&mut self, verb: &'static str, arguments: &[String]) -> Outcome {
        let mut command = self.repo.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let start = Instant::now();
        let child = command.spawn().expect("icecore starts");
        let usual = self.typical.get(verb).copied();
        let delay = usual.filter(|_| self.rng.below(5) > 0);
        if let Some(usual) = delay {
            let nanoseconds = u64::try_from(usual.as_nanos()).expect("it is short");
            std::thread::sleep(Duration::from_nanos(self.rng.below(nanoseconds + 1)));
            signal(&child, Signal::KILL);
        }
        let outcome = finish(child, verb);
        if delay.is_none() {
            self.typical.insert(verb, start.elapsed());
        }
        self.killed += u64::from(outcome.code == 137);
        outcome
    }

    /// Fails unless what is listed is what may be, and believes it from then on.
    fn learn(&mut self, verb: &str, outcome: &Outcome, copy: PathBuf, removed: &BTreeSet<String>) {
        let ids: BTreeSet<_> = self.repo.ids().into_iter().collect();
        let lost: Vec<_> =
            self.present.difference(&ids).filter(|id| !removed.contains(*id)).collect();
        assert!(lost.is_empty(), "after {verb}: {lost:?} are gone");
        if outcome.code == 0 && verb == "create" {
            assert!(ids.contains(&id_of(&outcome.last_json_line())), "what create made is gone");
        }
        if outcome.code == 0 && verb == "delete" {
            assert!(ids.is_disjoint(removed), "what was deleted is there");
        }
        let kept = self.present.intersection(&ids).count();
        if verb == "delete" {
            let left = ids.intersection(removed).count();
            assert!(left == 0 || left == removed.len(), "{left} of {removed:?} are left");
        } else if verb == "prune" && outcome.code != 0 {
            let most = 5.min(self.present.len());
            assert!(kept == self.present.len() || kept == most, "prune left {kept}");
        }
        for id in &ids {
            assert!(
                self.copies.contains_key(id) || verb == "create",
                "{id} comes from nowhere after {verb}"
            );
            self.copies.entry(id.clone()).or_insert_with(|| copy.clone());
        }
        self.present = ids;
    }

    /// Fails unless each snapshot equals its copy.
    fn compare(&self, rules: Rules) {
        let mount = Mount::new(&self.repo);
        for id in &self.present {
            assert_same(&self.copies[id], &mount.source(id, &self.source), rules);
        }
        mount.unmount();
    }

    /// Removes snapshots that no comparison has the time for.
    fn shrink(&mut self) {
        while self.present.len() > SNAPSHOTS_MAX {
            let id = self.any().expect("there are many");
            self.repo.ok(["delete", "--yes", &id]);
            self.present.remove(&id);
        }
    }
}

fn path(path: &std::path::Path) -> String {
    path.to_str().expect("test paths are texts").to_owned()
}

#[test]
fn a_life_of_all_commands_killed_at_random_moments_loses_nothing_and_goes_on() {
    if !require_fuse() {
        return;
    }
    let mut model = Model::new();
    let all = rounds(ROUNDS);
    for round in 0..all {
        let index = model.rng.below(VERBS.len() as u64);
        let verb = if round < 3 { "create" } else { VERBS[index as usize] };
        let copy = if verb == "create" { model.edit() } else { PathBuf::new() };
        let (arguments, removed) = model.arguments(verb);
        let outcome = model.run(verb, &arguments);
        eprintln!("round {round}: {} ended with {}", arguments.join(" "), outcome.code);
        let is_well = [0, 137].contains(&outcome.code);
        assert!(is_well, "round {round}: {arguments:?}: {} {}", outcome.code, outcome.error());
        model.learn(verb, &outcome, copy, &removed);
        model.repo.ok(["log", "verify"]);
        model.shrink();
        let rules = Rules { root: false, ..Rules::ALL };
        if round % FULL == FULL - 1 || round + 1 == all {
            model.compare(rules);
            model.repo.gc();
            let copy = model.edit();
            let id = model.repo.create(&model.source);
            model.present.insert(id.clone());
            model.copies.insert(id, copy);
        } else {
            model.compare(Rules { root: false, ..Rules::QUICK });
        }
    }
    model.compare(Rules { root: false, ..Rules::ALL });
    eprintln!("{} of {all} were killed before their end", model.killed);
    assert!(model.killed >= all / 4, "only {} of {all} were killed", model.killed);
    let log = model.repo.ok(["log", "--json"]).text();
    let made = log.lines().filter(|line| line.contains("backup.snapshot.created")).count();
    assert!(made > 0, "the log knows of no snapshot");
}
