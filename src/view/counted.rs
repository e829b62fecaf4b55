//! A cache that counts how often it helped.

use std::hash::Hash;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};

use crate::view::View;
use crate::view::cache::{OVERHEAD_BYTES, Weight};

/// A cache with counters.
pub(crate) struct CountedCache<K, V> {
    cache: Cache<K, V, Weight>,
    lookups: AtomicU64,
    loads: AtomicU64,
    loaded_bytes: AtomicU64,
}

/// What a cache did so far, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheFacts {
    /// What it keeps.
    pub name: &'static str,
    /// Values that it had.
    pub hits: u64,
    /// Values that had to be loaded.
    pub misses: u64,
    /// Bytes of the values that were loaded.
    pub loaded_bytes: u64,
    /// Values that it holds.
    pub values: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// Bytes that they may take.
    pub bytes_max: u64,
}

impl<K, V> CountedCache<K, V>
where
    K: Eq + Hash,
    V: Clone,
    Weight: Weighter<K, V>,
{
    pub(crate) fn new(cache: Cache<K, V, Weight>) -> Self {
        let [lookups, loads, loaded_bytes] = [0, 0, 0].map(AtomicU64::new);
        Self { cache, lookups, loads, loaded_bytes }
    }

    /// Returns a value, loaded by `load` if it is not there. Others who want it
    /// meanwhile wait for it.
    pub(crate) fn get_or_insert_with<Q, E>(
        &self,
        key: &Q,
        load: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        self.cache.get_or_insert_with(key, || {
            self.loads.fetch_add(1, Ordering::Relaxed);
            let value = load()?;
            let weight = Weight.weight(&key.to_owned(), &value);
            self.loaded_bytes.fetch_add(weight.saturating_sub(OVERHEAD_BYTES), Ordering::Relaxed);
            Ok(value)
        })
    }

    fn facts(&self, name: &'static str) -> CacheFacts {
        let misses = self.loads.load(Ordering::Relaxed);
        CacheFacts {
            name,
            hits: self.lookups.load(Ordering::Relaxed).saturating_sub(misses),
            misses,
            loaded_bytes: self.loaded_bytes.load(Ordering::Relaxed),
            values: self.cache.len() as u64,
            bytes: self.cache.weight(),
            bytes_max: self.cache.capacity(),
        }
    }
}

impl<K, V> Deref for CountedCache<K, V> {
    type Target = Cache<K, V, Weight>;

    fn deref(&self) -> &Self::Target {
        &self.cache
    }
}

impl View {
    /// What the caches did so far: chunks of content first.
    #[must_use]
    pub fn cache_facts(&self) -> [CacheFacts; 6] {
        let caches = &self.caches;
        [
            caches.chunks.facts("chunks"),
            caches.lists.facts("chunk lists"),
            caches.directories.facts("directories"),
            caches.pages.facts("pages"),
            caches.versions.facts("versions"),
            caches.changes.facts("changes"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::ChunkId;
    use std::sync::Arc;

    #[test]
    fn hits_misses_and_loaded_bytes_are_counted_once_each() {
        let chunks = CountedCache::new(Cache::with_weighter(16, 1 << 20, Weight));
        let load = |bytes: usize| move || Ok::<Arc<[u8]>, ()>(vec![7; bytes].into());
        let [one, two] = [b"one", b"two"].map(|name| ChunkId::of(name));
        chunks.get_or_insert_with(&one, load(1000)).unwrap();
        chunks.get_or_insert_with(&one, load(1000)).unwrap();
        chunks.get_or_insert_with(&two, load(24)).unwrap();
        assert!(chunks.get_or_insert_with(&ChunkId::of(b"three"), || Err(())).is_err());
        let facts = chunks.facts("chunks");
        // What could not be loaded was not there either.
        assert_eq!((facts.hits, facts.misses, facts.loaded_bytes), (1, 3, 1024));
        assert_eq!((facts.values, facts.bytes), (2, 1024 + 2 * OVERHEAD_BYTES));
    }
}
