//! Loading chunks before they are asked for.
//!
//! Chunks lie in the order in which the walk of a snapshot met them, and tools
//! read files in nearly that order. When reads of small chunks follow the
//! sequence numbers, a thread loads the next ones into the cache: disk,
//! decompression and verification then run beside the reader. Large chunks are
//! left out, since the kernel asks for several parts of a large file at once.
//!
//! Invariants:
//! - A chunk is cached under the id that its bytes hash to, so nothing wrong can
//!   get into the cache, and nothing need be known of it but its place.
//! - What is loaded and not read is bounded by a share of the cache.

use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::view::View;

/// Bytes of a chunk that is worth it, plain and as stored.
const CHUNK_BYTES_MAX: usize = 32 << 10;
/// Sequence numbers that are loaded ahead of a reader.
const WINDOW: u64 = 192;
/// Numbers that a reader may pass over: chunks that are cached or large.
const GAP: u64 = 64;
/// Reads in order after which it begins.
const READS_MIN: u32 = 4;
/// Numbers above are nobody's, and nothing is added to them.
const SEQUENCE_MAX: u64 = u64::MAX / 2;
/// Readers that are followed at once.
const STREAMS_MAX: usize = 8;
/// How far the loading leaps when the reader has caught up with it.
const LEAP: u64 = 8;

/// One reader's way through the sequence numbers.
#[derive(Debug)]
struct Stream {
    next: u64,
    reads: u32,
    /// Up to where loading was asked for.
    asked: u64,
}

#[derive(Debug, Default)]
struct State {
    /// The latest last.
    streams: Vec<Stream>,
    wanted: Option<Range<u64>>,
    is_over: bool,
}

impl State {
    /// Notes a read, and returns whether something new is wanted.
    fn note(&mut self, sequence: u64) -> bool {
        let fits = |stream: &Stream| {
            (stream.next.saturating_sub(GAP)..=stream.next + GAP).contains(&sequence)
        };
        let Some(at) = self.streams.iter().position(fits) else {
            if self.streams.len() == STREAMS_MAX {
                self.streams.remove(0);
            }
            self.streams.push(Stream { next: sequence + 1, reads: 0, asked: sequence + 1 });
            return false;
        };
        let mut stream = self.streams.remove(at);
        stream.reads += u32::from(sequence >= stream.next);
        stream.next = stream.next.max(sequence + 1);
        let end = stream.next + WINDOW;
        let is_due = stream.reads >= READS_MIN && stream.asked < stream.next + WINDOW / 2;
        if is_due {
            self.wanted = Some(stream.asked.max(stream.next)..end);
            stream.asked = end;
        }
        self.streams.push(stream);
        is_due
    }
}

/// What is to be loaded.
#[derive(Debug, Default)]
pub(crate) struct Prefetch {
    state: Mutex<State>,
    changed: Condvar,
    /// Numbers below this one are not worth loading any more.
    passed: AtomicU64,
}

impl Prefetch {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a chunk is being read; `is_missed` if the cache lacks it.
    pub(crate) fn note(&self, sequence: u64, bytes: u32, is_missed: bool) {
        // A number comes from a hint, which may say anything.
        if bytes as usize > CHUNK_BYTES_MAX || sequence > SEQUENCE_MAX {
            return;
        }
        if is_missed {
            self.passed.store(sequence + LEAP, Ordering::Relaxed);
        }
        if self.lock().note(sequence) {
            self.changed.notify_one();
        }
    }

    fn next(&self) -> Option<Range<u64>> {
        let mut state = self.lock();
        loop {
            if state.is_over {
                return None;
            }
            if let Some(range) = state.wanted.take() {
                return Some(range);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether a number in a range that is being loaded is still worth it: those
    /// just below where the reader is are not.
    fn is_passed(&self, sequence: u64) -> bool {
        let passed = self.passed.load(Ordering::Relaxed);
        sequence < passed && sequence + WINDOW > passed
    }
}

impl View {
    /// Loads what readers will want, until [`Self::stop_prefetching`]. Meant for
    /// a thread of its own.
    pub fn prefetch(&self) {
        while let Some(range) = self.prefetch.next() {
            let (mut bytes, bytes_max) = (0, self.cache_bytes / 4);
            let wanted = |sequence| !self.prefetch.is_passed(sequence);
            // Whoever reads what cannot be loaded hears why.
            let _ = self.reader.scan_chunks(range, CHUNK_BYTES_MAX, &wanted, &mut |id, plain| {
                bytes += plain.len() as u64;
                if self.caches.chunks.get(&id).is_none() {
                    self.caches.chunks.insert(id, Arc::from(plain));
                }
                if bytes > bytes_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        }
    }

    /// Ends [`Self::prefetch`].
    pub fn stop_prefetching(&self) {
        self.prefetch.lock().is_over = true;
        self.prefetch.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(state: &mut State, sequences: impl IntoIterator<Item = u64>) -> Vec<Range<u64>> {
        let note = |sequence| {
            state.note(sequence);
            state.wanted.take()
        };
        sequences.into_iter().filter_map(note).collect()
    }

    #[test]
    fn what_follows_a_reader_in_order_is_asked_for_once_and_without_gaps() {
        let mut state = State::default();
        let ranges = asked(&mut state, (1000..3000).step_by(3));
        assert!(ranges[0].start < 1020, "{ranges:?}");
        for (range, next) in ranges.iter().zip(&ranges[1..]) {
            assert_eq!(range.end, next.start);
        }
        assert!(ranges.iter().all(|range| range.end - range.start <= WINDOW));
        assert!(ranges.last().is_some_and(|range| range.end > 3000));
    }

    #[test]
    fn readers_here_and_there_bring_nothing() {
        let mut state = State::default();
        assert_eq!(asked(&mut state, (0..1000).map(|step| step * 7919 % 100_003)), []);
    }

    #[test]
    fn numbers_that_hints_make_up_bring_nothing_and_overflow_nothing() {
        let prefetch = Prefetch::default();
        for back in 0..100 {
            prefetch.note(u64::MAX - back, 1, true);
        }
        assert!(prefetch.lock().wanted.is_none());
    }

    #[test]
    fn several_readers_are_followed_beside_each_other() {
        let mut state = State::default();
        let both = (0..500).flat_map(|step| [step, 1_000_000 + step]);
        let ranges = asked(&mut state, both);
        assert!(ranges.iter().any(|range| range.start < 1000), "{ranges:?}");
        assert!(ranges.iter().any(|range| range.start > 1_000_000), "{ranges:?}");
    }
}
