//! Proving a chain of events.
//!
//! Each event must name the hash of the one before it. In logs of icecore each
//! event's own hash is computed again too, its number rises by one, and whatever
//! stands between events must be declared by the next one; of others the rule of
//! the hash is not known.

use std::io::{self, BufRead, Read};

use crate::archive::event_log::document;
use crate::archive::event_log::facts::{CURRENT, Facts, ID, PREVIOUS};
use crate::archive::event_log::state::State;
use crate::archive::manifest::ChainState;
use crate::base::hash::{StreamHash, sha256};
use crate::base::id::{hex, parse_hex};
use crate::base::limits::EVENT_BYTES_MAX;

/// Before what icecore hashes of an event.
const TAG: &[u8] = b"icecore event 1\0";
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
    before: State,
    /// What stands between events.
    rest: Vec<u8>,
}

impl Chain {
    /// Begins a proof, with the log's state if it has one.
    pub(super) fn new(before: State) -> Self {
        let mut chain = Self {
            state: ChainState { valid: true, recomputed: true, ..ChainState::default() },
            last: None,
            is_own: None,
            sequence: 0,
            segment: None,
            before: State::default(),
            rest: Vec::new(),
        };
        if let Some(fault) = before.fault() {
            chain.stop(fault);
        }
        chain.before = before;
        chain
    }

    fn stop(&mut self, detail: &str) {
        self.state.valid = false;
        self.state.broken.get_or_insert_with(|| detail.to_owned());
    }

    /// Goes through a segment and returns where its last event ends, or the end of all
    /// numbers where that makes no difference any more.
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
            match Facts::parse(text) {
                Some(event) if event.is_event() => {
                    self.event(&at, &event, Some(text));
                    end = place;
                }
                // A whole document in one line or several.
                _ if line_number == 1 && self.is_own != Some(true) && !is_torn_line(text) => {
                    return self.document(name, &line, input);
                }
                _ if text.trim_ascii().is_empty() && self.is_own != Some(true) => end = place,
                _ => {
                    self.rest.extend_from_slice(text);
                    self.rest.extend(is_ended.then_some(b'\n'));
                    if self.rest.len() > 3 * EVENT_BYTES_MAX {
                        // However much follows, it mends nothing.
                        self.stop(&format!("{at} is far too long for an event"));
                        self.rest.clear();
                        return Ok(u64::MAX);
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
    fn document(&mut self, name: &str, begin: &[u8], input: impl BufRead) -> io::Result<u64> {
        let mut index = 0_u64;
        let outcome = document::read(begin.chain(input), &mut |event| {
            index += 1;
            let at = format!("{name}, event {index}");
            match event.is_event() {
                true => self.event(&at, event, None),
                false => self.stop(&format!("{at} has no hash")),
            }
        })?;
        if let Err(detail) = outcome {
            self.stop(&format!("{name} {detail}"));
        }
        Ok(u64::MAX)
    }

    fn event(&mut self, at: &str, event: &Facts, line: Option<&[u8]>) {
        let current = event.first_of(&CURRENT).unwrap_or_default();
        let previous = event.first_of(&PREVIOUS);
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
        let id = event.first_of(&ID);
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
        if !is_begin && !self.before.names(previous) {
            self.stop(&format!("{at} follows {previous}, which is not there"));
        }
        if is_own {
            self.sequence = self.before.events_removed();
        }
    }

    fn own_event(&mut self, at: &str, event: &Facts, line: &[u8], current: &str) {
        let sequence = event.number("sequence").unwrap_or(0);
        if self.sequence.checked_add(1) != Some(sequence) {
            let before = self.sequence;
            self.stop(&format!("{at} is event {sequence}, behind event {before}"));
        }
        self.sequence = sequence;
        if own_hash(line, event).as_deref() != Some(current) {
            self.stop(&format!("{at} was changed: its hash is not that of its content"));
        }
        let rest = self.rest.strip_suffix(b"\n").unwrap_or(&self.rest);
        let is_declared = match event.torn() {
            None => self.rest.is_empty(),
            Some((bytes, digest)) => {
                bytes == Some(rest.len() as u64) && digest == Some(&hex(&sha256(rest)))
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

/// Whether an event has the form of those of icecore.
fn is_own(event: &Facts, line: &[u8]) -> bool {
    let digits = |field: &str, count| {
        let text = event.text(field).unwrap_or_default();
        text.len() == count && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let is_numbered = event.number("sequence").is_some();
    let end = line.len().saturating_sub(75);
    let ends = line.get(end..).is_some_and(|end| end.starts_with(b",\"hash\":\""));
    is_numbered && digits("id", 32) && digits("previous", 64) && digits("hash", 64) && ends
}

/// The hash that a line of icecore should have: see `docs/format.md`.
fn own_hash(line: &[u8], event: &Facts) -> Option<String> {
    let text = std::str::from_utf8(line).ok()?;
    let (open, _) = text.strip_suffix("\"}")?.rsplit_once(",\"hash\":\"")?;
    let previous = parse_hex(event.text("previous")?)?;
    let mut hash = StreamHash::default();
    for part in [TAG, &previous, open.as_bytes(), b"}"] {
        hash.update(part);
    }
    Some(hex(&hash.finish()))
}
