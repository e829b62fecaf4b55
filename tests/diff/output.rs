//! The forms in which differences are printed.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::inside;
use crate::support::args;
use crate::support::command::{finish, run_tool};
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file, mode, named, wide};
use crate::support::repo::{count_of, signal};

/// A text, a binary file and a few others, changed between two snapshots.
fn history() -> Fixture {
    let fixture = Fixture::built(|source| {
        directory(source);
        let lines: String = (1..=30).map(|line| format!("line {line}\n")).collect();
        file(&source.join("text"), lines.as_bytes());
        file(&source.join("binary"), b"\0\x01\x02");
        file(&source.join("mode"), b"x");
        file(&named(source, b"new\nline"), b"x");
        mode(&source.join("mode"), 0o644);
    });
    let source = &fixture.source;
    let text = std::fs::read_to_string(source.join("text")).expect("it is text");
    file(&source.join("text"), text.replace("line 15\n", "another\n").as_bytes());
    file(&source.join("binary"), b"\0\x01\x03");
    mode(&source.join("mode"), 0o600);
    file(&named(source, b"new\nline"), b"other");
    fixture.repo.create(source);
    fixture
}

#[test]
fn content_is_shown_as_a_patch_that_patch_applies() {
    let fixture = history();
    let (repo, source) = (&fixture.repo, &fixture.source);
    let (before, after) = (inside("latest~1", source), inside("latest", source));
    let text = repo.ok(args!["diff", "--content", &before, &after, "text"]).text();
    let head: Vec<&str> = text.lines().take(3).collect();
    assert!(head[0].starts_with("--- latest~1:") && head[0].contains("/text\t"), "{text}");
    assert!(head[1].starts_with("+++ latest:"), "{text}");
    assert_eq!(head[2], "@@ -12,7 +12,7 @@");
    assert!(text.contains("\n-line 15\n+another\n"), "{text}");
    let old = fixture.scratch.join("old");
    let stored = inside("latest~1", &source.join("text"));
    file(&old, &repo.ok(args!["cat", stored]).stdout);
    let changes = fixture.scratch.join("patch");
    file(&changes, text.as_bytes());
    run_tool("patch", args!["-s", &old, &changes]);
    assert_eq!(std::fs::read(&old).unwrap(), std::fs::read(source.join("text")).unwrap());
    let all = repo.ok(args!["diff", "--content", "-U", "0", &before, source]).text();
    assert!(all.contains("\nU mode (mode 0644 -> 0600)\n"), "{all}");
    assert!(all.contains("@@ -15 +15 @@\n-line 15\n+another\n"), "{all}");
    assert!(all.starts_with("Binary files latest~1:"), "{all}");
    let events = repo.ok(["log", "--json"]).text();
    assert!(events.contains("backup.snapshot.read"), "content was read out: {events}");
}

#[test]
fn lines_lists_and_sums_say_the_same() {
    let fixture = history();
    let (repo, source) = (&fixture.repo, &fixture.source);
    let operands = args![inside("latest~1", source), inside("latest", source)];
    let diff = |options: &[&str]| {
        let words = args!["diff"].into_iter().chain(options.iter().map(Into::into));
        repo.ok(words.chain(operands.clone()))
    };
    let lines = "M binary\nU mode (mode 0644 -> 0600)\nM new\nline (1 B -> 5 B)\nM text\n";
    let text = diff(&[]).text();
    assert_eq!(text, format!("{lines}3 modified (239 B), 1 with other metadata\n"));
    assert_eq!(diff(&["--quiet"]).text(), lines);
    assert_eq!(diff(&["--name-only", "-z"]).text(), "binary\0mode\0new\nline\0text\0");
    let status = "M\0binary\0U\0mode\0M\0new\nline\0M\0text\0";
    assert_eq!(diff(&["--name-status", "--null"]).text(), status);
    let table = diff(&["--stat"]).text();
    let row = table.lines().find(|line| line.starts_with("modified ")).expect("a row");
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["modified", "3", "0", "239", "B"]);
    let json: Vec<Value> = diff(&["--json"])
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    let changes: Vec<_> = json.iter().filter(|it| it["type"] == "change").collect();
    assert_eq!((json.len(), changes.len()), (5, 4));
    assert_eq!(changes[1]["change"], "metadata");
    assert_eq!(changes[1]["fields"], serde_json::json!(["mode"]));
    assert_eq!(changes[1]["before"]["mode"], "0644");
    assert_eq!(changes[2]["path"], "new\\nline");
    assert_eq!(changes[2]["after"]["size"], 5);
    assert_eq!(count_of(&json[4]["modified"], "files"), 3);
}

#[test]
fn on_demand_differences_give_1_and_trouble_2() {
    let fixture = history();
    let repo = &fixture.repo;
    repo.ok(args!["diff", "latest~1", "latest"]);
    repo.run(args!["diff", "--exit-code", "latest~1", "latest"]).expect(1);
    repo.run(args!["diff", "--exit-code", "--name-only", "latest", "latest~1"]).expect(1);
    repo.ok(args!["diff", "--exit-code", "latest", "latest"]);
    repo.run(args!["diff", "--exit-code", "latest", "nothing"]).fails(2, &["nothing"]);
}

#[test]
fn a_reader_that_has_enough_and_a_signal_end_a_comparison() {
    let fixture = Fixture::built(|source| wide(source, 20_000));
    let repo = &fixture.repo;
    repo.create(&fixture.scratch.mkdir("other"));
    let started = |arguments: &[std::ffi::OsString]| {
        let mut command = repo.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("icecore starts")
    };
    let words = args!["diff", "latest~1", "latest"];
    let mut child = started(&words);
    drop(child.stdout.take());
    let outcome = finish(child, "diff");
    assert_eq!((outcome.code, outcome.error().as_str()), (0, ""));
    // It stands still at a full pipe, and goes on to find that it should end.
    let child = started(&args!["diff", "--no-renames", "--json", "latest~1", "latest"]);
    std::thread::sleep(Duration::from_secs(1));
    signal(&child, rustix::process::Signal::TERM);
    let outcome = finish(child, "diff");
    assert_eq!(outcome.code, 143, "{}", outcome.error());
    assert_eq!(outcome.error().lines().count(), 1, "{}", outcome.error());
}
