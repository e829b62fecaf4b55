//! Reading content in the order in which it lies, and hashing it on all cores.
//!
//! One thread reads, workers verify; between them are a few batches. What was
//! read and found good is one bit for each sequence number. What was read and is
//! not good may be garbage: the index tells, see [`crate::check::index`].

use std::fs::OpenOptions;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::path::Path;
use std::thread::{self, available_parallelism};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::base::files::{open_own, replace_own};
use crate::base::progress::Monitor;
use crate::base::sequences::SequenceSet;
use crate::check::scope::{Errand, ReadScope, Span, spans};
use crate::check::{CheckError, go_on};
use crate::repository::{Repository, scan_readable, sequence_of};
use crate::store::{Family, StoreError, StoreFault};

/// Bytes after which a batch goes to a worker.
const BATCH_BYTES: usize = 4 << 20;
/// Objects after which it goes although they are small.
const BATCH_OBJECTS: usize = 4096;
/// Bytes of the file that says where the last check ended.
const POSITION_BYTES_MAX: u64 = 32;

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// The numbers of each family that were looked at.
    looked: Vec<(Family, Span)>,
    good_chunks: SequenceSet,
    good_trees: SequenceSet,
    /// Damage and failures of the disk that were met, whatever they hurt.
    pub(crate) met: Vec<(Family, StoreError)>,
    pub(crate) chunks: u64,
    pub(crate) bytes: u64,
    pub(crate) data_bytes: u64,
    pub(crate) out_of_time: bool,
}

impl Read {
    /// Doubts everything in a file that is missing or damaged.
    fn suspect(&mut self, fault: &StoreFault) {
        let family = [Family::Data, Family::Trees].into_iter().find(|f| f.name() == fault.family);
        let numbers = sequence_of(&fault.first).zip(sequence_of(&fault.last));
        if let Some((family, (first, last))) = family.zip(numbers) {
            self.looked.push((family, Span { first, last, bytes: 0 }));
        }
    }

    /// Whether an object was looked for at this place and not found good.
    pub(crate) fn is_suspect(&self, family: Family, sequence: u64) -> bool {
        let within = |(of, span): &(Family, Span)| {
            *of == family && (span.first..=span.last).contains(&sequence)
        };
        self.looked.iter().any(within) && !self.good(family).contains(sequence)
    }

    fn good(&self, family: Family) -> &SequenceSet {
        if family == Family::Data { &self.good_chunks } else { &self.good_trees }
    }
}

type Entry = (u64, Vec<u8>);
type Batch = Vec<Entry>;

/// Reads what `scope` asks for, until `deadline`.
pub(crate) fn read(
    repository: &Repository,
    scope: ReadScope,
    deadline: Option<Instant>,
    monitor: &dyn Monitor,
) -> Result<Read, CheckError> {
    let store = repository.store();
    let data = spans(store.extents(Family::Data)?);
    let data_bytes = data.iter().map(|span| span.bytes).sum();
    let mut read = Read { data_bytes, ..Read::default() };
    for fault in store.faults() {
        read.suspect(fault);
    }
    let position_file = repository.layout().check_position();
    let position = read_position(&position_file);
    let errand = scope.errand(data, position, deadline.is_some());
    let total = errand.spans.iter().map(|span| span.bytes).sum::<u64>().min(errand.bytes_max);
    if scope != ReadScope::Nothing {
        monitor.begin("reading data", 0, total);
    }
    let end = pass(repository, Family::Data, &errand, deadline, monitor, &mut read)?;
    if errand.rotates {
        let next = end.or(errand.spans.first().map(|span| span.first));
        write_position(&position_file, next.unwrap_or(0), monitor);
    }
    if scope == ReadScope::All && !read.out_of_time {
        // Trees that a snapshot reaches are read by the walk, whatever the scope.
        let trees = spans(store.extents(Family::Trees)?);
        let errand = Errand { spans: trees, bytes_max: u64::MAX, rotates: false };
        pass(repository, Family::Trees, &errand, None, monitor, &mut read)?;
    }
    Ok(read)
}

/// Reads one family. Returns the number at which it stopped, if before the end.
fn pass(
    repository: &Repository,
    family: Family,
    errand: &Errand,
    deadline: Option<Instant>,
    monitor: &dyn Monitor,
    read: &mut Read,
) -> Result<Option<u64>, CheckError> {
    let workers = available_parallelism().map_or(2, usize::from);
    let (sender, receiver) = bounded::<Batch>(workers);
    let mut good = SequenceSet::default();
    let outcome = thread::scope(|scope| {
        let spawn = |_| {
            let receiver = receiver.clone();
            scope.spawn(move || verify(repository, family, &receiver, monitor))
        };
        let verifiers: Vec<_> = (0..workers).map(spawn).collect();
        drop(receiver);
        let feed =
            Feed { family, errand, deadline, monitor, sender, batch: Batch::new(), bytes: 0 };
        let outcome = feed.run(repository, read);
        for verifier in verifiers {
            let verified = verifier.join().unwrap_or_else(|panic| resume_unwind(panic));
            good.union(&verified?);
        }
        outcome
    })?;
    if family == Family::Data {
        read.good_chunks = good;
    } else {
        read.good_trees = good;
    }
    Ok(outcome)
}

/// Verifies batches until there are no more.
fn verify(
    repository: &Repository,
    family: Family,
    batches: &Receiver<Batch>,
    monitor: &dyn Monitor,
) -> Result<SequenceSet, CheckError> {
    let mut good = SequenceSet::default();
    for batch in batches {
        let bytes: usize = batch.iter().map(|(_, stored)| stored.len()).sum();
        for (sequence, stored) in &batch {
            // An index that cannot be read is found by those who check it.
            if let Ok(Some(_)) = repository.verify_stored(family, *sequence, stored) {
                good.insert(*sequence);
            }
        }
        monitor.advance(batch.len() as u64, bytes as u64);
    }
    Ok(good)
}

/// Reads objects and hands them over.
struct Feed<'a> {
    family: Family,
    errand: &'a Errand,
    deadline: Option<Instant>,
    monitor: &'a dyn Monitor,
    sender: Sender<Batch>,
    batch: Batch,
    bytes: usize,
}

impl Feed<'_> {
    fn run(mut self, repository: &Repository, read: &mut Read) -> Result<Option<u64>, CheckError> {
        let mut left = self.errand.bytes_max;
        for span in &self.errand.spans {
            let mut stopped = None;
            let mut last_seen = None;
            let met = scan_readable(
                repository.store(),
                self.family,
                span.first,
                span.last,
                self.monitor,
                &mut |at, stored| {
                    if self.is_over(read) || left == 0 {
                        stopped = Some(at);
                        return ControlFlow::Break(());
                    }
                    left = left.saturating_sub(stored.len() as u64);
                    last_seen = Some(at);
                    if self.family == Family::Data {
                        read.chunks += 1;
                        read.bytes += stored.len() as u64;
                    }
                    self.put(at, stored)
                },
            )?;
            self.flush();
            go_on(self.monitor)?;
            read.met.extend(met.map(|error| (self.family, error)));
            let Some(stop) = stopped else {
                read.looked.push((self.family, *span));
                continue;
            };
            if let Some(last) = last_seen {
                read.looked.push((self.family, Span { last, ..*span }));
            }
            return Ok(Some(stop));
        }
        Ok(None)
    }

    fn is_over(&self, read: &mut Read) -> bool {
        let over = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        read.out_of_time |= over;
        over || self.monitor.cancelled()
    }

    fn put(&mut self, sequence: u64, stored: &[u8]) -> ControlFlow<()> {
        self.bytes += stored.len();
        self.batch.push((sequence, stored.to_vec()));
        if self.bytes >= BATCH_BYTES || self.batch.len() >= BATCH_OBJECTS {
            self.flush();
        }
        ControlFlow::Continue(())
    }

    fn flush(&mut self) {
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        // Nobody listens any more if a verifier failed; its error is found there.
        let _ = self.sender.send(batch);
    }
}

fn read_position(path: &Path) -> u64 {
    let mut text = String::new();
    let read = open_own(OpenOptions::new().read(true), path)
        .and_then(|file| file.take(POSITION_BYTES_MAX).read_to_string(&mut text));
    read.map_or(0, |_| text.trim().parse().unwrap_or(0))
}

/// Remembers where the next check goes on, whole or not at all. Where nothing
/// can be written the next one begins anew.
fn write_position(path: &Path, position: u64, monitor: &dyn Monitor) {
    if let Err(error) = replace_own(path, format!("{position}\n").as_bytes()) {
        monitor.warn(&format!(
            "Cannot remember in {path:?} where the next check goes on ({error}); it begins anew"
        ));
    }
}
