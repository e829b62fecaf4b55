//! The writer: a repository with its lock.

use std::fs;
use std::ops::{ControlFlow, Deref};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::base::progress::Monitor;
use crate::crypto::MasterKey;
use crate::repository::config::Config;
use crate::repository::error::RepositoryError;
use crate::repository::layout::Layout;
use crate::repository::locator::{sequence_key, sequence_of};
use crate::repository::lock::WriterLock;
use crate::repository::objects::Repository;
use crate::repository::protection::Protection;
use crate::repository::reserve;
use crate::repository::session::{Session, next_key, next_sequence};
use crate::store::rocks::RocksStore;
use crate::store::{Batch, Durability, Family, Store, StoreError};

/// How long a writer lingers after its last change. A mount lets the kernel keep
/// what depends on the list of snapshots for a moment (2 ms, and the kernel
/// counts in ticks of up to 10 ms), so that not every path costs a request. When
/// the writer has returned, every such moment is over: what it did is seen.
pub const LINGER: Duration = Duration::from_millis(25);

/// A repository open for writing; there is one writer at a time.
pub struct Writer {
    repository: Repository,
    // Dropped after the store is closed, and before others may write.
    _linger: Option<Linger>,
    // Dropped after the store is closed.
    _lock: WriterLock,
}

impl Deref for Writer {
    type Target = Repository;

    fn deref(&self) -> &Repository {
        &self.repository
    }
}

/// Waits, when it is dropped, until mounts show what was written.
struct Linger;

impl Drop for Linger {
    fn drop(&mut self) {
        thread::sleep(LINGER);
    }
}

/// Sequence numbers in doubt: a bulk load or a sweep of them was begun and not
/// ended, because its process died. What lies there and is in no live tree is
/// garbage, whatever the index says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingRange {
    /// Their family.
    pub family: Family,
    /// The first one.
    pub first: u64,
    /// The last one.
    pub last: u64,
}

const PENDING_PREFIX: &str = "pending/";

impl PendingRange {
    /// The key of the record that is kept of them.
    pub(crate) fn key(family: Family, first: u64) -> String {
        format!("{PENDING_PREFIX}{}/{first:020}", family.name())
    }

    fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(key).ok()?.strip_prefix(PENDING_PREFIX)?;
        let (family, first) = text.split_once('/')?;
        let family = Family::ALL.into_iter().find(|known| known.name() == family)?;
        Some(Self { family, first: first.parse().ok()?, last: sequence_of(value)? })
    }
}

/// Decodes any bytes as a record of numbers in doubt, for fuzzers.
pub(crate) fn decode_pending(key: &[u8], value: &[u8]) {
    if let Some(PendingRange { family, first, .. }) = PendingRange::decode(key, value) {
        let same = PendingRange::decode(PendingRange::key(family, first).as_bytes(), value);
        assert!(same.is_some(), "its key means something else");
    }
}

impl Repository {
    /// Starts a set of objects that are only counted, never stored.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn begin_dry_run(&self) -> Result<Session<'_>, RepositoryError> {
        Session::new(self, true)
    }

    /// Lists the sequence numbers that a killed process left in doubt.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn pending_ranges(&self) -> Result<Vec<PendingRange>, RepositoryError> {
        let mut ranges = Vec::new();
        self.store.scan(Family::Meta, PENDING_PREFIX.as_bytes(), &mut |key, value| {
            if !key.starts_with(PENDING_PREFIX.as_bytes()) {
                return ControlFlow::Break(());
            }
            ranges.extend(PendingRange::decode(key, value));
            ControlFlow::Continue(())
        })?;
        Ok(ranges)
    }

    /// Removes the records of numbers in doubt, once they were swept.
    pub(crate) fn forget_pending_ranges(&self) -> Result<(), RepositoryError> {
        let mut batch = Batch::new();
        for range in self.pending_ranges()? {
            let next = next_sequence(self, range.family)?;
            batch.put(Family::Meta, next_key(range.family).as_bytes(), sequence_key(next));
            batch.delete(Family::Meta, PendingRange::key(range.family, range.first).as_bytes());
        }
        Ok(self.store.write(&batch, Durability::Synced)?)
    }
}

impl Writer {
    /// Opens the repository at `root`, encrypted under `key` if there is one, for
    /// the command `purpose`, waiting up to `wait` for another writer.
    ///
    /// # Errors
    /// Fails if there is no repository, a key is needed or is not or is another
    /// one's, a newer program wrote it, another process keeps it busy, or the store
    /// cannot be opened.
    pub fn open(
        root: &Path,
        key: Option<&MasterKey>,
        purpose: &str,
        wait: Duration,
        monitor: &dyn Monitor,
    ) -> Result<Self, RepositoryError> {
        Self::open_over(root, key, purpose, wait, monitor, |layout| {
            reserve::keep(layout);
            open_store(layout)
        })
    }

    /// The same for a command that frees space: where the disk is full, it may use
    /// what was set aside for this.
    ///
    /// # Errors
    /// The same.
    pub fn open_to_free(
        root: &Path,
        key: Option<&MasterKey>,
        purpose: &str,
        wait: Duration,
        monitor: &dyn Monitor,
    ) -> Result<Self, RepositoryError> {
        Self::open_over(root, key, purpose, wait, monitor, |layout| {
            reserve::release(layout);
            open_store(layout)
        })
    }

    /// Opens a repository over the store that `open` opens once the lock is held.
    pub(crate) fn open_over(
        root: &Path,
        key: Option<&MasterKey>,
        purpose: &str,
        wait: Duration,
        monitor: &dyn Monitor,
        open: impl FnOnce(&Layout) -> Result<Arc<dyn Store>, StoreError>,
    ) -> Result<Self, RepositoryError> {
        let layout = Layout::new(root);
        Protection::new(&layout, &Config::read(&layout)?, key)?;
        layout.check_places()?;
        let lock = WriterLock::acquire(&layout, purpose, wait, monitor)?;
        // Read again: while this process waited, another may have upgraded it.
        let config = Config::read(&layout)?;
        clear_tmp(&layout)?;
        let store = open(&layout)?;
        let repository = Repository::open(layout, config, key, store)?;
        repository.guard()?;
        Ok(Self::new(repository, lock))
    }

    /// Wraps an open repository whose lock is held.
    pub(crate) const fn new(repository: Repository, lock: WriterLock) -> Self {
        Self { repository, _linger: Some(Linger), _lock: lock }
    }

    /// Lets this writer go without lingering: there is no mount.
    #[cfg(test)]
    pub(crate) fn hurried(mut self) -> Self {
        std::mem::forget(self._linger.take());
        self
    }

    /// Starts a set of objects on their way to a snapshot.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn begin(&self) -> Result<Session<'_>, RepositoryError> {
        Session::new(&self.repository, false)
    }

    /// Leaves nothing for the next opener to replay, and changes the store's
    /// directory, which is how readers notice.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    pub fn close(&self) -> Result<(), RepositoryError> {
        self.store.flush()?;
        reserve::keep(self.layout());
        Ok(())
    }
}

fn open_store(layout: &Layout) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(RocksStore::open(&layout.db(), &layout.tmp())?))
}

/// Removes what bulk loads of dead processes left. The lock is held, so no live
/// process has files there.
pub(crate) fn clear_tmp(layout: &Layout) -> Result<(), RepositoryError> {
    let directory = layout.tmp();
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let made = fs::DirBuilder::new().mode(0o700).create(&directory);
            return made.map_err(RepositoryError::io("create", &directory));
        }
        Err(error) => return Err(RepositoryError::io("list", &directory)(error)),
    };
    for entry in entries {
        let path = entry.map_err(RepositoryError::io("list", &directory))?.path();
        let removed =
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(RepositoryError::io("remove", &path))?;
    }
    Ok(())
}
