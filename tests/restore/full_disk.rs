//! Targets that fill up, and targets that cannot be written.

use rustix::mount::{MountFlags, mount_remount};

use super::place::{COPY, Place, leftovers};
use crate::support::args;
use crate::support::compare::assert_same;
use crate::support::fixture::{Fixture, plain_tree};
use crate::support::repo::count_of;
use crate::support::small_disk::SmallDisk;

fn tree() -> Place {
    Place::new(Fixture::built(|source| plain_tree(source, 3, 200, 100_000)))
}

#[test]
fn a_disk_that_fills_up_is_told_in_one_line_and_the_next_run_goes_on() {
    let Some(disk) = SmallDisk::ext4(48) else { return };
    let place = tree();
    let target = disk.point().join("target");
    disk.fill(10 << 20);
    let restore = || place.fixture.repo.run(args!["restore", place.named(), &target, "--json"]);
    restore().ends(1, &["no space left", "run the same command again"]);
    let (mut whole, top) = (0, &place.fixture.source);
    for (path, ..) in super::place::stamps(&target) {
        let original = top.join(path.strip_prefix(&target).expect("it is in the target"));
        if path.is_file() && original.is_file() {
            assert!(std::fs::read(&path).ok() == std::fs::read(original).ok(), "{path:?}");
            whole += 1;
        }
    }
    assert!(whole > 20, "{whole}");
    std::fs::remove_file(disk.point().join("filler")).expect("it is there");
    let summary = restore().expect(0).last_json_line();
    assert!(count_of(&summary, "files_unchanged") >= whole, "{summary}");
    assert_same(top, &target, COPY);
    assert_eq!(leftovers(&target), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_target_that_is_read_only_is_told_in_one_line() {
    let Some(disk) = SmallDisk::ext4(48) else { return };
    let place = tree();
    mount_remount(disk.point(), MountFlags::RDONLY, "").expect("it can be remounted");
    let target = disk.point().join("target");
    let repo = &place.fixture.repo;
    repo.run(args!["restore", place.named(), &target]).fails(1, &["read-only"]);
    repo.run(args!["restore", place.named(), disk.point(), "--yes"]).fails(1, &["read-only"]);
}

#[test]
fn a_target_that_is_no_directory_is_refused() {
    let place = tree();
    crate::support::generate::file(&place.target, b"a file");
    place.restore(&["--yes"]).fails(14, &["no directory"]);
    assert_eq!(std::fs::read(&place.target).expect("it is there"), b"a file");
}
