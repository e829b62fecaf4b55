//! `at/<time expression>`.

use super::{History, assert_missing, names, target};
use crate::support::mount::Mount;
use crate::support::need::require_fuse;

#[test]
fn at_leads_to_the_snapshot_that_the_command_line_finds() {
    if !require_fuse() {
        return;
    }
    let history = History::new();
    let times = ["2026-11-17T03:00:00Z", "2026-11-18T03:00:00Z", "2026-11-18T12:00:00Z"];
    let ids = times.map(|time| history.take(time, &[]));
    let mount = Mount::new(&history.repo);
    let at = mount.point().join("at");
    for (expression, id) in [
        ("2026-11-17", &ids[0]),
        ("2026-11-18", &ids[2]),
        ("2026-11-18T11:59:59", &ids[1]),
        ("2026-11-18T12:00:00Z", &ids[2]),
        ("2026-11-18 03:00", &ids[1]),
        ("@1795003200", &ids[2]),
    ] {
        assert_eq!(target(&at.join(expression)), format!("../{id}"), "{expression}");
        assert!(at.join(expression).join(history.inner("")).is_dir(), "{expression}");
        let shown = history.repo.ok(["show", "--json", expression]).json();
        assert_eq!(shown["id"], **id, "{expression}");
    }
    for nothing in ["2026-11-16", "latest", &ids[0], "tomorrowish", "2026-11-17T02:59:59Z", "12"] {
        assert_missing(&at.join(nothing));
    }
    assert_eq!(names(&at), [""; 0], "nothing is listed");
    mount.unmount();
}

#[test]
fn the_same_expression_leads_elsewhere_as_soon_as_there_is_a_newer_snapshot() {
    if !require_fuse() {
        return;
    }
    let history = History::new();
    let mount = Mount::new(&history.repo);
    let now = mount.point().join("at/now");
    assert_missing(&now);
    for round in ["one", "three", "fifteen"] {
        history.write(round);
        let id = history.repo.create(&history.source);
        assert_eq!(target(&now), format!("../{id}"), "stale in round {round}");
        let content = std::fs::read_to_string(now.join(history.inner("note")));
        assert_eq!(content.expect("it can be read"), round);
    }
    let newest = target(&now).replace("../", "");
    history.repo.ok(["delete", &newest, "--yes"]);
    assert_ne!(target(&now), format!("../{newest}"), "stale after delete");
    mount.unmount();
}
