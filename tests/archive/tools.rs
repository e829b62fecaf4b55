//! Our archives in the hands of bsdtar, Python and unzip, and theirs in ours.

use std::fs;
use std::path::Path;

use super::UNPACKED;
use crate::support::args;
use crate::support::command::{run_tool, try_tool};
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::{Fixture, SEED};
use crate::support::generate::{directory, file, link, mode, mtime, named, sparse, symlink, xattr};
use crate::support::repo::Repo;
use crate::support::scratch::Scratch;
use crate::support::tree::{Shape, generate};

/// Names that each break some program.
const ODD_NAMES: [&[u8]; 8] = [
    b"new\nline",
    b"\xff\xfe no text",
    b" blank ",
    b"-dash",
    b"back\\slash",
    b"semi;colon*star?[x]",
    "\u{e9}\u{4e2d}\u{6587}".as_bytes(),
    b"tab\ttab",
];

/// bsdtar leaves the directory alone that it unpacks into.
const BY_BSDTAR: Rules = Rules { root: false, ..UNPACKED };

/// A tree of every kind and corner, but for times before 1970: bsdtar takes their
/// fractions for later, not for earlier.
fn generated(source: &Path, shape: Shape) {
    generate(source, SEED, shape);
    fs::remove_dir_all(source.join("times")).expect("it was made");
}

/// Whether bsdtar is there; says so if not.
fn has_bsdtar() -> bool {
    let there = try_tool("bash", ["-c", "command -v bsdtar"]).code == 0;
    if !there {
        eprintln!("SKIPPED: there is no bsdtar");
    }
    there
}

/// Files with odd names, a path of more than 300 bytes, every kind that zip knows too.
fn odd_tree(source: &Path) {
    directory(source);
    for name in ODD_NAMES {
        file(&named(source, name), name);
    }
    let long = source.join("n".repeat(160)).join("m".repeat(150));
    file(&directory(&long).join("l".repeat(200)), b"far away");
    file(&source.join("tool"), b"#!/bin/true\n");
    mode(&source.join("tool"), 0o751);
    mtime(&source.join("tool"), 1_234_567_890, 123_456_789);
    link(&source.join("tool"), &source.join("tool-too"));
    symlink(&source.join("pointer"), b"tool");
    symlink(&source.join("far-pointer"), &b"x/".repeat(200));
    xattr(&source.join("tool"), "user.note", b"any\0bytes\xff");
    sparse(&source.join("holes"), 9 << 20, &[(4 << 20, &[7; 8192]), (8 << 20, &[8; 4096])]);
    directory(&source.join("empty"));
}

/// Dumps the source of a fixture into an archive.
fn dump(fixture: &Fixture, name: &str) -> std::path::PathBuf {
    let archive = fixture.scratch.join(name);
    let named = format!("{}:{}", fixture.id, fixture.source.display());
    fixture.repo.ok(args!["dump", named, "--output", &archive]);
    archive
}

#[test]
fn bsdtar_unpacks_every_field_of_a_dump() {
    if !has_bsdtar() {
        return;
    }
    let generated = Fixture::built(|source| generated(source, Shape::TOOLS));
    for fixture in [generated, Fixture::built(odd_tree)] {
        for format in ["tar", "tar.gz", "tar.zst"] {
            let archive = dump(&fixture, &format!("archive.{format}"));
            let to = fixture.scratch.mkdir(&format!("of-{format}"));
            let keep = ["--xattrs", "--acls", "--numeric-owner", "-p"];
            let mut command = args!["-x", "-f", &archive, "-C", &to].to_vec();
            command.extend(keep.map(Into::into));
            run_tool("bsdtar", command);
            assert_same(&fixture.source, &to, BY_BSDTAR);
        }
    }
}

#[test]
fn all_that_bsdtar_keeps_comes_in() {
    if !has_bsdtar() {
        return;
    }
    let scratch = Scratch::new();
    let repo = Repo::new();
    let all: &dyn Fn(&Path) = &|at| generated(at, Shape::SMALL);
    // Its older form has no ACLs, without which modes are others.
    let trees = [(all, &["pax"][..]), (&odd_tree, &["pax", "gnutar"])];
    for (index, (make, forms)) in trees.into_iter().enumerate() {
        let source = scratch.join(&format!("source-{index}"));
        make(&source);
        for form in forms {
            let archive = scratch.join(&format!("{index}-{form}.tar"));
            let keep = ["--xattrs", "--acls", "--numeric-owner"];
            let mut command = args!["-c", "-f", &archive, "-C", &source].to_vec();
            command.extend(keep.map(Into::into));
            command.extend(args!["--format", form, "."]);
            run_tool("bsdtar", command);
            let to = scratch.join(&format!("to-{index}-{form}"));
            repo.ok(args!["import", &archive, "--to", &to]);
            match *form {
                "pax" => assert_same(&source, &to, UNPACKED),
                // Whole seconds, no attributes, no holes.
                _ => assert!(list(&source) == list(&to)),
            }
            repo.ok(args!["import", &archive]);
        }
    }
    repo.ok(["check", "--read-data"]);
}

/// Unpacks by Python and prints nothing.
const UNTAR: &str = "import sys, tarfile\n\
    with tarfile.open(sys.argv[1], errors='surrogateescape') as archive:\n\
    \x20   names = archive.getnames()\n\
    \x20   assert len(names) == len(set(names)), 'twice'\n\
    \x20   archive.extractall(sys.argv[2], numeric_owner=True)\n";

/// What nearly all programs and formats keep: no attributes, no times of symlinks.
fn list(at: &Path) -> Vec<u8> {
    let script = "cd \"$1\" && find . -type f -exec sha256sum -z {} + | sort -z && \
        find . -mindepth 1 ! -type s -printf '%p %y %m %l\\0' | sort -z && \
        find . -type f -printf '%p %Ts\\0' | sort -z";
    run_tool("bash", args!["-c", script, "bash", at]).stdout
}

#[test]
fn python_unpacks_a_dump_and_an_export() {
    let fixture = Fixture::built(odd_tree);
    for format in ["tar", "tar.gz"] {
        let archive = dump(&fixture, &format!("archive.{format}"));
        let to = fixture.scratch.mkdir(&format!("of-{format}"));
        run_tool("python3", args!["-W", "ignore", "-c", UNTAR, &archive, &to]);
        assert!(list(&fixture.source) == list(&to), "{format}");
        let blocks = |at: &Path| {
            std::os::unix::fs::MetadataExt::blocks(&fs::metadata(at).expect("it is there"))
        };
        assert!(blocks(&to.join("holes")) < 1000, "holes are kept");
    }
    let facts = super::export(&fixture.repo, &fixture.id, &fixture.scratch.mkdir("out"));
    let to = fixture.scratch.mkdir("exported");
    let archive = super::path_in(&facts, "archive");
    run_tool("python3", args!["-W", "ignore", "-c", UNTAR, &archive, &to]);
    let data = to.join("data").join(fixture.source.strip_prefix("/").expect("it is absolute"));
    assert!(list(&fixture.source) == list(&data));
}

#[test]
fn unzip_bsdtar_and_python_take_odd_names_out_of_a_zip() {
    let fixture = Fixture::built(odd_tree);
    let archive = dump(&fixture, "a.zip");
    let to = fixture.scratch.join("unzipped");
    // Else it leaves newlines and tabs out.
    run_tool("unzip", args!["-q", "-^", &archive, "-d", &to]);
    assert!(list(&fixture.source) == list(&to));
    if has_bsdtar() {
        let fixture = Fixture::built(|source| {
            odd_tree(source);
            // It takes it for a slash of another system.
            fs::remove_file(source.join("back\\slash")).expect("it was made");
        });
        let archive = dump(&fixture, "a.zip");
        let to = fixture.scratch.mkdir("by-bsdtar");
        run_tool("bsdtar", args!["-x", "-p", "-f", &archive, "-C", &to]);
        assert!(list(&fixture.source) == list(&to));
    }
    let script = "import sys, zipfile\n\
        archive = zipfile.ZipFile(sys.argv[1])\n\
        assert archive.testzip() is None\n\
        print(len(archive.namelist()))\n";
    let count = run_tool("python3", args!["-c", script, &archive]).text();
    let items = run_tool("find", args![&fixture.source, "-mindepth", "1", "-printf", "x\n"]);
    assert_eq!(count.trim(), items.text().lines().count().to_string());
}

#[test]
fn sizes_that_old_headers_cannot_hold_are_read_by_others_and_theirs_by_us() {
    let fixture = Fixture::built(|source| {
        directory(source);
        sparse(&source.join("nine"), 9 << 30, &[((9 << 30) - 4, b"tail")]);
    });
    let archive = dump(&fixture, "a.tar");
    let size = (9_u64 << 30).to_string();
    for tool in ["tar", "bsdtar"].into_iter().filter(|tool| *tool == "tar" || has_bsdtar()) {
        let listed = run_tool(tool, args!["-tvf", &archive]).text();
        assert!(listed.contains(&size), "{tool}: {listed}");
    }
    // Base-256, pax and the maps of GNU.
    let repo = Repo::new();
    for format in ["oldgnu", "gnu", "posix"] {
        let theirs = fixture.scratch.join(&format!("{format}.tar"));
        let form = format!("--format={format}");
        run_tool("tar", args!["-c", "-S", form, "-f", &theirs, "-C", &fixture.source, "."]);
        let facts = repo.ok(args!["import", "--json", &theirs]).last_json_line();
        assert_eq!(facts["bytes"], 9_u64 << 30, "{format}");
    }
}
