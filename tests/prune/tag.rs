//! Tags that change, and pins.

use super::Past;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::id_of;

const TIMES: [&str; 3] = ["2026-03-01T03:00:00Z", "2026-03-02T03:00:00Z", "2026-03-03T03:00:00Z"];

#[test]
fn tags_are_added_removed_and_set_and_everything_shows_them() {
    let past = Past::new();
    let one = past.take(TIMES[0], &["--tag", "nightly", "--tag", "x"]);
    let two = past.take(TIMES[1], &[]);
    let said = past.repo.ok(["tag", "x", &two[..12], "--add", "kept", "--remove", "x", "--json"]);
    assert_eq!(said.last_json_line()["snapshots"].as_array().map(Vec::len), Some(2));
    let tags = |id: &str| past.repo.ok(["show", id, "--json"]).json()["tags"].clone();
    assert_eq!(tags(&one), serde_json::json!(["nightly", "kept"]));
    assert_eq!(tags(&two), serde_json::json!(["kept"]));
    assert_eq!(id_of(&past.repo.ok(["show", "kept", "--json"]).json()), two, "naming follows");
    assert!(past.repo.ok(["list"]).text().contains("nightly,kept"));
    past.repo.run(["show", "x"]).fails(1, &["x"]);
    past.repo.ok(["tag", &one, "--set", "a", "--set", "b", "--set", "a"]);
    assert_eq!(tags(&one), serde_json::json!(["a", "b"]));
    past.repo.ok(["tag", &one, "--set", ""]);
    assert_eq!(tags(&one), serde_json::json!([]));
    assert_eq!(past.repo.ids(), [one, two], "ids stay as they are");
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let (past, ids) = Past::of(&TIMES[..1]);
    for wrong in [
        &["tag"][..],
        &["tag", "latest"],
        &["tag", "--add", "x"],
        &["tag", "latest", "--add", ""],
        &["tag", "latest", "--add", "x", "--set", "y"],
        &["tag", "latest", "--pin", "--unpin"],
        &["tag", "latest", "--add", "x", "--remove", "x"],
        &["tag", "latest", "--add", "x", "--until", "90d"],
        &["tag", "latest", "--pin", "--until", "2020-01-01"],
        &["tag", "latest", "--pin", "--until", "6m"],
        &["tag", "latest", "--pin", "--until", "soon"],
    ] {
        let outcome = past.repo.run(wrong);
        assert_eq!(outcome.code, 2, "{wrong:?}: {}", outcome.error());
        assert!(!outcome.error().is_empty(), "{wrong:?}");
    }
    past.repo.run(["tag", "latest", "nonsense", "--pin"]).fails(1, &["nonsense"]);
    let one = &past.repo.list_json()[0];
    assert_eq!((id_of(one), &one["tags"]), (ids[0].clone(), &serde_json::json!([])));
    assert_eq!(one["pinned"], false);
}

#[test]
fn no_policy_removes_a_pinned_snapshot_while_the_pin_holds() {
    let (past, ids) = Past::of(&TIMES);
    past.repo.ok(["tag", &ids[0], "--pin"]);
    past.repo.ok(["tag", &ids[1], "--pin", "--until", "90d"]);
    let listed = past.repo.list_json();
    assert_eq!((&listed[0]["pinned"], &listed[0]["pinned_until"]), (&true.into(), &().into()));
    assert!(listed[1]["pinned_until"].is_string(), "{}", listed[1]);
    assert_eq!(listed[2]["pinned"], false);
    let text = past.repo.ok(["list"]).text();
    assert!(text.contains("PIN") && text.contains("until 20"), "{text}");
    assert!(past.repo.ok(["show", &ids[0]]).text().contains("Pin          pinned"));
    let all = ["prune", "--yes", "--keep-last", "1", "--max-age", "1h", "--max-snapshots", "1"];
    past.repo.ok(all.iter().chain(&["--allow-empty-group"]));
    assert_eq!(past.repo.ids(), ids[..2]);
    past.repo.ok(["tag", &ids[0], &ids[1], "--unpin"]);
    assert!(!past.repo.ok(["list"]).text().contains("PIN"));
    past.repo.ok(all);
    assert_eq!(past.repo.ids(), ids[1..2]);
}

#[test]
fn a_mount_follows_tags_as_they_change() {
    if !require_fuse() {
        return;
    }
    let (past, ids) = Past::of(&TIMES[..2]);
    let mount = Mount::new(&past.repo);
    let latest = mount.point().join("by-tag/good/latest");
    let names = || {
        let entries = std::fs::read_dir(mount.point().join("by-tag")).expect("it can be listed");
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("it is").file_name();
        entries.map(name).collect::<Vec<_>>()
    };
    assert_eq!(names().len(), 0);
    past.repo.ok(["tag", &ids[0], "--add", "good"]);
    assert_eq!(names(), ["good"]);
    let target = std::fs::read_link(&latest).expect("a link");
    assert_eq!(target, std::path::Path::new("../..").join(&ids[0]));
    past.repo.ok(["tag", &ids[1], "--add", "good"]);
    let target = std::fs::read_link(&latest).expect("a link");
    assert_eq!(target, std::path::Path::new("../..").join(&ids[1]));
    past.repo.ok(["tag", &ids[0], &ids[1], "--remove", "good"]);
    assert_eq!(names().len(), 0);
    assert!(!latest.exists(), "the tag is gone and its directory is not");
    mount.unmount();
}
