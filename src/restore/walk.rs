//! The walk over the snapshot, with the target beside it.
//!
//! Directories are entered here, in the order of the walk, which is that in which
//! the content lies in the repository; what is in them goes to the sink, which
//! hands it to workers or does it at once.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::base::name::{EntryName, join_paths};
use crate::dag::{Kind, Node};
use crate::local::Status;
use crate::repository::Step;
use crate::restore::directory::Directory;
use crate::restore::error::{ItemError, RestoreError};
use crate::restore::item::{Job, bytes_of};
use crate::restore::marker::MARKER;
use crate::restore::publish::is_temporary;
use crate::restore::remove::names;
use crate::restore::root_metadata;
use crate::restore::run::{Mode, Run};

/// Takes items; false if nobody wants any more.
pub(super) type Sink<'a> = dyn FnMut(Job) -> bool + 'a;

/// What a restore begins with.
pub(super) struct Start {
    /// The directories from the target down to where the walk begins, each with
    /// its name: none unless it is in place.
    pub(super) way: Vec<(EntryName, Node)>,
    /// What is restored: a directory, or one item with its name.
    pub(super) top: Node,
    pub(super) name: Option<EntryName>,
    /// The path of the top in the snapshot, for patterns.
    pub(super) path: Vec<u8>,
}

/// A directory of the snapshot on the way down.
struct Level {
    /// None for the target itself.
    entry: Option<(EntryName, Node)>,
    place: Place,
    /// Whether it is only passed through: made if it is missing, else left alone.
    is_passed: bool,
    /// Names that the snapshot has in it, by rising bytes, if others are deleted.
    seen: Vec<EntryName>,
    /// Whether some of its names could not be read.
    is_damaged: bool,
    /// Its path in the snapshot.
    path: Vec<u8>,
}

/// Where a directory of the snapshot is in the target.
enum Place {
    /// Not entered yet: perhaps nothing in it is wanted.
    Waiting,
    There(Arc<Directory>),
    /// It cannot be entered, which was said.
    Barred,
}

/// The walk.
pub(super) struct Walker<'a, 'b> {
    run: &'a Run<'a>,
    sink: &'b mut Sink<'b>,
    root: Arc<Directory>,
    levels: Vec<Level>,
    /// Whether the paths that were restored are directories, where several may
    /// become one.
    taken: HashMap<Vec<u8>, bool>,
    /// Whether anything is to be restored at all.
    finds_something: bool,
    /// The sources of the snapshot, if directories above them are only passed.
    sources: Option<Vec<Vec<u8>>>,
}

impl<'a, 'b> Walker<'a, 'b> {
    pub(super) fn new(run: &'a Run<'a>, root: Arc<Directory>, sink: &'b mut Sink<'b>) -> Self {
        let manifest = &run.request.source.manifest;
        let sources = run.request.in_place.then(|| {
            let trimmed = |source: &Vec<u8>| {
                let start = source.iter().position(|byte| *byte != b'/').unwrap_or(source.len());
                let end =
                    source.iter().rposition(|byte| *byte != b'/').map_or(start, |end| end + 1);
                source.get(start..end).unwrap_or_default().to_vec()
            };
            manifest.sources.iter().map(trimmed).collect()
        });
        Self {
            run,
            sink,
            root,
            levels: Vec::new(),
            taken: HashMap::new(),
            finds_something: false,
            sources,
        }
    }

    /// Walks from the start to the end, or until the run is stopped.
    pub(super) fn walk(mut self, start: Start) -> Result<(), RestoreError> {
        let root = self.root.clone();
        let request = self.run.request;
        let in_place = request.in_place;
        // What is restored whole into the target is a directory, else the target
        // is only passed through.
        let is_directory = matches!(start.top.kind, Kind::Directory(_));
        let is_passed = in_place || !is_directory || root_metadata(request, &start).is_none();
        let above = match (in_place, is_directory) {
            (true, _) => Vec::new(),
            (false, true) => start.path.clone(),
            (false, false) => parent_of(&start.path).to_vec(),
        };
        self.levels.push(Level::new(None, Place::There(root), is_passed, above));
        for (name, node) in start.way.into_iter().filter(|_| in_place) {
            let path = self.path_of(&name);
            self.levels.push(Level::new(Some((name, node)), Place::Waiting, true, path));
        }
        match (start.top.kind.clone(), start.name) {
            (Kind::Directory(tree), name) => {
                if in_place && let Some(name) = name {
                    let path = start.path.clone();
                    self.levels.push(Level::new(
                        Some((name, start.top)),
                        Place::Waiting,
                        true,
                        path,
                    ));
                    let last = self.levels.len() - 1;
                    self.note_passage(last, true);
                    if self.is_restored(last) {
                        self.materialize(last);
                    }
                } else {
                    self.note_passage(0, true);
                }
                self.below(&tree)?;
            }
            (_, Some(name)) => self.single(name, start.top),
            (_, None) => {}
        }
        while !self.levels.is_empty() {
            self.leave();
        }
        if is_directory && !self.finds_something && !request.includes.is_empty() {
            self.run.note(
                "Nothing fits --include; a pattern with a slash is seen from the root of the \
                 snapshot",
            );
        }
        Ok(())
    }

    fn below(&mut self, tree: &crate::dag::TreeRef) -> Result<(), RestoreError> {
        let base = self.levels.len();
        let repository = self.run.repository;
        let mut walk = repository.walk(tree);
        while !self.run.is_stopped() {
            match walk.step() {
                Ok(None) => break,
                Ok(Some(Step::Leave)) => self.leave(),
                Ok(Some(Step::Entry(node))) => {
                    let depth = walk.path().iter().filter(|byte| **byte == b'/').count();
                    // A directory that could not be read at all was never left.
                    while self.levels.len() > base + depth {
                        self.leave();
                    }
                    let start = walk.path().iter().rposition(|byte| *byte == b'/');
                    let name = walk.path().get(start.map_or(0, |at| at + 1)..).unwrap_or_default();
                    let Ok(name) = EntryName::new(name) else { continue };
                    if !self.entry(name, node, depth + 1) {
                        walk.skip();
                    }
                }
                Err(error) if error.is_loss() => {
                    if let Some(level) = self.levels.last_mut() {
                        level.is_damaged = true;
                    }
                    let path = walk.path().to_vec();
                    self.run.settle(&path, error.into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes an entry at a depth below where the walk began; returns whether to
    /// enter it.
    fn entry(&mut self, name: EntryName, node: Node, depth: usize) -> bool {
        let run = self.run;
        let path = self.path_of(&name);
        let is_directory = matches!(node.kind, Kind::Directory(_));
        if run.request.delete.is_some()
            && let Some(level) = self.levels.last_mut()
        {
            level.seen.push(name.clone());
        }
        if run.request.excludes.fit(&path, is_directory) {
            self.pass_over(&node);
            return false;
        }
        let includes = &run.request.includes;
        let is_included = includes.is_empty() || includes.fit_from_above(&path, is_directory);
        self.finds_something |= is_included;
        let is_stripped = depth <= run.request.strip_components;
        if !is_directory {
            if is_included && !is_stripped {
                self.single(name, node);
            } else {
                self.pass_over(&node);
            }
            return true;
        }
        run.monitor.advance(1, 0);
        let place = if is_stripped { Place::There(self.root.clone()) } else { Place::Waiting };
        let is_passed = is_stripped || !is_included;
        self.levels.push(Level::new(Some((name, node)), place, is_passed, path));
        let last = self.levels.len() - 1;
        self.note_passage(last, is_included && !is_stripped);
        if is_stripped || !self.is_restored(last) {
            return true;
        }
        if self.materialize(last).is_some() {
            return true;
        }
        if let Some(Level { entry: Some((_, node)), .. }) = self.levels.pop() {
            self.pass_over_below(&node);
        }
        false
    }

    /// Hands an item to the sink, once its directory is there.
    fn single(&mut self, name: EntryName, node: Node) {
        let last = self.levels.len() - 1;
        let Some(directory) = self.materialize(last) else { return self.pass_over(&node) };
        let path = directory.path_of(name.as_bytes());
        if !self.takes(&path, false) {
            return self.pass_over(&node);
        }
        let is_marker = directory.path.is_empty() && name.as_bytes() == MARKER.as_bytes();
        if is_marker || self.run.is_excused(&path) {
            return self.pass_over(&node);
        }
        self.run.monitor.path(Path::new(OsStr::from_bytes(&path)));
        if !(self.sink)(Job { directory, name, node }) {
            self.run.stop(RestoreError::Internal("the workers ended early"));
        }
    }

    /// The path in the snapshot of a name in the last level.
    fn path_of(&self, name: &EntryName) -> Vec<u8> {
        let path = self.levels.last().map(|level| level.path.as_slice());
        join_paths(path.unwrap_or_default(), name.as_bytes())
    }

    /// Takes a path of the target for an item of the snapshot, unless another one
    /// has it that lost the beginning of its own.
    fn takes(&mut self, path: &[u8], is_directory: bool) -> bool {
        if self.run.request.strip_components == 0 {
            return true;
        }
        let before = self.taken.insert(path.to_vec(), is_directory);
        let is_free = before.is_none_or(|before| before && is_directory);
        if !is_free {
            self.taken.insert(path.to_vec(), before.unwrap_or_default());
            let problem = "another item of the snapshot has the same path without its beginning, \
                           so this one is left out";
            self.run.problem(path, problem);
        }
        is_free
    }

    /// Counts what is not restored as done.
    fn pass_over(&self, node: &Node) {
        self.run.monitor.advance(1, bytes_of(node));
        self.pass_over_below(node);
    }

    fn pass_over_below(&self, node: &Node) {
        if let Kind::Directory(tree) = &node.kind {
            let totals = tree.totals;
            self.run.monitor.advance(totals.files.saturating_add(totals.directories), totals.bytes);
        }
    }

    /// Whether a level is more than passed through.
    fn is_restored(&self, index: usize) -> bool {
        self.levels.get(index).is_some_and(|level| !level.is_passed)
    }

    /// Settles whether a level is passed through: those above the sources of a
    /// snapshot are, in place.
    fn note_passage(&mut self, index: usize, is_included: bool) {
        let Some(sources) = &self.sources else { return };
        let includes_all = self.run.request.includes.is_empty();
        if let Some(level) = self.levels.get_mut(index) {
            let path = &level.path;
            let is_inside = sources.iter().any(|source| {
                let rest = path.strip_prefix(source.as_slice());
                source.is_empty() && !path.is_empty()
                    || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
                        && !source.is_empty()
            });
            level.is_passed = !(is_inside && (is_included || includes_all));
        }
    }

    /// Enters the directories down to a level, if that was not done yet.
    fn materialize(&mut self, index: usize) -> Option<Arc<Directory>> {
        let known = |level: &Level| !matches!(level.place, Place::Waiting);
        let first = self.levels.iter().take(index + 1).rposition(known)?;
        for at in first..index {
            let place = self.enter(at);
            if let Some(level) = self.levels.get_mut(at + 1) {
                level.place = place;
            }
        }
        match &self.levels.get(index)?.place {
            Place::There(directory) => Some(directory.clone()),
            Place::Waiting | Place::Barred => None,
        }
    }

    /// Enters the level behind one that was entered.
    fn enter(&mut self, at: usize) -> Place {
        let parent = match self.levels.get(at).map(|level| &level.place) {
            Some(Place::There(parent)) => parent.clone(),
            _ => return Place::Barred,
        };
        let entry = self.levels.get(at + 1).and_then(|level| level.entry.as_ref());
        let path = entry.map(|(name, _)| parent.path_of(name.as_bytes())).unwrap_or_default();
        if !self.takes(&path, true) {
            return Place::Barred;
        }
        match self.levels.get(at + 1) {
            Some(Level { entry: Some((name, node)), is_passed, .. }) => {
                enter(self.run, &parent, name, node, *is_passed)
            }
            _ => Place::Barred,
        }
    }

    /// Leaves the last level: what the snapshot does not have goes.
    fn leave(&mut self) {
        let Some(level) = self.levels.pop() else { return };
        let Place::There(directory) = level.place else { return };
        let deletes = self.run.request.delete.is_some()
            && !level.is_passed
            && !directory.is_fresh
            && self.run.mode != Mode::Verify;
        if deletes && !self.run.is_stopped() {
            if level.is_damaged {
                let problem = "nothing in it is deleted, since not all of its names can be read";
                self.run.problem(&directory.path, problem);
            } else if let Err(error) = self.delete_extra(&directory, &level.seen, &level.path) {
                self.run.settle(&directory.path, error);
            }
        }
        self.run.release(directory);
    }

    fn delete_extra(
        &self,
        directory: &Directory,
        seen: &[EntryName],
        path: &[u8],
    ) -> Result<(), ItemError> {
        let request = self.run.request;
        let Some(delete) = &request.delete else { return Ok(()) };
        if directory.is_mount && !delete.across_mounts {
            return Ok(());
        }
        let found = names(directory.handle()?).map_err(ItemError::target("look into it"))?;
        for name in found {
            let is_seen = seen.binary_search_by(|other| other.as_bytes().cmp(&name)).is_ok();
            let is_special = name == MARKER.as_bytes() || name == b"lost+found";
            if is_seen || directory.path.is_empty() && is_special || is_temporary(&name) {
                continue;
            }
            let Ok(status) = Status::of_name(directory.handle()?, name.as_slice()) else {
                continue;
            };
            let (inner, is_directory) = (join_paths(path, &name), status.is_directory());
            let is_included = request.includes.is_empty()
                || request.includes.fit_from_above(&inner, is_directory);
            let is_spared = request.excludes.fit_from_above(&inner, is_directory)
                || delete.spared.fit_from_above(&inner, is_directory);
            if is_included && !is_spared {
                let below = directory.path_of(&name);
                if let Err(error) = self.run.remove(directory, &name, &below, &status) {
                    self.run.settle(&below, error);
                }
            }
        }
        Ok(())
    }
}

impl Level {
    fn new(entry: Option<(EntryName, Node)>, place: Place, is_passed: bool, path: Vec<u8>) -> Self {
        Self { entry, place, is_passed, seen: Vec::new(), is_damaged: false, path }
    }
}

fn enter(
    run: &Run<'_>,
    parent: &Arc<Directory>,
    name: &EntryName,
    node: &Node,
    is_passed: bool,
) -> Place {
    let entered = run.enter(parent, name, node, is_passed).and_then(|directory| {
        if run.mode != Mode::Verify && !directory.is_fresh {
            run.remove_leftovers(&directory)?;
        }
        Ok(directory)
    });
    match entered {
        Ok(directory) => Place::There(directory),
        Err(error) => {
            let path = parent.path_of(name.as_bytes());
            if !run.is_excused(&path) {
                run.settle(&path, error);
            }
            Place::Barred
        }
    }
}

fn parent_of(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    path.get(..end).unwrap_or_default()
}
