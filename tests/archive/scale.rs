//! Many files and giant holes: memory and time stay bounded.

use std::fs;

use super::{UNPACKED, export, path_in};
use crate::support::args;
use crate::support::command::run_tool;
use crate::support::compare::assert_same;
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, sparse};
use crate::support::measure::measured;
use crate::support::repo::Repo;
use crate::support::scratch::Scratch;

/// Runs the program and returns the most memory that it took, in bytes.
#[track_caller]
fn memory_of(repo: &Repo, arguments: &[std::ffi::OsString]) -> u64 {
    measured(repo, arguments).peak_bytes
}

#[test]
fn a_hundred_thousand_files_take_little_memory_in_every_direction() {
    const FILES: u32 = 100_000;
    const BOUND: u64 = 160 << 20;
    let fixture = Fixture::built(|source| {
        for outer in 0..100 {
            let inner = source.join(format!("directory-{outer}"));
            fs::create_dir_all(&inner).expect("it can be made");
            for index in 0..FILES / 100 {
                fs::write(inner.join(format!("file-{index}")), format!("{outer} {index}"))
                    .expect("it can be written");
            }
        }
    });
    let out = fixture.scratch.mkdir("out");
    let taken = memory_of(&fixture.repo, &args!["export", &fixture.id, &out]);
    assert!(taken < BOUND, "export: {taken} bytes");
    let archive = fs::read_dir(&out).expect("it was made").flatten().map(|entry| entry.path());
    let archive = archive.filter(|path| path.extension().is_some_and(|it| it == "gz")).last();
    let archive = archive.expect("it was written");
    let other = Repo::new();
    for command in [
        args!["import", "-n", &archive].to_vec(),
        args!["import", &archive].to_vec(),
        args!["import", &archive, "--to", fixture.scratch.join("to")].to_vec(),
        args!["dump", "-a", "zip", "latest"].to_vec(),
    ] {
        let taken = memory_of(&other, &command);
        assert!(taken < BOUND, "{command:?}: {taken} bytes");
    }
    // In no order, each entry is held.
    let plain = fixture.scratch.join("plain.tar");
    run_tool("tar", args!["-c", "-f", &plain, "-C", &fixture.source, "."]);
    let taken = memory_of(&other, &args!["import", &plain]);
    assert!(taken < BOUND + 60 * (1 << 20), "import of a plain tar: {taken} bytes");
    let list = other.list_json();
    assert_eq!(list[1]["files"], FILES);
}

#[test]
fn giant_holes_cost_neither_time_nor_space() {
    let fixture = Fixture::built(|source| {
        directory(source);
        sparse(&source.join("tail-at-1T"), (1 << 40) + 4, &[(1 << 40, b"tail")]);
        sparse(&source.join("all-hole-300G"), 300 << 30, &[]);
    });
    let facts = export(&fixture.repo, &fixture.id, &fixture.scratch.mkdir("out"));
    let archive = path_in(&facts, "archive");
    assert!(fs::metadata(&archive).expect("it was written").len() < 10_000);
    let manifest = fs::read_to_string(path_in(&facts, "manifest")).expect("it lies beside");
    // Nobody reads a terabyte of zeros for a checksum.
    assert_eq!(manifest.matches("\"sha256\":null").count(), 2, "{manifest}");
    let to = fixture.scratch.join("to");
    fixture.repo.ok(args!["import", &archive, "--to", &to]);
    let data = to.join(fixture.source.strip_prefix("/").expect("it is absolute"));
    assert_same(&fixture.source, &data, UNPACKED);
    let other = Repo::new();
    other.ok(args!["import", &archive]);
    assert_eq!(other.list_json()[0]["bytes"], (1_u64 << 40) + 4 + (300 << 30));
}

#[test]
fn an_archive_that_unpacks_to_a_thousand_times_its_size_takes_no_memory() {
    let scratch = Scratch::new();
    let bomb = scratch.join("bomb.tar.gz");
    let zeros = scratch.join("zeros");
    fs::File::create(&zeros).and_then(|file| file.set_len(1 << 30)).expect("it can be sparse");
    run_tool("tar", args!["-c", "-z", "-f", &bomb, "-C", scratch.path(), "zeros"]);
    let size = fs::metadata(&bomb).expect("it was packed").len();
    assert!(size < 3 << 20, "{size}");
    let repo = Repo::new();
    let taken = memory_of(&repo, &args!["import", &bomb]);
    assert!(taken < 120 << 20, "{taken} bytes");
    assert!(repo.du() < 8 << 20);
}
