//! A copy of a frozen repository is written to as any other one.

use super::all;
use crate::support::fixture::plain_tree;
use crate::support::scratch::Scratch;

#[test]
fn what_was_deleted_when_a_repository_was_frozen_comes_back() {
    for frozen in all() {
        frozen.repo.ok(["undelete", "--all"]);
        frozen.cat_all("deleted");
        frozen.check();
    }
}

#[test]
fn a_frozen_repository_takes_new_snapshots_is_pruned_collected_and_stays_whole() {
    for frozen in all() {
        let scratch = Scratch::new();
        let source = scratch.join("source");
        plain_tree(&source, 7, 20, 30_000);
        let created = frozen.repo.create(&source);
        let again = frozen.repo.create(&source);
        // Pins that were set when it was frozen hold.
        frozen.repo.ok(["prune", "--keep-last", "1", "--group-by", "host", "--yes"]);
        let kept = [frozen.id("first"), frozen.id("second"), frozen.id("stream"), again];
        assert_eq!(frozen.repo.ids(), kept, "{}", frozen.name);
        assert!(!frozen.repo.ids().contains(&created), "{}", frozen.name);
        let before = frozen.repo.ok(["list", "--deleted", "--json"]).json();
        assert_eq!(before.as_array().map(Vec::len), Some(3), "{}", frozen.name);
        let collected = frozen.repo.gc();
        assert!(collected["deleted_trees"].as_u64() > Some(0), "{}: {collected}", frozen.name);
        for snapshot in ["first", "second"] {
            frozen.cat_all(snapshot);
        }
        frozen.check();
    }
}
