//! The store's twin in memory that can lose power: it remembers what was not
//! synced, and leaves as much of it as the promises of the store allow.
//!
//! Purpose: to show that whatever is missing behind the last sync, and in
//! whatever order it went, what was committed is whole.
//!
//! Imports: nothing of ours but the store's own types.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::memory::MemoryStore;
use crate::store::{Batch, BulkLoad, Durability, Extent, Family, Store, StoreError, VisitEntry};

/// A store in memory that can lose power.
pub struct PowerStore {
    live: MemoryStore,
    disk: Mutex<Disk>,
    /// Which synced writes are not, as on a disk that lies.
    lies_about: fn(&Batch) -> bool,
}

/// What is on disk for certain, and what was done since.
struct Disk {
    synced: MemoryStore,
    since: Vec<Change>,
}

/// Something done since the last sync.
enum Change {
    /// In the log, and perhaps not on disk.
    Write(Batch),
    Load(Family, Vec<(Vec<u8>, Vec<u8>)>),
    Reclaim(Family, Vec<u8>, Vec<u8>),
    Drop(Family, Vec<u8>, Vec<u8>),
}

impl PowerStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::of(MemoryStore::new())
    }

    /// Makes a store that holds, durably, what another one holds now.
    #[must_use]
    pub fn of(store: MemoryStore) -> Self {
        let disk = Disk { synced: store.fork(), since: Vec::new() };
        Self { live: store, disk: Mutex::new(disk), lies_about: |_| false }
    }

    /// Makes it forget to sync some writes, as a disk does that lies or a program that
    /// is wrong: what is built on it must not seem safe.
    #[must_use]
    pub fn lying_about(mut self, is_forgotten: fn(&Batch) -> bool) -> Self {
        self.lies_about = is_forgotten;
        self
    }

    /// Returns a reader; see [`MemoryStore::reader`].
    #[must_use]
    pub fn reader(&self) -> MemoryStore {
        self.live.reader()
    }

    /// Returns a store of its own that holds, durably, what this one shows now: as
    /// if the process had died and the machine had not.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { lies_about: self.lies_about, ..Self::of(self.live.fork()) }
    }

    /// How many writes are not synced.
    #[must_use]
    pub fn unsynced_writes(&self) -> usize {
        let is_write = |change: &&Change| matches!(change, Change::Write(_));
        self.disk().since.iter().filter(is_write).count()
    }

    /// Returns what is there after a loss of power, if of the writes that were not
    /// synced those are left whose number, counted from 0, `is_left` accepts.
    ///
    /// # Errors
    /// Fails if what was done cannot be done again, which is a defect.
    pub fn after_power_loss(&self, is_left: impl Fn(usize) -> bool) -> Result<Self, StoreError> {
        let disk = self.disk();
        let store = disk.synced.fork();
        let mut number = 0;
        for change in &disk.since {
            if matches!(change, Change::Write(_)) {
                number += 1;
                if !is_left(number - 1) {
                    continue;
                }
            }
            change.apply(&store)?;
        }
        Ok(Self { lies_about: self.lies_about, ..Self::of(store) })
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut disk = self.disk();
        for change in std::mem::take(&mut disk.since) {
            change.apply(&disk.synced)?;
        }
        Ok(())
    }
}

impl Default for PowerStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Change {
    fn apply(&self, store: &MemoryStore) -> Result<(), StoreError> {
        match self {
            Self::Write(batch) => store.write(batch, Durability::Synced),
            Self::Load(family, entries) => store.load(*family, entries),
            Self::Reclaim(family, first, last) => store.reclaim(*family, first, last),
            Self::Drop(family, first, last) => store.drop_files(*family, first, last),
        }
    }
}

impl Store for PowerStore {
    fn read(
        &self,
        family: Family,
        key: &[u8],
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, StoreError> {
        self.live.read(family, key, visit)
    }

    fn scan(
        &self,
        family: Family,
        first: &[u8],
        visit: &mut VisitEntry<'_>,
    ) -> Result<(), StoreError> {
        self.live.scan(family, first, visit)
    }

    fn last_key(&self, family: Family) -> Result<Option<Vec<u8>>, StoreError> {
        self.live.last_key(family)
    }

    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        self.live.write(batch, durability)?;
        self.disk().since.push(Change::Write(batch.clone()));
        let is_synced = durability == Durability::Synced && !(self.lies_about)(batch);
        if is_synced { self.sync() } else { Ok(()) }
    }

    fn bulk_load(&self, family: Family) -> Result<Box<dyn BulkLoad + '_>, StoreError> {
        let load = self.live.bulk_load(family)?;
        Ok(Box::new(PowerLoad { store: self, family, load, entries: Vec::new() }))
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.live.flush()?;
        if (self.lies_about)(&Batch::new()) { Ok(()) } else { self.sync() }
    }

    fn catch_up(&self) -> Result<(), StoreError> {
        self.live.catch_up()
    }

    fn extents(&self, family: Family) -> Result<Vec<Extent>, StoreError> {
        self.live.extents(family)
    }

    fn reclaim(&self, family: Family, first: &[u8], last: &[u8]) -> Result<(), StoreError> {
        self.live.reclaim(family, first, last)?;
        self.disk().since.push(Change::Reclaim(family, first.to_vec(), last.to_vec()));
        Ok(())
    }

    fn drop_files(&self, family: Family, first: &[u8], last: &[u8]) -> Result<(), StoreError> {
        self.live.drop_files(family, first, last)?;
        self.disk().since.push(Change::Drop(family, first.to_vec(), last.to_vec()));
        Ok(())
    }
}

struct PowerLoad<'a> {
    store: &'a PowerStore,
    family: Family,
    load: Box<dyn BulkLoad + 'a>,
    entries: Vec<(Vec<u8>, Vec<u8>)>,
}

impl BulkLoad for PowerLoad<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.load.put(key, value)?;
        self.entries.push((key.to_vec(), value.to_vec()));
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.load.bytes()
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let Self { store, family, load, entries } = *self;
        load.finish()?;
        store.disk().since.push(Change::Load(family, entries));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(store: &PowerStore, key: u8, durability: Durability) {
        let mut batch = Batch::new();
        batch.put(Family::Meta, [key], [key]);
        store.write(&batch, durability).unwrap();
    }

    fn kept(store: &PowerStore, is_left: impl Fn(usize) -> bool) -> Vec<u8> {
        let left = store.after_power_loss(is_left).unwrap();
        (0..10).filter(|key| left.contains(Family::Meta, &[*key]).unwrap()).collect()
    }

    #[test]
    fn power_loss_takes_what_was_not_synced_and_leaves_what_was_and_all_loads() {
        let store = PowerStore::new();
        put(&store, 0, Durability::Buffered);
        put(&store, 1, Durability::Synced);
        put(&store, 2, Durability::Buffered);
        let mut load = store.bulk_load(Family::Data).unwrap();
        load.put(&[1], &[1]).unwrap();
        load.finish().unwrap();
        put(&store, 3, Durability::Buffered);
        assert_eq!(store.unsynced_writes(), 2);
        assert_eq!(kept(&store, |_| false), [0, 1]);
        assert_eq!(kept(&store, |number| number < 1), [0, 1, 2]);
        assert_eq!(kept(&store, |_| true), [0, 1, 2, 3]);
        let left = store.after_power_loss(|_| false).unwrap();
        assert!(left.contains(Family::Data, &[1]).unwrap());
        store.flush().unwrap();
        assert_eq!((store.unsynced_writes(), kept(&store, |_| false)), (0, vec![0, 1, 2, 3]));
    }

    #[test]
    fn a_disk_that_lies_loses_what_was_synced() {
        let store = PowerStore::new().lying_about(|_| true);
        put(&store, 0, Durability::Synced);
        store.flush().unwrap();
        assert_eq!(kept(&store.fork(), |_| false), [0], "the process died, not the machine");
        assert!(kept(&store, |_| false).is_empty());
    }
}
