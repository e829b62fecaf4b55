//! Checking: whether everything that the snapshots name is there and is what it
//! was, and if not, which files of which snapshots are hurt.
//!
//! Purpose: [`check`] looks at the engine's files, at every record of the small
//! families, at every entry of the index and at every tree that a snapshot
//! reaches; on request it reads the content too, in the order in which it lies.
//! [`check_files`] looks at a stranger's repository before anything opens it.
//!
//! Invariants:
//! - It is a reader: it blocks nobody. What it reports was read a second time,
//!   caught up with the writer, under leases on all snapshots: a collection or a
//!   `create` beside it raises no alarm.
//! - An object is read at most once by the walk, however many snapshots share it.
//! - Memory: bits for each sequence number, one page of entries for each level,
//!   and a bounded list of what is damaged; see [`OBJECTS_MAX`] and
//!   [`PATHS_MAX`]. What exceeds them is counted.
//!
//! Imports: `base`, `dag`, `repository`, `store`.

mod findings;
mod foreign;
mod index;
mod read;
mod scope;
mod trace;
mod walk;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use crate::base::id::SnapshotId;
use crate::base::progress::Monitor;
use crate::repository::{Catalog, Repository, RepositoryError};
use crate::store::StoreError;

pub use findings::{Damage, DamagedFile, OBJECTS_MAX, PATHS_MAX, Subject};
pub use foreign::check_files;
pub use scope::ReadScope;

use findings::Findings;

/// What a check is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct CheckOptions {
    /// How much content is read.
    pub scope: ReadScope,
    /// After how long no more content is read.
    pub max_duration: Option<Duration>,
}

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    /// Snapshots that were checked.
    pub snapshots: u64,
    /// Trees and pages of chunk lists that they reach.
    pub trees: u64,
    /// Entries of the index.
    pub index_entries: u64,
    /// Chunks whose content was read.
    pub read_chunks: u64,
    /// Bytes of them as stored.
    pub read_bytes: u64,
    /// Bytes of all chunks as stored.
    pub data_bytes: u64,
    /// Whether reading ended because its time was over.
    pub out_of_time: bool,
    /// What is damaged.
    pub damages: Vec<Damage>,
    /// Damaged things that are only counted.
    pub omitted: u64,
    /// Snapshots that cannot be read back whole.
    pub damaged_snapshots: Vec<SnapshotId>,
}

impl CheckReport {
    /// Whether nothing is damaged.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.damages.is_empty() && self.omitted == 0
    }
}

/// Checks what `catalog` lists and all that the index names. The snapshots must
/// be leased, or nobody else may write.
///
/// # Errors
/// Fails if the store cannot be read for another reason than damage, or if it
/// was cancelled.
pub fn check(
    repository: &Repository,
    catalog: Catalog,
    options: CheckOptions,
    monitor: &dyn Monitor,
) -> Result<CheckReport, CheckError> {
    let mut findings = Findings::default();
    for (name, detail) in repository.damaged_keys()? {
        findings.add(Subject::KeyFile(name), detail);
    }
    for fault in repository.store().faults() {
        let detail = format!("{} (of the {})", fault.detail, family_text(&fault.family));
        findings.add(Subject::File(fault.file.clone()), detail);
    }
    for error in &catalog.damaged {
        findings.add_error(error);
    }
    let records = match repository.damaged_records() {
        // The family itself is looked at below.
        Err(error) if error.is_loss() => Ok(Vec::new()),
        records => records,
    };
    for record in records? {
        findings.add(Subject::Record(format!("{} {}", record.kind, record.id)), record.detail);
    }
    let deadline = options.max_duration.and_then(|bound| Instant::now().checked_add(bound));
    let read = read::read(repository, options.scope, deadline, monitor)?;
    monitor.begin("index", 0, 0);
    let index_entries = index::check(repository, &read, &mut findings, monitor)?;
    monitor.begin("trees", 0, 0);
    let walked = walk::walk(repository, &catalog.snapshots, &mut findings, monitor)?;
    for (family, error) in &read.met {
        // What hurts an object is named by that.
        if !findings.has_object_in(*family) {
            findings.add(Subject::Record(family.name().to_owned()), error.to_string());
        }
    }
    monitor.begin("finding files", 0, 0);
    trace::trace(repository, &catalog.snapshots, &walked, &mut findings, monitor)?;
    let (damages, omitted) = findings.into_damages();
    Ok(CheckReport {
        snapshots: catalog.snapshots.len() as u64,
        trees: walked.visited.len(),
        index_entries,
        read_chunks: read.chunks,
        read_bytes: read.bytes,
        data_bytes: read.data_bytes,
        out_of_time: read.out_of_time,
        damages,
        omitted,
        damaged_snapshots: walked.damaged_snapshots,
    })
}

fn family_text(family: &str) -> String {
    format!("family `{family}`")
}

/// Why a check ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The repository failed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// It was cancelled.
    #[error("Cancelled; what was checked so far says nothing of the rest")]
    Cancelled,
}

impl From<StoreError> for CheckError {
    fn from(error: StoreError) -> Self {
        Self::Repository(error.into())
    }
}

/// Ends a check that was cancelled.
fn go_on(monitor: &dyn Monitor) -> Result<(), CheckError> {
    if monitor.cancelled() { Err(CheckError::Cancelled) } else { Ok(()) }
}
