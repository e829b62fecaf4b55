//! Damaged repositories: what is damaged is not written, everything else is.

use std::fs;

use super::place::Place;
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file};
use crate::support::repo::count_of;
use crate::support::rng::Rng;
use crate::support::rot::rot_chunk;

#[test]
fn a_damaged_file_is_named_and_not_written_and_all_others_come() {
    let mut rng = Rng::new(78);
    let victim = rng.bytes(12_000);
    let place = Place::new(Fixture::built(|source| {
        file(&directory(source).join("before"), &rng.bytes(30_000));
        file(&source.join("victim"), &victim);
        file(&directory(&source.join("with")).join("after"), &rng.bytes(30_000));
    }));
    rot_chunk(&place.fixture.repo, victim.len());
    let summary = place.summary(&[], 4);
    assert_eq!(count_of(&summary, "damaged"), 1, "{summary}");
    assert!(summary["messages"][0].to_string().contains("victim"), "{summary}");
    assert!(!place.at("victim").exists());
    for name in ["before", "with/after"] {
        assert!(fs::read(place.at(name)).ok() == fs::read(place.source(name)).ok(), "{name}");
    }
    // What is in the way of a damaged file stays.
    file(&place.at("victim"), b"an older version");
    place.summary(&["--yes"], 4);
    assert_eq!(fs::read(place.at("victim")).expect("it stays"), b"an older version");
}

#[test]
fn what_is_read_back_wrong_is_named() {
    let place = Place::of(&["a", "b"]);
    place.summary(&[], 0);
    let status = fs::metadata(place.at("b")).expect("it is there");
    let time = status.modified().expect("a time");
    file(&place.at("b"), &vec![b'!'; status.len() as usize]);
    let changed = fs::File::options().write(true).open(place.at("b")).expect("it can be opened");
    changed.set_modified(time).expect("a time can be set");
    // It passes for unchanged, until it is read.
    let summary = place.summary(&[], 0);
    assert_eq!(count_of(&summary, "files_unchanged"), 2, "{summary}");
    let summary = place.summary(&["--verify"], 4);
    assert_eq!(count_of(&summary, "files_verified"), 1, "{summary}");
    assert!(summary["messages"][0].to_string().contains("b: read back"), "{summary}");
}
