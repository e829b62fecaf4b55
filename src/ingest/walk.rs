//! The walk: every item below the sources, in the order of name bytes, without
//! following symlinks and without recursion.
//!
//! Items are reached by (directory descriptor, name), so neither the depth of a
//! tree nor the length of its paths matters, and nothing can be swapped under
//! the walk to lead it elsewhere.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::vec::IntoIter;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::fs::{major, minor};
use rustix::io::Errno;

use crate::base::hash::sha256;
use crate::base::limits::{DIRECTORY_DEPTH_MAX, INLINE_CONTENT_BYTES_MAX};
use crate::base::name::{EntryName, printable};
use crate::base::progress::Monitor;
use crate::chunking::Chunker;
use crate::dag::{Body, Content, Device, Kind, LinkGroup, Xattr};
use crate::ingest::content::{ReadFailure, emit_content, read_small};
use crate::ingest::error::{SourceError, SourceErrors};
use crate::ingest::listing::{Item, list};
use crate::ingest::metadata::{MetadataReader, XattrSource};
use crate::ingest::mounts::PseudoFileSystems;
use crate::ingest::pipeline::{Emitter, Event, Identity, Stopped};
use crate::ingest::source::{Place, Plan};
use crate::repository::Writer;

/// What the walk has to say besides its events.
pub(crate) struct Walk {
    pub(crate) errors: SourceErrors,
    pub(crate) notes: Vec<String>,
}

/// The walk under way.
pub(crate) struct Walker<'a> {
    emitter: Emitter<'a>,
    monitor: &'a dyn Monitor,
    chunker: Chunker,
    repository: Option<Identity>,
    pseudo: PseudoFileSystems,
    metadata: MetadataReader,
    /// Groups of hard links that were met, and those whose content was read.
    groups: HashMap<Identity, [u8; 16]>,
    read: HashSet<Identity>,
    root: Option<Place>,
    frames: Vec<Frame>,
    /// The current item's path in the snapshot, and its real one for people.
    path: Vec<u8>,
    real: Vec<u8>,
    walk: Walk,
}

/// A directory whose items are being walked.
struct Frame {
    /// None for a directory that only leads to a source.
    directory: Option<OwnedFd>,
    items: IntoIter<Item>,
    device: u64,
    path_length: usize,
    real_length: usize,
}

/// How the current item is reached.
enum Reach {
    /// By its name in the innermost directory.
    Name,
    /// By a path of the plan.
    Planned,
}

impl<'a> Walker<'a> {
    pub(crate) fn new(
        writer: &Writer,
        plan: Plan,
        emitter: Emitter<'a>,
        monitor: &'a dyn Monitor,
    ) -> Self {
        let repository = std::fs::metadata(writer.path()).ok();
        Self {
            emitter,
            monitor,
            chunker: Chunker::new(&writer.config().chunker),
            repository: repository.map(|metadata| (metadata.dev(), metadata.ino())),
            pseudo: PseudoFileSystems::read(),
            metadata: MetadataReader::default(),
            groups: HashMap::new(),
            read: HashSet::new(),
            root: Some(plan.root),
            frames: Vec::new(),
            path: Vec::new(),
            real: Vec::new(),
            walk: Walk { errors: plan.errors, notes: Vec::new() },
        }
    }

    /// Walks everything.
    pub(crate) fn run(mut self) -> Result<Walk, Stopped> {
        if let Some(root) = self.root.take() {
            self.item(Item { name: None, place: Some(root) })?;
        }
        while let Some(frame) = self.frames.last_mut() {
            self.path.truncate(frame.path_length);
            self.real.truncate(frame.real_length);
            match frame.items.next() {
                Some(item) => self.item(item)?,
                None => {
                    self.frames.pop();
                    self.emitter.event(Event::Leave)?;
                }
            }
        }
        Ok(self.walk)
    }

    /// Looks at one item and passes it on.
    fn item(&mut self, item: Item) -> Result<(), Stopped> {
        if self.monitor.cancelled() {
            return Err(Stopped);
        }
        if let Some(name) = &item.name {
            push_name(&mut self.path, name);
            push_name(&mut self.real, name);
        }
        let reach = match &item.place {
            Some(place) => {
                self.real = place.path.as_os_str().as_bytes().to_vec();
                Reach::Planned
            }
            None => Reach::Name,
        };
        self.monitor.path(Path::new(OsStr::from_bytes(&self.real)));
        let leads_on = item.place.as_ref().is_some_and(|place| !place.is_source);
        let flags = if leads_on { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
        let stat = match self.stat(&reach, item.name.as_ref(), flags) {
            Ok(stat) => stat,
            Err(error) => return self.report("read its metadata", error),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.directory(item, &reach, &stat),
            FileType::RegularFile => self.regular(item.name, &reach, &stat),
            other => self.special(item.name, &reach, &stat, other),
        }
    }

    fn stat(&self, reach: &Reach, name: Option<&EntryName>, flags: AtFlags) -> Result<Stat, Errno> {
        match (reach, name, self.parent()) {
            (Reach::Name, Some(name), Some(parent)) => statat(parent, name.as_os_str(), flags),
            _ => statat(CWD, OsStr::from_bytes(&self.real), flags),
        }
    }

    fn parent(&self) -> Option<&OwnedFd> {
        self.frames.last().and_then(|frame| frame.directory.as_ref())
    }

    /// Opens the current item. Access times stay as they are where that is
    /// allowed; a fifo swapped in does not block.
    fn open(
        &self,
        reach: &Reach,
        name: Option<&EntryName>,
        flags: OFlags,
    ) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let open = |flags| match (reach, name, self.parent()) {
            (Reach::Name, Some(name), Some(parent)) => {
                openat(parent, name.as_os_str(), flags, Mode::empty())
            }
            _ => openat(CWD, OsStr::from_bytes(&self.real), flags, Mode::empty()),
        };
        match open(flags | OFlags::NOATIME) {
            Err(Errno::PERM) => open(flags),
            opened => opened,
        }
    }

    fn directory(&mut self, item: Item, reach: &Reach, stat: &Stat) -> Result<(), Stopped> {
        if self.repository == Some((stat.st_dev, stat.st_ino)) {
            let shown = printable(&self.real);
            self.walk.notes.push(format!("{shown}: left out, it is the repository itself"));
            return Ok(());
        }
        let Item { name, place } = item;
        let (is_source, children) = match place {
            Some(place) => (Some(place.is_source), place.children),
            None => (None, Default::default()),
        };
        if is_source != Some(true) && is_source != Some(false) && self.is_pseudo(stat) {
            let xattrs = Vec::new();
            return self.enter(name, stat, xattrs, None, Vec::new());
        }
        if is_source == Some(false) {
            // Only leads to a source: `.` at its end follows a symlink.
            let path = Path::new(OsStr::from_bytes(&self.real)).join(".");
            let xattrs = self.xattrs(XattrSource::Path(path));
            let items = Item::places(children);
            return self.enter(name, stat, xattrs, None, items);
        }
        if self.frames.len() >= DIRECTORY_DEPTH_MAX {
            self.add_error("is nested too deeply; it is kept empty".to_owned());
            return self.enter(name, stat, Vec::new(), None, Vec::new());
        }
        let opened = self.open(reach, name.as_ref(), OFlags::DIRECTORY | OFlags::NOFOLLOW);
        let opened = opened.and_then(|directory| Ok((fstat(&directory)?, directory)));
        let (stat, directory) = match opened {
            Ok(opened) => opened,
            // It is no directory any more.
            Err(error @ (Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => {
                return self.report("open it", error);
            }
            Err(error) => {
                self.report("list it", error)?;
                return self.enter(name, stat, Vec::new(), None, Vec::new());
            }
        };
        let xattrs = self.xattrs(XattrSource::File(&directory));
        let mut names = Vec::new();
        if let Err(error) = list(&directory, &mut names) {
            self.report("list it whole", error)?;
        }
        let items = Item::merge(names, children);
        self.enter(name, &stat, xattrs, Some(directory), items)
    }

    /// Whether a pseudo file system is mounted here; noted if it is.
    fn is_pseudo(&mut self, stat: &Stat) -> bool {
        if self.frames.last().is_none_or(|frame| frame.device == stat.st_dev) {
            return false;
        }
        let device = (major(stat.st_dev), minor(stat.st_dev));
        let Some(kind) = self.pseudo.type_of(device) else { return false };
        let shown = printable(&self.real);
        self.walk.notes.push(format!("{shown}: left out, it is a pseudo file system ({kind})"));
        true
    }

    fn enter(
        &mut self,
        name: Option<EntryName>,
        stat: &Stat,
        xattrs: Vec<Xattr>,
        directory: Option<OwnedFd>,
        items: Vec<Item>,
    ) -> Result<(), Stopped> {
        let metadata = self.metadata.metadata(stat, None, xattrs);
        self.frames.push(Frame {
            directory,
            items: items.into_iter(),
            device: stat.st_dev,
            path_length: self.path.len(),
            real_length: self.real.len(),
        });
        self.emitter.event(Event::Enter(name, metadata))
    }

    fn regular(
        &mut self,
        name: Option<EntryName>,
        reach: &Reach,
        seen: &Stat,
    ) -> Result<(), Stopped> {
        let Some(name) = name else { return self.no_root() };
        let identity = (seen.st_dev, seen.st_ino);
        let links = self.links(seen);
        let file = self.open(reach, Some(&name), OFlags::NOFOLLOW);
        let opened = file.and_then(|file| Ok((fstat(&file)?, file)));
        let (stat, file) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.report("open it", error),
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
            || (stat.st_dev, stat.st_ino) != identity
        {
            self.add_error("was replaced while it was being saved".to_owned());
            return Ok(());
        }
        let xattrs = self.xattrs(XattrSource::File(&file));
        let metadata = self.metadata.metadata(&stat, links, xattrs);
        if links.is_some() && self.read.contains(&identity) {
            return self.emitter.event(Event::Link(name, metadata, identity));
        }
        let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
        if size <= INLINE_CONTENT_BYTES_MAX && links.is_none() {
            match self.read_inline(&file, size) {
                Ok(None) => {}
                Ok(Some(content)) => {
                    self.check_unchanged(&file, &stat);
                    let node = metadata.into_node(Kind::File(content));
                    return self.emitter.event(Event::Item(name, node));
                }
                Err(error) => return self.report("read it", error),
            }
        }
        self.emitter.event(Event::FileStart(name, metadata, links.map(|_| identity)))?;
        match self.emit_file(&file, &stat) {
            Ok(()) => {
                self.check_unchanged(&file, &stat);
                if links.is_some() {
                    self.read.insert(identity);
                }
                self.emitter.event(Event::FileEnd)
            }
            Err(ReadFailure::Stopped) => Err(Stopped),
            Err(ReadFailure::Source(error)) => {
                self.add_io_error("read it", error);
                self.emitter.event(Event::FileFailed)
            }
        }
    }

    /// Reads a file of a few bytes. Files of the kernel say that they are empty
    /// and are not; nothing is returned for those that turn out longer.
    fn read_inline(&self, file: &OwnedFd, size: usize) -> Result<Option<Content>, Errno> {
        let bytes = read_small(file, if size == 0 { INLINE_CONTENT_BYTES_MAX + 1 } else { size })?;
        if bytes.len() > INLINE_CONTENT_BYTES_MAX {
            return Ok(None);
        }
        let size = bytes.len() as u64;
        Ok(Some(Content { size, sha256: None, body: Body::Inline(bytes.into()) }))
    }

    fn emit_file(&self, file: &OwnedFd, stat: &Stat) -> Result<(), ReadFailure> {
        if stat.st_size == 0 && stat.st_nlink == 1 {
            // Only files of the kernel get here: they have no size, but an end.
            return emit_content(file, u64::MAX >> 1, false, &self.chunker, &self.emitter);
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let allocated = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
        emit_content(file, size, allocated < size, &self.chunker, &self.emitter)
    }

    fn check_unchanged(&mut self, file: &OwnedFd, before: &Stat) {
        let stamp = |stat: &Stat| {
            (stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec)
        };
        match fstat(file) {
            Ok(after) if stamp(&after) == stamp(before) => {}
            Ok(_) => self.add_error("changed while it was being read; saved as read".to_owned()),
            Err(error) => self.add_io_error("check it", error.into()),
        }
    }

    fn special(
        &mut self,
        name: Option<EntryName>,
        reach: &Reach,
        stat: &Stat,
        kind: FileType,
    ) -> Result<(), Stopped> {
        let Some(name) = name else { return self.no_root() };
        let device = Device { major: major(stat.st_rdev), minor: minor(stat.st_rdev) };
        let kind = match kind {
            FileType::Symlink => match self.read_link(reach, &name) {
                Ok(target) => Kind::Symlink(target.into()),
                Err(error) => return self.report("read the link", error),
            },
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            FileType::BlockDevice => Kind::BlockDevice(device),
            FileType::CharacterDevice => Kind::CharDevice(device),
            _ => {
                self.add_error("is of an unknown kind".to_owned());
                return Ok(());
            }
        };
        let links = self.links(stat);
        let source = match (reach, self.parent()) {
            (Reach::Name, Some(parent)) => XattrSource::Name(parent.as_fd(), &name),
            _ => XattrSource::Path(Path::new(OsStr::from_bytes(&self.real)).to_owned()),
        };
        let read = source.read();
        let xattrs = self.kept_xattrs(read);
        let node = self.metadata.metadata(stat, links, xattrs).into_node(kind);
        self.emitter.event(Event::Item(name, node))
    }

    fn read_link(&self, reach: &Reach, name: &EntryName) -> Result<Vec<u8>, Errno> {
        let target = match (reach, self.parent()) {
            (Reach::Name, Some(parent)) => readlinkat(parent, name.as_os_str(), Vec::new()),
            _ => readlinkat(CWD, OsStr::from_bytes(&self.real), Vec::new()),
        };
        target.map(std::ffi::CString::into_bytes)
    }

    /// The group of hard links that an item belongs to, named after the first
    /// path under which it was met.
    fn links(&mut self, stat: &Stat) -> Option<LinkGroup> {
        if stat.st_nlink < 2 {
            return None;
        }
        let path = &self.path;
        let group = self.groups.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| {
            let mut group = [0; 16];
            group.copy_from_slice(&sha256(path)[..16]);
            group
        });
        Some(LinkGroup { count: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX), group: *group })
    }

    /// Reads attributes; a file whose attributes cannot be read is kept without.
    fn xattrs(&mut self, source: XattrSource<'_>) -> Vec<Xattr> {
        let read = source.read();
        self.kept_xattrs(read)
    }

    fn kept_xattrs(&mut self, read: std::io::Result<Vec<Xattr>>) -> Vec<Xattr> {
        read.unwrap_or_else(|error| {
            self.add_io_error("read its extended attributes", error);
            Vec::new()
        })
    }

    fn no_root(&mut self) -> Result<(), Stopped> {
        self.add_error("is no directory".to_owned());
        Err(Stopped)
    }

    fn report(&mut self, action: &str, error: Errno) -> Result<(), Stopped> {
        self.add_io_error(action, error.into());
        Ok(())
    }

    fn add_io_error(&mut self, action: &str, error: std::io::Error) {
        let error = SourceError::io(&self.real, action, error);
        self.walk.errors.add(&error, self.monitor);
    }

    fn add_error(&mut self, problem: String) {
        let error = SourceError { path: self.real.clone(), problem };
        self.walk.errors.add(&error, self.monitor);
    }
}

fn push_name(path: &mut Vec<u8>, name: &EntryName) {
    if !path.is_empty() && !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name.as_bytes());
}
