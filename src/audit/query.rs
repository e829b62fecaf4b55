//! Looking events up.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use crate::audit::AuditLog;
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

impl AuditLog {
    /// Shows the events that a query asks for, until `visit` breaks. Returns
    /// how many lines that were read are no events.
    ///
    /// # Errors
    /// Fails if a segment cannot be read.
    pub fn visit(
        &self,
        query: &Query,
        visit: &mut dyn FnMut(&Event) -> ControlFlow<()>,
    ) -> Result<u64, AuditError> {
        let segments = segment::list(&self.directory)?;
        let mut strange = 0;
        if query.limit.is_none() && !query.is_newest_first {
            for segment in &segments {
                let mut show = |event: Event| visit(&event);
                if each(segment, &query.filter, &mut strange, &mut show)?.is_break() {
                    break;
                }
            }
            return Ok(strange);
        }
        let limit = query.limit.unwrap_or(usize::MAX);
        let mut chosen = VecDeque::new();
        for segment in segments.iter().rev() {
            let mut newest = VecDeque::new();
            let room = limit - chosen.len();
            let mut keep = |event: Event| {
                newest.push_back(event);
                if newest.len() > room {
                    newest.pop_front();
                }
                ControlFlow::Continue(())
            };
            let _ = each(segment, &query.filter, &mut strange, &mut keep)?;
            if query.is_newest_first && query.limit.is_none() {
                if newest.iter().rev().any(|event| visit(event).is_break()) {
                    return Ok(strange);
                }
                continue;
            }
            newest.into_iter().rev().for_each(|event| chosen.push_front(event));
            if chosen.len() >= limit {
                break;
            }
        }
        let shown: &mut dyn Iterator<Item = &Event> =
            if query.is_newest_first { &mut chosen.iter().rev() } else { &mut chosen.iter() };
        for event in shown {
            if visit(event).is_break() {
                break;
            }
        }
        Ok(strange)
    }
}

/// Shows the events of a segment that fit. One that was removed meanwhile has
/// none.
fn each(
    segment: &Segment,
    filter: &Filter,
    strange: &mut u64,
    show: &mut dyn FnMut(Event) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, AuditError> {
    let Some(mut lines) = segment.lines_if_there(0)? else {
        return Ok(ControlFlow::Continue(()));
    };
    while let Some(line) = lines.next()? {
        match Event::parse(&line.bytes) {
            Ok(event) if !filter.fits(&event) => {}
            Ok(event) => {
                if show(event).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Err(_) => *strange += 1,
        }
    }
    Ok(ControlFlow::Continue(()))
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
