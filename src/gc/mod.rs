//! Collecting garbage: what no snapshot and no live lease reaches.
//!
//! Purpose: [`collect`] marks every object that is reachable, drops the files of
//! the bulk-loaded families in which all is dead, and rewrites only those in
//! which enough is. Then it joins small files.
//!
//! Invariants (see `docs/gc.md`):
//! - Roots are the snapshots and what live leases name, read under the lease
//!   gate by the one writer; nothing else can appear while it runs.
//! - A tree that cannot be read ends the collection before anything is deleted.
//! - An index entry is removed before the object it names, so a dedup hit never
//!   promises an object that is gone.
//! - Garbage in files that are not rewritten stays indexed: it may be used again.
//! - Memory: two bits for each sequence number ever given.
//! - No clock decides anything.
//!
//! Imports: `base`, `dag`, `repository`, `store`.

mod limit;
mod mark;
#[cfg(test)]
mod model;
mod plan;
mod sweep;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use crate::base::progress::Monitor;
pub(crate) use crate::base::sequences as bitmap;
use crate::gc::sweep::{ORDER, Step};
use crate::repository::{LiveLeases, Repository, RepositoryError, Writer};
use crate::store::Family;

pub use limit::MaxUnused;

/// Objects between two looks at whether the work was cancelled.
const CANCEL_INTERVAL: u64 = 1024;
/// Bytes of small files that are joined at once.
const MERGE_BYTES_MAX: u64 = 256 << 20;

/// What a collection is asked to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct GcOptions {
    /// How much garbage may stay where it is.
    pub max_unused: MaxUnused,
    /// Only tell what would be done.
    pub dry_run: bool,
}

/// What a collection found and did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Snapshots that are roots.
    pub snapshots: u64,
    /// Deleted snapshots that a reader still uses.
    pub leased_snapshots: u64,
    /// Deleted snapshots that can no longer be had back.
    pub forgotten_snapshots: u64,
    /// Chunks that are reachable.
    pub live_chunks: u64,
    /// Trees and pages of chunk lists that are reachable.
    pub live_trees: u64,
    /// Chunks removed.
    pub deleted_chunks: u64,
    /// Trees and pages of chunk lists removed.
    pub deleted_trees: u64,
    /// Chunks that snapshots name and the index lacks: damage.
    pub missing_chunks: u64,
    /// Files that were garbage altogether, removed whole.
    pub dropped_files: u64,
    /// Files rewritten for their garbage.
    pub rewritten_files: u64,
    /// Small files joined into larger ones.
    pub joined_files: u64,
    /// Bytes of the files before.
    pub bytes_before: u64,
    /// Bytes given back to the file system (in a dry run about that many).
    pub freed_bytes: u64,
    /// Bytes written to free them.
    pub rewritten_bytes: u64,
    /// Bytes written to join small files.
    pub joined_bytes: u64,
    /// Garbage left in place.
    pub unused_bytes: u64,
}

/// Collects garbage.
///
/// # Errors
/// Fails if a reachable tree or the store cannot be read (then nothing was
/// deleted), if the store cannot be written, or if it was cancelled. Run again,
/// it goes on where it stood.
pub fn collect(
    writer: &Writer,
    options: GcOptions,
    monitor: &dyn Monitor,
) -> Result<GcReport, GcError> {
    let leases = LiveLeases::read(writer.layout())?;
    let mut report = collect_beside(writer, &leases, options, &ORDER, monitor)?;
    if !options.dry_run {
        writer.close()?;
        report.freed_bytes = report.bytes_before.saturating_sub(plan::total_bytes(writer)?);
    }
    Ok(report)
}

/// Collects what neither snapshots nor these leases reach.
fn collect_beside(
    repository: &Repository,
    leases: &LiveLeases,
    options: GcOptions,
    order: &[Step],
    monitor: &dyn Monitor,
) -> Result<GcReport, GcError> {
    let marked = mark::mark(repository, leases, monitor)?;
    let plan = plan::plan(repository, &marked, options.max_unused, monitor)?;
    let mut report = marked.report();
    plan.add_to(&mut report);
    report.forgotten_snapshots = deleted_snapshots(repository)?;
    if !options.dry_run {
        sweep::sweep(repository, &marked, &plan, order, monitor)?;
    }
    join_small_files(repository, options, &mut report, monitor)?;
    Ok(report)
}

/// Joins small files, those that the sweep left among them.
fn join_small_files(
    repository: &Repository,
    options: GcOptions,
    report: &mut GcReport,
    monitor: &dyn Monitor,
) -> Result<(), GcError> {
    let merges = repository.merges(MERGE_BYTES_MAX)?;
    let (files, bytes) = merges
        .iter()
        .fold((0, 0), |(files, bytes), merge| (files + merge.files, bytes + merge.bytes));
    report.joined_files = files;
    report.joined_bytes = bytes;
    if options.dry_run || merges.is_empty() {
        return Ok(());
    }
    monitor.begin("joining small files", files, bytes);
    for merge in &merges {
        if monitor.cancelled() {
            return Err(GcError::Cancelled);
        }
        repository.merge(merge)?;
        monitor.advance(merge.files, merge.bytes);
    }
    Ok(())
}

/// How many deleted snapshots can still be had back.
fn deleted_snapshots(repository: &Repository) -> Result<u64, RepositoryError> {
    let prefix = b"deleted/";
    let mut count = 0;
    repository.store().scan(Family::Meta, prefix, &mut |key, _| {
        if !key.starts_with(prefix) {
            return ControlFlow::Break(());
        }
        count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(count)
}

/// Why a collection ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GcError {
    /// The repository failed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A reachable tree cannot be read, so what it names is unknown.
    #[error("Nothing was collected, since snapshot {snapshot} cannot be read whole: {source}")]
    Unreadable {
        /// The snapshot's short id.
        snapshot: String,
        /// Why.
        source: RepositoryError,
    },
    /// It was cancelled.
    #[error("Cancelled; what was deleted so far was garbage, and `icecore gc` goes on from there")]
    Cancelled,
}

impl From<crate::store::StoreError> for GcError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Repository(error.into())
    }
}
