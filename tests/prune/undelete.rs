//! What was deleted comes back, until `gc` has run.

use super::{Past, ids_in};
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::id_of;

const TIMES: [&str; 3] = ["2026-03-01T03:00:00Z", "2026-03-02T03:00:00Z", "2026-03-03T03:00:00Z"];

#[test]
fn deleted_snapshots_are_listed_and_come_back_whole() {
    let (past, ids) = Past::of(&TIMES);
    let before = past.repo.list_json();
    past.repo.ok(["prune", "--keep-last", "1", "--yes"]);
    let deleted = past.repo.ok(["list", "--deleted", "--json"]).json();
    let deleted = deleted.as_array().expect("a list").clone();
    assert_eq!(deleted.iter().map(id_of).collect::<Vec<_>>(), ids[..2]);
    assert!(deleted[0]["deleted"].as_str().is_some_and(|time| time.contains('T')));
    assert!(past.repo.ok(["list", "--deleted"]).text().contains(&ids[0][..12]));
    past.repo.run(["show", &ids[0]]).fails(1, &[&ids[0]]);
    let said = past.repo.ok(["undelete", &ids[0][..10], "--json"]).last_json_line();
    assert_eq!(ids_in(&said, "undeleted"), ids[..1]);
    past.repo.ok(["undelete", "--all"]);
    assert_eq!(past.repo.list_json(), before);
    assert_eq!(past.repo.ok(["list", "--deleted", "--json"]).json(), serde_json::json!([]));
    past.repo.ok(["undelete", "--all"]);
    for (id, time) in ids.iter().zip(TIMES) {
        let file = format!("{id}:{}/file", past.source.display());
        assert_eq!(past.repo.ok(["cat", &file]).text(), time);
    }
}

#[test]
fn after_gc_nothing_comes_back_and_a_dry_run_of_gc_forgets_nothing() {
    let (past, ids) = Past::of(&TIMES);
    past.repo.ok(["delete", &ids[0], &ids[1], "--yes"]);
    past.repo.ok(["gc", "--dry-run"]);
    past.repo.ok(["undelete", &ids[1]]);
    past.repo.ok(["gc"]);
    past.repo.run(["undelete", &ids[0]]).fails(1, &["--deleted", &ids[0][..12]]);
    assert_eq!(past.repo.ids(), ids[1..]);
    for id in &ids[1..] {
        past.repo.ok(["cat", &format!("{id}:{}/file", past.source.display())]);
    }
}

#[test]
fn of_several_names_one_that_is_wrong_undoes_nothing() {
    let (past, ids) = Past::of(&TIMES);
    past.repo.ok(["delete", &ids[0], &ids[1], "--yes"]);
    past.repo.run(["undelete", &ids[0], "nonsense"]).fails(1, &["nonsense", "--deleted"]);
    past.repo.run(["undelete", &ids[2]]).fails(1, &[&ids[2][..12]]);
    assert_eq!(past.repo.ids(), ids[2..]);
    assert_eq!(past.repo.run(["undelete"]).code, 2);
    past.repo.ok(["undelete", "latest"]);
    assert_eq!(past.repo.ids(), ids[1..], "the newest of the deleted ones");
}

#[test]
fn a_mount_shows_what_came_back_without_a_remount() {
    if !require_fuse() {
        return;
    }
    let (past, ids) = Past::of(&TIMES);
    let mount = Mount::new(&past.repo);
    past.repo.ok(["delete", &ids[0], "--yes"]);
    let listed = || {
        let entries = std::fs::read_dir(mount.point().join("by-time")).expect("it can be listed");
        entries.count()
    };
    assert_eq!(listed(), 2);
    past.repo.ok(["undelete", &ids[0]]);
    assert_eq!(listed(), 3);
    let shown = std::fs::read(mount.source(&ids[0], &past.source).join("file"));
    assert_eq!(shown.expect("it can be read"), TIMES[0].as_bytes());
    mount.unmount();
}
