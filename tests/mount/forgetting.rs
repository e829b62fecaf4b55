//! What the kernel forgets, the mount forgets.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::mount::MountFlags;

use super::{resident_kib, server};
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file, mtime};
use crate::support::mount::Mount;
use crate::support::need::{require_fuse, require_root};
use crate::support::repo::Repo;
use crate::support::scratch::Scratch;
use crate::support::wait_until;
use crate::support::{args, command::run_tool};

/// Makes the kernel forget what it knows of a mount and of no other one.
fn drop_caches(mount: &Mount<'_>) {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount_remount(mount.point(), flags, c"").expect("root may remount");
}

/// The node ids of the directories in a directory, which only listings show,
/// and the numbers that `stat` reports of them.
fn node_ids(path: &Path) -> (Vec<u64>, Vec<u64>) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).expect("it opens");
    let entries = Dir::read_from(opened).expect("it can be listed");
    entries
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.file_type() == FileType::Directory)
        .filter(|entry| !entry.file_name().to_bytes().starts_with(b"."))
        .map(|entry| {
            let inner = path.join(OsStr::from_bytes(entry.file_name().to_bytes()));
            (entry.ino(), inner.symlink_metadata().expect("it is there").ino())
        })
        .unzip()
}

/// Of equal directories in two snapshots the first that the kernel meets has its
/// inode number as node id, and the other one another as long as that is known.
#[test]
fn each_node_is_forgotten_when_the_kernel_has_taken_all_lookups_back() {
    if !require_fuse() || !require_root("making the kernel forget") {
        return;
    }
    let mut fixture = Fixture::built(|source| {
        for index in 0..500 {
            let inner = source.join(format!("directory-{index}"));
            file(&directory(&inner).join("file"), b"x");
        }
    });
    let first = fixture.id.clone();
    file(&fixture.source.join("another"), b"y");
    fixture.id = fixture.repo.create(&fixture.source);
    let mount = fixture.mount();
    let mut shown =
        [mount.source(&first, &fixture.source), mount.source(&fixture.id, &fixture.source)];
    for _ in 0..3 {
        let (taken, numbers) = node_ids(&shown[0]);
        assert_eq!(taken.len(), 500);
        assert_eq!(taken, numbers, "all ids are free");
        let (others, same_numbers) = node_ids(&shown[1]);
        assert_eq!(same_numbers, numbers, "equal directories have equal numbers");
        assert!(others.iter().all(|id| !numbers.contains(id)), "each directory has its own id");
        // Lookups are counted by listings, by paths and by many at once.
        std::thread::scope(|scope| {
            for shown in [&shown[0], &shown[0], &shown[1], &shown[1]] {
                scope.spawn(move || {
                    for index in 0..500 {
                        let path = shown.join(format!("directory-{index}/file"));
                        assert!(path.exists());
                    }
                    run_tool("find", args![shown, "-ls"]);
                });
            }
        });
        assert_eq!(node_ids(&shown[0]).0, taken, "known nodes keep their ids");
        assert_eq!(node_ids(&shown[1]).0, others, "known nodes keep their ids");
        // A node whose count did not come down to zero keeps its id for ever.
        shown.reverse();
        wait_until("every id is free again", 20, || {
            drop_caches(&mount);
            node_ids(&shown[0]).0 == numbers
        });
        assert_eq!(std::fs::read(shown[0].join("directory-7/file")).expect("it reads"), b"x");
    }
    mount.unmount();
}

#[test]
fn memory_stays_flat_over_walks_of_many_snapshots_that_the_kernel_forgets() {
    if !require_fuse() || !require_root("making the kernel forget") {
        return;
    }
    const FILES: usize = 8_000;
    const SNAPSHOTS: usize = 22;
    let (scratch, repo) = (Scratch::new(), Repo::new());
    let source = scratch.mkdir("source");
    let long = "a-name-that-takes-its-share-of-memory-".repeat(5);
    let paths: Vec<_> = (0..FILES).map(|index| source.join(format!("{long}{index}"))).collect();
    paths.iter().for_each(|path| file(path, b"x"));
    let ids: Vec<_> = (1..=SNAPSHOTS as i64)
        .map(|time| {
            // Each snapshot has pages and files of its own.
            paths.iter().for_each(|path| mtime(path, time, 0));
            repo.create(&source)
        })
        .collect();
    let mount = Mount::new(&repo);
    let process = server(mount.point());
    let mut sizes = Vec::new();
    for id in &ids {
        let found = run_tool("find", args![mount.source(id, &source), "-printf", "%T@\n"]);
        assert_eq!(found.text().lines().count(), FILES + 1);
        drop_caches(&mount);
        sizes.push(resident_kib(process));
    }
    // The first ones fill the caches of pages. The rest of them, kept, would take
    // three times the bound (seen: 100 MiB); the rest is the allocator's.
    let (filled, last) = (sizes[SNAPSHOTS / 2], sizes[SNAPSHOTS - 1]);
    assert!(last < filled + 32 * 1024, "KiB after each walk: {sizes:?}");
    eprintln!("KiB after each walk: {sizes:?}");
    mount.unmount();
}
