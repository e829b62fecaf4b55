//! The power goes at any moment: what a command said was done is there, whole.
//!
//! The repository lies on a disk that loses whatever was not synced. Each verb
//! is run again and again from the same state, cut behind one change of the disk
//! more each time; the last cut comes when the command has ended with 0.

use std::path::{Path, PathBuf};

use crate::support::args;
use crate::support::command::Outcome;
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::plain_tree;
use crate::support::frail::{Lie, Lost};
use crate::support::frail_disk::{FrailDisk, Image};
use crate::support::generate::file;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::{Repo, id_of};
use crate::support::rng::Rng;
use crate::support::scratch::Scratch;
use crate::support::tools::cp_copy;

/// Cuts of each verb, unless `ICECORE_CRASH_ROUNDS` says more.
const CUTS: u64 = 8;

/// Runs that are cut in a verb.
pub(super) fn rounds(default: u64) -> u64 {
    let given = std::env::var("ICECORE_CRASH_ROUNDS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A repository on a frail disk with what was promised of it.
struct Life {
    disk: FrailDisk,
    repo: Repo,
    scratch: Scratch,
    source: PathBuf,
    /// Snapshots that are there, each with a copy of what it holds.
    kept: Vec<(String, PathBuf)>,
    /// Snapshots that were deleted and not collected.
    deleted: Vec<String>,
    image: Image,
}

impl Life {
    /// Three snapshots of a changing tree, and one that was deleted.
    fn new() -> Self {
        let (disk, scratch) = (FrailDisk::new(), Scratch::new());
        let source = scratch.join("source");
        let repo = Repo::at(&disk.point().join("repo"));
        let mut kept = Vec::new();
        for round in 0..4 {
            plain_tree(&source.join(format!("stays-{round}")), round, 12, 20_000);
            plain_tree(&source.join("turns"), 100 + round, 12, 20_000);
            file(&source.join("small"), format!("{round}").as_bytes());
            let copy = scratch.join(&format!("copy-{round}"));
            cp_copy(&source, &copy);
            kept.push((repo.create(&source), copy));
            std::fs::remove_dir_all(source.join("turns")).expect("it is there");
        }
        let (gone, _) = kept.remove(1);
        repo.ok(["delete", "--yes", &gone]);
        plain_tree(&source.join("new"), 200, 12, 20_000);
        cp_copy(&source, &scratch.join("copy-new"));
        let image = disk.image();
        Self { disk, repo, scratch, source, kept, deleted: vec![gone], image }
    }

    /// Runs a verb from the state at first, with the power cut behind so many
    /// changes of the disk, and restarts the disk.
    fn cut(&self, verb: &[std::ffi::OsString], changes: u64, lost: Lost) -> Outcome {
        self.disk.reset(&self.image);
        self.disk.cut_behind(changes);
        let outcome = self.repo.run(verb);
        self.disk.restart(lost);
        outcome
    }

    /// How often a verb changes the disk.
    fn changes_of(&self, verb: &[std::ffi::OsString]) -> u64 {
        self.disk.reset(&self.image);
        self.repo.ok(verb);
        self.disk.changes()
    }

    /// Says what of the promised snapshots is not there or not whole.
    fn missing(&self, promised: &[(&str, &Path)]) -> Result<(), String> {
        let listed = self.repo.run(["list", "--json"]);
        if listed.code != 0 {
            return Err(format!("list ends with {}: {}", listed.code, listed.error()));
        }
        let listed = listed.json();
        let ids: Vec<_> = listed.as_array().into_iter().flatten().map(id_of).collect();
        for (id, _) in promised {
            if !ids.iter().any(|other| other == id) {
                return Err(format!("snapshot {id} is gone"));
            }
        }
        let mount = Mount::new(&self.repo);
        for (id, copy) in promised {
            assert_same(copy, &mount.source(id, &self.source), Rules { root: false, ..Rules::ALL });
        }
        mount.unmount();
        Ok(())
    }

    /// Fails unless the promised are whole, the log is, and life goes on.
    fn goes_on(&self, promised: &[(&str, &Path)]) {
        self.missing(promised).unwrap_or_else(|problem| panic!("{problem}"));
        self.repo.ok(["log", "verify"]);
        let next = self.repo.create(&self.source);
        self.repo.gc();
        let newest = self.scratch.join("copy-new");
        let mut promised = promised.to_vec();
        promised.push((&next, &newest));
        self.missing(&promised).unwrap_or_else(|problem| panic!("{problem}"));
    }

    fn kept(&self) -> Vec<(&str, &Path)> {
        self.kept.iter().map(|(id, copy)| (id.as_str(), copy.as_path())).collect()
    }

    /// Cuts a verb at chosen moments in all its length, and behind its end.
    fn cut_all_along(
        &self,
        verb: &[std::ffi::OsString],
        mut check: impl FnMut(&Outcome),
    ) -> (u64, u64) {
        let mut rng = Rng::printed("what a cut leaves");
        let (changes, cuts) = (self.changes_of(verb), rounds(CUTS));
        let (mut done, mut all) = (0, 0);
        let stride = (changes / cuts).max(1);
        let first = rng.below(stride);
        for behind in (first..changes).step_by(place(stride)).chain([changes, changes]) {
            let lost = if all % 2 == 0 { Lost::All } else { Lost::Some(Rng::new(rng.next())) };
            let outcome = self.cut(verb, behind, lost);
            let is_done = outcome.code == 0;
            assert!(
                is_done || outcome.code == 1,
                "cut behind change {behind} of {changes} of {verb:?}: code {} {}",
                outcome.code,
                outcome.error()
            );
            eprintln!("{verb:?} cut behind change {behind} of {changes}: code {}", outcome.code);
            check(&outcome);
            (done, all) = (done + u64::from(is_done), all + 1);
        }
        assert!(done > 0 && done < all, "{done} of {all} ended well");
        (done, all)
    }
}

fn place(number: u64) -> usize {
    usize::try_from(number).expect("it is small")
}

#[test]
fn a_snapshot_whose_create_ended_with_0_outlives_a_power_cut_at_any_moment() {
    if !require_fuse() {
        return;
    }
    let life = Life::new();
    let newest = life.scratch.join("copy-new");
    life.cut_all_along(&args!["create", "--json", &life.source], |outcome| {
        let id = (outcome.code == 0).then(|| id_of(&outcome.last_json_line()));
        let mut promised = life.kept();
        promised.extend(id.iter().map(|id| (id.as_str(), newest.as_path())));
        life.goes_on(&promised);
    });
}

#[test]
fn a_power_cut_at_any_moment_of_gc_takes_no_snapshot() {
    if !require_fuse() {
        return;
    }
    let life = Life::new();
    life.cut_all_along(&args!["gc", "--max-unused", "0"], |outcome| {
        let undelete = life.repo.run(["undelete", &life.deleted[0]]);
        assert!(outcome.code != 0 || undelete.code != 0, "a collected snapshot came back");
        let mut promised = life.kept();
        // What still can be had back is whole.
        let copy = life.scratch.join("copy-1");
        if undelete.code == 0 {
            promised.push((&life.deleted[0], &copy));
        }
        life.goes_on(&promised);
    });
}

#[test]
fn a_deletion_and_a_tag_that_were_reported_outlive_a_power_cut_and_others_are_all_or_none() {
    if !require_fuse() {
        return;
    }
    let life = Life::new();
    let (first, others) = (&life.kept[0].0, &life.kept()[1..]);
    life.cut_all_along(&args!["delete", "--yes", first], |outcome| {
        let is_there = life.repo.ids().contains(first);
        assert!(outcome.code != 0 || !is_there, "a deleted snapshot is there again");
        life.goes_on(
            if is_there { &life.kept } else { &life.kept[1..] }
                .iter()
                .map(|(id, copy)| (id.as_str(), copy.as_path()))
                .collect::<Vec<_>>()
                .as_slice(),
        );
    });
    life.cut_all_along(&args!["undelete", &life.deleted[0]], |outcome| {
        let is_there = life.repo.ids().contains(&life.deleted[0]);
        assert!(outcome.code != 0 || is_there, "a snapshot that was had back is gone");
        life.goes_on(others);
    });
    life.cut_all_along(&args!["tag", "--add", "kept", first], |outcome| {
        let tags = |object: &serde_json::Value| object["tags"].to_string().contains("kept");
        let is_tagged = life.repo.list_json().iter().any(tags);
        assert!(outcome.code != 0 || is_tagged, "a tag is gone");
        life.goes_on(&life.kept());
    });
}

#[test]
fn a_repository_whose_init_ended_with_0_outlives_a_power_cut_wherever_it_was_made() {
    if !require_fuse() {
        return;
    }
    let mut rng = Rng::printed("what a cut leaves");
    for place in ["repo", "not/there/yet/repo"] {
        let disk = FrailDisk::new();
        let empty = disk.image();
        let repo = Repo::existing(&disk.point().join(place));
        let init = || {
            let mut command = repo.command(["init"]);
            crate::support::command::run(command.current_dir("/"))
        };
        disk.reset(&empty);
        init().expect(0);
        let changes = disk.changes();
        let stride = (changes / rounds(12)).max(1);
        for behind in (rng.below(stride)..=changes).step_by(self::place(stride)).chain([changes]) {
            disk.reset(&empty);
            disk.cut_behind(behind);
            let outcome = init();
            let lost = if behind % 2 == 0 { Lost::All } else { Lost::Some(Rng::new(rng.next())) };
            disk.restart(lost);
            let list = || {
                let mut command = repo.command(["list"]);
                crate::support::command::run(command.current_dir("/"))
            };
            let what = format!("{place}: cut behind change {behind} of {changes}");
            if outcome.code == 0 {
                assert_eq!(list().code, 0, "{what}: {}", list().error());
            } else if list().code != 0 {
                assert_eq!(init().code, 0, "{what}: it cannot be repeated: {}", init().error());
            }
            let scratch = Scratch::new();
            plain_tree(&scratch.join("source"), 1, 3, 3_000);
            repo.create(&scratch.join("source"));
        }
    }
}

#[test]
fn canary_a_disk_that_does_not_sync_loses_snapshots_and_the_rig_says_so() {
    if !require_fuse() {
        return;
    }
    for lie in [Lie::Files, Lie::Directories] {
        let life = Life::new();
        life.disk.lie(lie);
        let outcome = life.cut(&args!["create", "--json", &life.source], u64::MAX, Lost::All);
        let id = id_of(&outcome.expect(0).last_json_line());
        life.disk.lie(Lie::None);
        let newest = life.scratch.join("copy-new");
        let missing = life.missing(&[(&id, &newest)]);
        let problem = missing.expect_err("the rig lost nothing although nothing was synced");
        eprintln!("with {lie:?} not synced: {problem}");
    }
}
