//! Hostile archives: nothing of them leaves the directory, nor fills memory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::args;
use crate::support::repo::Repo;
use crate::support::scratch::Scratch;

/// A header of old tar, with a checksum.
pub(crate) fn header(name: &str, kind: u8, target: &str, size: u64) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000000");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[136..147].copy_from_slice(b"00000000000");
    block[156] = kind;
    block[157..157 + target.len()].copy_from_slice(target.as_bytes());
    block[257..263].copy_from_slice(b"ustar\0");
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn file(name: &str) -> Vec<u8> {
    let mut member = header(name, b'0', "", 5);
    member.extend(b"evil\n");
    member.resize(1024, 0);
    member
}

fn tar(at: &Path, members: &[Vec<u8>]) -> PathBuf {
    let mut bytes = members.concat();
    bytes.extend([0; 1024]);
    fs::write(at, bytes).expect("it can be written");
    at.to_owned()
}

/// Fails unless an archive is refused by every way to import it, and nothing is
/// left outside of the directory.
#[track_caller]
fn is_refused(repo: &Repo, members: &[Vec<u8>], words: &[&str]) {
    let scratch = Scratch::new();
    let inner = scratch.mkdir("inner");
    let archive = tar(&inner.join("a.tar"), members);
    for command in [
        args!["import", &archive].to_vec(),
        args!["import", "-n", &archive].to_vec(),
        args!["import", &archive, "--to", inner.join("to")].to_vec(),
    ] {
        let outcome = repo.run(command);
        assert!(matches!(outcome.code, 4 | 14), "{words:?}: {} {}", outcome.code, outcome.error());
        let code = outcome.code;
        outcome.fails(code, words);
    }
    assert_eq!(fs::read_dir(&inner).expect("it is there").count(), 1, "{words:?}");
    assert_eq!(fs::read_dir(scratch.path()).expect("it is there").count(), 1, "{words:?}");
    assert!(repo.ids().is_empty());
}

#[test]
fn an_archive_whose_top_is_no_directory_is_refused() {
    let repo = Repo::new();
    let link = || header(".", b'2', "/tmp", 0);
    for members in [
        vec![file(".")],
        vec![link()],
        vec![link(), file("evil")],
        vec![file("x"), header(".", b'6', "", 0)],
    ] {
        is_refused(&repo, &members, &["top is no directory"]);
    }
}

#[test]
fn names_that_lead_out_come_twice_or_lie_below_links_are_refused() {
    let repo = Repo::new();
    let outside = "/tmp/icecore-test-hostile";
    is_refused(&repo, &[file("../evil")], &["../evil", "leads out"]);
    is_refused(&repo, &[file("a/../../evil")], &["leads out"]);
    is_refused(&repo, &[file(outside)], &["absolute"]);
    is_refused(&repo, &[header("l", b'1', "/etc/passwd", 0)], &["absolute"]);
    is_refused(&repo, &[header("l", b'1', "../x", 0)], &["leads out"]);
    is_refused(&repo, &[header("l", b'1', "later", 0), file("later")], &["did not come before"]);
    is_refused(&repo, &[header("d", b'2', "/tmp", 0), file("d/evil")], &["d/evil", "no directory"]);
    let chain = [header("a", b'2', ".", 0), header("a/b", b'2', "..", 0), file("a/b/evil")];
    is_refused(&repo, &chain, &["no directory"]);
    is_refused(&repo, &[file("x"), file("x")], &["twice"]);
    is_refused(&repo, &[file("x"), header("x", b'2', "/tmp", 0)], &["twice"]);
    is_refused(&repo, &[header("x", b'2', "/tmp", 0), file("./x")], &["twice"]);
    is_refused(&repo, &[file("x"), header("x", b'5', "", 0)], &["twice"]);
    is_refused(&repo, &[header("d", b'5', "", 0), header("l", b'1', "d", 0)], &["did not come"]);
    is_refused(&repo, &[header("x", b'Z', "", 0)], &["unknown kind"]);
    assert!(!Path::new(outside).exists());
}

#[test]
fn a_symlink_that_leads_out_is_kept_and_never_followed() {
    let scratch = Scratch::new();
    let archive = tar(&scratch.join("a.tar"), &[header("l", b'2', "/etc/passwd", 0), file("x")]);
    let (repo, to) = (Repo::new(), scratch.join("to"));
    repo.ok(args!["import", &archive, "--to", &to]);
    assert_eq!(fs::read_link(to.join("l")).expect("it is a link"), Path::new("/etc/passwd"));
}

#[test]
fn what_is_no_archive_is_named_so() {
    let scratch = Scratch::new();
    let repo = Repo::new();
    for (name, bytes) in [
        ("text", &b"just some text, and no archive at all\n"[..]),
        ("empty", b""),
        ("gzip-of-nothing", b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x03\0\0\0\0\0\0\0\0\0"),
        ("gzip-of-lies", b"\x1f\x8b\x08\0and no gzip behind it"),
        ("zstd-of-lies", b"\x28\xb5\x2f\xfdand no zstd behind it"),
    ] {
        let path = scratch.join(name);
        fs::write(&path, bytes).expect("it can be written");
        repo.run(args!["import", &path]).fails(4, &[name, "damaged"]);
    }
    repo.run(args!["import", scratch.path()]).fails(1, &["directory"]);
    repo.run(args!["import", scratch.join("nothing")]).fails(1, &["nothing"]);
}

#[test]
fn headers_that_promise_gigabytes_are_refused_before_memory_is_taken() {
    let scratch = Scratch::new();
    let repo = Repo::new();
    for (name, kind) in [("pax", b'x'), ("global", b'g'), ("long-name", b'L'), ("link", b'K')] {
        let path = tar(&scratch.join(name), &[header("n", kind, "", 7 << 30)]);
        repo.run(args!["import", &path]).fails(4, &["too large"]);
    }
    // A file that promises more than there is: cut off.
    let path = tar(&scratch.join("short"), &[header("n", b'0', "", 7 << 30)]);
    repo.run(args!["import", &path]).fails(4, &["cut off"]);
}
