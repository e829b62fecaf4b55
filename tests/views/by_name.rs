//! Snapshots by time, by tag, by host, and under the names that Samba wants.

use super::{History, assert_missing, names, target};
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::wait_until;

const MORNING: &str = "2026-11-18T03:00:00Z";
const NOON: &str = "2026-11-18T12:00:00Z";
const NEXT_DAY: &str = "2026-11-19T03:00:00.5Z";

#[test]
fn by_time_names_every_snapshot_once_and_a_shared_second_by_id() {
    if !require_fuse() {
        return;
    }
    let history = History::new();
    let mut ids = vec![history.take(MORNING, &[])];
    let mount = Mount::new(&history.repo);
    let view = mount.point().join("by-time");
    assert_eq!(names(&view), ["20261118T030000Z"]);
    ids.extend([history.take(MORNING, &[]), history.take(NEXT_DAY, &[])]);
    // Of snapshots of one time the one with the lesser id comes first.
    ids[..2].sort();
    let [first, second, third] = &ids[..] else { panic!("three were taken") };
    let with_id = |id: &str| format!("20261118T030000Z-{}", &id[..12]);
    let expected = ["20261118T030000Z", &with_id(second), "20261119T030000Z"];
    assert_eq!(names(&view), expected);
    for (name, id) in expected.into_iter().zip([first, second, third]) {
        assert_eq!(target(&view.join(name)), format!("../{id}"));
        assert!(view.join(name).join(history.inner("")).is_dir(), "{name} leads nowhere");
    }
    assert_eq!(target(&view.join(with_id(first))), format!("../{first}"), "always good");
    assert_missing(&view.join(with_id(third)));
    assert_missing(&view.join("20261118T030001Z"));
    mount.unmount();
}

#[test]
fn a_pattern_gives_other_names_and_a_bad_one_is_a_usage_error() {
    if !require_fuse() {
        return;
    }
    let history = History::new();
    let ids = [MORNING, NOON, NEXT_DAY].map(|time| history.take(time, &["--tag", "t"]));
    let mount = Mount::with(&history.repo, &["--by-time-format=-%d.%m.%Y/x"]);
    let second = format!("-18.11.2026%2Fx-{}", &ids[1][..12]);
    let expected = ["-18.11.2026%2Fx", &second, "-19.11.2026%2Fx"];
    assert_eq!(names(&mount.point().join("by-time")), expected);
    let tagged = mount.point().join("by-tag/t");
    assert_eq!(target(&tagged.join(&second)), format!("../../{}", ids[1]));
    mount.unmount();
    let outcome = history.repo.run(["mount", "--by-time-format", "%Y%!", "nowhere"]);
    assert!(outcome.error().contains("strftime"), "{}", outcome.error());
    outcome.expect(2);
}

#[test]
fn tags_and_hosts_are_directories_whatever_characters_they_hold() {
    if !require_fuse() {
        return;
    }
    let history = History::new();
    let options = ["--tag", "nightly", "--tag", "a/b", "--tag", "..", "--host", "web"];
    let first = history.take(MORNING, &options);
    let second = history.take(NOON, &["--tag", "nightly", "--tag", "50%", "--host", "d/b"]);
    let mount = Mount::new(&history.repo);
    let (tags, hosts) = (mount.point().join("by-tag"), mount.point().join("by-host"));
    assert_eq!(names(&tags), ["%2E%2E", "50%25", "a%2Fb", "nightly"]);
    assert_eq!(names(&hosts), ["d%2Fb", "web"]);
    let times = ["20261118T030000Z", "20261118T120000Z", "latest"];
    assert_eq!(names(&tags.join("nightly")), times);
    assert_eq!(names(&tags.join("a%2Fb")), [times[0], times[2]]);
    assert_eq!(names(&hosts.join("d%2Fb")), times[1..]);
    for (link, id) in [
        (tags.join("nightly").join(times[0]), &first),
        (tags.join("nightly").join(times[1]), &second),
        (tags.join("nightly/latest"), &second),
        (tags.join("%2E%2E/latest"), &first),
        (hosts.join("web/latest"), &first),
    ] {
        assert_eq!(target(&link), format!("../../{id}"), "{}", link.display());
        assert!(link.join(history.inner("")).is_dir(), "{} leads nowhere", link.display());
    }
    assert_missing(&tags.join("b"));
    assert_missing(&hosts.join("nightly"));
    assert_missing(&tags.join("a%2Fb").join(times[1]));
    mount.unmount();
}

#[test]
fn what_was_deleted_vanishes_from_the_views_and_what_is_new_appears() {
    if !require_fuse() {
        return;
    }
    let history = History::new();
    let first = history.take(MORNING, &["--tag", "old", "--host", "web"]);
    let mount = Mount::new(&history.repo);
    let (by_time, by_tag) = (mount.point().join("by-time"), mount.point().join("by-tag"));
    let latest = mount.point().join("by-host/web/latest");
    assert_eq!(target(&latest), format!("../../{first}"));
    assert_eq!(names(&by_tag), ["old"]);
    let second = history.take(NOON, &["--tag", "new", "--host", "web"]);
    assert_eq!(target(&latest), format!("../../{second}"), "latest is stale");
    assert_eq!(names(&by_tag), ["new", "old"]);
    history.repo.ok(["delete", &first, "--yes"]);
    wait_until("the deleted one is in no view", 5, || {
        names(&by_time) == ["20261118T120000Z"] && names(&by_tag) == ["new"]
    });
    assert_missing(&by_time.join("20261118T030000Z"));
    mount.unmount();
}

#[test]
fn a_view_of_more_snapshots_than_fit_in_one_answer_lists_each_once() {
    if !require_fuse() {
        return;
    }
    let history = History::new();
    let time = |minute: usize| format!("2026-11-18T{:02}:{:02}:00Z", minute / 60, minute % 60);
    let count = 150;
    for minute in 0..count {
        history.take(&time(minute), &["--tag", "all", "--tag", &format!("tag-{minute:03}")]);
    }
    let mount = Mount::with(&history.repo, &["--samba"]);
    let name = |minute: usize| time(minute).replace(['-', ':'], "");
    let expected: Vec<_> = (0..count).map(name).collect();
    assert_eq!(names(&mount.point().join("by-time")), expected);
    assert_eq!(names(&mount.point().join("by-tag/all"))[..count], expected);
    assert_eq!(names(&mount.point().join("by-tag")).len(), count + 1);
    let root = names(mount.point());
    assert_eq!(root.iter().filter(|name| name.len() == 64).count(), count);
    assert_eq!(root.iter().filter(|name| name.starts_with("@GMT-")).count(), count);
    mount.unmount();
}

#[test]
fn samba_finds_its_names_in_the_root_only_if_told_to() {
    if !require_fuse() {
        return;
    }
    let history = History::new();
    let mut ids = [MORNING, MORNING, NEXT_DAY].map(|time| history.take(time, &[]));
    ids[..2].sort();
    let gmt = ["@GMT-2026.11.18-03.00.00", "@GMT-2026.11.19-03.00.00"];
    let listed = |mount: &Mount<'_>| {
        let all = names(mount.point());
        all.into_iter().filter(|name| name.starts_with('@')).collect::<Vec<_>>()
    };
    let mount = Mount::new(&history.repo);
    assert_eq!(listed(&mount), [""; 0]);
    assert_missing(&mount.point().join(gmt[0]));
    mount.unmount();
    let mount = Mount::with(&history.repo, &["--samba"]);
    assert_eq!(listed(&mount), gmt, "a second has one name, since clients know no more");
    assert_eq!(target(&mount.point().join(gmt[0])), ids[0]);
    assert_eq!(target(&mount.point().join(gmt[1])), ids[2]);
    mount.unmount();
}
