//! What the proof of a chain finds, in logs of others.

use std::fs;
use std::path::Path;

use super::EventLog;
use crate::archive::manifest::ChainState;

fn event(id: u32, previous: &str, names: [&str; 2]) -> String {
    let [before, own] = names;
    let data = "\"data\":{\"x\":[1]}";
    format!("{{\"id\":\"e{id}\",{data},\"{before}\":\"{previous}\",\"{own}\":\"h{id}\"}}")
}

fn events(from: u32, to: u32, names: [&str; 2]) -> Vec<String> {
    let previous = |id: u32| if id == 1 { "0".repeat(64) } else { format!("h{}", id - 1) };
    (from..=to).map(|id| event(id, &previous(id), names)).collect()
}

const NAMES: [&str; 2] = ["previousHash", "currentHash"];

fn segment(directory: &Path, number: u32, text: &str) {
    fs::write(directory.join(format!("segment-{number:06}.json")), text).unwrap();
}

fn lines(events: &[String]) -> String {
    events.iter().map(|event| format!("{event}\n")).collect()
}

fn prove(directory: &Path) -> ChainState {
    EventLog::open(directory).unwrap().chain().clone()
}

#[test]
fn a_chain_is_followed_through_segments_of_lines_and_of_documents() {
    for names in [
        NAMES,
        ["previous_hash", "current_hash"],
        ["prevHash", "hash"],
        ["previous", "hash"],
        ["prev", "current"],
    ] {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        segment(directory, 1, &lines(&events(1, 3, names)));
        segment(directory, 2, &format!("[{}]", events(4, 5, names).join(",\n")));
        segment(
            directory,
            3,
            &format!("{{\"n\":3,\n\"events\":[{}]}}", events(6, 7, names).join(",")),
        );
        let state = prove(directory);
        assert_eq!((state.valid, state.recomputed), (true, false), "{state:?}");
        assert_eq!((state.segments, state.events), (3, 7));
        assert_eq!(state.first_id.as_deref(), Some("e1"));
        assert_eq!(
            (state.last_id.as_deref(), state.last_hash.as_deref()),
            (Some("e7"), Some("h7"))
        );
    }
}

#[test]
fn whatever_breaks_the_chain_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let good = events(1, 6, NAMES);
    let write = |first: &[String], second: &[String]| {
        segment(directory, 1, &lines(first));
        segment(directory, 2, &lines(second));
        prove(directory)
    };
    assert!(write(&good[..3], &good[3..]).valid);
    let broken = |state: ChainState, said: &str| {
        let text = state.broken.unwrap_or_default();
        assert!(!state.valid && text.contains(said), "{said}: {text}");
    };
    broken(write(&good[..2], &good[3..]), "segment-000002.json, line 1 follows h3, not h2");
    broken(write(&[&good[..1], &good[2..3]].concat(), &good[3..]), "line 2 follows h2, not h1");
    broken(write(&good[1..3], &good[3..]), "follows h1, which is not there");
    segment(directory, 1, &format!("{}not an event\n", lines(&good[..3])));
    broken(prove(directory), "ends in what is no event");
    segment(directory, 1, "");
    broken(prove(directory), "follows h3, which is not there");
    segment(directory, 1, &lines(&good[..3]));
    fs::rename(directory.join("segment-000002.json"), directory.join("segment-000003.json"))
        .unwrap();
    broken(prove(directory), "a segment is missing before segment-000003.json");
}

#[test]
fn the_state_tells_what_came_before_the_first_event() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    segment(directory, 4, &lines(&events(9, 12, NAMES)));
    let state = directory.join("event-log-snapshot.json");
    assert!(!prove(directory).valid);
    fs::write(&state, "{\"at\":{\"lastEventId\":\"e8\",\"lastHash\":\"h8\"}}").unwrap();
    assert!(prove(directory).valid);
    fs::write(&state, "{\"at\":{\"lastHash\":\"h7\"}}").unwrap();
    assert!(!prove(directory).valid);
    fs::write(&state, "{\"at\":{\"lastHash\":\"h8\"").unwrap();
    let text = prove(directory).broken.unwrap();
    assert!(text.contains("event-log-snapshot.json makes no sense"), "{text}");
}

#[test]
fn a_segment_that_grows_is_taken_up_to_its_last_whole_event() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let whole = lines(&events(1, 4, NAMES));
    let next = event(5, "h4", NAMES);
    for cut in 1..next.len() {
        segment(directory, 1, &format!("{whole}{}", &next[..cut]));
        let log = EventLog::open(directory).unwrap();
        assert!(log.chain().valid && log.chain().events == 4, "cut at {cut}: {:?}", log.chain());
        assert_eq!(log.bytes(), whole.len() as u64, "cut at {cut}");
    }
}

#[test]
fn a_directory_without_segments_is_no_log() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("segment-1.json"), "").unwrap();
    let error = EventLog::open(directory.path()).err().unwrap().to_string();
    assert!(error.contains("segment-NNNNNN.json"), "{error}");
    segment(directory.path(), 1, "");
    assert!(!prove(directory.path()).valid);
}
