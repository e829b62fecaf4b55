//! Repairs that are killed at random moments, and run again.
//!
//! `ICECORE_CRASH_ROUNDS=N` kills N repairs of each damage. Whatever the moment, the
//! repair that is run again ends as one that nobody disturbed: the same snapshots,
//! the same copies of them, the same losses, and every other byte.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use icecore::store::rocks::RocksStore;
use icecore::store::{Batch, Durability, Family, Store};
use rustix::process::Signal;
use serde_json::Value;

use crate::crash::life::rounds;
use crate::support::args;
use crate::support::command::{finish, run_tool};
use crate::support::fixture::plain_tree;
use crate::support::generate::file;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::{Repo, signal};
use crate::support::rng::Rng;
use crate::support::scratch::Scratch;

/// Killed repairs of each damage, unless `ICECORE_CRASH_ROUNDS` says more.
const ROUNDS: u64 = 6;
const FILES: usize = 120;

type Damage = fn(&Path);

/// What is done to a repository, and whether content is lost by it.
const DAMAGES: [(&str, bool, Damage); 6] = [
    ("CURRENT is lost", false, |repo| remove(repo, |name| name == "CURRENT")),
    ("the manifest is lost", false, |repo| {
        remove(repo, |name| name == "CURRENT" || name.starts_with("MANIFEST-"));
    }),
    ("every third entry of the index is lost", false, lose_entries),
    ("a table is lost", true, |repo| {
        std::fs::remove_file(largest_table(repo)).expect("it is there");
    }),
    ("a table lost its end", true, |repo| {
        let table = largest_table(repo);
        let content = std::fs::read(&table).expect("it can be read");
        file(&table, &content[..content.len() / 2]);
    }),
    ("a block in a table is damaged", true, |repo| {
        let table = largest_table(repo);
        let mut content = std::fs::read(&table).expect("it can be read");
        let middle = content.len() / 2;
        content[middle..middle + 64].fill(0);
        file(&table, &content);
    }),
];

fn tables(repo: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(repo.join("db")).expect("it can be listed").flatten();
    entries.map(|entry| entry.path()).collect()
}

fn remove(repo: &Path, is_victim: fn(&str) -> bool) {
    for path in tables(repo) {
        if is_victim(&path.file_name().unwrap_or_default().to_string_lossy()) {
            std::fs::remove_file(path).expect("it can be removed");
        }
    }
}

fn largest_table(repo: &Path) -> PathBuf {
    let tables = tables(repo).into_iter();
    let tables = tables.filter(|path| path.extension().is_some_and(|kind| kind == "sst"));
    tables.max_by_key(|path| path.metadata().expect("it is there").len()).expect("there are some")
}

fn lose_entries(repo: &Path) {
    let store = RocksStore::open(&repo.join("db"), &repo.join("tmp")).expect("it can be opened");
    let (mut batch, mut number) = (Batch::new(), 0);
    let visit = &mut |id: &[u8], _: &[u8]| {
        number += 1;
        if number % 3 == 0 {
            batch.delete(Family::Index, id);
        }
        ControlFlow::Continue(())
    };
    store.scan(Family::Index, &[], visit).expect("it can be read");
    store.write(&batch, Durability::Synced).expect("it can be written");
}

/// A repository with files that a collection rewrote, besides those of loads: the
/// former are copied by a repair, the latter linked.
struct Patient {
    scratch: Scratch,
    repo: Repo,
    source: PathBuf,
}

impl Patient {
    fn new() -> Self {
        let (scratch, repo) = (Scratch::new(), Repo::new());
        let source = scratch.join("source");
        for round in 0..3 {
            plain_tree(&source.join("turns"), 30 + round, FILES, 30_000);
            plain_tree(&source.join(format!("stays-{round}")), round, FILES, 30_000);
            let id = repo.create(&source);
            if round == 0 {
                // Half of its file stays, and is rewritten.
                std::fs::remove_dir_all(source.join("turns")).expect("it is there");
                repo.create(&source);
                repo.ok(["delete", "--yes", &id]);
                repo.gc();
            }
        }
        Self { scratch, repo, source }
    }

    /// A damaged copy.
    fn copy(&self, damage: Damage) -> Repo {
        let home = self.scratch.join("copy");
        let _ = run_tool("rm", args!["-rf", &home]);
        std::fs::create_dir(&home).expect("it can be made");
        let copy = Repo::copy_of(&self.repo, &home.join("repo"));
        damage(copy.path());
        copy
    }

    /// Every file of the newest of the snapshots that are listed reads as it was, or
    /// not at all. Returns how many do.
    fn whole_files(&self, repo: &Repo) -> usize {
        let mount = Mount::new(repo);
        let shown = mount.point().join("latest").join(self.source.strip_prefix("/").expect("it"));
        let mut whole = 0;
        for part in ["turns", "stays-0", "stays-1", "stays-2"] {
            for number in 0..FILES {
                let name = format!("{part}/directory-{}/file-{number}", number / 10);
                let expected = std::fs::read(self.source.join(&name)).expect("it is there");
                match std::fs::read(shown.join(&name)) {
                    Ok(read) => assert!(read == expected, "other bytes in {name}"),
                    Err(error) => {
                        assert_eq!(error.raw_os_error(), Some(5), "{name}: {error}");
                        continue;
                    }
                }
                whole += 1;
            }
        }
        mount.unmount();
        whole
    }
}

/// What a repair leaves: the snapshots, what is damaged, and how many files are whole.
fn state(patient: &Patient, repo: &Repo) -> (Vec<String>, Value, usize) {
    let mut ids = repo.ids();
    ids.sort();
    let report = repo.run(["check", "--read-data", "--json"]).last_json_line();
    repo.ok(["log", "verify"]);
    (ids, report["damages"].clone(), patient.whole_files(repo))
}

/// A repair that died between its two renames: there is no store until the next one.
fn between_the_renames(
    patient: &Patient,
    damage: Damage,
    code: i32,
    expected: &(Vec<String>, Value, usize),
) {
    let copy = patient.copy(damage);
    copy.run(["repair", "--yes"]).expect(code);
    let at = |name: &str| copy.path().join(name);
    std::fs::rename(at("db"), at("db.rebuilt")).expect("it can be renamed");
    copy.run(["list"]).fails(10, &["icecore repair"]);
    copy.run(["repair", "-n"]).expect(4);
    assert!(!at("db").exists(), "a dry run changed something");
    copy.run(["repair", "--yes"]).expect(code);
    assert!(state(patient, &copy) == *expected, "it ended in another way");
}

#[test]
fn a_repair_killed_at_any_moment_and_run_again_ends_as_if_nobody_had_disturbed_it() {
    if !require_fuse() {
        return;
    }
    let mut rng = Rng::printed("moments");
    let patient = Patient::new();
    let rounds = rounds(ROUNDS);
    let mut killed = 0;
    for (case, loses, damage) in DAMAGES {
        let copy = patient.copy(damage);
        let start = Instant::now();
        let code = if loses { 4 } else { 0 };
        copy.run(["repair", "--yes"]).expect(code);
        let typical = start.elapsed();
        let expected = state(&patient, &copy);
        assert!(loses || expected.2 == 4 * FILES, "{case}: {} files are whole", expected.2);
        for round in 0..rounds {
            let copy = patient.copy(damage);
            let mut command = copy.command(["repair", "--yes"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            let child = command.spawn().expect("icecore starts");
            let slot = u64::try_from(typical.as_nanos()).expect("it is short") / rounds;
            let moment = Duration::from_nanos(slot * round + rng.below(slot.max(1)));
            std::thread::sleep(moment);
            signal(&child, Signal::KILL);
            let outcome = finish(child, "repair");
            assert!([code, 137].contains(&outcome.code), "{case}: {}", outcome.error());
            killed += u64::from(outcome.code == 137);
            eprintln!("{case}: killed after {moment:?} of {typical:?}: {}", outcome.code);
            let again = copy.run(["repair", "--yes"]);
            assert_eq!(again.code, code, "{case}: {} {}", again.text(), again.error());
            assert!(state(&patient, &copy) == expected, "{case}: another end after {moment:?}");
            for leftover in ["db.building", "db.rebuilt"] {
                assert!(!copy.path().join(leftover).exists(), "{case}: {leftover} is left");
            }
        }
        between_the_renames(&patient, damage, code, &expected);
        let copy = patient.copy(damage);
        copy.run(["repair", "--yes"]).expect(code);
        // What older snapshots alone held stays lost.
        let healed = copy.create(&patient.source);
        let report = copy.run(["check", "--read-data", "--json"]).last_json_line();
        let damaged = report["damaged_snapshots"].as_array().expect("a list");
        assert!(loses || damaged.is_empty(), "{case}: {report}");
        assert!(!damaged.iter().any(|id| *id == healed), "{case}: {report}");
        assert_eq!(patient.whole_files(&copy), 4 * FILES, "{case}: it was not healed");
        // What is lost for good is told; no file keeps a collection from its work.
        let collected = copy.run(["gc", "--max-unused", "0"]);
        let is_told = collected.code == 4 && collected.error().contains("that are missing");
        assert!(collected.code == 0 || (loses && is_told), "{case}: {}", collected.error());
    }
    let all = rounds * DAMAGES.len() as u64;
    eprintln!("{killed} of {all} were killed before their end");
    assert!(killed >= all / 2, "only {killed} of {all} were killed");
}
