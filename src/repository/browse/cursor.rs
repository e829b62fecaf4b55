//! A position in a directory that moves forward by entry and by page.

use std::cmp::Ordering;

use crate::base::id::TreeId;
use crate::base::name::EntryName;
use crate::dag::{Entry, Tree, TreeRef};
use crate::repository::error::RepositoryError;
use crate::repository::objects::Repository;

/// A position in a directory. Pages are loaded where it comes to their entries,
/// and no sooner.
pub struct DirectoryCursor<'a> {
    repository: &'a Repository,
    /// The pages that lie ahead, the next one last.
    ahead: Vec<Ahead>,
    leaf: Option<Leaf>,
    /// The last name of the pages behind: names rise across pages too.
    behind: Option<EntryName>,
}

/// A page that is not loaded.
struct Ahead {
    tree: TreeRef,
    /// How far above the leaves it must be. A whole directory may be of any
    /// level, and says it only when it is loaded.
    level: Option<u8>,
    /// Its last name, which only a whole directory keeps to itself.
    last: Option<EntryName>,
}

/// The page at the position.
struct Leaf {
    id: TreeId,
    entries: Vec<Entry>,
    index: usize,
}

impl Repository {
    /// Returns a position before the first entry of a directory. Reads nothing.
    #[must_use]
    pub fn open_directory(&self, tree: &TreeRef) -> DirectoryCursor<'_> {
        let ahead = vec![Ahead { tree: *tree, level: None, last: None }];
        DirectoryCursor { repository: self, ahead, leaf: None, behind: None }
    }
}

impl DirectoryCursor<'_> {
    /// Returns the entry here, or nothing behind the last one.
    ///
    /// # Errors
    /// Fails if a page cannot be read or contradicts what refers to it.
    pub fn entry(&mut self) -> Result<Option<&Entry>, RepositoryError> {
        while self.loaded().is_none() && self.expand()? {}
        Ok(self.loaded())
    }

    /// Goes behind the entry here.
    pub fn advance(&mut self) {
        if let Some(leaf) = &mut self.leaf {
            leaf.index += 1;
        }
    }

    /// Goes forward to the first entry that does not come before `name`, and
    /// returns it if it has that name. Pages in between are not loaded.
    ///
    /// # Errors
    /// As [`Self::entry`].
    pub fn seek(&mut self, name: &[u8]) -> Result<Option<&Entry>, RepositoryError> {
        loop {
            if let Some(leaf) = &mut self.leaf {
                let before = leaf.entries.partition_point(|entry| entry.name.as_bytes() < name);
                leaf.index = leaf.index.max(before);
            }
            if self.loaded().is_some() {
                break;
            }
            let comes_before =
                |page: &Ahead| page.last.as_ref().is_some_and(|last| last.as_bytes() < name);
            while self.ahead.last().is_some_and(comes_before) {
                self.skip_page();
            }
            if !self.expand()? {
                break;
            }
        }
        Ok(self.loaded().filter(|entry| entry.name.as_bytes() == name))
    }

    /// Goes, together with a position in another directory, behind all pages
    /// that both begin with here. What is equal costs nothing but the pages
    /// above it.
    ///
    /// # Errors
    /// As [`Self::entry`].
    pub fn skip_equal_pages(&mut self, other: &mut Self) -> Result<(), RepositoryError> {
        while let (Some((id, level)), Some((other_id, other_level))) =
            (self.begins(), other.begins())
        {
            if id == other_id {
                self.skip_page();
                other.skip_page();
                continue;
            }
            // Only a page of the same level can be the same one.
            let order = level.unwrap_or(u8::MAX).cmp(&other_level.unwrap_or(u8::MAX));
            let is_leaf = level == Some(0) && other_level == Some(0);
            match order {
                Ordering::Equal if is_leaf => return Ok(()),
                Ordering::Equal => drop((self.expand()?, other.expand()?)),
                Ordering::Greater => drop(self.expand()?),
                Ordering::Less => drop(other.expand()?),
            }
        }
        Ok(())
    }

    fn loaded(&self) -> Option<&Entry> {
        self.leaf.as_ref().and_then(|leaf| leaf.entries.get(leaf.index))
    }

    /// The page that begins here, and its level where that is known.
    fn begins(&self) -> Option<(TreeId, Option<u8>)> {
        match &self.leaf {
            Some(leaf) if leaf.index == 0 && !leaf.entries.is_empty() => Some((leaf.id, Some(0))),
            Some(leaf) if leaf.index < leaf.entries.len() => None,
            _ => self.ahead.last().map(|page| (page.tree.id, page.level)),
        }
    }

    /// Goes behind the page that begins here.
    fn skip_page(&mut self) {
        let leaf = self.leaf.take().filter(|leaf| leaf.index < leaf.entries.len());
        let last = match leaf {
            Some(mut leaf) => leaf.entries.pop().map(|entry| entry.name),
            None => self.ahead.pop().and_then(|page| page.last),
        };
        self.behind = last.or_else(|| self.behind.take());
    }

    /// Loads the next page ahead, if there is one.
    fn expand(&mut self) -> Result<bool, RepositoryError> {
        let Some(page) = self.ahead.pop() else { return Ok(false) };
        let contradiction = |detail: &str| {
            let (id, detail) = (page.tree.id.to_string(), detail.to_owned());
            Err(RepositoryError::Damaged { kind: "tree", id, detail })
        };
        match (self.repository.tree(&page.tree)?, page.level) {
            (Tree::Leaf(entries), None | Some(0)) => {
                if entries.len() as u64 != page.tree.totals.entries {
                    return contradiction("it has not as many entries as it should");
                }
                let first = entries.first().map(|entry| &entry.name);
                let last = entries.last().map(|entry| &entry.name);
                if self.behind.is_some() && first <= self.behind.as_ref()
                    || page.last.is_some() && last != page.last.as_ref()
                {
                    return contradiction("its names are not those that the page above tells");
                }
                self.behind = last.cloned().or_else(|| self.behind.take());
                self.leaf = Some(Leaf { id: page.tree.id, entries, index: 0 });
            }
            (Tree::Index { level, branches }, expected)
                if expected.is_none_or(|it| it == level) =>
            {
                if page.last.is_some() && branches.last().map(|it| &it.last) != page.last.as_ref() {
                    return contradiction("its names are not those that the page above tells");
                }
                self.leaf = None;
                let level = level.checked_sub(1);
                let below = branches.into_iter().rev();
                self.ahead.extend(below.map(|branch| Ahead {
                    tree: branch.tree,
                    level,
                    last: Some(branch.last),
                }));
            }
            _ => return contradiction("it is of the wrong level"),
        }
        Ok(true)
    }
}
