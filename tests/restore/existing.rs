//! What is in the target already: when it is replaced, kept, deleted, asked about.

use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::place::{Place, stamps};
use crate::support::args;
use crate::support::command::try_tool;
use crate::support::generate::{directory, file, link, mode, mtime, symlink};
use crate::support::need::require_root;
use crate::support::repo::count_of;

/// A target that differs: an older and a newer file, one of the same size and
/// time, one with another mode, an extra one.
fn differing() -> Place {
    let place = Place::of(&["older", "newer", "hidden", "moded", "dir/same"]);
    place.summary(&[], 0);
    for (name, seconds) in [("older", 1_000_000_000), ("newer", 4_000_000_000_i64)] {
        file(&place.at(name), b"other");
        mtime(&place.at(name), seconds, 0);
    }
    let status = std::fs::metadata(place.source("hidden")).expect("it is there");
    let text = vec![b'#'; usize::try_from(status.len()).expect("it is small")];
    file(&place.at("hidden"), &text);
    let time = std::os::unix::fs::MetadataExt::mtime(&status);
    let nanoseconds = std::os::unix::fs::MetadataExt::mtime_nsec(&status);
    mtime(&place.at("hidden"), time, u32::try_from(nanoseconds).expect("below a second"));
    mode(&place.at("moded"), 0o600);
    file(&directory(&place.at("dir/extra")).join("inside"), b"extra");
    place
}

fn is_as_in_source(place: &Place, name: &str) -> bool {
    std::fs::read(place.at(name)).expect("there")
        == std::fs::read(place.source(name)).expect("there")
}

#[test]
fn nothing_is_overwritten_or_deleted_without_being_told() {
    let place = differing();
    let before = stamps(&place.target);
    place.restore(&[]).fails(14, &["replace", "--yes", "--overwrite", "nothing was changed"]);
    place.restore(&["--delete"]).fails(14, &["delete 2 items", "--yes"]);
    place.restore(&["--delete", "--overwrite", "always"]).fails(14, &["--yes"]);
    assert_eq!(stamps(&place.target), before);
}

#[test]
fn what_is_only_new_needs_no_question() {
    let place = differing();
    std::fs::remove_dir_all(&place.target).expect("it can be removed");
    file(&directory(&place.target).join("foreign"), b"of somebody else");
    let summary = place.summary(&[], 0);
    assert_eq!(count_of(&summary, "files_created"), 5, "{summary}");
    assert!(place.at("foreign").exists());
}

#[test]
fn each_way_of_overwriting_does_what_it_says() {
    for (options, replaced, kept) in [
        (&["--overwrite", "never"][..], &[][..], &["older", "newer", "hidden"][..]),
        (&["--overwrite", "if-newer"], &["older"], &["newer", "hidden"]),
        (&["--overwrite", "if-changed"], &["older", "newer"], &["hidden"]),
        (&["--yes"], &["older", "newer"], &["hidden"]),
        (&["--overwrite", "if-changed", "--checksum"], &["older", "newer", "hidden"], &[]),
        (&["--overwrite", "always"], &["older", "newer", "hidden"], &[]),
        (&["--policy", "full", "--yes"], &["older", "newer", "hidden"], &[]),
    ] {
        let place = differing();
        let summary = place.summary(options, 0);
        for name in replaced {
            assert!(is_as_in_source(&place, name), "{options:?}: {name} {summary}");
        }
        for name in kept {
            assert!(!is_as_in_source(&place, name), "{options:?}: {name} {summary}");
        }
        assert!(place.at("dir/extra/inside").exists(), "{options:?}");
        if options.contains(&"always") || options.contains(&"full") {
            assert_eq!(count_of(&summary, "files_unchanged"), 0, "{options:?} {summary}");
        }
    }
}

#[test]
fn metadata_alone_is_set_without_writing_the_content() {
    let place = Place::of(&["file", "dir/x"]);
    place.summary(&[], 0);
    let inode = |name: &str| {
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(place.at(name)).expect("there"))
    };
    let before = (inode("file"), inode("dir"));
    mode(&place.at("file"), 0o604);
    mode(&place.at("dir"), 0o711);
    let summary = place.summary(&["--yes"], 0);
    let counts = ["files_updated", "dirs_updated", "bytes"].map(|f| count_of(&summary, f));
    assert_eq!(counts, [1, 1, 0], "{summary}");
    assert_eq!((inode("file"), inode("dir")), before);
    place.compare();
}

#[test]
fn another_name_of_a_file_outside_keeps_what_it_has() {
    let place = Place::of(&["file"]);
    place.summary(&[], 0);
    let outside = place.fixture.scratch.join("outside");
    link(&place.at("file"), &outside);
    mode(&outside, 0o640);
    place.summary(&["--yes"], 0);
    place.compare();
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&outside).expect("there"));
    assert_eq!(mode & 0o7777, 0o640, "the name outside was not to be touched");
}

#[test]
fn extra_items_go_only_with_delete_and_symlinks_are_not_followed() {
    let place = differing();
    let outside = place.fixture.scratch.mkdir("outside");
    file(&outside.join("precious"), b"stays");
    symlink(&place.at("dir/extra/link"), outside.as_os_str().as_encoded_bytes());
    symlink(&place.at("link"), outside.as_os_str().as_encoded_bytes());
    place.summary(&["--yes"], 0);
    assert!(place.at("dir/extra/inside").exists());
    let summary = place.summary(&["--delete", "--yes", "--checksum"], 0);
    assert_eq!(count_of(&summary, "deleted"), 4, "{summary}");
    place.compare();
    assert!(outside.join("precious").exists());
}

#[test]
fn delete_spares_what_is_excluded_here_or_was_excluded_then() {
    let scratch = crate::support::scratch::Scratch::new();
    let repo = crate::support::repo::Repo::new();
    let (source, target) = (scratch.mkdir("source"), scratch.mkdir("target"));
    file(&source.join("kept"), b"x");
    repo.create_json(args!["--exclude", "*.cache", &source], 0);
    for name in ["a.cache", "b.mine", "c.extra"] {
        file(&target.join(name), b"y");
    }
    let named = format!("latest:{}", source.display());
    repo.ok(args!["restore", named, &target, "--delete", "--yes", "--exclude", "*.mine"]);
    let there = ["kept", "a.cache", "b.mine", "c.extra"].map(|name| target.join(name).exists());
    assert_eq!(there, [true, true, true, false]);
}

#[test]
fn files_and_directories_in_each_others_place() {
    let place = Place::of(&["was-dir", "was-file/in", "was-link/in", "empty-dir"]);
    let outside = place.fixture.scratch.mkdir("outside");
    let spoil = || {
        file(&directory(&place.at("was-dir")).join("inside"), b"somebody's");
        file(&place.at("was-file"), b"somebody's");
        symlink(&place.at("was-link"), outside.as_os_str().as_encoded_bytes());
        directory(&place.at("empty-dir"));
    };
    spoil();
    let summary = place.summary(&["--yes"], 3);
    let said = summary["messages"].to_string();
    assert!(said.contains("was-dir") && said.contains("--delete"), "{said}");
    assert!(place.at("was-dir/inside").exists() && place.at("was-file/in").exists());
    assert!(place.at("was-link/in").exists() && !outside.join("in").exists());
    assert!(place.at("empty-dir").is_file());
    std::fs::remove_dir_all(&place.target).expect("it can be removed");
    spoil();
    let summary = place.summary(&["--overwrite", "never"], 3);
    assert_eq!(count_of(&summary, "problems"), 2, "{summary}");
    assert!(place.at("was-file").is_file() && !outside.join("in").exists());
    place.summary(&["--delete", "--yes"], 0);
    place.compare();
    assert!(!outside.join("in").exists());
}

#[test]
fn what_is_mounted_below_is_not_deleted_without_being_told() {
    if !require_root("mounting") {
        return;
    }
    let place = Place::of(&["file"]);
    place.summary(&[], 0);
    let point = place.at("extra/mounted");
    directory(&point);
    let flags = MountFlags::empty();
    mount("none", &point, "tmpfs", flags, None).expect("a tmpfs can be mounted");
    let _mounted = Mounted(&point);
    file(&point.join("precious"), b"stays");
    let summary = place.summary(&["--delete", "--yes"], 3);
    assert!(point.join("precious").exists(), "{summary}");
    place.summary(&["--delete", "--yes", "--delete-in-mounts"], 3);
    assert!(!point.join("precious").exists());
}

struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _gone = unmount(self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn the_repository_is_neither_restored_into_nor_deleted() {
    let place = Place::of(&["file"]);
    let repo = &place.fixture.repo;
    repo.run(args!["restore", "latest", repo.path().join("inside")]).fails(14, &["repository"]);
    assert!(!repo.path().join("inside").exists());
    let beside = repo.path().parent().expect("it is in a directory");
    file(&beside.join("extra"), b"goes");
    let named = place.named();
    let outcome = repo.run(args!["restore", named, beside, "--delete", "--yes"]);
    outcome.ends(3, &["never deleted"]);
    assert!(!beside.join("extra").exists());
    repo.ok(["check"]);
}

#[test]
fn a_person_is_asked_once_and_a_no_changes_nothing() {
    let place = differing();
    if try_tool("script", ["--version"]).code != 0 {
        eprintln!("SKIPPED: there is no script");
        return;
    }
    let command = format!(
        "{} -r {} restore {} {}",
        crate::support::command::icecore(),
        place.fixture.repo.path().display(),
        place.named().display(),
        place.target.display()
    );
    let before = stamps(&place.target);
    let answer = |answer: &str| {
        let script = format!("printf '{answer}\\n' | script -qec '{command}' /dev/null");
        try_tool("bash", ["-c", &script])
    };
    let no = answer("n").expect(14).text();
    assert!(no.contains("Replace 2 files, set the metadata of 1 item in"), "{no}");
    assert_eq!(stamps(&place.target), before);
    answer("y").expect(0);
    assert!(is_as_in_source(&place, "older") && is_as_in_source(&place, "newer"));
}
