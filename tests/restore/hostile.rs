//! Targets that lead elsewhere, and processes that change them meanwhile.

use std::path::Path;
use std::sync::atomic::Ordering;

use super::place::{COPY, Place};
use crate::support::args;
use crate::support::beside;
use crate::support::compare::assert_same;
use crate::support::fixture::{Fixture, plain_tree};
use crate::support::generate::{directory, file, mode, owner, symlink, xattr};
use crate::support::need::require_root;
use crate::support::scratch::Scratch;

/// A directory elsewhere that nothing may be written to.
fn elsewhere(scratch: &Scratch) -> std::path::PathBuf {
    let outside = scratch.mkdir("outside");
    file(&outside.join("victim"), b"untouched");
    outside
}

fn is_untouched(outside: &Path) -> bool {
    let names = std::fs::read_dir(outside).expect("it is there").flatten().count();
    names == 1 && std::fs::read(outside.join("victim")).ok().as_deref() == Some(b"untouched")
}

fn text(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

#[test]
fn symlinks_planted_below_the_target_are_replaced_never_followed() {
    let place = Place::of(&["victim", "dir/victim", "dir/in/victim"]);
    let outside = elsewhere(&place.fixture.scratch);
    directory(&place.target);
    symlink(&place.at("victim"), text(&outside.join("victim")));
    symlink(&place.at("dir"), text(&outside));
    place.restore(&[]).fails(14, &["--yes"]);
    assert!(is_untouched(&outside));
    place.summary(&["--overwrite", "never"], 3);
    assert!(is_untouched(&outside));
    place.summary(&["--yes"], 0);
    assert!(is_untouched(&outside));
    place.compare();
    std::fs::remove_dir_all(place.at("dir/in")).expect("it is there");
    symlink(&place.at("dir/in"), text(&outside));
    place.summary(&["--yes", "--delete"], 0);
    assert!(is_untouched(&outside));
    place.compare();
}

#[test]
fn the_target_itself_may_be_a_symlink() {
    let place = Place::of(&["a", "b/c"]);
    let real = place.fixture.scratch.mkdir("real");
    symlink(&place.target, text(&real));
    place.summary(&[], 0);
    assert_same(&place.fixture.source, &real, COPY);
    assert!(place.target.is_symlink());
}

#[test]
fn in_place_a_symlink_on_the_way_to_the_sources_is_not_followed() {
    let place = Place::of(&["a"]);
    let outside = elsewhere(&place.fixture.scratch);
    let root = place.fixture.scratch.mkdir("sysroot");
    let first = place.fixture.source.components().nth(1).expect("a name");
    symlink(&root.join(first), text(&outside));
    let id = place.fixture.id.clone();
    let outcome = place.fixture.repo.run(args!["restore", id, "--in-place", &root, "--yes"]);
    outcome.ends(3, &["not followed"]);
    assert!(is_untouched(&outside) && root.join(first).is_symlink());
}

#[test]
fn a_process_that_swaps_directories_and_symlinks_leads_nothing_outside() {
    let place = Place::new(Fixture::built(|source| plain_tree(source, 5, 400, 3_000)));
    let outside = elsewhere(&place.fixture.scratch);
    let mut raced = 0;
    for round in 0..12 {
        if place.target.exists() {
            std::fs::remove_dir_all(&place.target).expect("it can be removed");
        }
        directory(&place.target);
        let racing = |stop: &std::sync::atomic::AtomicBool| {
            while !stop.load(Ordering::Relaxed) {
                for index in 0..40 {
                    let at = place.at(&format!("directory-{index}"));
                    let aside = place.at(&format!("aside-{index}"));
                    let _ = std::fs::rename(&at, &aside);
                    let _ = std::os::unix::fs::symlink(&outside, &at);
                    let _ = std::fs::remove_file(&at);
                    let _ = std::fs::rename(&aside, &at);
                }
            }
        };
        let options = ["--yes", "--delete"];
        let options = if round % 2 == 0 { &options[..1] } else { &options[..] };
        let code = beside(racing, || place.restore(options).code);
        assert!([0, 3].contains(&code), "{code}");
        raced += i32::from(code == 3);
        assert!(is_untouched(&outside), "round {round}");
    }
    eprintln!("{raced} of 12 were raced");
    std::fs::remove_dir_all(&place.target).expect("it can be removed");
    place.summary(&[], 0);
    place.compare();
}

#[test]
fn a_hostile_default_acl_of_the_target_is_not_inherited() {
    let place = Place::of(&["a", "b/c"]);
    directory(&place.target);
    let acl = "d:u:12345:rwx,d:o::rwx";
    crate::support::command::run_tool("setfacl", args!["-m", acl, &place.target]);
    place.summary(&["--yes"], 0);
    place.compare();
}

#[test]
fn setuid_bits_come_only_with_the_owner_that_they_stand_for() {
    if !require_root("files of other owners") {
        return;
    }
    let place = Place::new(Fixture::built(|source| {
        let own = directory(source).join("own");
        let foreign = source.join("foreign");
        for path in [&own, &foreign] {
            file(path, b"#!/bin/true\n");
        }
        owner(&foreign, 12345, 54321);
        mode(&foreign, 0o6755);
        mode(&own, 0o4711);
    }));
    let summary = place.summary(&["--no-owner"], 3);
    assert!(summary["messages"].to_string().contains("foreign"), "{summary}");
    let mode_of = |name: &str| {
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(place.at(name)).expect("there"))
    };
    assert_eq!((mode_of("foreign") & 0o7777, mode_of("own") & 0o7777), (0o755, 0o4711));
    place.summary(&["--yes"], 0);
    place.compare();
}

#[test]
fn attributes_too_many_go_and_changed_ones_come_back() {
    let place = Place::new(Fixture::built(|source| {
        file(&directory(source).join("file"), b"x");
        xattr(&source.join("file"), "user.wanted", b"1");
        directory(&source.join("dir"));
        file(&source.join("plain"), b"y");
    }));
    place.summary(&[], 0);
    xattr(&place.at("file"), "user.wanted", b"2");
    xattr(&place.at("plain"), "user.unwanted", b"3");
    xattr(&place.at("dir"), "user.unwanted", b"3");
    place.restore(&[]).fails(14, &["3 items"]);
    place.summary(&["--yes"], 0);
    place.compare();
}
