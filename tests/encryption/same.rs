//! Everything works the same encrypted: one tree in a plain and in an encrypted
//! repository, and what every command that reads says of them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;

use serde_json::Value;

use super::Locked;
use crate::support::args;
use crate::support::command::{Outcome, run, run_tool};
use crate::support::compare::{Rules, assert_same};
use crate::support::encrypt::give_password;
use crate::support::generate::{file, sparse};
use crate::support::mount::{detach, is_mounted};
use crate::support::need::require_fuse;
use crate::support::repo::plain_command;
use crate::support::rng::Rng;
use crate::support::tree::{Shape, generate};

/// Commands whose answers must be the same, but for names under a key and
/// [`OTHERWISE`].
const COMMANDS: &[&str] = &[
    "list",
    "list --deleted",
    "list --tag a",
    "show latest",
    "ls -R latest",
    "ls -l latest:source",
    "tree latest",
    "find *plans*",
    "find --size +10k *",
    "versions source/plans",
    "diff latest~1 latest",
    "diff --content latest~1 latest",
    "diff latest:source ./source",
    "manifest latest",
    "stats",
    "stats latest latest~1",
    "stats --growth",
    "check",
    "check --read-data",
    "prune -n --keep-last 1",
    "delete -n latest",
    "gc -n",
    "repair -n",
    "restore -n latest:source out",
    "export -n latest out",
    "log",
    "log verify",
];
/// Fields that may differ: sizes as things are stored, where each key cuts large files,
/// and when it was done.
const OTHERWISE: &[&str] = &[
    "added_bytes",
    "bytes_before",
    "chunk_bytes",
    "chunk_stored_bytes",
    "chunks",
    "data_bytes",
    "deleted",
    "disk_bytes",
    "duration_ms",
    "encrypted",
    "finished",
    "freed_bytes",
    "good_objects",
    "index_entries",
    "live_chunks",
    "pid",
    "read_bytes",
    "read_chunks",
    "rewritten_bytes",
    "seconds",
    "stored_bytes",
    "tree_bytes",
    "tree_stored_bytes",
    "unused_bytes",
];
/// The same of events.
const OTHERWISE_OF_EVENTS: &[&str] = &["first_id", "head_time", "id", "last_id", "time"];

/// A plain and an encrypted repository of the same snapshots.
struct Pair(Locked);

const NAMES: [&str; 2] = ["repo", "plain"];

impl Pair {
    fn new() -> Self {
        let pair = Self(Locked::new());
        run(&mut pair.command("plain", &args!["init"])).expect(0);
        let tree = pair.0.place("source/tree");
        generate(&tree, 5, Shape::SMALL);
        // Where a list of more than 512 segments is cut into pages is decided by ids, which are
        // under the key: one time in 256 both would not have as many.
        let many = tree.join("sparse/many-extents");
        fs::remove_file(&many).expect("it is there");
        let extents: Vec<_> = (0..200).map(|index| (index * (64 << 10), &[7; 4096][..])).collect();
        sparse(&many, 200 * (64 << 10) + 9, &extents);
        pair.take("2026-03-01T04:05:06Z", &["--tag", "a", "--description", "the first"]);
        pair.0.file("source/plans", b"changed\n");
        pair.0.file("source/plans of more", &Rng::new(5).bytes(12_000));
        pair.take("2026-03-02T04:05:06Z", &[]);
        file(&pair.0.place("source/plans"), b"changed again\n");
        pair.take("2026-03-03T04:05:06Z", &["--tag", "a", "--tag", "b"]);
        pair.both(&args!["tag", "--pin", "latest~1"]);
        pair.both(&args!["delete", "--yes", "latest~2"]);
        pair
    }

    fn take(&self, time: &str, options: &[&str]) {
        let words = [&["create", "--host", "h", "--time", time], options, &["source"]].concat();
        self.both(&words.iter().map(Into::into).collect::<Vec<OsString>>());
    }

    fn command(&self, name: &str, words: &[OsString]) -> std::process::Command {
        let mut command = plain_command();
        give_password(&mut command, false);
        command.current_dir(self.0.scratch.path()).arg("-r").arg(self.0.place(name));
        if name == "repo" {
            command.args(["--password-file", "first"]);
        }
        command.args(words);
        command
    }

    /// Runs a command on both, which must end in the same way.
    #[track_caller]
    fn both(&self, words: &[OsString]) -> [Outcome; 2] {
        let outcomes = NAMES.map(|name| run(&mut self.command(name, words)));
        let [one, other] = outcomes.each_ref();
        assert_eq!(one.code, other.code, "{words:?}: {} {}", one.error(), other.error());
        outcomes
    }
}

/// Replaces each hexadecimal name of 12 digits or more that the other text has not by
/// its number.
fn renamed(text: &str, other: &str) -> String {
    let mut names: HashMap<&str, usize> = HashMap::new();
    let mut result = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let length = rest.bytes().take_while(|byte| is_digit(byte)).count();
        let (word, behind) = rest.split_at(length.max(first.len_utf8()));
        rest = behind;
        if length < 12 || other.contains(word) {
            result.push_str(word);
        } else {
            let number = names.len();
            let number = names.entry(&word[..12]).or_insert(number);
            result.push_str(&format!("name-{number}"));
        }
    }
    result
}

/// Takes away what may differ.
fn comparable(value: &mut Value, otherwise: &[&str]) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| comparable(value, otherwise)),
        Value::Object(fields) => {
            // `deleted` is a time in one document, and ids in another.
            fields.retain(|name, it| it.is_array() || !otherwise.contains(&name.as_str()));
            fields.values_mut().for_each(|value| comparable(value, otherwise));
        }
        _ => {}
    }
}

fn documents(text: &str, otherwise: &[&str]) -> Vec<Value> {
    let stream = serde_json::Deserializer::from_str(text).into_iter();
    let mut values: Vec<Value> = stream.map(|value| value.expect(text)).collect();
    values.iter_mut().for_each(|value| comparable(value, otherwise));
    values
}

#[test]
fn every_command_that_reads_says_of_an_encrypted_repository_what_it_says_of_a_plain_one() {
    let pair = Pair::new();
    file(&pair.0.place("source/plans"), b"this was not saved yet\n");
    let mut differences = Vec::new();
    for line in COMMANDS {
        let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
        let outcomes = pair.both(&[&words[..], &args!["--json"]].concat());
        let texts = outcomes.map(|outcome| outcome.expect(0).text());
        assert!(!texts[0].is_empty(), "{line} says nothing");
        let [one, other] = texts.each_ref().map(|text| text.replace("/repo", "/plain"));
        let (one, other) = (renamed(&one, &other), renamed(&other, &one));
        let of_events = if line.starts_with("log") { OTHERWISE_OF_EVENTS } else { &[] };
        let otherwise = [OTHERWISE, of_events].concat();
        let (one, other) = (documents(&one, &otherwise), documents(&other, &otherwise));
        for (one, other) in one.iter().zip(&other) {
            if one != other {
                differences.push(format!("{line}:\n{one}\n{other}"));
            }
        }
        assert_eq!(one.len(), other.len(), "{line}");
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn content_archives_and_restored_trees_are_the_same_byte_by_byte() {
    let pair = Pair::new();
    for line in ["cat latest:source/plans", "manifest latest", "dump --archive tar latest:source"] {
        let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
        let [one, other] = pair.both(&words);
        assert!(one.stdout == other.stdout && !one.stdout.is_empty(), "{line}");
    }
    for name in NAMES {
        let out = pair.0.place(&format!("out-{name}"));
        run(&mut pair.command(name, &args!["restore", "latest:source", &out])).expect(0);
        let manifest = |repo: &str, id: &str| {
            run(&mut pair.command(repo, &args!["manifest", id])).expect(0).text()
        };
        let expected = manifest(name, "latest");
        assert_same(&pair.0.place("source"), &out, Rules::ALL);
        for other in NAMES {
            // What one exported the other imports, and it is the same again.
            let shelf = pair.0.place(&format!("shelf-{name}-{other}"));
            let export = args!["export", "--json", "latest", &shelf];
            let said = run(&mut pair.command(name, &export)).expect(0).last_json_line();
            let archive = said["archive"].as_str().unwrap();
            let import = args!["import", "--json", archive];
            let said = run(&mut pair.command(other, &import)).expect(0).last_json_line();
            let id = said["id"].as_str().unwrap();
            assert!(expected == manifest(other, id), "{name} {other}");
            run(&mut pair.command(other, &args!["delete", "--yes", id])).expect(0);
        }
        let log = pair.0.place(&format!("log-{name}"));
        run(&mut pair.command(name, &args!["export", "--event-log", &log])).expect(0);
    }
}

#[test]
fn both_are_mounted_with_the_same_views() {
    if !require_fuse() {
        return;
    }
    let pair = Pair::new();
    let points = NAMES.map(|name| {
        let point = pair.0.place(&format!("mnt-{name}"));
        fs::create_dir(&point).unwrap();
        run(&mut pair.command(name, &args!["mount", &point])).expect(0);
        point
    });
    let compared = std::panic::catch_unwind(|| {
        let [one, other] = &points;
        assert_same(&pair.0.place("source"), &one.join("latest/source"), Rules::ALL);
        for view in ["latest", "by-tag/b/latest", "changes/latest~1..latest"] {
            let [one, other] = [one, other].map(|top| fs::canonicalize(top.join(view)).unwrap());
            // What a view shows is as old as the request for it.
            assert_same(&one, &other, Rules { root: false, ..Rules::ALL });
        }
        let versions = |top: &std::path::Path| {
            let place = top.join("versions/source/plans");
            run_tool("sh", args!["-c", "cd \"$0\" && cat $(ls)", place]).text()
        };
        assert_eq!(versions(one), versions(other));
        assert!(versions(one).contains("changed again"));
    });
    for point in points.iter().filter(|point| is_mounted(point)) {
        detach(point);
    }
    compared.unwrap();
}
