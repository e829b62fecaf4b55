//! Directories read in pieces: with small buffers, from any cookie, by many.

use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;

use rustix::fs::{FileType, Mode, OFlags, RawDir, SeekFrom, seek};
use rustix::io::Errno;

use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file, named, wide};
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::rng::Rng;

/// Entries of the wide directory beside `.` and `..`.
const WIDE: usize = 20_000;
/// What the longest name takes: its 255 bytes with a NUL and 19 bytes before.
const LONGEST: usize = 280;

/// An entry as `getdents64` gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    name: Vec<u8>,
    /// Where the listing goes on behind it.
    cookie: u64,
    number: u64,
    kind: FileType,
}

fn open(path: &Path) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).expect("the directory can be opened")
}

/// Lists up to `most` entries from where the descriptor is, with a buffer.
fn list(directory: &OwnedFd, buffer: usize, most: usize) -> Result<Vec<Listed>, Errno> {
    let mut buffer = vec![MaybeUninit::uninit(); buffer];
    let mut reader = RawDir::new(directory, &mut buffer);
    let mut listed = Vec::new();
    while listed.len() < most {
        let Some(entry) = reader.next() else { break };
        let entry = entry?;
        listed.push(Listed {
            name: entry.file_name().to_bytes().to_vec(),
            cookie: entry.next_entry_cookie(),
            number: entry.ino(),
            kind: entry.file_type(),
        });
    }
    Ok(listed)
}

fn list_all(directory: &OwnedFd, buffer: usize) -> Vec<Listed> {
    list(directory, buffer, usize::MAX).expect("it can be listed")
}

fn go_to(directory: &OwnedFd, cookie: u64) {
    assert_eq!(seek(directory, SeekFrom::Start(cookie)), Ok(cookie));
}

fn names(listed: &[Listed]) -> BTreeSet<&[u8]> {
    listed.iter().map(|entry| &entry.name[..]).collect()
}

/// A wide directory of files with some directories and longest names in it.
fn fixture() -> Fixture {
    Fixture::built(|source| {
        wide(source, WIDE - 20);
        for index in 0..10 {
            directory(&source.join(format!("directory-{index}")));
            file(&named(source, &[b'a' + index; 255]), b"of the longest name");
        }
    })
}

/// Fails unless a listing is whole and its cookies lead through it.
fn check(listed: &[Listed], what: &str) {
    assert_eq!(listed.len(), WIDE + 2, "{what}");
    assert_eq!(names(listed).len(), WIDE + 2, "{what}: a name came twice");
    assert_eq!([&listed[0].name[..], &listed[1].name], [&b"."[..], b".."], "{what}");
    let rises = listed.windows(2).all(|pair| pair[0].cookie < pair[1].cookie);
    assert!(rises && listed[0].cookie > 0, "{what}: cookies are not unique");
}

#[test]
fn a_large_directory_lists_the_same_with_buffers_of_any_size_cold_and_warm() {
    if !require_fuse() {
        return;
    }
    let fixture = fixture();
    let mut first: Option<Vec<Listed>> = None;
    for buffer in [LONGEST, 512, 4096, 1 << 20] {
        let mount = fixture.mount();
        let directory = open(&fixture.in_mount(&mount));
        for state in ["cold", "warm"] {
            go_to(&directory, 0);
            let listed = list_all(&directory, buffer);
            check(&listed, &format!("{state}, {buffer} bytes"));
            let plain = |all: &[Listed]| -> Vec<_> {
                // The numbers of directories are those of the mount's nodes.
                let all = all.iter().filter(|entry| entry.kind != FileType::Directory);
                all.map(|entry| (entry.name.clone(), entry.cookie, entry.number)).collect()
            };
            match &first {
                Some(first) => assert!(plain(first) == plain(&listed), "{state}, {buffer} bytes"),
                None => first = Some(listed),
            }
        }
        drop(directory);
        mount.unmount();
    }
    let first = first.expect("it was listed");
    let source = list_all(&open(&fixture.source), 1 << 16);
    assert_eq!(names(&first), names(&source));
}

#[test]
fn a_buffer_too_small_for_an_entry_gives_einval_and_loses_nothing() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::built(|source| {
        for name in [[b'a'; 255], [b'b'; 255]] {
            file(&named(directory(source), &name), b"");
        }
    });
    let mount = fixture.mount();
    let directory = open(&fixture.in_mount(&mount));
    assert_eq!(list(&directory, 16, 1), Err(Errno::INVAL));
    let dots = list(&directory, 64, 2).expect("the dots fit");
    assert_eq!(dots.len(), 2);
    assert_eq!(list(&directory, 64, 1), Err(Errno::INVAL), "a name of 255 bytes in 64");
    assert_eq!(list_all(&directory, LONGEST).len(), 2);
    assert_eq!(list_all(&directory, LONGEST).len(), 0, "the end stays the end");
    drop(directory);
    mount.unmount();
}

#[test]
fn a_listing_goes_on_behind_any_cookie_and_begins_again_when_rewound() {
    if !require_fuse() {
        return;
    }
    let fixture = fixture();
    let all = {
        let mount = fixture.mount();
        let directory = open(&fixture.in_mount(&mount));
        let all = list_all(&directory, 1 << 16);
        drop(directory);
        mount.unmount();
        all
    };
    let mut rng = Rng::printed("cookies");
    let mount = fixture.mount();
    let directory = open(&fixture.in_mount(&mount));
    // Before the kernel has seen the listing in order, and after.
    for warm in [false, true] {
        if warm {
            go_to(&directory, 0);
            check(&list_all(&directory, 4096), "rewound");
        }
        for _ in 0..300 {
            let at = rng.below(all.len() as u64) as usize;
            let buffer = LONGEST + rng.below(3_000) as usize;
            go_to(&directory, all[at].cookie);
            let next = list(&directory, buffer, 5).expect("it can be listed");
            let expected = &all[at + 1..all.len().min(at + 6)];
            let name = |listed: &[Listed]| -> Vec<_> {
                listed.iter().map(|entry| (entry.name.clone(), entry.cookie)).collect()
            };
            assert_eq!(name(&next), name(expected), "behind cookie {}", all[at].cookie);
        }
    }
    let end = all.last().expect("it is not empty").cookie;
    for beyond in [end, end + 1, 1 << 40] {
        go_to(&directory, beyond);
        assert_eq!(list_all(&directory, 4096), [], "behind cookie {beyond}");
    }
    drop(directory);
    mount.unmount();
}

#[test]
fn many_threads_list_one_cold_directory_at_once_and_all_see_all_of_it() {
    if !require_fuse() {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount();
    let shown = fixture.in_mount(&mount);
    // Two share a descriptor: each entry comes to one of them.
    let shared = open(&shown);
    let together = thread::scope(|scope| {
        for buffer in [LONGEST, 1_000, 4_096, 32 << 10, 1 << 20] {
            let shown = &shown;
            scope.spawn(move || {
                for round in 0..3 {
                    check(&list_all(&open(shown), buffer), &format!("{buffer}, {round}"));
                }
            });
        }
        let halves = [(); 2].map(|()| scope.spawn(|| list_all(&shared, 4_096)));
        halves.map(|half| half.join().expect("it lists")).concat()
    });
    assert_eq!(together.len(), WIDE + 2, "two threads on one descriptor");
    assert_eq!(names(&together).len(), WIDE + 2, "two threads on one descriptor");
    drop(shared);
    mount.unmount();
}

#[test]
fn listings_give_the_kind_and_the_inode_number_that_stat_gives() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::generated(crate::support::tree::Shape::SMALL);
    let mount = Mount::new(&fixture.repo);
    let top = fixture.in_mount(&mount);
    for inner in ["contents", "directories", "symlinks", "links", "links/a", "specials", "names"] {
        for entry in list_all(&open(&top.join(inner)), 4_096).iter().skip(2) {
            let stat = rustix::fs::lstat(named(&top.join(inner), &entry.name));
            let stat = stat.expect("what is listed is there");
            assert_eq!(FileType::from_raw_mode(stat.st_mode), entry.kind, "{inner} {entry:?}");
            // Of a directory it is the node id: see docs/semantics.md.
            assert!(stat.st_ino == entry.number || entry.kind == FileType::Directory, "{entry:?}");
        }
    }
    mount.unmount();
}
