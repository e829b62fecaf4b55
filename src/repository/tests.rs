//! What a repository promises to those who open it, over real directories.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::base::id::{ChunkId, SnapshotId};
use crate::base::progress::Silent;
use crate::base::time::Timestamp;
use crate::chunking::ChunkerConfig;
use crate::compression::Compression;
use crate::crypto::MasterKey;
use crate::dag::*;
use crate::repository::testing::manifest;
use crate::repository::*;
use crate::store::{Batch, Durability, Family};

struct Scene {
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { directory: tempfile::tempdir().unwrap() };
        Writer::init(&scene.root(), ChunkerConfig::default()).unwrap();
        scene
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("repo")
    }

    fn open(&self, wait: Duration) -> Result<Writer, RepositoryError> {
        Writer::open(&self.root(), None, "test", wait, &Silent)
    }

    fn writer(&self) -> Writer {
        self.open(Duration::ZERO).unwrap()
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.root()).unwrap()
    }

    fn edit_config(&self, from: &str, to: &str) {
        let path = self.root().join("config");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&path, text.replace(from, to)).unwrap();
    }
}

fn snapshot(writer: &Writer, second: i64, tags: &[&str]) -> SnapshotId {
    let mut session = writer.begin().unwrap();
    let root = DirectoryBuilder::new().finish(&mut |record| session.put_tree(record)).unwrap();
    let tags = tags.iter().map(ToString::to_string).collect();
    session.commit(&Manifest { tags, ..manifest(root, second) }).unwrap()
}

fn put(session: &mut Session<'_>, plain: &[u8]) -> Segment {
    let id = ChunkId::of(plain);
    let bytes = u32::try_from(plain.len()).unwrap();
    let envelope = envelope::seal(plain, Compression::Lz4);
    session.put_chunk(PreparedChunk::New { id, bytes, envelope }).unwrap()
}

fn now() -> Timestamp {
    Timestamp::new(10_000, 0).unwrap()
}

#[test]
fn a_directory_with_files_in_it_does_not_become_a_repository() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("precious"), b"x").unwrap();
    let error = Writer::init(directory.path(), ChunkerConfig::default()).unwrap_err();
    assert!(matches!(error, RepositoryError::Occupied { .. }), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    let scene = Scene::new();
    let error = Writer::init(&scene.root(), ChunkerConfig::default()).unwrap_err();
    assert!(error.to_string().contains("already is a repository"), "{error}");
}

#[test]
fn an_init_cut_short_is_repeated_but_a_store_that_lost_its_config_is_kept() {
    let scene = Scene::new();
    fs::remove_file(scene.root().join("config")).unwrap();
    Writer::init(&scene.root(), ChunkerConfig::default()).unwrap();
    snapshot(&scene.writer(), 1, &[]);
    fs::remove_file(scene.root().join("config")).unwrap();
    fs::remove_file(scene.root().join("lock")).unwrap();
    let error = Writer::init(&scene.root(), ChunkerConfig::default()).unwrap_err();
    assert!(error.to_string().contains("without its `config`"), "{error}");
    assert!(scene.root().join("db/CURRENT").exists());
}

#[test]
fn only_its_owner_may_look_into_a_repository() {
    use std::os::unix::fs::MetadataExt as _;
    let scene = Scene::new();
    for (path, mode) in [(scene.root(), 0o700), (scene.root().join("config"), 0o600)] {
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, mode, "{path:?}");
    }
    assert!(scene.writer().permission_warning().is_none());
}

#[test]
fn what_is_no_repository_says_so() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().to_owned(), directory.path().join("absent")] {
        let error = Reader::open(&path).err().unwrap();
        assert!(matches!(error, RepositoryError::NotFound { .. }), "{error}");
    }
}

#[test]
fn a_repository_of_a_newer_program_is_refused_by_version_and_by_feature() {
    for (from, to) in [
        ("format_version = 1", "format_version = 2\nfuture = true"),
        ("required_features = []", "required_features = [\"parity\"]"),
        ("fastcdc-v2020", "better-cdc"),
    ] {
        let scene = Scene::new();
        scene.edit_config(from, to);
        let error = scene.open(Duration::ZERO).err().unwrap();
        assert!(matches!(error, RepositoryError::Newer { .. }), "{to}: {error}");
    }
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_in_one_line() {
    for (from, to) in [
        ("format_version = 1", "format_version = \"x\""),
        ("min_bytes = 16384", "min_bytes = 0"),
        ("max_bytes = 262144", "max_bytes = 4000000000"),
        ("id = \"", "id = \"zz"),
    ] {
        let scene = Scene::new();
        scene.edit_config(from, to);
        let error = scene.open(Duration::ZERO).err().unwrap();
        assert!(matches!(error, RepositoryError::Config { .. }), "{to}: {error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    let scene = Scene::new();
    fs::write(scene.root().join("config"), vec![b'#'; 100_000]).unwrap();
    let error = scene.open(Duration::ZERO).err().unwrap();
    assert!(error.to_string().contains("too large"), "{error}");
}

#[test]
fn a_second_writer_waits_and_then_says_for_whom() {
    let scene = Scene::new();
    let first = scene.writer();
    let error = scene.open(Duration::from_millis(150)).err().unwrap();
    let RepositoryError::Busy { holder, .. } = &error else { panic!("{error}") };
    assert!(holder.contains("icecore test"), "{holder}");
    assert!(holder.contains(&std::process::id().to_string()), "{holder}");
    drop(first);
    scene.open(Duration::ZERO).unwrap();
}

#[test]
fn readers_need_no_lock_and_see_a_snapshot_once_its_commit_has_returned() {
    let scene = Scene::new();
    let reader = scene.reader();
    for second in 1..20 {
        let writer = scene.writer();
        let id = snapshot(&writer, second, &[]);
        assert!(reader.refresh().unwrap(), "round {second}");
        assert!(reader.manifest(&id).unwrap().is_some(), "round {second}");
    }
    assert_eq!(reader.snapshots().unwrap().len(), 19);
}

#[test]
fn a_snapshot_is_found_by_every_kind_of_name() {
    let scene = Scene::new();
    let writer = scene.writer();
    let ids: Vec<_> =
        [(100, &["old"][..]), (200, &["nightly"]), (300, &["nightly", "new"]), (9_000, &[])]
            .iter()
            .map(|(second, tags)| snapshot(&writer, *second, tags))
            .collect();
    let find = |name: &str| writer.find_snapshot(name, now()).map(|(id, _)| id);
    assert_eq!(find(&ids[1].to_string()).unwrap(), ids[1]);
    assert_eq!(find(&ids[1].to_string().to_uppercase()).unwrap(), ids[1]);
    assert_eq!(find(&ids[1].short()).unwrap(), ids[1]);
    assert_eq!(find("latest").unwrap(), ids[3]);
    assert_eq!(find("latest~3").unwrap(), ids[0]);
    assert_eq!(find("nightly").unwrap(), ids[2]);
    assert_eq!(find("@250").unwrap(), ids[1]);
    assert_eq!(find("1h ago").unwrap(), ids[2]);
    for name in ["latest~4", "latest~x", "nonsense", "", "@99", &"0".repeat(64)] {
        let error = find(name).unwrap_err();
        assert!(matches!(error, RepositoryError::NoSuchSnapshot { .. }), "{name}: {error}");
    }
}

#[test]
fn an_ambiguous_prefix_is_refused_and_names_the_candidates() {
    let scene = Scene::new();
    let writer = scene.writer();
    // Seventeen ids have sixteen first digits at most.
    let ids: Vec<_> = (0..17).map(|second| snapshot(&writer, second, &[])).collect();
    let digit = |id: &SnapshotId| id.to_string().remove(0).to_string();
    let shared = ids.iter().find(|id| ids.iter().filter(|o| digit(o) == digit(id)).count() > 1);
    let name = digit(shared.unwrap());
    let error = writer.find_snapshot(&name, now()).unwrap_err();
    let RepositoryError::AmbiguousSnapshot { candidates, .. } = &error else { panic!("{error}") };
    assert!(candidates.contains(&shared.unwrap().short()) || candidates.contains("..."));
}

#[test]
fn a_path_may_follow_any_name_even_a_time_with_colons() {
    let scene = Scene::new();
    let writer = scene.writer();
    let id = snapshot(&writer, 100, &[]);
    for (text, path) in [
        ("latest", &b""[..]),
        ("latest:", b""),
        ("latest:/etc/", b"etc"),
        ("latest:a:b", b"a:b"),
        ("1970-01-01T02:00:00Z:etc/x:y", b"etc/x:y"),
    ] {
        let found = writer.find_snapshot_path(text.as_bytes(), now()).unwrap();
        assert_eq!((found.id, &found.path[..]), (id, path), "{text}");
    }
    let found = writer.find_snapshot_path(b"latest:\xff", now()).unwrap();
    assert_eq!(found.path, b"\xff");
    assert!(writer.find_snapshot_path(b"none:etc", now()).is_err());
}

#[test]
fn a_chunk_is_stored_once_however_often_it_comes() {
    let scene = Scene::new();
    let writer = scene.writer();
    let mut session = writer.begin().unwrap();
    let first = put(&mut session, b"content");
    assert_eq!(put(&mut session, b"content"), first);
    assert_eq!(session.added().chunks, 1);
}

#[test]
fn damage_is_an_error_that_names_the_object_and_never_wrong_bytes() {
    let scene = Scene::new();
    let writer = scene.writer();
    let mut session = writer.begin().unwrap();
    let plain: Vec<u8> = (0..40_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    let Segment::Chunk { id, bytes, hint } = put(&mut session, &plain) else { panic!("data") };
    let root = DirectoryBuilder::new().finish(&mut |record| session.put_tree(record)).unwrap();
    drop(session);
    // Nothing was finished, so nothing is there: missing, not wrong.
    let error = writer.chunk(&id, bytes, hint).unwrap_err();
    assert!(error.is_damage() && error.to_string().contains(&id.to_string()), "{error}");
    assert!(writer.tree(&root).unwrap_err().is_damage());

    // An index entry that points to another object is noticed by the hash.
    let mut session = writer.begin().unwrap();
    put(&mut session, &plain);
    let Segment::Chunk { id: other, .. } = put(&mut session, b"other") else { panic!("data") };
    session.commit(&manifest(root, 1)).unwrap();
    let wrong = writer.locate(ObjectKind::Chunk, other.as_bytes()).unwrap().unwrap();
    let mut batch = Batch::new();
    batch.put(Family::Index, *id.as_bytes(), wrong.encode());
    writer.store().write(&batch, Durability::Synced).unwrap();
    let error = writer.chunk(&id, bytes, None).unwrap_err();
    assert!(error.is_damage() && error.to_string().contains(&id.to_string()), "{error}");
}

#[test]
fn sequence_numbers_are_never_given_twice_even_after_a_crash() {
    let scene = Scene::new();
    let first = {
        let writer = scene.writer();
        // What a process would leave that died between load and index.
        let mut batch = Batch::new();
        let key = PendingRange::key(Family::Data, 0);
        batch.put(Family::Meta, key.as_bytes(), sequence_key(99));
        writer.store().write(&batch, Durability::Synced).unwrap();
        let mut session = writer.begin().unwrap();
        let Segment::Chunk { hint, .. } = put(&mut session, b"a") else { panic!("data") };
        let root = DirectoryBuilder::new().finish(&mut |record| session.put_tree(record)).unwrap();
        let id = session.commit(&manifest(root, 1)).unwrap();
        writer.delete_snapshots(&[id]).unwrap();
        hint.unwrap()
    };
    assert!(first >= 100, "{first}");
    let writer = scene.writer();
    let mut session = writer.begin().unwrap();
    let Segment::Chunk { hint, .. } = put(&mut session, b"b") else { panic!("data") };
    assert!(hint.unwrap() > first);
}

#[test]
fn what_a_dead_writer_left_in_tmp_is_cleared() {
    let scene = Scene::new();
    let left = scene.root().join("tmp/0.sst");
    fs::write(&left, b"half").unwrap();
    drop(scene.writer());
    assert!(!left.exists());
}

#[test]
fn one_damaged_manifest_hides_no_other_snapshot_and_is_never_overlooked() {
    let scene = Scene::new();
    let writer = scene.writer();
    let good = snapshot(&writer, 1, &["good"]);
    let bad = snapshot(&writer, 2, &["bad"]);
    let mut batch = Batch::new();
    batch.put(Family::Snapshots, *bad.as_bytes(), b"nonsense".to_vec());
    writer.store().write(&batch, Durability::Synced).unwrap();

    let catalog = writer.catalog().unwrap();
    assert_eq!(catalog.snapshots.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [good]);
    assert!(catalog.damaged[0].is_damage() && catalog.damaged.len() == 1);
    assert_eq!(writer.find_snapshot("good", now()).unwrap().0, good);
    assert!(writer.find_snapshot("bad", now()).unwrap_err().is_damage());
    assert!(writer.snapshots().unwrap_err().is_damage());
}

#[test]
fn a_manifest_that_could_not_be_read_back_is_not_committed() {
    let scene = Scene::new();
    let writer = scene.writer();
    let mut session = writer.begin().unwrap();
    let root = DirectoryBuilder::new().finish(&mut |record| session.put_tree(record)).unwrap();
    let errors = vec!["x".repeat(crate::base::limits::MANIFEST_TEXT_BYTES_MAX + 1)];
    let error = session.commit(&Manifest { errors, ..manifest(root, 1) }).unwrap_err();
    assert!(matches!(error, RepositoryError::Manifest(_)), "{error}");
    assert!(writer.snapshots().unwrap().is_empty());
}

/// A record that has no envelope begins with its length, and 255 reads as the mark of
/// an encrypted one does.
#[test]
fn a_manifest_of_any_length_is_read_back_and_keeps_no_repository_from_being_written() {
    let key = MasterKey::generate().unwrap();
    for key in [None, Some(&key)] {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("repo");
        match key {
            None => Writer::init(&root, ChunkerConfig::default()).unwrap(),
            Some(key) => {
                let chunker = ChunkerConfig::default();
                Writer::init_encrypted(&root, chunker, key, &|_| Ok(())).unwrap()
            }
        };
        let open = || Writer::open(&root, key, "test", Duration::ZERO, &Silent).unwrap().hurried();
        let writer = open();
        let mut session = writer.begin().unwrap();
        let tree = DirectoryBuilder::new().finish(&mut |record| session.put_tree(record)).unwrap();
        let of = |length: usize| Manifest { description: "x".repeat(length), ..manifest(tree, 1) };
        let mut ambiguous = None;
        for length in 0..300 {
            let manifest = of(length);
            let (id, stored) = writer.encode_manifest(&manifest).unwrap();
            let read = writer.decode_manifest(id.as_bytes(), &stored);
            assert_eq!(read.unwrap(), (id, manifest.clone()), "{length}");
            if manifest.encode().canonical.len() == 255 {
                ambiguous = Some(manifest);
            }
        }
        let ambiguous = ambiguous.expect("a length between gives 255 bytes");
        let id = session.commit(&ambiguous).unwrap();
        drop(writer);
        let writer = open();
        assert_eq!(writer.snapshots().unwrap(), [(id, ambiguous)]);
        snapshot(&writer, 2, &[]);
        assert!(writer.catalog().unwrap().damaged.is_empty());
    }
}
