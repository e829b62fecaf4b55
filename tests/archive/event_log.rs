//! Event logs: the repository's own and those of other programs, there and back.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::path_in;
use crate::support::args;
use crate::support::beside;
use crate::support::fixture::Fixture;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::{Repo, count_of, id_of};
use crate::support::scratch::Scratch;

/// Exports the repository's log.
#[track_caller]
fn export_log(repo: &Repo, out: &Path) -> Value {
    repo.ok(args!["export", "--json", "--event-log", out]).last_json_line()
}

/// A log of another program: two segments and its state.
fn foreign(directory: &Path) {
    fs::create_dir_all(directory).expect("it can be made");
    let event = |id: u64| {
        let previous = if id == 1 { "null".to_owned() } else { format!("\"hash-{}\"", id - 1) };
        format!(
            "{{\"id\":\"{id}\",\"type\":\"sold\",\"previousHash\":{previous},\
             \"currentHash\":\"hash-{id}\"}}\n"
        )
    };
    let events = |from: u64, to: u64| (from..=to).map(event).collect::<String>();
    fs::write(directory.join("segment-000001.json"), events(1, 40)).expect("it can be written");
    fs::write(directory.join("segment-000002.json"), events(41, 55)).expect("it can be written");
    let state = "{\"lastEventId\":\"40\",\"lastHash\":\"hash-40\"}";
    fs::write(directory.join("event-log-snapshot.json"), state).expect("it can be written");
    fs::write(directory.join("unrelated.txt"), "x").expect("it can be written");
}

#[test]
fn the_audit_log_is_exported_with_its_proof_and_restored_byte_for_byte() {
    let fixture = Fixture::plain();
    for _ in 0..5 {
        fixture.repo.ok(args!["dump", "-a", "tar", &fixture.id]);
    }
    let facts = export_log(&fixture.repo, &fixture.scratch.mkdir("out"));
    let chain = &facts["chain"];
    assert_eq!((&chain["valid"], &chain["recomputed"]), (&true.into(), &true.into()));
    assert_eq!((count_of(chain, "events"), count_of(chain, "segments")), (7, 1));
    let to = fixture.scratch.join("to");
    let nowhere = Repo::missing();
    let back = nowhere.ok(args!["import", "--json", path_in(&facts, "archive"), "--to", &to]);
    assert_eq!(back.last_json_line()["chain"]["last_hash"], chain["last_hash"]);
    let restored = fs::read(to.join("segment-000001.json")).expect("it was restored");
    let now = fs::read(fixture.repo.path().join("log/segment-000001.json")).expect("it is there");
    assert!(now.starts_with(&restored) && restored.ends_with(b"\n"));
    let event = fixture.repo.ok(["log", "--type", "log.exported", "--json"]).last_json_line();
    assert_eq!(event["payload"]["events"], 7);
}

#[test]
fn a_log_is_exported_while_others_write_to_it_and_nobody_waits() {
    let fixture = Fixture::plain();
    let named = format!("{}:{}/directory-0/file-0", fixture.id, fixture.source.display());
    let out = fixture.scratch.mkdir("out");
    let writes = std::sync::atomic::AtomicU64::new(0);
    beside(
        |stop| {
            while !stop.load(Ordering::Relaxed) {
                fixture.repo.ok(args!["cat", &named]);
                writes.fetch_add(1, Ordering::Relaxed);
            }
        },
        || {
            let mut last = 0;
            for round in 0..12 {
                let out = out.join(round.to_string());
                let facts = export_log(&fixture.repo, &out);
                assert_eq!(facts["chain"]["valid"], true, "{facts}");
                let events = count_of(&facts["chain"], "events");
                assert!(events > last, "{events} events behind {last}");
                last = events;
                fixture.repo.ok(args!["import", "-n", path_in(&facts, "archive")]);
            }
        },
    );
    assert!(writes.load(Ordering::Relaxed) > 0);
    assert_eq!(fixture.repo.ok(["log", "verify", "--json"]).json()["valid"], true);
}

#[test]
fn a_log_whose_first_segments_were_removed_is_exported_with_its_anchor() {
    let repo = Repo::new();
    let scratch = Scratch::new();
    // Segments end by size; here by hand.
    let log = repo.path().join("log");
    let source = scratch.mkdir("source");
    repo.create(&source);
    let head = repo.ok(["log", "--json"]).last_json_line();
    let hash = head["hash"].as_str().expect("an event has a hash").to_owned();
    fs::remove_file(log.join("segment-000001.json")).expect("it is there");
    let anchor = serde_json::json!({
        "segment": 1, "events_removed": 2, "hash": hash, "first_time": "2026-01-01T00:00:00Z",
        "last_time": "2026-01-01T00:00:00Z", "removed_at": "2026-01-01T00:00:00Z",
    });
    fs::write(log.join("anchor.json"), anchor.to_string()).expect("it can be written");
    repo.create(&source);
    let facts = export_log(&repo, &scratch.mkdir("out"));
    assert_eq!(facts["chain"]["valid"], true, "{facts}");
    assert_eq!((count_of(&facts["chain"], "events"), count_of(&facts, "files")), (1, 2));
}

#[test]
fn an_event_that_was_changed_is_named_and_exported_as_evidence() {
    let fixture = Fixture::plain();
    let segment = fixture.repo.path().join("log/segment-000001.json");
    let text = fs::read_to_string(&segment).expect("it is text");
    // In the clear in an encrypted repository too.
    let other = text.replacen("snapshot.created", "snapshot.deleted", 1);
    assert_ne!(text, other);
    fs::write(&segment, other).expect("it is writable");
    let out = fixture.scratch.mkdir("out");
    let export = fixture.repo.run(args!["export", "--json", "--event-log", &out]);
    let facts = export.last_json_line();
    export.fails(4, &["line 2 was changed"]);
    let archive = path_in(&facts, "archive");
    let to = fixture.scratch.join("to");
    fixture.repo.run(args!["import", &archive, "--to", &to]).fails(4, &["chain", "line 2"]);
    assert!(to.join("segment-000001.json").exists(), "the archive itself is whole");
}

#[test]
fn a_log_of_another_program_is_exported_proved_and_comes_back() {
    let scratch = Scratch::new();
    let (log, out) = (scratch.join("events"), scratch.mkdir("out"));
    foreign(&log);
    let nowhere = Repo::missing();
    let option = format!("--event-log={}", log.display());
    let facts = nowhere.ok(args!["export", "--json", &option, &out]).last_json_line();
    let chain = &facts["chain"];
    assert_eq!((count_of(chain, "events"), count_of(chain, "segments")), (55, 2));
    assert_eq!((&chain["valid"], &chain["recomputed"]), (&true.into(), &false.into()));
    assert_eq!((&chain["first_id"], &chain["last_id"]), (&"1".into(), &"55".into()));
    assert_eq!(chain["last_hash"], "hash-55");
    let manifest = fs::read_to_string(path_in(&facts, "manifest")).expect("it lies beside");
    for name in ["segment-000001.json", "segment-000002.json", "event-log-snapshot.json"] {
        assert!(manifest.contains(name), "{manifest}");
    }
    assert!(!manifest.contains("unrelated"));
    let archive = path_in(&facts, "archive");
    let to = scratch.join("to");
    nowhere.ok(args!["import", &archive, "--to", &to]);
    for name in ["segment-000001.json", "segment-000002.json", "event-log-snapshot.json"] {
        assert!(fs::read(to.join(name)).ok() == fs::read(log.join(name)).ok(), "{name}");
    }
    // A snapshot of it, whose chain is proved too.
    let repo = Repo::new();
    let imported = repo.ok(args!["import", "--json", &archive]).last_json_line();
    assert_eq!(imported["chain"]["last_hash"], "hash-55");
    if require_fuse() {
        let mount = Mount::new(&repo);
        let shown = mount.snapshot(&id_of(&imported)).join("segment-000002.json");
        assert!(fs::read(shown).ok() == fs::read(log.join("segment-000002.json")).ok());
        mount.unmount();
    }
}

#[test]
fn a_damaged_segment_and_a_damaged_state_are_named() {
    let scratch = Scratch::new();
    let nowhere = Repo::missing();
    for (file, from, to, said) in [
        (
            "segment-000001.json",
            "\"previousHash\":\"hash-20\"",
            "\"previousHash\":\"hash-2O\"",
            "line 21",
        ),
        ("segment-000002.json", "hash-41", "hash-14", "segment-000002.json, line 2"),
        ("segment-000002.json", "{\"id\":\"50\"", "{\"id:\"50\"", "segment-000002.json, line 11"),
        ("event-log-snapshot.json", "}", "", "event-log-snapshot.json makes no sense"),
    ] {
        let log = scratch.join("events");
        foreign(&log);
        let text = fs::read_to_string(log.join(file)).expect("it is there");
        assert!(text.contains(from));
        fs::write(log.join(file), text.replacen(from, to, 1)).expect("it can be written");
        let out = scratch.mkdir(&format!("out-{said}").replace(['/', ' '], "-"));
        let option = format!("--event-log={}", log.display());
        nowhere.run(args!["export", "--quiet", &option, &out]).fails(4, &["broken", said]);
    }
    // In an archive any byte is found.
    let (log, out) = (scratch.join("whole"), scratch.mkdir("out"));
    foreign(&log);
    let option = format!("--event-log={}", log.display());
    let facts = nowhere.ok(args!["export", "--json", option, out]).last_json_line();
    let archive = path_in(&facts, "archive");
    let bytes = fs::read(&archive).expect("it was written");
    for place in (0..bytes.len()).step_by(7) {
        let mut flipped = bytes.clone();
        flipped[place] ^= 4;
        fs::write(&archive, flipped).expect("it can be written");
        let to = scratch.join("to");
        nowhere.run(args!["import", &archive, "--to", &to]).fails(4, &["damaged"]);
        assert!(!to.exists());
    }
    let empty = scratch.mkdir("no-log");
    let option = format!("--event-log={}", empty.display());
    nowhere.run(args!["export", option, scratch.mkdir("o")]).fails(1, &["segment-NNNNNN.json"]);
}
