//! Sweeping: the steps of a collection that change something, in the one order
//! in which it may die between any two of them. The tests run them in other
//! orders, to see that they notice.

use std::ops::ControlFlow;

use crate::base::progress::Monitor;
use crate::gc::GcError;
use crate::gc::mark::Marked;
use crate::gc::plan::{Plan, Run, Treatment, bytes_of};
use crate::repository::{Locator, PendingRange, Repository, RepositoryError, sequence_key};
use crate::store::{Batch, Durability, Family, Store};

/// Changes in one batch.
const BATCH_CHANGES: usize = 10_000;

/// One step; each is durable before the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Deleted snapshots cannot be had back any more.
    ForgetDeletedSnapshots,
    /// What is remembered of sources names nothing that may go now or later.
    ForgetSources,
    /// A record of the runs: once the index has forgotten their dead objects,
    /// only this tells a later collection that there is something left to sweep.
    RecordDoubt,
    /// The index forgets the dead objects of the runs, so that no `create` finds
    /// them any more.
    ForgetObjects,
    /// Files that are dead altogether go. This comes before what needs space.
    DropFiles,
    /// The other runs are rewritten without what is dead.
    RewriteFiles,
    /// What was in doubt is gone, or counted as garbage of its file.
    EndDoubt,
}

/// The order that loses nothing.
pub(crate) const ORDER: [Step; 7] = [
    Step::ForgetDeletedSnapshots,
    Step::ForgetSources,
    Step::RecordDoubt,
    Step::ForgetObjects,
    Step::DropFiles,
    Step::RewriteFiles,
    Step::EndDoubt,
];

/// Takes the steps, in the order given.
pub(crate) fn sweep(
    repository: &Repository,
    marked: &Marked,
    plan: &Plan,
    order: &[Step],
    monitor: &dyn Monitor,
) -> Result<(), GcError> {
    for step in order {
        match step {
            Step::ForgetDeletedSnapshots => {
                repository.forget_deleted_snapshots()?;
            }
            Step::ForgetSources => {
                repository.drop_scan_pages(&|sequence| marked.trees.contains(sequence))?;
            }
            Step::RecordDoubt if !plan.is_empty() => record_doubt(repository, plan)?,
            Step::ForgetObjects if !plan.is_empty() => {
                forget_objects(repository, marked, plan, monitor)?;
            }
            Step::DropFiles => drop_files(repository, plan, monitor)?,
            Step::RewriteFiles => rewrite_files(repository, plan, monitor)?,
            Step::EndDoubt => repository.forget_pending_ranges()?,
            Step::RecordDoubt | Step::ForgetObjects => {}
        }
    }
    Ok(())
}

fn record_doubt(repository: &Repository, plan: &Plan) -> Result<(), RepositoryError> {
    let mut batch = Batch::new();
    for run in plan.runs(Treatment::Drop).chain(plan.runs(Treatment::Rewrite)) {
        let key = PendingRange::key(run.family, run.first);
        batch.put(Family::Meta, key.as_bytes(), sequence_key(run.last));
    }
    Ok(repository.store().write(&batch, Durability::Synced)?)
}

fn forget_objects(
    repository: &Repository,
    marked: &Marked,
    plan: &Plan,
    monitor: &dyn Monitor,
) -> Result<(), GcError> {
    monitor.begin("forgetting", 0, bytes_of(repository, Family::Index)?);
    let store = repository.store();
    let mut batch = Batch::new();
    let mut outcome = Ok(());
    store.scan(Family::Index, &[], &mut |id, value| {
        monitor.advance(0, (id.len() + value.len()) as u64);
        let Ok(locator) = Locator::decode(value) else { return ControlFlow::Continue(()) };
        let family = locator.kind.family();
        let is_live = marked.live(family).contains(locator.sequence);
        if !is_live && plan.forgets(family, locator.sequence) {
            batch.delete(Family::Index, id);
            monitor.advance(1, 0);
        }
        if batch.len() >= BATCH_CHANGES {
            outcome = store.write(&std::mem::take(&mut batch), Durability::Buffered);
        }
        if outcome.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    outcome?;
    Ok(store.write(&batch, Durability::Synced)?)
}

fn drop_files(repository: &Repository, plan: &Plan, monitor: &dyn Monitor) -> Result<(), GcError> {
    begin("dropping", plan, Treatment::Drop, monitor);
    let store = repository.store();
    for run in plan.runs(Treatment::Drop) {
        if monitor.cancelled() {
            return Err(GcError::Cancelled);
        }
        let (first, last) = (sequence_key(run.first), sequence_key(run.last));
        store.drop_files(run.family, &first, &last)?;
        if has_files(store, run)? {
            // Marks of deletion that a sweep cut short left are no bulk load.
            delete_dead(store, plan, run)?;
            store.reclaim(run.family, &first, &last)?;
        }
        monitor.advance(run.files, run.bytes);
    }
    Ok(())
}

fn has_files(store: &dyn Store, run: &Run) -> Result<bool, RepositoryError> {
    let (first, last) = (sequence_key(run.first), sequence_key(run.last));
    let extents = store.extents(run.family)?;
    let overlaps = |extent: &crate::store::Extent| {
        extent.first.as_slice() <= last.as_slice() && first.as_slice() <= extent.last.as_slice()
    };
    Ok(extents.iter().any(overlaps))
}

/// Rewrites one run at a time: marks of deletion that spanned several would
/// draw in the files between.
fn rewrite_files(
    repository: &Repository,
    plan: &Plan,
    monitor: &dyn Monitor,
) -> Result<(), GcError> {
    begin("rewriting", plan, Treatment::Rewrite, monitor);
    let store = repository.store();
    for run in plan.runs(Treatment::Rewrite) {
        // Between two runs everything is consistent.
        if monitor.cancelled() {
            return Err(GcError::Cancelled);
        }
        delete_dead(store, plan, run)?;
        store.reclaim(run.family, &sequence_key(run.first), &sequence_key(run.last))?;
        monitor.advance(run.files, run.bytes);
    }
    Ok(())
}

fn delete_dead(store: &dyn Store, plan: &Plan, run: &Run) -> Result<(), RepositoryError> {
    let mut batch = Batch::new();
    for sequence in plan.dead_in(run) {
        batch.delete(run.family, sequence_key(sequence));
        if batch.len() >= BATCH_CHANGES {
            store.write(&std::mem::take(&mut batch), Durability::Buffered)?;
        }
    }
    Ok(store.write(&batch, Durability::Buffered)?)
}

fn begin(phase: &str, plan: &Plan, treatment: Treatment, monitor: &dyn Monitor) {
    let files = plan.runs(treatment).map(|run| run.files).sum();
    let bytes = plan.runs(treatment).map(|run| run.bytes).sum();
    if files > 0 {
        monitor.begin(phase, files, bytes);
    }
}
