//! The store: ordered byte keys in a few families, durable on request.
//!
//! Purpose: everything a repository keeps lives behind [`Store`]. Four
//! implementations serve it: [`rocks`] (the real one), [`memory`] (the twin for
//! tests and models), [`power`] (a twin that can lose power) and [`fault`] (a
//! wrapper that fails on demand). One conformance suite runs over all of them.
//!
//! Invariants:
//! - [`Store::write`] is atomic, and once a `Durability::Synced` write returns,
//!   it and every earlier write and bulk load survives power loss.
//! - Of the writes since then power loss may take any, and need not take the last
//!   ones first. Loads, rewrites and drops of files are not lost with them.
//! - A bulk load is visible and durable as a whole when `finish` returns, and
//!   leaves nothing behind when it is dropped instead.
//! - A reader handle sees the state as of its last [`Store::catch_up`], never a
//!   half-applied batch.
//!
//! Imports: nothing of ours. Only [`rocks`] may name `rocksdb`.

use std::ops::ControlFlow;
use std::sync::Arc;

pub mod fault;
pub mod memory;
pub mod power;
pub mod rocks;

#[cfg(test)]
mod conformance;

/// A named key space of its own (a RocksDB column family).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// Object id -> locator.
    Index,
    /// Sequence number (big-endian u64) -> chunk envelope. Bulk-loaded only.
    Data,
    /// Sequence number (big-endian u64) -> tree envelope. Bulk-loaded only.
    Trees,
    /// Snapshot id -> manifest.
    Snapshots,
    /// Counters and the record of bulk loads under way.
    Meta,
    /// The audit log.
    Events,
    /// Change-detection cache; rebuildable, may vanish at any time.
    Scan,
}

impl Family {
    /// Every family, in a fixed order.
    pub const ALL: [Self; 7] = [
        Self::Index,
        Self::Data,
        Self::Trees,
        Self::Snapshots,
        Self::Meta,
        Self::Events,
        Self::Scan,
    ];

    /// The name of the family on disk.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Data => "data",
            Self::Trees => "trees",
            Self::Snapshots => "snapshots",
            Self::Meta => "meta",
            Self::Events => "events",
            Self::Scan => "scan",
        }
    }
}

/// What went wrong in the store. Every variant is a repository-side error.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process holds the store open for writing.
    #[error("The store at {path} is open for writing in another process")]
    Locked {
        /// The store's directory.
        path: String,
    },
    /// There is no store at the path.
    #[error("There is no store at {path}")]
    Missing {
        /// The store's directory.
        path: String,
    },
    /// The disk is full.
    #[error(
        "No space left on the device while {action} ({detail}); make room and run the command again"
    )]
    Full {
        /// What was being done.
        action: &'static str,
        /// The engine's words.
        detail: String,
    },
    /// The engine found its own files damaged.
    #[error("The store is damaged: {action} failed ({detail})")]
    Damaged {
        /// What was being done.
        action: &'static str,
        /// The engine's words; they name the file.
        detail: String,
    },
    /// The disk does not give what is on it, asked twice.
    #[error(
        "The disk failed while {action} ({detail}); copy what it still gives to a sound one, with \
         ddrescue say, and go on with the copy"
    )]
    Unreadable {
        /// What was being done.
        action: &'static str,
        /// The engine's words; they name the file.
        detail: String,
    },
    /// Any other failure of the engine or the file system below it.
    #[error("The store failed while {action} ({detail})")]
    Failed {
        /// What was being done.
        action: &'static str,
        /// The engine's words.
        detail: String,
    },
    /// An earlier write failed; this handle refuses further writes, since what
    /// reached the disk is unknown until the store is opened again.
    #[error("An earlier write failed, so this handle takes no more writes; run the command again")]
    Poisoned,
    /// A write was asked of a reader handle.
    #[error("This handle is for reading only")]
    ReadOnly,
    /// Keys of a bulk load must rise, and lie above what the family holds.
    #[error("Keys of a bulk load into {family} do not rise")]
    KeyOrder {
        /// The family's name.
        family: &'static str,
    },
}

impl StoreError {
    /// Whether stored bytes cannot be had: they are damaged, or the disk does not give
    /// them.
    #[must_use]
    pub const fn is_loss(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Unreadable { .. })
    }
}

/// What a write must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Applied now; on disk with the next synced write.
    Buffered,
    /// On disk, and everything before it, when the call returns.
    Synced,
}

/// One change inside a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets a key.
    Put(Family, Vec<u8>, Vec<u8>),
    /// Removes a key; removing an absent key is no error.
    Delete(Family, Vec<u8>),
}

/// Changes that apply together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    changes: Vec<Change>,
}

impl Batch {
    /// Returns an empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, family: Family, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.changes.push(Change::Put(family, key.into(), value.into()));
    }

    /// Removes `key`.
    pub fn delete(&mut self, family: Family, key: impl Into<Vec<u8>>) {
        self.changes.push(Change::Delete(family, key.into()));
    }

    /// The changes in order.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The number of changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// One file of a bulk-loaded family: a run of keys that lie together on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The smallest key in it.
    pub first: Vec<u8>,
    /// The largest key in it.
    pub last: Vec<u8>,
    /// Its size on disk in bytes.
    pub bytes: u64,
    /// Whether it lies above the level of bulk loads, and so holds marks of deletion
    /// until a rewrite takes them in. It cannot be dropped.
    pub is_young: bool,
}

/// Something wrong with the engine's own files, found when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFault {
    /// The file's name in the store's directory.
    pub file: String,
    /// The family that it belongs to.
    pub family: String,
    /// The smallest key in it.
    pub first: Vec<u8>,
    /// The largest key in it.
    pub last: Vec<u8>,
    /// What is wrong with it.
    pub detail: String,
}

/// Takes a key and its value, and says whether to go on.
pub type VisitEntry<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Ordered byte keys in families. Object safe; all methods take `&self` and may
/// be called from several threads.
pub trait Store: Send + Sync {
    /// Calls `visit` with the value of `key`, without copying it first, and
    /// returns whether the key exists.
    ///
    /// # Errors
    /// Fails if the engine cannot read or finds damage.
    fn read(
        &self,
        family: Family,
        key: &[u8],
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, StoreError>;

    /// Returns whether `key` exists, without reading its value where that can
    /// be avoided.
    ///
    /// # Errors
    /// As [`Store::read`].
    fn contains(&self, family: Family, key: &[u8]) -> Result<bool, StoreError> {
        self.read(family, key, &mut |_| {})
    }

    /// Returns a copy of the value of `key`.
    ///
    /// # Errors
    /// As [`Store::read`].
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut value = None;
        self.read(family, key, &mut |bytes| value = Some(bytes.to_vec()))?;
        Ok(value)
    }

    /// Visits keys and values in rising order from `first` on, until `visit`
    /// breaks.
    ///
    /// # Errors
    /// As [`Store::read`].
    fn scan(
        &self,
        family: Family,
        first: &[u8],
        visit: &mut VisitEntry<'_>,
    ) -> Result<(), StoreError>;

    /// Returns the largest key of a family, or where damage hides it, a larger one or
    /// the same.
    ///
    /// # Errors
    /// As [`Store::read`].
    fn last_key(&self, family: Family) -> Result<Option<Vec<u8>>, StoreError>;

    /// Applies a batch atomically.
    ///
    /// # Errors
    /// Fails on a reader handle, when an earlier write failed, or when the
    /// engine cannot write; after the latter the handle is poisoned.
    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError>;

    /// Starts a bulk load of rising keys, all above what the family holds.
    ///
    /// # Errors
    /// As [`Store::write`].
    fn bulk_load(&self, family: Family) -> Result<Box<dyn BulkLoad + '_>, StoreError>;

    /// Moves buffered writes from the log into the engine's files, so that the
    /// next opener has nothing to replay.
    ///
    /// # Errors
    /// As [`Store::write`].
    fn flush(&self) -> Result<(), StoreError>;

    /// Brings a reader handle up to date; does nothing on a writer.
    ///
    /// # Errors
    /// As [`Store::read`].
    fn catch_up(&self) -> Result<(), StoreError>;

    /// Lists the files of a family in key order.
    ///
    /// # Errors
    /// As [`Store::read`].
    fn extents(&self, family: Family) -> Result<Vec<Extent>, StoreError>;

    /// What was wrong with the engine's files when this handle was opened.
    fn faults(&self) -> &[StoreFault] {
        &[]
    }

    /// Rewrites the files that overlap `first..=last` into as few as they fit in,
    /// so that the space of deleted keys in that range returns to the file system
    /// at once. When it returns, none of those files is left.
    ///
    /// # Errors
    /// As [`Store::write`]; what the files held is still there.
    fn reclaim(&self, family: Family, first: &[u8], last: &[u8]) -> Result<(), StoreError>;

    /// Removes the files that lie wholly in `first..=last`, with all keys in
    /// them, without reading or writing what they hold. Keys in files that reach
    /// beyond the range stay, and so may files that were not bulk-loaded.
    ///
    /// # Errors
    /// As [`Store::write`].
    fn drop_files(&self, family: Family, first: &[u8], last: &[u8]) -> Result<(), StoreError>;
}

/// A store owned by several, such as a writer and those who look at it.
impl<S: Store + ?Sized> Store for Arc<S> {
    fn read(
        &self,
        family: Family,
        key: &[u8],
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, StoreError> {
        (**self).read(family, key, visit)
    }

    fn scan(
        &self,
        family: Family,
        first: &[u8],
        visit: &mut VisitEntry<'_>,
    ) -> Result<(), StoreError> {
        (**self).scan(family, first, visit)
    }

    fn last_key(&self, family: Family) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).last_key(family)
    }

    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        (**self).write(batch, durability)
    }

    fn bulk_load(&self, family: Family) -> Result<Box<dyn BulkLoad + '_>, StoreError> {
        (**self).bulk_load(family)
    }

    fn flush(&self) -> Result<(), StoreError> {
        (**self).flush()
    }

    fn catch_up(&self) -> Result<(), StoreError> {
        (**self).catch_up()
    }

    fn extents(&self, family: Family) -> Result<Vec<Extent>, StoreError> {
        (**self).extents(family)
    }

    fn faults(&self) -> &[StoreFault] {
        (**self).faults()
    }

    fn reclaim(&self, family: Family, first: &[u8], last: &[u8]) -> Result<(), StoreError> {
        (**self).reclaim(family, first, last)
    }

    fn drop_files(&self, family: Family, first: &[u8], last: &[u8]) -> Result<(), StoreError> {
        (**self).drop_files(family, first, last)
    }
}

/// A bulk load under way; see [`Store::bulk_load`]. Dropping it abandons it.
pub trait BulkLoad {
    /// Appends a key, larger than the one before.
    ///
    /// # Errors
    /// Fails if the key does not rise or the engine cannot write.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError>;

    /// The bytes written so far.
    fn bytes(&self) -> u64;

    /// Makes the load durable and visible as a whole. An empty load is dropped.
    ///
    /// # Errors
    /// As [`Store::write`]; a failure poisons the store.
    fn finish(self: Box<Self>) -> Result<(), StoreError>;
}
