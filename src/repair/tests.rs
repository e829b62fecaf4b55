//! Repairs over real stores whose records were damaged.

use std::time::Duration;

use super::*;
use crate::base::id::ChunkId;
use crate::base::name::EntryName;
use crate::base::progress::Silent;
use crate::chunking::ChunkerConfig;
use crate::compression::Compression;
use crate::dag::*;
use crate::repository::testing::{manifest, node};
use crate::repository::*;
use crate::store::{Batch, Durability, Family};

const REPAIR: RepairOptions = RepairOptions { dry_run: false };

fn content(number: u8) -> Vec<u8> {
    vec![number; 600]
}

fn snapshot(writer: &Writer, numbers: std::ops::Range<u8>) -> SnapshotId {
    let mut session = writer.begin().unwrap();
    let mut builder = DirectoryBuilder::new();
    for number in numbers {
        let plain = content(number);
        let (id, bytes) = (ChunkId::of(&plain), 600);
        let envelope = envelope::seal(&plain, Compression::Lz4);
        let segment = session.put_chunk(PreparedChunk::New { id, bytes, envelope }).unwrap();
        let body = Body::Segments(Box::new([segment]));
        let file = Content { size: 600, sha256: None, body };
        let name = EntryName::new(format!("{number:03}").as_bytes()).unwrap();
        let entry = Entry { name, node: node(Kind::File(file)) };
        builder.push(entry, &mut |record| session.put_tree(record)).unwrap();
    }
    let root = builder.finish(&mut |record| session.put_tree(record)).unwrap();
    session.commit(&manifest(root, 1)).unwrap()
}

struct Scene {
    _directory: tempfile::TempDir,
    writer: Writer,
    id: SnapshotId,
}

fn scene() -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("repo");
    Writer::init(&root, ChunkerConfig::default()).unwrap();
    let writer = Writer::open(&root, None, "test", Duration::ZERO, &Silent).unwrap();
    let id = snapshot(&writer, 0..20);
    Scene { _directory: directory, writer, id }
}

fn write(writer: &Writer, change: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    change(&mut batch);
    writer.store().write(&batch, Durability::Synced).unwrap();
}

fn run(writer: &Writer) -> RepairReport {
    repair(writer, REPAIR, false, &Silent).unwrap()
}

fn files(writer: &Writer, id: &SnapshotId) -> usize {
    let manifest = writer.manifest(id).unwrap().expect("the snapshot is there");
    let Tree::Leaf(entries) = writer.tree(manifest.tree().unwrap()).unwrap() else { panic!("one") };
    for entry in &entries {
        let Kind::File(Content { body: Body::Segments(segments), .. }) = &entry.node.kind else {
            panic!("a file")
        };
        let Segment::Chunk { id, bytes, .. } = segments[0] else { panic!("data") };
        writer.chunk(&id, bytes, None).unwrap();
    }
    entries.len()
}

#[test]
fn a_sound_repository_is_left_alone() {
    let scene = scene();
    let report = run(&scene.writer);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.good_objects, 21);
    assert_eq!(scene.writer.snapshots().unwrap().len(), 1);
}

#[test]
fn an_index_that_is_gone_or_lies_is_made_of_the_objects() {
    let scene = scene();
    let (one, other) = (ChunkId::of(&content(3)), ChunkId::of(&content(4)));
    let index = |id: &ChunkId| scene.writer.store().get(Family::Index, id.as_bytes()).unwrap();
    let (first, second) = (index(&one).unwrap(), index(&other).unwrap());
    write(&scene.writer, |batch| {
        batch.put(Family::Index, *one.as_bytes(), second);
        batch.put(Family::Index, *other.as_bytes(), first);
        batch.put(Family::Index, *ChunkId::of(&content(5)).as_bytes(), b"nonsense".as_slice());
        batch.delete(Family::Index, *ChunkId::of(&content(6)).as_bytes());
        batch.put(Family::Index, [9; 32], index(&ChunkId::of(&content(7))).unwrap());
    });
    let report = run(&scene.writer);
    assert!(report.restored >= 4, "{report:?}");
    assert!(report.hurt.is_empty(), "{report:?}");
    assert_eq!(scene.writer.store().get(Family::Index, &[9; 32]).unwrap(), None);
    assert_eq!(files(&scene.writer, &scene.id), 20);
    assert!(run(&scene.writer).is_clean(), "a second repair finds nothing");
}

#[test]
fn a_lost_chunk_is_left_out_of_a_sibling_and_comes_back_with_its_content() {
    let scene = scene();
    let id = ChunkId::of(&content(11));
    let locator = scene.writer.locate(ObjectKind::Chunk, id.as_bytes()).unwrap().unwrap();
    write(&scene.writer, |batch| {
        batch.put(Family::Data, sequence_key(locator.sequence), b"rotten".as_slice());
    });
    let dry = repair(&scene.writer, RepairOptions { dry_run: true }, false, &Silent).unwrap();
    assert_eq!((dry.removed.len(), dry.hurt.len()), (1, 1));
    assert_eq!(scene.writer.snapshots().unwrap().len(), 1, "a dry run changes nothing");
    assert!(scene.writer.find_chunk(&id).unwrap().is_some());

    let report = run(&scene.writer);
    let [hurt] = report.hurt.as_slice() else { panic!("{report:?}") };
    assert_eq!((hurt.snapshot, hurt.left_out_count), (scene.id, 1));
    assert_eq!(hurt.left_out, [b"/011".to_vec()]);
    let sibling = hurt.sibling.unwrap();
    assert_eq!(files(&scene.writer, &sibling), 19);
    assert!(scene.writer.exists(&scene.id).unwrap(), "the damaged snapshot stays");
    let order: Vec<_> = scene.writer.snapshots().unwrap().iter().map(|(id, _)| *id).collect();
    assert_eq!(order, [sibling, scene.id], "the newest one is not what it was");
    // Again: no second sibling.
    assert_eq!(run(&scene.writer).hurt[0].sibling, Some(sibling));
    assert_eq!(scene.writer.snapshots().unwrap().len(), 2);

    snapshot(&scene.writer, 11..12);
    assert_eq!(files(&scene.writer, &scene.id), 20, "the content came back");
    assert!(run(&scene.writer).is_clean());
}

#[test]
fn damaged_notes_and_deleted_snapshots_are_set_aside_and_the_former_pin() {
    let scene = scene();
    let gone = snapshot(&scene.writer, 3..5);
    scene.writer.delete_snapshots(&[gone]).unwrap();
    let note = [b"note/".as_slice(), scene.id.as_bytes()].concat();
    let deleted = [b"deleted/".as_slice(), gone.as_bytes()].concat();
    write(&scene.writer, |batch| {
        batch.put(Family::Meta, note.clone(), b"rotten".as_slice());
        batch.put(Family::Meta, deleted.clone(), b"rotten too".as_slice());
    });
    assert_eq!(scene.writer.catalog().unwrap().damaged.len(), 1);
    let report = run(&scene.writer);
    assert_eq!(report.removed.len(), 2, "{report:?}");
    let catalog = scene.writer.catalog().unwrap();
    assert!(catalog.damaged.is_empty());
    assert!(catalog.is_pinned(&scene.id, crate::base::time::Timestamp::now()));
    assert!(scene.writer.deleted_snapshots().unwrap().damaged.is_empty());
    for (key, value) in [(note, b"rotten".as_slice()), (deleted, b"rotten too")] {
        let aside = [b"damaged/".as_slice(), &key].concat();
        let kept = scene.writer.store().get(Family::Meta, &aside).unwrap();
        assert_eq!(kept.as_deref(), Some(value));
    }
    assert!(run(&scene.writer).is_clean());
}

#[test]
fn a_damaged_manifest_is_set_aside_and_its_tree_becomes_a_snapshot_again() {
    let scene = scene();
    write(&scene.writer, |batch| {
        batch.put(Family::Snapshots, *scene.id.as_bytes(), b"rotten".as_slice());
    });
    assert!(scene.writer.snapshots().is_err());
    let report = run(&scene.writer);
    let [recovered] = report.recovered.as_slice() else { panic!("{report:?}") };
    assert_eq!(files(&scene.writer, recovered), 20);
    assert_eq!(scene.writer.snapshots().unwrap().len(), 1);
    let aside = [b"damaged/snapshots/".as_slice(), scene.id.as_bytes()].concat();
    let kept = scene.writer.store().get(Family::Meta, &aside).unwrap();
    assert_eq!(kept.as_deref(), Some(b"rotten".as_slice()));
}
