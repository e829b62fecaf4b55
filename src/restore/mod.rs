//! Restoring: what a snapshot holds becomes files of a directory again.
//!
//! Purpose: [`plan`] tells what [`restore`] would do, item by item. One thread walks
//! the snapshot with the target beside it and enters directories; workers write
//! what is in them, in the order in which the content lies in the repository.
//!
//! Invariants:
//! - Every object is checked against its id before a byte of it is written.
//! - Below the target every step is one name, taken from an open directory
//!   without following symlinks. No path of the target is ever built, so nothing
//!   in a snapshot or in the target leads outside.
//! - A file appears under its name only when all of it is there, content and
//!   metadata; what it replaces is replaced in one step.
//! - What is right already is not written, so a restore that was cut short is
//!   finished by running it again.
//! - A failure of one item is listed and passed over; a failure of the
//!   repository, a full disk or a signal ends all, and what is there is whole.
//!
//! Imports: `base`, `dag`, `patterns`, `repository`.

mod content;
mod directory;
mod error;
mod item;
mod links;
mod marker;
mod metadata;
mod owners;
mod publish;
mod remove;
mod request;
mod run;
mod target;
mod undo;
mod walk;

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crossbeam_channel::bounded;
use rustix::fs::syncfs;

use crate::base::name::EntryName;
use crate::base::progress::Monitor;
use crate::dag::{Kind, Node};
use crate::local::Status;
use crate::repository::{Repository, RepositoryError, SnapshotName};
use crate::restore::directory::Directory;
use crate::restore::item::Job;
use crate::restore::marker::Marker;
use crate::restore::run::{Mode, Run};
use crate::restore::target::Target;
use crate::restore::walk::{Start, Walker};

pub use error::RestoreError;
pub use request::{
    Action, Comparison, Counts, Deaf, Deletion, DirectoryState, Observer, Overwrite, OwnerPolicy,
    Planned, RestoreReport, RestoreRequest,
};
pub use target::{TargetState, target_state};
pub use undo::{Created, Undone, reset_directories, undo_created};

/// Items that a worker is handed at once: handing over costs about as much as
/// writing a small file.
const BATCH_ITEMS: usize = 16;
/// Bytes of files after which it is handed what there is.
const BATCH_BYTES: u64 = 1 << 20;
/// Batches between the walk and the workers.
const BATCHES_AHEAD: usize = 16;

/// Restores what a request says.
///
/// # Errors
/// Fails if the repository does, if the target cannot be used at all or is full,
/// or if it was cancelled; then what is there is whole, and the same request goes on
/// from there. What concerns single items is in the report.
pub fn restore(
    repository: &Repository,
    request: &RestoreRequest,
    monitor: &dyn Monitor,
) -> Result<RestoreReport, RestoreError> {
    let clock = Instant::now();
    let start = start(repository, &request.source)?;
    begin("restoring", &start, monitor);
    let target = Target::open_or_make(request, repository)?;
    let root = target.handle()?;
    let mut run = Run::new(repository, request, (monitor, &Deaf), Mode::Execute, Some(root));
    let (id, path) = (request.source.id, &request.source.path);
    let is_fresh = target.was_fresh();
    run.marker = (!request.in_place).then(|| Marker::new(id, path, is_fresh));
    let directory = Arc::new(target.into_directory(root_metadata(request, &start)));
    // What an earlier run left goes, even if nothing else is to be done.
    let cleaned = match target_is_marked(&directory) {
        true => run.touch(&directory).and_then(|()| run.remove_leftovers(&directory)),
        false => run.remove_leftovers(&directory),
    };
    if let Err(error) = cleaned {
        run.settle(b"", error);
        run.outcome()?;
    }
    run_workers(&run, directory.clone(), start)?;
    let outcome = run.outcome();
    if outcome.is_ok() {
        if let (Some(marker), Some(root)) = (&run.marker, &run.root) {
            marker.lower(root);
        }
        // Only metadata of directories is left to be set, and nothing marks that.
        run.end_writing();
    }
    run.release(directory);
    outcome?;
    run.outcome()?;
    let mut report = run.report();
    if request.verify {
        verify(&run, &mut report)?;
    }
    report.duration = clock.elapsed();
    Ok(report)
}

/// Tells what [`restore`] would do, and writes nothing.
///
/// # Errors
/// As [`restore`].
pub fn plan(
    repository: &Repository,
    request: &RestoreRequest,
    monitor: &dyn Monitor,
    observer: &dyn Observer,
) -> Result<RestoreReport, RestoreError> {
    let clock = Instant::now();
    let start = start(repository, &request.source)?;
    begin("planning", &start, monitor);
    let target = Target::open(request, repository)?;
    let root = target.try_handle()?;
    let run = Run::new(repository, request, (monitor, observer), Mode::Plan, root);
    let directory = Arc::new(target.into_directory(root_metadata(request, &start)));
    if directory.is_there() {
        if target_is_marked(&directory) {
            run.leave_something();
        }
        if let Err(error) = run.remove_leftovers(&directory) {
            run.settle(b"", error);
        }
    }
    let mut sink = |job: Job| {
        run.handle(job);
        true
    };
    Walker::new(&run, directory.clone(), &mut sink).walk(start)?;
    run.release(directory);
    run.outcome()?;
    let mut report = run.report();
    report.duration = clock.elapsed();
    Ok(report)
}

/// Reads everything back and compares it.
fn verify(done: &Run<'_>, report: &mut RestoreReport) -> Result<(), RestoreError> {
    let (repository, request, monitor) = (done.repository, done.request, done.monitor);
    let start = start(repository, &request.source)?;
    let target = Target::open(request, repository)?;
    let root = target.handle()?;
    // What lies on the disk is to be read, so it must get there first.
    monitor.phase("syncing");
    let path = request.target.as_os_str().as_encoded_bytes();
    syncfs(&root).map_err(RestoreError::target("sync", path))?;
    begin("verifying", &start, monitor);
    let run = Run::new(repository, request, (monitor, &Deaf), Mode::Verify, Some(root));
    run.excuse_as(done);
    let directory = Arc::new(target.into_directory(root_metadata(request, &start)));
    run_workers(&run, directory.clone(), start)?;
    run.release(directory);
    run.outcome()?;
    let verified = run.report();
    report.counts.files_verified = verified.counts.files_verified;
    report.problems += verified.problems;
    report.messages.extend(verified.messages);
    report.damaged += verified.damaged;
    Ok(())
}

/// Walks here, and lets workers do the items.
fn run_workers(run: &Run<'_>, root: Arc<Directory>, start: Start) -> Result<(), RestoreError> {
    let (sender, batches) = bounded::<Vec<Job>>(BATCHES_AHEAD);
    thread::scope(|scope| {
        for _ in 0..run.request.workers.max(1) {
            let batches = batches.clone();
            scope.spawn(move || batches.into_iter().flatten().for_each(|job| run.handle(job)));
        }
        drop(batches);
        let (mut batch, mut bytes) = (Vec::new(), 0_u64);
        let mut sink = |job: Job| {
            bytes = bytes.saturating_add(item::bytes_of(&job.node));
            batch.push(job);
            if batch.len() < BATCH_ITEMS && bytes < BATCH_BYTES {
                return true;
            }
            bytes = 0;
            sender.send(std::mem::take(&mut batch)).is_ok()
        };
        let walked = Walker::new(run, root, &mut sink).walk(start);
        // If nobody takes it, the run ended and said why.
        let _ = sender.send(batch);
        drop(sender);
        walked
    })
}

/// Finds where the walk begins.
fn start(repository: &Repository, named: &SnapshotName) -> Result<Start, RepositoryError> {
    let mut way = Vec::new();
    let mut node = named.manifest.root.clone();
    let mut path: Vec<u8> = Vec::new();
    let names = named.path.split(|byte| *byte == b'/');
    for name in names.filter(|name| !name.is_empty() && *name != b".") {
        let Kind::Directory(tree) = &node.kind else {
            let snapshot = named.id.short();
            return Err(RepositoryError::NotADirectory { path, snapshot });
        };
        let found = repository.open_directory(tree).seek(name)?.cloned();
        let Some(entry) = found else {
            let (path, snapshot) = (named.path.clone(), named.id.short());
            return Err(RepositoryError::NoSuchPath { path, snapshot });
        };
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        node = entry.node.clone();
        way.push((entry.name, entry.node));
    }
    let name: Option<EntryName> = way.pop().map(|(name, _)| name);
    Ok(Start { way, top: node, name, path })
}

/// Tells how much there is to do in a phase.
fn begin(phase: &str, start: &Start, monitor: &dyn Monitor) {
    match &start.top.kind {
        Kind::Directory(tree) => {
            let totals = tree.totals;
            let items = totals.files.saturating_add(totals.directories);
            monitor.begin(phase, items, totals.bytes);
        }
        _ => monitor.begin(phase, 1, item::bytes_of(&start.top)),
    }
}

/// The metadata that the target itself is given: that of the directory which is
/// restored whole into it.
fn root_metadata(request: &RestoreRequest, start: &Start) -> Option<Node> {
    let is_whole = !request.in_place
        && request.strip_components == 0
        && request.includes.is_empty()
        && matches!(start.top.kind, Kind::Directory(_));
    is_whole.then(|| start.top.clone())
}

fn target_is_marked(directory: &Directory) -> bool {
    let handle = directory.handle();
    handle.is_ok_and(|handle| Status::of_name(handle, marker::MARKER).is_ok())
}
