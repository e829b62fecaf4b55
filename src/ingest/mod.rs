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
//! - Nothing is committed after a failure of the repository, of a stream, or a
//!   cancellation.
//! - An item counts as unchanged only if all that its file system says of it is
//!   what was said when it was read, and that was no moment in which a change
//!   could hide. Without the records of the last time everything is read.
//! - At most [`pipeline::IN_FLIGHT_BYTES`] of content are held between the
//!   stages.
//!
//! Imports: `base`, `chunking`, `compression`, `dag`, `repository`.

mod build;
mod content;
mod error;
mod estimate;
mod fingerprint;
mod item;
mod listing;
mod location;
mod metadata;
mod pipeline;
mod rate;
mod record;
mod request;
mod selection;
mod source;
mod stream;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod walk;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use rustix::fs::CWD;

use crate::base::id::SnapshotId;
use crate::base::mounts::PseudoFileSystems;
use crate::base::progress::Monitor;
use crate::base::time::Timestamp;
use crate::dag::{Counters, Manifest, Node, TreeRef};
use crate::ingest::build::Tally;
use crate::ingest::error::SourceErrors;
use crate::ingest::estimate::Estimate;
use crate::ingest::fingerprint::Fingerprinter;
use crate::ingest::item::ItemReader;
use crate::ingest::metadata::Owners;
use crate::ingest::pipeline::{Emitter, Outcome, Stopped};
use crate::ingest::rate::RateLimiter;
use crate::ingest::record::Recorder;
use crate::ingest::selection::Selection;
use crate::ingest::source::Place;
use crate::ingest::walk::{WalkContext, Walked, Walker};
use crate::local::Status;
use crate::repository::{Repository, Session, Writer};

pub use error::{IngestError, SourceError};
pub use fingerprint::Detection;
pub use request::{Changes, CreateReport, CreateRequest, Input};
pub use selection::{IGNORE_FILE, Marker, SelectionOptions};
pub use stream::{StreamRequest, StreamSource};

/// Bytes of small files that are joined behind a snapshot at most: a second on a
/// slow disk.
const MERGE_BYTES: u64 = 64 << 20;

/// Takes a snapshot.
///
/// # Errors
/// Fails if the repository does, if no source can be read at all, if a stream
/// does not come to a good end, or if it was cancelled; then there is no
/// snapshot.
pub fn create(
    writer: &Writer,
    request: &CreateRequest,
    monitor: &dyn Monitor,
) -> Result<CreateReport, IngestError> {
    request.check()?;
    match Creation::new(writer, Some(writer), request, monitor)?.run() {
        Err(IngestError::Stale(detail)) => {
            monitor.warn(&format!(
                "What is remembered of the sources does not fit the repository ({detail}); \
                 everything is read again"
            ));
            writer.drop_scan_pages(&|_| false)?;
            Creation::new(writer, Some(writer), request, monitor)?.run()
        }
        outcome => outcome,
    }
}

/// Reads and counts what [`create`] would, and stores nothing.
///
/// # Errors
/// As [`create`].
pub fn dry_run(
    repository: &Repository,
    request: &CreateRequest,
    monitor: &dyn Monitor,
) -> Result<CreateReport, IngestError> {
    request.check()?;
    match Creation::new(repository, None, request, monitor)?.run() {
        Err(IngestError::Stale(_)) => {
            let detection = Detection { force: true, ..request.detection };
            let request = CreateRequest { detection, ..request.clone() };
            Creation::new(repository, None, &request, monitor)?.run()
        }
        outcome => outcome,
    }
}

/// One attempt at a snapshot.
struct Creation<'a> {
    repository: &'a Repository,
    /// None in a dry run.
    writer: Option<&'a Writer>,
    request: &'a CreateRequest,
    monitor: &'a dyn Monitor,
    selection: Selection,
    errors: SourceErrors,
    pseudo: PseudoFileSystems,
    parent: Option<(SnapshotId, Manifest)>,
    start: Instant,
}

impl<'a> Creation<'a> {
    fn new(
        repository: &'a Repository,
        writer: Option<&'a Writer>,
        request: &'a CreateRequest,
        monitor: &'a dyn Monitor,
    ) -> Result<Self, IngestError> {
        Ok(Self {
            repository,
            writer,
            request,
            monitor,
            selection: Selection::new(&request.selection)?,
            errors: SourceErrors::default(),
            pseudo: PseudoFileSystems::read(),
            parent: request.find_parent(repository)?,
            start: Instant::now(),
        })
    }

    fn run(&self) -> Result<CreateReport, IngestError> {
        let mut session = match self.writer {
            Some(writer) => writer.begin()?,
            None => self.repository.begin_dry_run()?,
        };
        let outcome = match self.read(&mut session) {
            Err(IngestError::Cancelled) => {
                // What was read need not be read again. If it cannot be kept,
                // nothing is lost but time.
                let _ = session.checkpoint();
                return Err(IngestError::Cancelled);
            }
            outcome => outcome?,
        };
        let added = session.added();
        let Outcome { root, tally, walked } = outcome;
        let counters = self.counters(&root, &session);
        let manifest = self.manifest(root, counters);
        if self.monitor.cancelled() {
            return Err(IngestError::Cancelled);
        }
        self.monitor.phase("committing");
        let id = match self.writer {
            Some(_) => Some(session.commit(&manifest)?),
            None => None,
        };
        if let Some(Err(error)) = self.writer.map(|writer| writer.merge_small_files(MERGE_BYTES)) {
            self.monitor.warn(&format!("The snapshot is saved, but tidying up failed: {error}"));
        }
        Ok(CreateReport {
            id,
            parent: manifest.parent,
            time: manifest.time,
            counters,
            changes: changes(&counters, &tally),
            excluded: walked.excluded,
            added,
            notes: walked.notes,
            errors: self.errors.messages(),
            duration: self.start.elapsed(),
        })
    }

    /// Reads all input into the session.
    fn read(&self, session: &mut Session<'_>) -> Result<Outcome<Walked>, IngestError> {
        let request = self.request;
        let reader = ItemReader {
            repository: self.repository,
            monitor: self.monitor,
            compression: request.compression,
            chunker: self.repository.chunker(),
            owners: Owners::default(),
            fingerprinter: Fingerprinter {
                detection: request.detection,
                with_atime: request.with_atime,
                now: Timestamp::now(),
            },
            rate: RateLimiter::new(request.bytes_per_second),
        };
        let parent = self.parent.as_ref().and_then(|(_, parent)| parent.tree());
        let previous: Option<TreeRef> = parent.copied();
        let (errors, workers) = (&self.errors, request.read_concurrency);
        match &request.input {
            Input::Stream(stream) => {
                pipeline::run(&reader, session, previous, errors, workers, |emitter| {
                    stream::produce(stream, &reader, emitter).map(|()| Walked::default())
                })
            }
            Input::Files { sources, working_directory } => {
                let root = source::plan(sources, working_directory, errors, self.monitor)?;
                let done = AtomicBool::new(false);
                thread::scope(|scope| {
                    self.tell_total(scope, &root, &done);
                    let outcome =
                        pipeline::run(&reader, session, previous, errors, workers, |emitter| {
                            self.walk(root, &reader, emitter)
                        });
                    done.store(true, Ordering::Relaxed);
                    outcome
                })
            }
        }
    }

    fn walk(
        &self,
        root: Place,
        reader: &ItemReader<'_>,
        emitter: Emitter<'_>,
    ) -> Result<Walked, IngestError> {
        let context = self.walk_context(self.monitor, &self.errors);
        let keys = reader.fingerprinter.context(&self.request.host);
        let recorder = Recorder::new(emitter, reader, &self.errors, &self.pseudo, keys);
        let mut failure = None;
        let walked = Walker::new(&context, recorder).run(root, &mut |recorder| {
            failure = recorder.into_failure();
        });
        match (walked, failure) {
            (Ok(walked), _) => Ok(walked),
            (Err(Stopped), Some(error)) => Err(error.into()),
            (Err(Stopped), None) => Err(IngestError::Internal("the walk ended early")),
        }
    }

    fn walk_context<'b>(
        &'b self,
        monitor: &'b dyn Monitor,
        errors: &'b SourceErrors,
    ) -> WalkContext<'b> {
        let repository = Status::of_followed(CWD, self.repository.path());
        WalkContext {
            monitor,
            errors,
            selection: &self.selection,
            repository: repository.ok().map(|status| status.identity()),
            pseudo: &self.pseudo,
        }
    }

    /// Tells the monitor how much there is to do: as much as in the parent, or
    /// else what a walk beside the real one counts.
    fn tell_total<'scope, 'env>(
        &'env self,
        scope: &'scope thread::Scope<'scope, 'env>,
        root: &Place,
        done: &'env AtomicBool,
    ) {
        if !self.monitor.wants_total() {
            return;
        }
        if let Some((_, parent)) = &self.parent {
            let counters = parent.counters;
            self.monitor.total(counters.files + counters.dirs, counters.bytes);
            return;
        }
        let root = root.clone();
        scope.spawn(move || {
            let monitor = Aside { monitor: self.monitor, done };
            let errors = SourceErrors::default();
            let context = self.walk_context(&monitor, &errors);
            let estimate = Estimate::new(self.monitor);
            // Cut short it has said what it knows.
            let _ = Walker::new(&context, estimate).run(root, &mut |estimate| estimate.tell());
        });
    }

    fn counters(&self, root: &Node, session: &Session<'_>) -> Counters {
        let added = session.added();
        let totals = match &root.kind {
            crate::dag::Kind::Directory(tree) => tree.totals,
            _ => Default::default(),
        };
        Counters {
            files: totals.files,
            dirs: totals.directories,
            bytes: totals.bytes,
            added_bytes: added.plain_bytes,
            stored_bytes: added.stored_bytes,
            errors: self.errors.count(),
        }
    }

    fn manifest(&self, root: Node, counters: Counters) -> Manifest {
        let request = self.request;
        Manifest {
            time: request.time,
            finished: Timestamp::now(),
            host: request.host.clone(),
            user: request.user.clone(),
            sources: request.source_names.clone(),
            description: request.description.clone(),
            tags: request.tags.clone(),
            parent: self.parent.as_ref().map(|(id, _)| *id),
            excludes: request.exclude_texts(),
            program: request.program.clone(),
            counters,
            errors: self.errors.messages(),
            root,
        }
    }
}

fn changes(counters: &Counters, tally: &Tally) -> Changes {
    let unmodified = |all: u64, new: u64, changed: u64| all.saturating_sub(new + changed);
    Changes {
        files_new: tally.files_new,
        files_changed: tally.files_changed,
        files_unmodified: unmodified(counters.files, tally.files_new, tally.files_changed),
        dirs_new: tally.dirs_new,
        dirs_changed: tally.dirs_changed,
        dirs_unmodified: unmodified(counters.dirs, tally.dirs_new, tally.dirs_changed),
        files_read: tally.files_read,
        bytes_read: tally.bytes_read,
    }
}

/// A monitor of work beside the real one: silent, and over with it.
struct Aside<'a> {
    monitor: &'a dyn Monitor,
    done: &'a AtomicBool,
}

impl Monitor for Aside<'_> {
    fn cancelled(&self) -> bool {
        self.done.load(Ordering::Relaxed) || self.monitor.cancelled()
    }
}
