//! The frail disk loses what was not synced, and nothing else.

use std::fs::{self, File};
use std::io::Write as _;

use fuser::Errno;

use super::frail::{Call, Fault, Lie, Lost};
use super::frail_disk::FrailDisk;
use super::need::require_fuse;
use super::rng::Rng;

fn sync(path: &std::path::Path) {
    File::open(path).and_then(|file| file.sync_all()).expect("it can be synced");
}

#[test]
fn a_cut_takes_content_and_names_that_were_not_synced_and_leaves_the_others() {
    if !require_fuse() {
        return;
    }
    let disk = FrailDisk::new();
    let top = disk.point();
    fs::write(top.join("whole"), "whole").expect("it can be written");
    fs::write(top.join("empty"), "gone").expect("it can be written");
    sync(&top.join("whole"));
    sync(&top);
    fs::write(top.join("nameless"), "synced").expect("it can be written");
    sync(&top.join("nameless"));
    fs::rename(top.join("whole"), top.join("renamed")).expect("it can be renamed");
    let mut file = File::options().append(true).open(top.join("renamed")).expect("it opens");
    file.write_all(b" and more").expect("it can be written");
    drop(file);
    assert_eq!(fs::read(top.join("renamed")).expect("it is there"), b"whole and more");
    disk.restart(Lost::All);
    let names = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let mut left: Vec<_> = fs::read_dir(&top).expect("it lists").map(names).collect();
    left.sort();
    assert_eq!(left, ["empty", "whole"]);
    assert_eq!(fs::read(top.join("whole")).expect("it is there"), b"whole");
    assert_eq!(fs::read(top.join("empty")).expect("it is there"), b"");
}

#[test]
fn a_cut_in_the_middle_ends_all_calls_and_chance_takes_only_what_was_not_synced() {
    if !require_fuse() {
        return;
    }
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..24 {
        let disk = FrailDisk::new();
        let top = disk.point();
        let old = vec![1; 3 * 4096];
        fs::write(top.join("file"), &old).expect("it can be written");
        sync(&top.join("file"));
        sync(&top);
        disk.reset(&disk.image());
        let mut file = File::options().write(true).open(top.join("file")).expect("it opens");
        disk.cut_behind(1);
        file.write_all(&vec![2; 2 * 4096]).expect("one change is left");
        assert!(file.sync_all().is_err(), "synced without power");
        assert!(fs::write(top.join("other"), "x").is_err(), "written without power");
        drop(file);
        disk.restart(Lost::Some(Rng::new(seed)));
        let bytes = fs::read(top.join("file")).expect("a synced name stays");
        assert_eq!(bytes.len(), old.len());
        assert_eq!(bytes[2 * 4096..], old[2 * 4096..], "what was not written to changed");
        outcomes.insert((bytes[0], bytes[4096]));
    }
    assert_eq!(outcomes.len(), 4, "not every outcome came up: {outcomes:?}");
}

#[test]
fn calls_fail_as_planned_and_a_disk_that_lies_loses_what_was_synced() {
    if !require_fuse() {
        return;
    }
    let disk = FrailDisk::new();
    let top = disk.point();
    disk.reset(&disk.image());
    disk.fail(Some(Fault { call: Call::Write, after: 1, count: 1, errno: Errno::ENOSPC }));
    fs::write(top.join("first"), "1").expect("the first write works");
    let full = fs::write(top.join("second"), "2").expect_err("the second one fails");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    fs::write(top.join("third"), "3").expect("the third one works");
    disk.lie(Lie::Files);
    for name in ["first", "third"] {
        sync(&top.join(name));
    }
    sync(&top);
    disk.restart(Lost::All);
    assert_eq!(fs::read(top.join("third")).expect("its name was synced"), b"");
    disk.lie(Lie::Directories);
    fs::write(top.join("fourth"), "4").expect("it can be written");
    sync(&top.join("fourth"));
    sync(&top);
    disk.restart(Lost::All);
    assert!(!top.join("fourth").exists(), "its name was not synced");
}
