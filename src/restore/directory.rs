//! Directories of the target: entered by handles alone, finished when the last
//! item in them is.
//!
//! Every step down is one name, opened without following symlinks, so nothing that
//! anybody plants or swaps below the target leads outside of it.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::fs::{AtFlags, Mode, OFlags, chmod, fchmod, fgetxattr, mkdirat, openat, unlinkat};
use rustix::io::Errno;

use crate::base::name::{EntryName, join_paths};
use crate::dag::Node;
use crate::local::{Handle, Status, through_proc};
use crate::restore::error::ItemError;
use crate::restore::metadata::times;
use crate::restore::request::{Action, DirectoryState, Overwrite, Planned};
use crate::restore::run::{Mode as RunMode, Run};

const OPEN: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const PRIVATE: Mode = Mode::RWXU;
/// What an owner needs to change what is in a directory.
const WRITABLE: u16 = 0o300;

/// A directory of the target that is being restored into.
pub(super) struct Directory {
    pub(super) parent: Option<Arc<Directory>>,
    /// The path below the target.
    pub(super) path: Vec<u8>,
    /// None in a plan, where it is yet to be made.
    handle: Option<OwnedFd>,
    /// What was said of it when it was entered.
    pub(super) status: Option<Status>,
    /// Whether this run made it, or would.
    pub(super) is_fresh: bool,
    /// Whether it was there and held nothing, so that all of it is this run's.
    was_empty: bool,
    /// Whether it is on another file system than the one above it.
    pub(super) is_mount: bool,
    /// The metadata that it is given in the end; none if it is only passed
    /// through.
    wanted: Option<Node>,
    is_touched: AtomicBool,
    /// Whether this run made it writable for a while.
    was_opened_up: AtomicBool,
    has_default_acl: OnceLock<bool>,
}

impl Directory {
    /// The open directory.
    pub(super) fn handle(&self) -> Result<&OwnedFd, ItemError> {
        self.handle.as_ref().ok_or(ItemError::Target { action: "open it", source: Errno::NOENT })
    }

    pub(super) const fn is_there(&self) -> bool {
        self.handle.is_some()
    }

    /// The path below the target of a name in it.
    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        join_paths(&self.path, name)
    }

    /// Whether new items in it inherit an ACL.
    pub(super) fn has_default_acl(&self) -> bool {
        *self.has_default_acl.get_or_init(|| {
            let handle = self.handle.as_ref().filter(|_| !self.is_fresh);
            handle.is_some_and(|handle| {
                let read = fgetxattr(handle, c"system.posix_acl_default", &mut [0_u8; 1]);
                matches!(read, Ok(_) | Err(Errno::RANGE))
            })
        })
    }

    /// The target itself.
    pub(super) fn root(
        handle: Option<OwnedFd>,
        (is_fresh, was_empty): (bool, bool),
        wanted: Option<Node>,
    ) -> Self {
        let status = handle.as_ref().and_then(|handle| Status::of_file(handle).ok());
        Self { was_empty, ..Self::new(None, Vec::new(), handle, status, is_fresh, wanted) }
    }

    fn new(
        parent: Option<Arc<Self>>,
        path: Vec<u8>,
        handle: Option<OwnedFd>,
        status: Option<Status>,
        is_fresh: bool,
        wanted: Option<Node>,
    ) -> Self {
        let above = parent.as_ref().and_then(|parent| parent.status);
        let is_mount = above.zip(status).is_some_and(|(above, own)| above.device != own.device);
        Self {
            parent,
            path,
            handle,
            status,
            is_fresh,
            is_mount,
            was_empty: false,
            wanted,
            is_touched: AtomicBool::new(false),
            was_opened_up: AtomicBool::new(false),
            has_default_acl: OnceLock::new(),
        }
    }
}

impl Run<'_> {
    /// Whether no name of a directory needs to be looked at.
    fn holds_nothing(&self, directory: &Directory) -> bool {
        // What this run made holds only what this run put there; under several
        // names that became one, that may be something already.
        let is_empty = directory.is_fresh && self.request.strip_components == 0;
        !directory.is_there() || is_empty && self.mode == RunMode::Execute
    }

    /// What there is under a name.
    pub(super) fn look(
        &self,
        directory: &Directory,
        name: &[u8],
    ) -> Result<Option<Status>, ItemError> {
        if self.holds_nothing(directory) {
            return Ok(None);
        }
        match Status::of_name(directory.handle()?, name) {
            Ok(status) => Ok(Some(status)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(ItemError::target("look at it")(error)),
        }
    }

    /// Says that something in a directory is about to change.
    pub(super) fn touch(&self, directory: &Directory) -> Result<(), ItemError> {
        self.begin_writing()?;
        if directory.is_touched.swap(true, Ordering::AcqRel) || self.is_root {
            return Ok(());
        }
        // Somebody who is not root may have to let himself in for a while.
        if let (Some(handle), Some(status)) = (&directory.handle, &directory.status)
            && status.uid == self.euid
            && status.mode & WRITABLE != WRITABLE
        {
            let mode = Mode::from_raw_mode(u32::from(status.mode)) | PRIVATE;
            fchmod(handle, mode).map_err(ItemError::target("open it for writing"))?;
            directory.was_opened_up.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Enters a directory of the snapshot in the target. One that is only
    /// `passed` through is made if it is missing, and else left as it is.
    pub(super) fn enter(
        &self,
        parent: &Arc<Directory>,
        name: &EntryName,
        node: &Node,
        is_passed: bool,
    ) -> Result<Arc<Directory>, ItemError> {
        let name = name.as_bytes();
        if self.holds_nothing(parent) {
            return self.make_directory(parent, name, node);
        }
        // Opening it tells whether it is a directory; only if it is none is it worth
        // asking what it is.
        let wanted = (!is_passed).then(|| node.clone());
        match self.open_directory(parent, name, wanted) {
            Err(ItemError::Target { source: Errno::NOTDIR | Errno::LOOP, .. }) => {}
            Err(ItemError::Target { source: Errno::NOENT, .. }) => {
                return self.make_directory(parent, name, node);
            }
            opened => return opened,
        }
        let Some(status) = self.look(parent, name)? else {
            return self.make_directory(parent, name, node);
        };
        if is_passed || self.mode == RunMode::Verify {
            let problem = format!("it is a {}, which is not followed", status.kind_name());
            return Err(ItemError::Problem(problem));
        }
        if !self.may_replace(node, &status) {
            let problem = format!(
                "a {} has its name and stays, so what belongs below it is not restored",
                status.kind_name()
            );
            return Err(ItemError::Problem(problem));
        }
        let path = parent.path_of(name);
        self.told(Action::Replace, &path, &status, parent);
        if self.mode == RunMode::Execute {
            self.touch(parent)?;
            let removed = unlinkat(parent.handle()?, name, AtFlags::empty());
            removed.map_err(ItemError::target("replace it"))?;
        }
        self.make_directory(parent, name, node)
    }

    /// Whether an item of the target that differs may go for one of the snapshot.
    pub(super) fn may_replace(&self, node: &Node, status: &Status) -> bool {
        match self.request.overwrite {
            Overwrite::Always | Overwrite::IfChanged => true,
            Overwrite::IfNewer => node.mtime > status.mtime,
            Overwrite::Never => false,
        }
    }

    fn make_directory(
        &self,
        parent: &Arc<Directory>,
        name: &[u8],
        node: &Node,
    ) -> Result<Arc<Directory>, ItemError> {
        let path = parent.path_of(name);
        let (above, wanted) = (Some(parent.clone()), Some(node.clone()));
        match self.mode {
            RunMode::Verify => return Err(self.wrong("it is missing")),
            RunMode::Plan => {
                self.about_to_change(parent);
                let mtime = node.mtime;
                let action = Action::Create;
                self.plan(&Planned { action, path: &path, kind: "directory", bytes: 0, mtime });
                let made = Directory::new(above, path, None, None, true, wanted);
                return Ok(Arc::new(made));
            }
            RunMode::Execute => {}
        }
        self.touch(parent)?;
        let made = ItemError::target("make it");
        let directory = parent.handle()?;
        mkdirat(directory, name, PRIVATE).map_err(made)?;
        let opened = ItemError::target("open it");
        let handle = openat(directory, name, OPEN, Mode::empty()).map_err(opened)?;
        let status = Status::of_file(&handle).map_err(ItemError::target("look at it"))?;
        if status.uid != self.euid {
            let problem =
                "another process put something else in its place; nothing is written there";
            return Err(ItemError::Problem(problem.to_owned()));
        }
        if parent.has_default_acl() {
            self.disinherit(Handle::file(&handle))?;
        }
        self.count(|counts| counts.dirs_created += 1);
        let made = Directory::new(above, path, Some(handle), Some(status), true, wanted);
        Ok(Arc::new(made))
    }

    fn open_directory(
        &self,
        parent: &Arc<Directory>,
        name: &[u8],
        wanted: Option<Node>,
    ) -> Result<Arc<Directory>, ItemError> {
        let path = parent.path_of(name);
        let directory = parent.handle()?;
        let handle = match openat(directory, name, OPEN, Mode::empty()) {
            Err(Errno::ACCESS) if self.mode == RunMode::Execute => {
                self.open_unreadable(parent, name)?
            }
            opened => opened.map_err(ItemError::target("open it"))?,
        };
        let status = Status::of_file(&handle).map_err(ItemError::target("look at it"))?;
        if Some(status.identity()) == self.protected {
            let problem = "it is the repository itself, which is left alone";
            return Err(ItemError::Problem(problem.to_owned()));
        }
        let above = Some(parent.clone());
        let opened = Directory::new(above, path, Some(handle), Some(status), false, wanted);
        Ok(Arc::new(opened))
    }

    /// Opens a directory that its owner, who is not root, may not read.
    fn open_unreadable(&self, parent: &Directory, name: &[u8]) -> Result<OwnedFd, ItemError> {
        let refused = || ItemError::Target { action: "open it", source: Errno::ACCESS };
        let directory = parent.handle()?;
        let place = openat(directory, name, OPEN | OFlags::PATH, Mode::empty());
        let place = place.map_err(ItemError::target("open it"))?;
        let status = Status::of_file(&place).map_err(ItemError::target("look at it"))?;
        if status.uid != self.euid {
            return Err(refused());
        }
        self.begin_writing()?;
        let path = through_proc(place.as_fd());
        chmod(path, PRIVATE).map_err(ItemError::target("open it"))?;
        let opened = openat(&place, c".", OPEN, Mode::empty());
        opened.map_err(ItemError::target("open it"))
    }

    /// Lets go of a directory. Whoever does so last finishes it, and then those
    /// above it of which the same is true.
    pub(super) fn release(&self, directory: Arc<Directory>) {
        let mut last = Arc::into_inner(directory);
        while let Some(directory) = last {
            if let Err(error) = self.finish(&directory) {
                self.settle(&directory.path, error);
            }
            last = directory.parent.and_then(Arc::into_inner);
        }
    }

    fn finish(&self, directory: &Directory) -> Result<(), ItemError> {
        if self.is_excused(&directory.path) {
            return Ok(());
        }
        let (Some(handle), Some(entered)) = (&directory.handle, &directory.status) else {
            return Ok(());
        };
        // The marker came and went in the target itself.
        let is_marked = directory.parent.is_none() && self.is_marked();
        let is_touched = directory.is_touched.load(Ordering::Acquire);
        let is_changed = directory.is_fresh || is_touched || is_marked;
        let status = match is_changed {
            true => Status::of_file(handle).map_err(ItemError::target("look at it"))?,
            false => *entered,
        };
        let (path, opened) = (&directory.path, Handle::file(handle));
        let Some(node) = &directory.wanted else { return close(directory, opened, entered) };
        let is_own = directory.is_fresh || directory.was_empty;
        if !is_own && !self.may_replace(node, entered) {
            close(directory, opened, entered)?;
            self.count(|counts| counts.dirs_unchanged += 1);
            // What was added to it changed its time, which is put right again.
            let is_added_to = is_changed && self.mode == RunMode::Execute;
            if is_added_to && self.differs(node, &status, || opened.xattrs())? == Some("time") {
                opened.set_times(times(node)).map_err(ItemError::target("set the times of it"))?;
            }
            return Ok(());
        }
        if directory.is_fresh && self.mode == RunMode::Execute {
            return self.set_metadata(path, opened, node, &status, false);
        }
        let difference = self.differs(node, &status, || opened.xattrs())?;
        match (self.mode, difference) {
            (_, None) => self.count(|counts| counts.dirs_unchanged += 1),
            // What is mounted there may have a time that nobody can set.
            (_, Some("time")) if directory.is_mount && !is_changed => {
                self.count(|counts| counts.dirs_unchanged += 1);
            }
            (RunMode::Plan, Some("time")) => {
                self.count(|counts| counts.dirs_unchanged += 1);
                self.leave_something();
            }
            (RunMode::Verify, Some(what)) => {
                return Err(self.wrong(&format!("its {what} differs")));
            }
            (RunMode::Plan, Some(_)) => {
                self.about_to_change(directory);
                self.told(Action::Update, path, &status, directory);
            }
            (RunMode::Execute, Some(what)) => {
                self.touch(directory)?;
                let status = Status::of_file(handle).map_err(ItemError::target("look at it"))?;
                self.set_metadata(path, opened, node, &status, what == "attributes")?;
                // A time that changed with what is in it is no change by itself.
                let counts = |counts: &mut super::Counts| match (is_changed, what) {
                    (true, "time") => counts.dirs_unchanged += 1,
                    _ => counts.dirs_updated += 1,
                };
                self.count(counts);
            }
        }
        Ok(())
    }

    /// Tells the observer of a plan what a directory is like before it changes.
    pub(super) fn about_to_change(&self, directory: &Directory) {
        let is_news = self.mode == RunMode::Plan
            && self.observer.wants_directories()
            && !directory.is_touched.swap(true, Ordering::AcqRel);
        let Some((handle, status)) = directory.handle.as_ref().zip(directory.status) else {
            return;
        };
        if !is_news {
            return;
        }
        let state = DirectoryState {
            path: directory.path.clone(),
            mode: status.mode,
            uid: status.uid,
            gid: status.gid,
            mtime: status.mtime,
            xattrs: Handle::file(handle).xattrs().unwrap_or_default(),
        };
        self.observer.directory(state);
    }
}

/// Gives a directory the mode back that it had before it was opened up.
fn close(directory: &Directory, handle: Handle<'_>, entered: &Status) -> Result<(), ItemError> {
    if directory.was_opened_up.load(Ordering::Acquire) {
        handle.chmod(entered.mode).map_err(ItemError::target("set the mode of it"))?;
    }
    Ok(())
}
