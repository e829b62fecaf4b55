//! Collecting garbage: what no snapshot and no live lease reaches.
//!
//! Purpose: [`collect`] marks every object that is reachable, then rewrites only
//! those files of the bulk-loaded families in which enough is dead.
//!
//! Invariants (see `docs/gc.md`):
//! - Roots are the snapshots and what live leases name, read under the lease
//!   gate by the one writer; nothing else can appear while it runs.
//! - A tree that cannot be read ends the collection before anything is deleted.
//! - An index entry is removed before the object it names, so a dedup hit never
//!   promises an object that is gone.
//! - Garbage in files that are not rewritten stays indexed: it may be used again.
//! - Memory: one bit for each sequence number ever given.
//! - No clock decides anything.
//!
//! Imports: `base`, `dag`, `repository`, `store`.

mod bitmap;
mod mark;
mod plan;
mod sweep;
#[cfg(test)]
mod tests;

use crate::base::progress::Monitor;
use crate::repository::{LiveLeases, RepositoryError, Writer};

/// What a collection is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct GcOptions {
    /// The share of a file, in percent, that may be garbage before the file is
    /// rewritten.
    pub max_unused_percent: f64,
    /// Only tell what would be done.
    pub dry_run: bool,
}

/// What a collection found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Snapshots that are roots.
    pub snapshots: u64,
    /// Deleted snapshots that a reader still uses.
    pub leased_snapshots: u64,
    /// Chunks that are reachable.
    pub live_chunks: u64,
    /// Trees and pages of chunk lists that are reachable.
    pub live_trees: u64,
    /// Chunks removed (or to be removed).
    pub deleted_chunks: u64,
    /// Trees and pages of chunk lists removed (or to be removed).
    pub deleted_trees: u64,
    /// Chunks that snapshots name and the index lacks: damage.
    pub missing_chunks: u64,
    /// Bytes of the files before.
    pub bytes_before: u64,
    /// Bytes given back to the file system (or about that many).
    pub freed_bytes: u64,
    /// Bytes rewritten to free them (or to be rewritten).
    pub rewritten_bytes: u64,
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
    monitor.phase("marking");
    let marked = mark::mark(writer, &leases, monitor)?;
    monitor.phase("weighing");
    let plan = plan::plan(writer, &marked, options.max_unused_percent)?;
    let mut report = marked.report();
    plan.add_to(&mut report);
    if options.dry_run {
        return Ok(report);
    }
    monitor.phase("sweeping");
    sweep::sweep(writer, &marked, &plan, monitor)?;
    writer.close()?;
    report.freed_bytes = report.bytes_before.saturating_sub(plan::total_bytes(writer)?);
    Ok(report)
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
