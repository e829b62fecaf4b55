//! What the root lists, and that a walk from it ends.

use std::os::unix::fs::MetadataExt;

use super::{History, names};
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::{args, command::run_tool};

const VIEWS: [&str; 6] = ["at", "by-host", "by-tag", "by-time", "changes", "versions"];

#[test]
fn the_root_lists_the_views_latest_and_the_ids_and_nothing_else() {
    if !require_fuse() {
        return;
    }
    let history = History::new();
    let mount = Mount::new(&history.repo);
    assert_eq!(names(mount.point()), VIEWS);
    history.write("one");
    let id = history.take("2026-11-18T03:00:00Z", &[]);
    let mut expected = VIEWS.map(str::to_owned).to_vec();
    expected.extend(["latest".to_owned(), id]);
    expected.sort();
    assert_eq!(names(mount.point()), expected);
    let links = std::fs::metadata(mount.point()).expect("it is there").nlink();
    assert_eq!(links, 2 + VIEWS.len() as u64 + 1, "the views and one snapshot");
    mount.unmount();
}

#[test]
fn find_from_the_root_meets_each_file_once_and_ends() {
    if !require_fuse() {
        return;
    }
    let history = History::new();
    for round in ["one", "three", "fifteen"] {
        history.write(round);
        history.take("2026-11-18T03:00:00Z", &["--tag", "nightly", "--tag", round]);
    }
    let mount = Mount::with(&history.repo, &["--samba"]);
    let found = run_tool("find", args![mount.point(), "-type", "f", "-name", "note"]);
    assert_eq!(found.error(), "");
    assert_eq!(found.text().lines().count(), 3, "{}", found.text());
    mount.unmount();
}
