//! The walk: every item below the sources that belongs to the snapshot, in the
//! order of name bytes, without following symlinks and without recursion.
//!
//! A [`Visitor`] decides what is done with the items.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use crate::base::limits::DIRECTORY_DEPTH_MAX;
use crate::base::mounts::PseudoFileSystems;
use crate::base::name::{EntryName, printable};
use crate::base::progress::Monitor;
use crate::dag::Device;
use crate::ingest::error::{SourceErrors, problem};
use crate::ingest::item::REPLACED;
use crate::ingest::listing::Names;
use crate::ingest::location::Location;
use crate::ingest::pipeline::Stopped;
use crate::ingest::selection::{IGNORE_FILE, IgnoreFiles, Selection};
use crate::ingest::source::Place;
use crate::local::{Identity, Status};

/// Is told of every item.
pub(crate) trait Visitor {
    /// A directory begins.
    fn enter(&mut self, met: &Met<'_>, items: &Items) -> Result<(), Stopped>;

    /// It ends.
    fn leave(&mut self) -> Result<(), Stopped>;

    /// An item that is no directory.
    fn item(&mut self, met: &Met<'_>) -> Result<(), Stopped>;
}

/// An item that was met.
pub(crate) struct Met<'a> {
    /// Its name; the root has none.
    pub(crate) name: &'a [u8],
    /// Its path in the snapshot.
    pub(crate) path: &'a [u8],
    /// The path that people know it by.
    pub(crate) real: &'a [u8],
    pub(crate) status: Status,
    /// The directory in which it is reached by its name, or else by its path.
    pub(crate) within: Option<&'a Arc<OwnedFd>>,
    /// For a directory that could be opened, itself.
    pub(crate) opened: Option<&'a Arc<OwnedFd>>,
    /// Whether it is only there for what lies below it.
    pub(crate) leads_on: bool,
}

impl Met<'_> {
    /// Where the item is.
    pub(crate) fn location(&self) -> Location {
        match self.within {
            Some(directory) => Location::in_directory(directory, self.name),
            None => Location::at_path(self.real),
        }
    }
}

/// Which items of a directory will be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Items {
    /// All that belong to the snapshot.
    Listed,
    /// Only those that lead to sources; their names, each with a NUL behind it.
    Leading(Vec<u8>),
    /// None: it is kept empty.
    Closed,
}

/// What a walk goes by.
pub(crate) struct WalkContext<'a> {
    pub(crate) monitor: &'a dyn Monitor,
    pub(crate) errors: &'a SourceErrors,
    pub(crate) selection: &'a Selection,
    /// The repository's directory, which is never part of a snapshot.
    pub(crate) repository: Option<Identity>,
    pub(crate) pseudo: &'a PseudoFileSystems,
}

/// What a walk has to say besides its items.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    /// What was left out on purpose, for people.
    pub(crate) notes: Vec<String>,
    /// Items that the selection left out.
    pub(crate) excluded: u64,
}

/// The walk under way.
pub(crate) struct Walker<'a, V> {
    context: &'a WalkContext<'a>,
    visitor: V,
    frames: Vec<Frame>,
    /// The current item's name, its path in the snapshot, and its real one.
    name: Vec<u8>,
    path: Vec<u8>,
    real: Vec<u8>,
    walked: Walked,
}

/// A directory whose items are being walked.
struct Frame {
    /// None for a directory that only leads to a source.
    directory: Option<Arc<OwnedFd>>,
    names: Names,
    /// What the plan says of some of the names.
    places: BTreeMap<EntryName, Place>,
    ignore_files: Option<Arc<IgnoreFiles>>,
    device: Device,
    path_length: usize,
    real_length: usize,
}

impl<'a, V: Visitor> Walker<'a, V> {
    pub(crate) fn new(context: &'a WalkContext<'a>, visitor: V) -> Self {
        Self {
            context,
            visitor,
            frames: Vec::new(),
            name: Vec::new(),
            path: Vec::new(),
            real: Vec::new(),
            walked: Walked::default(),
        }
    }

    /// Walks everything below the root of a plan. Whatever the outcome, `end` is
    /// given the visitor.
    pub(crate) fn run(mut self, root: Place, end: &mut dyn FnMut(V)) -> Result<Walked, Stopped> {
        let outcome = self.walk(root);
        end(self.visitor);
        outcome.map(|()| self.walked)
    }

    fn walk(&mut self, root: Place) -> Result<(), Stopped> {
        self.item(Some(root))?;
        while let Some(frame) = self.frames.last_mut() {
            self.path.truncate(frame.path_length);
            self.real.truncate(frame.real_length);
            if frame.names.next_into(&mut self.name) {
                let place = frame.places.remove(self.name.as_slice());
                push_name(&mut self.path, &self.name);
                push_name(&mut self.real, &self.name);
                match EntryName::check(&self.name) {
                    Ok(()) => self.item(place)?,
                    Err(error) => self.add_error(&error.to_string()),
                }
            } else {
                self.frames.pop();
                self.visitor.leave()?;
            }
        }
        Ok(())
    }

    /// Looks at the current item.
    fn item(&mut self, place: Option<Place>) -> Result<(), Stopped> {
        if self.context.monitor.cancelled() {
            return Err(Stopped);
        }
        if let Some(place) = &place {
            self.real = place.path.as_os_str().as_bytes().to_vec();
        }
        self.context.monitor.path(Path::new(std::ffi::OsStr::from_bytes(&self.real)));
        let leads_on = place.as_ref().is_some_and(|place| !place.is_source);
        let within = self.frames.last().and_then(|frame| frame.directory.as_ref());
        let within = within.filter(|_| place.is_none()).cloned();
        let looked_at = match &within {
            // Only what the plan names leads on.
            Some(directory) => Status::of_name(directory, self.name.as_slice()),
            None => Location::at_path(&self.real).status(leads_on),
        };
        let status = match looked_at {
            Ok(status) => status,
            Err(error) => return self.report("read its metadata", error),
        };
        if !leads_on && self.is_excluded(&status, place.is_some()) {
            return Ok(());
        }
        if status.is(FileType::Directory) {
            return self.directory(place, within, status);
        }
        if self.frames.is_empty() {
            self.add_error("is no directory");
            return Err(Stopped);
        }
        self.visitor.item(&Met {
            name: &self.name,
            path: &self.path,
            real: &self.real,
            status,
            within: within.as_ref(),
            opened: None,
            leads_on: false,
        })
    }

    fn is_excluded(&mut self, status: &Status, is_named: bool) -> bool {
        let Some(frame) = self.frames.last() else { return false };
        let ignore_files = frame.ignore_files.as_deref();
        if !self.context.selection.excludes(&self.path, status, ignore_files) {
            return false;
        }
        self.walked.excluded += 1;
        if is_named {
            let shown = printable(&self.real);
            self.walked.notes.push(format!("{shown}: left out although named, it is excluded"));
        }
        true
    }

    fn directory(
        &mut self,
        place: Option<Place>,
        within: Option<Arc<OwnedFd>>,
        status: Status,
    ) -> Result<(), Stopped> {
        if self.context.repository == Some(status.identity()) {
            let shown = printable(&self.real);
            self.walked.notes.push(format!("{shown}: left out, it is the repository itself"));
            return Ok(());
        }
        let is_named = place.is_some();
        let (is_source, places) =
            place.map_or((true, BTreeMap::new()), |place| (place.is_source, place.children));
        let unopened = |within, places| Entering {
            status,
            within,
            opened: None,
            names: Names::default(),
            places,
            leads_on: !is_source,
        };
        let closed = !is_named && self.is_closed(&status);
        if !is_source || closed {
            return self.enter(unopened(within, places));
        }
        let location = match &within {
            Some(directory) => Location::in_directory(directory, &self.name),
            None => Location::at_path(&self.real),
        };
        let opened = location.open(OFlags::DIRECTORY);
        let opened = opened.and_then(|opened| Ok((Status::of_file(&opened)?, opened)));
        let (fresh, opened) = match opened {
            Ok(opened) => opened,
            // It is no directory any more.
            Err(error @ (Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => {
                return self.report("open it", error);
            }
            Err(error) => {
                self.report("list it", error)?;
                return self.enter(unopened(within, places));
            }
        };
        if fresh.identity() != status.identity() {
            self.add_error(REPLACED);
            return Ok(());
        }
        let mut names = Names::default();
        if let Err(error) = names.read(&opened) {
            self.report("list it whole", error)?;
        }
        let opened = Some(Arc::new(opened));
        self.enter(Entering { status: fresh, within, opened, names, places, leads_on: false })
    }

    /// Whether a directory is kept empty: another file system that does not
    /// belong, or a depth that nobody comes to by honest means.
    fn is_closed(&mut self, status: &Status) -> bool {
        if self.frames.len() >= DIRECTORY_DEPTH_MAX {
            self.add_error("is nested too deeply; it is kept empty");
            return true;
        }
        if self.frames.last().is_none_or(|frame| frame.device == status.device) {
            return false;
        }
        let shown = printable(&self.real);
        if let Some(kind) = self.context.pseudo.type_of(status.device.major, status.device.minor) {
            let note = format!("{shown}: left out, it is a pseudo file system ({kind})");
            self.walked.notes.push(note);
            return true;
        }
        if self.context.selection.one_file_system() {
            self.walked.notes.push(format!("{shown}: left out, it is another file system"));
            return true;
        }
        false
    }

    fn enter(&mut self, entering: Entering) -> Result<(), Stopped> {
        let Entering { status, within, opened, mut names, places, leads_on } = entering;
        let mut ignore_files = self.frames.last().and_then(|frame| frame.ignore_files.clone());
        if let Some(directory) = &opened {
            let selection = self.context.selection;
            if let Some(marker) = selection.marker(directory, &names) {
                let marker = marker.as_bytes().to_vec();
                names.clear();
                names.push(&marker);
                self.walked.excluded += 1;
            }
            let (found, problems) =
                selection.ignore_files(directory, &names, &self.path, ignore_files.as_ref());
            for problem in problems {
                self.add_error(&format!("{IGNORE_FILE}: {problem}"));
            }
            ignore_files = found;
        }
        for name in places.keys() {
            names.push(name.as_bytes());
        }
        names.sort();
        let met = Met {
            name: &self.name,
            path: &self.path,
            real: &self.real,
            status,
            within: within.as_ref(),
            opened: opened.as_ref(),
            leads_on,
        };
        let items = match &opened {
            Some(_) => Items::Listed,
            None if leads_on => Items::Leading(names.joined().to_vec()),
            None => Items::Closed,
        };
        self.visitor.enter(&met, &items)?;
        self.frames.push(Frame {
            directory: opened,
            names,
            places,
            ignore_files,
            device: status.device,
            path_length: self.path.len(),
            real_length: self.real.len(),
        });
        Ok(())
    }

    fn report(&mut self, action: &str, error: Errno) -> Result<(), Stopped> {
        self.add_error(&problem(action, &error.into()));
        Ok(())
    }

    fn add_error(&self, problem: &str) {
        self.context.errors.add(&self.real, problem, self.context.monitor);
    }
}

/// A directory that is about to be walked.
struct Entering {
    status: Status,
    within: Option<Arc<OwnedFd>>,
    opened: Option<Arc<OwnedFd>>,
    names: Names,
    places: BTreeMap<EntryName, Place>,
    leads_on: bool,
}

/// Appends a name to a path.
pub(crate) fn push_name(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() && !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}
