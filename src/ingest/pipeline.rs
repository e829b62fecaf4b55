//! The stages of a snapshot and what passes between them.
//!
//! ```text
//! walk (1 thread) --events, in order--> build (calling thread)
//!       `--jobs--> workers --results--^
//! ```
//!
//! The walker puts an item's or a chunk's job into the workers' queue and a
//! ticket for its result into the events. The builder takes the events in order
//! and waits for each ticket, so the order of the walk is the order of the
//! store.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, Scope};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::base::name::EntryName;
use crate::base::time::Timestamp;
use crate::dag::{Node, TreeRef};
use crate::ingest::build::{Builder, Tally};
use crate::ingest::content::ContentSink;
use crate::ingest::error::{IngestError, SourceErrors};
use crate::ingest::item::{ItemJob, ItemOutcome, ItemReader};
use crate::ingest::metadata::Metadata;
use crate::local::Identity;
use crate::repository::{Fingerprint, PreparedChunk, RepositoryError, ScanKey, ScanPage, Session};

/// Events between walker and builder at most.
const EVENTS_MAX: usize = 4096;
/// Bytes of content held between the stages at most.
pub(crate) const IN_FLIGHT_BYTES: usize = 64 << 20;
/// Bytes that an item counts at least, which bounds how many are in flight.
const ITEM_BYTES_MIN: usize = 64 << 10;

/// What the walker met, in order.
pub(crate) enum Event {
    /// A directory begins.
    Enter(Box<EnteredDirectory>),
    /// What was seen of the next items when the directory was walked last.
    Page { page: Arc<ScanPage>, is_first: bool },
    /// So many items of that page did not change.
    Same(Range<usize>),
    /// This one did not either, but it was read by somebody, then.
    Accessed(usize, Timestamp),
    /// The items of that page are over.
    EndPage,
    /// The directory ends.
    Leave,
    /// An item that a worker reads.
    Item { name: EntryName, recorded: Option<usize>, ticket: Ticket<ItemOutcome> },
    /// A file begins that the walker reads; its content follows.
    Begin(EntryName, Option<usize>),
    /// The next hole of the file, in bytes.
    Hole(u64),
    /// The next chunk of the file, and whether it is the only one.
    Chunk(Ticket<Prepared>, bool),
    /// All of the file so far is void.
    Restart,
    /// The file ends.
    End(Box<EndedFile>),
    /// The file could not be read to its end and is left out.
    Failed,
    /// Another link to a file whose content was read before; should that have
    /// failed, the job tells how to read this one.
    Link { name: EntryName, recorded: Option<usize>, job: Box<ItemJob> },
}

/// A directory that begins.
pub(crate) struct EnteredDirectory {
    /// The root has none.
    pub(crate) name: Option<EntryName>,
    /// Its place in its parent's page, if it was there.
    pub(crate) recorded: Option<usize>,
    pub(crate) metadata: DirectoryMetadata,
    pub(crate) fingerprint: Fingerprint,
    /// Where to remember what was seen of it, if that is worth it.
    pub(crate) key: Option<ScanKey>,
    /// The path that people know it by.
    pub(crate) path: Vec<u8>,
}

/// The metadata of a directory.
pub(crate) enum DirectoryMetadata {
    /// That of the entry in the parent's page.
    Unchanged,
    /// This.
    Read(Metadata),
}

/// A file that the walker read.
pub(crate) struct EndedFile {
    pub(crate) metadata: Metadata,
    pub(crate) fingerprint: Fingerprint,
    /// Given if its content is to be remembered for the links to come.
    pub(crate) identity: Option<Identity>,
    pub(crate) problems: Vec<String>,
}

/// Work that is being done elsewhere.
pub(crate) struct Ticket<T> {
    /// The bytes that it counts against what is in flight.
    pub(crate) bytes: usize,
    /// For the links to come, as in [`EndedFile`].
    pub(crate) identity: Option<Identity>,
    /// Where the result comes out.
    pub(crate) result: Receiver<Result<T, RepositoryError>>,
}

impl<T> Ticket<T> {
    /// Waits for the result and gives its bytes back.
    pub(crate) fn wait(&self, budget: &Budget) -> Result<T, IngestError> {
        let result = self.result.recv();
        let result = result.map_err(|_| IngestError::Internal("a worker ended early"))?;
        budget.give(self.bytes);
        Ok(result?)
    }
}

/// A prepared chunk and the bytes that it came from.
pub(crate) struct Prepared {
    pub(crate) chunk: PreparedChunk,
    pub(crate) plain: Vec<u8>,
}

enum Job {
    Item(ItemJob, Sender<Result<ItemOutcome, RepositoryError>>),
    Chunk(Vec<u8>, Sender<Result<Prepared, RepositoryError>>),
}

/// The pipeline ended early; whoever ended it says why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopped;

/// What came out of all stages.
pub(crate) struct Outcome<W> {
    pub(crate) root: Node,
    pub(crate) tally: Tally,
    pub(crate) walked: W,
}

/// Runs all stages to their end. `produce` is the walk.
pub(crate) fn run<W: Send>(
    reader: &ItemReader<'_>,
    session: &mut Session<'_>,
    previous: Option<TreeRef>,
    errors: &SourceErrors,
    workers: usize,
    produce: impl FnOnce(Emitter<'_>) -> Result<W, IngestError> + Send,
) -> Result<Outcome<W>, IngestError> {
    let (job_sender, jobs) = unbounded();
    let (event_sender, events) = bounded(EVENTS_MAX);
    let budget = Budget::new(IN_FLIGHT_BYTES);
    let emitter = Emitter { jobs: job_sender, events: event_sender, budget: &budget, reader };
    thread::scope(|scope| {
        spawn_workers(scope, reader, workers, &jobs);
        drop(jobs);
        let walking = scope.spawn(move || produce(emitter));
        let built = Builder::new(session, reader, &budget, errors, previous).run(&events);
        // Whatever the outcome, nobody must wait for this thread any more.
        budget.stop();
        drop(events);
        let walked = walking.join().map_err(|_| IngestError::Internal("the walker panicked"))?;
        if reader.monitor.cancelled() {
            return Err(IngestError::Cancelled);
        }
        // A failure of the builder is why the walk ended, if both did.
        let (root, tally) = built?;
        let walked = walked?;
        let root = root.ok_or(IngestError::Internal("the tree has no root"))?;
        Ok(Outcome { root, tally, walked })
    })
}

fn spawn_workers<'scope>(
    scope: &'scope Scope<'scope, '_>,
    reader: &'scope ItemReader<'_>,
    workers: usize,
    jobs: &Receiver<Job>,
) {
    for _ in 0..workers.max(1) {
        let jobs = jobs.clone();
        scope.spawn(move || {
            for job in jobs {
                if reader.monitor.cancelled() {
                    break;
                }
                // Nobody waits for a result if the pipeline has stopped.
                match job {
                    Job::Item(job, result) => drop(result.send(reader.read(&job))),
                    Job::Chunk(plain, result) => {
                        let chunk = reader.prepare(&plain);
                        drop(result.send(chunk.map(|(chunk, _)| Prepared { chunk, plain })));
                    }
                }
            }
        });
    }
}

/// The walker's end of the pipeline.
pub(crate) struct Emitter<'a> {
    jobs: Sender<Job>,
    events: Sender<Event>,
    budget: &'a Budget,
    reader: &'a ItemReader<'a>,
}

impl Emitter<'_> {
    /// Passes an event on.
    pub(crate) fn event(&self, event: Event) -> Result<(), Stopped> {
        self.events.send(event).map_err(|_| Stopped)
    }

    /// Has an item read, once there is room for it.
    pub(crate) fn item(
        &self,
        name: EntryName,
        recorded: Option<usize>,
        job: ItemJob,
    ) -> Result<(), Stopped> {
        let bytes = usize::try_from(job.status.size).unwrap_or(usize::MAX).max(ITEM_BYTES_MIN);
        let identity = job.links.is_some().then(|| job.status.identity());
        self.budget.take(bytes)?;
        let (sender, result) = bounded(1);
        self.jobs.send(Job::Item(job, sender)).map_err(|_| Stopped)?;
        self.event(Event::Item { name, recorded, ticket: Ticket { bytes, identity, result } })
    }
}

/// Takes the content of the file that the walker reads.
impl ContentSink for &Emitter<'_> {
    type Error = Stopped;

    fn before_read(&mut self, bytes: usize) -> Result<(), Stopped> {
        self.reader.rate.take(bytes, self.reader.monitor);
        if self.reader.monitor.cancelled() { Err(Stopped) } else { Ok(()) }
    }

    fn chunk(&mut self, bytes: &[u8], is_only: bool) -> Result<(), Stopped> {
        self.owned_chunk(bytes.to_vec(), is_only)
    }

    fn owned_chunk(&mut self, plain: Vec<u8>, is_only: bool) -> Result<(), Stopped> {
        let bytes = plain.len();
        self.reader.monitor.read(bytes as u64);
        self.budget.take(bytes)?;
        let (sender, result) = bounded(1);
        self.jobs.send(Job::Chunk(plain, sender)).map_err(|_| Stopped)?;
        self.event(Event::Chunk(Ticket { bytes, identity: None, result }, is_only))
    }

    fn hole(&mut self, bytes: u64) -> Result<(), Stopped> {
        self.event(Event::Hole(bytes))
    }
}

/// Bounds the bytes between the stages.
pub(crate) struct Budget {
    free: Mutex<usize>,
    freed: Condvar,
    stopped: AtomicBool,
}

impl Budget {
    const fn new(bytes: usize) -> Self {
        Self { free: Mutex::new(bytes), freed: Condvar::new(), stopped: AtomicBool::new(false) }
    }

    /// Waits until that many bytes are free and takes them. A single piece is
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
    fn give(&self, bytes: usize) {
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
