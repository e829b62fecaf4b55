//! Whole trees, into what is not there, what is empty, and what is right already.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::place::{COPY, Place, leftovers, stamps};
use crate::support::args;
use crate::support::compare::assert_same;
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file};
use crate::support::repo::{Repo, count_of};
use crate::support::scratch::Scratch;
use crate::support::tree::Shape;

#[test]
fn a_restored_tree_equals_its_source_in_everything_and_again_writes_nothing() {
    let place = Place::new(Fixture::generated(Shape::FULL));
    let first = place.summary(&["--numeric-ids"], 0);
    assert_eq!(count_of(&first, "problems"), 0, "{first}");
    place.compare();
    assert_eq!(leftovers(&place.target), Vec::<std::path::PathBuf>::new());
    let before = stamps(&place.target);
    let again = place.summary(&["--numeric-ids"], 0);
    assert_eq!(stamps(&place.target), before, "something was written");
    for field in ["files_created", "files_replaced", "files_updated", "dirs_updated", "bytes"] {
        assert_eq!(count_of(&again, field), 0, "{field}: {again}");
    }
    let unchanged = count_of(&again, "files_unchanged");
    assert_eq!(unchanged, count_of(&first, "files_created"), "{again}");
}

#[test]
fn everything_is_read_back_and_by_checksum_nothing_differs() {
    let place = Place::new(Fixture::generated(Shape::TOOLS));
    let summary = place.summary(&["--verify", "--numeric-ids"], 0);
    let made = count_of(&summary, "files_created");
    assert!(made > 1000 && count_of(&summary, "files_verified") == made, "{summary}");
    let before = stamps(&place.target);
    place.summary(&["--checksum", "--numeric-ids"], 0);
    assert_eq!(stamps(&place.target), before);
}

#[test]
fn a_snapshot_of_several_sources_lands_below_the_target_with_their_paths() {
    let place = Place::of(&["a/b", "c"]);
    let id = place.fixture.id.clone();
    place.fixture.repo.ok(args!["restore", id, &place.target]);
    let inner = place.target.join(place.fixture.source.strip_prefix("/").expect("absolute"));
    assert_same(&place.fixture.source, &inner, COPY);
}

#[test]
fn one_file_goes_into_the_target_under_its_own_name() {
    let place = Place::of(&["a/b", "c"]);
    let mut name = place.named();
    name.push("/a/b");
    place.fixture.repo.ok(args!["restore", name, &place.target]);
    let names: Vec<_> = std::fs::read_dir(&place.target).expect("it is there").flatten().collect();
    assert_eq!(names.len(), 1);
    let same = std::fs::read(place.at("b")).ok() == std::fs::read(place.source("a/b")).ok();
    assert!(same);
    let mut missing = place.named();
    missing.push("/nothing");
    place.fixture.repo.run(args!["restore", missing, &place.target]).fails(1, &["no", "nothing"]);
}

#[test]
fn the_newest_snapshot_not_younger_than_a_time_is_taken() {
    let scratch = Scratch::new();
    let (source, repo) = (scratch.mkdir("source"), Repo::new());
    for (time, text) in [("2026-01-01T00:00Z", "one"), ("2026-02-01T00:00Z", "two")] {
        file(&source.join("file"), text.as_bytes());
        repo.create_json(args!["--time", time, &source], 0);
    }
    let inner = |target: &Path| target.join("file");
    let mut path = std::ffi::OsString::from(":");
    path.push(&source);
    for (at, text) in [("2026-01-15", "one"), ("2026-03-01", "two")] {
        let target = scratch.join(&format!("target-{text}"));
        repo.ok(args!["restore", "--at", at, &path, &target]);
        assert_eq!(std::fs::read(inner(&target)).expect("it is there"), text.as_bytes());
    }
    let whole = scratch.join("whole");
    repo.ok(args!["restore", "--at", "2026-01-15", &whole]);
    assert!(whole.join(source.strip_prefix("/").expect("absolute")).join("file").exists());
    repo.run(args!["restore", "--at", "2025-01-01", scratch.join("none")])
        .fails(1, &["as old as 2025"]);
    repo.run(args!["restore", "--at", "soon", scratch.join("none")]).fails(2, &["soon"]);
    assert!(!scratch.join("none").exists());
}

#[test]
fn blocks_of_zeros_become_holes_if_that_is_asked() {
    let place = Place::new(Fixture::built(|source| {
        let mut content = vec![0_u8; 8 << 20];
        content[4 << 20] = 1;
        file(&directory(source).join("zeros"), &content);
    }));
    place.summary(&[], 0);
    let blocks = |path| std::fs::metadata(path).expect("it is there").blocks() * 512;
    assert!(blocks(place.at("zeros")) >= 8 << 20);
    std::fs::remove_dir_all(&place.target).expect("it can be removed");
    place.summary(&["--sparse"], 0);
    assert!(blocks(place.at("zeros")) < 1 << 20);
    assert!(std::fs::read(place.at("zeros")).ok() == std::fs::read(place.source("zeros")).ok());
}

#[test]
fn usr_share_comes_back_whole() {
    let source = Path::new("/usr/share/doc");
    if !source.is_dir() {
        eprintln!("SKIPPED: there is no {}", source.display());
        return;
    }
    let (scratch, repo) = (Scratch::new(), Repo::new());
    let id = repo.create(source);
    let target = scratch.join("target");
    repo.ok(args!["restore", format!("{id}:{}", source.display()), &target]);
    assert_same(source, &target, COPY);
}

#[test]
fn a_dry_run_tells_and_writes_nothing() {
    let place = Place::of(&["new", "dir/changed", "same"]);
    let plan = place.restore(&["-n"]).expect(0).text();
    assert!(!place.target.exists());
    assert!(plan.contains("create") && plan.contains("dir/changed"), "{plan}");
    place.summary(&[], 0);
    std::fs::remove_file(place.at("new")).expect("it is there");
    file(&place.at("dir/changed"), b"else");
    file(&place.at("extra"), b"twelve bytes");
    let before = stamps(&place.target);
    let lines = place.restore(&["-n", "--delete", "--json"]).expect(0).text();
    assert_eq!(stamps(&place.target), before);
    let lines = lines.lines().map(serde_json::from_str::<serde_json::Value>);
    let lines: Vec<_> = lines.map(|line| line.expect("each line is JSON")).collect();
    let action = |path: &str| {
        let item = lines.iter().find(|line| line["path"] == path && line["type"] == "item");
        item.map(|item| item["action"].as_str().expect("a text").to_owned())
    };
    assert_eq!(action("new").as_deref(), Some("create"));
    assert_eq!(action("dir/changed").as_deref(), Some("replace"));
    assert_eq!(action("extra").as_deref(), Some("delete"));
    assert_eq!(action("same").as_deref(), Some("unchanged"));
    let summary = lines.last().expect("a summary");
    assert_eq!((count_of(summary, "deleted"), count_of(summary, "deleted_bytes")), (1, 12));
}
