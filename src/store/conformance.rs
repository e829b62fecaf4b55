//! One suite for every store: what `store/mod.rs` promises, over RocksDB, the
//! memory twin, and the fault wrapper when it fails nothing.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use crate::store::fault::{Fault, FaultPlan, FaultStore, Target};
use crate::store::memory::MemoryStore;
use crate::store::power::PowerStore;
use crate::store::rocks::RocksStore;
use crate::store::{Batch, Durability, Family, Store, StoreError};

/// A store with a way to readers of it.
struct Subject {
    name: &'static str,
    store: Box<dyn Store>,
    reader: Box<dyn Fn() -> Box<dyn Store>>,
}

/// A directory for a RocksDB store.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("tmp")).unwrap();
        Self { directory }
    }

    fn db(&self) -> PathBuf {
        self.directory.path().join("db")
    }

    fn tmp(&self) -> PathBuf {
        self.directory.path().join("tmp")
    }

    fn create(&self) -> RocksStore {
        RocksStore::create(&self.db(), &self.tmp()).unwrap()
    }

    fn open(&self) -> Result<RocksStore, StoreError> {
        RocksStore::open(&self.db(), &self.tmp())
    }

    /// How many deleted files of it this process holds open.
    fn held_files(&self) -> usize {
        std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .flatten()
            .filter_map(|link| std::fs::read_link(link.path()).ok())
            .filter(|target| target.starts_with(self.db()))
            .filter(|target| target.to_string_lossy().ends_with(".sst (deleted)"))
            .count()
    }

    fn reader(&self) -> RocksStore {
        RocksStore::open_reader(&self.db()).unwrap()
    }
}

/// Runs a check on each kind of store.
fn on_all(check: impl Fn(&Subject)) {
    let place = Arc::new(Place::new());
    let rocks = place.create();
    let reader = place.clone();
    check(&Subject {
        name: "rocks",
        store: Box::new(rocks),
        reader: Box::new(move || Box::new(reader.reader())),
    });
    let memory = Arc::new(MemoryStore::new());
    let reader = memory.clone();
    check(&Subject {
        name: "memory",
        store: Box::new(memory),
        reader: Box::new(move || Box::new(reader.reader())),
    });
    let power = Arc::new(PowerStore::new());
    let reader = power.clone();
    check(&Subject {
        name: "power",
        store: Box::new(power),
        reader: Box::new(move || Box::new(reader.reader())),
    });
    let memory = Arc::new(MemoryStore::new());
    let reader = memory.clone();
    let plan = FaultPlan::count(Target::Writes);
    check(&Subject {
        name: "fault",
        store: Box::new(FaultStore::new(memory, plan)),
        reader: Box::new(move || Box::new(reader.reader())),
    });
}

fn put(store: &dyn Store, family: Family, key: &[u8], value: &[u8]) {
    let mut batch = Batch::new();
    batch.put(family, key, value);
    store.write(&batch, Durability::Synced).unwrap();
}

fn load(store: &dyn Store, family: Family, numbers: impl Iterator<Item = u64>, bytes: usize) {
    let mut load = store.bulk_load(family).unwrap();
    for number in numbers {
        load.put(&number.to_be_bytes(), &vec![number as u8; bytes]).unwrap();
    }
    load.finish().unwrap();
}

fn keys(store: &dyn Store, family: Family, first: &[u8]) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let visit = &mut |key: &[u8], _: &[u8]| {
        keys.push(key.to_vec());
        ControlFlow::Continue(())
    };
    store.scan(family, first, visit).unwrap();
    keys
}

#[test]
fn a_batch_applies_as_a_whole_and_in_order() {
    on_all(|subject| {
        let store = &*subject.store;
        put(store, Family::Index, b"old", b"1");
        let mut batch = Batch::new();
        batch.put(Family::Index, b"a".as_slice(), b"1".as_slice());
        batch.put(Family::Index, b"a".as_slice(), b"2".as_slice());
        batch.put(Family::Meta, b"b".as_slice(), b"3".as_slice());
        batch.delete(Family::Index, b"old".as_slice());
        batch.delete(Family::Index, b"never there".as_slice());
        store.write(&batch, Durability::Buffered).unwrap();
        assert_eq!(store.get(Family::Index, b"a").unwrap().unwrap(), b"2", "{}", subject.name);
        assert_eq!(store.get(Family::Meta, b"b").unwrap().unwrap(), b"3");
        assert_eq!(store.get(Family::Index, b"old").unwrap(), None);
        assert!(!store.contains(Family::Meta, b"a").unwrap(), "families are apart");
    });
}

#[test]
fn a_scan_goes_in_rising_order_from_its_first_key_until_it_is_told_to_stop() {
    on_all(|subject| {
        let store = &*subject.store;
        for key in [&b"b"[..], b"a", b"\xff", b"c"] {
            put(store, Family::Snapshots, key, key);
        }
        let all = [&b"a"[..], b"b", b"c", b"\xff"];
        assert_eq!(keys(store, Family::Snapshots, b""), all, "{}", subject.name);
        assert_eq!(keys(store, Family::Snapshots, b"bb"), all[2..]);
        let mut visited = 0;
        let visit = &mut |_: &[u8], _: &[u8]| {
            visited += 1;
            ControlFlow::Break(())
        };
        store.scan(Family::Snapshots, b"", visit).unwrap();
        assert_eq!(visited, 1);
        assert_eq!(store.last_key(Family::Snapshots).unwrap().unwrap(), b"\xff");
        assert_eq!(store.last_key(Family::Index).unwrap(), None);
    });
}

#[test]
fn a_bulk_load_shows_when_it_is_finished_and_leaves_nothing_when_it_is_dropped() {
    on_all(|subject| {
        let store = &*subject.store;
        let mut load = store.bulk_load(Family::Data).unwrap();
        load.put(&1_u64.to_be_bytes(), b"one").unwrap();
        assert_eq!(store.get(Family::Data, &1_u64.to_be_bytes()).unwrap(), None);
        drop(load);
        assert!(keys(store, Family::Data, b"").is_empty(), "{}", subject.name);
        let mut load = store.bulk_load(Family::Data).unwrap();
        load.put(&1_u64.to_be_bytes(), b"one").unwrap();
        load.put(&2_u64.to_be_bytes(), b"two").unwrap();
        load.finish().unwrap();
        assert_eq!(store.get(Family::Data, &2_u64.to_be_bytes()).unwrap().unwrap(), b"two");
        store.bulk_load(Family::Data).unwrap().finish().unwrap();
        assert_eq!(keys(store, Family::Data, b"").len(), 2, "an empty load is nothing");
    });
}

#[test]
fn keys_of_bulk_loads_must_rise_above_all_before() {
    on_all(|subject| {
        let store = &*subject.store;
        load(store, Family::Trees, 5..8, 10);
        for numbers in [[9_u64, 9], [9, 8], [7, 9], [3, 9]] {
            let mut load = store.bulk_load(Family::Trees).unwrap();
            let outcome = numbers.iter().try_for_each(|n| load.put(&n.to_be_bytes(), b"x"));
            let refused = matches!(outcome, Err(StoreError::KeyOrder { family: "trees" }));
            assert!(refused, "{}: {numbers:?}", subject.name);
        }
        load(store, Family::Trees, 8..9, 10);
    });
}

#[test]
fn a_reader_sees_what_was_there_when_it_caught_up_and_cannot_write() {
    on_all(|subject| {
        let store = &*subject.store;
        put(store, Family::Meta, b"before", b"1");
        let reader = (subject.reader)();
        assert!(reader.contains(Family::Meta, b"before").unwrap(), "{}", subject.name);
        put(store, Family::Meta, b"after", b"2");
        load(store, Family::Data, 1..3, 10);
        assert!(!reader.contains(Family::Meta, b"after").unwrap());
        assert!(keys(&*reader, Family::Data, b"").is_empty());
        reader.catch_up().unwrap();
        reader.catch_up().unwrap();
        assert!(reader.contains(Family::Meta, b"after").unwrap());
        assert_eq!(keys(&*reader, Family::Data, b"").len(), 2);
        let mut batch = Batch::new();
        batch.put(Family::Meta, b"x".as_slice(), b"x".as_slice());
        let outcome = reader.write(&batch, Durability::Buffered);
        assert!(matches!(outcome, Err(StoreError::ReadOnly)));
        assert!(matches!(reader.bulk_load(Family::Data).err(), Some(StoreError::ReadOnly)));
    });
}

#[test]
fn reclaiming_returns_the_space_of_what_was_deleted_and_keeps_the_rest() {
    on_all(|subject| {
        let store = &*subject.store;
        load(store, Family::Data, 0..200, 10_000);
        load(store, Family::Data, 200..400, 10_000);
        let bytes = || -> u64 {
            store.extents(Family::Data).unwrap().iter().map(|extent| extent.bytes).sum()
        };
        let before = bytes();
        assert!(before >= 4_000_000, "{}: {before}", subject.name);
        assert_eq!(store.extents(Family::Data).unwrap().len(), 2);
        let mut batch = Batch::new();
        for number in (0_u64..200).filter(|number| number % 2 == 0) {
            batch.delete(Family::Data, number.to_be_bytes());
        }
        store.write(&batch, Durability::Synced).unwrap();
        let neighbour = store.extents(Family::Data).unwrap().pop().unwrap();
        store.reclaim(Family::Data, &0_u64.to_be_bytes(), &199_u64.to_be_bytes()).unwrap();
        let freed = before - bytes();
        assert!((990_000..1_100_000).contains(&freed), "{}: {freed}", subject.name);
        assert_eq!(keys(store, Family::Data, b"").len(), 300);
        assert_eq!(store.extents(Family::Data).unwrap().pop().unwrap(), neighbour);
    });
}

#[test]
fn dropped_files_are_gone_with_all_keys_in_them_and_others_stay() {
    on_all(|subject| {
        let store = &*subject.store;
        for first in [0, 100, 200, 300] {
            load(store, Family::Data, first..first + 100, 1_000);
        }
        // Of the last file only a part lies in the range.
        store.drop_files(Family::Data, &100_u64.to_be_bytes(), &349_u64.to_be_bytes()).unwrap();
        let expected: Vec<_> =
            (0_u64..100).chain(300..400).map(|number| number.to_be_bytes().to_vec()).collect();
        assert_eq!(keys(store, Family::Data, b""), expected, "{}", subject.name);
        assert_eq!(store.extents(Family::Data).unwrap().len(), 2);
        load(store, Family::Data, 400..410, 1_000);
        assert_eq!(keys(store, Family::Data, b"").len(), 210);
    });
}

#[test]
fn rewriting_a_range_joins_its_files_and_changes_no_key() {
    on_all(|subject| {
        let store = &*subject.store;
        for first in [0, 100, 200, 300] {
            load(store, Family::Trees, first..first + 100, 1_000);
        }
        let before = keys(store, Family::Trees, b"");
        store.reclaim(Family::Trees, &100_u64.to_be_bytes(), &299_u64.to_be_bytes()).unwrap();
        let bounds = |extent: crate::store::Extent| (extent.first, extent.last);
        let extents: Vec<_> =
            store.extents(Family::Trees).unwrap().into_iter().map(bounds).collect();
        let key = |number: u64| number.to_be_bytes().to_vec();
        let expected = [(key(0), key(99)), (key(100), key(299)), (key(300), key(399))];
        assert_eq!(extents, expected, "{}", subject.name);
        assert_eq!(keys(store, Family::Trees, b""), before);
    });
}

#[test]
fn rewriting_reaches_files_on_both_sides_of_what_is_not_in_the_bottom_yet() {
    let place = Place::new();
    let store = place.create();
    let range = (b"a".as_slice(), b"z".as_slice());
    for key in [b"b", b"c", b"x", b"y"] {
        put(&store, Family::Snapshots, key, b"old");
        store.flush().unwrap();
        store.reclaim(Family::Snapshots, key, key).unwrap();
    }
    for key in [b"m", b"n"] {
        put(&store, Family::Snapshots, key, b"new");
        store.flush().unwrap();
    }
    store.reclaim(Family::Snapshots, range.0, range.1).unwrap();
    assert_eq!(keys(&store, Family::Snapshots, b"").len(), 6);
    let files = store.extents(Family::Snapshots).unwrap().len();
    assert!(files <= 3, "{files} files are left");
}

#[test]
fn a_reopened_store_holds_what_was_written() {
    let place = Place::new();
    {
        let store = place.create();
        load(&store, Family::Data, 0..10, 100);
        put(&store, Family::Meta, b"key", b"value");
    }
    let store = place.open().unwrap();
    assert_eq!(keys(&store, Family::Data, b"").len(), 10);
    assert_eq!(store.get(Family::Meta, b"key").unwrap().unwrap(), b"value");
    assert_eq!(std::fs::read_dir(place.tmp()).unwrap().count(), 0, "loads leave no files");
}

#[test]
fn a_second_writer_is_refused_and_so_is_what_is_no_store() {
    let place = Place::new();
    assert!(matches!(place.open().err(), Some(StoreError::Missing { .. })));
    let store = place.create();
    assert!(matches!(place.open().err(), Some(StoreError::Locked { .. })));
    drop(store);
    assert!(place.open().is_ok());
    assert!(RocksStore::create(&place.db(), &place.tmp()).is_err());
}

#[test]
fn a_reader_holds_no_deleted_file_once_it_has_caught_up() {
    let place = Place::new();
    let store = place.create();
    load(&store, Family::Data, 0..100, 10_000);
    let reader = place.reader();
    let mut batch = Batch::new();
    (0_u64..100).for_each(|number| batch.delete(Family::Data, number.to_be_bytes()));
    store.write(&batch, Durability::Synced).unwrap();
    store.reclaim(Family::Data, &0_u64.to_be_bytes(), &99_u64.to_be_bytes()).unwrap();
    assert_eq!(keys(&reader, Family::Data, b"").len(), 100, "it reads on from unlinked files");
    reader.catch_up().unwrap();
    assert!(keys(&reader, Family::Data, b"").is_empty());
    assert_eq!(place.held_files(), 0);
}

#[test]
fn a_reader_reads_on_in_files_that_were_dropped_until_it_catches_up() {
    let place = Place::new();
    let store = place.create();
    load(&store, Family::Data, 0..100, 10_000);
    load(&store, Family::Data, 100..200, 10_000);
    let reader = place.reader();
    store.drop_files(Family::Data, &0_u64.to_be_bytes(), &99_u64.to_be_bytes()).unwrap();
    for number in 0_u64..200 {
        let value = reader.get(Family::Data, &number.to_be_bytes()).unwrap().unwrap();
        assert_eq!(value, vec![number as u8; 10_000]);
    }
    reader.catch_up().unwrap();
    assert_eq!(keys(&reader, Family::Data, b"").len(), 100);
    assert_eq!(place.held_files(), 0, "a reader that caught up holds no space");
}

#[test]
fn a_failed_write_poisons_the_handle_and_the_canary_sees_it() {
    for fault in [Fault::FailOnce, Fault::FailAfterEffect, Fault::Crash] {
        let store = FaultStore::new(MemoryStore::new(), FaultPlan::new(Target::Writes, fault, 1));
        put(&store, Family::Meta, b"a", b"1");
        let mut batch = Batch::new();
        batch.put(Family::Meta, b"b".as_slice(), b"2".as_slice());
        assert!(matches!(store.write(&batch, Durability::Synced), Err(StoreError::Failed { .. })));
        assert!(matches!(store.write(&batch, Durability::Synced), Err(StoreError::Poisoned)));
        let inner = store.into_inner();
        assert!(inner.contains(Family::Meta, b"a").unwrap());
        let took_effect = inner.contains(Family::Meta, b"b").unwrap();
        assert_eq!(took_effect, fault == Fault::FailAfterEffect);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn rocksdb_and_memory_agree_after_any_changes(
        steps in proptest::collection::vec(
            proptest::collection::vec((any::<bool>(), 0_u8..20, any::<u8>()), 1..8), 1..20
        )
    ) {
        let place = Place::new();
        let rocks = place.create();
        let memory = MemoryStore::new();
        let (rocks_reader, memory_reader) = (place.reader(), memory.reader());
        for (number, step) in steps.iter().enumerate() {
            let mut batch = Batch::new();
            for (is_put, key, value) in step {
                if *is_put {
                    batch.put(Family::Index, [*key], [*value]);
                } else {
                    batch.delete(Family::Index, [*key]);
                }
            }
            rocks.write(&batch, Durability::Buffered).unwrap();
            memory.write(&batch, Durability::Buffered).unwrap();
            if number % 3 == 0 {
                rocks.flush().unwrap();
                rocks_reader.catch_up().unwrap();
                memory_reader.catch_up().unwrap();
            }
            prop_assert_eq!(keys(&rocks, Family::Index, b""), keys(&memory, Family::Index, b""));
            let (seen, model) = (&rocks_reader, &memory_reader);
            prop_assert_eq!(keys(seen, Family::Index, b""), keys(model, Family::Index, b""));
        }
    }
}
