//! What is remembered of a directory for the next snapshot, page by page.

use std::collections::BTreeSet;

use crate::base::name::EntryName;
use crate::dag::TreeRef;
use crate::repository::{RepositoryError, ScanEntry, ScanKey, ScanPage, Session};

/// Writes the records of one directory and forgets those that are obsolete.
#[derive(Debug)]
pub(crate) struct Remembered {
    /// None if nothing is to be remembered.
    key: Option<ScanKey>,
    /// What was seen of the page that is being built.
    entries: Vec<ScanEntry>,
    /// A page that ended; whether it is the last one shows later.
    held: Option<ScanPage>,
    /// Pages written or kept.
    pages: usize,
    /// The last names of records that were there and are not kept.
    obsolete: BTreeSet<EntryName>,
}

impl Remembered {
    pub(crate) const fn new(key: Option<ScanKey>) -> Self {
        let entries = Vec::new();
        Self { key, entries, held: None, pages: 0, obsolete: BTreeSet::new() }
    }

    /// An entry was appended to the page that is being built.
    pub(crate) fn push(&mut self, entry: ScanEntry) {
        if self.key.is_some() {
            self.entries.push(entry);
        }
    }

    /// The page that was being built ended.
    pub(crate) fn close(
        &mut self,
        session: &mut Session<'_>,
        tree: TreeRef,
    ) -> Result<(), RepositoryError> {
        self.write_held(session, false)?;
        let entries = std::mem::take(&mut self.entries);
        self.held = Some(ScanPage { tree, is_last: false, entries });
        Ok(())
    }

    /// A record of the last time was met.
    pub(crate) fn found(&mut self, page: &ScanPage, is_first: bool) {
        if !is_first {
            self.obsolete.extend(page.last_name().cloned());
        }
    }

    /// The page of that record was kept as it is.
    pub(crate) fn keep(
        &mut self,
        session: &mut Session<'_>,
        page: &ScanPage,
        was_first: bool,
    ) -> Result<(), RepositoryError> {
        self.write_held(session, false)?;
        let is_first = self.pages == 0;
        self.pages += 1;
        match (self.key, page.last_name()) {
            // The pages before it are gone.
            (Some(key), _) if is_first && !was_first => session.put_scan_page(key, true, page),
            (_, Some(last)) if !was_first => {
                self.obsolete.remove(last);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The directory ended.
    pub(crate) fn finish(mut self, session: &mut Session<'_>) -> Result<(), RepositoryError> {
        self.write_held(session, true)?;
        let Some(key) = self.key else { return Ok(()) };
        self.obsolete.iter().try_for_each(|last| session.forget_scan_page(key, last))
    }

    fn write_held(
        &mut self,
        session: &mut Session<'_>,
        is_last: bool,
    ) -> Result<(), RepositoryError> {
        let Some((key, page)) = self.key.zip(self.held.take()) else { return Ok(()) };
        let page = ScanPage { is_last, ..page };
        let is_first = self.pages == 0;
        self.pages += 1;
        if let Some(last) = page.last_name().filter(|_| !is_first) {
            self.obsolete.remove(last);
        }
        session.put_scan_page(key, is_first, &page)
    }
}
