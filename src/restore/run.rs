//! What the threads of one restore share.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;

use crate::base::progress::Monitor;
use crate::local::{Identity, Status};
use crate::repository::Repository;
use crate::restore::directory::Directory;
use crate::restore::error::{ItemError, Problems, RestoreError, shown};
use crate::restore::links::Links;
use crate::restore::marker::Marker;
use crate::restore::owners::Owners;
use crate::restore::publish::TemporaryNames;
use crate::restore::request::{Action, Counts, Observer, Planned, RestoreReport, RestoreRequest};

/// What a walk over the snapshot and the target is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// To tell what would be done.
    Plan,
    /// To do it.
    Execute,
    /// To compare what is there with the snapshot.
    Verify,
}

/// One walk over a snapshot and a target.
pub(super) struct Run<'a> {
    pub(super) repository: &'a Repository,
    pub(super) request: &'a RestoreRequest,
    pub(super) monitor: &'a dyn Monitor,
    pub(super) observer: &'a dyn Observer,
    pub(super) mode: Mode,
    /// The target; none in a plan, if it is yet to be made.
    pub(super) root: Option<OwnedFd>,
    pub(super) owners: Owners,
    pub(super) links: Links,
    pub(super) names: TemporaryNames,
    pub(super) is_root: bool,
    pub(super) euid: u32,
    /// The repository's directory, which is never written to.
    pub(super) protected: Option<Identity>,
    /// Whether the target's file system knows files without names.
    pub(super) knows_nameless: AtomicBool,
    /// None for a restore in place, which has a record to be undone by.
    pub(super) marker: Option<Marker>,
    is_marked: AtomicBool,
    counts: Mutex<Counts>,
    problems: Problems,
    damaged: AtomicU64,
    /// Whether a plan met something to do that is not counted.
    leaves_something: AtomicBool,
    privileged_xattrs: AtomicU64,
    notes: Mutex<Vec<String>>,
    /// What need not be as in the snapshot: it stayed, or was listed.
    excused: Mutex<HashSet<Vec<u8>>>,
    is_stopped: AtomicBool,
    failure: Mutex<Option<RestoreError>>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        repository: &'a Repository,
        request: &'a RestoreRequest,
        (monitor, observer): (&'a dyn Monitor, &'a dyn Observer),
        mode: Mode,
        root: Option<OwnedFd>,
    ) -> Self {
        let euid = rustix::process::geteuid();
        let protected = Status::of_name(rustix::fs::CWD, repository.path()).ok();
        Self {
            repository,
            request,
            monitor,
            observer,
            mode,
            root,
            owners: Owners::new(request.owners),
            links: Links::default(),
            names: TemporaryNames::default(),
            is_root: euid.is_root(),
            euid: euid.as_raw(),
            protected: protected.map(|status| status.identity()),
            knows_nameless: AtomicBool::new(true),
            marker: None,
            is_marked: AtomicBool::new(false),
            counts: Mutex::default(),
            problems: Problems::default(),
            damaged: AtomicU64::new(0),
            leaves_something: AtomicBool::new(false),
            privileged_xattrs: AtomicU64::new(0),
            notes: Mutex::default(),
            excused: Mutex::default(),
            is_stopped: AtomicBool::new(false),
            failure: Mutex::default(),
        }
    }

    pub(super) fn root_handle(&self) -> Result<&OwnedFd, ItemError> {
        self.root.as_ref().ok_or(ItemError::Target { action: "open it", source: Errno::NOENT })
    }

    /// Says that something is about to be written: from now on the marker is
    /// there.
    pub(super) fn begin_writing(&self) -> Result<(), ItemError> {
        if self.is_marked.load(Ordering::Acquire) {
            return Ok(());
        }
        if let (Some(marker), Some(root)) = (&self.marker, &self.root) {
            let path = self.request.target.as_os_str().as_encoded_bytes();
            if let Err(error) = marker.raise(root, path) {
                self.stop(error);
                return Err(ItemError::Stopped);
            }
        }
        self.is_marked.store(true, Ordering::Release);
        Ok(())
    }

    /// Says that the marker is not to be made any more.
    pub(super) fn end_writing(&self) {
        self.is_marked.store(true, Ordering::Release);
    }

    /// Whether anything was written.
    pub(super) fn is_marked(&self) -> bool {
        self.is_marked.load(Ordering::Acquire)
    }

    /// Whether it is time to stop: something failed, or somebody asked for it.
    pub(super) fn is_stopped(&self) -> bool {
        if self.is_stopped.load(Ordering::Relaxed) {
            return true;
        }
        if self.monitor.cancelled() {
            self.stop(RestoreError::Cancelled);
            return true;
        }
        false
    }

    /// Ends the run; the first reason counts.
    pub(super) fn stop(&self, reason: RestoreError) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(reason);
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Lists what could not be done to an item, or ends the run if that concerns
    /// all items.
    pub(super) fn settle(&self, path: &[u8], error: ItemError) {
        match error {
            ItemError::Stopped => {}
            ItemError::Repository(error) if error.is_loss() => {
                self.damaged.fetch_add(1, Ordering::Relaxed);
                self.problem(path, &error.to_string());
            }
            ItemError::Repository(error) => self.stop(error.into()),
            ItemError::Target { source: Errno::NOSPC | Errno::DQUOT, .. } => {
                let path = shown(self.request.target.as_os_str().as_encoded_bytes());
                self.stop(RestoreError::Full { path });
            }
            ItemError::Target { source: Errno::MFILE | Errno::NFILE, .. } => {
                self.stop(RestoreError::Descriptors { path: shown(path) });
            }
            error => self.problem(path, &error.text()),
        }
    }

    /// Lists what is wrong with an item.
    pub(super) fn problem(&self, path: &[u8], problem: &str) {
        self.problems.add(path, problem, self.monitor);
        self.excuse(path);
    }

    /// Notes an item that differs and stays.
    pub(super) fn keep(&self, path: &[u8]) {
        self.excuse(path);
    }

    fn excuse(&self, path: &[u8]) {
        if self.request.verify {
            let mut excused = self.excused.lock().unwrap_or_else(PoisonError::into_inner);
            excused.insert(path.to_vec());
        }
    }

    /// Whether an item need not be as in the snapshot.
    pub(super) fn is_excused(&self, path: &[u8]) -> bool {
        self.mode == Mode::Verify
            && self.excused.lock().unwrap_or_else(PoisonError::into_inner).contains(path)
    }

    /// Takes over from the run that is being verified what is excused.
    pub(super) fn excuse_as(&self, other: &Self) {
        let theirs = other.excused.lock().unwrap_or_else(PoisonError::into_inner);
        let mut own = self.excused.lock().unwrap_or_else(PoisonError::into_inner);
        own.clone_from(&theirs);
    }

    /// What was read back is not what it should be.
    pub(super) fn wrong(&self, text: &str) -> ItemError {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        ItemError::Problem(format!("read back, {text}"))
    }

    /// Says that there is something to do that is not counted: the time of a
    /// directory, or what an earlier run left behind.
    pub(super) fn leave_something(&self) {
        self.leaves_something.store(true, Ordering::Relaxed);
    }

    /// Remarks on what was asked for, which is no problem of any item.
    pub(super) fn note(&self, text: &str) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
    }

    pub(super) fn note_privileged_xattr(&self) {
        self.privileged_xattrs.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Counts a planned item and tells the observer.
    pub(super) fn plan(&self, planned: &Planned<'_>) {
        let is_directory = planned.kind == "directory";
        self.count(|counts| {
            // Holes and what is shared may add up to more than there can be.
            counts.bytes = counts.bytes.saturating_add(planned.bytes);
            let counter = match (planned.action, is_directory) {
                (Action::Create, true) => &mut counts.dirs_created,
                (Action::Update, true) => &mut counts.dirs_updated,
                (Action::Unchanged, true) => &mut counts.dirs_unchanged,
                (Action::Create, false) => &mut counts.files_created,
                (Action::Replace, _) => &mut counts.files_replaced,
                (Action::Update, false) => &mut counts.files_updated,
                (Action::Unchanged, false) => &mut counts.files_unchanged,
                (Action::Keep | Action::Delete, _) => &mut counts.files_kept,
            };
            *counter += 1;
        });
        self.observer.item(planned);
    }

    /// Counts what is done to something that is there, and tells the observer of
    /// a plan.
    pub(super) fn told(&self, action: Action, path: &[u8], status: &Status, parent: &Directory) {
        if self.mode == Mode::Plan {
            self.about_to_change(parent);
        }
        let (kind, mtime) = (status.kind_name(), status.mtime);
        let planned = Planned { action, path, kind, bytes: 0, mtime };
        self.plan(&planned);
    }

    /// Drops what the system remembers of a file's content, so that reading it
    /// means reading the disk.
    pub(super) fn forget_cached(&self, file: &OwnedFd) {
        let _ = fadvise(file, 0, None, Advice::DontNeed);
    }

    /// How the run ended.
    pub(super) fn outcome(&self) -> Result<(), RestoreError> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.map_or(Ok(()), Err)
    }

    pub(super) fn report(&self) -> RestoreReport {
        let (problems, messages) = self.problems.take();
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match self.privileged_xattrs.load(Ordering::Relaxed) {
            0 => {}
            count => notes.push(format!(
                "{} for root alone were not restored",
                crate::base::format::plural(count, "attribute", "attributes")
            )),
        }
        let counts = *self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        RestoreReport {
            is_settled: self.mode == Mode::Plan
                && counts.is_nothing()
                && problems == 0
                && !self.leaves_something.load(Ordering::Relaxed),
            counts,
            problems,
            messages,
            damaged: self.damaged.load(Ordering::Relaxed),
            notes,
            duration: std::time::Duration::default(),
        }
    }
}
