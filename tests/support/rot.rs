//! Content of a repository that is no longer what it was.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use icecore::base::id::hex;
use icecore::repository::{Locator, ObjectKind};
use icecore::store::rocks::RocksStore;
use icecore::store::{Family, Store as _};

use super::repo::Repo;

/// Bytes by which a record is found in the files of the store.
const WINDOW_BYTES: usize = 48;

/// Changes one byte of the only chunk of this size, and returns the chunk's id.
pub(crate) fn rot_chunk(repo: &Repo, bytes: usize) -> String {
    let found = stored(repo, ObjectKind::Chunk, |plain| plain == bytes);
    let [(id, record)] = found.as_slice() else { panic!("{} chunks of its size", found.len()) };
    flip(repo, record);
    id.clone()
}

/// Changes one byte of a tree, the one that was stored behind `before` others among those
/// of at least this size.
pub(crate) fn rot_tree(repo: &Repo, bytes_min: usize, before: usize) {
    let found = stored(repo, ObjectKind::Tree, |plain| plain >= bytes_min);
    flip(repo, &found[before].1);
}

/// The file of the store that holds the only chunk of this size, and where its record
/// ends in it.
pub(crate) fn end_of_chunk(repo: &Repo, bytes: usize) -> (PathBuf, u64) {
    let found = stored(repo, ObjectKind::Chunk, |plain| plain == bytes);
    let [(_, record)] = found.as_slice() else { panic!("{} chunks of its size", found.len()) };
    let (path, start) = find(repo, record);
    (path, start + record.len() as u64)
}

/// Changes a byte in the middle of a record.
fn flip(repo: &Repo, record: &[u8]) {
    let (path, start) = find(repo, record);
    let middle = record.len() / 2;
    let table = fs::OpenOptions::new().write(true).open(path).expect("it can be opened");
    let place = start + middle as u64;
    table.write_all_at(&[record[middle] ^ 0x20], place).expect("it can be written");
}

/// Where a record lies in the files of the store.
fn find(repo: &Repo, record: &[u8]) -> (PathBuf, u64) {
    let middle = record.len() / 2;
    let window = &record[middle..middle + WINDOW_BYTES];
    for entry in fs::read_dir(repo.path().join("db")).expect("it can be listed").flatten() {
        let bytes = fs::read(entry.path()).unwrap_or_default();
        if let Some(at) = bytes.windows(window.len()).position(|part| part == window) {
            return (entry.path(), (at - middle) as u64);
        }
    }
    panic!("what the store returns is not in its files");
}

/// The ids of objects whose plain size is asked for, and what lies in the store of them,
/// in its order. No key is needed for that.
pub(crate) fn stored(
    repo: &Repo,
    kind: ObjectKind,
    is_asked: impl Fn(usize) -> bool,
) -> Vec<(String, Vec<u8>)> {
    let store = RocksStore::open(&repo.path().join("db"), &repo.path().join("tmp"));
    let store = store.expect("it opens");
    let mut found = BTreeMap::new();
    let visit = &mut |id: &[u8], entry: &[u8]| {
        let locator = Locator::decode(entry).expect("it decodes");
        if locator.kind == kind && is_asked(locator.plain_bytes as usize) {
            found.insert(locator.sequence.to_be_bytes(), hex(id));
        }
        ControlFlow::Continue(())
    };
    store.scan(Family::Index, &[], visit).expect("it can be read");
    let record = |key: &[u8]| store.get(kind.family(), key).expect("it can be read");
    let records = found.into_iter().map(|(key, id)| (id, record(&key)));
    records.map(|(id, record)| (id, record.expect("it is where the index says"))).collect()
}
