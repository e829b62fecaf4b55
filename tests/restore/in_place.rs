//! In place, and taken back.

use std::path::PathBuf;

use serde_json::Value;

use super::place::{COPY, Place};
use crate::support::args;
use crate::support::compare::assert_same;
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file, mode, xattr};
use crate::support::repo::count_of;
use crate::support::tools::cp_copy;
use crate::support::tree::Shape;

/// A tree with a snapshot, changed since, with a copy of both states.
struct Changed {
    place: Place,
    then: PathBuf,
    now: PathBuf,
}

fn changed() -> Changed {
    let place = Place::new(Fixture::generated(Shape::SMALL));
    let (then, now) = (place.fixture.scratch.join("then"), place.fixture.scratch.join("now"));
    cp_copy(&place.fixture.source, &then);
    let source = |path: &str| place.source(path);
    file(&source("contents/random-1"), b"changed");
    std::fs::remove_file(source("contents/random-0")).expect("it is there");
    std::fs::remove_dir_all(source("directories/nested")).expect("it is there");
    file(&directory(&source("extra/in")).join("file"), b"not in the snapshot");
    xattr(&source("extra"), "user.kept", b"also");
    std::fs::remove_file(source("symlinks/relative")).expect("it is there");
    file(&directory(&source("symlinks/relative")).join("x"), b"a directory now");
    mode(&source("directories/empty"), 0o700);
    mode(&source("times/epoch"), 0o600);
    cp_copy(&place.fixture.source, &now);
    Changed { place, then, now }
}

impl Changed {
    fn restore(&self, options: &[&str], code: i32) -> Value {
        let repo = &self.place.fixture.repo;
        let mut command = repo.command(args!["restore", self.place.named(), "--in-place"]);
        command.args(["--json", "--numeric-ids"]).args(options);
        crate::support::command::run(&mut command).expect(code).last_json_line()
    }
}

#[test]
fn a_restore_in_place_gives_back_then_and_its_undo_gives_back_now() {
    let changed = changed();
    let source = &changed.place.fixture.source;
    let before = std::fs::symlink_metadata("/").expect("it is there").modified().ok();
    let summary = changed.restore(&["--delete", "--yes"], 0);
    assert_same(source, &changed.then, COPY);
    assert!(summary["rollback"].is_string(), "{summary}");
    assert_eq!(std::fs::symlink_metadata("/").expect("there").modified().ok(), before);
    let repo = &changed.place.fixture.repo;
    let listed = repo.list_json();
    assert_eq!(listed[0]["tags"].to_string(), "[\"icecore:rollback\"]");
    assert_eq!(listed[1]["id"], changed.place.fixture.id.as_str(), "`latest` is what it was");
    repo.run(["restore", "--undo"]).fails(14, &["--yes"]);
    assert_same(source, &changed.then, COPY);
    let undone = repo.ok(["restore", "--undo", "--yes", "--json"]).last_json_line();
    assert_eq!(count_of(&undone, "problems"), 0, "{undone}");
    assert_same(source, &changed.now, COPY);
    repo.run(["restore", "--undo", "--yes"]).fails(1, &["no record"]);
}

#[test]
fn what_was_changed_since_a_restore_is_not_removed_by_its_undo() {
    let changed = changed();
    let summary = changed.restore(&["--yes"], 3);
    assert!(summary["messages"].to_string().contains("symlinks/relative"), "{summary}");
    let record = summary["rollback_record"].as_str().expect("a path").to_owned();
    file(&changed.place.source("directories/nested/in/file"), b"worked on since");
    let repo = &changed.place.fixture.repo;
    let undone = repo.ok(args!["restore", "--undo", &record, "--yes", "--json"]).last_json_line();
    let kept = undone["kept"].to_string();
    assert!(kept.contains("directories/nested/in/file"), "{undone}");
    let text = std::fs::read(changed.place.source("directories/nested/in/file"));
    assert_eq!(text.expect("it stays"), b"worked on since");
    assert!(!changed.place.source("directories/nested/in/several").exists());
    repo.run(args!["restore", "--undo", &record, "--yes"]).fails(14, &["already"]);
}

#[test]
fn any_restore_can_leave_a_record_and_one_in_place_can_go_without() {
    let place = Place::of(&["a", "b/c"]);
    place.summary(&[], 0);
    file(&place.at("a"), b"else");
    file(&place.at("extra"), b"more");
    std::fs::remove_file(place.at("b/c")).expect("it is there");
    let before = place.fixture.scratch.join("before");
    cp_copy(&place.target, &before);
    let record = place.fixture.scratch.join("record.json");
    let options = ["--delete", "--yes", "--rollback-to", record.to_str().expect("a text")];
    let summary = place.summary(&options, 0);
    place.compare();
    assert!(summary["rollback_record"].is_string(), "{summary}");
    let repo = &place.fixture.repo;
    let snapshots = repo.ids().len();
    repo.ok(args!["restore", "--undo", &record, "--yes"]);
    assert_same(&before, &place.target, COPY);
    let named = place.named();
    file(&place.source("a"), b"something else");
    repo.ok(args!["restore", named, "--in-place", "--yes", "--no-rollback"]);
    assert_eq!(repo.ids().len(), snapshots, "no snapshot more");
    assert_ne!(std::fs::read(place.source("a")).expect("there"), b"something else");
}

#[test]
fn in_place_below_another_root_nothing_outside_it_changes() {
    let place = Place::of(&["a", "b/c"]);
    let root = place.fixture.scratch.mkdir("sysroot");
    let id = place.fixture.id.clone();
    place.fixture.repo.ok(args!["restore", id, "--in-place", &root]);
    let inner = root.join(place.fixture.source.strip_prefix("/").expect("absolute"));
    assert_same(&place.fixture.source, &inner, COPY);
    let names = std::fs::read_dir(&root).expect("it is there").flatten().count();
    assert_eq!(names, 1);
}

#[test]
fn delete_in_place_touches_nothing_beside_the_sources() {
    let place = Place::of(&["a"]);
    let beside = place.fixture.scratch.join("beside");
    file(&beside, b"stays");
    file(&place.source("extra"), b"goes");
    let id = place.fixture.id.clone();
    place.fixture.repo.ok(args!["restore", id, "--in-place", "--delete", "--yes"]);
    assert!(beside.exists() && !place.source("extra").exists());
}

#[test]
fn relative_sources_have_no_place_of_their_own() {
    let scratch = crate::support::scratch::Scratch::new();
    let repo = crate::support::repo::Repo::new();
    let source = scratch.mkdir("source");
    file(&source.join("file"), b"x");
    let mut command = repo.command(["create", "."]);
    crate::support::command::run(command.current_dir(&source)).expect(0);
    repo.run(["restore", "latest", "--in-place"]).fails(2, &["relative", "--in-place DIRECTORY"]);
    std::fs::remove_file(source.join("file")).expect("it is there");
    repo.ok(args!["restore", "latest", "--in-place", &source]);
    assert!(source.join("file").exists());
}
