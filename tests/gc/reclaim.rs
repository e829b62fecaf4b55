//! Space comes back, and what is left is whole.

use std::path::Path;

use crate::support::args;
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::plain_tree;
use crate::support::generate::file;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::{Repo, count_of};
use crate::support::rng::Rng;
use crate::support::scratch::Scratch;
use crate::support::tools::cp_copy;

const M: u64 = 1 << 20;
/// Bytes that only the middle snapshot holds.
const UNIQUE: u64 = 30 * M;

/// Three snapshots of one place with changes between, and what it was.
pub(super) struct Three {
    /// Where it all is.
    _scratch: Scratch,
    /// The place.
    pub(super) source: std::path::PathBuf,
    /// What the place was, thrice.
    pub(super) copies: Vec<std::path::PathBuf>,
    /// The repository.
    pub(super) repo: Repo,
    /// The snapshots.
    pub(super) ids: Vec<String>,
}

impl Three {
    pub(super) fn new() -> Self {
        let scratch = Scratch::new();
        let source = scratch.join("source");
        let repo = Repo::new();
        plain_tree(&source, 1, 100, 150_000);
        let mut rng = Rng::new(2);
        let (mut ids, mut copies) = (Vec::new(), Vec::new());
        for round in 0..3 {
            match round {
                1 => plain_tree(&source.join("of-the-middle"), 3, 60, (UNIQUE / 60) as usize),
                2 => std::fs::remove_dir_all(source.join("of-the-middle")).expect("it is there"),
                _ => {}
            }
            file(&source.join("directory-0/file-3"), &rng.bytes(100_000));
            file(&source.join(format!("added-{round}")), &rng.bytes(50_000));
            ids.push(repo.create(&source));
            let copy = scratch.join(&format!("copy-{round}"));
            cp_copy(&source, &copy);
            copies.push(copy);
        }
        Self { _scratch: scratch, source, copies, repo, ids }
    }

    pub(super) fn compare(&self, rounds: &[usize]) {
        let mount = Mount::new(&self.repo);
        for round in rounds {
            let shown = mount.source(&self.ids[*round], &self.source);
            assert_same(&self.copies[*round], &shown, Rules::ALL);
        }
        mount.unmount();
    }
}

fn count_files(path: &Path) -> usize {
    std::fs::read_dir(path).expect("it can be listed").count()
}

#[test]
fn deleting_the_middle_of_three_snapshots_frees_its_bytes_and_spares_the_others() {
    if !require_fuse() {
        return;
    }
    let three = Three::new();
    three.compare(&[0, 1, 2]);
    let before = three.repo.du();
    three.repo.ok(["delete", &three.ids[1], "--yes"]);
    assert_eq!(three.repo.ids(), [three.ids[0].clone(), three.ids[2].clone()]);
    let report = three.repo.gc();
    let (freed, gone) = (count_of(&report, "freed_bytes"), before - three.repo.du().min(before));
    assert!(freed >= UNIQUE, "freed only {freed}: {report}");
    assert!(gone >= UNIQUE - 2 * M, "only {gone} bytes are gone from disk: {report}");
    assert!(count_of(&report, "deleted_chunks") >= 60, "{report}");
    assert!(count_of(&report, "deleted_trees") >= 1, "{report}");
    assert_eq!(count_of(&report, "unused_bytes"), 0, "{report}");
    three.compare(&[0, 2]);
    let again = three.repo.gc();
    for field in ["freed_bytes", "deleted_chunks", "deleted_trees"] {
        assert_eq!(count_of(&again, field), 0, "a second gc found something: {again}");
    }
    three.compare(&[0, 2]);
}

#[test]
fn a_dry_run_of_gc_says_what_would_go_and_changes_nothing() {
    let three = Three::new();
    three.repo.ok(["delete", &three.ids[1], "--yes"]);
    let before = three.repo.du();
    let dry = three.repo.ok(["gc", "--dry-run", "--json", "--max-unused", "0"]).last_json_line();
    assert!(count_of(&dry, "freed_bytes") >= UNIQUE * 9 / 10, "{dry}");
    assert!(three.repo.du() + M > before, "a dry run freed space");
    let real = three.repo.gc();
    for field in ["deleted_chunks", "deleted_trees"] {
        assert_eq!(count_of(&dry, field), count_of(&real, field), "{dry} then {real}");
    }
}

#[test]
fn a_little_garbage_is_left_in_place_and_counted_unless_told_otherwise() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    let repo = Repo::new();
    plain_tree(&source, 1, 100, 150_000);
    file(&source.join("to-go"), &Rng::new(9).bytes(100_000));
    let first = repo.create(&source);
    std::fs::remove_file(source.join("to-go")).expect("it is there");
    repo.create(&source);
    repo.ok(["delete", &first, "--yes"]);
    let report = repo.ok(["gc", "--json"]).last_json_line();
    assert!(count_of(&report, "unused_bytes") >= 100_000, "{report}");
    let report = repo.gc();
    assert!(count_of(&report, "freed_bytes") >= 90_000, "{report}");
    assert_eq!(count_of(&report, "unused_bytes"), 0, "{report}");
}

#[test]
fn when_the_last_snapshot_is_deleted_the_repository_shrinks_to_nearly_nothing() {
    if !require_fuse() {
        return;
    }
    let three = Three::new();
    let mut delete = args!["delete", "--yes"].to_vec();
    delete.extend(three.ids.iter().map(Into::into));
    three.repo.ok(delete);
    assert_eq!(three.repo.ids(), [""; 0]);
    three.repo.gc();
    assert!(three.repo.du() < 4 * M, "{} bytes are left", three.repo.du());
    let id = three.repo.create(&three.source);
    let mount = Mount::new(&three.repo);
    assert_same(&three.copies[2], &mount.source(&id, &three.source), Rules::ALL);
    mount.unmount();
    assert_eq!(count_files(&three.repo.path().join("tmp")), 0, "tmp/ is left tidy");
}

#[test]
fn what_one_snapshot_shares_with_a_deleted_one_stays() {
    if !require_fuse() {
        return;
    }
    let three = Three::new();
    three.repo.ok(["delete", &three.ids[0], &three.ids[2], "--yes"]);
    three.repo.gc();
    three.compare(&[1]);
}
