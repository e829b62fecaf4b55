//! The file system below a repository turns read-only while a command runs.

use crate::support::args;
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::plain_tree;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::Repo;
use crate::support::scratch::Scratch;
use crate::support::small_disk::SmallDisk;

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
