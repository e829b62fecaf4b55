//! The nodes that the kernel remembers.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::id::SnapshotId;
use crate::dag::{self, TreeRef};
use crate::fuse::tree::{ControlDirectory, Report};
use crate::fuse::usage::Usage;
use crate::view::{DirectoryPair, EntryHandle, Guard, Link, PathKey, Place};

/// The node id of the mount's root.
pub(crate) const ROOT: u64 = 1;

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A directory that exists only in the mount, such as its root.
    Place(Place),
    /// A symlink that exists only in the mount.
    Link(Arc<Link>),
    /// A directory inside a snapshot.
    Directory(Arc<DirectoryNode>),
    /// A directory that two snapshots have, with a part of its changes.
    Difference(Arc<DifferenceNode>),
    /// Anything else inside a snapshot.
    Item(EntryHandle),
    /// The control directory, or a directory in it.
    ControlDirectory(ControlDirectory),
    /// A file in the control directory.
    Report(Arc<Report>),
}

impl What {
    /// The entry of a snapshot that it stands for, if it stands for one.
    fn entry(&self) -> Option<&EntryHandle> {
        match self {
            Self::Directory(directory) => directory.source.entry(),
            Self::Difference(difference) => difference.source.entry(),
            Self::Item(item) => Some(item),
            Self::Place(_) | Self::Link(_) | Self::ControlDirectory(_) | Self::Report(_) => None,
        }
    }
}

/// A directory inside a snapshot.
#[derive(Debug)]
pub(crate) struct DirectoryNode {
    pub(crate) tree: TreeRef,
    pub(crate) path: PathKey,
    /// The inode number that `stat` reports.
    pub(crate) number: u64,
    pub(crate) usage: Arc<Usage>,
    pub(crate) source: DirectorySource,
}

/// A directory that two snapshots have, with a part of its changes.
#[derive(Debug)]
pub(crate) struct DifferenceNode {
    pub(crate) pair: DirectoryPair,
    pub(crate) path: PathKey,
    /// Of the snapshot whose files are shown, and of the other one.
    pub(crate) usages: [Arc<Usage>; 2],
    pub(crate) source: DirectorySource,
    /// Who may look into it.
    pub(crate) guard: Guard,
}

/// Where the metadata of a directory is.
#[derive(Clone, Debug)]
pub(crate) enum DirectorySource {
    /// In the manifest: it is the root of a snapshot.
    Root(Arc<dag::Node>),
    /// In a page.
    Entry(EntryHandle),
}

impl DifferenceNode {
    /// The id of the snapshot whose files are shown.
    pub(crate) fn shown_id(&self) -> SnapshotId {
        self.usages[0].id
    }
}

impl DirectorySource {
    /// The directory's metadata.
    pub(crate) fn node(&self) -> Option<&dag::Node> {
        match self {
            Self::Root(node) => Some(node),
            Self::Entry(entry) => entry.get().map(|entry| &entry.node),
        }
    }

    fn entry(&self) -> Option<&EntryHandle> {
        match self {
            Self::Root(_) => None,
            Self::Entry(entry) => Some(entry),
        }
    }
}

/// A node in the table.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) what: What,
    /// The directory through which it was reached last.
    pub(crate) parent: u64,
    /// The use of the snapshot in which it was reached last, of an item.
    pub(crate) usage: Option<Arc<Usage>>,
    key: Option<Key>,
    lookups: u64,
    /// Rises from lookup to lookup.
    looked_up: u64,
}

/// Names a directory by its place, so that it keeps its node id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// A name in a directory that exists only in the mount, and what it stood
    /// for: if that changes it is another node, so that nothing that the kernel
    /// has cached of the first one is ever stale.
    Shown(u64, Vec<u8>, Vec<u8>),
    /// The entry of a directory, as a snapshot has it: equal directories of two
    /// snapshots may have the same node id one after the other.
    Entry(u64, u64, SnapshotId),
}

/// The table of nodes.
#[derive(Debug)]
pub(crate) struct Nodes {
    table: Mutex<Table>,
    /// How many nodes there are, to be looked at without the lock.
    len: AtomicUsize,
    /// About how many bytes the pages take that they keep in memory.
    kept_bytes: AtomicU64,
    kept_bytes_max: u64,
}

#[derive(Debug)]
struct Table {
    nodes: HashMap<u64, Node>,
    by_key: HashMap<Key, u64>,
    next: u64,
    lookups: u64,
    /// How many nodes keep each page in memory, by the page's address.
    pages: HashMap<usize, usize>,
    kept_bytes: u64,
}

impl Table {
    /// Counts a node more or less that keeps the page of its entry.
    fn keep(&mut self, what: &What) {
        let Some(entry) = what.entry() else { return };
        let nodes = self.pages.entry(entry.page_address()).or_default();
        *nodes += 1;
        if *nodes == 1 {
            self.kept_bytes = self.kept_bytes.saturating_add(entry.page_bytes());
        }
    }

    fn let_go(&mut self, what: &What) {
        let Some(entry) = what.entry() else { return };
        let Some(nodes) = self.pages.get_mut(&entry.page_address()) else { return };
        *nodes -= 1;
        if *nodes == 0 {
            self.pages.remove(&entry.page_address());
            self.kept_bytes = self.kept_bytes.saturating_sub(entry.page_bytes());
        }
    }

    /// Numbers a lookup.
    fn number_lookup(&mut self) -> u64 {
        self.lookups += 1;
        self.lookups
    }
}

impl Nodes {
    /// Makes a table that knows what the mount's root is.
    ///
    /// Entries share the pages that they were decoded in. Once these take more than
    /// `kept_bytes_max`, a new node keeps its entry alone.
    pub(crate) fn new(root: What, kept_bytes_max: u64) -> Self {
        let root =
            Node { what: root, parent: ROOT, usage: None, key: None, lookups: 1, looked_up: 0 };
        let nodes = HashMap::from([(ROOT, root)]);
        let (by_key, pages) = (HashMap::new(), HashMap::new());
        let table = Table { nodes, by_key, next: ROOT + 1, lookups: 0, pages, kept_bytes: 0 };
        let (len, kept_bytes) = (AtomicUsize::new(1), AtomicU64::new(0));
        Self { table: Mutex::new(table), len, kept_bytes, kept_bytes_max }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a node that the kernel knows.
    pub(crate) fn get(&self, id: u64) -> Option<Node> {
        self.lock().nodes.get(&id).cloned()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether the pages that nodes keep take more memory than they may.
    pub(crate) fn is_heavy(&self) -> bool {
        self.kept_bytes.load(Ordering::Relaxed) > self.kept_bytes_max
    }

    /// Returns an entry as a node may keep it.
    pub(crate) fn to_keep(&self, entry: EntryHandle) -> EntryHandle {
        if self.is_heavy() { entry.alone() } else { entry }
    }

    /// Tells those who look without the lock how much there is.
    fn publish(&self, table: &Table) {
        self.len.store(table.nodes.len(), Ordering::Relaxed);
        self.kept_bytes.store(table.kept_bytes, Ordering::Relaxed);
    }

    /// Returns where the kernel knows those `count` files and empty directories
    /// that were looked up longest ago: their parents' node ids and their names.
    pub(crate) fn oldest(&self, count: usize) -> Vec<(u64, Vec<u8>)> {
        let table = self.lock();
        let parents: HashSet<u64> = table.nodes.values().map(|node| node.parent).collect();
        let mut found: Vec<(u64, u64)> = table
            .nodes
            .iter()
            .filter(|(id, node)| node.what.entry().is_some() && !parents.contains(id))
            .map(|(id, node)| (node.looked_up, *id))
            .collect();
        if found.len() > count {
            found.select_nth_unstable(count);
            found.truncate(count);
        }
        let place = |(_, id): (u64, u64)| {
            let node = table.nodes.get(&id)?;
            Some((node.parent, node.what.entry()?.get()?.name.as_bytes().to_vec()))
        };
        found.into_iter().filter_map(place).collect()
    }

    /// Counts one more lookup of a node, if it is known.
    pub(crate) fn look_up_again(&self, id: u64) -> bool {
        let mut table = self.lock();
        let node = table.nodes.get_mut(&id);
        node.map(|node| node.lookups += 1).is_some()
    }

    /// Counts one more lookup of the directory or link at `key`, made by
    /// `make` if it is not known, and returns its node id. A directory has its
    /// `number` as node id where that is free: then no question is needed to
    /// tell what number `stat` reports. The kernel knows a directory in one
    /// place only, so an equal one in another snapshot needs another node id.
    pub(crate) fn look_up_place(
        &self,
        parent: u64,
        key: Key,
        number: Option<u64>,
        make: impl FnOnce() -> What,
    ) -> u64 {
        let mut table = self.lock();
        let looked_up = table.number_lookup();
        if let Some(id) = table.by_key.get(&key).copied()
            && let Some(node) = table.nodes.get_mut(&id)
        {
            node.lookups += 1;
            node.looked_up = looked_up;
            return id;
        }
        let id = match number.filter(|number| !table.nodes.contains_key(number)) {
            Some(number) => number,
            None => {
                table.next += 1;
                table.next - 1
            }
        };
        table.by_key.insert(key.clone(), id);
        let (what, key) = (make(), Some(key));
        table.keep(&what);
        let node = Node { what, parent, usage: None, key, lookups: 1, looked_up };
        table.nodes.insert(id, node);
        self.publish(&table);
        id
    }

    /// Counts one more lookup of an item under its inode number, and returns
    /// the number under which it is known: the next free one if another item
    /// has it.
    pub(crate) fn look_up_item(
        &self,
        parent: u64,
        usage: &Arc<Usage>,
        number: u64,
        item: EntryHandle,
    ) -> u64 {
        let item = self.to_keep(item);
        let mut table = self.lock();
        let looked_up = table.number_lookup();
        let mut id = number;
        loop {
            match table.nodes.get_mut(&id) {
                Some(node) if is_same(&node.what, &item) => {
                    // The newest way to it is the most likely one to last.
                    let what = What::Item(item);
                    let before = std::mem::replace(&mut node.what, what.clone());
                    node.parent = parent;
                    node.usage = Some(usage.clone());
                    node.lookups += 1;
                    node.looked_up = looked_up;
                    table.keep(&what);
                    table.let_go(&before);
                    self.publish(&table);
                    return id;
                }
                Some(_) => id += 1,
                None => break,
            }
        }
        let (what, usage) = (What::Item(item), Some(usage.clone()));
        table.keep(&what);
        let node = Node { what, parent, usage, key: None, lookups: 1, looked_up };
        table.nodes.insert(id, node);
        self.publish(&table);
        id
    }

    /// Returns the node id of an item that the kernel knows.
    pub(crate) fn find_item(&self, number: u64, item: &EntryHandle) -> Option<u64> {
        let table = self.lock();
        let mut id = number;
        loop {
            match table.nodes.get(&id) {
                Some(node) if is_same(&node.what, item) => return Some(id),
                Some(_) => id += 1,
                None => return None,
            }
        }
    }

    /// Takes lookups back; a node without any is forgotten.
    pub(crate) fn forget(&self, id: u64, lookups: u64) {
        let mut table = self.lock();
        let Some(node) = table.nodes.get_mut(&id) else { return };
        node.lookups = node.lookups.saturating_sub(lookups);
        if node.lookups == 0 && id != ROOT {
            let Some(gone) = table.nodes.remove(&id) else { return };
            table.let_go(&gone.what);
            self.publish(&table);
            if let Some(key) = gone.key {
                table.by_key.remove(&key);
            }
        }
    }

    /// The names that lead from the mount's root to a node, for people.
    pub(crate) fn path(&self, id: u64) -> Vec<u8> {
        let table = self.lock();
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut id = id;
        while id != ROOT && names.len() <= crate::base::limits::DIRECTORY_DEPTH_MAX {
            let Some(node) = table.nodes.get(&id) else { break };
            match (node.what.entry().and_then(EntryHandle::get), &node.key) {
                (Some(entry), _) => names.push(entry.name.as_bytes().to_vec()),
                (None, Some(Key::Shown(_, name, _))) => names.push(name.clone()),
                (None, _) => {}
            }
            id = node.parent;
        }
        names.reverse();
        names.join(&b'/')
    }
}

/// Whether a known node and an entry are the same file: all that is kept about
/// them is equal. Names may differ, as those of links do.
fn is_same(known: &What, item: &EntryHandle) -> bool {
    let What::Item(known) = known else { return false };
    match (known.get(), item.get()) {
        (Some(known), Some(item)) => known.node == item.node || is_same_meaning(known, item),
        _ => false,
    }
}

/// Hints may differ between equal nodes.
fn is_same_meaning(a: &dag::Entry, b: &dag::Entry) -> bool {
    a.node.meaning() == b.node.meaning()
}
