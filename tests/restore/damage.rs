//! Damaged repositories: what is damaged is not written, everything else is.

use std::fs;
use std::os::unix::fs::FileExt;

use super::place::Place;
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file};
use crate::support::repo::{Repo, count_of};
use crate::support::rng::Rng;

/// Changes one byte in the middle of incompressible content.
fn rot(repo: &Repo, content: &[u8]) {
    for entry in fs::read_dir(repo.path().join("db")).expect("it can be listed").flatten() {
        let bytes = fs::read(entry.path()).unwrap_or_default();
        let window = &content[6000..6032];
        if let Some(at) = bytes.windows(window.len()).position(|part| part == window) {
            let options = fs::OpenOptions::new().write(true).open(entry.path());
            let table = options.expect("it can be opened");
            table.write_all_at(&[window[0] ^ 1], at as u64).expect("it can be written");
            return;
        }
    }
    panic!("the content is not in the store as it is");
}

#[test]
fn a_damaged_file_is_named_and_not_written_and_all_others_come() {
    let mut rng = Rng::new(78);
    let victim = rng.bytes(12_000);
    let place = Place::new(Fixture::built(|source| {
        file(&directory(source).join("before"), &rng.bytes(30_000));
        file(&source.join("victim"), &victim);
        file(&directory(&source.join("with")).join("after"), &rng.bytes(30_000));
    }));
    rot(&place.fixture.repo, &victim);
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
