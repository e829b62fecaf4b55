//! Builds the pages of one directory from its entries, in bounded memory.

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::hash::{leading_u64, sha256};
use crate::base::id::TreeId;
use crate::base::name::EntryName;
use crate::dag::node::{Entry, Owner};
use crate::dag::paging::page_ends;
use crate::dag::record::{Hint, Record, RecordEncoder};
use crate::dag::tree::{Branch, INDEX, LEAF, Totals, TreeRef};

/// Takes the entries of a directory by rising name and stores its pages,
/// children before parents. Holds one page of entries at a time.
///
/// `store` receives each page and returns its id and where it put it.
#[derive(Debug, Default)]
pub struct DirectoryBuilder {
    page: LeafPage,
    pages: Vec<Branch>,
}

#[derive(Debug, Default)]
struct LeafPage {
    entries: RecordEncoder,
    count: usize,
    owners: Vec<Arc<Owner>>,
    owner_places: HashMap<Arc<Owner>, usize>,
    totals: Totals,
    last: Option<EntryName>,
}

impl DirectoryBuilder {
    /// Returns a builder without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an entry whose name is larger than all before it; the caller
    /// sorts and removes duplicates. Returns the page that ended with it, if
    /// one did.
    ///
    /// # Errors
    /// Fails if `store` does.
    pub fn push<E>(
        &mut self,
        entry: Entry,
        store: &mut impl FnMut(&Record) -> Result<(TreeId, Hint), E>,
    ) -> Result<Option<Branch>, E> {
        self.page.push(entry);
        let page = &self.page;
        let name_hash = || page.last.as_ref().map_or(0, |name| name_boundary(name, 0));
        if page_ends(page.count, page.entries.body.len(), name_hash) {
            return self.close_page(store);
        }
        Ok(None)
    }

    /// Bytes of the page that was begun and is still held.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.page.entries.body.len()
    }

    /// Whether the next entry begins a page.
    #[must_use]
    pub const fn is_at_boundary(&self) -> bool {
        self.page.count == 0
    }

    /// Appends a whole leaf page that an earlier build of this directory made
    /// of the very entries that come next, and tells whether it could: only at
    /// a boundary. A page that was the last one there must be the last one here.
    pub fn push_page(&mut self, page: Branch) -> bool {
        let fits = self.is_at_boundary();
        if fits {
            self.pages.push(page);
        }
        fits
    }

    /// Stores the page begun last, if there is one; an empty directory has one
    /// empty page. Nothing may be pushed any more.
    ///
    /// # Errors
    /// Fails if `store` does.
    pub fn close<E>(
        &mut self,
        store: &mut impl FnMut(&Record) -> Result<(TreeId, Hint), E>,
    ) -> Result<Option<Branch>, E> {
        if self.page.count > 0 || self.pages.is_empty() {
            return self.close_page(store);
        }
        Ok(None)
    }

    /// Stores what is left and returns the directory's root.
    ///
    /// # Errors
    /// Fails if `store` does.
    pub fn finish<E>(
        mut self,
        store: &mut impl FnMut(&Record) -> Result<(TreeId, Hint), E>,
    ) -> Result<TreeRef, E> {
        self.close(store)?;
        let mut level = 1;
        let mut pages = self.pages;
        while pages.len() > 1 {
            pages = index_level(level, pages, store)?;
            level += 1;
        }
        Ok(pages.remove(0).tree)
    }

    fn close_page<E>(
        &mut self,
        store: &mut impl FnMut(&Record) -> Result<(TreeId, Hint), E>,
    ) -> Result<Option<Branch>, E> {
        let mut page = std::mem::take(&mut self.page);
        let totals = page.totals;
        // An empty directory has one page and no name to file it under; its
        // branch never becomes part of an index page.
        let last = page.last.take().or_else(|| EntryName::new(b"-").ok());
        let record = page.into_record();
        let (id, hint) = store(&record)?;
        let branch = last.map(|last| Branch { last, tree: TreeRef { id, hint, totals } });
        self.pages.extend(branch.clone());
        Ok(branch)
    }
}

impl LeafPage {
    fn push(&mut self, entry: Entry) {
        let next = self.owners.len();
        let place = match self.owner_places.get(&entry.node.owner) {
            Some(place) => *place,
            None => {
                self.owner_places.insert(entry.node.owner.clone(), next);
                self.owners.push(entry.node.owner.clone());
                next
            }
        };
        self.entries.body.bytes(entry.name.as_bytes());
        entry.node.encode(place, &mut self.entries);
        self.totals.add_entry(&entry.node);
        self.count += 1;
        self.last = Some(entry.name);
    }

    fn into_record(self) -> Record {
        let mut page = RecordEncoder::default();
        page.body.byte(LEAF);
        page.body.number(self.owners.len() as u64);
        for owner in &self.owners {
            owner.encode(&mut page);
        }
        page.body.number(self.count as u64);
        page.append(self.entries);
        page.finish()
    }
}

/// Groups pages under index pages of one level.
fn index_level<E>(
    level: u8,
    pages: Vec<Branch>,
    store: &mut impl FnMut(&Record) -> Result<(TreeId, Hint), E>,
) -> Result<Vec<Branch>, E> {
    let mut above = Vec::new();
    let mut group: Vec<Branch> = Vec::new();
    let mut left = pages.len();
    for page in pages {
        let boundary = name_boundary(&page.last, level);
        group.push(page);
        left -= 1;
        // An index page has two pages or more, the last one too.
        if left != 1 && group.len() > 1 && page_ends(group.len(), 0, || boundary) {
            above.extend(store_index(level, std::mem::take(&mut group), store)?);
        }
    }
    above.extend(store_index(level, group, store)?);
    Ok(above)
}

fn store_index<E>(
    level: u8,
    group: Vec<Branch>,
    store: &mut impl FnMut(&Record) -> Result<(TreeId, Hint), E>,
) -> Result<Option<Branch>, E> {
    let Some(last) = group.last().map(|branch| branch.last.clone()) else { return Ok(None) };
    let mut page = RecordEncoder::default();
    let mut totals = Totals::default();
    page.body.byte(INDEX);
    page.body.byte(level);
    page.body.number(group.len() as u64);
    for branch in &group {
        page.body.bytes(branch.last.as_bytes());
        branch.tree.encode(&mut page);
        totals.add_page(&branch.tree.totals);
    }
    let record = page.finish();
    let (id, hint) = store(&record)?;
    Ok(Some(Branch { last, tree: TreeRef { id, hint, totals } }))
}

/// A hash of a name that differs from level to level, so that boundaries of one
/// level do not line up with those of the next.
fn name_boundary(name: &EntryName, level: u8) -> u64 {
    leading_u64(&sha256(name.as_bytes())).rotate_right(u32::from(level) * 11)
}
