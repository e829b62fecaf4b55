//! Wide directories, which are kept in pages, and options that change from one
//! `create` to the next: what is taken over must be what a full reading gives.

use serde_json::Value;

use super::place::{Place, rest};
use crate::support::args;
use crate::support::fixture::plain_tree;
use crate::support::generate::{directory, file, mode, mtime, symlink};
use crate::support::need::require_fuse;
use crate::support::repo::{count_of, id_of};
use crate::support::rng::Rng;

const ENTRIES: u64 = 4_000;

fn name(index: u64) -> String {
    // Lengths differ, so that pages hold different numbers of entries.
    format!("wide/{index:05}{}", "-long".repeat((index % 7) as usize * (index % 3) as usize))
}

/// Removes whatever has a name.
fn clear(place: &Place, name: &str) {
    let path = place.at(name);
    if path.is_dir() && !path.is_symlink() {
        std::fs::remove_dir_all(path).expect("it can be removed");
    } else {
        let _was_not_there = std::fs::remove_file(path);
    }
}

/// One random edit of some neighbours in the wide directory.
fn edit(place: &Place, rng: &mut Rng, round: u64) {
    let start = rng.below(ENTRIES);
    let count = [1, 1, 1, 3, 40, 700][rng.below(6) as usize];
    let kind = rng.below(7);
    for index in start..(start + count).min(ENTRIES) {
        let name = name(index);
        match kind {
            0 => clear(place, &name),
            1 | 2 => {
                clear(place, &name);
                file(&place.at(&name), format!("{index} of {round}").as_bytes());
            }
            3 => {
                clear(place, &name);
                file(&directory(&place.at(&name)).join("inside"), name.as_bytes());
            }
            4 => {
                clear(place, &name);
                symlink(&place.at(&name), name.as_bytes());
            }
            5 if place.at(&name).is_file() => mtime(&place.at(&name), 1_000_000, round as u32),
            _ if place.at(&name).exists() => mode(&place.at(&name), 0o700 + (round as u32 % 8)),
            _ => {}
        }
    }
}

/// Takes a snapshot, fails unless its counts add up and `--force` gives the
/// same root, and returns its summary.
#[track_caller]
fn equals_forced(place: &Place, options: &[std::ffi::OsString], what: &str) -> Value {
    let summary = place.create(options);
    let forced = place.create(&[options, &args!["--force"]].concat());
    let roots = [&summary, &forced].map(|one| place.listed(one)["root"].clone());
    assert_eq!(roots[0], roots[1], "{what}: {summary}\n{forced}");
    for field in ["files", "dirs", "bytes", "excluded"] {
        assert_eq!(summary[field], forced[field], "{field}, {what}");
    }
    for (all, parts) in [
        ("files", ["files_new", "files_changed", "files_unmodified"]),
        ("dirs", ["dirs_new", "dirs_changed", "dirs_unmodified"]),
    ] {
        let sum: u64 = parts.iter().map(|part| count_of(&summary, part)).sum();
        assert_eq!(sum, count_of(&summary, all), "{all}, {what}: {summary}");
    }
    summary
}

#[test]
fn a_wide_directory_is_right_after_any_edits() {
    if !require_fuse() {
        return;
    }
    let mut rng = Rng::printed("edits");
    let place = Place::new();
    for index in (0..ENTRIES).filter(|index| index % 5 != 0) {
        place.file(&name(index), index.to_string().as_bytes());
    }
    for round in 0..14 {
        if round % 3 == 0 {
            rest();
        }
        let summary = equals_forced(&place, &[], &format!("round {round}"));
        if round % 5 == 4 {
            place.compare(&summary);
            let ids = place.repo.ids();
            let mut delete = args!["delete", "--yes"].to_vec();
            delete.extend(ids[..ids.len() - 1].iter().map(Into::into));
            place.repo.ok(delete);
            place.repo.gc();
        }
        for _ in 0..rng.below(5) {
            edit(&place, &mut rng, round);
        }
    }
    rest();
    place.create(&[]);
    let settled = equals_forced(&place, &[], "at last");
    assert_eq!(count_of(&settled, "files_read"), 0, "{settled}");
    place.compare(&settled);
}

#[test]
fn options_may_change_from_one_create_to_the_next() {
    if !require_fuse() {
        return;
    }
    let mut rng = Rng::printed("options");
    let place = Place::with(&["a.o", "sub/a.o", "sub/b", "sub/deep/c.o", "sub/deep/d", "z"]);
    plain_tree(&place.at("tree"), 1, 60, 3_000);
    file(&place.at("tree/large"), &Rng::new(2).bytes(2 << 20));
    place.file("tree/directory-1/.mark", b"TAG");
    place.file("tree/directory-2/.icecoreignore", b"file-2*\n!file-25\n");
    let choices = [
        &args!["-e", "*.o"][..],
        &args!["-e", "/sub/deep"],
        &args!["-e", "/tree/*/file-?5"],
        &args!["--iexclude", "A.O"],
        &args!["--include", "a.o"],
        &args!["--exclude-if-present", ".mark"],
        &args!["--exclude-larger-than", "1MiB"],
        &args!["--no-ignore-files"],
        &args!["--with-atime"],
        &args!["--ignore-inode"],
        &args!["--ignore-ctime"],
        &args!["--read-concurrency", "1"],
        &args!["-x"],
    ];
    rest();
    for round in 0..25_u64 {
        let mut options = Vec::new();
        for choice in choices {
            if rng.below(4) == 0 {
                options.extend_from_slice(choice);
            }
        }
        let summary = equals_forced(&place, &options, &format!("round {round}, {options:?}"));
        if rng.below(8) == 0 {
            place.repo.ok(["delete", "--yes", &id_of(&summary)]);
            place.repo.gc();
        }
        if rng.below(2) == 0 {
            place.file("sub/b", &rng.bytes(100));
            place.file(&format!("tree/directory-3/new-{round}"), b"new");
        }
    }
    place.compare(&place.create(&args!["--no-ignore-files"]));
}
