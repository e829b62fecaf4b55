//! Two trees side by side, step by step in the order of paths.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;

use crate::base::limits::DIRECTORY_DEPTH_MAX;
use crate::base::mounts::PseudoFileSystems;
use crate::base::name::printable;
use crate::base::progress::Monitor;
use crate::dag::{Device, Node, TreeRef};
use crate::diff::change::{Change, Difference, Field, FileContent, Item, ItemKind};
use crate::diff::error::DiffError;
use crate::diff::fields::{self, Sameness};
use crate::diff::live::{self, LiveDirectory, LiveItem};
use crate::diff::live_content::{self, ReadError};
use crate::diff::side::{Level, Met, Side};
use crate::patterns::PathPatterns;
use crate::repository::{Repository, RepositoryError};

/// What is compared, and how.
#[derive(Debug)]
pub struct DiffOptions {
    /// Whether the mtime of a directory counts. It changes with every entry that
    /// is added or removed.
    pub directory_times: bool,
    /// Whether live content is read even if size, times and all else are equal.
    pub checksum: bool,
    /// Metadata that does not count.
    pub ignored: Vec<Field>,
    /// What is left out, with all below it.
    pub exclude: PathPatterns,
    /// What alone is told, with all below it; if there are any.
    pub include: PathPatterns,
    /// Whether other file systems below the live directory are left out.
    pub one_file_system: bool,
}

/// One side of a comparison.
#[derive(Debug)]
pub enum Root<'a> {
    /// A node of a snapshot, or nothing if it has none there.
    Stored(Option<Node>),
    /// What lies at `inner` below a path of the running system.
    Live {
        /// The path; it may lead through symlinks.
        path: &'a Path,
        /// The path below it, which may not.
        inner: &'a [u8],
        /// Whether the last name of `path` may be a symlink too.
        follow: bool,
    },
}

/// Where the live side begins.
struct LiveRoot {
    directory: OwnedFd,
    name: Vec<u8>,
    /// Not entered: the repository itself.
    left_out: Option<(Device, u64)>,
    pseudo: PseudoFileSystems,
    device: Option<Device>,
}

/// An item of one side, and of a live one where it lies.
pub(super) struct Found {
    pub(super) item: Item,
    pub(super) live: Option<(Device, u64)>,
}

impl From<LiveItem> for Found {
    fn from(live: LiveItem) -> Self {
        Self { item: live.item, live: Some((live.device, live.inode)) }
    }
}

type Pair = (Option<Found>, Option<Found>);

/// Directories to enter.
type Below = (Option<BelowSide>, Option<BelowSide>);

#[derive(Clone, Copy)]
enum BelowSide {
    Stored(TreeRef),
    Live,
}

/// Two trees that are compared.
pub struct Comparison<'a> {
    pub(super) repository: &'a Repository,
    pub(super) options: &'a DiffOptions,
    pub(super) monitor: &'a dyn Monitor,
    live: Option<LiveRoot>,
    /// The roots, while they are not told.
    start: Option<Pair>,
    root_path: Vec<u8>,
    levels: Vec<Level<'a>>,
    path: Vec<u8>,
    /// The directories of the last step, which are entered next.
    below: Option<Below>,
    problems: u64,
    damaged: u64,
    /// Directories in which something was not looked at, while anybody asks.
    pub(super) unseen: Option<Vec<Vec<u8>>>,
}

impl<'a> Comparison<'a> {
    /// Compares two roots; at most one of them is live. Paths are told below
    /// `root_path`.
    ///
    /// # Errors
    /// Fails if the live side cannot be opened.
    pub fn new(
        repository: &'a Repository,
        (before, after): (Root<'_>, Root<'_>),
        root_path: &[u8],
        options: &'a DiffOptions,
        monitor: &'a dyn Monitor,
    ) -> Result<Self, DiffError> {
        let mut live = None;
        let mut open = |root| match root {
            Root::Stored(node) => {
                Ok(node.map(|node| Found { item: Item::from(&node), live: None }))
            }
            Root::Live { path, inner, follow } => {
                let (root, found) = LiveRoot::open(repository, path, inner, follow)?;
                live = Some(root);
                Ok::<_, DiffError>(found)
            }
        };
        let start = Some((open(before)?, open(after)?));
        Ok(Self {
            repository,
            options,
            monitor,
            live,
            start,
            root_path: root_path.to_vec(),
            levels: Vec::new(),
            path: root_path.to_vec(),
            below: None,
            problems: 0,
            damaged: 0,
            unseen: None,
        })
    }

    /// How many live items could not be compared.
    #[must_use]
    pub const fn problems(&self) -> u64 {
        self.problems
    }

    /// How many directories of snapshots, and contents, are damaged and so were not
    /// compared whole.
    #[must_use]
    pub const fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Takes a step to the next difference, or returns nothing at the end.
    ///
    /// # Errors
    /// Fails if a tree cannot be read, or on demand.
    pub(super) fn step(&mut self) -> Result<Option<Difference>, DiffError> {
        loop {
            self.go_on()?;
            if let Some(below) = self.below.take() {
                self.enter(below)?;
            } else if let Some(level) = self.levels.last_mut() {
                self.path.truncate(level.path_bytes);
                let met = match level.next() {
                    Ok(Some(met)) => met,
                    Ok(None) => {
                        self.levels.pop();
                        continue;
                    }
                    Err(error) => {
                        // Behind a lost page nobody can say what the other side lacks.
                        if !level.is_one_sided() {
                            self.levels.pop();
                        }
                        let path = self.path.clone();
                        self.damage(&path, error)?;
                        continue;
                    }
                };
                if let Some(difference) = self.meet(met)? {
                    return Ok(Some(difference));
                }
            } else {
                let Some((before, after)) = self.start.take() else { return Ok(None) };
                self.path.clone_from(&self.root_path);
                if let Some(difference) = self.judge(before, after)? {
                    return Ok(Some(difference));
                }
            }
        }
    }

    /// Does not enter the directory of the last step.
    pub(super) fn skip(&mut self) {
        self.below = None;
    }

    pub(super) fn go_on(&self) -> Result<(), DiffError> {
        if self.monitor.cancelled() { Err(DiffError::Cancelled) } else { Ok(()) }
    }

    /// Whether one of both sides is live.
    pub(super) const fn has_live_side(&self) -> bool {
        self.live.is_some()
    }

    /// Opens a live file by the path that it was told under.
    pub(super) fn open_live(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let live = self.live.as_ref().ok_or(Errno::NOENT)?;
        let inner = path.get(self.root_path.len()..).unwrap_or_default();
        let mut directory = live.directory.try_clone().map_err(|_| Errno::MFILE)?;
        let mut name = live.name.as_slice();
        for below in inner.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            directory = live::open_directory(directory.as_fd(), name)?;
            name = below;
        }
        live::open_file(directory.as_fd(), name)
    }

    fn meet(&mut self, met: Met) -> Result<Option<Difference>, DiffError> {
        self.monitor.advance(1, 0);
        let directory_bytes = self.path.len();
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&met.name);
        match (met.before, met.after) {
            (Ok(before), Ok(after)) => self.judge(before, after),
            (Err(error), _) | (_, Err(error)) => {
                self.problem("cannot look at it", error);
                let directory = self.path.get(..directory_bytes).unwrap_or_default().to_vec();
                self.note_unseen(&directory);
                Ok(None)
            }
        }
    }

    fn problem(&mut self, what: &str, error: Errno) {
        self.problems += 1;
        let path = if self.path.is_empty() { b".".as_slice() } else { &self.path };
        let error = io::Error::from(error);
        self.monitor.problem(&format!("{}: {what}: {error}", printable(path)));
    }

    /// Tells that something is damaged, and lets the rest be compared.
    pub(super) fn damage(&mut self, path: &[u8], error: RepositoryError) -> Result<(), DiffError> {
        if !error.is_damage() {
            return Err(error.into());
        }
        self.damaged += 1;
        self.note_unseen(path);
        let path = if path.is_empty() { b".".as_slice() } else { path };
        self.monitor.problem(&format!("{}: {error}", printable(path)));
        Ok(())
    }

    /// Notes that something in a directory was not looked at.
    fn note_unseen(&mut self, path: &[u8]) {
        match &mut self.unseen {
            Some(unseen) if unseen.last().is_none_or(|last| last != path) => {
                unseen.push(path.to_vec());
            }
            _ => {}
        }
    }

    fn is_wanted(&self, item: &Item) -> bool {
        !self.options.exclude.fit(&self.path, item.is_directory())
    }

    /// Judges the items at the path, and notes what is to be entered.
    fn judge(
        &mut self,
        before: Option<Found>,
        after: Option<Found>,
    ) -> Result<Option<Difference>, DiffError> {
        let before = before.filter(|found| self.is_wanted(&found.item));
        let after = after.filter(|found| self.is_wanted(&found.item));
        let change = match (before, after) {
            (None, None) => None,
            (Some(before), None) => {
                self.below = self.inside(Some(&before), None);
                Some(Change::Removed(before.item))
            }
            (None, Some(after)) => {
                self.below = self.inside(None, Some(&after));
                Some(Change::Added(after.item))
            }
            (Some(before), Some(after)) => {
                match (before.item.is_directory(), after.item.is_directory()) {
                    (true, true) => self.directories(before, after),
                    (false, false) => self.files(before.item, after.item)?,
                    // A directory that became something else, or the other way
                    // round: one was removed, and behind it the other added.
                    _ => {
                        match self.levels.last_mut() {
                            Some(level) => level.put_back(after),
                            None => self.start = Some((None, Some(after))),
                        }
                        self.below = self.inside(Some(&before), None);
                        Some(Change::Removed(before.item))
                    }
                }
            }
        };
        let difference = |change| Difference { path: self.path.clone(), change, below: None };
        Ok(change.map(difference).filter(|difference| self.is_told(difference)))
    }

    pub(super) fn is_told(&self, difference: &Difference) -> bool {
        let is_directory = difference.item().is_directory();
        self.options.include.is_empty()
            || self.options.include.fit_from_above(&difference.path, is_directory)
    }

    fn directories(&mut self, before: Found, after: Found) -> Option<Change> {
        let trees = before.item.tree().zip(after.item.tree());
        if trees.is_none_or(|(before, after)| before.id != after.id) {
            self.below = self.inside(Some(&before), Some(&after));
        }
        let (before, after) = (before.item, after.item);
        let fields = self.metadata(&before, &after);
        (!fields.is_empty()).then_some(Change::Modified { before, after, fields })
    }

    /// The fields of metadata that differ and count.
    pub(super) fn metadata(&self, before: &Item, after: &Item) -> Vec<Field> {
        let mut fields = fields::metadata(before, after);
        let is_directory = before.is_directory() && after.is_directory();
        fields.retain(|field| {
            let is_time = matches!(field, Field::Mtime | Field::Atime);
            let is_idle = is_directory && is_time && !self.options.directory_times;
            !is_idle && !self.options.ignored.contains(field)
        });
        fields
    }

    fn files(&mut self, before: Item, after: Item) -> Result<Option<Change>, DiffError> {
        let own = match fields::kind(&before, &after) {
            Some(field) => Some(field),
            None => self.content_differs(&before, &after)?.then_some(Field::Content),
        };
        let mut fields: Vec<Field> = own.into_iter().collect();
        fields.extend(self.metadata(&before, &after));
        Ok((!fields.is_empty()).then_some(Change::Modified { before, after, fields }))
    }

    fn content_differs(&mut self, before: &Item, after: &Item) -> Result<bool, DiffError> {
        let (ItemKind::File(one), ItemKind::File(other)) = (&before.kind, &after.kind) else {
            return Ok(false);
        };
        match fields::content(one, other) {
            Sameness::Same => return Ok(false),
            Sameness::Different => return Ok(true),
            Sameness::Unknown => {}
        }
        // What nobody ignores says whether it is worth reading.
        if !self.options.checksum && fields::metadata(before, after).is_empty() {
            return Ok(false);
        }
        let ((FileContent::Stored(stored), _) | (_, FileContent::Stored(stored))) = (one, other)
        else {
            return Ok(false);
        };
        let opened = match self.place() {
            Some((directory, name)) => live::open_file(directory, name),
            None => Err(Errno::NOENT),
        };
        let cancelled = || self.monitor.cancelled();
        let compared = opened
            .map_err(ReadError::Live)
            .and_then(|file| live_content::is_same(self.repository, stored, &file, &cancelled));
        match compared {
            Ok(same) => Ok(!same),
            Err(ReadError::Repository(error)) => {
                let path = self.path.clone();
                self.damage(&path, error).map(|()| false)
            }
            Err(ReadError::Cancelled) => Err(DiffError::Cancelled),
            Err(ReadError::Live(error)) => {
                self.problem("cannot compare its content", error);
                Ok(false)
            }
        }
    }

    /// The live directory that holds what is at the path, and its name there.
    fn place(&self) -> Option<(BorrowedFd<'_>, &[u8])> {
        let Some(level) = self.levels.last() else {
            return self.live.as_ref().map(|live| (live.directory.as_fd(), live.name.as_slice()));
        };
        let start = self.path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        Some((level.live()?.as_fd(), self.path.get(start..)?))
    }

    /// What is to be entered of two directories.
    fn inside(&mut self, before: Option<&Found>, after: Option<&Found>) -> Option<Below> {
        let side = |found: &Found| match found.item.tree() {
            Some(tree) => BelowSide::Stored(*tree),
            None => BelowSide::Live,
        };
        let directory = |found: &&Found| found.item.is_directory();
        let (before, after) = (before.filter(directory), after.filter(directory));
        let is_closed = |live: Option<&Found>, other: Option<&Found>| {
            live.is_some_and(|live| self.is_closed(live, other))
        };
        if before.is_none() && after.is_none() {
            return None;
        }
        if is_closed(before, after) || is_closed(after, before) {
            self.note_unseen(&self.path.clone());
            return None;
        }
        Some((before.map(side), after.map(side)))
    }

    /// Whether a live directory is left alone: the repository, what the kernel
    /// makes up unless a snapshot has something there, and on demand other file
    /// systems.
    fn is_closed(&self, found: &Found, other: Option<&Found>) -> bool {
        let (Some(live), Some((device, inode))) = (&self.live, found.live) else { return false };
        let Some(above) = self.levels.last().and_then(Level::live).map(|above| above.device) else {
            return false;
        };
        let is_repository = live.left_out == Some((device, inode));
        let is_elsewhere = device != above;
        let tree = other.and_then(|other| other.item.tree());
        let is_empty = tree.is_none_or(|tree| tree.totals.entries == 0);
        let is_pseudo = live.pseudo.type_of(device.major, device.minor).is_some();
        let is_other = self.options.one_file_system && Some(device) != live.device;
        is_repository || is_other || (is_elsewhere && is_pseudo && is_empty)
    }

    fn enter(&mut self, (before, after): Below) -> Result<(), DiffError> {
        let is_live = [before, after].iter().flatten().any(|side| matches!(side, BelowSide::Live));
        let tree = [before, after].into_iter().flatten().find_map(|side| match side {
            BelowSide::Stored(tree) => Some(tree),
            BelowSide::Live => None,
        });
        let mut directory = None;
        if is_live {
            let opened = match self.place() {
                Some((base, name)) => LiveDirectory::open(base, name),
                None => Err(Errno::NOENT),
            };
            match opened {
                Ok(opened) if self.levels.len() < DIRECTORY_DEPTH_MAX => directory = Some(opened),
                Ok(_) => {
                    self.cannot_enter(Errno::NAMETOOLONG);
                    return Ok(());
                }
                Err(error) => {
                    self.cannot_enter(error);
                    return Ok(());
                }
            }
        } else if self.levels.len() >= DIRECTORY_DEPTH_MAX {
            let id = tree.map(|tree| tree.id.to_string()).unwrap_or_default();
            let detail = "it lies deeper than any path can say".to_owned();
            let path = self.path.clone();
            return self.damage(&path, RepositoryError::Damaged { kind: "tree", id, detail });
        }
        let mut side = |side: Option<BelowSide>| match side {
            None => Side::Nothing,
            Some(BelowSide::Stored(tree)) => Side::Stored(self.repository.open_directory(&tree)),
            Some(BelowSide::Live) => directory.take().map_or(Side::Nothing, Side::Live),
        };
        let (before, after) = (side(before), side(after));
        self.levels.push(Level::new(before, after, self.path.len()));
        Ok(())
    }

    fn cannot_enter(&mut self, error: Errno) {
        self.problem("cannot look into it", error);
        self.note_unseen(&self.path.clone());
    }
}

impl LiveRoot {
    fn open(
        repository: &Repository,
        path: &Path,
        inner: &[u8],
        follow: bool,
    ) -> Result<(Self, Option<Found>), DiffError> {
        let failed = |source: io::Error| {
            let mut path = path.as_os_str().as_encoded_bytes().to_vec();
            if !inner.is_empty() {
                path.push(b'/');
                path.extend_from_slice(inner);
            }
            DiffError::Live { path, source }
        };
        let real = if follow { path.canonicalize().map_err(failed)? } else { path.to_owned() };
        let (directory, name) = live::reach(&real, inner).map_err(|error| failed(error.into()))?;
        let found = match live::item(directory.as_fd(), &name) {
            Ok(found) => found.map(Found::from),
            Err(error) => return Err(failed(error.into())),
        };
        if found.is_none() && inner.is_empty() {
            return Err(failed(Errno::NOENT.into()));
        }
        let device = found.as_ref().and_then(|found| found.live).map(|(device, _)| device);
        let left_out = live::identity(repository.path());
        let pseudo = PseudoFileSystems::read();
        Ok((Self { directory, name, left_out, pseudo, device }, found))
    }
}
