//! A disk on which calls fail: each verb, each kind of call, at many of them.
//!
//! `ICECORE_CRASH_ROUNDS=N` lets N calls of each kind fail, at most each.

use std::ffi::OsString;

use fuser::Errno;

use crate::crash::{Life, rounds};
use crate::support::args;
use crate::support::command::Outcome;
use crate::support::frail::{Call, Fault, Lost};
use crate::support::need::require_fuse;
use crate::support::repo::id_of;
use crate::support::rng::Rng;

/// Calls of each kind that fail, unless `ICECORE_CRASH_ROUNDS` says more.
const FAULTS: u64 = 2;
const CALLS: [Call; 4] = [Call::Read, Call::Write, Call::Name, Call::Sync];

/// Lets calls of a verb fail in turn, `count` from each on, and checks what it
/// says, what it promised and that life goes on.
fn fail_all_along(life: &Life, verb: &[OsString], errno: Errno, count: u64, calls: &[Call]) {
    let mut rng = Rng::printed("which calls fail");
    for call in calls {
        life.begin_again();
        life.repo.ok(verb);
        let all = life.disk.count(*call);
        let stride = (all / rounds(FAULTS)).max(1);
        for after in (rng.below(stride)..all).step_by(stride as usize) {
            life.begin_again();
            life.disk.fail(Some(Fault { call: *call, after, count, errno }));
            let outcome = life.repo.run(verb);
            life.disk.fail(None);
            let case = format!("{verb:?}, {call:?} {after} of {all}: {}", outcome.error());
            eprintln!("code {} of {case}", outcome.code);
            one_clear_line(&outcome, &case);
            // What was said to be done must be so even if the power goes now: a
            // failed sync is not made good by another one.
            life.disk.restart(Lost::All);
            let id = (verb[0] == "create" && outcome.code == 0)
                .then(|| id_of(&outcome.last_json_line()));
            if verb[0] == "repair" && outcome.code != 0 {
                life.repo.ok(verb);
            }
            let newest = life.scratch.join("copy-new");
            let mut promised = life.kept();
            promised.extend(id.iter().map(|id| (id.as_str(), newest.as_path())));
            if verb[0] == "delete" || verb[0] == "prune" {
                let left = life.repo.ids().len();
                assert!(outcome.code != 0 || left == 2, "{left} are left: {case}");
                assert!([2, 3].contains(&left), "{left} are left: {case}");
                promised.drain(..promised.len() - left);
            }
            life.goes_on(&promised);
        }
    }
}

/// One line says why, after remarks on the audit log at most.
fn one_clear_line(outcome: &Outcome, case: &str) {
    assert!([0, 1].contains(&outcome.code), "code {}: {case}", outcome.code);
    let error = outcome.error();
    let lines = error.lines().filter(|line| !line.contains("The audit log lacks"));
    let lines: Vec<_> = lines.collect();
    let most = usize::from(outcome.code == 1);
    assert_eq!(lines.len(), most, "lines for code {}: {case}", outcome.code);
    assert!(lines.iter().all(|line| line.starts_with("icecore: ")), "{case}");
}

#[test]
fn an_input_or_output_error_at_any_call_ends_in_one_line_and_loses_nothing() {
    if !require_fuse() {
        return;
    }
    let life = Life::new();
    for verb in [
        args!["create", "--json", &life.source].to_vec(),
        args!["gc", "--json", "--max-unused", "0"].to_vec(),
        args!["delete", "--json", "--yes", &life.kept[0].0].to_vec(),
        args!["prune", "--json", "--yes", "--keep-last", "2"].to_vec(),
        // What cannot be read just now is no damage.
        args!["check", "--json", "--read-data"].to_vec(),
    ] {
        fail_all_along(&life, &verb, Errno::EIO, 1, &CALLS);
    }
}

/// A repair that has to build the store anew.
fn broken() -> Life {
    let mut life = Life::new();
    life.prepare(|repo| std::fs::remove_file(repo.join("db/CURRENT")).expect("it is there"));
    life
}

#[test]
fn an_input_or_output_error_at_any_call_of_a_repair_ends_in_one_line_and_loses_nothing() {
    if require_fuse() {
        let repair = args!["repair", "--json", "--yes"];
        fail_all_along(&broken(), &repair, Errno::EIO, 1, &CALLS);
    }
}

#[test]
fn a_disk_that_is_full_from_any_call_of_a_repair_on_ends_in_one_line_and_loses_nothing() {
    if require_fuse() {
        let repair = args!["repair", "--json", "--yes"];
        fail_all_along(&broken(), &repair, Errno::ENOSPC, u64::MAX, &[Call::Write, Call::Sync]);
    }
}

#[test]
fn a_disk_that_is_full_from_any_call_on_ends_in_one_line_and_loses_nothing() {
    if !require_fuse() {
        return;
    }
    let life = Life::new();
    for verb in [
        args!["create", "--json", &life.source].to_vec(),
        args!["gc", "--json", "--max-unused", "0"].to_vec(),
        args!["delete", "--json", "--yes", &life.kept[0].0].to_vec(),
        args!["prune", "--json", "--yes", "--keep-last", "2"].to_vec(),
    ] {
        fail_all_along(&life, &verb, Errno::ENOSPC, u64::MAX, &[Call::Write, Call::Sync]);
    }
}
