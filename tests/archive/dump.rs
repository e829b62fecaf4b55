//! `dump`: what tar, gzip, zstd, unzip and Python make of it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::{UNPACKED, untar};
use crate::support::compare::assert_same;
use crate::support::fixture::{Fixture, plain_tree};
use crate::support::generate::{directory, file, link, mode, mtime, sparse, symlink};
use crate::support::repo::Repo;
use crate::support::tree::Shape;
use crate::support::{args, command::run_tool};

#[test]
fn gnu_tar_unpacks_every_field_of_a_dumped_directory() {
    let fixture = Fixture::generated(Shape::TOOLS);
    let named = format!("{}:{}", fixture.id, fixture.source.display());
    for format in ["tar", "tar.gz", "tar.zst"] {
        let archive = fixture.scratch.join(&format!("archive.{format}"));
        // The name of the file says the format.
        fixture.repo.ok(args!["dump", &named, "--output", &archive]);
        let to = fixture.scratch.join(&format!("of-{format}"));
        untar(&archive, &to);
        assert_same(&fixture.source, &to, UNPACKED);
    }
}

#[test]
fn a_dump_goes_to_standard_output_and_is_the_same_every_time() {
    let fixture = Fixture::plain();
    let dump = || fixture.repo.ok(args!["dump", "--archive", "tar", &fixture.id]).stdout;
    let first = dump();
    assert!(first.len() > 30 * 20_000 && first.len().is_multiple_of(512));
    assert!(first == dump(), "two dumps of one snapshot differ");
}

#[test]
fn python_and_unzip_read_a_zip_with_modes_times_and_links() {
    let scratch = crate::support::scratch::Scratch::new();
    let source = scratch.join("source");
    plain_tree(&source, 5, 20, 30_000);
    directory(&source.join("empty"));
    file(&source.join("tool"), b"#!/bin/true\n");
    mode(&source.join("tool"), 0o751);
    mtime(&source.join("tool"), 1_234_567_891, 0);
    symlink(&source.join("pointer"), b"directory-0/file-0");
    link(&source.join("tool"), &source.join("linked"));
    sparse(&source.join("holes"), 3 << 20, &[(1 << 20, b"data")]);
    let repo = Repo::new();
    let id = repo.create(&source);
    let archive = scratch.join("a.zip");
    let named = format!("{id}:{}", source.display());
    repo.ok(args!["dump", "-a", "zip", &named, "-o", &archive]);
    let test = "import sys, zipfile\n\
                archive = zipfile.ZipFile(sys.argv[1])\n\
                assert archive.testzip() is None\n\
                assert len(archive.namelist()) == len(set(archive.namelist())), 'twice'\n";
    run_tool("python3", args!["-c", test, &archive]);
    let to = scratch.join("unzipped");
    run_tool("unzip", args!["-q", &archive, "-d", &to]);
    let list = |at: &std::path::Path| {
        // `unzip` gives links no times.
        let script = "cd \"$1\" && find . -type f -exec sha256sum {} + | sort && \
                      find . -type f -printf '%p %m %Ts\\n' | sort && \
                      find . -mindepth 1 -printf '%p %y %m %l\\n' | sort";
        run_tool("bash", args!["-c", script, "bash", at]).text()
    };
    assert_eq!(list(&source), list(&to));
}

#[test]
fn a_file_alone_is_its_bytes_and_in_an_archive_has_its_name() {
    let fixture = Fixture::built(|source| {
        directory(source);
        sparse(&source.join("holes"), 300_000, &[(100_000, b"data")]);
    });
    let named = format!("{}:{}/holes", fixture.id, fixture.source.display());
    let bytes = fs::read(fixture.source.join("holes")).expect("it was made");
    assert!(fixture.repo.ok(args!["dump", &named]).stdout == bytes);
    let copy = fixture.scratch.join("copy.tar.gz");
    // A file is never packed because of a name.
    fixture.repo.ok(args!["dump", &named, "-o", &copy]);
    assert!(fs::read(&copy).expect("it was written") == bytes);
    assert_eq!(fs::metadata(&copy).expect("it is there").permissions().mode() & 0o777, 0o600);
    let archive = fixture.scratch.join("a.tar");
    fixture.repo.ok(args!["dump", "-a", "tar", &named, "-o", &archive]);
    let to = fixture.scratch.join("to");
    untar(&archive, &to);
    assert!(fs::read(to.join("holes")).expect("it was packed") == bytes);
    let blocks = fs::metadata(to.join("holes")).expect("it is there").blocks();
    assert!(blocks * 512 < 100_000, "{blocks} blocks");
}

#[test]
fn an_output_is_replaced_only_when_that_was_said() {
    let fixture = Fixture::plain();
    let output = fixture.scratch.join("here.tar");
    file(&output, b"mine");
    let dump = args!["dump", &fixture.id, "-o", &output];
    fixture.repo.run(&dump).fails(14, &["here.tar", "--yes"]);
    assert_eq!(fs::read(&output).expect("it is there"), b"mine");
    let mut yes = dump.to_vec();
    yes.push("--yes".into());
    fixture.repo.ok(yes);
    assert!(fs::read(&output).expect("it is there").len() > 600_000);
    let left: Vec<_> = fs::read_dir(fixture.scratch.path()).expect("it is there").collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn what_cannot_be_dumped_is_said() {
    let fixture = Fixture::plain();
    let repo = &fixture.repo;
    repo.run(args!["dump", &fixture.id]).fails(2, &["no regular file", "--archive tar"]);
    repo.run(args!["dump", format!("{}:nowhere", fixture.id)]).fails(1, &["nowhere"]);
    repo.run(args!["dump", "-a", "rar", &fixture.id]).expect(2);
    repo.run(args!["dump", "-a", "tar", &fixture.id, "-o", "no/where"]).fails(1, &["no"]);
    let full = repo
        .command(args!["dump", "-a", "tar", &fixture.id])
        .stdout(fs::File::options().write(true).open("/dev/full").expect("it is there"))
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    crate::support::command::finish(full, "dump to /dev/full").fails(1, &["space"]);
}

#[test]
fn a_dump_is_an_event_of_the_audit_log() {
    let fixture = Fixture::plain();
    fixture.repo.ok(args!["dump", "-a", "tar", &fixture.id]);
    let log = fixture.repo.ok(["log", "--type", "snapshot.read", "--json"]).last_json_line();
    assert_eq!(log["subject"]["snapshots"][0], fixture.id.as_str());
    assert_eq!(log["payload"]["files"], 30);
}
