//! The end of a segment: its last event, and what a torn append left behind it.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use crate::audit::error::AuditError;
use crate::audit::event::{Event, Torn};
use crate::audit::segment::Segment;
use crate::base::hash::sha256;
use crate::base::id::hex;
use crate::base::limits::EVENT_BYTES_MAX;

/// Ends a torn line before the next event is written behind it.
pub(super) const TORN_MARK: &[u8] = b" (torn)";
/// Bytes read from the end at first, enough for a few events.
const WINDOW: u64 = 64 << 10;
/// Bytes read at most: an event with all that may be torn behind it.
const WINDOW_MAX: u64 = 8 * EVENT_BYTES_MAX as u64;

/// The end of a segment.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Bytes of the segment.
    pub(super) length: u64,
    /// Its last line that is an event.
    pub(super) last: Option<Event>,
    /// The bytes behind that line's newline, or from the beginning.
    pub(super) rest: Vec<u8>,
}

impl Tail {
    /// Reads the end of a segment.
    pub(super) fn read(segment: &Segment) -> Result<Self, AuditError> {
        let mut file = segment.open()?;
        let failed = AuditError::io("read", &segment.path);
        let length = file.metadata().map_err(AuditError::io("read", &segment.path))?.len();
        read(&mut file, length).map_err(failed)
    }

    /// The rest, if it is a whole event that lacks nothing but its newline.
    pub(super) fn unended(&self) -> Option<Event> {
        let event = Event::parse(&self.rest).ok()?;
        let before = self.last.as_ref().map(Event::link);
        let follows = before.is_none_or(|before| {
            before.hash == event.previous()
                && before.sequence.checked_add(1) == Some(event.sequence())
        });
        (follows && event.computed() == event.hash()).then_some(event)
    }
}

fn read(file: &mut File, length: u64) -> std::io::Result<Tail> {
    let mut window = WINDOW;
    loop {
        let begin = length.saturating_sub(window);
        file.seek(SeekFrom::Start(begin))?;
        let mut bytes = Vec::new();
        file.by_ref().take(length - begin).read_to_end(&mut bytes)?;
        // What stands before the first newline may be half a line.
        let skip = match begin {
            0 => 0,
            _ => bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1),
        };
        if let Some((last, end)) = last_event(bytes.get(skip..).unwrap_or_default()) {
            let rest = bytes.split_off(skip + end);
            return Ok(Tail { length, last: Some(last), rest });
        }
        if begin == 0 || window >= WINDOW_MAX {
            return Ok(Tail { length, last: None, rest: bytes });
        }
        window = WINDOW_MAX;
    }
}

/// The last whole line that is an event, and where it ends.
fn last_event(bytes: &[u8]) -> Option<(Event, usize)> {
    let mut end = bytes.iter().rposition(|byte| *byte == b'\n')? + 1;
    loop {
        let line = bytes.get(..end - 1)?;
        let begin = line.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if let Ok(event) = Event::parse(line.get(begin..)?) {
            return Some((event, end));
        }
        if begin == 0 {
            return None;
        }
        end = begin;
    }
}

/// Whether bytes behind an event look like what an append leaves that was cut
/// off: no newline at the end, and in every line before that the mark of such a
/// thing or zeros, as they stand for blocks that were lost.
pub(super) fn is_torn(rest: &[u8]) -> bool {
    let mut lines: Vec<&[u8]> = rest.split(|byte| *byte == b'\n').collect();
    // What no newline ends, if anything.
    lines.pop();
    let marked = |line: &&[u8]| line.contains(&0) || line.ends_with(TORN_MARK);
    !rest.is_empty() && rest.len() <= 2 * EVENT_BYTES_MAX && lines.iter().all(marked)
}

/// What the next event declares of the bytes before it, without the newline at
/// their end.
pub(super) fn declare(bytes: &[u8]) -> Torn {
    Torn { bytes: bytes.len() as u64, sha256: hex(&sha256(bytes)) }
}
