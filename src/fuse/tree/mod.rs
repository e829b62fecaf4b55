//! What the mount shows: nodes of the kernel on one side, the view on the other.

mod ahead;
mod content;
mod control;
mod difference;
mod listing;
mod report;
mod shedding;
mod shown;
mod single;
mod xattrs;

pub(crate) use control::{ControlDirectory, Report};
pub(crate) use shown::BRIEFLY;
pub use single::SingleTree;

use std::sync::Arc;
use std::time::Duration;

use fuser::{Errno, FileAttr, FileType, INodeNo};

use crate::base::id::SnapshotId;
use crate::base::limits::NAME_BYTES_MAX;
use crate::base::name::printable;
use crate::base::time::Timestamp;
use crate::dag::{self, Kind, TreeRef};
use crate::fuse::attributes::{self, MountOwner};
use crate::fuse::nodes::{DirectoryNode, DirectorySource, Key, Node, Nodes, ROOT, What};
use crate::fuse::statistics::{Damage, Failure, Statistics};
use crate::fuse::usage::{Usage, Usages};
use crate::fuse::{Describe, Log, errno};
use crate::repository::RepositoryError;
use crate::view::{Directory, EntryHandle, PathKey, Place, View, ViewError};

/// How long the kernel may keep what never changes.
pub(crate) const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

/// How long the kernel may keep what changes with the list of snapshots. Every
/// path through the mount begins with it, so that not to keep it at all costs a
/// request for each path that a tool names (`ls -lR`: 4.5 s instead of 0.5). A
/// writer lingers longer than that after its change (see
/// [`crate::repository::LINGER`]), so that nobody sees the state before it.
pub(crate) const MOMENT: Duration = Duration::from_millis(2);

/// A node with its attributes.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The attributes; `ino` is what the kernel shall know it by.
    pub(crate) attributes: FileAttr,
    /// How long the kernel may keep its name.
    pub(crate) lasting: Duration,
    /// How long it may keep the attributes: not at all where `ino` is not the
    /// number that `stat` is to report.
    pub(crate) attributes_lasting: Duration,
}

impl Found {
    /// What keeps name and attributes alike.
    pub(crate) fn new(attributes: FileAttr, lasting: Duration) -> Self {
        Self { attributes, lasting, attributes_lasting: lasting }
    }

    /// A directory inside a snapshot, known by the node id in `attributes`.
    fn directory(attributes: FileAttr, lasting: Duration, number: u64) -> Self {
        let settled = attributes.ino.0 == number;
        let attributes_lasting = if settled { FOREVER } else { Duration::ZERO };
        Self { attributes, lasting, attributes_lasting }
    }
}

/// Where an entry is.
#[derive(Clone, Copy)]
struct Home<'a> {
    path: PathKey,
    usage: &'a Arc<Usage>,
}

impl<'a> Home<'a> {
    fn of(directory: &'a DirectoryNode) -> Self {
        Self { path: directory.path, usage: &directory.usage }
    }
}

/// What the mount shows.
pub(crate) struct Tree {
    view: View,
    nodes: Nodes,
    nodes_max: usize,
    usages: Usages,
    owner: MountOwner,
    /// Whether the kernel enforces and remembers ACLs.
    kernel_acl: bool,
    statistics: Statistics,
    describe: Describe,
    log: Log,
}

impl Tree {
    pub(crate) fn new(view: View, kernel_acl: bool, describe: Describe, log: Log) -> Self {
        let owner = MountOwner {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        };
        let nodes_max = shedding::nodes_max(view.cache_bytes());
        Self {
            view,
            nodes: Nodes::new(What::Place(Place::Root), shedding::kept_bytes_max(nodes_max)),
            nodes_max,
            usages: Usages::new(),
            owner,
            kernel_acl,
            statistics: Statistics::new(),
            describe,
            log,
        }
    }

    pub(crate) fn kernel_acl(&self) -> bool {
        self.kernel_acl
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    pub(crate) fn usages(&self) -> &Usages {
        &self.usages
    }

    /// Whether a name that a directory lacks may appear in it one day.
    pub(crate) fn may_grow(&self, id: u64) -> bool {
        let what = self.nodes.get(id).map(|node| node.what);
        !matches!(what, Some(What::Directory(_) | What::Difference(_)))
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
        // So an NFS server finds its way back from a file handle.
        match name {
            b"." => return self.look_up_again(parent).map(Some),
            b".." => return self.look_up_again(node.parent).map(Some),
            _ => {}
        }
        match &node.what {
            What::Place(place) => self.look_up_in_place(parent, place, name),
            What::Directory(directory) => {
                self.touch(parent, &node.what)?;
                let listing = self.listing(parent, &directory.tree)?;
                let found = self.view.find(&listing, name);
                let found = found.map_err(|error| self.fail(parent, &error))?;
                let home = Home::of(directory);
                found
                    .map(|(ordinal, entry)| self.entry_node(parent, home, ordinal, entry))
                    .transpose()
            }
            What::Difference(difference) => {
                self.touch(parent, &node.what)?;
                self.look_up_in_difference(parent, difference, name)
            }
            What::ControlDirectory(directory) => self.look_up_in_control(parent, *directory, name),
            What::Link(_) | What::Item(_) | What::Report(_) => Err(Errno::ENOTDIR),
        }
    }

    /// Counts a lookup of a node that the kernel knows by its id.
    fn look_up_again(&self, id: u64) -> Result<Found, Errno> {
        let Found { attributes, lasting, attributes_lasting } = self.attributes(id)?;
        if !self.nodes.look_up_again(id) {
            return Err(Errno::ESTALE);
        }
        let settled = attributes.ino.0 == id;
        let attributes = FileAttr { ino: INodeNo(id), ..attributes };
        let attributes_lasting = if settled { attributes_lasting } else { Duration::ZERO };
        Ok(Found { attributes, lasting, attributes_lasting })
    }

    /// Counts a lookup of an entry of a directory.
    fn entry_node(
        &self,
        parent: u64,
        home: Home<'_>,
        ordinal: u64,
        handle: EntryHandle,
    ) -> Result<Found, Errno> {
        let entry = handle.get().ok_or(Errno::EIO)?;
        let numbers = self.view.inode_numbers();
        let number = numbers.entry(home.path, entry);
        Ok(match &entry.node.kind {
            Kind::Directory(tree) => {
                let make = || {
                    What::Directory(Arc::new(DirectoryNode {
                        tree: *tree,
                        path: numbers.child(home.path, entry.name.as_bytes()),
                        number,
                        usage: home.usage.clone(),
                        source: DirectorySource::Entry(self.nodes.to_keep(handle.clone())),
                    }))
                };
                let key = Key::Entry(parent, ordinal, home.usage.id);
                let id = self.nodes.look_up_place(parent, key, Some(number), make);
                Found::directory(attributes::of_node(id, &entry.node), FOREVER, number)
            }
            _ => {
                let id = self.nodes.look_up_item(parent, home.usage, number, handle.clone());
                Found::new(attributes::of_node(id, &entry.node), FOREVER)
            }
        })
    }

    /// The attributes of a node, with the inode number that `stat` reports.
    pub(crate) fn attributes(&self, id: u64) -> Result<Found, Errno> {
        let node = self.node(id)?;
        Ok(match &node.what {
            What::Place(place) => Found::new(self.place_attributes(id, place)?, MOMENT),
            What::Link(link) => Found::new(self.link_attributes(id, link), FOREVER),
            What::Directory(directory) => {
                let node = directory.source.node().ok_or(Errno::EIO)?;
                Found::new(attributes::of_node(directory.number, node), FOREVER)
            }
            What::Difference(difference) => {
                let node = difference.source.node().ok_or(Errno::EIO)?;
                let guard = &difference.guard;
                Found::new(self.difference_attributes(id, node, guard), FOREVER)
            }
            What::Item(item) => {
                let entry = item.get().ok_or(Errno::EIO)?;
                Found::new(attributes::of_node(id, &entry.node), FOREVER)
            }
            What::ControlDirectory(directory) => {
                Found::new(self.control_attributes(*directory)?, MOMENT)
            }
            What::Report(report) => {
                self.content_of(id, report)?;
                Found::new(self.report_attributes(report), FOREVER)
            }
        })
    }

    /// Attributes of the root that do for an answer in which they are ignored.
    pub(crate) fn root_attributes(&self) -> FileAttr {
        let epoch = std::time::SystemTime::UNIX_EPOCH;
        attributes::of_mount(ROOT, FileType::Directory, 4096, 2, epoch, self.owner)
    }

    pub(crate) fn link_target(&self, id: u64) -> Result<Vec<u8>, Errno> {
        match self.node(id)?.what {
            What::Link(link) => Ok(link.target.clone()),
            What::Item(item) => match item.get().map(|entry| &entry.node.kind) {
                Some(Kind::Symlink(target)) => Ok(target.to_vec()),
                _ => Err(Errno::EINVAL),
            },
            _ => Err(Errno::EINVAL),
        }
    }

    /// Bytes and files of the newest snapshot, which is what `df` shows.
    pub(crate) fn totals(&self) -> Result<(u64, u64), Errno> {
        if let Some(totals) = self.single_totals() {
            return Ok((totals.bytes, totals.files.saturating_add(totals.directories)));
        }
        let list = self.view.snapshots().map_err(|error| self.fail(ROOT, &error))?;
        let newest = list.newest().map(|snapshot| snapshot.counters).unwrap_or_default();
        Ok((newest.bytes, newest.files.saturating_add(newest.dirs)))
    }

    fn node(&self, id: u64) -> Result<Node, Errno> {
        self.nodes.get(id).ok_or(Errno::ESTALE)
    }

    fn listing(&self, id: u64, tree: &TreeRef) -> Result<Arc<Directory>, Errno> {
        self.view.directory(tree).map_err(|error| self.fail(id, &error))
    }

    /// Keeps the snapshots of a directory leased.
    fn touch(&self, id: u64, directory: &What) -> Result<(), Errno> {
        let usages = match directory {
            What::Directory(directory) => std::slice::from_ref(&directory.usage),
            What::Difference(difference) => &difference.usages[..],
            _ => &[],
        };
        self.touch_all(id, usages)
    }

    fn touch_all(&self, id: u64, usages: &[Arc<Usage>]) -> Result<(), Errno> {
        usages.iter().try_for_each(|usage| {
            let touched = self.usages.touch(self.view.reader(), usage);
            touched.map_err(|error| self.fail(id, &error.into()))
        })
    }

    /// Turns a failure into what the kernel is told, and logs it with the path
    /// that it happened at.
    fn fail(&self, id: u64, error: &ViewError) -> Errno {
        let path = printable(&self.nodes.path(id));
        (self.log)(&format!("/{path}: {error}"));
        let errno = errno::of(error);
        let failure = match errno {
            _ if error.is_damage() => Failure::Damage,
            errno if errno.code() == Errno::ESTALE.code() => Failure::Stale,
            _ => Failure::Other,
        };
        self.statistics.count_failure(failure);
        if failure == Failure::Damage {
            let snapshot = self.nodes.get(id).and_then(|node| self.snapshot_of(&node));
            let object = error.repository().and_then(RepositoryError::object);
            let (message, time) = (error.to_string(), Timestamp::now());
            self.statistics.remember(Damage { path, snapshot, object, message, time, count: 1 });
        }
        errno
    }

    /// The snapshot that a node shows, if it is one in a snapshot.
    fn snapshot_of(&self, node: &Node) -> Option<SnapshotId> {
        match &node.what {
            What::Directory(directory) => Some(directory.usage.id),
            What::Difference(difference) => Some(difference.shown_id()),
            _ => node.usage.as_ref().map(|usage| usage.id),
        }
    }
}

fn dag_node(what: &What) -> Option<&dag::Node> {
    match what {
        What::Directory(directory) => directory.source.node(),
        What::Difference(difference) => difference.source.node(),
        What::Item(item) => item.get().map(|entry| &entry.node),
        _ => None,
    }
}
