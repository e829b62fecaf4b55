//! `changes/<A>..<B>/{added,removed,modified}`, against two walks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{read, read_dir, remove_dir_all, remove_file, symlink_metadata};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{History, assert_missing, deep_file, names, target};
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::SEED;
use crate::support::generate::{directory, file, mode, symlink, wide};
use crate::support::mount::Mount;
use crate::support::need::{require_fuse, require_root};
use crate::support::repo::count_of;
use crate::support::rng::Rng;
use crate::support::tree::{Shape, generate};
use crate::support::{args, command::try_tool, wait_until};

const MORNING: &str = "2026-11-18T03:00:00Z";
const NOON: &str = "2026-11-18T12:00:00Z";

/// What a walk sees of a file: whether it is a directory, its inode number, and
/// what of its metadata makes a directory another one.
#[derive(Clone, Copy, PartialEq)]
struct Seen {
    directory: bool,
    number: u64,
    access: (u32, u32, u32),
}

type Walk = BTreeMap<PathBuf, Seen>;

/// All that is below a directory; nothing if there is none.
fn walk(top: &Path) -> Walk {
    let mut found = Walk::new();
    let mut work = vec![PathBuf::new()];
    while let Some(inner) = work.pop() {
        let Ok(entries) = read_dir(top.join(&inner)) else {
            assert_eq!(inner, Path::new(""), "{} cannot be listed", top.display());
            break;
        };
        for entry in entries {
            let path = inner.join(entry.expect("it can be listed").file_name());
            let meta = symlink_metadata(top.join(&path)).expect("it was just listed");
            let access = (meta.mode(), meta.uid(), meta.gid());
            let seen = Seen { directory: meta.is_dir(), number: meta.ino(), access };
            assert!(found.insert(path.clone(), seen).is_none(), "{} twice", path.display());
            if seen.directory {
                work.push(path);
            }
        }
    }
    found
}

/// The paths of `shown` that `is_of_part`, with the directories above them.
fn expected(shown: &Walk, is_of_part: impl Fn(&Path, Seen) -> bool) -> BTreeSet<PathBuf> {
    let of_part = shown.iter().filter(|(path, seen)| is_of_part(path, **seen));
    let with_above = of_part.flat_map(|(path, _)| path.ancestors());
    with_above.filter(|path| *path != Path::new("")).map(Path::to_owned).collect()
}

/// Fails unless the three parts show what two walks of the snapshots say.
#[track_caller]
fn compare(mount: &Mount<'_>, names: &str, (a, b): (&str, &str), inner: &Path) -> [usize; 3] {
    let (before, after) =
        (walk(&mount.snapshot(a).join(inner)), walk(&mount.snapshot(b).join(inner)));
    let gone = |other: &Walk, path: &Path, seen: Seen| {
        other.get(path).is_none_or(|other| other.directory != seen.directory)
    };
    let modified = |path: &Path, seen: Seen| {
        let other = before.get(path).filter(|other| other.directory == seen.directory);
        other.is_some_and(|other| match seen.directory {
            true => other.access != seen.access,
            false => other.number != seen.number,
        })
    };
    let parts = [
        ("added", &after, expected(&after, |path, seen| gone(&before, path, seen))),
        ("removed", &before, expected(&before, |path, seen| gone(&after, path, seen))),
        ("modified", &after, expected(&after, modified)),
    ];
    parts.map(|(part, shown, expected)| {
        let found = walk(&mount.point().join("changes").join(names).join(part).join(inner));
        let paths: BTreeSet<_> = found.keys().cloned().collect();
        assert_eq!(paths, expected, "{part} of {names}");
        let other_files: Vec<_> = found
            .iter()
            .filter(|(_, seen)| !seen.directory)
            .filter(|(path, seen)| shown[*path] != **seen)
            .collect();
        assert!(other_files.is_empty(), "{part} of {names} has files of its own");
        expected.len()
    })
}

#[test]
fn the_parts_of_a_comparison_are_what_two_walks_say() {
    if !require_fuse() {
        return;
    }
    let history = History::new();
    let source = history.source.clone();
    deep_file(&source.join("same/deep/file"), b"same");
    deep_file(&source.join("mixed/kept"), b"kept");
    deep_file(&source.join("mixed/gone"), b"gone");
    deep_file(&source.join("mixed/deep/er/changed"), b"before");
    deep_file(&source.join("was-directory/inner/file"), b"x");
    deep_file(&source.join("only-removed/gone"), b"x");
    deep_file(&source.join("access/inner"), b"x");
    deep_file(&source.join("removed/whole/tree"), b"x");
    file(&source.join("was-file"), b"x");
    file(&source.join("becomes-symlink"), b"x");
    let a = history.take(MORNING, &[]);
    remove_file(source.join("mixed/gone")).expect("it is there");
    file(&source.join("mixed/new"), b"new");
    file(&source.join("mixed/deep/er/changed"), b"after");
    remove_dir_all(source.join("was-directory")).expect("it is there");
    file(&source.join("was-directory"), b"now a file");
    remove_file(source.join("was-file")).expect("it is there");
    deep_file(&source.join("was-file/inner"), b"now in a directory");
    remove_file(source.join("only-removed/gone")).expect("it is there");
    remove_file(source.join("becomes-symlink")).expect("it is there");
    symlink(&source.join("becomes-symlink"), b"mixed");
    mode(&source.join("access"), 0o700);
    remove_dir_all(source.join("removed")).expect("it is there");
    deep_file(&source.join("added/whole/tree"), b"all new");
    let b = history.take(NOON, &[]);
    let mount = Mount::new(&history.repo);
    let inner = history.inner("");
    let counts = compare(&mount, "latest~1..latest", (&a, &b), &inner);
    assert_eq!(counts, [8, 11, 6], "paths of each part");
    assert_eq!(compare(&mount, "latest..latest~1", (&b, &a), &inner)[..2], [11, 8]);
    assert_eq!(compare(&mount, "latest..latest", (&b, &b), &inner), [0, 0, 0]);
    let part = |part: &str, name: &str| {
        mount.point().join("changes/latest~1..latest").join(part).join(history.inner(name))
    };
    assert_eq!(names(&part("modified", "")), ["access", "becomes-symlink", "mixed"]);
    assert_eq!(names(&part("modified", "access")), [""; 0], "modified itself, nothing in it");
    assert_eq!(read(part("modified", "mixed/deep/er/changed")).expect("readable"), b"after");
    assert_eq!(read(part("removed", "mixed/gone")).expect("readable"), b"gone");
    assert_same(&source.join("added"), &part("added", "added"), Rules::ALL);
    for (in_part, nothing) in [
        ("added", "same"),
        ("modified", "only-removed"),
        ("modified", "mixed/kept"),
        ("added", "x"),
    ] {
        assert_missing(&part(in_part, nothing));
    }
    mount.unmount();
}

#[test]
fn random_changes_of_a_tree_of_all_kinds_are_found() {
    if !require_fuse() || !require_root("changing files of any mode") {
        return;
    }
    let history = History::new();
    let top = history.source.join("tree");
    generate(&top, SEED, Shape { wide: 1_100, ..Shape::SMALL });
    let mut ids = vec![history.take(MORNING, &[])];
    let mut rng = Rng::new(SEED);
    for round in 0..3 {
        let files: Vec<_> = walk(&top).into_iter().filter(|(_, seen)| !seen.directory).collect();
        for _ in 0..60 {
            let index = usize::try_from(rng.below(files.len() as u64)).expect("it is an index");
            let path = top.join(&files[index].0);
            let _gone_before = remove_file(&path);
            if rng.below(2) == 0 {
                file(&path, format!("round {round}").as_bytes());
            }
            file(&path.with_file_name(format!("new-{round}-{index}")), b"new");
        }
        ids.push(history.take(NOON, &[]));
    }
    let mount = Mount::new(&history.repo);
    for (a, b) in [(0, 1), (1, 2), (3, 0)] {
        let names = format!("{}..{}", &ids[a][..10], &ids[b][..10]);
        let counts = compare(&mount, &names, (&ids[a], &ids[b]), &history.inner(""));
        assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
    }
    mount.unmount();
}

#[test]
fn one_change_in_a_wide_directory_is_the_only_one_that_is_listed() {
    if !require_fuse() {
        return;
    }
    let history = History::new();
    wide(&history.source.join("wide"), 10_000);
    let a = history.take(MORNING, &[]);
    file(&history.source.join("wide/entry-005000"), b"changed");
    file(&history.source.join("wide/entry-004999-and-a-half"), b"new");
    remove_file(history.source.join("wide/entry-009999")).expect("it is there");
    let b = history.take(NOON, &[]);
    let mount = Mount::new(&history.repo);
    let inner = history.inner("");
    assert_eq!(compare(&mount, "latest~1..latest", (&a, &b), &inner), [2, 2, 2]);
    mount.unmount();
}

#[test]
fn snapshots_are_compared_by_any_of_their_names() {
    if !require_fuse() {
        return;
    }
    let history = History::new();
    history.write("one");
    let a = history.take(MORNING, &["--tag", "before..it"]);
    history.write("three");
    let b = history.take(NOON, &[]);
    let mount = Mount::new(&history.repo);
    let changes = mount.point().join("changes");
    let whole = format!("{a}..{b}");
    for name in [
        "latest~1..latest",
        "before..it..latest",
        "2026-11-18T04:00:00Z..now",
        &format!("{}..{}", &a[..8], &b[..8]),
    ] {
        assert_eq!(target(&changes.join(name)), whole, "{name}");
        let note = changes.join(name).join("modified").join(history.inner("note"));
        assert_eq!(read(note).expect("it can be read"), b"three", "{name}");
    }
    assert_eq!(names(&changes.join(&whole)), ["added", "modified", "removed"]);
    assert!(!changes.join(&whole).is_symlink(), "whole ids are the directory itself");
    for nothing in ["latest", "latest..", "..latest", "latest~2..latest", "latest.latest"] {
        assert_missing(&changes.join(nothing));
    }
    assert_eq!(names(&changes), [""; 0], "nothing is listed");
    let c = history.take(NOON, &[]);
    let newest = if b < c { c } else { b.clone() };
    assert!(target(&changes.join("latest~1..latest")).ends_with(&newest), "stale");
    history.repo.ok(["delete", &newest, "--yes"]);
    let gone = changes.join(format!("{a}..{newest}"));
    wait_until("a comparison with a deleted snapshot is gone", 5, || !gone.exists());
    mount.unmount();
}

#[test]
fn a_comparison_in_use_stays_readable_though_its_snapshots_are_collected() {
    if !require_fuse() {
        return;
    }
    let history = History::new();
    let mut rng = Rng::new(SEED);
    let [before, after, gone] = [(); 3].map(|()| rng.bytes(2 << 20));
    file(&history.source.join("big"), &before);
    file(&history.source.join("gone"), &gone);
    let a = history.take(MORNING, &[]);
    file(&history.source.join("big"), &after);
    remove_file(history.source.join("gone")).expect("it is there");
    let b = history.take(NOON, &[]);
    remove_file(history.source.join("big")).expect("it is there");
    history.take("2026-11-19T03:00:00Z", &[]);
    let mount = Mount::new(&history.repo);
    let path = mount.point().join("changes").join(format!("{a}..{b}"));
    let top = std::fs::File::open(path).expect("it can be opened");
    let part = |part: &str| {
        let inside = PathBuf::from(format!("/proc/self/fd/{}", top.as_raw_fd()));
        inside.join(part).join(history.inner(""))
    };
    assert_eq!(names(&part("modified")), ["big"]);
    assert_eq!(names(&part("removed")), ["gone"]);
    history.repo.ok(["delete", &a, &b, "--yes"]);
    let freed = count_of(&history.repo.gc(), "freed_bytes");
    assert!(freed < 1 << 20, "freed what is in use: {freed}");
    assert!(read(part("modified").join("big")).expect("it can be read") == after);
    assert!(read(part("removed").join("gone")).expect("it can be read") == gone);
    drop(top);
    mount.unmount();
    let freed = count_of(&history.repo.gc(), "freed_bytes");
    assert!(freed >= 6 << 20, "the leases went, the data not: {freed}");
}

#[test]
fn other_users_see_no_more_of_a_change_than_of_the_snapshot() {
    if !require_fuse() || !require_root("acting as another user") {
        return;
    }
    let history = History::new();
    let private = history.source.join("private");
    file(&directory(&private).join("secret"), b"before");
    mode(&private, 0o700);
    history.take(MORNING, &[]);
    file(&private.join("secret"), b"after it");
    file(&private.join("new"), b"new");
    history.take(NOON, &[]);
    let mount = Mount::with(&history.repo, &["--allow-other"]);
    let user = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "ls"];
    let ls = |path: &Path| {
        let mut command = args![path].to_vec();
        command.splice(0..0, user.map(Into::into));
        try_tool("setpriv", command)
    };
    for part in ["added", "modified"] {
        let top = mount.point().join("changes/latest~1..latest").join(part);
        ls(&top.join(history.inner(""))).expect(0);
        ls(&top.join(history.inner("private"))).fails(2, &["permission denied"]);
    }
    let versions = mount.point().join("versions");
    ls(&versions.join(history.inner(""))).expect(0);
    ls(&versions.join(history.inner("private"))).fails(2, &["permission denied"]);
    ls(&versions.join(history.inner("private/secret"))).fails(2, &["permission denied"]);
    mount.unmount();
}
