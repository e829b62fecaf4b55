//! The stages of a snapshot and what passes between them.
//!
//! ```text
//! walk (1 thread) --events, in order--> build (calling thread)
//!       `--jobs--> workers --results--^
//! ```
//!
//! The walker puts a chunk's job into the workers' queue and a ticket for its
//! result into the events. The builder takes the events in order and waits for
//! each ticket, so the order of the walk is the order of the store.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::base::id::ChunkId;
use crate::base::name::EntryName;
use crate::base::progress::Monitor;
use crate::compression::Compression;
use crate::dag::{Counters, Node};
use crate::ingest::build::Builder;
use crate::ingest::error::{IngestError, SourceErrors};
use crate::ingest::metadata::Metadata;
use crate::ingest::source::Plan;
use crate::ingest::walk::{Walk, Walker};
use crate::ingest::{CreateRequest, IN_FLIGHT_BYTES};
use crate::repository::{PreparedChunk, Repository, RepositoryError, Session, Writer, envelope};

/// Events between walker and builder at most.
const EVENTS_MAX: usize = 4096;

/// Names a file within the source: device and inode number.
pub(crate) type Identity = (u64, u64);

/// What the walker met, in order.
pub(crate) enum Event {
    /// A directory begins; the root has no name.
    Enter(Option<EntryName>, Metadata),
    /// It ends.
    Leave,
    /// An item that needs no reading.
    Item(EntryName, Node),
    /// A file begins whose segments follow. Given an identity, its content is
    /// remembered for the links to come.
    FileStart(EntryName, Metadata, Option<Identity>),
    /// The next hole of the file, in bytes.
    Hole(u64),
    /// The next chunk of the file.
    Chunk(Ticket),
    /// The file ends.
    FileEnd,
    /// The file could not be read to its end and is left out.
    FileFailed,
    /// Another link to a file that was read before.
    Link(EntryName, Metadata, Identity),
}

/// A chunk that the workers prepare.
pub(crate) struct Ticket {
    /// Its plain bytes count against what is in flight.
    pub(crate) bytes: usize,
    /// Where the result comes out.
    pub(crate) result: Receiver<Result<Prepared, RepositoryError>>,
}

/// A prepared chunk and the bytes that it came from.
pub(crate) struct Prepared {
    pub(crate) chunk: PreparedChunk,
    pub(crate) plain: Vec<u8>,
}

struct Job {
    plain: Vec<u8>,
    result: Sender<Result<Prepared, RepositoryError>>,
}

/// The pipeline ended early; whoever ended it says why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopped;

/// What came out of all stages.
pub(crate) struct Outcome {
    pub(crate) root: Node,
    pub(crate) counters: Counters,
    pub(crate) errors: SourceErrors,
    pub(crate) notes: Vec<String>,
}

/// Runs all stages to their end.
pub(crate) fn run(
    writer: &Writer,
    session: &mut Session<'_>,
    plan: Plan,
    request: &CreateRequest,
    monitor: &dyn Monitor,
) -> Result<Outcome, IngestError> {
    let (job_sender, jobs) = unbounded();
    let (event_sender, events) = bounded(EVENTS_MAX);
    let budget = Budget::new(IN_FLIGHT_BYTES);
    let emitter = Emitter { jobs: job_sender, events: event_sender, budget: &budget };
    thread::scope(|scope| {
        for _ in 0..request.workers.max(1) {
            let jobs = jobs.clone();
            scope.spawn(move || work(writer, request.compression, &jobs));
        }
        drop(jobs);
        let walker = Walker::new(writer, plan, emitter, monitor);
        let walking = scope.spawn(move || walker.run());
        let built = Builder::new(session, &budget, monitor).run(&events);
        // Whatever the outcome, nobody must wait for this thread any more.
        budget.stop();
        drop(events);
        let walked = walking.join().map_err(|_| IngestError::Internal("the walker panicked"))?;
        if monitor.cancelled() {
            return Err(IngestError::Cancelled);
        }
        finish(built?, walked)
    })
}

fn finish(
    built: Option<(Node, Counters)>,
    walked: Result<Walk, Stopped>,
) -> Result<Outcome, IngestError> {
    let walk = walked.map_err(|Stopped| IngestError::Internal("the walk ended early"))?;
    let (root, counters) = built.ok_or(IngestError::Internal("the tree has no root"))?;
    Ok(Outcome { root, counters, errors: walk.errors, notes: walk.notes })
}

/// Hashes, looks up and seals chunks until there are no more.
fn work(repository: &Repository, compression: Compression, jobs: &Receiver<Job>) {
    for Job { plain, result } in jobs {
        let prepared = prepare(repository, compression, plain);
        // Nobody waits for it if the pipeline has stopped.
        let _ = result.send(prepared);
    }
}

fn prepare(
    repository: &Repository,
    compression: Compression,
    plain: Vec<u8>,
) -> Result<Prepared, RepositoryError> {
    let id = ChunkId::of(&plain);
    // Chunks are bounded far below 4 GiB.
    let bytes = u32::try_from(plain.len()).unwrap_or(u32::MAX);
    let chunk = match repository.find_chunk(&id)? {
        Some(hint) => PreparedChunk::Known { id, bytes, hint },
        None => PreparedChunk::New { id, bytes, envelope: envelope::seal(&plain, compression) },
    };
    Ok(Prepared { chunk, plain })
}

/// The walker's end of the pipeline.
pub(crate) struct Emitter<'a> {
    jobs: Sender<Job>,
    events: Sender<Event>,
    budget: &'a Budget,
}

impl Emitter<'_> {
    /// Passes an event on.
    pub(crate) fn event(&self, event: Event) -> Result<(), Stopped> {
        self.events.send(event).map_err(|_| Stopped)
    }

    /// Passes a chunk of the current file on, once there is room for it.
    pub(crate) fn chunk(&self, plain: Vec<u8>) -> Result<(), Stopped> {
        let bytes = plain.len();
        self.budget.take(bytes)?;
        let (sender, result) = bounded(1);
        self.jobs.send(Job { plain, result: sender }).map_err(|_| Stopped)?;
        self.event(Event::Chunk(Ticket { bytes, result }))
    }
}

/// Bounds the bytes between the stages.
pub(crate) struct Budget {
    free: Mutex<usize>,
    freed: Condvar,
    stopped: AtomicBool,
}

impl Budget {
    fn new(bytes: usize) -> Self {
        Self { free: Mutex::new(bytes), freed: Condvar::new(), stopped: AtomicBool::new(false) }
    }

    /// Waits until that many bytes are free and takes them. A single chunk is
    /// far smaller than the budget.
    fn take(&self, bytes: usize) -> Result<(), Stopped> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free < bytes && !self.stopped.load(Ordering::Acquire) {
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        if self.stopped.load(Ordering::Acquire) {
            return Err(Stopped);
        }
        *free -= bytes;
        Ok(())
    }

    /// Gives bytes back.
    pub(crate) fn give(&self, bytes: usize) {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) += bytes;
        self.freed.notify_one();
    }

    fn stop(&self) {
        // Under the lock, so that nobody misses it between looking and waiting.
        let _free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        self.stopped.store(true, Ordering::Release);
        self.freed.notify_all();
    }
}
