//! Taking a snapshot: read the sources, store what is new, commit.
//!
//! Purpose: [`create`]. One thread walks and reads in the natural order, workers
//! hash and compress, and the calling thread stores chunks and builds trees in
//! the order of the walk, which is what makes a mount fast.
//!
//! Invariants:
//! - A symlink is never followed, but for the parents of a named source.
//! - A failure of a source is reported and passed over; a failure of the
//!   repository ends everything. The two are different types.
//! - Nothing is committed after a failure of the repository or a cancellation.
//! - At most [`IN_FLIGHT_BYTES`] of content are held between the stages.
//!
//! Imports: `base`, `chunking`, `compression`, `dag`, `repository`.

mod build;
mod content;
mod error;
mod listing;
mod metadata;
mod mounts;
mod pipeline;
mod source;
mod walk;

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::base::id::SnapshotId;
use crate::base::limits::{MANIFEST_LIST_MAX, MANIFEST_TEXT_BYTES_MAX};
use crate::base::progress::Monitor;
use crate::base::time::Timestamp;
use crate::compression::Compression;
use crate::dag::{Counters, Manifest};
use crate::repository::{Added, Writer};

pub use error::{IngestError, SourceError};

/// Bytes of content held between the stages at most.
pub const IN_FLIGHT_BYTES: usize = 64 << 20;

/// What to take a snapshot of, and what to record about it.
#[derive(Clone, Debug)]
pub struct CreateRequest {
    /// Files and directories, absolute or relative to the working directory.
    pub sources: Vec<PathBuf>,
    /// What relative sources are relative to.
    pub working_directory: PathBuf,
    /// The host's name.
    pub host: String,
    /// The user's name.
    pub user: String,
    /// A text of the user's.
    pub description: String,
    /// Labels of the user's.
    pub tags: Vec<String>,
    /// The snapshot's time.
    pub time: Timestamp,
    /// The program's name and version.
    pub program: String,
    /// The snapshot that this one follows.
    pub parent: Option<SnapshotId>,
    /// Threads that hash and compress.
    pub workers: usize,
    /// How chunks are compressed.
    pub compression: Compression,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct CreateReport {
    /// The snapshot.
    pub id: SnapshotId,
    /// What it holds.
    pub counters: Counters,
    /// What was new.
    pub added: Added,
    /// What was left out on purpose.
    pub notes: Vec<String>,
    /// Messages about source items that could not be read whole, the first of
    /// them.
    pub errors: Vec<String>,
    /// How long it took.
    pub duration: Duration,
}

/// Takes a snapshot.
///
/// # Errors
/// Fails if the repository does, if no source can be read at all, or if it was
/// cancelled; then there is no snapshot.
pub fn create(
    writer: &Writer,
    request: &CreateRequest,
    monitor: &dyn Monitor,
) -> Result<CreateReport, IngestError> {
    let start = Instant::now();
    check_texts(request)?;
    let mut session = writer.begin()?;
    let plan = source::plan(&request.sources, &request.working_directory, monitor)?;
    let outcome = pipeline::run(writer, &mut session, plan, request, monitor)?;
    let added = session.added();
    let counters = Counters {
        added_bytes: added.plain_bytes,
        stored_bytes: added.stored_bytes,
        errors: outcome.errors.count,
        ..outcome.counters
    };
    let sources = request.sources.iter().map(|source| source.as_os_str().as_bytes().to_vec());
    let manifest = Manifest {
        time: request.time,
        finished: Timestamp::now(),
        host: request.host.clone(),
        user: request.user.clone(),
        sources: sources.collect(),
        description: request.description.clone(),
        tags: request.tags.clone(),
        parent: request.parent,
        excludes: Vec::new(),
        program: request.program.clone(),
        counters,
        errors: outcome.errors.messages.clone(),
        root: outcome.root,
    };
    if monitor.cancelled() {
        return Err(IngestError::Cancelled);
    }
    let id = session.commit(&manifest)?;
    Ok(CreateReport {
        id,
        counters,
        added,
        notes: outcome.notes,
        errors: outcome.errors.messages,
        duration: start.elapsed(),
    })
}

/// Refuses texts that the manifest could not hold, before anything is read.
fn check_texts(request: &CreateRequest) -> Result<(), IngestError> {
    let too_long = |what, max| IngestError::TooLong { what, max };
    if request.sources.len() > MANIFEST_LIST_MAX {
        return Err(too_long("the list of sources", MANIFEST_LIST_MAX));
    }
    if request.tags.len() > MANIFEST_LIST_MAX {
        return Err(too_long("the list of tags", MANIFEST_LIST_MAX));
    }
    let label_max = crate::base::limits::LABEL_BYTES_MAX;
    for (what, text, max) in [
        ("the description", &request.description, MANIFEST_TEXT_BYTES_MAX),
        ("the host's name", &request.host, label_max),
        ("the user's name", &request.user, label_max),
    ] {
        if text.len() > max {
            return Err(too_long(what, max));
        }
    }
    if request.tags.iter().any(|tag| tag.len() > MANIFEST_TEXT_BYTES_MAX) {
        return Err(too_long("a tag", MANIFEST_TEXT_BYTES_MAX));
    }
    Ok(())
}
