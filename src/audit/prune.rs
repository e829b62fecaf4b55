//! Removing the oldest segments.
//!
//! An event says what will be removed, then the anchor is written, and only then
//! the segments go: a chain that lacks its beginning without such an event, or
//! with an anchor that no event confirms, was tampered with.

use std::fs;
use std::io;
use std::time::Duration;

use crate::audit::AuditLog;
use crate::audit::anchor::Anchor;
use crate::audit::append::sync_directory;
use crate::audit::error::AuditError;
use crate::audit::event::{Actor, Event, EventKind, Record};
use crate::audit::segment::{self, Segment};
use crate::audit::tail::Tail;
use crate::base::id::hex;
use crate::base::time::Timestamp;

/// Which segments are kept: those that any rule keeps, and always the last one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retention {
    /// Those with an event that is not older than this.
    pub keep_age: Option<Duration>,
    /// This many of the newest ones.
    pub keep_segments: Option<usize>,
}

/// What was, or would be, removed.
#[derive(Clone, Debug, Default)]
pub struct Pruned {
    /// Segments that go.
    pub segments: u64,
    /// Events in them.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Segments that stay.
    pub kept_segments: u64,
    /// What is kept of those that went.
    pub anchor: Option<Anchor>,
}

impl AuditLog {
    /// Removes the oldest segments that no rule keeps; with `actor` missing,
    /// only tells which. Without a rule nothing is removed.
    ///
    /// # Errors
    /// Fails if the log cannot be read or written, or if the segments that would
    /// go do not form an unbroken chain: then they are evidence.
    pub fn prune(
        &self,
        retention: Retention,
        now: Timestamp,
        actor: Option<&Actor>,
    ) -> Result<Pruned, AuditError> {
        let Some(actor) = actor else { return Ok(self.plan(retention, now)?.0) };
        let lock = self.lock()?;
        let (pruned, doomed) = self.plan(retention, now)?;
        if let Some(anchor) = &pruned.anchor {
            let record = Record::new(EventKind::LogPruned)
                .text("removed_hash", &hex(&anchor.hash))
                .count("removed_sequence", anchor.sequence)
                .count("segments", pruned.segments)
                .count("events", pruned.events);
            self.append_locked(&lock, actor, &record)?;
            anchor.write(&self.directory)?;
        }
        for segment in &doomed {
            match fs::remove_file(&segment.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(AuditError::io("remove", &segment.path)(error));
                }
                _ => {}
            }
        }
        if !doomed.is_empty() {
            sync_directory(&self.directory)?;
        }
        Ok(pruned)
    }

    /// What goes: the facts, and every file, those included that a removal
    /// which was cut off has left.
    fn plan(
        &self,
        retention: Retention,
        now: Timestamp,
    ) -> Result<(Pruned, Vec<Segment>), AuditError> {
        let old = Anchor::read(&self.directory)?;
        let removed = old.as_ref().map_or(0, |anchor| anchor.segment);
        let (mut doomed, left): (Vec<_>, Vec<_>) = segment::list(&self.directory)?
            .into_iter()
            .partition(|segment| segment.number <= removed);
        let mut pruned = Pruned { kept_segments: left.len() as u64, ..Pruned::default() };
        let mut last = None;
        let candidates = left.len().saturating_sub(1);
        for (index, segment) in left.iter().enumerate().take(candidates) {
            let tail = Tail::read(segment)?;
            let Some(event) = tail.last else { break };
            let behind = left.len() - index;
            let is_kept = retention.keep_segments.is_some_and(|keep| behind <= keep)
                || retention.keep_age.is_some_and(|keep| is_young(&event, now, keep))
                || (retention.keep_segments.is_none() && retention.keep_age.is_none());
            if is_kept {
                break;
            }
            pruned.segments += 1;
            pruned.bytes += tail.length;
            last = Some((segment.number, event));
            doomed.push(segment.clone());
        }
        pruned.kept_segments -= pruned.segments;
        let Some((number, event)) = last else { return Ok((pruned, doomed)) };
        let proof = self.verify(None)?;
        if let Some(broken) = proof.broken {
            return Err(AuditError::Damaged {
                path: self.directory.join(broken.segment),
                detail: format!("line {}: {}; nothing is removed", broken.line, broken.detail),
            });
        }
        let (first_time, before) = match old {
            Some(anchor) => (anchor.first_time, anchor.sequence),
            None => (first_time(&left)?, 0),
        };
        pruned.events = event.sequence().saturating_sub(before);
        pruned.anchor = Some(Anchor {
            segment: number,
            sequence: event.sequence(),
            hash: event.hash(),
            first_time,
            last_time: event.time_text().to_owned(),
            removed_at: now.to_rfc3339(),
        });
        Ok((pruned, doomed))
    }
}

fn is_young(event: &Event, now: Timestamp, keep: Duration) -> bool {
    // What has no time that can be understood is kept.
    event.time().is_none_or(|time| {
        let age = now.seconds().saturating_sub(time.seconds());
        u64::try_from(age).map_or(true, |age| age <= keep.as_secs())
    })
}

fn first_time(segments: &[Segment]) -> Result<String, AuditError> {
    let Some(first) = segments.first() else { return Ok(String::new()) };
    let line = first.lines(0)?.next()?.unwrap_or_default();
    Ok(Event::parse(&line.bytes).map(|event| event.time_text().to_owned()).unwrap_or_default())
}
