//! `versions/<path>/<time>-<short id>`.

use std::fs::{read_to_string, remove_file};
use std::os::unix::fs::MetadataExt;

use super::{History, assert_missing, deep_file, names, target};
use crate::support::generate::{file, mode, named as named_bytes};
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::{args, command::run_tool};

fn named(stamp: &str, id: &str) -> String {
    format!("{stamp}-{}", &id[..12])
}

#[test]
fn every_distinct_version_of_a_file_is_there_once_with_its_first_snapshot() {
    if !require_fuse() {
        return;
    }
    let history = History::new();
    let other = history.source.join("other");
    let without = history.take("2026-11-17T03:00:00Z", &[]);
    history.write("one");
    let one = history.take("2026-11-18T03:00:00Z", &[]);
    file(&other, b"another file does not matter");
    history.take("2026-11-18T04:00:00Z", &[]);
    history.write("three");
    let three = history.take("2026-11-18T05:00:00Z", &[]);
    remove_file(history.source.join("note")).expect("it is there");
    history.take("2026-11-18T06:00:00Z", &[]);
    history.write("one");
    history.take("2026-11-18T07:00:00Z", &[]);
    let mount = Mount::new(&history.repo);
    let versions = mount.point().join("versions").join(history.inner("note"));
    let expected = [named("20261118T030000Z", &one), named("20261118T050000Z", &three)];
    assert_eq!(names(&versions), expected);
    for (name, (id, content)) in expected.iter().zip([(&one, "one"), (&three, "three")]) {
        let levels = history.inner("note").components().count() + 1;
        let inner = history.inner("note");
        let leads_to = format!("{}{id}/{}", "../".repeat(levels), inner.display());
        assert_eq!(target(&versions.join(name)), leads_to);
        assert_eq!(read_to_string(versions.join(name)).expect("it can be read"), content);
    }
    assert_missing(&versions.join(named("20261117T030000Z", &without)));
    history.write("fifteen");
    let newest = history.take("2026-11-19T03:00:00Z", &[]);
    assert_eq!(names(&versions).last(), Some(&named("20261119T030000Z", &newest)), "stale");
    history.repo.ok(["delete", &one, "--yes"]);
    history.repo.gc();
    let left = names(&versions);
    assert_eq!(left.len(), 3, "the third snapshot of `one` is now its first: {left:?}");
    assert!(left[0].starts_with("20261118T040000Z-"), "{left:?}");
    mount.unmount();
}

#[test]
fn paths_that_any_snapshot_has_are_found_and_not_listed() {
    if !require_fuse() {
        return;
    }
    let history = History::new();
    deep_file(&history.source.join("old/deep/file"), b"x");
    history.take("2026-11-17T03:00:00Z", &[]);
    std::fs::remove_dir_all(history.source.join("old")).expect("it is there");
    deep_file(&history.source.join("new/file"), b"x");
    file(&named_bytes(&history.source, b"no \xff text"), b"x");
    history.take("2026-11-18T03:00:00Z", &[]);
    let mount = Mount::new(&history.repo);
    let versions = mount.point().join("versions");
    for (path, count) in
        [("", 2), ("old", 1), ("old/deep", 1), ("old/deep/file", 1), ("new", 1), ("new/file", 1)]
    {
        let listed = names(&versions.join(history.inner(path)));
        assert_eq!(listed.len(), count, "{path:?}: {listed:?}");
        for name in listed {
            let link = versions.join(history.inner(path)).join(name);
            assert!(target(&link).starts_with("../"), "versions only");
            link.metadata().unwrap_or_else(|error| panic!("{}: {error}", link.display()));
        }
    }
    assert_eq!(names(&versions).len(), 2, "the roots differ");
    let no_text = named_bytes(&versions.join(history.inner("")), b"no \xff text");
    let listed = names(&no_text);
    assert_eq!(read_to_string(no_text.join(&listed[0])).expect("it can be read"), "x");
    for nothing in ["nothing", "old/nothing", "new/file/below", "old/deep/file/below"] {
        assert_missing(&versions.join(history.inner(nothing)));
    }
    let found = run_tool("find", args![&versions]);
    assert_eq!(found.error(), "");
    assert_eq!(found.text().lines().count(), 3, "versions of the root: {}", found.text());
    mount.unmount();
}

#[test]
fn what_has_one_inode_number_in_two_snapshots_is_one_version() {
    if !require_fuse() {
        return;
    }
    let history = History::new();
    for name in ["same", "mode", "content"] {
        deep_file(&history.source.join(name).join("file"), b"x");
    }
    let a = history.take("2026-11-17T03:00:00Z", &[]);
    mode(&history.source.join("mode/file"), 0o600);
    file(&history.source.join("content/file"), b"y");
    let b = history.take("2026-11-18T03:00:00Z", &[]);
    let mount = Mount::new(&history.repo);
    let inode = |id: &str, path: &str| {
        let shown = mount.snapshot(id).join(history.inner(path));
        shown.symlink_metadata().expect("it is there").ino()
    };
    for path in ["same", "mode", "content", "same/file", "mode/file", "content/file"] {
        let count = names(&mount.point().join("versions").join(history.inner(path))).len();
        let expected = if inode(&a, path) == inode(&b, path) { 1 } else { 2 };
        assert_eq!(count, expected, "{path}");
        assert_eq!(expected == 1, path.starts_with("same"), "{path}");
    }
    mount.unmount();
}
