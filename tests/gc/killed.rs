//! `gc` killed again and again at any moment, and finished by the last one.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::args;
use crate::support::command::{finish, run_tool};
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::plain_tree;
use crate::support::generate::file;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::{Repo, count_of, signal};
use crate::support::rng::Rng;
use crate::support::scratch::Scratch;
use crate::support::tools::cp_copy;

const ROUNDS: u64 = 12;
const KILLS: u64 = 3;

/// Makes snapshots of which some are deleted, so that there are files that are
/// garbage altogether, in part and not at all. Returns those that stay.
fn prepare(repo: &Repo, scratch: &Scratch, source: &Path) -> Vec<(String, std::path::PathBuf)> {
    let (mut kept, mut deleted) = (Vec::new(), Vec::new());
    for round in 0..6 {
        plain_tree(&source.join("turns"), 100 + round, 20, 60_000);
        plain_tree(&source.join(format!("stays-{round}")), 200 + round, 20, 60_000);
        file(&source.join("small"), format!("{round}").as_bytes());
        let id = repo.create(source);
        if round % 2 == 0 {
            deleted.push(id);
        } else {
            let copy = scratch.join(&format!("copy-{round}"));
            cp_copy(source, &copy);
            kept.push((id, copy));
        }
        std::fs::remove_dir_all(source.join("turns")).expect("it is there");
    }
    let mut delete = args!["delete", "--yes"].to_vec();
    delete.extend(deleted.iter().map(Into::into));
    repo.ok(delete);
    kept
}

fn compare(repo: &Repo, source: &Path, kept: &[(String, std::path::PathBuf)], rules: Rules) {
    let mount = Mount::new(repo);
    for (id, copy) in kept {
        assert_same(copy, &mount.source(id, source), rules);
    }
    mount.unmount();
}

#[test]
fn gc_killed_at_many_moments_and_then_finished_leaves_every_snapshot_and_no_garbage() {
    if !require_fuse() {
        return;
    }
    let mut rng = Rng::printed("moments");
    let scratch = Scratch::new();
    let source = scratch.join("source");
    let prepared = Repo::at(&scratch.join("prepared"));
    let kept = prepare(&prepared, &scratch, &source);
    let copy_of = |name: &str| {
        let path = scratch.join(name);
        run_tool("cp", args!["-a", prepared.path(), &path]);
        path
    };
    let undisturbed = Repo::existing(&copy_of("undisturbed"));
    let start = Instant::now();
    let report = undisturbed.gc();
    let typical = start.elapsed().as_nanos() as u64;
    assert!(count_of(&report, "deleted_chunks") >= 60, "{report}");
    compare(&undisturbed, &source, &kept, Rules::ALL);
    let expected = undisturbed.du();
    let mut killed = 0;
    for round in 0..ROUNDS {
        let path = copy_of("victim");
        let victim = Repo::existing(&path);
        for _ in 0..KILLS {
            let mut command = victim.command(["gc", "--max-unused", "0"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            let child = command.spawn().expect("icecore starts");
            std::thread::sleep(Duration::from_nanos(rng.below(typical + 1)));
            signal(&child, Signal::KILL);
            killed += u64::from(finish(child, "gc").code == 137);
        }
        let rules = if round % 5 == 0 { Rules::ALL } else { Rules::QUICK };
        compare(&victim, &source, &kept, rules);
        victim.gc();
        compare(&victim, &source, &kept, rules);
        let left = victim.du();
        assert!(left < expected + (1 << 20), "{left} bytes are left, {expected} undisturbed");
        let again = victim.gc();
        assert_eq!(count_of(&again, "freed_bytes"), 0, "{again}");
        std::fs::remove_dir_all(&path).expect("it can be removed");
    }
    assert!(killed >= ROUNDS, "only {killed} were killed before their end");
}
