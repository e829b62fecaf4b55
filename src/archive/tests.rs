//! Exports and imports as a library, on real repositories, plain and encrypted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::entry::{Entry, FormatWriter as _};
use super::tar::TarWriter;
use super::{
    ArchiveSource, ChainState, ExportRequest, ImportRequest, Imported, Packing, SnapshotLabels,
    check_stream, export_snapshot,
};
use crate::base::hash::sha256;
use crate::base::id::hex;
use crate::base::progress::Silent;
use crate::base::time::Timestamp;
use crate::chunking::ChunkerConfig;
use crate::compression::Compression;
use crate::crypto::MasterKey;
use crate::dag::{Body, Content, Kind, LinkGroup, Manifest, Node, Owner};
use crate::repository::Writer;

fn writer(root: &Path, key: Option<&MasterKey>) -> Writer {
    let chunker = ChunkerConfig::default();
    match key {
        Some(key) => Writer::init_encrypted(root, chunker, key, &|_| Ok(())).unwrap(),
        None => Writer::init(root, chunker).unwrap(),
    };
    Writer::open(root, key, "test", Duration::ZERO, &Silent).unwrap().hurried()
}

fn node(kind: Kind) -> Node {
    Node {
        kind,
        mode: 0o640,
        owner: Arc::new(Owner { uid: 1, gid: 2, user: "u".into(), group: "g".into() }),
        mtime: Timestamp::new(1_700_000_000, 5).unwrap(),
        atime: None,
        changed_while_read: false,
        links: None,
        xattrs: Vec::new(),
    }
}

/// Some bytes that are not worth compressing.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// The files of the tree, by path.
fn files() -> Vec<(&'static [u8], Vec<u8>)> {
    vec![
        (b"empty", Vec::new()),
        (b"inline", b"a few bytes".to_vec()),
        (b"one-chunk", noise(2000)),
        (b"\xff no text", b"x".repeat(900)),
    ]
}

/// A tar made by hand, in no order.
fn plain_tar(large: usize) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    let mut all = files();
    if large > 0 {
        all.push((b"many-chunks", noise(large)));
    }
    for (path, bytes) in all.iter().rev() {
        let content =
            Content { size: bytes.len() as u64, sha256: None, body: Body::Inline(Box::default()) };
        let node = node(Kind::File(content));
        tar.begin(&Entry { path, node: &node, link: None }, None).unwrap();
        tar.data(bytes).unwrap();
        tar.end().unwrap();
    }
    let links = Some(LinkGroup { count: 9, group: [7; 16] });
    let linked = Node { links, ..node(Kind::Fifo) };
    tar.begin(&Entry { path: b"again", node: &linked, link: Some(b"one-chunk") }, None).unwrap();
    tar.end().unwrap();
    tar.finish().unwrap()
}

fn labels() -> SnapshotLabels {
    SnapshotLabels {
        host: None,
        time: None,
        description: Some("words".into()),
        tags: vec!["t".into()],
        default_host: "h".into(),
        default_user: "u".into(),
        now: Timestamp::new(1_700_000_000, 0).unwrap(),
        program: "test".into(),
        compression: Compression::Lz4,
    }
}

fn import(writer: &Writer, archive: &Path) -> Imported {
    let request = ImportRequest { archive: Some(archive.to_owned()) };
    request.into_repository(writer, &labels(), &Silent).unwrap()
}

fn export(writer: &Writer, imported: &Imported, directory: &Path, packing: Packing) -> PathBuf {
    fs::create_dir_all(directory).unwrap();
    let (id, manifest, _) = imported.snapshot.as_ref().unwrap();
    let request = ExportRequest {
        directory: directory.to_owned(),
        packing,
        name: None,
        time: Timestamp::new(1_700_000_001, 0).unwrap(),
        program: "test".into(),
        source: ArchiveSource { path: "/r".into(), host: "h".into() },
    };
    let chain = ChainState::default();
    export_snapshot(writer, id, manifest, chain, &request, &Silent).unwrap().archive
}

fn manifest(imported: &Imported) -> &Manifest {
    &imported.snapshot.as_ref().unwrap().1
}

#[test]
fn every_flipped_bit_and_every_cut_of_an_export_is_found() {
    let scratch = tempfile::tempdir().unwrap();
    let tar = scratch.path().join("a.tar");
    fs::write(&tar, plain_tar(0)).unwrap();
    let writer = writer(&scratch.path().join("repo"), None);
    let imported = import(&writer, &tar);
    for packing in [Packing::Gzip, Packing::Zstd] {
        let archive = export(&writer, &imported, &scratch.path().join(packing.suffix()), packing);
        let whole = fs::read(archive).unwrap();
        let is_whole = |bytes: &[u8]| check_stream(bytes, "it", &Silent).is_ok();
        assert!(is_whole(&whole));
        for place in 0..whole.len() {
            let mut flipped = whole.clone();
            for bit in 0..8 {
                flipped[place] ^= 1 << bit;
                assert!(!is_whole(&flipped), "{packing:?}: bit {bit} of byte {place}");
                flipped[place] ^= 1 << bit;
            }
            assert!(!is_whole(&whole[..place]), "{packing:?}: cut at {place}");
        }
    }
}

#[test]
fn a_plain_and_an_encrypted_repository_exchange_archives_with_true_checksums() {
    let scratch = tempfile::tempdir().unwrap();
    let tar = scratch.path().join("a.tar");
    fs::write(&tar, plain_tar(900_000)).unwrap();
    let key = MasterKey::generate().unwrap();
    let plain = writer(&scratch.path().join("plain"), None);
    let encrypted = writer(&scratch.path().join("encrypted"), Some(&key));
    let first = import(&plain, &tar);
    let out = export(&plain, &first, &scratch.path().join("of-plain"), Packing::Zstd);
    let second = import(&encrypted, &out);
    let back = export(&encrypted, &second, &scratch.path().join("back"), Packing::Gzip);
    let third = import(&plain, &back);
    assert_eq!(manifest(&first).root, manifest(&third).root);
    assert_ne!(
        manifest(&first).tree().map(|tree| tree.id),
        manifest(&second).tree().map(|tree| tree.id)
    );
    assert_eq!(manifest(&third).description, "words");
    assert_eq!(manifest(&third).tags, ["t"]);
    let texts = [&out, &back].map(|archive| {
        let name = archive.file_name().unwrap().to_string_lossy().into_owned();
        let stem = name.split(".tar").next().unwrap();
        let text = fs::read_to_string(archive.with_file_name(format!("{stem}.manifest.json")));
        text.unwrap()
    });
    let mut all = files();
    all.push((b"many-chunks", noise(900_000)));
    for (path, bytes) in all {
        let digest = hex(&sha256(&bytes));
        for text in &texts {
            assert!(text.contains(&digest), "{}: {text}", path.escape_ascii());
        }
    }
    let known = manifest(&second).root.clone();
    assert!(matches!(known.kind, Kind::Directory(tree) if tree.totals.files == 6));
}

#[test]
fn links_of_a_foreign_archive_are_counted_as_they_are_there() {
    let scratch = tempfile::tempdir().unwrap();
    let tar = scratch.path().join("a.tar");
    fs::write(&tar, plain_tar(0)).unwrap();
    let writer = writer(&scratch.path().join("repo"), None);
    let imported = import(&writer, &tar);
    let mut cursor = writer.open_directory(manifest(&imported).tree().unwrap());
    let mut groups = Vec::new();
    while let Some(entry) = cursor.entry().unwrap() {
        groups.extend(entry.node.links);
        cursor.advance();
    }
    // Nine, says the archive, which is not to be believed of a tar in no order.
    assert_eq!(groups.len(), 2);
    assert!(groups[0] == groups[1] && groups[0].count == 2, "{groups:?}");
}
