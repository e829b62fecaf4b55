//! One item that is no directory: what is to be done to it, and doing it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode as FileMode, OFlags, openat, readlinkat, unlinkat};
use rustix::io::Errno;

use crate::base::name::EntryName;
use crate::dag::{Kind, Node, Xattr};
use crate::local::{Handle, Identity, Status, open_parent, xattrs};
use crate::restore::directory::Directory;
use crate::restore::error::{ItemError, shown};
use crate::restore::links::First;
use crate::restore::publish::Unpublished;
use crate::restore::request::{Action, Comparison, Overwrite, Planned};
use crate::restore::run::{Mode, Run};

/// An item to be restored into a directory of the target.
pub(super) struct Job {
    pub(super) directory: Arc<Directory>,
    pub(super) name: EntryName,
    pub(super) node: Node,
}

/// What was done to an item, and which file it is now.
type Done = (Action, Option<Identity>);

impl Run<'_> {
    /// Restores an item, or plans or verifies it, and tells what became of it.
    pub(super) fn handle(&self, job: Job) {
        let path = job.directory.path_of(job.name.as_bytes());
        match self.item(&job, &path) {
            Ok((action, _)) => self.done(action, &job, &path),
            Err(error) => self.settle(&path, error),
        }
        self.monitor.advance(1, bytes_of(&job.node));
        self.release(job.directory);
    }

    fn item(&self, job: &Job, path: &[u8]) -> Result<Done, ItemError> {
        if self.is_stopped() {
            return Err(ItemError::Stopped);
        }
        let Some(file) = job.node.shared_file() else { return self.single(job, path) };
        let Some(first) = self.links.claim(&file, self) else {
            let done = self.single(job, path);
            let first = match &done {
                Ok((Action::Keep, _)) | Err(_) => None,
                Ok((_, identity)) => Some(First { path: path.to_vec(), identity: *identity }),
            };
            self.links.settle(&file, first);
            return done;
        };
        self.another_name(job, path, &first)
    }

    fn done(&self, action: Action, job: &Job, path: &[u8]) {
        if self.mode == Mode::Plan {
            if action != Action::Unchanged {
                self.about_to_change(&job.directory);
            }
            let written = matches!(action, Action::Create | Action::Replace);
            let bytes = if written { bytes_of(&job.node) } else { 0 };
            let (kind, mtime) = (kind_name(&job.node.kind), job.node.mtime);
            return self.plan(&Planned { action, path, kind, bytes, mtime });
        }
        self.count(|counts| match action {
            _ if self.mode == Mode::Verify => counts.files_verified += 1,
            Action::Create => counts.files_created += 1,
            Action::Replace => counts.files_replaced += 1,
            Action::Update => counts.files_updated += 1,
            Action::Unchanged => counts.files_unchanged += 1,
            Action::Keep | Action::Delete => counts.files_kept += 1,
        });
        if matches!(action, Action::Create | Action::Replace) {
            self.count(|counts| counts.bytes = counts.bytes.saturating_add(bytes_of(&job.node)));
        }
        if action == Action::Keep {
            self.keep(path);
        }
    }

    /// Restores an item that is alone, or the first name of its file.
    fn single(&self, job: &Job, path: &[u8]) -> Result<Done, ItemError> {
        let name = job.name.as_bytes();
        let Some(status) = self.look(&job.directory, name)? else {
            return match self.mode {
                Mode::Plan => Ok((Action::Create, None)),
                Mode::Verify => Err(self.wrong("it is missing")),
                Mode::Execute => self.make(job, path, false),
            };
        };
        let (action, difference) = self.decide(job, &status)?;
        let identity = Some(status.identity());
        match (self.mode, action) {
            (Mode::Verify, Action::Unchanged) => Ok((action, identity)),
            (Mode::Verify, _) => Err(self.wrong(&format!("its {difference} differs"))),
            (Mode::Execute, Action::Replace) => {
                self.clear(job, path, &status)?;
                self.make(job, path, !status.is_directory())
            }
            (Mode::Execute, Action::Update) => self.update(job, path, &status),
            (Mode::Plan, Action::Replace) if status.is_directory() => {
                self.clear(job, path, &status)?;
                Ok((action, None))
            }
            (Mode::Plan, Action::Replace) => Ok((action, None)),
            (Mode::Plan | Mode::Execute, _) => Ok((action, identity)),
        }
    }

    /// Says what is to be done about something that is there, and why.
    fn decide(&self, job: &Job, status: &Status) -> Result<(Action, &'static str), ItemError> {
        let rewrites = self.request.overwrite == Overwrite::Always && self.mode != Mode::Verify;
        let (is_content, difference) = if rewrites {
            (true, "content")
        } else if let Some(difference) = self.content_differs(job, status)? {
            (true, difference)
        } else {
            let xattrs = || self.xattrs(job, status);
            match self.differs(&job.node, status, xattrs)? {
                None => return Ok((Action::Unchanged, "")),
                Some(difference) => (false, difference),
            }
        };
        if self.mode == Mode::Verify {
            return Ok((Action::Replace, difference));
        }
        if !self.may_replace(&job.node, status) {
            return Ok((Action::Keep, difference));
        }
        // Other names of the same file are nobody's business here, so what has
        // several is replaced, not changed.
        let is_plain = status.kind == FileType::RegularFile && status.links == 1;
        let action = if is_content || !is_plain { Action::Replace } else { Action::Update };
        Ok((action, difference))
    }

    fn content_differs(
        &self,
        job: &Job,
        status: &Status,
    ) -> Result<Option<&'static str>, ItemError> {
        let node = &job.node;
        let is_same = match &node.kind {
            Kind::File(content) => {
                if status.kind != FileType::RegularFile {
                    return Ok(Some("kind"));
                }
                if status.size != content.size {
                    return Ok(Some("size"));
                }
                match self.request.comparison {
                    _ if self.mode == Mode::Verify => self.same_bytes(job)?,
                    Comparison::Content => self.same_bytes(job)?,
                    Comparison::Metadata => node.mtime == status.mtime,
                }
            }
            Kind::Symlink(target) if status.kind == FileType::Symlink => {
                let found = readlinkat(job.directory.handle()?, job.name.as_bytes(), Vec::new());
                found.is_ok_and(|found| found.to_bytes() == &**target)
            }
            Kind::Fifo => status.kind == FileType::Fifo,
            Kind::Socket => status.kind == FileType::Socket,
            Kind::BlockDevice(device) => {
                status.kind == FileType::BlockDevice && status.special == *device
            }
            Kind::CharDevice(device) => {
                status.kind == FileType::CharacterDevice && status.special == *device
            }
            Kind::Symlink(_) | Kind::Directory(_) => false,
        };
        Ok((!is_same).then_some("content"))
    }

    fn same_bytes(&self, job: &Job) -> Result<bool, ItemError> {
        let Kind::File(content) = &job.node.kind else { return Ok(false) };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(job.directory.handle()?, job.name.as_bytes(), flags, FileMode::empty());
        match file {
            Ok(file) => {
                if self.mode == Mode::Verify {
                    self.forget_cached(&file);
                }
                self.same_content(&file, content)
            }
            Err(Errno::ACCESS | Errno::LOOP) => Ok(false),
            Err(error) => Err(ItemError::target("read it")(error)),
        }
    }

    /// The attributes of something that is there.
    fn xattrs(&self, job: &Job, status: &Status) -> Result<Vec<Xattr>, Errno> {
        let name = job.name.as_bytes();
        let directory = job.directory.handle().map_err(|_| Errno::NOENT)?;
        // Mostly there are none, which is soon known.
        if xattrs::are_none(directory, name) {
            return Ok(Vec::new());
        }
        let place = open_place(directory, name)?;
        if Status::of_file(&place)?.identity() != status.identity() {
            return Err(Errno::STALE);
        }
        Handle::place(&place).xattrs()
    }

    /// Makes the item beside what is there, and gives it its name once it is
    /// whole.
    fn make(&self, job: &Job, path: &[u8], replaces: bool) -> Result<Done, ItemError> {
        let is_device = matches!(job.node.kind, Kind::BlockDevice(_) | Kind::CharDevice(_));
        if is_device && !self.is_root {
            return Err(ItemError::Problem("only root may make a device".to_owned()));
        }
        self.touch(&job.directory)?;
        let directory = job.directory.handle()?;
        let made = match &job.node.kind {
            Kind::File(_) => Unpublished::regular(self, directory)?,
            _ => Unpublished::other(self, directory, &job.node)?,
        };
        let Some(file) = &made.file else {
            return Err(ItemError::Target { action: "open it", source: Errno::BADF });
        };
        let handle = match &job.node.kind {
            Kind::File(content) => {
                self.write_content(file, content)?;
                Handle::file(file)
            }
            _ => Handle::place(file),
        };
        let status = Status::of_file(file).map_err(ItemError::target("look at it"))?;
        // What had a name before it was opened may have been swapped.
        let is_own = status.uid == self.euid && status.links <= 1;
        if !is_own || status.kind_name() != kind_name(&job.node.kind) {
            let problem = "another process put something else in its place; it is left alone";
            return Err(ItemError::Problem(problem.to_owned()));
        }
        let is_symlink = matches!(job.node.kind, Kind::Symlink(_));
        if job.directory.has_default_acl() && !is_symlink {
            self.disinherit(handle)?;
        }
        self.set_metadata(path, handle, &job.node, &status, false)?;
        made.publish(job.name.as_bytes(), replaces)?;
        let action = if replaces { Action::Replace } else { Action::Create };
        Ok((action, Some(status.identity())))
    }

    /// Sets the metadata of a file that has the right content.
    fn update(&self, job: &Job, path: &[u8], status: &Status) -> Result<Done, ItemError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let directory = job.directory.handle()?;
        let file = match openat(directory, job.name.as_bytes(), flags, FileMode::empty()) {
            Ok(file) => file,
            Err(Errno::ACCESS) => return self.make(job, path, true),
            Err(error) => return Err(ItemError::target("open it")(error)),
        };
        let now = Status::of_file(&file).map_err(ItemError::target("look at it"))?;
        if now.identity() != status.identity() || now.links != 1 {
            return self.make(job, path, true);
        }
        self.begin_writing()?;
        self.set_metadata(path, Handle::file(&file), &job.node, &now, true)?;
        Ok((Action::Update, Some(now.identity())))
    }

    /// Makes room where a directory is. It goes if it is empty, or if deleting
    /// was asked for.
    fn clear(&self, job: &Job, path: &[u8], status: &Status) -> Result<(), ItemError> {
        if !status.is_directory() {
            return Ok(());
        }
        let name = job.name.as_bytes();
        if self.request.delete.is_some() {
            return self.remove(&job.directory, name, path, status);
        }
        let not_empty = "a directory that is not empty has its name; --delete removes it";
        if self.mode == Mode::Plan {
            let is_empty = self.is_empty_directory(&job.directory, name)?;
            return if is_empty { Ok(()) } else { Err(ItemError::Problem(not_empty.to_owned())) };
        }
        self.touch(&job.directory)?;
        match unlinkat(job.directory.handle()?, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => Err(ItemError::Problem(not_empty.to_owned())),
            removed => removed.map_err(ItemError::target("replace it")),
        }
    }

    /// Makes an item one more name of the first one of its file.
    fn another_name(&self, job: &Job, path: &[u8], first: &First) -> Result<Done, ItemError> {
        let status = self.look(&job.directory, job.name.as_bytes())?;
        if let Some(status) = &status {
            if Some(status.identity()) == first.identity {
                return Ok((Action::Unchanged, first.identity));
            }
            if self.mode == Mode::Verify {
                let text = format!("it is no hard link to {}", shown(&first.path));
                return Err(self.wrong(&text));
            }
            if !self.may_replace(&job.node, status) {
                return Ok((Action::Keep, None));
            }
        }
        let replaces = status.as_ref().is_some_and(|status| !status.is_directory());
        let action = if status.is_some() { Action::Replace } else { Action::Create };
        if self.mode == Mode::Verify {
            return Err(self.wrong("it is missing"));
        }
        if let Some(status) = &status {
            self.clear(job, path, status)?;
        }
        if self.mode == Mode::Plan {
            return Ok((action, first.identity));
        }
        self.touch(&job.directory)?;
        match self.link(job, first, replaces) {
            Ok(()) => Ok((action, first.identity)),
            Err(ItemError::Target { source: Errno::MLINK | Errno::XDEV | Errno::PERM, .. }) => {
                let text = "it cannot be a hard link here, and is a file of its own";
                self.problem(path, text);
                self.make(job, path, replaces)
            }
            Err(error) => Err(error),
        }
    }

    fn link(&self, job: &Job, first: &First, replaces: bool) -> Result<(), ItemError> {
        let failed = || ItemError::target("link it");
        let (from, from_name) = open_parent(self.root_handle()?, &first.path).map_err(failed())?;
        let directory = job.directory.handle()?;
        let linked = Unpublished::link(self, directory, (&from, from_name));
        let (made, temporary) = linked.map_err(failed())?;
        let status = Status::of_name(directory, temporary.as_str()).map_err(failed())?;
        if Some(status.identity()) != first.identity {
            let text = format!("{} was replaced meanwhile by another process", shown(&first.path));
            return Err(ItemError::Problem(text));
        }
        made.publish(job.name.as_bytes(), replaces)
    }
}

/// Opens an item as a mere place, not following it.
fn open_place(directory: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, FileMode::empty())
}

/// The bytes of a regular file; anything else has none.
pub(super) fn bytes_of(node: &Node) -> u64 {
    match &node.kind {
        Kind::File(content) => content.size,
        _ => 0,
    }
}

fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::File(_) => "file",
        Kind::Directory(_) => "directory",
        Kind::Symlink(_) => "symlink",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
        Kind::BlockDevice(_) | Kind::CharDevice(_) => "device",
    }
}
