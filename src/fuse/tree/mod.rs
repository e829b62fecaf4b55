//! What the mount shows: nodes of the kernel on one side, the view on the other.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use fuser::{Errno, FileAttr, FileType};

use crate::base::id::hex;
use crate::base::limits::NAME_BYTES_MAX;
use crate::base::name::printable;
use crate::base::time::Timestamp;
use crate::dag::{self, Content, Kind, TreeRef};
use crate::fuse::attributes::{self, MountOwner};
use crate::fuse::nodes::{DirectoryNode, DirectorySource, Key, Node, Nodes, ROOT, What};
use crate::fuse::usage::{Usage, Usages};
use crate::fuse::{Log, errno};
use crate::view::{Directory, EntryHandle, FileBytes, PathKey, Snapshot, View, ViewError};

/// The name of the symlink to the newest snapshot.
const LATEST: &[u8] = b"latest";
/// Attributes that are answered and not listed.
const XATTR_PID: &[u8] = b"user.icecore.pid";
const XATTR_SHA256: &[u8] = b"user.icecore.sha256";
const XATTR_SNAPSHOT: &[u8] = b"user.icecore.snapshot";
const XATTR_TREE: &[u8] = b"user.icecore.tree";
/// `whence` of lseek.
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;
/// How long the kernel may keep what never changes.
pub(crate) const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);
/// How long the kernel may find a snapshot by name after it was deleted. A path
/// that begins with a snapshot's name costs a request each time otherwise.
const BRIEFLY: Duration = Duration::from_secs(1);
/// Entries `.` and `..` come before all others.
const DOTS: u64 = 2;

/// A node with its attributes.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The attributes; `ino` is what the kernel shall know it by.
    pub(crate) attributes: FileAttr,
    /// How long the kernel may keep it.
    pub(crate) lasting: Duration,
}

impl Found {
    pub(crate) fn is_directory(&self) -> bool {
        self.attributes.kind == FileType::Directory
    }
}

/// What the mount shows.
pub(crate) struct Tree {
    view: View,
    nodes: Nodes,
    usages: Usages,
    owner: MountOwner,
    log: Log,
}

/// Called with the cookie behind an entry, its name, number and kind; returns
/// whether there was no room for it.
type AddEntry<'a> = dyn FnMut(u64, &[u8], u64, FileType) -> bool + 'a;
/// Called with the cookie behind an entry, its name and what was found.
type AddFound<'a> = dyn FnMut(u64, &[u8], &Found) -> bool + 'a;

impl Tree {
    pub(crate) fn new(view: View, log: Log) -> Self {
        let owner = MountOwner {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        };
        Self { view, nodes: Nodes::new(), usages: Usages::new(), owner, log }
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    pub(crate) fn usages(&self) -> &Usages {
        &self.usages
    }

    pub(crate) fn is_root(&self, id: u64) -> bool {
        id == ROOT
    }

    pub(crate) fn forget(&self, id: u64, lookups: u64) {
        self.nodes.forget(id, lookups);
    }

    /// Finds a name in a directory, and counts the lookup.
    pub(crate) fn look_up(&self, parent: u64, name: &[u8]) -> Result<Option<Found>, Errno> {
        if name.len() > NAME_BYTES_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let node = self.node(parent)?;
        match &node.what {
            What::Root => self.look_up_in_root(name),
            What::Directory(directory) => {
                self.touch(parent, directory)?;
                let listing = self.listing(parent, &directory.tree)?;
                let found = self.view.find(&listing, name);
                let found = found.map_err(|error| self.fail(parent, &error))?;
                found
                    .map(|(ordinal, entry)| self.entry_node(parent, directory, ordinal, entry))
                    .transpose()
            }
            What::Latest(..) | What::Item(_) => Err(Errno::ENOTDIR),
        }
    }

    fn look_up_in_root(&self, name: &[u8]) -> Result<Option<Found>, Errno> {
        let list = self.view.snapshots().map_err(|error| self.fail(ROOT, &error))?;
        if name == LATEST {
            return Ok(list.newest().map(|newest| self.latest_node(newest)));
        }
        let Ok(text) = std::str::from_utf8(name) else { return Ok(None) };
        let Some(snapshot) = list.by_prefix(text) else { return Ok(None) };
        let usage = self.usages.of(snapshot.id);
        match self.usages.touch(self.view.reader(), &usage) {
            Ok(()) => Ok(Some(self.snapshot_node(name, snapshot, usage))),
            Err(crate::repository::RepositoryError::NoSuchSnapshot { .. }) => Ok(None),
            Err(error) => Err(self.fail(ROOT, &error.into())),
        }
    }

    /// The symlink to the newest snapshot: a node for each target, so that no
    /// cached target is ever stale.
    fn latest_node(&self, newest: &Snapshot) -> Found {
        let Snapshot { id: target, time, .. } = newest;
        let key = Key::Name(format!("latest -> {target}").into_bytes());
        let (id, _) = self.nodes.look_up_place(ROOT, key, || What::Latest(*target, *time));
        Found { attributes: self.latest_attributes(id, *time), lasting: Duration::ZERO }
    }

    fn snapshot_node(&self, name: &[u8], snapshot: &Snapshot, usage: Arc<Usage>) -> Found {
        let key = Key::Name(name.to_vec());
        let make = || {
            let tree = match &snapshot.root.kind {
                Kind::Directory(tree) => *tree,
                // Refused when the manifest was decoded.
                _ => return What::Root,
            };
            What::Directory(Arc::new(DirectoryNode {
                tree,
                path: PathKey::ROOT,
                number: self.view.inode_numbers().snapshot(&snapshot.id),
                usage,
                source: DirectorySource::Root(snapshot.root.clone()),
            }))
        };
        let (id, _) = self.nodes.look_up_place(ROOT, key, make);
        Found { attributes: attributes::of_node(id, &snapshot.root), lasting: BRIEFLY }
    }

    /// Counts a lookup of an entry of a directory.
    fn entry_node(
        &self,
        parent: u64,
        directory: &DirectoryNode,
        ordinal: u64,
        handle: EntryHandle,
    ) -> Result<Found, Errno> {
        let entry = handle.get().ok_or(Errno::EIO)?;
        let numbers = self.view.inode_numbers();
        let number = numbers.entry(directory.path, entry);
        let id = match &entry.node.kind {
            Kind::Directory(tree) => {
                let make = || {
                    What::Directory(Arc::new(DirectoryNode {
                        tree: *tree,
                        path: numbers.child(directory.path, entry.name.as_bytes()),
                        number,
                        usage: directory.usage.clone(),
                        source: DirectorySource::Entry(handle.clone()),
                    }))
                };
                self.nodes.look_up_place(parent, Key::Entry(parent, ordinal), make).0
            }
            _ => self.nodes.look_up_item(parent, number, handle.clone()),
        };
        Ok(Found { attributes: attributes::of_node(id, &entry.node), lasting: FOREVER })
    }

    /// The attributes of a node, with the inode number that `stat` reports.
    pub(crate) fn attributes(&self, id: u64) -> Result<Found, Errno> {
        let node = self.node(id)?;
        Ok(match &node.what {
            What::Root => {
                Found { attributes: self.current_root_attributes()?, lasting: Duration::ZERO }
            }
            What::Latest(_, time) => {
                Found { attributes: self.latest_attributes(id, *time), lasting: FOREVER }
            }
            What::Directory(directory) => {
                let node = directory.node().ok_or(Errno::EIO)?;
                let attributes = attributes::of_node(directory.number, node);
                Found { attributes, lasting: FOREVER }
            }
            What::Item(item) => {
                let entry = item.get().ok_or(Errno::EIO)?;
                Found { attributes: attributes::of_node(id, &entry.node), lasting: FOREVER }
            }
        })
    }

    fn current_root_attributes(&self) -> Result<FileAttr, Errno> {
        let list = self.view.snapshots().map_err(|error| self.fail(ROOT, &error))?;
        let links = u32::try_from(list.len()).unwrap_or(u32::MAX).saturating_add(2);
        Ok(attributes::of_mount(ROOT, FileType::Directory, 4096, links, list.changed(), self.owner))
    }

    /// Attributes of the root that do for an answer in which they are ignored.
    pub(crate) fn root_attributes(&self) -> FileAttr {
        let epoch = std::time::SystemTime::UNIX_EPOCH;
        attributes::of_mount(ROOT, FileType::Directory, 4096, 2, epoch, self.owner)
    }

    fn latest_attributes(&self, id: u64, taken: Timestamp) -> FileAttr {
        let taken = taken.to_system_time();
        attributes::of_mount(id, FileType::Symlink, 64, 1, taken, self.owner)
    }

    pub(crate) fn link_target(&self, id: u64) -> Result<Vec<u8>, Errno> {
        match self.node(id)?.what {
            What::Latest(target, _) => Ok(target.to_string().into_bytes()),
            What::Item(item) => match item.get().map(|entry| &entry.node.kind) {
                Some(Kind::Symlink(target)) => Ok(target.to_vec()),
                _ => Err(Errno::EINVAL),
            },
            What::Root | What::Directory(_) => Err(Errno::EINVAL),
        }
    }

    pub(crate) fn read(&self, id: u64, offset: u64, size: u32) -> Result<FileBytes, Errno> {
        self.with_content(id, |content| {
            let length = usize::try_from(size).unwrap_or(usize::MAX);
            self.view.read(content, offset, length).map_err(|error| self.fail(id, &error))
        })
    }

    pub(crate) fn seek(&self, id: u64, offset: i64, whence: i32) -> Result<i64, Errno> {
        let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
        let found = self.with_content(id, |content| {
            let found = match whence {
                SEEK_DATA => self.view.seek_data(content, offset),
                SEEK_HOLE => self.view.seek_hole(content, offset),
                _ => return Err(Errno::EINVAL),
            };
            found.map_err(|error| self.fail(id, &error))
        })?;
        found.and_then(|position| i64::try_from(position).ok()).ok_or(Errno::ENXIO)
    }

    fn with_content<T>(
        &self,
        id: u64,
        use_content: impl FnOnce(&Content) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let node = self.node(id)?;
        if let Some(What::Directory(parent)) = self.nodes.get(node.parent).map(|node| node.what) {
            self.touch(id, &parent)?;
        }
        let What::Item(item) = &node.what else { return Err(Errno::EISDIR) };
        match item.get().map(|entry| &entry.node.kind) {
            Some(Kind::File(content)) => use_content(content),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Lists a directory from a cookie on.
    pub(crate) fn list(&self, id: u64, offset: u64, add: &mut AddEntry<'_>) -> Result<(), Errno> {
        self.list_with_attributes(id, offset, &mut |next, name, found| {
            let full = add(next, name, found.attributes.ino.0, found.attributes.kind);
            // No lookup is counted by a plain listing.
            if !full && !is_dot(name) {
                self.nodes.forget(found.attributes.ino.0, 1);
            }
            full
        })
    }

    /// Lists a directory from a cookie on, and counts a lookup of each entry
    /// that was taken. Cookies count the entries passed, `.` and `..` first.
    pub(crate) fn list_with_attributes(
        &self,
        id: u64,
        offset: u64,
        add: &mut AddFound<'_>,
    ) -> Result<(), Errno> {
        let node = self.node(id)?;
        if let What::Directory(directory) = &node.what {
            self.touch(id, directory)?;
        }
        for (cookie, name) in [(0, &b"."[..]), (1, b"..")] {
            let number = if cookie == 0 { id } else { node.parent };
            let attributes = FileAttr { ino: fuser::INodeNo(number), ..self.root_attributes() };
            if cookie >= offset
                && add(cookie + 1, name, &Found { attributes, lasting: Duration::ZERO })
            {
                return Ok(());
            }
        }
        let first = offset.saturating_sub(DOTS);
        match &node.what {
            What::Root => self.list_root(first, add),
            What::Directory(directory) => self.list_directory(id, directory, first, add),
            What::Latest(..) | What::Item(_) => Err(Errno::ENOTDIR),
        }
    }

    fn list_root(&self, first: u64, add: &mut AddFound<'_>) -> Result<(), Errno> {
        let list = self.view.snapshots().map_err(|error| self.fail(ROOT, &error))?;
        let mut cookie = DOTS;
        let mut give = |name: &[u8], found: &dyn Fn() -> Found| {
            cookie += 1;
            if cookie <= first + DOTS {
                return ControlFlow::Continue(());
            }
            let found = found();
            if add(cookie, name, &found) {
                self.nodes.forget(found.attributes.ino.0, 1);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        for snapshot in list.iter() {
            let name = snapshot.id.to_string().into_bytes();
            let usage = || self.usages.of(snapshot.id);
            if give(&name, &|| self.snapshot_node(&name, snapshot, usage())).is_break() {
                return Ok(());
            }
        }
        if let Some(newest) = list.newest() {
            // Full or not, nothing comes behind it.
            let _ = give(LATEST, &|| self.latest_node(newest));
        }
        Ok(())
    }

    fn list_directory(
        &self,
        id: u64,
        directory: &DirectoryNode,
        first: u64,
        add: &mut AddFound<'_>,
    ) -> Result<(), Errno> {
        let listing = self.listing(id, &directory.tree)?;
        for ordinal in first..listing.len() {
            let handle = self.view.entry(&listing, ordinal);
            let handle = handle.map_err(|error| self.fail(id, &error))?.ok_or(Errno::EIO)?;
            let entry = handle.clone();
            let found = self.entry_node(id, directory, ordinal, handle)?;
            let name = entry.get().map(|entry| entry.name.as_bytes()).unwrap_or_default();
            if add(ordinal + DOTS + 1, name, &found) {
                self.nodes.forget(found.attributes.ino.0, 1);
                break;
            }
        }
        Ok(())
    }

    /// The value of an extended attribute.
    pub(crate) fn xattr(&self, id: u64, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let node = self.node(id)?;
        if let Some(value) = self.own_xattr(&node, name) {
            return Ok(value);
        }
        let value = dag_node(&node.what).and_then(|node| node.xattr(name));
        value.map(<[u8]>::to_vec).ok_or(Errno::ENODATA)
    }

    /// The names of a node's extended attributes, each ended by a NUL.
    pub(crate) fn xattr_names(&self, id: u64) -> Result<Vec<u8>, Errno> {
        let node = self.node(id)?;
        let mut names = Vec::new();
        for xattr in dag_node(&node.what).map(|node| &*node.xattrs).unwrap_or_default() {
            names.extend_from_slice(&xattr.name);
            names.push(0);
        }
        Ok(names)
    }

    /// Attributes of our own.
    fn own_xattr(&self, node: &Node, name: &[u8]) -> Option<Vec<u8>> {
        if !name.starts_with(b"user.icecore.") {
            return None;
        }
        let text = match (name, &node.what) {
            (XATTR_PID, What::Root) => std::process::id().to_string(),
            (XATTR_TREE, What::Directory(directory)) => directory.tree.id.to_string(),
            (XATTR_SNAPSHOT, What::Directory(directory)) => directory.usage.id.to_string(),
            (XATTR_SNAPSHOT, What::Item(_)) => match self.nodes.get(node.parent)?.what {
                What::Directory(parent) => parent.usage.id.to_string(),
                _ => return None,
            },
            (XATTR_SHA256, What::Item(item)) => match &item.get()?.node.kind {
                Kind::File(content) => hex(&content.known_sha256()?),
                _ => return None,
            },
            _ => return None,
        };
        Some(text.into_bytes())
    }

    /// Bytes and files of the newest snapshot, which is what `df` shows.
    pub(crate) fn totals(&self) -> Result<(u64, u64), Errno> {
        let list = self.view.snapshots().map_err(|error| self.fail(ROOT, &error))?;
        let newest = list.newest().map(|snapshot| snapshot.counters).unwrap_or_default();
        Ok((newest.bytes, newest.files + newest.dirs))
    }

    fn node(&self, id: u64) -> Result<Node, Errno> {
        self.nodes.get(id).ok_or(Errno::ESTALE)
    }

    fn listing(&self, id: u64, tree: &TreeRef) -> Result<Arc<Directory>, Errno> {
        self.view.directory(tree).map_err(|error| self.fail(id, &error))
    }

    /// Keeps the snapshot of a directory leased.
    fn touch(&self, id: u64, directory: &DirectoryNode) -> Result<(), Errno> {
        let touched = self.usages.touch(self.view.reader(), &directory.usage);
        touched.map_err(|error| self.fail(id, &error.into()))
    }

    /// Turns a failure into what the kernel is told, and logs it with the path
    /// that it happened at.
    fn fail(&self, id: u64, error: &ViewError) -> Errno {
        let path = printable(&self.nodes.path(id));
        (self.log)(&format!("/{path}: {error}"));
        errno::of(error)
    }
}

fn is_dot(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}

fn dag_node(what: &What) -> Option<&dag::Node> {
    match what {
        What::Directory(directory) => directory.node(),
        What::Item(item) => item.get().map(|entry| &entry.node),
        What::Root | What::Latest(..) => None,
    }
}
