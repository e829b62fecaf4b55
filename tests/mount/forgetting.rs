//! What the kernel forgets, the mount forgets.

use std::collections::BTreeMap;
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

/// The node ids of the directories in a directory. Only listings show them.
fn node_ids(path: &Path) -> BTreeMap<Vec<u8>, u64> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).expect("it opens");
    let entries = Dir::read_from(opened).expect("it can be listed");
    entries
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.file_type() == FileType::Directory)
        .map(|entry| (entry.file_name().to_bytes().to_vec(), entry.ino()))
        .filter(|(name, _)| !name.starts_with(b"."))
        .collect()
}

#[test]
fn each_node_is_forgotten_when_the_kernel_has_taken_all_lookups_back() {
    if !require_fuse() || !require_root("making the kernel forget") {
        return;
    }
    let fixture = Fixture::built(|source| {
        for index in 0..500 {
            let inner = source.join(format!("directory-{index}"));
            file(&directory(&inner).join("file"), b"x");
        }
    });
    let mount = fixture.mount();
    let shown = fixture.in_mount(&mount);
    let mut before = node_ids(&shown);
    assert_eq!(before.len(), 500);
    for _ in 0..3 {
        // Lookups are counted by listings, by paths and by many at once.
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for index in 0..500 {
                        let path = shown.join(format!("directory-{index}/file"));
                        assert!(path.exists());
                    }
                    run_tool("find", args![&shown, "-ls"]);
                });
            }
        });
        assert_eq!(node_ids(&shown), before, "known nodes keep their ids");
        drop_caches(&mount);
        // A node whose count did not come down to zero keeps its id for ever.
        wait_until("every directory has a new node id", 20, || {
            let now = node_ids(&shown);
            assert_eq!(now.len(), 500);
            let new = now.iter().all(|(name, id)| before[name] != *id);
            if new {
                before = now;
            } else {
                drop_caches(&mount);
            }
            new
        });
        assert_eq!(std::fs::read(shown.join("directory-7/file")).expect("it reads"), b"x");
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
