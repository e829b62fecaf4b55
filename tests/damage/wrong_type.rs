//! Records of the wrong type: each is well-formed, and not what belongs there.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use icecore::base::id::SnapshotId;
use icecore::repository::{Locator, ObjectKind};
use icecore::store::rocks::RocksStore;
use icecore::store::{Batch, Durability, Family, Store};

use crate::damage::matrix;
use crate::support::fixture::{Fixture, SEED, plain_tree};
use crate::support::generate::file;
use crate::support::repo::{Repo, id_of};
use crate::support::rng::Rng;

type Record = (Vec<u8>, Vec<u8>);
/// Takes what is there, and returns what is there instead.
type Change = fn(&Records) -> (Family, Record);

/// Two snapshots of plain files and of one whose chunks fill a list; a note, and a
/// snapshot that was deleted.
fn fixture() -> Fixture {
    let fixture = Fixture::built(|source| {
        plain_tree(source, SEED, 8, 5000);
        file(&source.join("large"), &Rng::new(5).bytes(3_000_000));
    });
    let gone = fixture.source.join("gone");
    file(&gone, b"gone");
    let deleted = fixture.repo.create(&fixture.source);
    fs::remove_file(gone).expect("it is there");
    file(&fixture.source.join("one-more"), &[b'x'; 5000]);
    fixture.repo.create(&fixture.source);
    fixture.repo.ok(["delete", "--yes", &deleted]);
    fixture.repo.ok(["tag", "--add", "kept", "latest"]);
    fixture
}

fn open(repo: &Path) -> RocksStore {
    RocksStore::open(&repo.join("db"), &repo.join("tmp")).expect("it can be opened")
}

/// All records of a store, found without the key of an encrypted one.
struct Records {
    store: RocksStore,
    /// The newest snapshot.
    newest: SnapshotId,
}

impl Records {
    fn all(&self, family: Family) -> Vec<Record> {
        let mut all = Vec::new();
        let visit = &mut |key: &[u8], value: &[u8]| {
            all.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        };
        self.store.scan(family, &[], visit).expect("it can be read");
        all
    }

    /// The newest record of an object of a kind, where it lies.
    fn object(&self, kind: ObjectKind) -> Record {
        let all = self.entries(kind).map(|(_, locator)| locator.sequence.to_be_bytes());
        let key = all.max().unwrap_or_else(|| panic!("there is no {kind:?}"));
        let stored = self.store.get(kind.family(), &key).expect("it can be read");
        (key.to_vec(), stored.expect("it is where the index says"))
    }

    fn entries(&self, kind: ObjectKind) -> impl Iterator<Item = (Vec<u8>, Locator)> {
        let all = self.all(Family::Index).into_iter();
        let all = all.map(|(id, value)| (id, Locator::decode(&value).expect("it decodes")));
        all.filter(move |(_, locator)| locator.kind == kind)
    }

    /// The entry of the index for an object of a kind.
    fn entry(&self, kind: ObjectKind) -> (Vec<u8>, Locator) {
        self.entries(kind).last().expect("there is one")
    }

    fn misnamed(&self, is: ObjectKind, said: ObjectKind) -> (Family, Record) {
        let (id, locator) = self.entry(is);
        (Family::Index, (id, Locator { kind: said, ..locator }.encode()))
    }

    /// An object in the place of another kind's.
    fn misplaced(&self, is: ObjectKind, instead: ObjectKind) -> (Family, Record) {
        (is.family(), (self.object(is).0, self.object(instead).1))
    }

    /// The newest snapshot's record.
    fn manifest(&self) -> Record {
        let mut all = self.all(Family::Snapshots).into_iter();
        all.find(|(id, _)| id == self.newest.as_bytes()).expect("it is there")
    }

    fn meta(&self, prefix: &str) -> Record {
        let mut all = self.all(Family::Meta).into_iter();
        all.find(|(key, _)| key.starts_with(prefix.as_bytes()))
            .unwrap_or_else(|| panic!("there is no {prefix}"))
    }
}

const CHUNK: ObjectKind = ObjectKind::Chunk;
const TREE: ObjectKind = ObjectKind::Tree;
const LIST: ObjectKind = ObjectKind::ChunkList;

/// Each case, and whether `check` must say so.
const CASES: [(&str, bool, Change); 16] = [
    ("an entry says tree of a chunk", true, |all| all.misnamed(CHUNK, TREE)),
    ("an entry says list of a chunk", true, |all| all.misnamed(CHUNK, LIST)),
    ("an entry says chunk of a tree", true, |all| all.misnamed(TREE, CHUNK)),
    ("an entry says list of a tree", true, |all| all.misnamed(TREE, LIST)),
    ("an entry says tree of a list", true, |all| all.misnamed(LIST, TREE)),
    ("a tree for a chunk", true, |all| all.misplaced(CHUNK, TREE)),
    ("a chunk for a tree", true, |all| all.misplaced(TREE, CHUNK)),
    ("a list for a tree", true, |all| all.misplaced(TREE, LIST)),
    ("a tree for a list", true, |all| all.misplaced(LIST, TREE)),
    ("a tree for a manifest", true, |all| {
        (Family::Snapshots, (all.manifest().0, all.object(TREE).1))
    }),
    ("another manifest for a manifest", true, |all| {
        let newest = all.manifest();
        let snapshots = all.all(Family::Snapshots);
        let other = snapshots.into_iter().find(|one| *one != newest).expect("another one");
        (Family::Snapshots, (newest.0, other.1))
    }),
    ("a manifest for a note", true, |all| (Family::Meta, (all.meta("note/").0, all.manifest().1))),
    ("a note for a deleted snapshot", true, |all| {
        (Family::Meta, (all.meta("deleted/").0, all.meta("note/").1))
    }),
    ("a manifest for a counter", true, |all| {
        (Family::Meta, (b"next/data".to_vec(), all.manifest().1))
    }),
    ("a note for a record of what is in doubt", false, |all| {
        (Family::Meta, (b"pending/data/00000000000000000000".to_vec(), all.meta("note/").1))
    }),
    ("a tree for what was seen of a source", false, |all| {
        let key = all.all(Family::Scan).first().expect("there is one").0.clone();
        (Family::Scan, (key, all.object(TREE).1))
    }),
];

#[test]
fn a_record_of_the_wrong_type_is_found_read_round_repaired_and_healed() {
    let fixture = fixture();
    fixture.repo.ok(["check", "--read-data"]);
    let newest = id_of(&fixture.repo.ok(["show", "--json", "latest"]).json());
    let newest = newest.parse().expect("an id");
    for (case, must_be_found, change) in CASES {
        let home = fixture.scratch.join("copy");
        let _ = fs::remove_dir_all(&home);
        fs::create_dir(&home).expect("it can be made");
        let copy = Repo::copy_of(&fixture.repo, &home.join("repo"));
        let records = Records { store: open(copy.path()), newest };
        let (family, (key, value)) = change(&records);
        let before = records.store.get(family, &key).expect("it can be read");
        assert!(before.as_ref() != Some(&value), "{case}: nothing was changed");
        let mut batch = Batch::new();
        batch.put(family, key, value);
        records.store.write(&batch, Durability::Synced).expect("it can be written");
        drop(records);
        matrix::one(&fixture, &copy, must_be_found, case);
    }
}
