//! Looking events up.

use std::ops::ControlFlow;

use crate::audit::AuditLog;
use crate::audit::backwards::LinesBack;
use crate::audit::error::AuditError;
use crate::audit::event::Event;
use crate::audit::segment::{self, Segment};
use crate::base::time::Timestamp;

/// Which events are wanted: those that meet every condition.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Not after this time.
    pub until: Option<Timestamp>,
    /// Types, as patterns with `*` and `?`; `backup.` may be left out. One of
    /// them must fit, if there are any.
    pub kinds: Vec<String>,
    /// Beginnings of ids of snapshots; one must be that of a subject's.
    pub snapshots: Vec<String>,
}

impl Filter {
    /// Whether an event is wanted. One whose time cannot be understood has none
    /// that could be outside of the bounds.
    #[must_use]
    pub fn fits(&self, event: &Event) -> bool {
        let time = event.time();
        let kind = event.kind();
        let short = kind.strip_prefix("backup.").unwrap_or(kind);
        let named = &event.subject().snapshots;
        time.zip(self.since).is_none_or(|(time, since)| time >= since)
            && time.zip(self.until).is_none_or(|(time, until)| time <= until)
            && (self.kinds.is_empty()
                || self.kinds.iter().any(|pattern| glob(pattern, kind) || glob(pattern, short)))
            && (self.snapshots.is_empty()
                || self.snapshots.iter().any(|begin| named.iter().any(|id| id.starts_with(begin))))
    }
}

/// Which events are wanted, and in which order.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Which ones.
    pub filter: Filter,
    /// At most this many, the newest ones.
    pub limit: Option<usize>,
    /// The newest first.
    pub is_newest_first: bool,
}

/// Where an event stands: in which of the segments, and from which byte of it on.
#[derive(Clone, Copy, Default)]
struct Place {
    segment: usize,
    offset: u64,
}

impl AuditLog {
    /// Shows the events that a query asks for, until `visit` breaks. Returns
    /// how many lines that were read are no events. Holds one event at a time.
    ///
    /// # Errors
    /// Fails if a segment cannot be read.
    pub fn visit(
        &self,
        query: &Query,
        visit: &mut dyn FnMut(&Event) -> ControlFlow<()>,
    ) -> Result<u64, AuditError> {
        let segments = segment::list(&self.directory)?;
        let limit = query.limit.unwrap_or(usize::MAX);
        if limit == 0 {
            return Ok(0);
        }
        let mut left = limit;
        let mut limited = |event: &Event| {
            left = left.saturating_sub(1);
            let flow = visit(event);
            if left == 0 { ControlFlow::Break(()) } else { flow }
        };
        if query.is_newest_first {
            return backwards(&segments, &query.filter, &mut |event, _| limited(event));
        }
        if query.limit.is_none() {
            return forwards(&segments, Place::default(), &query.filter, visit);
        }
        // Which one is the oldest of the newest shows only from the end.
        let (mut found, mut from) = (0, Place::default());
        let strange = backwards(&segments, &query.filter, &mut |_, place| {
            found += 1;
            from = place;
            if found == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if found > 0 {
            forwards(&segments, from, &query.filter, &mut limited)?;
        }
        Ok(strange)
    }
}

/// Shows the events that fit from a place on, and returns how many lines are none.
/// A segment that was removed meanwhile has none.
fn forwards(
    segments: &[Segment],
    from: Place,
    filter: &Filter,
    show: &mut dyn FnMut(&Event) -> ControlFlow<()>,
) -> Result<u64, AuditError> {
    let mut strange = 0;
    for (number, segment) in segments.iter().enumerate().skip(from.segment) {
        let offset = if number == from.segment { from.offset } else { 0 };
        let Some(mut lines) = segment.lines_if_there(offset)? else { continue };
        while let Some(line) = lines.next()? {
            match Event::parse(&line.bytes) {
                Ok(event) if !line.is_cut() => {
                    if filter.fits(&event) && show(&event).is_break() {
                        return Ok(strange);
                    }
                }
                _ => strange += 1,
            }
        }
    }
    Ok(strange)
}

/// The same from the end to the beginning, with the place of each.
fn backwards(
    segments: &[Segment],
    filter: &Filter,
    show: &mut dyn FnMut(&Event, Place) -> ControlFlow<()>,
) -> Result<u64, AuditError> {
    let mut strange = 0;
    for (number, segment) in segments.iter().enumerate().rev() {
        let Some(mut lines) = LinesBack::of_segment(segment)? else { continue };
        while let Some(line) = lines.next()? {
            match line.bytes.as_deref().map(Event::parse) {
                Some(Ok(event)) => {
                    let place = Place { segment: number, offset: line.offset };
                    if filter.fits(&event) && show(&event, place).is_break() {
                        return Ok(strange);
                    }
                }
                _ => strange += 1,
            }
        }
    }
    Ok(strange)
}

/// Whether a text fits a pattern in which `*` stands for any characters and `?`
/// for one.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut from) = (0, 0);
    // Where to go on if a star has to take one more.
    let mut star = None;
    while let Some(byte) = text.get(from) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, from));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || wanted == byte => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((behind, taken)) = star else { return false };
                star = Some((behind, taken + 1));
                (at, from) = (behind, taken + 1);
            }
        }
    }
    pattern.iter().skip(at).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn patterns_fit_whole_texts() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("", "a", false),
            ("snapshot.*", "snapshot.created", true),
            ("*.failed", "operation.failed", true),
            ("*.failed", "operation.failed.not", false),
            ("*a*b*c", "xxaxxbxxbxc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*d", "deleted", true),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }
}
