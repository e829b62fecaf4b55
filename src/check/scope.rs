//! How much content a check reads, and where it goes on the next time.

use crate::repository::sequence_of;
use crate::store::Extent;

/// How much content is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ReadScope {
    /// None.
    Nothing,
    /// All.
    All,
    /// This share of it, in percent, going on where the last check ended.
    Percent(f64),
    /// So many bytes of it, going on where the last check ended.
    Bytes(u64),
    /// Part `part` of `parts` equal ones, counted from 1.
    Part {
        /// Which one.
        part: u64,
        /// Of how many.
        parts: u64,
    },
}

/// Sequence numbers of one file, and its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) bytes: u64,
}

pub(crate) fn spans(extents: Vec<Extent>) -> Vec<Span> {
    let span = |extent: Extent| {
        let (first, last) = (sequence_of(&extent.first)?, sequence_of(&extent.last)?);
        Some(Span { first, last, bytes: extent.bytes })
    };
    extents.into_iter().filter_map(span).collect()
}

/// What is to be read: spans in the order of reading, and after how many bytes
/// to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Errand {
    pub(crate) spans: Vec<Span>,
    pub(crate) bytes_max: u64,
    /// Whether the next check goes on where this one ends.
    pub(crate) rotates: bool,
}

impl ReadScope {
    /// Returns what to read of the files `spans`, if the last check ended before
    /// the number `position`.
    pub(crate) fn errand(self, spans: Vec<Span>, position: u64, timed: bool) -> Errand {
        let total: u64 = spans.iter().map(|span| span.bytes).sum();
        let (spans, bytes_max, rotates) = match self {
            Self::Nothing => (Vec::new(), 0, false),
            // Cut short by its time, the next one goes on.
            Self::All => (if timed { rotated(spans, position) } else { spans }, u64::MAX, timed),
            Self::Percent(percent) => {
                let bytes = (total as f64 * percent / 100.0).ceil() as u64;
                (rotated(spans, position), bytes, true)
            }
            Self::Bytes(bytes) => (rotated(spans, position), bytes, true),
            Self::Part { part, parts } => (share(&spans, total, part, parts), u64::MAX, false),
        };
        Errand { spans, bytes_max, rotates }
    }
}

/// Begins with what lies at `position` and ends with what lies before it.
fn rotated(spans: Vec<Span>, position: u64) -> Vec<Span> {
    let mut behind = Vec::new();
    let mut before = Vec::new();
    for span in spans {
        if span.first >= position {
            behind.push(span);
        } else if span.last < position {
            before.push(span);
        } else {
            behind.push(Span { first: position, ..span });
            before.push(Span { last: position - 1, ..span });
        }
    }
    behind.extend(before);
    behind
}

/// Part `part` of `parts` by bytes, cut inside of files by number.
fn share(spans: &[Span], total: u64, part: u64, parts: u64) -> Vec<Span> {
    let cut = |part: u64| {
        let bytes = u128::from(total) * u128::from(part) / u128::from(parts.max(1));
        number_at(spans, u64::try_from(bytes).unwrap_or(u64::MAX))
    };
    let (first, end) = (cut(part.saturating_sub(1)), cut(part));
    let inside = |span: &Span| {
        let (first, last) = (span.first.max(first), span.last.min(end.checked_sub(1)?));
        (first <= last).then_some(Span { first, last, ..*span })
    };
    spans.iter().filter_map(inside).collect()
}

/// The number that lies about so many bytes behind the beginning.
fn number_at(spans: &[Span], bytes: u64) -> u64 {
    let mut left = bytes;
    for span in spans {
        if left < span.bytes {
            let numbers = u128::from(span.last - span.first) + 1;
            let inner = numbers * u128::from(left) / u128::from(span.bytes.max(1));
            return span.first.saturating_add(u64::try_from(inner).unwrap_or(u64::MAX));
        }
        left -= span.bytes;
    }
    spans.last().map_or(0, |span| span.last.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn files(lengths: &[(u64, u64)]) -> Vec<Span> {
        let mut next = 0;
        let span = |(gap, length): &(u64, u64)| {
            let first = next + gap;
            next = first + length + 1;
            Span { first, last: first + length, bytes: (length + 1) * 100 }
        };
        lengths.iter().map(span).collect()
    }

    fn numbers(spans: &[Span]) -> Vec<u64> {
        spans.iter().flat_map(|span| span.first..=span.last).collect()
    }

    proptest! {
        #[test]
        fn the_parts_together_are_all_and_no_number_is_in_two(
            lengths in proptest::collection::vec((0_u64..4, 0_u64..40), 0..6),
            parts in 1_u64..9
        ) {
            let files = files(&lengths);
            let mut met = Vec::new();
            for part in 1..=parts {
                let errand = ReadScope::Part { part, parts }.errand(files.clone(), 0, false);
                met.extend(numbers(&errand.spans));
            }
            prop_assert_eq!(met, numbers(&files));
        }

        #[test]
        fn a_rotation_begins_at_its_place_and_leaves_nothing_out(
            lengths in proptest::collection::vec((0_u64..4, 0_u64..40), 0..6),
            position in 0_u64..300
        ) {
            let files = files(&lengths);
            let errand = ReadScope::Percent(5.0).errand(files.clone(), position, false);
            let mut met = numbers(&errand.spans);
            let all = numbers(&files);
            let first = all.iter().find(|number| **number >= position).or(all.first());
            prop_assert_eq!(met.first(), first);
            met.sort_unstable();
            prop_assert_eq!(met, all);
        }
    }
}
