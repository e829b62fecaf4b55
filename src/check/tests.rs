//! The verdict of a check over the store in memory: clean repositories raise no
//! alarm, and whatever is done to a record that matters is found and named.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::base::hash::sha256;
use crate::base::id::ChunkId;
use crate::base::name::EntryName;
use crate::base::progress::Silent;
use crate::chunking::ChunkerConfig;
use crate::compression::Compression;
use crate::dag::*;
use crate::repository::testing::{manifest, node};
use crate::repository::*;
use crate::store::memory::MemoryStore;
use crate::store::{Batch, Durability, Family, Store};

const ALL: CheckOptions = CheckOptions { scope: ReadScope::All, max_duration: None };

fn repository(store: Arc<dyn Store>) -> Repository {
    let config = Config { id: [1; 32], chunker: ChunkerConfig::default(), encryption: None };
    Repository::new(Layout::new("/nowhere"), config, store)
}

/// Bytes that cannot be compressed: a changed bit of compressed ones may say the
/// same.
fn content(number: u16) -> Vec<u8> {
    (0..16_u8).flat_map(|part| sha256(&[&number.to_le_bytes()[..], &[part]].concat())).collect()
}

fn name(number: u16) -> EntryName {
    EntryName::new(format!("{number:05}").as_bytes()).unwrap()
}

/// A snapshot of a directory with one file for each number, and those files once
/// more in a subdirectory.
fn snapshot(repository: &Repository, numbers: &[u16]) {
    let mut session = Session::new(repository, false).unwrap();
    let mut inner = DirectoryBuilder::new();
    let mut outer = DirectoryBuilder::new();
    for number in numbers {
        let plain = content(*number);
        let (id, bytes) = (ChunkId::of(&plain), u32::try_from(plain.len()).unwrap());
        let envelope = envelope::seal(&plain, Compression::Lz4);
        let segment = session.put_chunk(PreparedChunk::New { id, bytes, envelope }).unwrap();
        let body = Body::Segments(Box::new([segment]));
        let file = Content { size: u64::from(bytes), sha256: None, body };
        for builder in [&mut inner, &mut outer] {
            let entry = Entry { name: name(*number), node: node(Kind::File(file.clone())) };
            builder.push(entry, &mut |record| session.put_tree(record)).unwrap();
        }
    }
    let inner = inner.finish(&mut |record| session.put_tree(record)).unwrap();
    let entry =
        Entry { name: EntryName::new(b"inner").unwrap(), node: node(Kind::Directory(inner)) };
    outer.push(entry, &mut |record| session.put_tree(record)).unwrap();
    let root = outer.finish(&mut |record| session.put_tree(record)).unwrap();
    let mut manifest = manifest(root, i64::try_from(numbers.len()).unwrap());
    manifest.counters.files = root.totals.files;
    manifest.counters.dirs = root.totals.directories;
    manifest.counters.bytes = root.totals.bytes;
    session.commit(&manifest).unwrap();
}

fn scene(numbers: &[u16]) -> (Arc<MemoryStore>, Repository) {
    let store = Arc::new(MemoryStore::new());
    let repository = repository(store.clone());
    snapshot(&repository, numbers);
    snapshot(&repository, &numbers[..numbers.len() / 2]);
    (store, repository)
}

fn verdict(repository: &Repository) -> CheckReport {
    check(repository, repository.catalog().unwrap(), ALL, &Silent).unwrap()
}

fn records(store: &MemoryStore, family: Family) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut records = Vec::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        records.push((key.to_vec(), value.to_vec()));
        std::ops::ControlFlow::Continue(())
    };
    store.scan(family, &[], visit).unwrap();
    records
}

fn numbers() -> impl Strategy<Value = Vec<u16>> {
    let set = proptest::collection::btree_set(any::<u16>(), 2..40);
    set.prop_map(|set| set.into_iter().collect())
}

/// What is done to a record.
#[derive(Clone, Copy, Debug)]
enum Blow {
    Delete,
    Truncate,
    Flip(usize),
    Swap,
}

fn blow() -> impl Strategy<Value = Blow> {
    prop_oneof![
        Just(Blow::Delete),
        Just(Blow::Truncate),
        any::<usize>().prop_map(Blow::Flip),
        Just(Blow::Swap),
    ]
}

fn strike(store: &MemoryStore, family: Family, at: usize, blow: Blow) {
    let records = records(store, family);
    let (key, value) = records[at % records.len()].clone();
    let (other, other_value) = records[(at + 1) % records.len()].clone();
    let mut batch = Batch::new();
    match blow {
        Blow::Delete => batch.delete(family, key),
        Blow::Truncate => batch.put(family, key, &value[..value.len() / 2]),
        Blow::Flip(bit) => {
            let mut value = value;
            let place = bit / 8 % value.len();
            value[place] ^= 1 << (bit % 8);
            batch.put(family, key, value);
        }
        Blow::Swap => {
            batch.put(family, key, other_value);
            batch.put(family, other, value);
        }
    }
    store.write(&batch, Durability::Synced).unwrap();
}

#[test]
fn an_entry_that_leads_to_the_place_of_another_is_found_whichever_comes_first() {
    let (store, repository) = scene(&[3015, 11339]);
    let entries = records(&store, Family::Index);
    let put = |key: &[u8], value: &[u8]| {
        let mut batch = Batch::new();
        batch.put(Family::Index, key, value);
        store.write(&batch, Durability::Synced).unwrap();
    };
    let mut tried = 0;
    for (key, value) in &entries {
        for (_, other) in entries.iter().filter(|(other, _)| other != key) {
            let (own, other) = (Locator::decode(value).unwrap(), Locator::decode(other).unwrap());
            if own.kind.family() == other.kind.family() {
                put(key, &Locator { sequence: other.sequence, ..own }.encode());
                assert!(!verdict(&repository).is_clean(), "{own:?} {other:?}");
                tried += 1;
            }
        }
        put(key, value);
    }
    assert!(tried >= 2 && verdict(&repository).is_clean());
}

proptest! {
    #[test]
    fn a_sound_repository_raises_no_alarm(numbers in numbers()) {
        let (_, repository) = scene(&numbers);
        let report = verdict(&repository);
        prop_assert!(report.is_clean(), "{:?}", report.damages);
        prop_assert_eq!(report.read_chunks, numbers.len() as u64);
        prop_assert!(report.damaged_snapshots.is_empty());
    }

    #[test]
    fn whatever_happens_to_a_record_is_found(
        numbers in numbers(),
        family in prop_oneof![
            Just(Family::Index), Just(Family::Data), Just(Family::Trees), Just(Family::Snapshots)
        ],
        at: usize,
        blow in blow()
    ) {
        let (store, repository) = scene(&numbers);
        let before = records(&store, family);
        strike(&store, family, at, blow);
        let after = records(&store, family);
        prop_assume!(before != after);
        // A manifest that is gone without a trace cannot be missed, and hints
        // may say anything.
        prop_assume!(family != Family::Snapshots || !matches!(blow, Blow::Delete));
        let hints_only =
            matches!(family, Family::Trees | Family::Snapshots) && matches!(blow, Blow::Flip(_));
        let report = verdict(&repository);
        prop_assert!(hints_only || !report.is_clean());
    }

    #[test]
    fn a_damaged_chunk_is_named_with_its_files_and_snapshots(numbers in numbers(), at: usize) {
        let (store, repository) = scene(&numbers);
        let number = numbers[at % numbers.len()];
        let id = ChunkId::of(&content(number));
        let locator = repository.locate(ObjectKind::Chunk, id.as_bytes()).unwrap().unwrap();
        let mut batch = Batch::new();
        batch.put(Family::Data, sequence_key(locator.sequence), b"rotten".as_slice());
        store.write(&batch, Durability::Synced).unwrap();
        let report = verdict(&repository);
        prop_assert_eq!(report.damages.len(), 1, "{:?}", report.damages);
        let damage = &report.damages[0];
        prop_assert_eq!(&damage.subject, &Subject::Object(ObjectKind::Chunk, *id.as_bytes()));
        let mut paths: Vec<_> = damage.files.iter().map(|file| file.path.clone()).collect();
        paths.sort();
        let path = |top: &str| [top.as_bytes(), name(number).as_bytes()].concat();
        prop_assert_eq!(paths, [path("/"), path("/inner/")]);
        let snapshots = if at % numbers.len() < numbers.len() / 2 { 2 } else { 1 };
        prop_assert!(damage.files.iter().all(|file| file.snapshots.len() == snapshots));
        prop_assert_eq!(report.damaged_snapshots.len(), snapshots);
    }
}
