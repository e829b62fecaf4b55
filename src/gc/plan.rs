//! Planning: which files are garbage altogether, which hold enough of it to be
//! rewritten, and what is dead in them.

use std::ops::ControlFlow;

use crate::base::progress::Monitor;
use crate::gc::bitmap::SequenceSet;
use crate::gc::limit::MaxUnused;
use crate::gc::mark::Marked;
use crate::gc::{CANCEL_INTERVAL, GcError, GcReport};
use crate::repository::{Locator, Repository, RepositoryError, sequence_key, sequence_of};
use crate::store::{Extent, Family};

/// Bytes that a stored entry takes beside its value: key, block and index entry.
const ENTRY_OVERHEAD_BYTES: u64 = 40;
/// Bytes of files that are rewritten at once: so much more space a collection
/// takes at most while it works.
const RUN_BYTES_MAX: u64 = 256 << 20;

/// The families whose files are collected.
pub(crate) const FAMILIES: [Family; 2] = [Family::Trees, Family::Data];

/// A file, and how much of it is dead.
#[derive(Clone, Debug)]
struct File {
    first: u64,
    last: u64,
    bytes: u64,
    dead_entries: u64,
    dead_bytes: u64,
    /// Whether nothing in it is alive.
    is_dead: bool,
    /// Whether a load or sweep of it was cut short, so that the index does not
    /// tell all.
    in_doubt: bool,
    /// Whether it holds more garbage than may stay.
    is_over: bool,
}

/// What is done about a run of neighbouring files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// All in them is dead: they are removed whole.
    Drop,
    /// They are written anew without what is dead.
    Rewrite,
}

/// A run of neighbouring files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) family: Family,
    pub(crate) treatment: Treatment,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    dead_entries: u64,
    dead_bytes: u64,
}

/// What a collection is going to do.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    data: FamilyPlan,
    trees: FamilyPlan,
    unused_bytes: u64,
}

/// What is known of the files of a family.
#[derive(Debug, Default)]
struct FamilyPlan {
    /// In order, and none overlaps another.
    files: Vec<File>,
    /// The dead objects that are there.
    dead: SequenceSet,
    runs: Vec<Run>,
}

impl Plan {
    fn family(&self, family: Family) -> &FamilyPlan {
        if family == Family::Data { &self.data } else { &self.trees }
    }

    fn family_mut(&mut self, family: Family) -> &mut FamilyPlan {
        if family == Family::Data { &mut self.data } else { &mut self.trees }
    }

    /// All runs that are treated in one way.
    pub(crate) fn runs(&self, treatment: Treatment) -> impl Iterator<Item = &Run> {
        let runs = self.trees.runs.iter().chain(&self.data.runs);
        runs.filter(move |run| run.treatment == treatment)
    }

    /// Whether there is nothing to remove.
    pub(crate) const fn is_empty(&self) -> bool {
        self.trees.runs.is_empty() && self.data.runs.is_empty()
    }

    /// Whether the index must forget a dead object at this place: because it is
    /// about to be removed, or is not there.
    pub(crate) fn forgets(&self, family: Family, sequence: u64) -> bool {
        let FamilyPlan { files, runs, .. } = self.family(family);
        let index = runs.partition_point(|run| run.last < sequence);
        runs.get(index).is_some_and(|run| run.first <= sequence) || find(files, sequence).is_none()
    }

    /// The dead objects of a run.
    pub(crate) fn dead_in(&self, run: &Run) -> impl Iterator<Item = u64> + '_ {
        self.family(run.family).dead.within(run.first, run.last)
    }

    /// Adds what is planned to a report.
    pub(crate) fn add_to(&self, report: &mut GcReport) {
        for run in self.trees.runs.iter().chain(&self.data.runs) {
            if run.family == Family::Data {
                report.deleted_chunks += run.dead_entries;
            } else {
                report.deleted_trees += run.dead_entries;
            }
            report.freed_bytes += run.dead_bytes;
            match run.treatment {
                Treatment::Drop => report.dropped_files += run.files,
                Treatment::Rewrite => {
                    report.rewritten_files += run.files;
                    report.rewritten_bytes += run.bytes - run.dead_bytes;
                }
            }
        }
        let files = self.trees.files.iter().chain(&self.data.files);
        report.bytes_before = files.map(|file| file.bytes).sum();
        report.unused_bytes = self.unused_bytes;
    }
}

/// Weighs every file and decides what is done about it.
pub(crate) fn plan(
    repository: &Repository,
    marked: &Marked,
    max_unused: MaxUnused,
    monitor: &dyn Monitor,
) -> Result<Plan, GcError> {
    let mut plan = Plan::default();
    for family in FAMILIES {
        plan.family_mut(family).files = files(repository, family)?;
    }
    monitor.begin("weighing", 0, bytes_of(repository, Family::Index)?);
    weigh_indexed(repository, marked, &mut plan, monitor)?;
    weigh_doubtful(repository, marked, &mut plan, monitor)?;
    for family in FAMILIES {
        let live = marked.live(family);
        for file in &mut plan.family_mut(family).files {
            // What no snapshot reaches is garbage though the index lost it, but
            // not while snapshots miss chunks: it may be those.
            let is_known = file.dead_entries > 0 || file.in_doubt || marked.is_whole();
            file.is_dead = is_known && live.count(file.first, file.last) == 0;
        }
    }
    pick(&mut plan, max_unused);
    Ok(plan)
}

/// The bytes of all files that a collection could shrink.
pub(crate) fn total_bytes(repository: &Repository) -> Result<u64, RepositoryError> {
    let mut total = 0;
    for family in FAMILIES {
        total += bytes_of(repository, family)?;
    }
    Ok(total)
}

/// The bytes of all files of a family.
pub(crate) fn bytes_of(repository: &Repository, family: Family) -> Result<u64, RepositoryError> {
    let extents = repository.store().extents(family)?;
    Ok(extents.iter().map(|extent| extent.bytes).sum())
}

/// The files of a family. Those that overlap, which only a sweep cut short
/// leaves, count as one.
fn files(repository: &Repository, family: Family) -> Result<Vec<File>, RepositoryError> {
    let mut files: Vec<File> = Vec::new();
    for Extent { first, last, bytes, .. } in repository.store().extents(family)? {
        let (Some(first), Some(last)) = (sequence_of(&first), sequence_of(&last)) else { continue };
        match files.last_mut() {
            Some(file) if first <= file.last => {
                file.last = file.last.max(last);
                file.bytes += bytes;
                file.in_doubt = true;
            }
            _ => files.push(File::new(first, last, bytes)),
        }
    }
    Ok(files)
}

impl File {
    const fn new(first: u64, last: u64, bytes: u64) -> Self {
        let (dead_entries, dead_bytes) = (0, 0);
        let (is_dead, in_doubt, is_over) = (false, false, false);
        Self { first, last, bytes, dead_entries, dead_bytes, is_dead, in_doubt, is_over }
    }

    /// The part of it that is garbage.
    fn share(&self) -> f64 {
        self.dead_bytes as f64 / self.bytes.max(1) as f64
    }
}

fn find(files: &[File], sequence: u64) -> Option<usize> {
    let index = files.partition_point(|file| file.last < sequence);
    files.get(index).is_some_and(|file| file.first <= sequence).then_some(index)
}

impl FamilyPlan {
    /// Counts a dead object of so many bytes, once.
    fn add_dead(&mut self, sequence: u64, bytes: u64) {
        let Some(index) = find(&self.files, sequence) else { return };
        if let Some(file) = self.files.get_mut(index)
            && self.dead.insert(sequence)
        {
            file.dead_entries += 1;
            file.dead_bytes += bytes + ENTRY_OVERHEAD_BYTES;
        }
    }
}

/// Sums up the dead objects of each file, in one pass over the index.
fn weigh_indexed(
    repository: &Repository,
    marked: &Marked,
    plan: &mut Plan,
    monitor: &dyn Monitor,
) -> Result<(), GcError> {
    let mut entries = 0_u64;
    let mut cancelled = false;
    repository.store().scan(Family::Index, &[], &mut |key, value| {
        if let Ok(locator) = Locator::decode(value) {
            let family = locator.kind.family();
            if !marked.live(family).contains(locator.sequence) {
                let bytes = u64::from(locator.stored_bytes);
                plan.family_mut(family).add_dead(locator.sequence, bytes);
            }
        }
        entries += 1;
        monitor.advance(1, (key.len() + value.len()) as u64);
        cancelled = entries.is_multiple_of(CANCEL_INTERVAL) && monitor.cancelled();
        if cancelled { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if cancelled { Err(GcError::Cancelled) } else { Ok(()) }
}

/// Reads what loads and sweeps that were cut short left: the index need not
/// know of it.
fn weigh_doubtful(
    repository: &Repository,
    marked: &Marked,
    plan: &mut Plan,
    monitor: &dyn Monitor,
) -> Result<(), GcError> {
    for range in repository.pending_ranges()? {
        let live = marked.live(range.family);
        let weighed = plan.family_mut(range.family);
        let mut cancelled = false;
        let first = sequence_key(range.first);
        repository.store().scan(range.family, &first, &mut |key, value| {
            let inside = sequence_of(key).filter(|sequence| *sequence <= range.last);
            let Some(sequence) = inside else { return ControlFlow::Break(()) };
            if !live.contains(sequence) {
                weighed.add_dead(sequence, value.len() as u64);
            }
            cancelled = monitor.cancelled();
            if cancelled { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if cancelled {
            return Err(GcError::Cancelled);
        }
        for file in &mut weighed.files {
            let is_touched = file.first <= range.last && range.first <= file.last;
            file.in_doubt |= is_touched && file.dead_entries > 0;
        }
    }
    Ok(())
}

/// Decides what is done about each file.
fn pick(plan: &mut Plan, max_unused: MaxUnused) {
    let Plan { data, trees, unused_bytes } = plan;
    let all = trees.files.iter_mut().chain(&mut data.files);
    let mut spare: Vec<_> = all.filter(|file| !file.is_dead && file.dead_entries > 0).collect();
    // The files with the largest shares give the most for their cost.
    spare.sort_by(|a, b| a.share().total_cmp(&b.share()));
    let mut left = 0;
    for file in spare {
        left += file.dead_bytes;
        file.is_over = match max_unused {
            MaxUnused::Unlimited => false,
            MaxUnused::Percent(percent) => file.share() * 100.0 > percent,
            MaxUnused::Bytes(bytes) => left > bytes,
        };
    }
    for (family, weighed) in [(Family::Trees, trees), (Family::Data, data)] {
        for file in &weighed.files {
            if file.is_dead || file.in_doubt || file.is_over {
                add_to_runs(&mut weighed.runs, family, file);
            } else {
                *unused_bytes += file.dead_bytes.min(file.bytes);
            }
        }
    }
}

fn add_to_runs(runs: &mut Vec<Run>, family: Family, file: &File) {
    let treatment = if file.is_dead { Treatment::Drop } else { Treatment::Rewrite };
    let run = Run {
        family,
        treatment,
        first: file.first,
        last: file.last,
        files: 1,
        bytes: file.bytes,
        dead_entries: file.dead_entries,
        dead_bytes: if file.is_dead { file.bytes } else { file.dead_bytes.min(file.bytes) },
    };
    match runs.last_mut() {
        Some(last)
            if last.treatment == treatment
                && run.first == last.last.saturating_add(1)
                && last.bytes + run.bytes <= RUN_BYTES_MAX =>
        {
            last.last = run.last;
            last.files += 1;
            last.bytes += run.bytes;
            last.dead_entries += run.dead_entries;
            last.dead_bytes += run.dead_bytes;
        }
        _ => runs.push(run),
    }
}
