//! The power goes at any moment: what a command said was done is there, whole.
//!
//! The repository lies on a disk that loses whatever was not synced. Each verb
//! is run again and again from the same state, cut behind one change of the disk
//! more each time; the last cuts come when the command has ended with 0.
//! `ICECORE_CRASH_ROUNDS=N` cuts each verb at N moments, at most at each.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::crash::life::{Life, rounds};
use crate::support::args;
use crate::support::command::{Outcome, run};
use crate::support::fixture::plain_tree;
use crate::support::frail::{Lie, Lost};
use crate::support::frail_disk::FrailDisk;
use crate::support::need::require_fuse;
use crate::support::repo::{Repo, id_of};
use crate::support::rng::Rng;
use crate::support::scratch::Scratch;

/// Cuts of each verb, unless `ICECORE_CRASH_ROUNDS` says more.
const CUTS: u64 = 8;

/// Cuts a verb at chosen moments in all its length, and behind its end. It ends with
/// 0, or with 4 where something was lost before.
fn cut_all_along(life: &Life, verb: &[OsString], mut check: impl FnMut(&Outcome)) {
    let mut rng = Rng::printed("what a cut leaves");
    let (changes, cuts) = (life.changes_of(verb), rounds(CUTS));
    let (mut done, mut all) = (0, 0);
    let stride = (changes / cuts).max(1);
    let first = rng.below(stride);
    for behind in (first..changes).step_by(place(stride)).chain([changes, changes]) {
        let lost = if all % 2 == 0 { Lost::All } else { Lost::Some(Rng::new(rng.next())) };
        let outcome = life.cut(verb, behind, lost);
        let is_done = [0, 4].contains(&outcome.code);
        assert!(
            is_done || outcome.code == 1,
            "cut behind change {behind} of {changes} of {verb:?}: code {} {}",
            outcome.code,
            outcome.error()
        );
        eprintln!("{verb:?} cut behind change {behind} of {changes}: code {}", outcome.code);
        let is_whole = behind == changes;
        assert!(!is_whole || (is_done && outcome.error().is_empty()), "{}", outcome.error());
        check(&outcome);
        (done, all) = (done + u64::from(is_done), all + 1);
    }
    assert!(done > 0 && done < all, "{done} of {all} ended well");
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
    cut_all_along(&life, &args!["create", "--json", &life.source], |outcome| {
        let id = (outcome.code == 0).then(|| id_of(&outcome.last_json_line()));
        let mut promised = life.kept();
        promised.extend(id.iter().map(|id| (id.as_str(), newest.as_path())));
        // Where the power goes before the event is written, the command says so.
        let told = outcome.error().contains("The audit log lacks this operation");
        let logged = id.as_ref().is_none_or(|id| life.log().contains(id));
        assert!(logged || told, "the log does not know of what was reported");
        life.goes_on(&promised);
    });
}

#[test]
fn a_power_cut_at_any_moment_of_gc_takes_no_snapshot() {
    if !require_fuse() {
        return;
    }
    let life = Life::new();
    cut_all_along(&life, &args!["gc", "--max-unused", "0"], |outcome| {
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
    let (kept, first) = (life.kept(), &life.kept[0].0);
    for verb in [
        args!["delete", "--yes", first, &life.kept[1].0].to_vec(),
        args!["prune", "--yes", "--keep-last", "1"].to_vec(),
    ] {
        cut_all_along(&life, &verb, |outcome| {
            let left = life.repo.ids().len();
            assert!(left == 1 || left == kept.len(), "{left} of {} are there", kept.len());
            assert!(outcome.code != 0 || left == 1, "deleted snapshots are there again");
            life.goes_on(&kept[kept.len() - left..]);
        });
    }
    cut_all_along(&life, &args!["undelete", &life.deleted[0]], |outcome| {
        let is_there = life.repo.ids().contains(&life.deleted[0]);
        assert!(outcome.code != 0 || is_there, "a snapshot that was had back is gone");
        life.goes_on(&kept);
    });
    cut_all_along(&life, &args!["tag", "--add", "kept", first], |outcome| {
        let tags = |object: &serde_json::Value| object["tags"].to_string().contains("kept");
        let is_tagged = life.repo.list_json().iter().any(tags);
        assert!(outcome.code != 0 || is_tagged, "a tag is gone");
        life.goes_on(&kept);
    });
}

#[test]
fn a_repair_that_loses_power_at_any_moment_is_run_again_and_loses_nothing() {
    if !require_fuse() {
        return;
    }
    let mut life = Life::new();
    life.prepare(|repo| std::fs::remove_file(repo.join("db/CURRENT")).expect("it is there"));
    let kept = life.kept();
    let repair = args!["repair", "--yes"];
    cut_all_along(&life, &repair, |outcome| {
        if outcome.code != 0 {
            life.repo.ok(&repair);
        }
        life.goes_on(&kept);
    });
}

fn largest_table(repo: &Path) -> PathBuf {
    let tables = std::fs::read_dir(repo.join("db")).expect("it can be listed").flatten();
    let tables = tables.filter(|entry| entry.path().extension().is_some_and(|e| e == "sst"));
    let size = |entry: &std::fs::DirEntry| entry.metadata().expect("it is there").len();
    tables.max_by_key(size).expect("there are some").path()
}

#[test]
fn a_repair_of_lost_content_that_loses_power_at_any_moment_ends_as_one_that_did_not() {
    if require_fuse() {
        repairs_of_lost_content(|repo| {
            std::fs::remove_file(largest_table(repo)).expect("it can be removed");
        });
    }
}

#[test]
fn a_repair_of_a_damaged_block_that_loses_power_at_any_moment_ends_as_one_that_did_not() {
    if require_fuse() {
        repairs_of_lost_content(|repo| {
            let table = largest_table(repo);
            let mut content = std::fs::read(&table).expect("it can be read");
            let middle = content.len() / 2;
            content[middle..middle + 64].fill(0);
            std::fs::write(&table, content).expect("it can be written");
        });
    }
}

fn repairs_of_lost_content(damage: fn(&Path)) {
    let mut life = Life::new();
    life.prepare(damage);
    let repair = args!["repair", "--yes"];
    let state = || {
        let report = life.repo.run(["check", "--read-data", "--json"]).last_json_line();
        (life.repo.ids(), report["damages"].clone())
    };
    life.begin_again();
    life.repo.run(&repair).expect(4);
    let expected = state();
    cut_all_along(&life, &repair, |_| {
        // Also one that had come to its end finds what is lost again.
        life.repo.run(&repair).expect(4);
        assert!(state() == expected, "it ended in another way");
        life.repo.ok(["log", "verify"]);
    });
    life.repo.create(&life.source);
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
            run(command.current_dir("/"))
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
                run(command.current_dir("/"))
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
