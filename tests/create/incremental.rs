//! What a second `create` reads again: what changed, and nothing else.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::Value;

use super::place::{Place, rest, summary_of};
use crate::support::args;
use crate::support::command::{run, run_tool};
use crate::support::generate::{mode, mtime, wide};
use crate::support::repo::{count_of, id_of};

/// Nine files of 1,000 bytes in four directories, old enough to be trusted.
fn rested() -> Place {
    let place = Place::new();
    for name in ["a", "b", "c/a", "c/b", "c/d/a", "c/d/b", "e/a", "e/b", "z"] {
        place.file(name, &content_of(name));
    }
    rest();
    place
}

fn content_of(name: &str) -> Vec<u8> {
    name.bytes().cycle().take(1_000).collect()
}

/// Fails unless a summary has these counts.
#[track_caller]
fn counts(summary: &Value, expected: &[(&str, u64)]) {
    for (field, expected) in expected {
        assert_eq!(count_of(summary, field), *expected, "{field} of {summary}");
    }
}

/// Fails unless so many files were new, changed, unmodified and read.
#[track_caller]
fn files(summary: &Value, new: u64, changed: u64, unmodified: u64, read: u64) {
    counts(
        summary,
        &[
            ("files_new", new),
            ("files_changed", changed),
            ("files_unmodified", unmodified),
            ("files_read", read),
            ("errors", 0),
        ],
    );
}

/// Writes a file anew with its old length, in place, and gives it back its old
/// time.
fn rewrite_unseen(path: &Path, content: &[u8]) {
    let before = std::fs::metadata(path).expect("it is there");
    assert_eq!(before.len(), content.len() as u64);
    std::fs::write(path, content).expect("it can be written");
    mtime(path, before.mtime(), u32::try_from(before.mtime_nsec()).expect("a fraction"));
}

/// Puts another file of the same length and time in a file's place.
fn replace_unseen(place: &Place, name: &str, content: &[u8]) {
    let (path, other) = (place.at(name), place.scratch.join("the-other"));
    std::fs::copy(&path, &other).expect("it can be copied");
    run_tool("touch", args!["-r", &path, &other]);
    rewrite_unseen(&other, content);
    std::fs::rename(&other, &path).expect("it can be renamed");
}

#[test]
fn the_first_create_reads_everything() {
    let place = rested();
    let summary = place.create(&[]);
    files(&summary, 9, 0, 0, 9);
    counts(&summary, &[("bytes_read", 9_000), ("bytes", 9_000), ("files", 9)]);
    assert_eq!(summary["parent"], Value::Null);
}

#[test]
fn an_unchanged_tree_is_not_read_again() {
    let place = rested();
    let first = place.create(&[]);
    for _ in 0..2 {
        let again = place.create(&[]);
        files(&again, 0, 0, 9, 0);
        let nothing = ["bytes_read", "added_chunks", "added_trees", "added_bytes"];
        counts(&again, &nothing.map(|field| (field, 0)));
        counts(&again, &[("dirs_new", 0), ("dirs_changed", 0), ("bytes", 9_000)]);
        assert_eq!(again["dirs_unmodified"], first["dirs_new"]);
        assert_eq!(place.listed(&again)["root"], place.listed(&first)["root"]);
    }
    let parent = id_of(&first);
    let second = place.repo.list_json().into_iter().nth(1).expect("there are three");
    assert_eq!(second["parent"].as_str(), Some(parent.as_str()));
}

#[test]
fn a_file_that_is_a_source_itself_is_not_read_again_either() {
    let place = rested();
    let list = place.scratch.join("list");
    crate::support::generate::file(&list, b"c/d/a\ne/b\n");
    for sources in [&args!["a", "c/b"][..], &args!["--files-from", list], &args![place.at("z")]] {
        let create = || summary_of(&run(place.command(sources).arg("--json")).expect(0));
        create();
        let again = create();
        counts(&again, &[("files_new", 0), ("files_changed", 0), ("files_read", 0)]);
        counts(&again, &[("bytes_read", 0), ("added_chunks", 0)]);
    }
}

#[test]
fn an_access_has_no_content_read_again() {
    let place = Place::new();
    place.file("a", &content_of("a"));
    run_tool("touch", args!["-a", "-d", "@1", place.at("a")]);
    rest();
    let before = std::fs::metadata(place.at("a")).expect("it is there");
    place.create(&args!["--with-atime"]);
    // The kernel notes this access, since the last one was before the change.
    std::fs::read(place.at("a")).expect("it can be read");
    let after = std::fs::metadata(place.at("a")).expect("it is there");
    assert_eq!(after.ctime_nsec(), before.ctime_nsec());
    let summary = place.create(&args!["--with-atime"]);
    counts(&summary, &[("files_read", 0), ("bytes_read", 0), ("added_chunks", 0)]);
}

#[test]
fn a_file_whose_mtime_is_in_the_future_is_not_read_at_every_create() {
    let place = rested();
    mtime(&place.at("a"), 7_258_118_400, 5);
    rest();
    place.create(&[]);
    files(&place.create(&[]), 0, 0, 9, 0);
}

#[test]
fn changes_in_quick_succession_are_all_seen() {
    let place = Place::new();
    for round in 0..20_u8 {
        place.file("always", &[round; 500]);
        mtime(&place.at("always"), 1_700_000_000, 0);
        place.file(&format!("of-round-{round}"), b"x");
        place.create(&[]);
        assert_eq!(place.cat("always"), [round; 500]);
    }
    rest();
    place.create(&[]);
    files(&place.create(&[]), 0, 0, 21, 0);
}

#[test]
fn one_changed_file_is_read_and_no_other() {
    let place = rested();
    place.create(&[]);
    place.file("c/d/a", &[b'!'; 1_234]);
    let summary = place.create(&[]);
    files(&summary, 0, 1, 8, 1);
    counts(&summary, &[("bytes_read", 1_234), ("added_chunks", 1)]);
    assert_eq!(place.cat("c/d/a"), [b'!'; 1_234]);
    assert_eq!(place.cat("c/d/b"), content_of("c/d/b"));
}

#[test]
fn one_added_file_is_read_and_no_other() {
    let place = rested();
    place.create(&[]);
    place.file("c/d/new", b"new");
    let summary = place.create(&[]);
    files(&summary, 1, 0, 9, 1);
    // Two: the directory, and the one above it, which holds another one now.
    counts(&summary, &[("bytes_read", 3), ("dirs_new", 0), ("dirs_changed", 2)]);
    assert_eq!(place.cat("c/d/new"), b"new");
}

#[test]
fn a_removed_file_is_gone_and_nothing_is_read() {
    let place = rested();
    place.create(&[]);
    std::fs::remove_file(place.at("c/d/a")).expect("it is there");
    let summary = place.create(&[]);
    files(&summary, 0, 0, 8, 0);
    counts(&summary, &[("files", 8), ("bytes_read", 0)]);
    assert!(!place.names().contains(&"c/d/a".to_owned()));
    std::fs::remove_dir_all(place.at("c")).expect("it is there");
    let summary = place.create(&[]);
    files(&summary, 0, 0, 5, 0);
    assert_eq!(place.names(), ["a", "b", "e", "e/a", "e/b", "z"]);
}

#[test]
fn a_renamed_file_is_new_in_its_place_and_adds_no_content() {
    let place = rested();
    place.create(&[]);
    std::fs::rename(place.at("c/d/a"), place.at("e/renamed")).expect("it can be renamed");
    let summary = place.create(&[]);
    counts(&summary, &[("files_new", 1), ("files_changed", 0), ("files_unmodified", 8)]);
    counts(&summary, &[("added_chunks", 0), ("files", 9)]);
    assert_eq!(place.cat("e/renamed"), content_of("c/d/a"));
}

#[test]
fn a_chmod_is_seen_and_adds_no_content() {
    let place = rested();
    place.create(&[]);
    mode(&place.at("e/a"), 0o711);
    let summary = place.create(&[]);
    counts(&summary, &[("files_changed", 1), ("files_unmodified", 8), ("added_chunks", 0)]);
    let listed = place.repo.ok(["ls", "-l", "latest:e"]).text();
    assert!(listed.lines().any(|line| line.starts_with("-rwx--x--x")), "{listed}");
}

#[test]
fn a_chmod_under_ignore_ctime_is_kept() {
    let place = rested();
    place.create(&args!["--ignore-ctime"]);
    mode(&place.at("e/b"), 0o700);
    let summary = place.create(&args!["--ignore-ctime"]);
    counts(&summary, &[("files_changed", 1), ("added_chunks", 0)]);
    let listed = place.repo.ok(["ls", "-l", "latest:e"]).text();
    assert!(listed.lines().any(|line| line.starts_with("-rwx------")), "{listed}");
    assert_eq!(place.cat("e/b"), content_of("e/b"));
}

#[test]
fn a_touched_file_is_read_again_and_adds_no_content() {
    let place = rested();
    place.create(&[]);
    mtime(&place.at("z"), 1_000_000_000, 5);
    let summary = place.create(&[]);
    files(&summary, 0, 1, 8, 1);
    counts(&summary, &[("bytes_read", 1_000), ("added_chunks", 0)]);
    let json = place.repo.ok(["ls", "--json", "latest"]).text();
    assert!(json.contains("2001-09-09T01:46:40.000000005Z"), "{json}");
}

#[test]
fn other_content_of_equal_length_and_time_is_seen_by_its_ctime() {
    let place = rested();
    place.create(&[]);
    rewrite_unseen(&place.at("c/a"), &[b'?'; 1_000]);
    let summary = place.create(&[]);
    files(&summary, 0, 1, 8, 1);
    assert_eq!(place.cat("c/a"), [b'?'; 1_000]);
}

#[test]
fn ignore_ctime_is_the_price_that_force_takes_back() {
    let place = rested();
    place.create(&args!["--ignore-ctime"]);
    rewrite_unseen(&place.at("c/a"), &[b'?'; 1_000]);
    let summary = place.create(&args!["--ignore-ctime"]);
    files(&summary, 0, 0, 9, 0);
    assert_eq!(place.cat("c/a"), content_of("c/a"), "as it was told, it did not look");
    place.create(&args!["--force", "--ignore-ctime"]);
    assert_eq!(place.cat("c/a"), [b'?'; 1_000]);
}

#[test]
fn what_ignore_ctime_overlooked_is_found_by_the_next_create_without_it() {
    let place = rested();
    place.create(&[]);
    rewrite_unseen(&place.at("c/a"), &[b'?'; 1_000]);
    place.create(&args!["--ignore-ctime"]);
    place.create(&[]);
    assert_eq!(place.cat("c/a"), [b'?'; 1_000]);
}

#[test]
fn a_replaced_file_of_equal_length_and_time_is_seen_unless_both_are_ignored() {
    let ctime_or_inode = args!["--ignore-ctime", "--ignore-inode"];
    for (options, is_seen) in [
        (&[][..], true),
        (&ctime_or_inode[..1], true),
        (&ctime_or_inode[1..], true),
        (&ctime_or_inode, false),
    ] {
        let place = rested();
        place.create(options);
        replace_unseen(&place, "e/a", &[b'!'; 1_000]);
        let summary = place.create(options);
        let seen = u64::from(is_seen);
        files(&summary, 0, seen, 9 - seen, seen);
        let expected = if is_seen { vec![b'!'; 1_000] } else { content_of("e/a") };
        assert_eq!(place.cat("e/a"), expected, "{options:?}");
        assert_eq!(place.cat("e/b"), content_of("e/b"));
    }
}

#[test]
fn force_reads_everything_and_finds_the_same() {
    let place = rested();
    let first = place.create(&[]);
    for option in ["--force", "-f"] {
        let forced = place.create(&args![option]);
        counts(&forced, &[("files_read", 9), ("bytes_read", 9_000), ("added_chunks", 0)]);
        counts(&forced, &[("files_new", 0), ("files_changed", 0), ("files_unmodified", 9)]);
        assert_eq!(place.listed(&forced)["root"], place.listed(&first)["root"]);
    }
    files(&place.create(&[]), 0, 0, 9, 0);
}

#[test]
fn one_change_among_5000_files_is_one_file_read() {
    let place = Place::new();
    wide(&place.at("wide"), 5_000);
    rest();
    let first = place.create(&[]);
    files(&first, 5_000, 0, 0, count_of(&first, "files_read"));
    files(&place.create(&[]), 0, 0, 5_000, 0);
    place.file("wide/entry-003333", b"now with content");
    let summary = place.create(&[]);
    files(&summary, 0, 1, 4_999, 1);
    counts(&summary, &[("bytes_read", 16), ("dirs_unmodified", 0)]);
    assert_eq!(place.cat("wide/entry-003333"), b"now with content");
    let first = place.listed(&first);
    let second = place.listed(&summary);
    assert_ne!(first["root"], second["root"]);
    assert!(count_of(&summary, "added_bytes") < count_of(&first, "added_bytes"), "{summary}");
}

#[test]
fn other_sources_or_patterns_in_between_make_nothing_stale() {
    let place = rested();
    place.create(&[]);
    place.create(&args!["-e", "c"]);
    place.file("c/a", &[b'n'; 1_000]);
    place.create(&args!["-e", "/a"]);
    assert_eq!(place.cat("c/a"), [b'n'; 1_000]);
    place.create(&args!["--host", "another"]);
    for name in ["a", "b", "c/b", "c/d/a", "c/d/b", "e/a", "e/b", "z"] {
        assert_eq!(place.cat(name), content_of(name));
    }
    assert_eq!(place.cat("c/a"), [b'n'; 1_000]);
}

#[test]
fn a_dry_run_teaches_nothing() {
    let place = rested();
    place.create(&[]);
    place.file("b", &[b'x'; 2_000]);
    rest();
    for _ in 0..2 {
        let dry = place.create(&args!["--dry-run"]);
        files(&dry, 0, 1, 8, 1);
    }
    files(&place.create(&[]), 0, 1, 8, 1);
    files(&place.create(&[]), 0, 0, 9, 0);
    assert_eq!(place.cat("b"), [b'x'; 2_000]);
}
