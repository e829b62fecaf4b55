//! Planning: which files hold enough garbage to be rewritten.

use std::ops::ControlFlow;

use crate::gc::GcReport;
use crate::gc::bitmap::SequenceSet;
use crate::gc::mark::Marked;
use crate::repository::{Locator, PendingRange, Repository, RepositoryError, sequence_of};
use crate::store::{Extent, Family};

/// Bytes that a stored entry takes beside its value: key, block and index entry.
const ENTRY_OVERHEAD_BYTES: u64 = 40;

/// The families whose files are collected.
const FAMILIES: [Family; 2] = [Family::Data, Family::Trees];

/// A file, and how much of it is alive.
#[derive(Clone, Debug)]
struct File {
    first: u64,
    last: u64,
    bytes: u64,
    dead_entries: u64,
    dead_bytes: u64,
    /// Whether a load or sweep of it was cut short.
    in_doubt: bool,
}

/// A run of neighbouring files to be rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// What a collection is going to do.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    data: FamilyPlan,
    trees: FamilyPlan,
}

#[derive(Debug, Default)]
struct FamilyPlan {
    runs: Vec<Run>,
    bytes: u64,
    dead_entries: u64,
    freed_bytes: u64,
    rewritten_bytes: u64,
    unused_bytes: u64,
}

impl Plan {
    /// The runs to rewrite in a family.
    pub(crate) fn runs(&self, family: Family) -> &[Run] {
        match family {
            Family::Data => &self.data.runs,
            Family::Trees => &self.trees.runs,
            _ => &[],
        }
    }

    /// Whether an object at this place is to be removed if it is dead.
    pub(crate) fn covers(&self, family: Family, sequence: u64) -> bool {
        let runs = self.runs(family);
        let index = runs.partition_point(|run| run.last < sequence);
        runs.get(index).is_some_and(|run| run.first <= sequence)
    }

    /// Adds what is planned to a report.
    pub(crate) fn add_to(&self, report: &mut GcReport) {
        report.deleted_chunks = self.data.dead_entries;
        report.deleted_trees = self.trees.dead_entries;
        for family in [&self.data, &self.trees] {
            report.bytes_before += family.bytes;
            report.freed_bytes += family.freed_bytes;
            report.rewritten_bytes += family.rewritten_bytes;
            report.unused_bytes += family.unused_bytes;
        }
    }
}

/// Weighs every file and picks those with more than `max_unused_percent` of
/// garbage.
pub(crate) fn plan(
    repository: &Repository,
    marked: &Marked,
    max_unused_percent: f64,
) -> Result<Plan, RepositoryError> {
    let mut data = files(repository, Family::Data)?;
    let mut trees = files(repository, Family::Trees)?;
    weigh(repository, marked, &mut data, &mut trees)?;
    for range in repository.pending_ranges()? {
        match range.family {
            Family::Data => doubt(&range, &marked.chunks, &mut data),
            _ => doubt(&range, &marked.trees, &mut trees),
        }
    }
    let pick = |files| plan_family(files, max_unused_percent);
    Ok(Plan { data: pick(data), trees: pick(trees) })
}

/// The bytes of all files that a collection could shrink.
pub(crate) fn total_bytes(repository: &Repository) -> Result<u64, RepositoryError> {
    let mut total = 0;
    for family in FAMILIES {
        let extents = repository.store().extents(family)?;
        total += extents.iter().map(|extent| extent.bytes).sum::<u64>();
    }
    Ok(total)
}

fn files(repository: &Repository, family: Family) -> Result<Vec<File>, RepositoryError> {
    let extents = repository.store().extents(family)?;
    let file = |extent: Extent| {
        Some(File {
            first: sequence_of(&extent.first)?,
            last: sequence_of(&extent.last)?,
            bytes: extent.bytes,
            dead_entries: 0,
            dead_bytes: 0,
            in_doubt: false,
        })
    };
    Ok(extents.into_iter().filter_map(file).collect())
}

/// Sums up the dead objects of each file, in one pass over the index.
fn weigh(
    repository: &Repository,
    marked: &Marked,
    data: &mut [File],
    trees: &mut [File],
) -> Result<(), RepositoryError> {
    let visit = &mut |_: &[u8], value: &[u8]| {
        if let Ok(locator) = Locator::decode(value) {
            let (files, live) = match locator.kind.family() {
                Family::Data => (&mut *data, &marked.chunks),
                _ => (&mut *trees, &marked.trees),
            };
            if !live.contains(locator.sequence) {
                let index = files.partition_point(|file| file.last < locator.sequence);
                if let Some(file) = files.get_mut(index) {
                    file.dead_entries += 1;
                    file.dead_bytes += u64::from(locator.stored_bytes) + ENTRY_OVERHEAD_BYTES;
                }
            }
        }
        ControlFlow::Continue(())
    };
    Ok(repository.store().scan(Family::Index, &[], visit)?)
}

/// Marks the files of numbers in doubt. How many of the numbers are still there
/// is not known without reading; all that are not live are counted.
fn doubt(range: &PendingRange, live: &SequenceSet, files: &mut [File]) {
    for file in files {
        let (first, last) = (file.first.max(range.first), file.last.min(range.last));
        if first > last {
            continue;
        }
        let dead = (last - first + 1).saturating_sub(live.count(first, last));
        let numbers = (file.last - file.first).saturating_add(1);
        let share = dead as f64 / numbers as f64;
        file.in_doubt = true;
        file.dead_entries = file.dead_entries.max(dead);
        file.dead_bytes = file.dead_bytes.max((file.bytes as f64 * share) as u64);
    }
}

fn plan_family(files: Vec<File>, max_unused_percent: f64) -> FamilyPlan {
    let mut plan = FamilyPlan::default();
    for file in files {
        plan.bytes += file.bytes;
        let garbage = file.dead_bytes.min(file.bytes);
        let share = garbage as f64 / file.bytes.max(1) as f64 * 100.0;
        if !file.in_doubt && (file.dead_entries == 0 || share <= max_unused_percent) {
            plan.unused_bytes += garbage;
            continue;
        }
        plan.dead_entries += file.dead_entries;
        plan.freed_bytes += garbage;
        plan.rewritten_bytes += file.bytes - garbage;
        match plan.runs.last_mut() {
            Some(run) if file.first <= run.last.saturating_add(1) => {
                run.last = run.last.max(file.last);
            }
            _ => plan.runs.push(Run { first: file.first, last: file.last }),
        }
    }
    plan
}
