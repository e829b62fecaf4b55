//! Audit logs that an attacker wrote, each hash of them right.

use std::fs;
use std::path::Path;

use icecore::base::hash::sha256;
use icecore::base::id::hex;
use serde_json::{Value, json};

use crate::support::fixture::Fixture;

use super::ground::Ground;
use super::run::{Ends, bounded};
use super::texts::STEERING;

/// The commands that read it.
const COMMANDS: [(&str, Ends); 11] = [
    ("log", Ends::ByItself),
    ("log --json", Ends::ByItself),
    ("log --reverse --limit 3", Ends::ByItself),
    ("log --reverse --json", Ends::ByItself),
    ("log --limit 1000000", Ends::ByItself),
    ("log --type *o* --since 2000-01-01", Ends::ByItself),
    ("log --follow", Ends::Interrupted),
    ("log verify", Ends::ByItself),
    ("log verify --json", Ends::ByItself),
    ("export --event-log {out}", Ends::ByItself),
    ("log prune --keep-segments 1 --yes", Ends::ByItself),
];

/// A line of a segment, its hash that of all before it.
fn line(sequence: u64, previous: &mut [u8; 32], rest: &str) -> String {
    let before = format!("{{\"sequence\":{sequence},{rest},\"previous\":\"{}\"", hex(previous));
    let hashed = [b"icecore event 1\0", &previous[..], before.as_bytes(), b"}"].concat();
    *previous = sha256(&hashed);
    format!("{before},\"hash\":\"{}\"}}\n", hex(previous))
}

/// What an event holds, with the same text wherever one may stand.
fn event(kind: &str, text: &Value) -> String {
    let id = "0".repeat(32);
    let fields = json!({
        "id": id, "time": "2026-11-19T03:00:00Z", "type": kind,
        "actor": {"user": text, "uid": 0, "host": text, "program": text, "pid": 1},
        "subject": {"snapshots": [text], "paths": [text], "path": text, "repository": text},
        "payload": {"host": text, "error": text, "message": text, "count": u64::MAX, "x": [text]},
    });
    let text = fields.to_string();
    text.trim_start_matches('{').trim_end_matches('}').to_owned() + "}"
}

/// Runs every command on a log of one segment.
fn read_by_all(segment: &[u8]) {
    read_with(segment, None);
}

/// The same with an anchor beside it.
fn read_with(segment: &[u8], anchor: Option<&[u8]>) {
    let fixture = Fixture::plain();
    let log = fixture.repo.path().join("log");
    fs::remove_dir_all(&log).expect("it is there");
    fs::create_dir(&log).expect("it was removed");
    fs::write(log.join("segment-000001.json"), segment).expect("it can be written");
    if let Some(anchor) = anchor {
        fs::write(log.join("anchor.json"), anchor).expect("it can be written");
    }
    for (verb, ends) in COMMANDS {
        let ground = Ground::new(verb.contains("{out}"));
        if verb.contains("{out}") && !ground.has_disk() {
            continue;
        }
        let out = ground.out();
        let fill = |word: &str| word.replace("{out}", out.to_str().expect("a text")).into();
        let words: Vec<_> = verb.split(' ').map(fill).collect();
        let outcome = bounded(&fixture.repo, &words, ends, verb.contains("--json"), &ground.path());
        let lines = String::from_utf8_lossy(&outcome.stderr.kept).lines().count();
        assert!(lines <= 3, "{verb}: {}", outcome.error());
        assert!(outcome.error().len() < 4000, "{verb}: {} bytes", outcome.error().len());
        ground.is_untouched(verb);
    }
    appended_to(&log, &fixture);
}

/// Whatever the log is, it stops nobody.
fn appended_to(log: &Path, fixture: &Fixture) {
    fixture.repo.create(&fixture.source);
    fixture
        .repo
        .ok(["cat", &format!("{}:{}/directory-0/file-1", fixture.id, fixture.source.display())]);
    assert!(fs::read_dir(log).expect("it is there").count() > 0);
}

#[test]
fn texts_of_events_steer_no_terminal() {
    let mut previous = [0; 32];
    let long = json!(STEERING.repeat(300));
    let nested = json!({STEERING: {STEERING: [STEERING, {STEERING: STEERING}]}});
    let mut segment = String::new();
    let kinds = ["backup.snapshot.created", "backup.operation.failed", STEERING, ""];
    for (at, text) in [json!(STEERING), long, nested, json!("a\nb"), json!(null)].iter().enumerate()
    {
        for (number, kind) in kinds.iter().enumerate() {
            let kind = json!(kind).to_string();
            let event = event("kind", text).replace("\"kind\"", &kind);
            let sequence = (at * kinds.len() + number + 1) as u64;
            segment.push_str(&line(sequence, &mut previous, &event));
        }
    }
    assert!(segment.contains("\\u001b[2J") && segment.contains('\u{202e}'));
    read_by_all(segment.as_bytes());
}

#[test]
fn events_of_any_form_end_in_time_and_in_bounded_memory() {
    let mut previous = [0; 32];
    let long = format!("\"sequence\":\"{}\"", "x".repeat(900_000));
    read_by_all(line(1, &mut previous, &long).as_bytes());
    let mut previous = [0; 32];
    let deep = format!("\"x\":{}{}", "[".repeat(200_000), "]".repeat(200_000));
    read_by_all(line(1, &mut previous, &deep).as_bytes());
    let mut previous = [0; 32];
    let wide = format!("\"x\":[{}0]", "0,".repeat(500_000));
    read_by_all(line(1, &mut previous, &wide).as_bytes());
    read_by_all(&vec![b'x'; 40 << 20]);
    read_by_all(&vec![b'\n'; 5 << 20]);
    read_by_all("{}\n".repeat(200_000).as_bytes());
}

#[test]
fn a_segment_of_any_size_is_read_in_bounded_memory() {
    let mut previous = [0; 32];
    let mut segment = String::new();
    let event = event("backup.snapshot.created", &json!(null));
    while segment.len() < 150 << 20 {
        let sequence = segment.len() as u64 + 1;
        segment.push_str(&line(sequence, &mut previous, &event));
    }
    read_by_all(segment.as_bytes());
}

#[test]
fn an_anchor_of_any_size_is_read_in_bounded_memory() {
    let mut previous = [7; 32];
    let segment = line(1, &mut previous, &event("backup.snapshot.created", &json!(null)));
    let anchor = format!("[{}0]", "0,".repeat(24 << 20));
    read_with(segment.as_bytes(), Some(anchor.as_bytes()));
}

/// Exports a log of another program, whatever is in its files, and brings it back.
fn exported_and_imported(files: &[(&str, &str)], code: i32) {
    let fixture = Fixture::plain();
    let (ground, log) = (Ground::new(false), fixture.scratch.mkdir("log"));
    for (name, text) in files {
        fs::write(log.join(name), text).expect("it can be written");
    }
    let out = fixture.scratch.mkdir("exported");
    let run = |words: &[&std::ffi::OsStr]| {
        let words: Vec<_> = words.iter().map(std::ffi::OsString::from).collect();
        let outcome = bounded(&fixture.repo, &words, Ends::ByItself, false, &ground.path());
        assert_eq!(outcome.code, code, "{words:?}: {}", outcome.error());
    };
    let option = format!("--event-log={}", log.display());
    run(&["export".as_ref(), option.as_ref(), out.as_ref()]);
    let archives = fs::read_dir(&out).expect("it is there").flatten().map(|entry| entry.path());
    let archive = archives.filter(|path| path.extension().is_some_and(|it| it == "gz")).last();
    let archive = archive.expect("it was exported, be it as evidence");
    run(&["import".as_ref(), archive.as_ref()]);
    let to = fixture.scratch.join("to");
    run(&["import".as_ref(), archive.as_ref(), "--to".as_ref(), to.as_ref()]);
}

#[test]
fn logs_of_others_are_proved_event_by_event_in_bounded_memory() {
    let event = |number: u64, previous: &str| {
        let values = "{\"a\":0},".repeat(2);
        format!(
            "{{\"id\":{number},\"x\":[{values}0],\"prev\":\"{previous}\",\"hash\":\"h{number}\"}}"
        )
    };
    let (segment, small) = ("segment-000001.json", event(1, "0"));
    let documents: String = (2..500_000)
        .map(|number| format!(",\n{}", event(number, &format!("h{}", number - 1))))
        .collect();
    let document = format!("{{\"before\":1,\n\"events\":[{small}{documents}]}}");
    assert!(document.len() > 32 << 20);
    exported_and_imported(&[(segment, &document)], 0);
    let behind = event(9, "h8");
    let state = format!("[{}\"h8\"]", "{\"a\":0},".repeat(500_000));
    exported_and_imported(&[(segment, &behind), ("event-log-snapshot.json", &state)], 0);
    let vast = format!("[{}\"h8\"]", "0,".repeat(24 << 20));
    exported_and_imported(&[(segment, &behind), ("event-log-snapshot.json", &vast)], 4);
    exported_and_imported(&[(segment, &small), ("anchor.json", &vast)], 4);
    // One event that is larger than any may be.
    let values = "{\"a\":0},".repeat(2_000_000);
    let large = format!("[{{\"hash\":\"h1\",\"x\":[{values}0]}}]");
    exported_and_imported(&[(segment, &large)], 4);
}

#[test]
fn numbers_and_times_of_events_at_the_ends_of_their_ranges_overflow_nothing() {
    for (sequence, time) in [
        (u64::MAX, "2026-11-19T03:00:00Z"),
        (u64::MAX - 1, "9999-12-31T23:59:59.999999999Z"),
        (1, "-009999-01-01T00:00:00Z"),
        (1, "+999999999999-01-01T00:00:00Z"),
        (0, ""),
    ] {
        let mut previous = [0; 32];
        let event = event("backup.snapshot.created", &json!(null));
        let event = event.replace("2026-11-19T03:00:00Z", time);
        read_by_all(line(sequence, &mut previous, &event).as_bytes());
    }
}
