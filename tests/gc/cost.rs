//! What a collection reads and writes: as much as there is garbage, and no more.

use std::process::{Child, Stdio};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::support::command::finish;
use crate::support::fixture::plain_tree;
use crate::support::repo::{Repo, count_of};
use crate::support::scratch::Scratch;

const M: u64 = 1 << 20;

/// Bytes that a process read and wrote, from a disk or not.
struct Cost {
    read: u64,
    written: u64,
}

/// Waits until a process has ended, looks what it cost, and only then reaps it.
fn cost_of(child: Child, what: &str) -> (Cost, serde_json::Value) {
    let id = Pid::from_child(&child);
    waitid(WaitId::Pid(id), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).expect("it ends");
    let text = std::fs::read_to_string(format!("/proc/{}/io", child.id())).expect("it is there");
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the field");
        line.trim().parse().expect("a number")
    };
    let cost = Cost { read: field("rchar:"), written: field("wchar:") };
    let outcome = finish(child, what);
    assert_eq!(outcome.code, 0, "{what}: {}", outcome.error());
    (cost, outcome.last_json_line())
}

fn gc(repo: &Repo, max_unused: &str) -> (Cost, serde_json::Value) {
    let mut command = repo.command(["gc", "--json", "--max-unused", max_unused]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    cost_of(command.spawn().expect("icecore starts"), "gc")
}

#[test]
fn files_that_are_garbage_altogether_go_without_being_read_or_written() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    let repo = Repo::new();
    plain_tree(&source, 1, 100, 200_000);
    repo.create(&source);
    plain_tree(&source.join("gone"), 2, 100, 400_000);
    let id = repo.create(&source);
    std::fs::remove_dir_all(source.join("gone")).expect("it is there");
    repo.create(&source);
    repo.ok(["delete", &id, "--yes"]);
    let (cost, report) = gc(&repo, "unlimited");
    assert!(count_of(&report, "freed_bytes") >= 38 * M, "{report}");
    assert!(count_of(&report, "dropped_files") >= 1, "{report}");
    assert!(cost.written < M, "{} bytes written: {report}", cost.written);
    assert!(cost.read < 4 * M, "{} bytes read: {report}", cost.read);
}

#[test]
fn what_is_left_of_a_file_is_written_once() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    let repo = Repo::new();
    plain_tree(&source.join("kept"), 1, 100, 200_000);
    plain_tree(&source.join("gone"), 2, 100, 200_000);
    let id = repo.create(&source);
    std::fs::remove_dir_all(source.join("gone")).expect("it is there");
    repo.create(&source);
    repo.ok(["delete", &id, "--yes"]);
    let (cost, report) = gc(&repo, "0");
    let rewritten = count_of(&report, "rewritten_bytes");
    assert!((19 * M..22 * M).contains(&rewritten), "{report}");
    assert!(cost.written < 22 * M, "{} bytes written: {report}", cost.written);
    // The check of ids in the dead half costs nothing either.
    assert!(cost.read < 45 * M, "{} bytes read: {report}", cost.read);
    let (cost, report) = gc(&repo, "0");
    assert_eq!(count_of(&report, "rewritten_bytes"), 0, "{report}");
    assert!(cost.written < M, "{} bytes written for nothing", cost.written);
}

#[test]
fn a_little_garbage_everywhere_is_neither_read_nor_rewritten() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    let repo = Repo::new();
    plain_tree(&source, 1, 200, 200_000);
    plain_tree(&source.join("x"), 2, 2, 200_000);
    let id = repo.create(&source);
    std::fs::remove_dir_all(source.join("x")).expect("it is there");
    repo.create(&source);
    repo.ok(["delete", &id, "--yes"]);
    let (cost, report) = gc(&repo, "5%");
    assert!(count_of(&report, "unused_bytes") >= 380_000, "{report}");
    assert!(cost.written < M, "{} bytes written: {report}", cost.written);
    assert!(cost.read < 4 * M, "{} bytes read: {report}", cost.read);
    // In bytes, what is allowed is for all files together.
    let (_, report) = gc(&repo, "1M");
    assert!(count_of(&report, "unused_bytes") >= 380_000, "{report}");
    let (_, report) = gc(&repo, "100k");
    assert_eq!(count_of(&report, "unused_bytes"), 0, "{report}");
}
