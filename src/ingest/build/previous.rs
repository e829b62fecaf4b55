//! A directory as an earlier snapshot has it, entry by entry.

use std::vec::IntoIter;

use crate::base::name::EntryName;
use crate::dag::{Entry, Tree, TreeRef};
use crate::repository::Repository;

/// The entries of a directory of an earlier snapshot, read as far as needed.
/// What cannot be read counts as not there: it only serves to tell what is new.
#[derive(Debug, Default)]
pub(crate) struct PreviousDirectory {
    /// Pages still to be read, the next one last.
    pages: Vec<TreeRef>,
    entries: IntoIter<Entry>,
    /// An entry that was looked at and passed over.
    next: Option<Entry>,
}

impl PreviousDirectory {
    /// The directory with this tree, if there is one.
    pub(crate) fn new(tree: Option<TreeRef>) -> Self {
        Self { pages: tree.into_iter().collect(), ..Self::default() }
    }

    /// Returns the entry of that name. Names must rise from call to call.
    pub(crate) fn find(&mut self, repository: &Repository, name: &EntryName) -> Option<Entry> {
        loop {
            let entry = self.next.take().or_else(|| self.advance(repository))?;
            if entry.name == *name {
                return Some(entry);
            }
            if entry.name > *name {
                self.next = Some(entry);
                return None;
            }
        }
    }

    /// Takes back the entry that was found last, to be found again.
    pub(crate) fn put_back(&mut self, entry: Entry) {
        self.next = Some(entry);
    }

    fn advance(&mut self, repository: &Repository) -> Option<Entry> {
        loop {
            if let Some(entry) = self.entries.next() {
                return Some(entry);
            }
            let page = self.pages.pop()?;
            match repository.tree(&page).ok()? {
                Tree::Leaf(entries) => self.entries = entries.into_iter(),
                Tree::Index { branches, .. } => {
                    self.pages.extend(branches.iter().rev().map(|branch| branch.tree));
                }
            }
        }
    }
}
