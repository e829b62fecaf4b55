//! Repairing: making all that is undamaged readable again, and letting the next
//! `create` heal the rest.
//!
//! Purpose: [`repair`] reads every object, makes the index say what is so, sets
//! damaged manifests aside, and gives each snapshot that lost something a sibling
//! without it. (A store whose own files are damaged was rebuilt before, by
//! `repository::Rebuild`.)
//!
//! Invariants:
//! - Nothing is removed silently: each entry and record that goes is named. A file of
//!   the store goes only when all that is good in it is durable elsewhere.
//! - What is remembered of sources is forgotten first, durably: a `create` that
//!   ran after a repair was cut short would else take over trees unread whose
//!   content is lost.
//! - Entries are added before others are removed, and snapshots come last. Each
//!   step can be repeated: a repair that was killed is run again.
//! - A damaged snapshot stays. When its content is stored again it is whole.
//!
//! Imports: `base`, `dag`, `repository`, `store`.

mod files;
mod index;
mod manifests;
mod sibling;

#[cfg(test)]
mod tests;

use crate::base::id::SnapshotId;
use crate::base::progress::Monitor;
use crate::repository::{ObjectKind, RepositoryError, Writer};
use crate::store::StoreError;

/// What the record of a snapshot is called among what was removed.
const SNAPSHOT: &str = "snapshot";

/// What a repair is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct RepairOptions {
    /// Only tell what would be done.
    pub dry_run: bool,
}

/// What was lost with an entry of the index that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// What the entry was of: a kind of object, or a record.
    pub kind: &'static str,
    /// Its id, or its key.
    pub id: String,
    /// Why it was removed.
    pub detail: String,
}

/// A snapshot that cannot be read whole any more, and its repaired sibling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hurt {
    /// The damaged snapshot, which stays.
    pub snapshot: SnapshotId,
    /// The sibling without what was lost; none in a dry run, or if nothing is
    /// left.
    pub sibling: Option<SnapshotId>,
    /// The first of the paths that the sibling lacks.
    pub left_out: Vec<Vec<u8>>,
    /// How many paths it lacks.
    pub left_out_count: u64,
}

/// What a repair found and did.
#[derive(Clone, Debug, Default)]
pub struct RepairReport {
    /// Objects that were read and are good.
    pub good_objects: u64,
    /// Objects that the index had lost or misplaced and knows again.
    pub restored: u64,
    /// Entries and records that were removed, or set aside.
    pub removed: Vec<Removed>,
    /// Counters that were put right.
    pub counters: u64,
    /// Files of the store that were damaged: what is good in them was stored again.
    pub replaced_files: u64,
    /// Snapshots made of trees that lost theirs.
    pub recovered: Vec<SnapshotId>,
    /// Snapshots that cannot be read whole.
    pub hurt: Vec<Hurt>,
    /// Key files that cannot be used, and why: nothing here mends them.
    pub damaged_keys: Vec<(String, String)>,
}

impl RepairReport {
    /// Whether there was nothing to do.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.restored == 0
            && self.removed.is_empty()
            && self.counters == 0
            && self.replaced_files == 0
            && self.recovered.is_empty()
            && self.hurt.is_empty()
    }

    /// How many snapshots are lost with their records.
    #[must_use]
    pub fn lost_snapshots(&self) -> u64 {
        self.removed.iter().filter(|removed| removed.kind == SNAPSHOT).count() as u64
    }

    /// Whether no snapshot lost anything.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.hurt.is_empty() && self.lost_snapshots() == 0
    }
}

/// Repairs a repository whose store can be read.
///
/// `lost_snapshots` tells that records of snapshots were lost with files of the
/// store: then trees that no other tree names become snapshots again.
///
/// # Errors
/// Fails if the store cannot be read or written, or if it was cancelled. Run
/// again, it begins anew and loses nothing.
pub fn repair(
    writer: &Writer,
    options: RepairOptions,
    lost_snapshots: bool,
    monitor: &dyn Monitor,
) -> Result<RepairReport, RepairError> {
    let damaged_keys = writer.damaged_keys()?;
    let mut report = RepairReport { damaged_keys, ..RepairReport::default() };
    let mut objects = index::read(writer, options.dry_run, monitor)?;
    monitor.begin("index", 0, 0);
    index::put_right(writer, &objects, &mut report, monitor)?;
    monitor.begin("replacing damaged files", 0, 0);
    files::replace(writer, &mut objects, options.dry_run, &mut report, monitor)?;
    let set_aside = manifests::set_aside(writer, options.dry_run, &mut report)?;
    monitor.begin("snapshots", 0, 0);
    let lost_trees = sibling::make(writer, &objects, None, options.dry_run, &mut report, monitor)?;
    if lost_snapshots || lost_trees || set_aside > 0 {
        monitor.begin("looking for trees without a snapshot", 0, 0);
        manifests::recover(writer, &objects, options.dry_run, &mut report, monitor)?;
        let recovered = report.recovered.clone();
        let only = Some(recovered.as_slice());
        sibling::make(writer, &objects, only, options.dry_run, &mut report, monitor)?;
    }
    if !options.dry_run {
        writer.close()?;
    }
    Ok(report)
}

/// Why a repair ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// The repository failed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// It was cancelled.
    #[error("Cancelled; `icecore repair` begins anew and loses nothing")]
    Cancelled,
}

impl From<StoreError> for RepairError {
    fn from(error: StoreError) -> Self {
        Self::Repository(error.into())
    }
}

/// Ends a repair that was cancelled.
fn go_on(monitor: &dyn Monitor) -> Result<(), RepairError> {
    if monitor.cancelled() { Err(RepairError::Cancelled) } else { Ok(()) }
}

/// The kind and id of an object.
type ObjectName = (ObjectKind, [u8; 32]);
