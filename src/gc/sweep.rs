//! Sweeping: index entries first, then the objects, run by run.

use std::ops::ControlFlow;

use crate::base::progress::Monitor;
use crate::gc::GcError;
use crate::gc::mark::Marked;
use crate::gc::plan::{Plan, Run};
use crate::repository::{Locator, PendingRange, Repository, RepositoryError, sequence_key};
use crate::store::{Batch, Durability, Family};

/// Changes in one batch.
const BATCH_CHANGES: usize = 10_000;

/// Deletes what is dead in the planned runs and returns its space.
pub(crate) fn sweep(
    repository: &Repository,
    marked: &Marked,
    plan: &Plan,
    monitor: &dyn Monitor,
) -> Result<(), GcError> {
    // From here on no deleted snapshot may come back: what it reaches may go.
    repository.forget_deleted_snapshots()?;
    // What is remembered of sources must name nothing that may go now or later.
    repository.drop_scan_pages(&|sequence| marked.trees.contains(sequence))?;
    doubt_runs(repository, plan)?;
    forget_dead(repository, marked, plan)?;
    for (family, live) in [(Family::Trees, &marked.trees), (Family::Data, &marked.chunks)] {
        for run in plan.runs(family) {
            // Between two runs everything is consistent.
            if monitor.cancelled() {
                return Err(GcError::Cancelled);
            }
            delete_run(repository, family, *run, &|sequence| live.contains(sequence))?;
        }
    }
    // What dead processes loaded is deleted by now, or counted as garbage of
    // its file.
    repository.forget_pending_ranges()?;
    Ok(())
}

/// Keeps a record of the runs: once the index has forgotten their dead objects,
/// only this tells a later collection that there is something left to sweep.
fn doubt_runs(repository: &Repository, plan: &Plan) -> Result<(), RepositoryError> {
    let mut batch = Batch::new();
    for family in [Family::Trees, Family::Data] {
        for run in plan.runs(family) {
            let key = PendingRange::key(family, run.first);
            batch.put(Family::Meta, key.as_bytes(), sequence_key(run.last));
        }
    }
    Ok(repository.store().write(&batch, Durability::Synced)?)
}

/// Removes the index entries of dead objects in the runs, durable before any
/// object goes.
fn forget_dead(
    repository: &Repository,
    marked: &Marked,
    plan: &Plan,
) -> Result<(), RepositoryError> {
    let store = repository.store();
    let mut batch = Batch::new();
    let mut outcome = Ok(());
    store.scan(Family::Index, &[], &mut |id, value| {
        let Ok(locator) = Locator::decode(value) else { return ControlFlow::Continue(()) };
        let family = locator.kind.family();
        let live = match family {
            Family::Data => &marked.chunks,
            _ => &marked.trees,
        };
        if !live.contains(locator.sequence) && plan.covers(family, locator.sequence) {
            batch.delete(Family::Index, id);
        }
        if batch.len() >= BATCH_CHANGES {
            outcome = store.write(&std::mem::take(&mut batch), Durability::Buffered);
        }
        if outcome.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    outcome?;
    Ok(store.write(&batch, Durability::Synced)?)
}

/// Deletes the dead objects of one run and rewrites its files. One run at a
/// time: deletion marks that spanned several would draw in the files between.
fn delete_run(
    repository: &Repository,
    family: Family,
    run: Run,
    is_live: &dyn Fn(u64) -> bool,
) -> Result<(), RepositoryError> {
    let store = repository.store();
    let mut batch = Batch::new();
    for sequence in run.first..=run.last {
        if !is_live(sequence) {
            batch.delete(family, sequence_key(sequence));
        }
        if batch.len() >= BATCH_CHANGES {
            store.write(&std::mem::take(&mut batch), Durability::Buffered)?;
        }
    }
    store.write(&batch, Durability::Buffered)?;
    store.reclaim(family, &sequence_key(run.first), &sequence_key(run.last))?;
    Ok(())
}
