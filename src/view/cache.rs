//! Bounded caches of what was read and decoded. Each is a single flight: of
//! several readers of one object the first reads, the others wait.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::base::id::{ChunkId, ListId, TreeId};
use crate::dag::{Body, Entry, Kind};
use crate::view::changes::Part;
use crate::view::content::ListPage;
use crate::view::counted::CountedCache;
use crate::view::directory::{Directory, LeafPage};
use crate::view::versions::History;

/// Bytes for decoded trees and chunk lists.
const TREE_BYTES: u64 = 48 << 20;
/// Bytes for what the views have found out: versions of paths, and where
/// snapshots differ.
const VIEW_BYTES: u64 = 8 << 20;
/// Bytes that an entry of a cache takes beside its value.
pub(crate) const OVERHEAD_BYTES: u64 = 64;
/// Mean sizes, from which the caches guess how many values they will hold.
const CHUNK_BYTES_GUESS: u64 = 16 << 10;
const PAGE_BYTES_GUESS: u64 = 4 << 10;
const ANSWER_BYTES_GUESS: u64 = 256;

/// A path, in a list of snapshots of that generation.
type VersionsKey = (u64, Arc<[u8]>);
/// Two trees, and the part of their difference that is meant.
type ChangesKey = (TreeId, TreeId, Part);

/// The caches of a view.
pub(crate) struct Caches {
    pub(crate) chunks: CountedCache<ChunkId, Arc<[u8]>>,
    pub(crate) pages: CountedCache<TreeId, Arc<LeafPage>>,
    pub(crate) directories: CountedCache<TreeId, Arc<Directory>>,
    pub(crate) lists: CountedCache<ListId, Arc<ListPage>>,
    pub(crate) versions: CountedCache<VersionsKey, Arc<History>>,
    /// Whether there are any.
    pub(crate) changes: CountedCache<ChangesKey, bool>,
}

impl Caches {
    pub(crate) fn new(chunk_bytes: u64) -> Self {
        fn cache<K: Eq + std::hash::Hash, V: Clone>(bytes: u64, guess: u64) -> CountedCache<K, V>
        where
            Weight: Weighter<K, V> + Clone,
        {
            let items = usize::try_from(bytes / guess).unwrap_or(usize::MAX).max(16);
            CountedCache::new(Cache::with_weighter(items, bytes, Weight))
        }
        Self {
            chunks: cache(chunk_bytes, CHUNK_BYTES_GUESS),
            pages: cache(TREE_BYTES / 2, PAGE_BYTES_GUESS),
            directories: cache(TREE_BYTES / 4, PAGE_BYTES_GUESS),
            lists: cache(TREE_BYTES / 4, PAGE_BYTES_GUESS),
            versions: cache(VIEW_BYTES / 2, PAGE_BYTES_GUESS),
            changes: cache(VIEW_BYTES / 2, ANSWER_BYTES_GUESS),
        }
    }
}

/// Weighs values by the bytes that they take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weight;

impl Weighter<ChunkId, Arc<[u8]>> for Weight {
    fn weight(&self, _: &ChunkId, value: &Arc<[u8]>) -> u64 {
        value.len() as u64 + OVERHEAD_BYTES
    }
}

impl Weighter<TreeId, Arc<LeafPage>> for Weight {
    fn weight(&self, _: &TreeId, value: &Arc<LeafPage>) -> u64 {
        OVERHEAD_BYTES + value.bytes
    }
}

impl Weighter<TreeId, Arc<Directory>> for Weight {
    fn weight(&self, _: &TreeId, value: &Arc<Directory>) -> u64 {
        OVERHEAD_BYTES + value.page_count() * 160
    }
}

impl Weighter<ListId, Arc<ListPage>> for Weight {
    fn weight(&self, _: &ListId, value: &Arc<ListPage>) -> u64 {
        OVERHEAD_BYTES + value.item_count() * 80
    }
}

impl Weighter<VersionsKey, Arc<History>> for Weight {
    fn weight(&self, key: &VersionsKey, value: &Arc<History>) -> u64 {
        let acls = value.guard.iter().flat_map(|guard| &guard.acls);
        let acl_bytes: usize = acls.map(|acl| acl.name.len() + acl.value.len() + 32).sum();
        let bytes = key.1.len() + size_of_val(&*value.versions) + acl_bytes;
        OVERHEAD_BYTES + bytes as u64
    }
}

impl Weighter<ChangesKey, bool> for Weight {
    fn weight(&self, _: &ChangesKey, _: &bool) -> u64 {
        OVERHEAD_BYTES + size_of::<ChangesKey>() as u64
    }
}

/// About what an entry takes on the heap.
pub(crate) fn entry_bytes(entry: &Entry) -> u64 {
    let xattrs = &entry.node.xattrs;
    let attributes: usize = xattrs.iter().map(|x| x.name.len() + x.value.len() + 32).sum();
    let kind = match &entry.node.kind {
        Kind::File(content) => match &content.body {
            Body::Inline(bytes) => bytes.len(),
            Body::Segments(segments) => segments.len() * 64,
            Body::List(_) => 0,
        },
        Kind::Symlink(target) => target.len(),
        _ => 0,
    };
    (size_of::<Entry>() + entry.name.as_bytes().len() + attributes + kind) as u64
}
