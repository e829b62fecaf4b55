//! The store's twin in memory: the same promises, nothing on disk.
//!
//! For tests and models. Imports: nothing of ours but the store's own types.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::{
    Batch, BulkLoad, Change, Durability, Extent, Family, Store, StoreError, VisitEntry,
};

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// First and last key of a bulk load.
type KeyRange = (Vec<u8>, Vec<u8>);

/// What a store holds.
#[derive(Clone, Debug, Default)]
struct State {
    families: BTreeMap<Family, Entries>,
    loads: BTreeMap<Family, Vec<KeyRange>>,
}

/// A store in memory, or a reader of one.
pub struct MemoryStore {
    shared: Arc<Mutex<State>>,
    /// What a reader saw when it last caught up; a writer sees all.
    seen: Option<Mutex<State>>,
}

impl MemoryStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { shared: Arc::default(), seen: None }
    }

    /// Returns a reader that sees what there is now, and more when it catches
    /// up.
    #[must_use]
    pub fn reader(&self) -> Self {
        let seen = lock(&self.shared).clone();
        Self { shared: self.shared.clone(), seen: Some(Mutex::new(seen)) }
    }

    /// Returns a store of its own that holds the same now.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = self.state().clone();
        Self { shared: Arc::new(Mutex::new(state)), seen: None }
    }

    /// Adds what a bulk load held.
    pub(crate) fn load(
        &self,
        family: Family,
        entries: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<(), StoreError> {
        let mut load = self.bulk_load(family)?;
        entries.iter().try_for_each(|(key, value)| load.put(key, value))?;
        load.finish()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(self.seen.as_ref().unwrap_or(&self.shared))
    }

    fn writable(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        match self.seen {
            Some(_) => Err(StoreError::ReadOnly),
            None => Ok(lock(&self.shared)),
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store for MemoryStore {
    fn read(
        &self,
        family: Family,
        key: &[u8],
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, StoreError> {
        // Copied, so that `visit` may use the store.
        let value = self.state().families.get(&family).and_then(|f| f.get(key)).cloned();
        if let Some(value) = &value {
            visit(value);
        }
        Ok(value.is_some())
    }

    fn scan(
        &self,
        family: Family,
        first: &[u8],
        visit: &mut VisitEntry<'_>,
    ) -> Result<(), StoreError> {
        // As of now, whatever `visit` changes.
        let entries = self.state().families.get(&family).cloned().unwrap_or_default();
        let range = (Bound::Included(first), Bound::Unbounded);
        for (key, value) in entries.range::<[u8], _>(range) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn last_key(&self, family: Family) -> Result<Option<Vec<u8>>, StoreError> {
        let state = self.state();
        let entries = state.families.get(&family);
        Ok(entries.and_then(|entries| entries.last_key_value()).map(|(key, _)| key.clone()))
    }

    fn write(&self, batch: &Batch, _durability: Durability) -> Result<(), StoreError> {
        let mut state = self.writable()?;
        for change in batch.changes() {
            match change {
                Change::Put(family, key, value) => {
                    let entries = state.families.entry(*family).or_default();
                    entries.insert(key.clone(), value.clone());
                }
                Change::Delete(family, key) => {
                    state.families.entry(*family).or_default().remove(key);
                }
            }
        }
        Ok(())
    }

    fn bulk_load(&self, family: Family) -> Result<Box<dyn BulkLoad + '_>, StoreError> {
        drop(self.writable()?);
        let last = self.last_key(family)?;
        Ok(Box::new(MemoryLoad { store: self, family, last, entries: Vec::new(), bytes: 0 }))
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.writable().map(drop)
    }

    fn catch_up(&self) -> Result<(), StoreError> {
        if let Some(seen) = &self.seen {
            let current = lock(&self.shared).clone();
            *lock(seen) = current;
        }
        Ok(())
    }

    fn extents(&self, family: Family) -> Result<Vec<Extent>, StoreError> {
        let state = self.state();
        let entries = state.families.get(&family);
        let loads = state.loads.get(&family).map(Vec::as_slice).unwrap_or_default();
        let extent = |(first, last): &KeyRange| {
            let mut extent: Option<Extent> = None;
            for (key, value) in entries?.range(first.clone()..=last.clone()) {
                let bytes = (key.len() + value.len()) as u64;
                let extent = extent.get_or_insert_with(|| Extent {
                    first: key.clone(),
                    last: key.clone(),
                    bytes: 0,
                    is_young: false,
                });
                extent.last.clone_from(key);
                extent.bytes += bytes;
            }
            extent
        };
        Ok(loads.iter().filter_map(extent).collect())
    }

    fn reclaim(&self, family: Family, first: &[u8], last: &[u8]) -> Result<(), StoreError> {
        // What is deleted takes no space here: only the files become one.
        let mut state = self.writable()?;
        let loads = state.loads.entry(family).or_default();
        let overlaps = |load: &&KeyRange| load.0.as_slice() <= last && first <= load.1.as_slice();
        let rewritten: Vec<_> = loads.iter().filter(overlaps).cloned().collect();
        let start = rewritten.iter().map(|(first, _)| first).min();
        let end = rewritten.iter().map(|(_, last)| last).max();
        if let (Some(start), Some(end)) = (start, end) {
            loads.retain(|load| !rewritten.contains(load));
            loads.push((start.clone(), end.clone()));
            loads.sort();
        }
        Ok(())
    }

    fn drop_files(&self, family: Family, first: &[u8], last: &[u8]) -> Result<(), StoreError> {
        let mut state = self.writable()?;
        let loads = state.loads.entry(family).or_default();
        let is_inside = |load: &KeyRange| first <= load.0.as_slice() && load.1.as_slice() <= last;
        let (dropped, kept) = loads.drain(..).partition(is_inside);
        *loads = kept;
        let entries = state.families.entry(family).or_default();
        let dropped: Vec<KeyRange> = dropped;
        entries.retain(|key, _| !dropped.iter().any(|(first, last)| first <= key && key <= last));
        Ok(())
    }
}

struct MemoryLoad<'a> {
    store: &'a MemoryStore,
    family: Family,
    last: Option<Vec<u8>>,
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: u64,
}

impl BulkLoad for MemoryLoad<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if self.last.as_deref().is_some_and(|last| last >= key) {
            return Err(StoreError::KeyOrder { family: self.family.name() });
        }
        self.last = Some(key.to_vec());
        self.bytes += (key.len() + value.len()) as u64;
        self.entries.push((key.to_vec(), value.to_vec()));
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let mut state = self.store.writable()?;
        if let (Some((first, _)), Some((last, _))) = (self.entries.first(), self.entries.last()) {
            let range = (first.clone(), last.clone());
            state.loads.entry(self.family).or_default().push(range);
        }
        state.families.entry(self.family).or_default().extend(self.entries);
        Ok(())
    }
}
