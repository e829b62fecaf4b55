//! A disk that fills up, and is freed by icecore alone.

use std::path::PathBuf;

use crate::support::args;
use crate::support::command::Outcome;
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::plain_tree;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::{Repo, count_of};
use crate::support::scratch::Scratch;
use crate::support::small_disk::SmallDisk;
use crate::support::tools::cp_copy;

const M: u64 = 1 << 20;
/// Bytes that are left free, from hardly anything to nearly enough.
const LEVELS: [u64; 7] = [0, 8 << 10, 100 << 10, M, 3 * M, 6 * M, 12 * M];

/// A repository on a small disk, with snapshots, each with a copy of its source.
struct Filled {
    disk: SmallDisk,
    repo: Repo,
    scratch: Scratch,
    source: PathBuf,
    kept: Vec<(String, PathBuf)>,
}

impl Filled {
    fn new() -> Option<Self> {
        let (disk, scratch) = (SmallDisk::ext4(192)?, Scratch::new());
        let repo = Repo::at(&disk.point().join("repo"));
        let source = scratch.join("source");
        let mut this = Self { disk, repo, scratch, source, kept: Vec::new() };
        plain_tree(&this.source.join("stays"), 1, 40, 100_000);
        for round in 0..3 {
            this.grow(round);
        }
        Some(this)
    }

    /// Takes a snapshot with 6 MB of its own.
    fn grow(&mut self, round: u64) {
        self.refill(round);
        let copy = self.scratch.join(&format!("copy-{round}"));
        cp_copy(&self.source, &copy);
        self.kept.push((self.repo.create(&self.source), copy));
    }

    fn refill(&self, round: u64) {
        let turns = self.source.join("turns");
        if turns.exists() {
            std::fs::remove_dir_all(&turns).expect("it can be removed");
        }
        plain_tree(&turns, 100 + round, 60, 100_000);
    }

    fn compare(&self) {
        let ids = self.repo.ids();
        assert_eq!(ids.len(), self.kept.len(), "{ids:?}");
        let mount = Mount::new(&self.repo);
        for (id, copy) in &self.kept {
            let rules = Rules { root: false, ..Rules::ALL };
            assert_same(copy, &mount.source(id, &self.source), rules);
        }
        mount.unmount();
        self.repo.ok(["check", "--read-data"]);
    }
}

/// It worked, or says in one line (after remarks on the audit log) that there is
/// no space.
fn well_or_full(outcome: &Outcome, case: &str) -> bool {
    if outcome.code == 0 {
        return true;
    }
    assert_eq!(outcome.code, 1, "{case}: {}", outcome.error());
    let error = outcome.error();
    let lines = error.lines().filter(|line| !line.contains("The audit log lacks"));
    let lines: Vec<_> = lines.collect();
    let says = lines.len() == 1 && lines[0].to_lowercase().contains("no space");
    assert!(says, "{case}: {error}");
    false
}

#[test]
fn at_every_level_of_a_full_disk_create_fails_in_one_line_and_costs_nothing() {
    if !require_fuse() {
        return;
    }
    let Some(mut filled) = Filled::new() else { return };
    let mut failed = 0;
    for (round, left) in (10..).zip(LEVELS) {
        filled.disk.fill(left);
        filled.refill(round);
        let outcome = filled.repo.run(args!["create", "--json", &filled.source]);
        let is_done = well_or_full(&outcome, &format!("create with {left} bytes left"));
        failed += u64::from(!is_done);
        if is_done {
            let copy = filled.scratch.join(&format!("copy-{round}"));
            cp_copy(&filled.source, &copy);
            let id = crate::support::repo::id_of(&outcome.last_json_line());
            filled.kept.push((id, copy));
        }
        // Listing needs no space; a lease, which reading takes, needs a block.
        assert_eq!(filled.repo.ids().len(), filled.kept.len());
        filled.disk.make_room();
        filled.compare();
    }
    assert!(failed >= 5, "only {failed} failed");
    filled.grow(20);
    filled.compare();
}

#[test]
fn on_a_disk_with_nothing_left_delete_and_gc_free_space_and_create_goes_on() {
    if !require_fuse() {
        return;
    }
    for (round, left) in LEVELS.into_iter().enumerate() {
        let Some(mut filled) = Filled::new() else { return };
        filled.disk.fill(left);
        if round % 2 == 0 {
            let gone = filled.kept.remove(0).0;
            filled.repo.ok(["delete", "--yes", &gone]);
        } else {
            filled.repo.ok(["prune", "--yes", "--keep-last", "2"]);
            filled.kept.remove(0);
        }
        let report = filled.repo.ok(["gc", "--json", "--max-unused", "0"]).last_json_line();
        assert!(count_of(&report, "freed_bytes") >= 5 * M, "{left} left: {report}");
        filled.compare();
        filled.disk.make_room();
        filled.grow(30);
        filled.compare();
        assert!(filled.repo.path().join("reserve").exists(), "the reserve is not made again");
    }
}

#[test]
fn without_a_reserve_a_full_disk_is_told_and_nothing_is_lost() {
    if !require_fuse() {
        return;
    }
    let Some(filled) = Filled::new() else { return };
    std::fs::remove_file(filled.repo.path().join("reserve")).expect("it is there");
    for left in LEVELS {
        filled.disk.fill(left);
        let outcome = filled.repo.run(["gc", "--max-unused", "0"]);
        well_or_full(&outcome, &format!("gc with {left} bytes left"));
        let _gone = std::fs::remove_file(filled.repo.path().join("reserve"));
        filled.disk.make_room();
        filled.compare();
    }
}

#[test]
fn at_every_level_of_a_full_disk_a_repair_fails_in_one_line_or_works_and_loses_nothing() {
    if !require_fuse() {
        return;
    }
    let Some(filled) = Filled::new() else { return };
    let repair = ["repair", "--yes"];
    let mut done = 0;
    for left in LEVELS {
        let current = filled.repo.path().join("db/CURRENT");
        std::fs::remove_file(current).expect("it is there");
        filled.disk.fill(left);
        let outcome = filled.repo.run(repair);
        let is_done = well_or_full(&outcome, &format!("repair with {left} bytes left"));
        done += u64::from(is_done);
        filled.disk.make_room();
        if !is_done {
            let building = filled.repo.path().join("db.building");
            assert!(!building.exists(), "with {left} bytes left it leaves what it began");
            filled.repo.ok(repair);
        }
        filled.compare();
        // Only links of what is in use.
        for entry in std::fs::read_dir(filled.repo.path()).expect("it can be listed").flatten() {
            if entry.file_name().to_string_lossy().starts_with("db.damaged") {
                std::fs::remove_dir_all(entry.path()).expect("it can be removed");
            }
        }
    }
    assert!(done > 0, "no repair worked, whatever was left");
}
