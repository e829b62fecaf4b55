//! Exports and imports that are killed, interrupted, or meet a full disk.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{export, path_in, root_of};
use crate::support::args;
use crate::support::command::finish;
use crate::support::fixture::{Fixture, plain_tree};
use crate::support::repo::{Repo, signal};
use crate::support::rng::Rng;
use crate::support::small_disk::SmallDisk;

/// What lies in a directory.
fn names(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).expect("it is there").flatten();
    names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Runs a command and sends it a signal after a while; its exit code.
fn cut_short(repo: &Repo, command: &[std::ffi::OsString], after: Duration, by: Signal) -> i32 {
    let mut command = repo.command(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    std::thread::sleep(after);
    if child.try_wait().expect("it can be waited for").is_none() {
        signal(&child, by);
    }
    finish(child, "a command that is cut short").code
}

fn big() -> Fixture {
    Fixture::built(|source| plain_tree(source, 9, 400, 60_000))
}

#[test]
fn an_export_that_is_killed_or_interrupted_leaves_nothing_or_all() {
    let fixture = big();
    let began = Instant::now();
    export(&fixture.repo, &fixture.id, &fixture.scratch.mkdir("first"));
    let whole = began.elapsed();
    let mut rng = Rng::printed("kills of exports");
    let mut ended = [0; 2];
    for round in 0..16 {
        let out = fixture.scratch.mkdir(&format!("out-{round}"));
        let by = [Signal::KILL, Signal::INT, Signal::TERM, Signal::HUP][round % 4];
        let after = whole.mul_f64(rng.below(1000) as f64 / 1000.0);
        let code = cut_short(&fixture.repo, &args!["export", &fixture.id, &out], after, by);
        let left = names(&out);
        match code {
            0 => assert_eq!(left.len(), 2, "{left:?}"),
            // The manifest may have its name already, and says what is true.
            137 => {
                assert!(left.len() <= 2 && left.iter().all(|it| !it.starts_with('.')), "{left:?}")
            }
            code => {
                assert!((129..=143).contains(&code), "{code}");
                assert!(left.is_empty(), "{code}: {left:?}");
            }
        }
        ended[usize::from(code == 0)] += 1;
        for name in left.iter().filter(|name| name.ends_with(".gz")) {
            fixture.repo.ok(args!["import", "-n", out.join(name)]);
        }
    }
    assert!(ended[0] > 0, "none of them was cut short: {ended:?}");
}

#[test]
fn an_import_that_is_killed_or_interrupted_leaves_no_snapshot_and_the_next_one_works() {
    let fixture = big();
    let facts = export(&fixture.repo, &fixture.id, &fixture.scratch.mkdir("out"));
    let archive = path_in(&facts, "archive");
    let other = Repo::new();
    let began = Instant::now();
    other.ok(args!["import", "-n", &archive]);
    let whole = began.elapsed();
    let mut rng = Rng::printed("kills of imports");
    let to = fixture.scratch.join("to");
    for round in 0..12 {
        let by = [Signal::KILL, Signal::INT][round % 2];
        let after = whole.mul_f64(rng.below(1000) as f64 / 1000.0);
        let before = other.ids().len();
        let code = cut_short(&other, &args!["import", &archive], after, by);
        assert_eq!(other.ids().len(), before + usize::from(code == 0), "{code}");
        let code = cut_short(&other, &args!["import", &archive, "--to", &to], after, by);
        assert_eq!(to.exists(), code == 0, "{code}");
        if code == 0 {
            fs::remove_dir_all(&to).expect("it was unpacked");
        } else if code != 137 {
            let left = names(&fixture.scratch.path());
            let beside = left.iter().filter(|name| name.starts_with(".to.")).count();
            assert!(beside <= round.div_ceil(2) + 1, "an interrupted one leaves nothing: {left:?}");
        }
    }
    other.gc();
    other.ok(args!["import", &archive]);
    other.ok(["check", "--read-data"]);
    let ids = other.ids();
    let last = ids.last().expect("one was imported");
    assert_eq!(root_of(&other, last), root_of(&fixture.repo, &fixture.id));
}

#[test]
fn a_full_disk_leaves_no_archive_no_directory_and_no_snapshot() {
    let Some(disk) = SmallDisk::ext4(120) else { return };
    let fixture = big();
    let facts = export(&fixture.repo, &fixture.id, &fixture.scratch.mkdir("first"));
    let archive = path_in(&facts, "archive");
    let other = Repo::at(&disk.point().join("repo"));
    disk.fill(6 << 20);
    let out = disk.point().join("out");
    fixture.repo.run(args!["export", &fixture.id, &out]).fails(1, &["no space"]);
    assert!(names(&out).is_empty());
    let dumped = disk.point().join("x.tar");
    fixture.repo.run(args!["dump", &fixture.id, "-o", &dumped]).fails(1, &["no space"]);
    assert!(!dumped.exists());
    let to = disk.point().join("to");
    fixture.repo.run(args!["import", &archive, "--to", &to]).fails(1, &["no space"]);
    assert!(!to.exists());
    other.run(args!["import", &archive]).ends(1, &["no space"]);
    assert!(other.ids().is_empty());
    disk.make_room();
    other.gc();
    fixture.repo.ok(args!["export", &fixture.id, &out]);
    assert_eq!(names(&out).len(), 2);
    fs::remove_dir_all(&out).expect("it is there");
    other.ok(args!["import", &archive]);
    other.ok(["check", "--read-data"]);
}
