//! The running system as a side that may not be read and does not hold still.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::{inside, name_status};
use crate::support::args;
use crate::support::command::{icecore, run, run_tool};
use crate::support::encrypt::init_words;
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file, mode, mtime, sparse, symlink};
use crate::support::need::{is_root, require_root};
use crate::support::scratch::Scratch;

#[test]
fn what_may_not_be_read_is_named_and_the_rest_compared() {
    let scratch = Scratch::new();
    let (source, home) = (scratch.mkdir("source"), scratch.mkdir("home"));
    file(&source.join("secret"), b"not for all");
    file(&directory(&source.join("closed")).join("inside"), b"not for all");
    file(&source.join("open"), b"x");
    file(&directory(&source.join("was/closed")).join("../beside"), b"moved along");
    mode(&source.join("was/closed"), 0o755);
    let program = scratch.join("program");
    std::fs::copy(icecore(), &program).expect("the program can be copied");
    if is_root() {
        run_tool("chown", args!["-R", "65534:65534", &source, &home]);
    }
    let as_user = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("-r").arg(home.join("repo")).args(arguments).current_dir(&source);
        if is_root() {
            command.uid(65534).gid(65534);
        }
        run(command.env("HOME", &home))
    };
    as_user(&init_words()).expect(0);
    as_user(&["create", "."]).expect(0);
    mtime(&source.join("secret"), 5, 5);
    mode(&source.join("secret"), 0);
    mode(&source.join("closed"), 0);
    file(&source.join("open"), b"y");
    let outcome = as_user(&["diff", "--name-status", "--exit-code", "latest", "."]).expect(3);
    assert_eq!(outcome.text(), "U\tclosed/\nM\topen\nU\tsecret\n", "what is inside is not told");
    let error = outcome.error();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 2, "{error}");
    assert!(lines[0].contains("closed: cannot look into it: Permission denied"), "{error}");
    assert!(lines[1].contains("secret: cannot compare its content: Permission"), "{error}");
    let summary = as_user(&["diff", "--json", "latest", "."]).expect(3).last_json_line();
    assert_eq!(summary["errors"], 2, "{summary}");
    let text = as_user(&["diff", "--content", "latest", "."]).expect(3).text();
    assert!(text.contains("\n-x\n") && text.contains("\n+y\n"), "{text}");
    // Nobody knows whether all of this is what was moved.
    std::fs::rename(source.join("was"), source.join("now")).expect("it can be moved");
    mode(&source.join("now/closed"), 0);
    let told = as_user(&["diff", "--ignore", "mode", "--name-status", "latest:was", "./now"]);
    assert_eq!(told.expect(3).text(), "");
    let told = as_user(&["diff", "--ignore", "mode,mtime", "--name-status", "latest", "."]);
    let told = told.expect(3).text();
    assert!(told.contains("+\tnow/\n") && told.contains("R\twas/beside\tnow/beside\n"), "{told}");
    mode(&source.join("now/closed"), 0o755);
    let told = as_user(&["diff", "--name-status", "latest", "."]).expect(3).text();
    assert!(told.contains("R\twas/\tnow/\n"), "{told}");
    mode(&source.join("closed"), 0o700);
    mode(&source.join("secret"), 0o600);
}

const SIZES: [(&str, usize); 3] = [("chunk", 3_000), ("chunks", 900_000), ("tiny", 10)];

/// Files of one byte each, again and again, and one with holes; all of one time.
fn files(source: &std::path::Path, last: u8, more: &[(u64, &[u8])]) {
    for (name, size) in SIZES {
        let mut content = vec![b'a'; size];
        content[size - 1] = last;
        file(&directory(source).join(name), &content);
    }
    sparse(&source.join("sparse"), 5 << 20, &[&[(1 << 20, &b"x"[..])], more].concat());
    touch(source, 1_000_000_000);
}

fn touch(source: &std::path::Path, seconds: i64) {
    for name in SIZES.map(|(name, _)| name).iter().chain(&["sparse"]) {
        mtime(&source.join(name), seconds, 7);
    }
}

#[test]
fn content_behind_equal_metadata_is_read_only_on_demand() {
    let fixture = Fixture::built(|source| files(source, b'a', &[]));
    let (repo, source) = (&fixture.repo, &fixture.source);
    // The second byte lies in what was a hole.
    files(source, b'b', &[(4 << 20, b"y")]);
    let stored = inside("latest", source);
    assert_eq!(name_status(repo, &args![&stored, source]), [""; 0]);
    let expected = ["M\tchunk", "M\tchunks", "M\tsparse", "M\ttiny"];
    assert_eq!(name_status(repo, &args!["--checksum", &stored, source]), expected);
    touch(source, 1_000_000_001);
    assert_eq!(name_status(repo, &args![&stored, source]), expected, "another time says: look");
    files(source, b'a', &[]);
    touch(source, 1_000_000_001);
    let expected = ["U\tchunk", "U\tchunks", "U\tsparse", "U\ttiny"];
    assert_eq!(name_status(repo, &args![&stored, source]), expected, "the same bytes again");
    assert_eq!(name_status(repo, &args!["--ignore", "mtime", &stored, source]), [""; 0]);
}

#[test]
fn what_has_holes_is_found_where_it_moved_to_and_nobody_reads_a_terabyte_of_them() {
    let fixture = Fixture::built(|source| {
        for name in ["image", "inner/image"] {
            let path = source.join(name);
            directory(path.parent().expect("it is below the source"));
            sparse(&path, 1 << 40, &[(1 << 39, name.as_bytes())]);
        }
    });
    let (repo, source) = (&fixture.repo, &fixture.source);
    let move_to = |from: &str, to: &str| {
        std::fs::rename(source.join(from), source.join(to)).expect("it can be moved");
    };
    move_to("image", "moved-image");
    move_to("inner", "moved-inner");
    let operands = args![inside("latest", source), source];
    let expected = ["R\timage\tmoved-image", "R\tinner/\tmoved-inner/"];
    assert_eq!(name_status(repo, &operands), expected);
    sparse(&source.join("moved-image"), 1 << 40, &[(1 << 39, b"other")]);
    let expected = ["-\timage", "+\tmoved-image", "R\tinner/\tmoved-inner/"];
    assert_eq!(name_status(repo, &operands), expected);
}

#[test]
fn operands_that_begin_with_a_slash_or_a_dot_are_of_the_running_system() {
    let fixture = Fixture::plain();
    let (repo, source) = (&fixture.repo, &fixture.source);
    let stored = inside("latest", source);
    let beside = |arguments: &[std::ffi::OsString]| {
        run(repo.command(arguments).current_dir(fixture.scratch.path()))
    };
    beside(&args!["diff", "--exit-code", &stored, "./source"]).expect(0);
    symlink(&fixture.scratch.join("link"), b"source");
    beside(&args!["diff", "--exit-code", &stored, "./link"]).expect(0);
    let one = source.join("directory-0/file-0");
    repo.ok(args!["diff", "--exit-code", inside("latest", &one), &one]);
    file(&one, b"other");
    let text = repo.ok(args!["diff", "--name-status", inside("latest", &one), &one]).text();
    assert_eq!(text, "M\tfile-0\n");
    let text = repo.ok(args!["diff", "--name-only", &stored, source, "directory-0/"]).text();
    assert_eq!(text, "directory-0/file-0\n");
    let ended = beside(&args!["diff", "latest", "source"]);
    ended.fails(2, &["no snapshot is named source", "./source"]);
    repo.run(args!["diff", "/usr", "/etc"]).fails(2, &["must be a snapshot", "diff -r"]);
    repo.run(args!["diff", "latest", "/no/such/place"]).fails(1, &["/no/such/place"]);
    repo.run(args!["diff", "latest", "latest", "../up"]).fails(2, &["upwards"]);
    repo.run(args!["diff", "latest", "latest", "no/such"]).fails(1, &["no/such"]);
    repo.run(args!["diff", "latest:no/such", "latest"]).fails(1, &["no/such"]);
    repo.run(args!["diff", "--exit-code", "latest:no/such", "latest"]).fails(2, &["no/such"]);
}

#[test]
fn another_file_system_is_left_out_on_demand() {
    if !require_root("mounting") {
        return;
    }
    let fixture = Fixture::built(|source| {
        directory(&source.join("mounted"));
        file(&source.join("plain"), b"x");
    });
    let (repo, source) = (&fixture.repo, &fixture.source);
    let point = source.join("mounted");
    run_tool("mount", args!["-t", "tmpfs", "-o", "mode=755", "none", &point]);
    file(&point.join("new"), b"x");
    let stored = inside("latest", source);
    let all = name_status(repo, &args![&stored, source]);
    let some = name_status(repo, &args!["-x", &stored, source]);
    run_tool("umount", args![&point]);
    assert_eq!(all, ["+\tmounted/new"]);
    assert_eq!(some, [""; 0]);
}
