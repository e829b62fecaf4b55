//! Sessions: new objects on their way to a snapshot.
//!
//! Chunks and trees are bulk-loaded in the order in which they come. When a load
//! is full it is made durable in three steps, each safe to die behind:
//! 1. a synced record says which sequence numbers the load will use;
//! 2. the load is ingested, durable as a whole;
//! 3. one batch adds its objects to the index and removes the record of step 1.
//!
//! After a crash between 1 and 3 the record tells `gc` which numbers hold
//! garbage. The batch of step 3 is not synced by itself: it is in the log before
//! the snapshot record, whose sync covers it.

use std::collections::HashMap;

use crate::base::hash::leading_u64;
use crate::base::id::{ChunkId, IdScheme, ListId, SnapshotId, TreeId};
use crate::base::limits::TREE_BYTES_MAX;
use crate::base::name::EntryName;
use crate::compression::Compression;
use crate::dag::{DagError, Hint, Manifest, Record, Segment};
use crate::repository::error::RepositoryError;
use crate::repository::locator::{Locator, ObjectKind, sequence_key, sequence_of};
use crate::repository::objects::Repository;
use crate::repository::scan::{ScanChanges, ScanKey, ScanPage};
use crate::repository::writer::PendingRange;
use crate::store::{Batch, BulkLoad, Durability, Family};

/// Bytes after which a load is finished and the next one begun.
const LOAD_BYTES: u64 = 128 << 20;
/// Objects after which it is finished although they are small: their ids are
/// kept in memory until then.
const LOAD_OBJECTS: usize = 256 << 10;
/// The largest sequence number that a session may begin with. No disk holds as
/// many objects.
const SEQUENCE_MAX: u64 = 1 << 62;
/// Bytes of records about the source that are kept until they are stored.
const SCAN_BYTES: usize = 16 << 20;

/// A chunk, hashed and, if it is new, sealed. Made by worker threads.
#[derive(Clone, Debug)]
pub enum PreparedChunk {
    /// The index has it.
    Known {
        /// The chunk.
        id: ChunkId,
        /// Its plain length.
        bytes: u32,
        /// Where it lies.
        hint: Hint,
    },
    /// The index did not have it when the worker looked.
    New {
        /// The chunk.
        id: ChunkId,
        /// Its plain length.
        bytes: u32,
        /// What to store.
        envelope: Vec<u8>,
    },
}

/// What a session added to the repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// New chunks.
    pub chunks: u64,
    /// New trees and pages of chunk lists.
    pub trees: u64,
    /// Plain bytes of both.
    pub plain_bytes: u64,
    /// Bytes that they take on disk.
    pub stored_bytes: u64,
}

/// New objects on their way to a snapshot. Dropping it leaves what was loaded
/// for `gc`.
pub struct Session<'a> {
    repository: &'a Repository,
    data: Loader<'a>,
    trees: Loader<'a>,
    added: Added,
    scan: ScanChanges,
    /// In a dry run, the leading bytes of the ids that would have been stored,
    /// and under which numbers.
    pretended: Option<HashMap<u64, u64>>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(repository: &'a Repository, dry_run: bool) -> Result<Self, RepositoryError> {
        Ok(Self {
            repository,
            data: Loader::new(repository, Family::Data)?,
            trees: Loader::new(repository, Family::Trees)?,
            added: Added::default(),
            scan: ScanChanges::default(),
            pretended: dry_run.then(HashMap::new),
        })
    }

    /// Stores a chunk unless it is there already, and returns the segment that
    /// names it.
    ///
    /// # Errors
    /// Fails if the store does; then nothing of the session can be committed.
    pub fn put_chunk(&mut self, chunk: PreparedChunk) -> Result<Segment, RepositoryError> {
        let (id, bytes, envelope) = match chunk {
            PreparedChunk::Known { id, bytes, hint } => {
                return Ok(Segment::Chunk { id, bytes, hint });
            }
            PreparedChunk::New { id, bytes, envelope } => (id, bytes, envelope),
        };
        let kind = ObjectKind::Chunk;
        let sequence = match self.find(kind, id.as_bytes())? {
            Some(locator) => locator.sequence,
            None => {
                self.added.chunks += 1;
                self.load(kind, *id.as_bytes(), bytes, &envelope)?
            }
        };
        Ok(Segment::Chunk { id, bytes, hint: Some(sequence) })
    }

    /// Stores a directory node or page unless it is there already, and returns its
    /// id and where it lies.
    ///
    /// # Errors
    /// As [`Self::put_chunk`].
    pub fn put_tree(&mut self, record: &Record) -> Result<(TreeId, Hint), RepositoryError> {
        let id = self.repository.ids().tree(&record.canonical);
        Ok((id, self.put_record(ObjectKind::Tree, id.as_bytes(), record)?))
    }

    /// Stores a page of a chunk list unless it is there already, and returns its id
    /// and where it lies.
    ///
    /// # Errors
    /// As [`Self::put_chunk`].
    pub fn put_list(&mut self, record: &Record) -> Result<(ListId, Hint), RepositoryError> {
        let id = self.repository.ids().list(&record.canonical);
        Ok((id, self.put_record(ObjectKind::ChunkList, id.as_bytes(), record)?))
    }

    /// Stores an object once more, as it lies in the store, and returns its new number,
    /// to which the index leads from then on.
    ///
    /// # Errors
    /// As [`Self::put_chunk`].
    pub fn put_again(
        &mut self,
        kind: ObjectKind,
        id: [u8; 32],
        plain_bytes: u32,
        stored: &[u8],
    ) -> Result<u64, RepositoryError> {
        self.load(kind, id, plain_bytes, stored)
    }

    /// Remembers what was seen of a page of a source directory, once the page
    /// is stored.
    ///
    /// # Errors
    /// As [`Self::put_chunk`].
    pub fn put_scan_page(
        &mut self,
        key: ScanKey,
        is_first: bool,
        page: &ScanPage,
    ) -> Result<(), RepositoryError> {
        self.scan.put(&self.repository.protection, key, is_first, page)?;
        self.spill_scan()
    }

    /// Forgets what was seen of a page that ended with `last`.
    ///
    /// # Errors
    /// As [`Self::put_chunk`].
    pub fn forget_scan_page(
        &mut self,
        key: ScanKey,
        last: &EntryName,
    ) -> Result<(), RepositoryError> {
        self.scan.forget(&self.repository.protection, key, last);
        self.spill_scan()
    }

    fn spill_scan(&mut self) -> Result<(), RepositoryError> {
        if self.scan.bytes() >= SCAN_BYTES {
            return self.checkpoint();
        }
        Ok(())
    }

    /// Makes durable what there is so far, so that another session can go on
    /// from it although there is no snapshot.
    ///
    /// # Errors
    /// As [`Self::put_chunk`].
    pub fn checkpoint(&mut self) -> Result<(), RepositoryError> {
        let scan = self.scan.take();
        if self.pretended.is_some() {
            return Ok(());
        }
        self.data.finish()?;
        self.trees.finish()?;
        // Nothing depends on when these reach the disk.
        Ok(self.repository.store().write(&scan, Durability::Buffered)?)
    }

    /// How the repository names its objects.
    #[must_use]
    pub const fn ids(&self) -> &IdScheme {
        self.repository.ids()
    }

    /// What was new so far.
    #[must_use]
    pub const fn added(&self) -> Added {
        self.added
    }

    /// Makes everything durable, then the snapshot itself. When this returns,
    /// the snapshot survives power loss. Not to be called in a dry run.
    ///
    /// # Errors
    /// Fails if the store does; then there is no snapshot.
    pub fn commit(mut self, manifest: &Manifest) -> Result<SnapshotId, RepositoryError> {
        let (id, stored) = self.repository.encode_manifest(manifest)?;
        self.checkpoint()?;
        let mut batch = Batch::new();
        batch.put(Family::Snapshots, *id.as_bytes(), stored);
        let store = self.repository.store();
        store.write(&batch, Durability::Synced)?;
        store.flush()?;
        Ok(id)
    }

    fn put_record(
        &mut self,
        kind: ObjectKind,
        id: &[u8; 32],
        record: &Record,
    ) -> Result<Hint, RepositoryError> {
        if let Some(locator) = self.find(kind, id)? {
            return Ok(Some(locator.sequence));
        }
        let plain = record.to_stored();
        if record.canonical.len() > TREE_BYTES_MAX {
            return Err(RepositoryError::TooLarge(DagError::TooLarge {
                what: kind.name(),
                max: TREE_BYTES_MAX as u64,
            }));
        }
        let bytes = u32::try_from(plain.len()).unwrap_or(u32::MAX);
        self.added.trees += 1;
        let sealed = self.repository.seal(kind, id, &plain, Compression::Lz4)?;
        self.load(kind, *id, bytes, &sealed).map(Some)
    }

    fn find(&self, kind: ObjectKind, id: &[u8; 32]) -> Result<Option<Locator>, RepositoryError> {
        let loader = if kind == ObjectKind::Chunk { &self.data } else { &self.trees };
        let pretended = self.pretended.as_ref().and_then(|ids| ids.get(&leading_u64(id)));
        if let Some(sequence) = pretended.copied() {
            return Ok(Some(Locator { kind, sequence, plain_bytes: 0, stored_bytes: 0 }));
        }
        match loader.pending.get(id) {
            Some(locator) if locator.kind == kind => Ok(Some(*locator)),
            _ => self.repository.locate(kind, id),
        }
    }

    fn load(
        &mut self,
        kind: ObjectKind,
        id: [u8; 32],
        plain_bytes: u32,
        envelope: &[u8],
    ) -> Result<u64, RepositoryError> {
        let loader = if kind == ObjectKind::Chunk { &mut self.data } else { &mut self.trees };
        let sequence = loader.next;
        let stored_bytes = u32::try_from(envelope.len()).unwrap_or(u32::MAX);
        let locator = Locator { kind, sequence, plain_bytes, stored_bytes };
        match &mut self.pretended {
            Some(pretended) => {
                pretended.insert(leading_u64(&id), sequence);
                loader.next += 1;
            }
            None => loader.put(id, locator, envelope)?,
        }
        self.added.plain_bytes += u64::from(plain_bytes);
        self.added.stored_bytes += u64::from(stored_bytes);
        if self.data.is_full() {
            self.data.finish()?;
        }
        if self.trees.is_full() {
            // What a tree names must be there before it.
            self.data.finish()?;
            self.trees.finish()?;
        }
        Ok(sequence)
    }
}

/// The bulk load of one family.
struct Loader<'a> {
    repository: &'a Repository,
    family: Family,
    first: u64,
    next: u64,
    load: Option<Box<dyn BulkLoad + 'a>>,
    pending: HashMap<[u8; 32], Locator>,
}

impl<'a> Loader<'a> {
    fn new(repository: &'a Repository, family: Family) -> Result<Self, RepositoryError> {
        let next = next_sequence(repository, family)?;
        let pending = HashMap::new();
        Ok(Self { repository, family, first: next, next, load: None, pending })
    }

    fn is_full(&self) -> bool {
        let is_full =
            |load: &dyn BulkLoad| load.bytes() >= LOAD_BYTES || self.pending.len() >= LOAD_OBJECTS;
        self.load.as_deref().is_some_and(is_full)
    }

    fn put(
        &mut self,
        id: [u8; 32],
        locator: Locator,
        envelope: &[u8],
    ) -> Result<(), RepositoryError> {
        let load = match &mut self.load {
            Some(load) => load,
            none => none.insert(self.repository.store().bulk_load(self.family)?),
        };
        load.put(&sequence_key(locator.sequence), envelope)?;
        self.pending.insert(id, locator);
        self.next += 1;
        Ok(())
    }

    /// Makes the load durable and its objects known to the index.
    fn finish(&mut self) -> Result<(), RepositoryError> {
        let Some(load) = self.load.take() else { return Ok(()) };
        let store = self.repository.store();
        let record = PendingRange::key(self.family, self.first);
        let mut batch = Batch::new();
        batch.put(Family::Meta, record.as_bytes(), sequence_key(self.next - 1));
        store.write(&batch, Durability::Synced)?;

        load.finish()?;

        let mut batch = Batch::new();
        for (id, locator) in self.pending.drain() {
            batch.put(Family::Index, id, locator.encode());
        }
        batch.put(Family::Meta, next_key(self.family).as_bytes(), sequence_key(self.next));
        batch.delete(Family::Meta, record.as_bytes());
        store.write(&batch, Durability::Buffered)?;
        self.first = self.next;
        Ok(())
    }
}

pub(crate) fn next_key(family: Family) -> String {
    format!("next/{}", family.name())
}

/// Returns the first sequence number that was never given: above what the
/// counter says, what the family holds, and what a dead process may have loaded.
pub(crate) fn next_sequence(
    repository: &Repository,
    family: Family,
) -> Result<u64, RepositoryError> {
    let store = repository.store();
    let counter = store.get(Family::Meta, next_key(family).as_bytes())?;
    let mut next = counter.and_then(|value| sequence_of(&value)).unwrap_or(0);
    if let Some(last) = store.last_key(family)?.and_then(|key| sequence_of(&key)) {
        next = next.max(last.saturating_add(1));
    }
    for range in repository.pending_ranges()? {
        if range.family == family {
            next = next.max(range.last.saturating_add(1));
        }
    }
    if next > SEQUENCE_MAX {
        return Err(RepositoryError::Damaged {
            kind: "counter",
            id: next_key(family),
            detail: format!("{next} is no number that was ever reached"),
        });
    }
    Ok(next)
}
