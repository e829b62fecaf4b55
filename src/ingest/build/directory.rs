//! A directory under construction: pages in which nothing changed are taken
//! over whole, the others are built from old and new entries.

use std::ops::Range;
use std::sync::Arc;

use crate::base::id::TreeId;
use crate::base::name::EntryName;
use crate::base::time::Timestamp;
use crate::dag::{DirectoryBuilder, Entry, Kind, Node, Tree, TreeRef};
use crate::ingest::build::Tally;
use crate::ingest::build::previous::PreviousDirectory;
use crate::ingest::build::remembered::Remembered;
use crate::ingest::error::IngestError;
use crate::ingest::pipeline::{DirectoryMetadata, EnteredDirectory};
use crate::repository::{
    Fingerprint, ObjectKind, Repository, ScanDetail, ScanEntry, ScanPage, Session,
};

/// What the construction of a directory needs from outside.
pub(crate) struct Site<'a, 'session> {
    pub(crate) session: &'a mut Session<'session>,
    pub(crate) repository: &'a Repository,
    pub(crate) tally: &'a mut Tally,
}

/// A directory whose entries are coming.
pub(crate) struct Directory {
    pub(crate) entered: EnteredDirectory,
    builder: DirectoryBuilder,
    page: Option<RecordedPage>,
    remembered: Remembered,
    previous: PreviousDirectory,
    /// Trees taken over without a look at them.
    taken_over: Vec<TreeId>,
}

/// A page of the last time, whose items are being compared.
struct RecordedPage {
    record: Arc<ScanPage>,
    is_first: bool,
    /// Items from the front on that did not change.
    confirmed: usize,
    /// Whether something did.
    is_open: bool,
    /// Its entries, once they are needed.
    entries: Option<Vec<Entry>>,
}

/// A directory that is done.
pub(crate) struct DoneDirectory {
    pub(crate) entered: EnteredDirectory,
    pub(crate) tree: TreeRef,
    taken_over: Vec<TreeId>,
}

/// A new or changed entry and what to remember of it.
pub(crate) struct SeenEntry {
    pub(crate) entry: Entry,
    pub(crate) recorded: Option<usize>,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) detail: ScanDetail,
}

impl Directory {
    /// Begins a directory. `previous` is its tree in an earlier snapshot.
    pub(crate) fn new(entered: EnteredDirectory, previous: Option<TreeRef>) -> Self {
        let remembered = Remembered::new(entered.key);
        Self {
            entered,
            builder: DirectoryBuilder::new(),
            page: None,
            remembered,
            previous: PreviousDirectory::new(previous),
            taken_over: Vec::new(),
        }
    }

    /// The items of a page of the last time come next.
    pub(crate) fn begin_page(&mut self, record: Arc<ScanPage>, is_first: bool) {
        self.remembered.found(&record, is_first);
        let page = RecordedPage { record, is_first, confirmed: 0, is_open: false, entries: None };
        self.page = Some(page);
    }

    /// These items of the page did not change.
    pub(crate) fn same(
        &mut self,
        site: &mut Site<'_, '_>,
        items: Range<usize>,
    ) -> Result<(), IngestError> {
        let page = self.page.as_mut().ok_or(IngestError::Internal("items have no page"))?;
        if !page.is_open && page.confirmed == items.start {
            page.confirmed = items.end;
            return Ok(());
        }
        self.open_page(site)?;
        self.append_recorded(site, items)
    }

    /// This item of the page did not change, but was read.
    pub(crate) fn accessed(
        &mut self,
        site: &mut Site<'_, '_>,
        index: usize,
        atime: Timestamp,
    ) -> Result<(), IngestError> {
        let mut entry = self.recorded_entry(site, index)?;
        entry.node.atime = Some(atime);
        let page = self.page.as_ref().and_then(|page| page.record.entries.get(index));
        let seen = page.ok_or(IngestError::Internal("an item is not in its page"))?;
        let (fingerprint, detail) = (seen.fingerprint, seen.detail);
        self.entry(site, SeenEntry { entry, recorded: Some(index), fingerprint, detail })
    }

    /// An item is new or may have changed.
    pub(crate) fn entry(
        &mut self,
        site: &mut Site<'_, '_>,
        seen: SeenEntry,
    ) -> Result<(), IngestError> {
        self.judge(site, &seen)?;
        self.open_page(site)?;
        self.append(site, seen.entry, seen.fingerprint, seen.detail)
    }

    /// A subdirectory is done.
    pub(crate) fn subdirectory(
        &mut self,
        site: &mut Site<'_, '_>,
        done: DoneDirectory,
    ) -> Result<(), IngestError> {
        if let Some(page) = &mut self.page
            && page.confirms(&done)
        {
            page.confirmed += 1;
            return Ok(());
        }
        done.check(site.repository)?;
        let DoneDirectory { entered, tree, .. } = done;
        let kind = Kind::Directory(tree);
        let node = match (entered.metadata, entered.recorded) {
            (DirectoryMetadata::Read(metadata), _) => metadata.into_node(kind),
            (DirectoryMetadata::Unchanged, Some(recorded)) => {
                Node { kind, ..self.recorded_entry(site, recorded)?.node }
            }
            (DirectoryMetadata::Unchanged, None) => {
                return Err(IngestError::Internal("a directory has no metadata"));
            }
        };
        let name = entered.name.ok_or(IngestError::Internal("a directory has no name"))?;
        let (fingerprint, recorded) = (entered.fingerprint, entered.recorded);
        let detail = ScanDetail::Directory(tree.id);
        let entry = Entry { name, node };
        self.entry(site, SeenEntry { entry, recorded, fingerprint, detail })
    }

    /// The items of the page are over.
    pub(crate) fn end_page(&mut self, site: &mut Site<'_, '_>) -> Result<(), IngestError> {
        let page = self.page.as_ref().ok_or(IngestError::Internal("a page ends twice"))?;
        let record = page.record.clone();
        let is_whole = !page.is_open && page.confirmed == record.entries.len();
        let branch = record.branch().filter(|_| is_whole);
        if branch.is_some_and(|branch| self.builder.push_page(branch)) {
            self.remembered.keep(site.session, &record, page.is_first)?;
            self.taken_over.push(record.tree.id);
        } else {
            self.open_page(site)?;
        }
        self.page = None;
        Ok(())
    }

    /// Builds the tree.
    pub(crate) fn finish(mut self, site: &mut Site<'_, '_>) -> Result<DoneDirectory, IngestError> {
        let session = &mut *site.session;
        let last = self.builder.close(&mut |record| session.put_tree(record))?;
        if let Some(page) = last {
            self.remembered.close(session, page.tree)?;
        }
        self.remembered.finish(session)?;
        let tree = self.builder.finish(&mut |record| session.put_tree(record))?;
        Ok(DoneDirectory { entered: self.entered, tree, taken_over: self.taken_over })
    }

    /// The tree that a subdirectory had before, as far as is known.
    pub(crate) fn previous_tree(
        &mut self,
        repository: &Repository,
        child: &EnteredDirectory,
    ) -> Option<TreeRef> {
        if let Some(page) = &self.page {
            let recorded = page.record.entries.get(child.recorded?)?;
            let ScanDetail::Directory(id) = recorded.detail else { return None };
            return Some(TreeRef { id, hint: None, totals: Default::default() });
        }
        // Only looked at: `judge` will ask for the same name again.
        let found = self.previous.find(repository, child.name.as_ref()?)?;
        let tree = match &found.node.kind {
            Kind::Directory(tree) => Some(*tree),
            _ => None,
        };
        self.previous.put_back(found);
        tree
    }

    /// Counts an entry as new or changed.
    fn judge(&mut self, site: &mut Site<'_, '_>, seen: &SeenEntry) -> Result<(), IngestError> {
        let before = match (&self.page, seen.recorded) {
            (Some(_), Some(recorded)) => Some(self.recorded_entry(site, recorded)?),
            (Some(_), None) => None,
            (None, _) => self.previous.find(site.repository, &seen.entry.name),
        };
        site.tally.judge(&seen.entry.node, before.map(|entry| entry.node).as_ref());
        Ok(())
    }

    fn recorded_entry(
        &mut self,
        site: &mut Site<'_, '_>,
        index: usize,
    ) -> Result<Entry, IngestError> {
        let page = self.page.as_mut().ok_or(IngestError::Internal("an item has no page"))?;
        let entry = page.entries(site.repository)?.get(index).cloned();
        entry.ok_or(IngestError::Internal("an item is not in its page"))
    }

    /// From here on the page is built anew: what was confirmed is appended.
    fn open_page(&mut self, site: &mut Site<'_, '_>) -> Result<(), IngestError> {
        let Some(page) = self.page.as_mut().filter(|page| !page.is_open) else { return Ok(()) };
        page.is_open = true;
        let confirmed = 0..page.confirmed;
        self.append_recorded(site, confirmed)
    }

    fn append_recorded(
        &mut self,
        site: &mut Site<'_, '_>,
        items: Range<usize>,
    ) -> Result<(), IngestError> {
        for index in items {
            let entry = self.recorded_entry(site, index)?;
            let page = self.page.as_ref().ok_or(IngestError::Internal("an item has no page"))?;
            let Some(seen) = page.record.entries.get(index) else { break };
            let (fingerprint, detail) = (seen.fingerprint, seen.detail);
            self.append(site, entry, fingerprint, detail)?;
        }
        Ok(())
    }

    fn append(
        &mut self,
        site: &mut Site<'_, '_>,
        entry: Entry,
        fingerprint: Fingerprint,
        detail: ScanDetail,
    ) -> Result<(), IngestError> {
        let is_directory = matches!(entry.node.kind, Kind::Directory(_));
        let atime = entry.node.atime.filter(|_| !is_directory);
        let name = entry.name.clone();
        self.remembered.push(ScanEntry { name, fingerprint, atime, detail });
        let session = &mut *site.session;
        let closed = self.builder.push(entry, &mut |record| session.put_tree(record))?;
        if let Some(page) = closed {
            self.remembered.close(session, page.tree)?;
        }
        Ok(())
    }
}

impl RecordedPage {
    /// Whether a subdirectory is the very one that the page has next.
    fn confirms(&self, done: &DoneDirectory) -> bool {
        let recorded = self.record.entries.get(self.confirmed);
        !self.is_open
            && done.entered.recorded == Some(self.confirmed)
            && matches!(done.entered.metadata, DirectoryMetadata::Unchanged)
            && recorded.is_some_and(|seen| seen.detail == ScanDetail::Directory(done.tree.id))
    }

    /// The entries of the page, from the repository.
    fn entries(&mut self, repository: &Repository) -> Result<&[Entry], IngestError> {
        if self.entries.is_none() {
            self.entries = Some(self.load(repository)?);
        }
        Ok(self.entries.as_deref().unwrap_or_default())
    }

    fn load(&self, repository: &Repository) -> Result<Vec<Entry>, IngestError> {
        let tree = &self.record.tree;
        let stale = |detail: String| IngestError::Stale(format!("tree {}: {detail}", tree.id));
        let names_fit = |entries: &[Entry]| {
            let names = |seen: &[ScanEntry]| -> Vec<EntryName> {
                seen.iter().map(|seen| seen.name.clone()).collect()
            };
            entries.iter().map(|entry| &entry.name).eq(names(&self.record.entries).iter())
        };
        match repository.tree(tree) {
            Ok(Tree::Leaf(entries)) if names_fit(&entries) => Ok(entries),
            Ok(_) => Err(stale("it holds other entries".to_owned())),
            Err(error) if error.is_damage() => Err(stale(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }
}

impl DoneDirectory {
    /// Makes sure that what was taken over is there. Not needed where the
    /// directory's own tree is taken over with its parent's.
    pub(crate) fn check(&self, repository: &Repository) -> Result<(), IngestError> {
        for id in &self.taken_over {
            if repository.locate(ObjectKind::Tree, id.as_bytes())?.is_none() {
                return Err(IngestError::Stale(format!("tree {id} is not there")));
            }
        }
        Ok(())
    }
}
