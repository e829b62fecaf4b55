//! Reading objects: by hint if there is one, else by index, always verified.

use std::fs;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::base::id::{ChunkId, TreeId};
use crate::base::limits::{CHUNK_BYTES_MAX, TREE_BYTES_MAX};
use crate::crypto::MasterKey;
use crate::dag::record::split_stored;
use crate::dag::{ChunkList, ChunkListRef, DagError, Hint, Tree, TreeRef};
use crate::repository::config::Config;
use crate::repository::error::RepositoryError;
use crate::repository::layout::Layout;
use crate::repository::locator::{Locator, ObjectKind, sequence_key, sequence_of};
use crate::repository::protection::Protection;
use crate::repository::scan::ScanOrder;
use crate::store::{Family, Store, StoreError};

/// Decodes the canonical bytes and the hints of a record.
type Decode<'a, T> = dyn Fn(&[u8], &[u8]) -> Result<T, DagError> + 'a;

/// The reading side of a repository.
pub struct Repository {
    pub(crate) layout: Layout,
    pub(crate) config: Config,
    pub(crate) protection: Protection,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) scan_order: Mutex<Option<ScanOrder>>,
}

impl Repository {
    /// Wraps an open store of a repository that is not encrypted.
    #[cfg(test)]
    pub(crate) fn new(layout: Layout, config: Config, store: Arc<dyn Store>) -> Self {
        let protection = Protection::none();
        Self { layout, config, protection, store, scan_order: Mutex::new(None) }
    }

    /// Wraps an open store.
    ///
    /// # Errors
    /// Fails if the key is not that of the repository, or one is needed or is not.
    pub(crate) fn open(
        layout: Layout,
        config: Config,
        key: Option<&MasterKey>,
        store: Arc<dyn Store>,
    ) -> Result<Self, RepositoryError> {
        let protection = Protection::new(&layout, &config, key)?;
        Ok(Self { layout, config, protection, store, scan_order: Mutex::new(None) })
    }

    /// What is fixed for the life of the repository.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Where its parts lie.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The directory of the repository.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.layout.root()
    }

    /// Returns a warning if others than its owner can look into the repository or
    /// change it.
    #[must_use]
    pub fn permission_warning(&self) -> Option<String> {
        let path = self.path();
        let mode = fs::metadata(path).ok()?.mode();
        let others = match mode & 0o777 {
            mode if mode & 0o022 != 0 => "can change",
            mode if mode & 0o055 != 0 => "can look into",
            _ => return None,
        };
        Some(format!("Others {others} the repository {path:?}; `chmod 700` protects it"))
    }

    /// The store below.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Returns the plain bytes of a chunk, which must be `bytes` long.
    ///
    /// # Errors
    /// Fails if the chunk is missing or damaged, or the store cannot be read.
    pub fn chunk(&self, id: &ChunkId, bytes: u32, hint: Hint) -> Result<Vec<u8>, RepositoryError> {
        self.object(ObjectKind::Chunk, id.as_bytes(), hint, CHUNK_BYTES_MAX, &|plain| {
            if self.ids().chunk(&plain) != *id {
                return Err("its bytes do not match its hash".to_owned());
            }
            if plain.len() as u64 != u64::from(bytes) {
                return Err(format!("it has {} bytes instead of {bytes}", plain.len()));
            }
            Ok(plain)
        })
    }

    /// Visits the chunks that lie at a range of sequence numbers, in order, each
    /// under the id that its bytes hash to. Left out are those of more than
    /// `bytes_max` plain bytes, those that are not `wanted`, and damaged ones.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn scan_chunks(
        &self,
        sequences: Range<u64>,
        bytes_max: usize,
        wanted: &dyn Fn(u64) -> bool,
        visit: &mut dyn FnMut(ChunkId, Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), RepositoryError> {
        let first = sequence_key(sequences.start);
        Ok(self.store.scan(ObjectKind::Chunk.family(), &first, &mut |key, value| {
            let Some(sequence) = sequence_of(key).filter(|at| *at < sequences.end) else {
                return ControlFlow::Break(());
            };
            if value.len() > bytes_max || !wanted(sequence) {
                return ControlFlow::Continue(());
            }
            match self.protection.envelopes.open_any(value, bytes_max) {
                Ok(opened) => visit(self.ids().chunk(&opened.plain), opened.plain),
                Err(_) => ControlFlow::Continue(()),
            }
        })?)
    }

    /// Returns a directory node or page.
    ///
    /// # Errors
    /// As [`Self::chunk`].
    pub fn tree(&self, tree: &TreeRef) -> Result<Tree, RepositoryError> {
        self.tree_by_id(&tree.id, tree.hint)
    }

    /// Returns a directory node or page by its id alone.
    ///
    /// # Errors
    /// As [`Self::chunk`].
    pub fn tree_by_id(&self, id: &TreeId, hint: Hint) -> Result<Tree, RepositoryError> {
        self.record(ObjectKind::Tree, id.as_bytes(), hint, &|canonical, hints| {
            Tree::decode(self.ids(), id, canonical, hints)
        })
    }

    /// Returns a page of a chunk list.
    ///
    /// # Errors
    /// As [`Self::chunk`].
    pub fn chunk_list(&self, list: &ChunkListRef) -> Result<ChunkList, RepositoryError> {
        self.record(ObjectKind::ChunkList, list.id.as_bytes(), list.hint, &|canonical, hints| {
            ChunkList::decode(self.ids(), list, canonical, hints)
        })
    }

    /// Returns where a chunk lies, if it is stored.
    ///
    /// # Errors
    /// Fails if the index cannot be read.
    pub fn find_chunk(&self, id: &ChunkId) -> Result<Option<Hint>, RepositoryError> {
        let locator = self.locate(ObjectKind::Chunk, id.as_bytes())?;
        Ok(locator.map(|locator| Some(locator.sequence)))
    }

    /// Returns what the index says of an object of that kind.
    ///
    /// # Errors
    /// Fails if the index cannot be read or its entry makes no sense.
    pub fn locate(
        &self,
        kind: ObjectKind,
        id: &[u8; 32],
    ) -> Result<Option<Locator>, RepositoryError> {
        let mut found = None;
        self.store.read(Family::Index, id, &mut |value| found = Some(Locator::decode(value)))?;
        let locator = found.transpose().map_err(|error| damaged(kind, id, error.to_string()))?;
        Ok(locator.filter(|locator| locator.kind == kind))
    }

    fn record<T>(
        &self,
        kind: ObjectKind,
        id: &[u8; 32],
        hint: Hint,
        decode: &Decode<'_, T>,
    ) -> Result<T, RepositoryError> {
        self.object(kind, id, hint, 2 * TREE_BYTES_MAX, &|stored| {
            let parts = split_stored(kind.name(), &stored);
            parts
                .and_then(|(canonical, hints)| decode(canonical, hints))
                .map_err(|error| error.to_string())
        })
    }

    /// Reads an object and checks it with `accept`: first where the hint says,
    /// then where the index says, then once more after catching up, since a
    /// collection may have replaced the files under a reader.
    pub(crate) fn object<T>(
        &self,
        kind: ObjectKind,
        id: &[u8; 32],
        hint: Hint,
        max: usize,
        accept: &dyn Fn(Vec<u8>) -> Result<T, String>,
    ) -> Result<T, RepositoryError> {
        if let Some(sequence) = hint
            && let Ok(Some(Ok(object))) = self.at(kind, id, sequence, max, accept)
        {
            return Ok(object);
        }
        match self.object_by_index(kind, id, max, accept) {
            Err(error) if error.is_loss() || is_transient(&error) => {
                self.store.catch_up()?;
                self.object_by_index(kind, id, max, accept)
            }
            outcome => outcome,
        }
    }

    fn object_by_index<T>(
        &self,
        kind: ObjectKind,
        id: &[u8; 32],
        max: usize,
        accept: &dyn Fn(Vec<u8>) -> Result<T, String>,
    ) -> Result<T, RepositoryError> {
        let missing =
            || RepositoryError::Missing { kind: kind.name(), id: crate::base::id::hex(id) };
        let locator = self.locate(kind, id)?.ok_or_else(missing)?;
        match self.at(kind, id, locator.sequence, max, accept) {
            Ok(Some(outcome)) => outcome.map_err(|detail| damaged(kind, id, detail)),
            Ok(None) => Err(missing()),
            Err(StoreError::Unreadable { detail, .. }) => {
                let id = crate::base::id::hex(id);
                Err(RepositoryError::Unreadable { kind: kind.name(), id, detail })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn at<T>(
        &self,
        kind: ObjectKind,
        id: &[u8; 32],
        sequence: u64,
        max: usize,
        accept: &dyn Fn(Vec<u8>) -> Result<T, String>,
    ) -> Result<Option<Result<T, String>>, StoreError> {
        let mut opened = None;
        self.store.read(kind.family(), &sequence_key(sequence), &mut |bytes| {
            let plain = self.protection.envelopes.open(kind.record(), id, bytes, max);
            opened = Some(plain.map_err(|error| error.to_string()));
        })?;
        Ok(opened.map(|plain| plain.and_then(accept)))
    }
}

fn is_transient(error: &RepositoryError) -> bool {
    matches!(error, RepositoryError::Store(StoreError::Failed { .. }))
}

fn damaged(kind: ObjectKind, id: &[u8; 32], detail: String) -> RepositoryError {
    RepositoryError::Damaged { kind: kind.name(), id: crate::base::id::hex(id), detail }
}
