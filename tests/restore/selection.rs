//! Parts of a snapshot: by patterns, and with shorter paths.

use super::place::Place;
use crate::support::args;
use crate::support::command::run;

fn tree() -> Place {
    Place::of(&["etc/a.conf", "etc/b.txt", "etc/sub/c.conf", "home/d.conf", "home/e/f"])
}

/// The files in the target.
fn files(place: &Place) -> Vec<String> {
    let found = super::place::stamps(&place.target).into_iter().map(|(path, ..)| path);
    let files = found.filter(|path| path.is_file());
    let inner = files.map(|path| path.strip_prefix(&place.target).expect("in it").to_owned());
    inner.map(|path| path.display().to_string()).collect()
}

#[test]
fn only_what_fits_is_restored_and_directories_on_the_way_are_as_they_were() {
    let place = tree();
    place.summary(&["--include", "*.conf"], 0);
    assert_eq!(files(&place), ["etc/a.conf", "etc/sub/c.conf", "home/d.conf"]);
    assert!(!place.at("home/e").exists(), "a directory without anything wanted is not made");
    let mtime = |path: &std::path::Path| {
        std::fs::metadata(path).and_then(|it| it.modified()).expect("it is there")
    };
    assert_eq!(mtime(&place.at("etc/sub")), mtime(&place.source("etc/sub")));
}

#[test]
fn exclusions_win_and_patterns_are_seen_from_the_root_of_the_snapshot() {
    let place = tree();
    place.summary(&["--include", "*.conf", "--exclude", "sub/"], 0);
    assert_eq!(files(&place), ["etc/a.conf", "home/d.conf"]);
    let other = tree();
    let rooted = format!("{}/home", other.fixture.source.display());
    other.summary(&["--include", &rooted], 0);
    assert_eq!(files(&other), ["home/d.conf", "home/e/f"]);
    other.restore(&["--include", "a[", "--yes"]).fails(2, &["a["]);
}

#[test]
fn names_at_the_beginning_of_paths_are_dropped_and_collisions_are_told() {
    let place = tree();
    place.summary(&["--strip-components", "1"], 0);
    assert_eq!(files(&place), ["a.conf", "b.txt", "d.conf", "e/f", "sub/c.conf"]);
    let other = Place::of(&["one/same", "two/same", "two/other"]);
    let summary = other.summary(&["--strip-components", "1"], 3);
    assert_eq!(files(&other), ["other", "same"]);
    assert!(summary["messages"].to_string().contains("same"), "{summary}");
    let text = std::fs::read_to_string(other.at("same")).expect("it is there");
    assert!(text.ends_with("one/same"), "the first one stays: {text}");
}

#[test]
fn a_selective_restore_names_what() {
    let place = tree();
    let repo = &place.fixture.repo;
    let id = place.fixture.id.clone();
    let all = args!["restore", id, &place.target, "--policy", "selective"];
    run(&mut repo.command(all)).fails(2, &["--include"]);
    place.summary(&["--policy", "selective", "--include", "e/"], 0);
    assert_eq!(files(&place), ["home/e/f"]);
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let place = tree();
    for options in [
        &["--strip-components", "1", "--in-place"][..],
        &["--strip-components", "1", "--delete"],
        &["--policy", "full", "--checksum"],
        &["--owner", "--no-owner"],
        &["--undo"],
    ] {
        let code = place.restore(options).code;
        assert_eq!(code, 2, "{options:?}");
    }
    let id = place.fixture.id.clone();
    place.fixture.repo.run(args!["restore", id]).fails(2, &["where"]);
}

#[test]
fn a_pattern_that_fits_nothing_and_a_time_that_is_none_are_said() {
    let place = Place::of(&["a", "b/c"]);
    let summary = place.summary(&["--include", "b/c"], 0);
    assert!(summary["notes"][0].to_string().contains("seen from the root"), "{summary}");
    let summary = place.summary(&["--include", "c"], 0);
    assert_eq!(summary["notes"], serde_json::json!([]), "{summary}");
    let repo = &place.fixture.repo;
    let later = args!["restore", "--at", "soonish", ":", place.at("x")];
    repo.run(later).fails(2, &["--at takes a time", "soonish"]);
    let before = args!["restore", "--at", "1999-01-01", ":", place.at("x")];
    repo.run(before).fails(1, &["1999-01-01"]);
    assert!(!place.at("x").exists());
}
