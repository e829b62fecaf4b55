//! Directories: their pages found by ordinal and by name, loaded as needed.

use std::sync::Arc;

use crate::base::id::TreeId;
use crate::base::name::EntryName;
use crate::dag::{Entry, Kind, Node, Tree, TreeRef};
use crate::view::cache::entry_bytes;
use crate::view::snapshots::Snapshot;
use crate::view::{View, ViewError};

/// Pages of one directory at most: two billion entries.
const PAGES_MAX: usize = 1 << 20;

/// The entries of one page, decoded once.
#[derive(Debug)]
pub(crate) struct LeafPage {
    pub(crate) entries: Vec<Entry>,
    /// About what it takes in memory.
    pub(crate) bytes: u64,
}

impl LeafPage {
    fn new(entries: Vec<Entry>) -> Self {
        let bytes = entries.iter().map(entry_bytes).sum();
        Self { entries, bytes }
    }
}

/// An entry in a page that stays in memory as long as the handle does.
#[derive(Clone, Debug)]
pub struct EntryHandle {
    page: Arc<LeafPage>,
    index: usize,
}

impl EntryHandle {
    pub(crate) const fn new(page: Arc<LeafPage>, index: usize) -> Self {
        Self { page, index }
    }

    /// The entry.
    #[must_use]
    pub fn get(&self) -> Option<&Entry> {
        self.page.entries.get(self.index)
    }

    /// Its place in its page.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Another entry of the same page.
    #[must_use]
    pub fn neighbour(&self, index: usize) -> Option<Self> {
        (index < self.page.entries.len()).then(|| Self { page: self.page.clone(), index })
    }

    /// All entries of its page.
    #[must_use]
    pub fn page_entries(&self) -> &[Entry] {
        &self.page.entries
    }

    /// About what its page takes in memory.
    #[must_use]
    pub fn page_bytes(&self) -> u64 {
        self.page.bytes
    }

    /// The same entry alone, in a page of its own: keeps nothing else in memory.
    #[must_use]
    pub fn alone(&self) -> Self {
        let entries = self.get().cloned().into_iter().collect();
        Self { page: Arc::new(LeafPage::new(entries)), index: 0 }
    }

    /// Tells the page from others that are in memory at the same time.
    #[must_use]
    pub fn page_address(&self) -> usize {
        Arc::as_ptr(&self.page).addr()
    }
}

/// The pages of a directory.
#[derive(Debug)]
pub struct Directory {
    pages: Vec<PageSlot>,
    len: u64,
}

/// A page of a directory.
#[derive(Debug)]
pub(crate) struct PageSlot {
    /// The ordinal of its first entry.
    pub(crate) start: u64,
    /// Its last name; the only page of a directory has none.
    last: Option<EntryName>,
    pub(crate) tree: TreeRef,
}

impl Directory {
    /// How many entries there are.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn page_count(&self) -> u64 {
        self.pages.len() as u64
    }

    /// A page by its place.
    pub(crate) fn slot(&self, slot: usize) -> Option<&PageSlot> {
        self.pages.get(slot)
    }

    /// The place of the page that holds an ordinal.
    pub(crate) fn slot_of_ordinal(&self, ordinal: u64) -> Option<usize> {
        self.pages.partition_point(|page| page.start <= ordinal).checked_sub(1)
    }

    /// The place of the page that holds a name if any does; behind the last one
    /// if none can.
    pub(crate) fn slot_of_name(&self, name: &[u8]) -> usize {
        let before =
            |page: &PageSlot| page.last.as_ref().is_some_and(|last| last.as_bytes() < name);
        self.pages.partition_point(before)
    }
}

impl View {
    /// Returns the directory behind a reference.
    ///
    /// # Errors
    /// Fails if its pages cannot be read or contradict each other.
    pub fn directory(&self, tree: &TreeRef) -> Result<Arc<Directory>, ViewError> {
        self.caches.directories.get_or_insert_with(&tree.id, || self.load_directory(tree))
    }

    /// Returns the entry at an ordinal, or nothing behind the last one.
    ///
    /// # Errors
    /// Fails if its page cannot be read.
    pub fn entry(
        &self,
        directory: &Directory,
        ordinal: u64,
    ) -> Result<Option<EntryHandle>, ViewError> {
        if ordinal >= directory.len {
            return Ok(None);
        }
        let slot = directory.slot_of_ordinal(ordinal).and_then(|slot| directory.slot(slot));
        let Some(slot) = slot else { return Ok(None) };
        let page = self.page(&slot.tree)?;
        let index = usize::try_from(ordinal - slot.start).unwrap_or(usize::MAX);
        Ok(Some(EntryHandle { page, index }))
    }

    /// Returns the entry of that name and its ordinal.
    ///
    /// # Errors
    /// Fails if its page cannot be read.
    pub fn find(
        &self,
        directory: &Directory,
        name: &[u8],
    ) -> Result<Option<(u64, EntryHandle)>, ViewError> {
        let Some(slot) = directory.slot(directory.slot_of_name(name)) else { return Ok(None) };
        let page = self.page(&slot.tree)?;
        let found = page.entries.binary_search_by(|entry| entry.name.as_bytes().cmp(name));
        Ok(found.ok().map(|index| (slot.start + index as u64, EntryHandle { page, index })))
    }

    /// Returns the node at a path inside a snapshot. Symlinks are not followed.
    ///
    /// # Errors
    /// Fails if there is none, the path leads through something that is no
    /// directory, or a tree cannot be read.
    pub fn resolve(&self, snapshot: &Snapshot, path: &[u8]) -> Result<Node, ViewError> {
        let mut node = (*snapshot.root).clone();
        let names = path.split(|byte| *byte == b'/');
        let mut walked = Vec::new();
        for name in names.filter(|name| !name.is_empty() && *name != b".") {
            let short = snapshot.id.short();
            let Kind::Directory(tree) = &node.kind else {
                return Err(ViewError::NotADirectory { path: walked, snapshot: short });
            };
            let directory = self.directory(tree)?;
            let found = self.find(&directory, name)?;
            let entry = found.as_ref().and_then(|(_, handle)| handle.get());
            let Some(entry) = entry else {
                return Err(ViewError::NotFound { path: path.to_vec(), snapshot: short });
            };
            node = entry.node.clone();
            if !walked.is_empty() {
                walked.push(b'/');
            }
            walked.extend_from_slice(name);
        }
        Ok(node)
    }

    pub(crate) fn page(&self, tree: &TreeRef) -> Result<Arc<LeafPage>, ViewError> {
        self.caches.pages.get_or_insert_with(&tree.id, || match self.reader.tree(tree)? {
            Tree::Leaf(entries) if entries.len() as u64 == tree.totals.entries => {
                Ok(Arc::new(LeafPage::new(entries)))
            }
            Tree::Leaf(_) => Err(inconsistent(&tree.id, "has not as many entries as it should")),
            Tree::Index { .. } => {
                Err(inconsistent(&tree.id, "is an index page where a leaf belongs"))
            }
        })
    }

    fn load_directory(&self, tree: &TreeRef) -> Result<Arc<Directory>, ViewError> {
        let (level, branches) = match self.reader.tree(tree)? {
            Tree::Leaf(entries) => {
                let len = entries.len() as u64;
                self.caches.pages.insert(tree.id, Arc::new(LeafPage::new(entries)));
                let pages = vec![PageSlot { start: 0, last: None, tree: *tree }];
                return Ok(Arc::new(Directory { pages, len }));
            }
            Tree::Index { level, branches } => (level, branches),
        };
        let (mut pages, mut len) = (Vec::new(), 0_u64);
        // Depth first, so that the leaves come in order.
        let mut work: Vec<_> = branches.into_iter().rev().map(|branch| (level, branch)).collect();
        while let Some((level, branch)) = work.pop() {
            if pages.len() >= PAGES_MAX {
                return Err(inconsistent(&tree.id, "has too many pages"));
            }
            // Pages that come again and again would have no end.
            let before = pages.last().and_then(|page: &PageSlot| page.last.as_ref());
            if level == 1 && before.is_some_and(|before| *before >= branch.last) {
                return Err(inconsistent(&tree.id, "has pages that are not in rising order"));
            }
            if level == 1 {
                let (start, last) = (len, Some(branch.last));
                len = len.saturating_add(branch.tree.totals.entries);
                pages.push(PageSlot { start, last, tree: branch.tree });
                continue;
            }
            match self.reader.tree(&branch.tree)? {
                Tree::Index { level: below, branches } if below + 1 == level => {
                    work.extend(branches.into_iter().rev().map(|branch| (below, branch)));
                }
                _ => return Err(inconsistent(&branch.tree.id, "is of the wrong level")),
            }
        }
        Ok(Arc::new(Directory { pages, len }))
    }
}

fn inconsistent(id: &TreeId, problem: &str) -> ViewError {
    ViewError::Inconsistent(format!("tree {id} {problem}"))
}
