//! Proving the chain: every event is what was written, and none is missing
//! between the first and the last one.

use crate::audit::AuditLog;
use crate::audit::anchor::Anchor;
use crate::audit::error::AuditError;
use crate::audit::event::{Event, EventKind, Link};
use crate::audit::segment::{self, Line, Segment};
use crate::audit::tail::{declare, is_torn};
use crate::base::hash::Digest256;
use crate::base::id::hex;
use crate::base::limits::EVENT_BYTES_MAX;
use crate::base::time::Timestamp;

/// How often a proof begins again because segments were removed meanwhile.
const TRIES: usize = 5;

/// Where the chain is broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// The file's name in the log's directory.
    pub segment: String,
    /// The line, from 1; 0 for the file as a whole.
    pub line: u64,
    /// The event that belongs there.
    pub sequence: u64,
    /// What is there instead.
    pub detail: String,
}

/// What an append that was cut off left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornText {
    /// The file's name.
    pub segment: String,
    /// The line it begins in.
    pub line: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Whether the event behind it declares it. The last one has none yet.
    pub is_declared: bool,
}

/// What a proof found.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// Segments that were read.
    pub segments: u64,
    /// Events that were found unbroken.
    pub events: u64,
    /// The number of the first event that is there.
    pub first: Option<u64>,
    /// The last event that was found unbroken: its number and hash. What was
    /// removed before counts.
    pub head: Option<(u64, Digest256)>,
    /// The time of that event.
    pub head_time: String,
    /// What is known of removed events.
    pub anchor: Option<Anchor>,
    /// The log begins with the making of the repository, or did before its
    /// first events were removed.
    pub is_from_creation: bool,
    /// What torn appends left.
    pub torn: Vec<TornText>,
    /// Events that are older than the one before, by their clocks.
    pub clock_steps: Vec<u64>,
    /// Whether the event with the hash that was asked for is there.
    pub holds_head: Option<bool>,
    /// The first break.
    pub broken: Option<Break>,
}

impl AuditLog {
    /// Reads the whole log and proves its chain up to the first break, and
    /// that the event with the hash `head` is in it, if one is given.
    ///
    /// # Errors
    /// Fails if a file cannot be read; a broken chain is no failure.
    pub fn verify(&self, head: Option<&Digest256>) -> Result<Verification, AuditError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let anchor = Anchor::read(&self.directory);
            let proof = self.prove(&anchor, head);
            // Removed beside us, segments would look as if they were missing.
            let is_same = match (&anchor, Anchor::read(&self.directory)) {
                (Ok(before), Ok(now)) => *before == now,
                _ => true,
            };
            if is_same || tries == TRIES {
                return proof;
            }
        }
    }

    fn prove(
        &self,
        anchor: &Result<Option<Anchor>, AuditError>,
        head: Option<&Digest256>,
    ) -> Result<Verification, AuditError> {
        let mut proof = Proof::new(head);
        match anchor {
            Ok(anchor) => proof.start(anchor.as_ref()),
            Err(AuditError::Damaged { detail, .. }) => {
                proof.stop("anchor.json", 0, detail.clone());
                return Ok(proof.found);
            }
            Err(AuditError::Io { action, path, source }) => {
                let source = std::io::Error::new(source.kind(), source.to_string());
                return Err(AuditError::Io { action, path: path.clone(), source });
            }
            Err(error) => {
                proof.stop("anchor.json", 0, error.to_string());
                return Ok(proof.found);
            }
        }
        let removed = proof.found.anchor.as_ref().map_or(0, |anchor| anchor.segment);
        let segments = segment::list(&self.directory)?;
        let left: Vec<_> = segments.iter().filter(|segment| segment.number > removed).collect();
        for (index, segment) in left.iter().enumerate() {
            let before = index.checked_sub(1).and_then(|index| left.get(index));
            let expected = before.map_or(removed, |before| before.number) + 1;
            proof.gap =
                (segment.number > expected).then(|| Segment::new(&self.directory, expected).name());
            proof.segment(segment, index + 1 == left.len())?;
            if proof.found.broken.is_some() {
                break;
            }
        }
        proof.finish();
        Ok(proof.found)
    }
}

/// A proof under way.
struct Proof<'a> {
    wanted: Option<&'a Digest256>,
    link: Link,
    found: Verification,
    /// An event of the log confirms the anchor.
    is_anchor_confirmed: bool,
    /// A segment that is missing before the present one.
    gap: Option<String>,
    latest: Option<Timestamp>,
}

/// Lines that are no events, until the event behind them is known.
#[derive(Default)]
struct Rest {
    bytes: Vec<u8>,
    line: u64,
    detail: String,
}

impl<'a> Proof<'a> {
    fn new(wanted: Option<&'a Digest256>) -> Self {
        let found = Verification { holds_head: wanted.map(|_| false), ..Verification::default() };
        Self {
            wanted,
            link: Link::default(),
            found,
            is_anchor_confirmed: false,
            gap: None,
            latest: None,
        }
    }

    fn start(&mut self, anchor: Option<&Anchor>) {
        let Some(anchor) = anchor else { return };
        self.reach(anchor.link(), &anchor.last_time);
        self.found.is_from_creation = true;
        self.found.anchor = Some(anchor.clone());
    }

    fn reach(&mut self, link: Link, time: &str) {
        self.link = link;
        self.found.head = Some((link.sequence, link.hash));
        time.clone_into(&mut self.found.head_time);
        if self.wanted == Some(&link.hash) {
            self.found.holds_head = Some(true);
        }
    }

    fn stop(&mut self, segment: &str, line: u64, detail: String) {
        let sequence = self.link.sequence.saturating_add(1);
        self.found.broken = Some(Break { segment: segment.to_owned(), line, sequence, detail });
    }

    fn segment(&mut self, segment: &Segment, is_last: bool) -> Result<(), AuditError> {
        let name = segment.name();
        let mut lines = segment.lines(0)?;
        let (mut rest, mut number) = (Rest::default(), 0);
        self.found.segments += 1;
        while let Some(line) = lines.next()? {
            number += 1;
            match Event::parse(&line.bytes) {
                Ok(event) if line.is_ended || is_last => {
                    self.event(&name, number, &event, std::mem::take(&mut rest));
                }
                other => {
                    let detail = other.err().unwrap_or_else(|| "its newline is missing".to_owned());
                    self.no_event(&name, number, &line, detail, &mut rest);
                }
            }
            if self.found.broken.is_some() {
                return Ok(());
            }
        }
        if rest.bytes.is_empty() {
            return Ok(());
        }
        if is_last && is_torn(&rest.bytes) {
            let bytes = rest.bytes.len() as u64;
            self.found.torn.push(TornText {
                segment: name,
                line: rest.line,
                bytes,
                is_declared: false,
            });
        } else {
            self.stop(&name, rest.line, rest.detail);
        }
        Ok(())
    }

    fn no_event(&mut self, name: &str, number: u64, line: &Line, detail: String, rest: &mut Rest) {
        if rest.bytes.is_empty() {
            (rest.line, rest.detail) = (number, detail);
        }
        rest.bytes.extend_from_slice(&line.bytes);
        rest.bytes.extend(line.is_ended.then_some(b'\n'));
        if line.is_cut() || rest.bytes.len() > 3 * EVENT_BYTES_MAX {
            self.stop(name, rest.line, "it is far too long for an event".to_owned());
        }
    }

    fn event(&mut self, name: &str, line: u64, event: &Event, mut rest: Rest) {
        let stored = hex(&event.hash());
        let computed = hex(&event.computed());
        let expected = self.link.sequence.saturating_add(1);
        let (first, detail) = if rest.bytes.pop().is_some() {
            let torn = declare(&rest.bytes);
            let is_declared = event.torn() == Some(&torn);
            if is_declared {
                let (segment, bytes) = (name.to_owned(), torn.bytes);
                let text = TornText { segment, line: rest.line, bytes, is_declared };
                self.found.torn.push(text);
            }
            (rest.line, (!is_declared).then_some(rest.detail))
        } else {
            let lost = "it declares torn bytes before it that are not there".to_owned();
            (line, event.torn().map(|_| lost))
        };
        if let Some(detail) = detail {
            return self.stop(name, first, detail);
        }
        if stored != computed {
            let detail = format!("its content was changed: its hash is {computed}, not {stored}");
            return self.stop(name, line, detail);
        }
        if event.sequence() != expected {
            let there = event.sequence();
            let detail = match &self.gap {
                Some(gap) => format!("{gap} is missing: event {there} is there instead"),
                None => format!("event {there} is there instead"),
            };
            return self.stop(name, line, detail);
        }
        if event.previous() != self.link.hash {
            let (before, named) = (hex(&self.link.hash), hex(&event.previous()));
            let detail = format!("it follows an event with hash {named}, not {before}");
            return self.stop(name, line, detail);
        }
        self.accept(event);
    }

    fn accept(&mut self, event: &Event) {
        self.found.events += 1;
        self.found.first.get_or_insert(event.sequence());
        if event.sequence() == 1 {
            self.found.is_from_creation = event.kind() == EventKind::RepositoryCreated.name();
        }
        self.reach(event.link(), event.time_text());
        if let Some(time) = event.time() {
            if self.latest.is_some_and(|latest| time < latest) {
                self.found.clock_steps.push(event.sequence());
            }
            self.latest = Some(time);
        }
        if let Some(anchor) = &self.found.anchor {
            let is_removal = event.kind() == EventKind::LogPruned.name();
            let hash = event.payload().get("removed_hash").and_then(serde_json::Value::as_str);
            self.is_anchor_confirmed |= is_removal && hash == Some(&hex(&anchor.hash));
        }
    }

    fn finish(&mut self) {
        if self.found.broken.is_none() && self.found.anchor.is_some() && !self.is_anchor_confirmed {
            let detail = "no event of the log says that events were removed up to there".to_owned();
            self.stop("anchor.json", 0, detail);
        }
    }
}
