//! Proving a chain of events.
//!
//! Each event must name the hash of the one before it. In logs of icecore each
//! event's own hash is computed again too, its number rises by one, and whatever
//! stands between events must be declared by the next one; of others the rule of
//! the hash is not known.

use std::io::{self, BufRead, Read};

use serde_json::{Map, Value};

use crate::archive::manifest::ChainState;
use crate::base::hash::{StreamHash, sha256};
use crate::base::id::{hex, parse_hex};
use crate::base::limits::EVENT_BYTES_MAX;

/// Before what icecore hashes of an event.
const TAG: &[u8] = b"icecore event 1\0";
/// The names of an event's fields, as programs have them.
const PREVIOUS: [&str; 6] =
    ["previousHash", "previous_hash", "prevHash", "prev_hash", "previous", "prev"];
const CURRENT: [&str; 6] =
    ["currentHash", "current_hash", "eventHash", "event_hash", "hash", "current"];
const ID: [&str; 5] = ["id", "eventId", "event_id", "sequence", "seq"];
/// Bytes of a segment that is one document, at most.
const DOCUMENT_BYTES_MAX: u64 = 256 << 20;

/// A proof under way.
pub(super) struct Chain {
    state: ChainState,
    /// The hash of the event before.
    last: Option<String>,
    /// Whether the log is one of icecore; nothing before the first event.
    is_own: Option<bool>,
    /// The number of the event before, in a log of icecore.
    sequence: u64,
    /// The number of the segment before.
    segment: Option<u64>,
    /// The file that says what came before the first event.
    before: Option<Value>,
    /// What stands between events.
    rest: Vec<u8>,
}

impl Chain {
    /// Begins a proof, with the name and the content of the log's state if it has
    /// one.
    pub(super) fn new(before: Option<(&str, &[u8])>) -> Self {
        let mut chain = Self {
            state: ChainState { valid: true, recomputed: true, ..ChainState::default() },
            last: None,
            is_own: None,
            sequence: 0,
            segment: None,
            before: None,
            rest: Vec::new(),
        };
        if let Some((name, text)) = before {
            match serde_json::from_slice(text) {
                Ok(value) => chain.before = Some(value),
                Err(error) => chain.stop(&format!("{name} makes no sense: {error}")),
            }
        }
        chain
    }

    fn stop(&mut self, detail: &str) {
        self.state.valid = false;
        self.state.broken.get_or_insert_with(|| detail.to_owned());
    }

    /// Goes through a segment and returns where its last event ends.
    pub(super) fn segment(
        &mut self,
        name: &str,
        number: u64,
        mut input: impl BufRead,
        is_last: bool,
    ) -> io::Result<u64> {
        self.state.segments += 1;
        if self.segment.is_some_and(|before| before.checked_add(1) != Some(number)) {
            self.stop(&format!("a segment is missing before {name}"));
        }
        self.segment = Some(number);
        let (mut end, mut place, mut line_number) = (0, 0_u64, 0_u64);
        loop {
            let line = line(&mut input)?;
            if line.is_empty() {
                break;
            }
            line_number += 1;
            place += line.len() as u64;
            let is_ended = line.ends_with(b"\n");
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let at = format!("{name}, line {line_number}");
            match serde_json::from_slice::<Value>(text) {
                Ok(Value::Object(event)) if is_event(&event) => {
                    self.event(&at, &event, Some(text));
                    end = place;
                }
                // A whole document in one line or several.
                _ if line_number == 1 && self.is_own != Some(true) && !is_torn_line(text) => {
                    return self.document(name, line, input);
                }
                _ if text.trim_ascii().is_empty() && self.is_own != Some(true) => end = place,
                _ => {
                    self.rest.extend_from_slice(text);
                    self.rest.extend(is_ended.then_some(b'\n'));
                    if self.rest.len() > 3 * EVENT_BYTES_MAX {
                        self.stop(&format!("{at} is far too long for an event"));
                        self.rest.clear();
                    }
                }
            }
        }
        // What an append left that was cut off: the next one would declare it.
        if !self.rest.is_empty() && !is_last {
            self.stop(&format!("{name} ends in what is no event"));
        }
        self.rest.clear();
        Ok(end)
    }

    /// A segment that is one document: a list of events, or an object with one.
    fn document(&mut self, name: &str, begin: Vec<u8>, input: impl BufRead) -> io::Result<u64> {
        let mut text = begin;
        input.take(DOCUMENT_BYTES_MAX).read_to_end(&mut text)?;
        let events = match serde_json::from_slice(&text) {
            Ok(Value::Array(events)) => Some(events),
            Ok(Value::Object(mut object)) => match object.remove("events") {
                Some(Value::Array(events)) => Some(events),
                _ => None,
            },
            _ => None,
        };
        match events {
            None => self.stop(&format!("{name} holds no events")),
            Some(events) => {
                for (index, event) in events.iter().enumerate() {
                    let at = format!("{name}, event {}", index + 1);
                    match event {
                        Value::Object(event) if is_event(event) => self.event(&at, event, None),
                        _ => self.stop(&format!("{at} has no hash")),
                    }
                }
            }
        }
        Ok(text.len() as u64)
    }

    fn event(&mut self, at: &str, event: &Map<String, Value>, line: Option<&[u8]>) {
        let current = text_of(event, &CURRENT).unwrap_or_default();
        let previous = text_of(event, &PREVIOUS);
        let is_own =
            *self.is_own.get_or_insert_with(|| line.is_some_and(|line| is_own(event, line)));
        match &self.last {
            Some(last) if previous.as_deref() != Some(last) => {
                let previous = previous.as_deref().unwrap_or("nothing");
                self.stop(&format!("{at} follows {previous}, not {last}"));
            }
            Some(_) => {}
            None => self.first(at, previous.as_deref(), is_own),
        }
        if is_own {
            self.own_event(at, event, line.unwrap_or_default(), &current);
        } else {
            self.state.recomputed = false;
        }
        self.rest.clear();
        let id = text_of(event, &ID);
        self.state.events += 1;
        if self.state.events == 1 {
            self.state.first_id.clone_from(&id);
        }
        self.state.last_id = id;
        self.state.last_hash = Some(current.clone());
        self.last = Some(current);
    }

    /// The first event begins the log, or follows what its state tells of.
    fn first(&mut self, at: &str, previous: Option<&str>, is_own: bool) {
        let previous = previous.unwrap_or_default();
        let is_begin =
            previous.bytes().all(|byte| byte == b'0') || previous.eq_ignore_ascii_case("genesis");
        let told = self.before.as_ref().is_some_and(|before| names_text(before, previous));
        if !is_begin && !told {
            self.stop(&format!("{at} follows {previous}, which is not there"));
        }
        if is_own {
            let removed = self.before.as_ref().and_then(|it| it.get("events_removed"));
            self.sequence = removed.and_then(Value::as_u64).unwrap_or(0);
        }
    }

    fn own_event(&mut self, at: &str, event: &Map<String, Value>, line: &[u8], current: &str) {
        let sequence = event.get("sequence").and_then(Value::as_u64).unwrap_or(0);
        if self.sequence.checked_add(1) != Some(sequence) {
            let before = self.sequence;
            self.stop(&format!("{at} is event {sequence}, behind event {before}"));
        }
        self.sequence = sequence;
        if own_hash(line, event).as_deref() != Some(current) {
            self.stop(&format!("{at} was changed: its hash is not that of its content"));
        }
        let rest = self.rest.strip_suffix(b"\n").unwrap_or(&self.rest);
        let declared = event.get("torn");
        let is_declared = match declared {
            None => self.rest.is_empty(),
            Some(torn) => {
                torn.get("bytes").and_then(Value::as_u64) == Some(rest.len() as u64)
                    && torn.get("sha256").and_then(Value::as_str) == Some(&hex(&sha256(rest)))
            }
        };
        if !is_declared {
            self.stop(&format!("before {at} stands what is no event"));
        }
    }

    /// Ends the proof.
    pub(super) fn finish(mut self) -> ChainState {
        if self.state.events == 0 {
            self.stop("there are no events");
            self.state.recomputed = false;
        }
        self.state
    }
}

/// One line with its newline, held to a bound; nothing at the end.
fn line(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut bounded = input.take(4 * EVENT_BYTES_MAX as u64);
    bounded.read_until(b'\n', &mut line)?;
    Ok(line)
}

fn is_torn_line(text: &[u8]) -> bool {
    text.ends_with(b" (torn)")
}

fn is_event(event: &Map<String, Value>) -> bool {
    text_of(event, &CURRENT).is_some()
}

/// Whether an event has the form of those of icecore.
fn is_own(event: &Map<String, Value>, line: &[u8]) -> bool {
    let digits = |field: &str, count| {
        let text = event.get(field).and_then(Value::as_str).unwrap_or_default();
        text.len() == count && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let is_numbered = event.get("sequence").is_some_and(Value::is_u64);
    let end = line.len().saturating_sub(75);
    let ends = line.get(end..).is_some_and(|end| end.starts_with(b",\"hash\":\""));
    is_numbered && digits("id", 32) && digits("previous", 64) && digits("hash", 64) && ends
}

/// The first of these fields that there is, as a text.
fn text_of(event: &Map<String, Value>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| match event.get(*name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

/// Whether a text stands anywhere in a document.
fn names_text(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Array(values) => values.iter().any(|value| names_text(value, wanted)),
        Value::Object(fields) => fields.values().any(|value| names_text(value, wanted)),
        _ => false,
    }
}

/// The hash that a line of icecore should have: see `docs/format.md`.
fn own_hash(line: &[u8], event: &Map<String, Value>) -> Option<String> {
    let text = std::str::from_utf8(line).ok()?;
    let (open, _) = text.strip_suffix("\"}")?.rsplit_once(",\"hash\":\"")?;
    let previous = parse_hex(event.get("previous")?.as_str()?)?;
    let mut hash = StreamHash::default();
    for part in [TAG, &previous, open.as_bytes(), b"}"] {
        hash.update(part);
    }
    Some(hex(&hash.finish()))
}
