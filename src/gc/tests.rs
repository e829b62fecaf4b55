//! Collections over real repositories, built object by object.

use std::path::Path;
use std::time::Duration;

use crate::base::id::{ChunkId, SnapshotId};
use crate::base::name::EntryName;
use crate::base::progress::Silent;
use crate::chunking::ChunkerConfig;
use crate::compression::Compression;
use crate::dag::*;
use crate::gc::{GcOptions, GcReport, MaxUnused, collect};
use crate::repository::testing::{manifest, node};
use crate::repository::{PreparedChunk, Reader, Session, Writer, envelope};

const ALL: GcOptions = GcOptions { max_unused: MaxUnused::Percent(0.0), dry_run: false };
const CHUNK_BYTES: usize = 32 << 10;

fn open(root: &Path) -> Writer {
    Writer::open(root, None, "test", Duration::ZERO, &Silent).unwrap()
}

/// Incompressible bytes that depend on the number alone.
fn content(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).take(CHUNK_BYTES / 8).flatten().collect()
}

fn put_file(session: &mut Session<'_>, number: u64) -> Entry {
    let plain = content(number);
    let id = ChunkId::of(&plain);
    let bytes = u32::try_from(plain.len()).unwrap();
    let envelope = envelope::seal(&plain, Compression::Lz4);
    let segment = session.put_chunk(PreparedChunk::New { id, bytes, envelope }).unwrap();
    let body = Body::Segments(Box::new([segment]));
    let content = Content { size: u64::from(bytes), sha256: None, body };
    let name = EntryName::new(format!("{number:08}").as_bytes()).unwrap();
    Entry { name, node: node(Kind::File(content)) }
}

/// Puts the files of a directory and its pages.
fn put_tree(session: &mut Session<'_>, numbers: impl Iterator<Item = u64>) -> TreeRef {
    let mut builder = DirectoryBuilder::new();
    for number in numbers {
        let entry = put_file(session, number);
        builder.push(entry, &mut |record| session.put_tree(record)).unwrap();
    }
    builder.finish(&mut |record| session.put_tree(record)).unwrap()
}

fn snapshot(writer: &Writer, numbers: impl Iterator<Item = u64>, second: i64) -> SnapshotId {
    let mut session = writer.begin().unwrap();
    let root = put_tree(&mut session, numbers);
    session.commit(&manifest(root, second)).unwrap()
}

/// Reads every file of a snapshot, and returns their numbers.
fn read(reader: &Reader, id: &SnapshotId) -> Vec<u64> {
    let manifest = reader.manifest(id).unwrap().expect("the snapshot is there");
    read_tree(reader, manifest.tree().unwrap())
}

fn read_tree(reader: &Reader, root: &TreeRef) -> Vec<u64> {
    let Tree::Leaf(entries) = reader.tree(root).unwrap() else { panic!("one page") };
    let number = |entry: Entry| {
        let number: u64 = std::str::from_utf8(entry.name.as_bytes()).unwrap().parse().unwrap();
        let Kind::File(file) = entry.node.kind else { panic!("a file") };
        let Body::Segments(segments) = file.body else { panic!("one chunk") };
        let Segment::Chunk { id, bytes, hint } = segments[0] else { panic!("data") };
        assert_eq!(reader.chunk(&id, bytes, hint).unwrap(), content(number));
        // Hints may be lost.
        assert_eq!(reader.chunk(&id, bytes, None).unwrap(), content(number));
        assert_eq!(reader.chunk(&id, bytes, Some(hint.unwrap() + 1)).unwrap(), content(number));
        number
    };
    entries.into_iter().map(number).collect()
}

struct Scene {
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Writer::init(&directory.path().join("repo"), ChunkerConfig::default()).unwrap();
        Self { directory }
    }

    fn root(&self) -> std::path::PathBuf {
        self.directory.path().join("repo")
    }

    fn writer(&self) -> Writer {
        open(&self.root())
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.root()).unwrap()
    }

    fn collect(&self) -> GcReport {
        collect(&self.writer(), ALL, &Silent).unwrap()
    }
}

#[test]
fn what_only_a_deleted_snapshot_needed_goes_and_the_rest_reads_on() {
    let scene = Scene::new();
    let (first, middle, last);
    {
        let writer = scene.writer();
        first = snapshot(&writer, 0..100, 1);
        middle = snapshot(&writer, 50..300, 2);
        last = snapshot(&writer, 80..120, 3);
        writer.delete_snapshots(&[middle]).unwrap();
    }
    let report = scene.collect();
    assert_eq!(report.snapshots, 2);
    // 120..300 were in the middle one alone; 100..120 are in the last one too.
    assert_eq!(report.deleted_chunks, 180);
    assert_eq!(report.deleted_trees, 1);
    let expected = 180 * CHUNK_BYTES as u64;
    assert!(report.freed_bytes >= expected, "{report:?}");
    assert!(report.freed_bytes < expected + expected / 20, "{report:?}");
    let reader = scene.reader();
    assert_eq!(read(&reader, &first), (0..100).collect::<Vec<_>>());
    assert_eq!(read(&reader, &last), (80..120).collect::<Vec<_>>());
    assert!(reader.manifest(&middle).unwrap().is_none());
}

#[test]
fn a_second_collection_finds_nothing_and_writes_nothing() {
    let scene = Scene::new();
    {
        let writer = scene.writer();
        let id = snapshot(&writer, 0..50, 1);
        snapshot(&writer, 25..60, 2);
        writer.delete_snapshots(&[id]).unwrap();
    }
    assert_eq!(scene.collect().deleted_chunks, 25);
    let again = scene.collect();
    assert_eq!((again.deleted_chunks, again.freed_bytes, again.rewritten_bytes), (0, 0, 0));
    assert_eq!(again.live_chunks, 35);
}

#[test]
fn files_without_garbage_are_not_rewritten() {
    let scene = Scene::new();
    {
        let writer = scene.writer();
        // One file of the store for each snapshot.
        snapshot(&writer, 0..400, 1);
        let id = snapshot(&writer, 400..500, 2);
        snapshot(&writer, 500..900, 3);
        writer.delete_snapshots(&[id]).unwrap();
    }
    let report = scene.collect();
    assert_eq!(report.deleted_chunks, 100);
    let chunk = CHUNK_BYTES as u64;
    assert!(report.rewritten_bytes < chunk, "{report:?}");
    assert!(report.bytes_before > 890 * chunk, "{report:?}");
}

#[test]
fn content_that_was_collected_is_stored_again_when_it_comes_back() {
    let scene = Scene::new();
    let id = snapshot(&scene.writer(), 0..20, 1);
    scene.writer().delete_snapshots(&[id]).unwrap();
    assert_eq!(scene.collect().live_chunks, 0);
    let again = snapshot(&scene.writer(), 0..20, 2);
    assert_eq!(read(&scene.reader(), &again).len(), 20);
}

#[test]
fn garbage_below_the_share_stays_and_is_used_again() {
    let scene = Scene::new();
    let writer = scene.writer();
    let id = snapshot(&writer, 0..100, 1);
    snapshot(&writer, 0..98, 2);
    writer.delete_snapshots(&[id]).unwrap();
    let report = collect(&writer, GcOptions::default(), &Silent).unwrap();
    assert_eq!(report.deleted_chunks, 0);
    assert!(report.rewritten_bytes < CHUNK_BYTES as u64, "trees at most: {report:?}");
    assert!(report.unused_bytes >= 2 * CHUNK_BYTES as u64, "{report:?}");
    let mut session = writer.begin().unwrap();
    put_file(&mut session, 99);
    assert_eq!(session.added().chunks, 0);
}

#[test]
fn a_dry_run_changes_nothing() {
    let scene = Scene::new();
    let writer = scene.writer();
    let id = snapshot(&writer, 0..30, 1);
    writer.delete_snapshots(&[id]).unwrap();
    let dry = collect(&writer, GcOptions { dry_run: true, ..ALL }, &Silent).unwrap();
    assert_eq!(dry.deleted_chunks, 30);
    let wet = collect(&writer, ALL, &Silent).unwrap();
    assert_eq!((wet.deleted_chunks, wet.bytes_before), (30, dry.bytes_before));
}

#[test]
fn a_leased_snapshot_outlives_its_deletion_and_goes_when_the_lease_does() {
    let scene = Scene::new();
    let id = snapshot(&scene.writer(), 0..40, 1);
    let reader = scene.reader();
    let lease = reader.lease(id).unwrap();
    let root = *reader.manifest(&id).unwrap().unwrap().tree().unwrap();
    scene.writer().delete_snapshots(&[id]).unwrap();
    assert!(reader.refresh().unwrap());
    assert!(reader.manifest(&id).unwrap().is_none());

    let report = scene.collect();
    assert_eq!((report.leased_snapshots, report.deleted_chunks), (1, 0));
    reader.refresh().unwrap();
    assert_eq!(read_tree(&reader, &root).len(), 40);

    drop(lease);
    assert_eq!(scene.collect().deleted_chunks, 40);
    assert!(reader.lease(id).is_err(), "a deleted snapshot cannot be leased");
}

#[test]
fn a_lease_of_a_dead_process_is_removed() {
    let scene = Scene::new();
    snapshot(&scene.writer(), 0..3, 1);
    let stale = scene.root().join("leases/1-0.lease");
    std::fs::write(&stale, b"whatever it was writing").unwrap();
    assert_eq!(scene.collect().leased_snapshots, 0);
    assert!(!stale.exists());
}

#[test]
fn what_a_dropped_session_loaded_is_collected() {
    let scene = Scene::new();
    let writer = scene.writer();
    let kept = snapshot(&writer, 0..10, 1);
    {
        let mut session = writer.begin().unwrap();
        // More than one load, so that the first one is in the store already.
        for number in 1000..1000 + (140 << 20) / CHUNK_BYTES as u64 {
            put_file(&mut session, number);
        }
    }
    let report = collect(&writer, ALL, &Silent).unwrap();
    assert!(report.freed_bytes > 120 << 20, "{report:?}");
    drop(writer);
    assert_eq!(read(&scene.reader(), &kept).len(), 10);
}

#[test]
fn a_reader_that_has_not_caught_up_reads_on_while_files_are_rewritten() {
    let scene = Scene::new();
    let (kept, gone);
    {
        let writer = scene.writer();
        kept = snapshot(&writer, (0..200).filter(|n| n % 2 == 0), 1);
        gone = snapshot(&writer, (0..200).filter(|n| n % 2 == 1), 2);
    }
    let reader = scene.reader();
    scene.writer().delete_snapshots(&[gone]).unwrap();
    scene.collect();
    assert_eq!(read(&reader, &kept).len(), 100);
    assert_eq!(read(&reader, &gone).len(), 100, "it still sees the state of its last catch-up");
    reader.refresh().unwrap();
    assert_eq!(read(&reader, &kept).len(), 100);
    assert!(reader.manifest(&gone).unwrap().is_none());
}

#[test]
fn nothing_is_collected_while_a_tree_cannot_be_read() {
    let scene = Scene::new();
    let writer = scene.writer();
    let broken = snapshot(&writer, 0..5, 1);
    let deleted = snapshot(&writer, 10..20, 2);
    writer.delete_snapshots(&[deleted]).unwrap();
    let root = writer.manifest(&broken).unwrap().unwrap().tree().unwrap().id;
    let mut batch = crate::store::Batch::new();
    batch.delete(crate::store::Family::Index, *root.as_bytes());
    writer.store().write(&batch, crate::store::Durability::Synced).unwrap();
    let before: u64 = crate::gc::plan::total_bytes(&writer).unwrap();
    let error = collect(&writer, ALL, &Silent).unwrap_err();
    assert!(error.to_string().contains(&broken.short()), "{error}");
    assert_eq!(crate::gc::plan::total_bytes(&writer).unwrap(), before);
}
