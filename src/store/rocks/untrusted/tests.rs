//! Which files are let through: all that this program writes, and none that leads the
//! engine anywhere else. What the engine makes of those that are is for
//! `crate::fuzzing` to see.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::{ForgedFile, forged_files};
use crate::store::rocks::RocksStore;
use crate::store::rocks::salvage::is_table;
use crate::store::{Batch, Durability, Family, Store};

/// Bytes of the end of a table.
const FOOTER_BYTES: usize = 53;

struct Scene {
    _scratch: tempfile::TempDir,
    path: PathBuf,
}

impl Scene {
    /// A store that was written by batches and by loads, with deletions, and rewritten in
    /// part.
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let (path, tmp) = (scratch.path().join("db"), scratch.path().join("tmp"));
        fs::create_dir(&tmp).unwrap();
        let store = RocksStore::create(&path, &tmp).unwrap();
        for (family, from) in [(Family::Data, 0), (Family::Trees, 0), (Family::Data, 3000)] {
            let mut load = store.bulk_load(family).unwrap();
            for number in from..from + 3000_u64 {
                load.put(&number.to_be_bytes(), &vec![number as u8; number as usize % 2000])
                    .unwrap();
            }
            load.finish().unwrap();
        }
        for round in 0..3_u8 {
            let mut batch = Batch::new();
            for number in 0..3000_u16 {
                let key = crate::base::hash::sha256(&number.to_be_bytes());
                batch.put(Family::Index, key, vec![round; 12]);
                if number % 10 == 0 {
                    batch.put(Family::Snapshots, key, vec![round; 200]);
                    batch.delete(Family::Data, u64::from(number).to_be_bytes());
                }
                if number % 7 == u16::from(round) {
                    batch.delete(Family::Index, key);
                }
            }
            store.write(&batch, Durability::Synced).unwrap();
            store.flush().unwrap();
        }
        let (first, last) = (0_u64.to_be_bytes(), 2999_u64.to_be_bytes());
        store.reclaim(Family::Data, &first, &last).unwrap();
        // What is in the log alone.
        let mut batch = Batch::new();
        batch.put(Family::Meta, b"key".to_vec(), vec![7; 100_000]);
        batch.delete(Family::Index, b"other".to_vec());
        store.write(&batch, Durability::Synced).unwrap();
        Self { _scratch: scratch, path }
    }

    fn tables(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.path).unwrap();
        entries.map(|entry| entry.unwrap().path()).filter(|path| is_table(path)).collect()
    }

    /// The blocks of a table: the first byte and the bytes of each, the directory first.
    fn blocks(&self, table: &Path) -> Vec<(usize, usize)> {
        let alone = tempfile::tempdir().unwrap();
        fs::copy(table, alone.path().join("1.sst")).unwrap();
        let mut blocks = Vec::new();
        let found = forged_files(alone.path(), &mut |at, bytes| {
            blocks.push((at as usize, bytes as usize));
            ControlFlow::Continue(())
        });
        assert_eq!(found.unwrap(), []);
        blocks
    }
}

/// What is said of a table of some bytes.
fn said_of(bytes: &[u8]) -> Option<String> {
    let alone = tempfile::tempdir().unwrap();
    fs::write(alone.path().join("1.sst"), bytes).unwrap();
    let found = forged_files(alone.path(), &mut |_, _| ControlFlow::Continue(())).unwrap();
    found.into_iter().next().map(|ForgedFile { detail, .. }| detail)
}

#[test]
fn every_file_that_this_program_writes_is_let_through_and_tables_are_read_whole() {
    let scene = Scene::new();
    let tables = scene.tables();
    assert!(tables.len() >= 5, "{tables:?}");
    let (mut partitions, mut filters) = (0, 0);
    for table in &tables {
        let length = fs::metadata(table).unwrap().len() as usize;
        let mut blocks = scene.blocks(table);
        blocks.sort_unstable();
        // They fill it: nothing is left out.
        let mut end = 0;
        for (at, bytes) in &blocks {
            assert_eq!(*at, end, "{table:?}: {blocks:?}");
            end = at + bytes + 5;
        }
        assert_eq!(end, length - FOOTER_BYTES);
        let text = fs::read(table).unwrap();
        let says = |name: &[u8]| text.windows(name.len()).any(|window| window == name);
        partitions += usize::from(says(b"partitions"));
        filters += usize::from(says(b"fullfilter"));
    }
    assert!(partitions > 0 && filters > 0, "{partitions} with partitions, {filters} with filters");
    let mut met = 0;
    let all = forged_files(&scene.path, &mut |_, _| {
        met += 1;
        ControlFlow::Continue(())
    });
    assert!(all.unwrap().is_empty() && met > 500, "{met}");
}

/// Each number of a block by which the engine goes somewhere, one that leads too far in its
/// place.
#[test]
fn a_table_that_leads_out_of_a_block_or_out_of_the_file_is_refused() {
    let scene = Scene::new();
    for table in scene.tables() {
        let honest = fs::read(&table).unwrap();
        let blocks = scene.blocks(&table);
        let [(directory, _), .., (data, data_bytes)] = blocks.as_slice() else {
            panic!("{blocks:?}")
        };
        let changed = |at: usize, with: &[u8]| {
            let mut bytes = honest.clone();
            bytes[at..at + with.len()].copy_from_slice(with);
            said_of(&bytes)
        };
        // What is no data comes first.
        let some = blocks.iter().take(6).chain(blocks.iter().step_by(1 + blocks.len() / 9));
        for (at, length) in some {
            // The last restart and the count of them, which a filter has none of.
            let end = at + length;
            let is_filter = honest[end - 5..end].starts_with(&[0xff, 0]);
            let words: &[u32] = &[u32::MAX, 1 << 28, 1 << 31, *length as u32, *length as u32 - 1];
            for word in words {
                let what = changed(end - 8, &word.to_le_bytes());
                assert!(is_filter || what.is_some(), "{table:?}, {at}: restart {word}");
                let what = changed(end - 4, &word.to_le_bytes());
                assert!(what.is_some(), "{table:?}, {at}: {word} restarts");
            }
            assert!(changed(end, &[1]).unwrap().contains("compressed"), "{at}");
        }
        // What an entry says of its key and its value.
        for with in [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0, 0xff, 0xff, 3], &[1], &[0, 4, 0]] {
            assert!(changed(*data, with).is_some(), "{table:?}: {with:?} in {data_bytes} bytes");
            assert!(changed(*directory, with).is_some(), "{table:?}: {with:?}");
        }
        let footer = honest.len() - FOOTER_BYTES;
        for (at, with) in [(0, 0), (1, 0), (13, 0), (16, 0xff), (30, 1), (41, 5), (41, 7)] {
            assert!(changed(footer + at, &[with]).is_some(), "{table:?}: {at} of the footer");
        }
        // The engine opens none of these.
        for length in [0, 1, FOOTER_BYTES - 1, FOOTER_BYTES, honest.len() - 1] {
            assert_eq!(said_of(&honest[..length]), None, "{table:?}: {length} bytes");
        }
        assert!(said_of(&honest[footer..]).is_some(), "{table:?}: a footer alone");
    }
}

/// Whatever an index says, the same blocks are read or the table is refused.
#[test]
fn an_index_leads_to_each_block_of_data_once_or_is_refused() {
    let scene = Scene::new();
    let alone = tempfile::tempdir().unwrap();
    let place = alone.path().join("1.sst");
    let (mut refused, mut passed) = (0, 0);
    for table in scene.tables() {
        let honest = fs::read(&table).unwrap();
        let blocks = scene.blocks(&table);
        let says_filter = honest.windows(10).any(|window| window == b"fullfilter");
        // The directory, the filter if there is one, and the properties come before it.
        let (index, length) = blocks[2 + usize::from(says_filter)];
        for at in (index..index + length).step_by(1 + length / 40) {
            for with in [0, 0x7f, 0xff] {
                let mut bytes = honest.clone();
                if std::mem::replace(&mut bytes[at], with) == with {
                    continue;
                }
                fs::write(&place, &bytes).unwrap();
                let mut met = Vec::new();
                let found = forged_files(alone.path(), &mut |at, bytes| {
                    met.push((at as usize, bytes as usize));
                    ControlFlow::Continue(())
                });
                match found.unwrap().as_slice() {
                    [] => {
                        passed += 1;
                        assert_eq!(met, blocks, "{table:?}: {with} at {at}");
                    }
                    _ => refused += 1,
                }
            }
        }
    }
    // A key there may be any that is not too long.
    assert!(refused > 50 && passed > 0, "{refused} refused, {passed} not");
}

#[test]
fn a_table_of_another_kind_is_refused() {
    let scene = Scene::new();
    for table in scene.tables() {
        let honest = fs::read(&table).unwrap();
        for (word, other) in [
            (&b"leveldb.BytewiseComparator"[..], &b"leveldb.BytewiseComparatos"[..]),
            (b"NoCompression", b"LZ4Compressio"),
            (b"rocksdb.properties", b"rocksdb.range_dels"),
            (b"num.range-deletions", b"num.range-deletionz"),
        ] {
            let Some(at) = honest.windows(word.len()).position(|window| window == word) else {
                continue;
            };
            let mut bytes = honest.clone();
            bytes[at..at + word.len()].copy_from_slice(other);
            assert!(said_of(&bytes).is_some(), "{table:?}: {other:?}");
        }
    }
    fs::write(scene.path.join("000001.blob"), b"x").unwrap();
    let found = forged_files(&scene.path, &mut |_, _| ControlFlow::Continue(())).unwrap();
    assert!(matches!(found.as_slice(), [fault] if fault.file == "000001.blob"), "{found:?}");
}

#[test]
fn what_is_in_the_place_of_a_table_holds_nobody_up_and_the_reading_can_be_ended() {
    let scratch = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/zero", scratch.path().join("1.sst")).unwrap();
    fs::create_dir(scratch.path().join("2.ldb")).unwrap();
    let found = forged_files(scratch.path(), &mut |_, _| ControlFlow::Continue(())).unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    let scene = Scene::new();
    let mut met = 0;
    let found = forged_files(&scene.path, &mut |_, _| {
        met += 1;
        ControlFlow::Break(())
    });
    assert_eq!((found.unwrap(), met), (Vec::new(), 1));
}

/// A file of records, with checksums that the engine would compute.
fn records(records: &[&[u8]]) -> Vec<u8> {
    let mut file = Vec::new();
    for record in records {
        file.extend_from_slice(&[0; 4]);
        file.extend_from_slice(&u16::try_from(record.len()).unwrap().to_le_bytes());
        file.push(1);
        file.extend_from_slice(record);
    }
    file
}

fn said_of_file(name: &str, bytes: &[u8]) -> Option<String> {
    let alone = tempfile::tempdir().unwrap();
    fs::write(alone.path().join(name), bytes).unwrap();
    let found = forged_files(alone.path(), &mut |_, _| ControlFlow::Continue(())).unwrap();
    found.into_iter().next().map(|ForgedFile { detail, .. }| detail)
}

#[test]
fn a_manifest_that_says_what_the_engine_would_follow_out_of_its_memory_is_refused() {
    let table = |level: &[u8], fields: &[u8]| {
        let key = [&[9][..], b"k", &[1, 0, 0, 0, 0, 0, 0, 0]].concat();
        [&[103][..], level, &[5, 60], &key, &key, &[0, 0], fields, &[1]].concat()
    };
    let honest: [&[u8]; 5] = [
        &table(&[6], &[13, 1, 1]),
        &[&[1, 26][..], b"leveldb.BytewiseComparator"].concat(),
        &[200, 1, 1, 201, 1, 4, b'd', b'a', b't', b'a'],
        &[200, 1, 1, 6, 0, 5],
        &[9, 0, 3, 77, 203, 1, 7],
    ];
    assert_eq!(said_of_file("MANIFEST-000001", &records(&honest)), None);
    let between = |first: u8, last: u8, kind: u8| {
        let key = |letter: u8| [9, letter, kind, 0, 0, 0, 0, 0, 0, 0];
        [&[103, 0, 5, 60][..], &key(first), &key(last), &[0, 0, 1]].concat()
    };
    let forged: [(&str, Vec<u8>); 17] = [
        ("a table that ends before it begins", between(b'z', b'a', 1)),
        ("keys of another kind", between(b'a', b'b', 15)),
        ("a log that is long gone", table(&[0], &[3, 8, 255, 0, 0, 0, 0, 0, 0, 0])),
        ("a log beyond all", vec![10, 0xff, 0x7f, 3, 77]),
        ("a family of another name", vec![200, 1, 5, 201, 1, 1, b'x']),
        (
            "a family of the first name",
            vec![200, 1, 5, 201, 1, 7, 100, 101, 102, 97, 117, 108, 116],
        ),
        ("a level of -1", table(&[0xff, 0xff, 0xff, 0xff, 0x0f], &[])),
        ("a level too high", table(&[7], &[])),
        ("another path", table(&[0], &[65, 1, 3])),
        ("a deletion in a level of -1", vec![6, 0xff, 0xff, 0xff, 0xff, 0x0f, 5]),
        ("the first family dropped", vec![202, 1]),
        ("a family dropped", vec![200, 1, 1, 202, 1]),
        ("a group without end", vec![0xac, 2, 0xff, 0xff, 0xff, 0x7f]),
        ("a family of the last number", vec![203, 1, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("the first family made again", vec![200, 1, 0, 201, 1, 1, b'x']),
        ("values that lie apart", vec![0x90, 3, 1, 1, 1]),
        ("keys without a trailer", vec![103, 0, 5, 60, 1, b'k', 1, b'k', 0, 0, 1]),
    ];
    for (what, edit) in forged {
        let file = records(&[honest[0], honest[4], &edit]);
        assert!(said_of_file("MANIFEST-000001", &file).is_some(), "{what}");
    }
    let twice = records(&[honest[2], honest[2]]);
    assert!(said_of_file("MANIFEST-000001", &twice).is_some(), "one family twice");
    // A file may end anywhere.
    let whole = records(&honest);
    for length in 0..whole.len() {
        assert_eq!(said_of_file("MANIFEST-000001", &whole[..length]), None, "{length}");
    }
    assert!(said_of_file("CURRENT", &[b'x'; 5000]).is_some());
    for name in ["18446744073709551615.dbtmp", "OPTIONS-18446744073709551615", "99999999999999999"]
    {
        assert!(said_of_file(name, b"").is_some(), "{name}");
    }
    assert_eq!(said_of_file("LOG.old.1795317762246776", b""), None);
}

#[test]
fn a_log_of_changes_that_this_program_never_makes_is_refused() {
    let batch = |changes: &[u8]| [&[0; 12][..], changes].concat();
    let honest: [&[u8]; 3] = [
        &batch(&[]),
        &batch(&[1, 1, b'k', 2, b'v', b'v', 5, 3, 1, b'k', 0]),
        &batch(&[0, 1, b'k', 4, 3, 1, b'k']),
    ];
    assert_eq!(said_of_file("000001.log", &records(&honest)), None);
    let forged: [(&str, Vec<u8>); 5] = [
        ("columns of a value", batch(&[23, 1, b'k', 1, 0])),
        ("a range that is deleted", batch(&[15, 1, b'a', 1, b'b'])),
        ("an end of what never began", batch(&[10, 1, b'x'])),
        ("a value that is cut off", batch(&[1, 1, b'k', 0x7f, b'v'])),
        ("no header", vec![0; 11]),
    ];
    for (what, change) in &forged {
        assert!(said_of_file("000001.log", &records(&[honest[1], change])).is_some(), "{what}");
    }
    for kind in [3, 4, 5, 9, 10, 130] {
        let mut file = records(&honest);
        file[6] = kind;
        assert!(said_of_file("000001.log", &file).is_some(), "a record of kind {kind}");
    }
}

/// The engine's cache knows a block by where its table says that it comes from.
#[test]
fn two_tables_that_pass_for_one_are_refused() {
    let scene = Scene::new();
    let table = scene.tables().remove(0);
    fs::copy(&table, scene.path.join("999999.sst")).unwrap();
    let found = forged_files(&scene.path, &mut |_, _| ControlFlow::Continue(())).unwrap();
    assert!(matches!(found.as_slice(), [one] if one.detail.contains("the same")), "{found:?}");
}

#[test]
fn a_table_that_lies_of_what_is_in_it_is_refused() {
    let scene = Scene::new();
    for table in scene.tables() {
        let honest = fs::read(&table).unwrap();
        // Behind the name.
        for name in [&b"num.entries"[..], b"key.size"] {
            let Some(at) = honest.windows(name.len()).rposition(|window| window == name) else {
                continue;
            };
            let mut bytes = honest.clone();
            bytes[at + name.len()] ^= 1;
            assert!(said_of(&bytes).is_some(), "{table:?}: {name:?}");
        }
    }
}
