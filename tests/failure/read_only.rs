//! The file system below a repository turns read-only while a command runs.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::support::args;
use crate::support::command::{Outcome, finish};
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::plain_tree;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::Repo;
use crate::support::scratch::Scratch;
use crate::support::small_disk::SmallDisk;
use crate::support::tools::cp_copy;

#[test]
fn a_disk_that_turns_read_only_ends_create_in_one_line_and_the_rest_can_be_read() {
    if !require_fuse() {
        return;
    }
    let Some(disk) = SmallDisk::ext4(256) else { return };
    let scratch = Scratch::new();
    let (small, large) = (scratch.join("small"), scratch.join("large"));
    plain_tree(&small, 1, 50, 20_000);
    let repo = Repo::at(&disk.point().join("repo"));
    let first = repo.create(&small);
    plain_tree(&large, 2, 300, 200_000);
    let child = repo.start_create_and_freeze(&large).expect("it takes a while");
    if !disk.turn_read_only() {
        child.thaw(None);
        return;
    }
    let line = child.thaw(None).expect(1).error();
    let lines: Vec<_> = line.lines().filter(|line| !line.contains("audit log")).collect();
    assert_eq!(lines.len(), 1, "{line}");
    let said = lines[0].to_lowercase();
    assert!(said.contains("read-only") || said.contains("input/output"), "{line}");
    for verb in [args!["create", &small].to_vec(), args!["gc"].to_vec()] {
        repo.run(&verb).ends(1, &["read-only"]);
    }
    let shown = Mount::new(&repo);
    assert_same(&small, &shown.source(&first, &small), Rules::ALL);
    shown.unmount();
    disk.mend();
    assert_eq!(repo.ids(), std::slice::from_ref(&first));
    let second = repo.create(&large);
    repo.gc();
    repo.ok(["check", "--read-data"]);
    repo.ok(["log", "verify"]);
    let shown = Mount::new(&repo);
    assert_same(&large, &shown.source(&second, &large), Rules::ALL);
    shown.unmount();
}

/// Runs a command while an administrator remounts the disk read-only again and again,
/// each time for a moment. Returns what came of it, and how often that was possible.
fn beside_remounts(disk: &SmallDisk, repo: &Repo, verb: &[&str]) -> (Outcome, u64) {
    let mut command = repo.command(verb);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("icecore starts");
    let mut taken = 0;
    while child.try_wait().expect("it can be waited for").is_none() {
        if disk.remount("ro") {
            taken += 1;
            std::thread::sleep(Duration::from_millis(5));
            assert!(disk.remount("rw"), "it cannot be written again");
        }
    }
    (finish(child, verb[0]), taken)
}

fn well_or_read_only(outcome: &Outcome, case: &str) -> bool {
    if outcome.code == 0 {
        return true;
    }
    let error = outcome.error();
    assert_eq!((outcome.code, error.lines().count()), (1, 1), "{case}: {error}");
    assert!(error.to_lowercase().contains("read-only"), "{case}: {error}");
    false
}

#[test]
fn an_administrator_who_remounts_read_only_in_mid_run_costs_a_command_at_most() {
    if !require_fuse() {
        return;
    }
    let Some(disk) = SmallDisk::ext4(256) else { return };
    let scratch = Scratch::new();
    let source = scratch.join("source");
    let repo = Repo::at(&disk.point().join("repo"));
    let text = |path: &Path| path.to_str().expect("a text").to_owned();
    let mut taken = 0;
    for round in 0..12 {
        plain_tree(&source.join("turns"), round, 40, 30_000);
        let copy = scratch.join(&format!("copy-{round}"));
        cp_copy(&source, &copy);
        let verbs: [&[&str]; 4] = [
            &["create", &text(&source)],
            &["gc", "--max-unused", "0"],
            &["prune", "--yes", "--keep-last", "4"],
            &["gc", "--max-unused", "0"],
        ];
        for verb in verbs {
            let (outcome, remounts) = beside_remounts(&disk, &repo, verb);
            let case = format!("round {round}, {}", verb[0]);
            let is_done = well_or_read_only(&outcome, &case);
            taken += remounts;
            if verb[0] == "create" && is_done {
                let mount = Mount::new(&repo);
                let shown = mount.source(&repo.ids()[repo.ids().len() - 1], &source);
                assert_same(&copy, &shown, Rules { root: false, ..Rules::ALL });
                mount.unmount();
            }
        }
    }
    assert!(taken > 0, "it was never read-only beside a command");
    // While a writer has its files open, nobody takes the disk away from it.
    plain_tree(&source.join("more"), 99, 300, 200_000);
    let child = repo.start_create_and_freeze(&source).expect("it takes a while");
    assert!(!disk.remount("ro"), "a disk that is written to");
    child.thaw(None).expect(0);
    let ids = repo.ids();
    assert!(disk.remount("ro"), "a disk that nobody writes to");
    for verb in [args!["create", &source].to_vec(), args!["gc"].to_vec()] {
        repo.run(&verb).ends(1, &["read-only"]);
    }
    let mount = Mount::new(&repo);
    assert_same(&source, &mount.source(&ids[ids.len() - 1], &source), Rules::ALL);
    mount.unmount();
    assert!(disk.remount("rw"), "it cannot be written again");
    repo.create(&source);
    repo.gc();
    repo.ok(["check", "--read-data"]);
    repo.ok(["log", "verify"]);
}
