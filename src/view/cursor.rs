//! A position in a directory that moves forward by entry and by page.

use std::sync::Arc;

use crate::base::id::TreeId;
use crate::view::directory::{Directory, EntryHandle, LeafPage};
use crate::view::{View, ViewError};

/// A position in a directory.
pub(crate) struct Cursor<'a> {
    view: &'a View,
    directory: Arc<Directory>,
    slot: usize,
    /// The entry within the page.
    index: usize,
    page: Option<Arc<LeafPage>>,
}

impl<'a> Cursor<'a> {
    /// Begins at an ordinal.
    pub(crate) fn new(view: &'a View, directory: Arc<Directory>, ordinal: u64) -> Self {
        let slot = directory.slot_of_ordinal(ordinal).unwrap_or_default();
        let start = directory.slot(slot).map_or(0, |slot| slot.start);
        let index = usize::try_from(ordinal.saturating_sub(start)).unwrap_or(usize::MAX);
        Self { view, directory, slot, index, page: None }
    }

    /// The ordinal of the entry here.
    pub(crate) fn ordinal(&self) -> u64 {
        let start = self.directory.slot(self.slot).map_or(0, |slot| slot.start);
        start.saturating_add(self.index as u64)
    }

    /// The page that begins here, if one does.
    pub(crate) fn page_here(&self) -> Option<TreeId> {
        self.directory.slot(self.slot).filter(|_| self.index == 0).map(|slot| slot.tree.id)
    }

    /// Goes behind the page.
    pub(crate) fn skip_page(&mut self) {
        self.slot += 1;
        (self.index, self.page) = (0, None);
    }

    /// Goes behind the entry.
    pub(crate) fn advance(&mut self) {
        self.index += 1;
    }

    /// Returns the entry here, or nothing behind the last one.
    pub(crate) fn entry(&mut self) -> Result<Option<EntryHandle>, ViewError> {
        loop {
            let Some(page) = self.load()? else { return Ok(None) };
            if self.index < page.entries.len() {
                return Ok(Some(EntryHandle::new(page, self.index)));
            }
            self.skip_page();
        }
    }

    /// Goes forward to the first entry that does not come before `name`, and
    /// returns it if it has that name. Never goes back.
    pub(crate) fn seek(&mut self, name: &[u8]) -> Result<Option<EntryHandle>, ViewError> {
        let slot = self.directory.slot_of_name(name);
        if slot > self.slot {
            self.slot = slot;
            (self.index, self.page) = (0, None);
        }
        let Some(page) = self.load()? else { return Ok(None) };
        let found = page.entries.binary_search_by(|entry| entry.name.as_bytes().cmp(name));
        match found {
            Ok(index) if index >= self.index => {
                self.index = index;
                Ok(Some(EntryHandle::new(page, index)))
            }
            Ok(_) => Ok(None),
            Err(index) => {
                self.index = self.index.max(index);
                Ok(None)
            }
        }
    }

    fn load(&mut self) -> Result<Option<Arc<LeafPage>>, ViewError> {
        if self.page.is_none() {
            let Some(slot) = self.directory.slot(self.slot) else { return Ok(None) };
            self.page = Some(self.view.page(&slot.tree)?);
        }
        Ok(self.page.clone())
    }
}
