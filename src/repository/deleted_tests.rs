//! Deletion, its undoing and notes, over stores that fail or stop at any call,
//! and over damaged records.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::id::SnapshotId;
use crate::base::time::Timestamp;
use crate::chunking::ChunkerConfig;
use crate::dag::{DirectoryBuilder, Manifest};
use crate::repository::testing::manifest;
use crate::repository::*;
use crate::store::fault::{Fault, FaultPlan, FaultStore, Target};
use crate::store::memory::MemoryStore;
use crate::store::{Batch, Durability, Family, Store};

fn repository(store: Arc<dyn Store>) -> Repository {
    let config = Config { id: [1; 32], chunker: ChunkerConfig::default(), encryption: None };
    Repository::new(Layout::new("/nowhere"), config, store)
}

fn snapshot(repository: &Repository, second: i64) -> SnapshotId {
    let mut session = Session::new(repository, false).unwrap();
    let root = DirectoryBuilder::new().finish(&mut |record| session.put_tree(record)).unwrap();
    let tags = vec!["taken".to_owned()];
    session.commit(&Manifest { tags, ..manifest(root, second) }).unwrap()
}

/// A repository in memory with three snapshots.
fn scene() -> (Arc<MemoryStore>, Repository, Vec<SnapshotId>) {
    let memory = Arc::new(MemoryStore::new());
    let plain = repository(memory.clone());
    let ids = (1..4).map(|second| snapshot(&plain, second)).collect();
    (memory, plain, ids)
}

fn listed(repository: &Repository) -> Vec<SnapshotId> {
    repository.catalog().unwrap().snapshots.iter().map(|(id, _)| *id).collect()
}

fn deleted(repository: &Repository) -> Vec<SnapshotId> {
    repository.deleted_snapshots().unwrap().snapshots.iter().map(|one| one.id).collect()
}

fn tags(repository: &Repository, id: &SnapshotId) -> Vec<String> {
    repository.find_snapshot(&id.to_string(), Timestamp::now()).unwrap().1.tags
}

fn put(repository: &Repository, family: Family, key: &[u8], value: &[u8]) {
    let mut batch = Batch::new();
    batch.put(family, key, value);
    repository.store().write(&batch, Durability::Synced).unwrap();
}

fn pin() -> NoteChange {
    let add = vec!["new".to_owned()];
    NoteChange { add, pin: Some(Some(Pin::Forever)), ..NoteChange::default() }
}

fn now() -> Timestamp {
    Timestamp::new(10_000, 0).unwrap()
}

#[test]
fn what_was_deleted_comes_back_as_it_was_until_it_is_forgotten() {
    let (_, repository, ids) = scene();
    let before: Vec<_> = ids.iter().map(|id| repository.manifest(id).unwrap()).collect();
    repository.write_notes(&BTreeSet::from([ids[0]]), &pin()).unwrap();
    repository.write_deletion(&[ids[0], ids[2]]).unwrap();
    assert_eq!((listed(&repository), deleted(&repository)), (vec![ids[1]], vec![ids[0], ids[2]]));
    repository.write_undeletion(&[ids[0], ids[2]]).unwrap();
    assert_eq!((listed(&repository), deleted(&repository)), (ids.clone(), vec![]));
    let after: Vec<_> = ids.iter().map(|id| repository.manifest(id).unwrap()).collect();
    assert_eq!(after, before);
    assert_eq!(tags(&repository, &ids[0]), ["taken", "new"], "the note came back with it");
    assert!(repository.catalog().unwrap().is_pinned(&ids[0], now()));

    repository.write_deletion(&[ids[0]]).unwrap();
    assert_eq!(repository.forget_deleted_snapshots().unwrap(), 1);
    assert_eq!(repository.note(&ids[0]).unwrap(), Note::default(), "nothing is left of it");
    let error = repository.write_undeletion(&[ids[0]]).unwrap_err();
    assert!(matches!(error, RepositoryError::NoSuchDeleted { .. }), "{error}");
    assert_eq!(repository.forget_deleted_snapshots().unwrap(), 0);
}

#[test]
fn of_several_changes_at_once_all_happen_or_none_wherever_the_store_fails() {
    type Change = fn(&Repository, &[SnapshotId]) -> Result<(), RepositoryError>;
    let changes: [(&str, Change); 4] = [
        ("delete", |repository, ids| repository.write_deletion(&ids[1..])),
        ("undelete", |repository, ids| repository.write_undeletion(&ids[..1])),
        ("forget", |repository, _| repository.forget_deleted_snapshots().map(drop)),
        ("note", |repository, ids| {
            repository.write_notes(&ids[1..].iter().copied().collect(), &pin())
        }),
    ];
    let state = |repository: &Repository| {
        let catalog = repository.catalog().unwrap();
        (catalog.snapshots, catalog.pins, deleted(repository))
    };
    let start = || {
        let (memory, plain, ids) = scene();
        plain.write_deletion(&ids[..1]).unwrap();
        (memory, plain, ids)
    };
    for (what, change) in changes {
        let mut failures = 0;
        for (target, fault) in [
            (Target::Writes, Fault::Crash),
            (Target::Writes, Fault::FailOnce),
            (Target::Writes, Fault::FailAfterEffect),
            (Target::Reads, Fault::Crash),
        ] {
            for at in 0.. {
                let (memory, plain, ids) = start();
                let before = state(&plain);
                let plan = FaultPlan::new(target, fault, at);
                let faulty = repository(Arc::new(FaultStore::new(memory.clone(), plan.clone())));
                let outcome = change(&faulty, &ids);
                let struck = plan.calls() > at;
                assert_eq!(outcome.is_err(), struck, "{what}: {target:?} {fault:?} at {at}");
                let left = state(&repository(memory));
                let (_, other, ids) = start();
                change(&other, &ids).unwrap();
                let after = state(&other);
                assert_ne!(before, after, "{what} changes nothing");
                assert!(left == after || (struck && left == before), "{what} at {at}: a half");
                if !struck {
                    break;
                }
                failures += 1;
            }
        }
        // The canary: plans that never strike would prove nothing.
        assert!(failures >= 3, "{what}: struck {failures} times only");
    }
}

#[test]
fn a_damaged_manifest_is_deleted_by_its_id_and_hides_nothing_else() {
    let (_, repository, ids) = scene();
    put(&repository, Family::Snapshots, ids[1].as_bytes(), b"nonsense");
    let catalog = repository.catalog().unwrap();
    assert_eq!(catalog.damaged_ids().collect::<Vec<_>>(), [ids[1]]);
    for length in [12, 64] {
        let name = &ids[1].to_string()[..length];
        assert_eq!(catalog.select(name, now()).unwrap(), ids[1]);
    }
    assert_eq!(catalog.select("latest~1", now()).unwrap(), ids[0]);
    assert!(catalog.select("nonsense", now()).is_err());
    repository.write_deletion(&[ids[1]]).unwrap();
    assert!(repository.catalog().unwrap().damaged.is_empty());
    assert_eq!(repository.deleted_snapshots().unwrap().damaged.len(), 1);
    // It comes back as it was, damage and all.
    repository.write_undeletion(&[ids[1]]).unwrap();
    assert_eq!(repository.catalog().unwrap().damaged.len(), 1);
    repository.write_deletion(&[ids[1]]).unwrap();
    assert_eq!(repository.forget_deleted_snapshots().unwrap(), 1);
}

#[test]
fn a_damaged_note_is_reported_pins_its_snapshot_and_can_be_set_anew() {
    let (_, repository, ids) = scene();
    let key = [b"note/", &ids[1].as_bytes()[..]].concat();
    put(&repository, Family::Meta, &key, b"nonsense");
    let catalog = repository.catalog().unwrap();
    assert!(catalog.damaged[0].is_damage() && catalog.damaged.len() == 1);
    assert_eq!(catalog.damaged_ids().count(), 0, "the snapshot itself is whole");
    assert!(catalog.is_pinned(&ids[1], now()));
    assert_eq!(listed(&repository), ids);
    assert_eq!(repository.snapshots().unwrap().len(), 3, "gc does not look at notes");
    assert_eq!(tags(&repository, &ids[1]), ["taken"]);
    let one = BTreeSet::from([ids[1]]);
    assert!(repository.write_notes(&one, &pin()).unwrap_err().is_damage());
    let anew = NoteChange { set: Some(vec![]), pin: Some(None), ..NoteChange::default() };
    repository.write_notes(&one, &anew).unwrap();
    let catalog = repository.catalog().unwrap();
    assert!(catalog.damaged.is_empty() && catalog.pins.is_empty());
    assert!(tags(&repository, &ids[1]).is_empty());
}

#[test]
fn a_pin_holds_until_its_end_and_tags_name_what_they_are_on_now() {
    let (_, repository, ids) = scene();
    let until = NoteChange { pin: Some(Some(Pin::Until(now()))), ..NoteChange::default() };
    repository.write_notes(&BTreeSet::from([ids[0]]), &until).unwrap();
    let catalog = repository.catalog().unwrap();
    assert!(catalog.is_pinned(&ids[0], now()));
    assert!(!catalog.is_pinned(&ids[0], Timestamp::new(10_000, 1).unwrap()));
    let moved = NoteChange { set: Some(vec!["moved".to_owned()]), ..NoteChange::default() };
    repository.write_notes(&BTreeSet::from([ids[0]]), &moved).unwrap();
    assert_eq!(repository.find_snapshot("moved", now()).unwrap().0, ids[0]);
    assert_eq!(repository.find_snapshot("taken", now()).unwrap().0, ids[2]);
    assert_eq!(repository.manifest(&ids[0]).unwrap().unwrap().tags, ["taken"]);
    let back = NoteChange { set: Some(vec!["taken".to_owned()]), pin: Some(None), ..moved };
    repository.write_notes(&BTreeSet::from([ids[0]]), &back).unwrap();
    assert_eq!(repository.note(&ids[0]).unwrap(), Note::default());
}
