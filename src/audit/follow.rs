//! Following the log while it grows.

use crate::audit::AuditLog;
use crate::audit::error::AuditError;
use crate::audit::event::Event;
use crate::audit::segment;

/// Bytes of lines after which a follower returns what it has: a segment that somebody
/// else wrote may be of any size.
const BATCH_BYTES: u64 = 256 << 10;

/// A place in the log from which new events are read.
#[derive(Debug)]
pub struct Follower {
    log: AuditLog,
    segment: u64,
    offset: u64,
}

impl AuditLog {
    /// Returns a follower that begins with the last segment there is now.
    ///
    /// # Errors
    /// Fails if the log cannot be listed.
    pub fn follow(&self) -> Result<Follower, AuditError> {
        let segments = segment::list(&self.directory)?;
        let segment = segments.last().map_or(0, |segment| segment.number);
        Ok(Follower { log: self.clone(), segment, offset: 0 })
    }
}

impl Follower {
    /// Returns the next events that were appended since the last call, some of them
    /// if they are many; none if there are no more for now. What is no whole event is
    /// passed over.
    ///
    /// # Errors
    /// Fails if the log cannot be read.
    pub fn next_events(&mut self) -> Result<Vec<Event>, AuditError> {
        let mut events = Vec::new();
        let mut bytes = 0;
        // Listed first: a segment that has a successor grows no more.
        for segment in segment::list(&self.log.directory)? {
            if segment.number < self.segment {
                continue;
            }
            if segment.number > self.segment {
                (self.segment, self.offset) = (segment.number, 0);
            }
            let Some(mut lines) = segment.lines_if_there(self.offset)? else { continue };
            while let Some(line) = lines.next()?.filter(|line| line.is_ended) {
                self.offset += line.length;
                if let Ok(event) = Event::parse(&line.bytes) {
                    bytes += line.length;
                    events.push(event);
                }
                if bytes >= BATCH_BYTES {
                    return Ok(events);
                }
            }
        }
        Ok(events)
    }
}
