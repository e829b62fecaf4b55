//! What a damaged or forged store does to those who read it.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::OnceLock;

use crate::fuzzing::decoders::directory;
use crate::fuzzing::source::Source;
use crate::store::rocks::RocksStore;
use crate::store::rocks::decoders::{KEY_BYTES_MAX, visit_blocks};
use crate::store::rocks::salvage::{is_table, sample_blocks, visit_entries};
use crate::store::rocks::untrusted::forged_files;
use crate::store::{Batch, Durability, Family, Store, StoreError};

/// Entries of the honest store of each kind, bytes of its largest value, and entries
/// that are read of any family at most: each table holds fewer.
const ENTRIES: u64 = 60;
const VALUE_BYTES: usize = 400;
const READ_MAX: usize = 100_000;
/// Places at which one input changes the store.
const CHANGES_MAX: usize = 12;
/// Bytes at the end of a table.
const FOOTER_BYTES: usize = 53;

/// A table, block after block, as what is left of a damaged store is read.
pub(super) fn blocks(input: &[u8]) {
    let found = read(input);
    // What is cut off takes nothing away from what is before it.
    let part = read(input.split_at(input.len() / 2).0);
    assert!(found.starts_with(&part), "a cut changes what is before it");
}

fn read(input: &[u8]) -> Vec<(Vec<u8>, usize)> {
    let mut found: Vec<(Vec<u8>, usize)> = Vec::new();
    let mut value_bytes = 0;
    let visited = visit_blocks(input, &mut |key, value| {
        assert!(key.len() <= KEY_BYTES_MAX, "a key without a bound");
        assert!(found.last().is_none_or(|(last, _)| last.as_slice() < key), "keys do not rise");
        value_bytes += value.len();
        found.push((key.to_vec(), value.len()));
        ControlFlow::Continue(())
    });
    assert!(visited.is_ok(), "{visited:?}");
    assert!(value_bytes <= input.len(), "more than there is");
    found
}

/// The files of a small store: each family has some entries, some of which are deleted.
fn honest() -> &'static [(String, Vec<u8>)] {
    static FILES: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| make(&directory().join("honest")).unwrap_or_default())
}

fn make(place: &Path) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let (path, tmp) = (place.join("db"), place.join("tmp"));
    let _ = fs::create_dir_all(&tmp);
    let store = RocksStore::create(&path, &tmp)?;
    let value =
        |number: u64| vec![number.to_le_bytes()[0]; VALUE_BYTES / (1 + number as usize % 9)];
    for family in [Family::Data, Family::Trees] {
        let mut load = store.bulk_load(family)?;
        for number in 0..ENTRIES {
            load.put(&number.to_be_bytes(), &value(number))?;
        }
        load.finish()?;
    }
    let mut batch = Batch::new();
    for number in 0..ENTRIES {
        for family in [Family::Index, Family::Meta, Family::Snapshots, Family::Scan] {
            batch.put(family, [number.to_le_bytes()[0]; 32], value(number));
        }
        if number % 7 == 0 {
            batch.delete(Family::Data, number.to_be_bytes());
        }
    }
    store.write(&batch, Durability::Synced)?;
    store.flush()?;
    drop(store);
    let mut files = Vec::new();
    for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_content = ["CURRENT", "MANIFEST"].iter().any(|it| name.starts_with(it));
        if is_content || is_table(&entry.path()) {
            files.push((name, fs::read(entry.path()).unwrap_or_default()));
        }
    }
    files.sort();
    Ok(files)
}

/// A store with changes in its files, read as a mount and as `repair` do. Nothing is read for
/// ever.
pub(super) fn open_store(input: &[u8]) {
    let path = directory().join("changed");
    let _ = fs::remove_dir_all(&path);
    if fs::create_dir_all(&path).is_err() {
        return;
    }
    let mut files = honest().to_vec();
    change(&mut files, &mut Source::new(input));
    for (name, bytes) in &files {
        if fs::write(path.join(name), bytes).is_err() {
            return;
        }
    }
    if let Ok(store) = RocksStore::open_reader(&path) {
        Family::ALL.into_iter().for_each(|family| look(&store, family));
    }
    if let Ok((store, tables)) = RocksStore::open_remains(&path) {
        for family in Family::ALL {
            look(&store, family);
            for (file, _) in store.files_of(family).unwrap_or_default() {
                let mut met = 0;
                visit_entries(&file, &mut |entry| {
                    met += 1;
                    assert!(entry.key.len() < KEY_BYTES_MAX && met < READ_MAX, "without an end");
                    ControlFlow::Continue(())
                });
            }
        }
        tables.iter().for_each(|table| assert!(sample_blocks(&table.path).len() <= 16));
    }
}

/// A store of somebody who can make checksums right: what is let through as no forgery is
/// read by the engine without leaving its memory.
pub(super) fn open_forged_store(input: &[u8]) {
    let path = directory().join("forged");
    let _ = fs::remove_dir_all(&path);
    if fs::create_dir_all(&path).is_err() {
        return;
    }
    let mut files = honest().to_vec();
    forge(&mut files, &mut Source::new(input));
    for (name, bytes) in &mut files {
        if name.starts_with("MANIFEST") {
            with_checksums(bytes);
        }
        if fs::write(path.join(name.as_str()), &bytes).is_err() {
            return;
        }
    }
    let is_let = |path: &Path| {
        let found = forged_files(path, &mut |_, _| ControlFlow::Continue(()));
        found.is_ok_and(|found| found.is_empty())
    };
    if !is_let(&path) {
        return;
    }
    for (name, bytes) in &mut files {
        let file = path.join(name.as_str());
        if is_table(&file) {
            without_checksums(bytes, &blocks_of(&file));
            if fs::write(&file, &bytes).is_err() {
                return;
            }
        }
    }
    if let Ok(store) = RocksStore::open_reader(&path) {
        Family::ALL.into_iter().for_each(|family| look(&store, family));
    }
}

/// Where the blocks of a table lie that is let through, and their bytes.
fn blocks_of(table: &Path) -> Vec<(u64, u64)> {
    let alone = directory().join("alone");
    let _ = fs::remove_dir_all(&alone);
    let mut blocks = Vec::new();
    let copied = fs::create_dir_all(&alone).and_then(|()| fs::copy(table, alone.join("1.sst")));
    if copied.is_ok() {
        let _ = forged_files(&alone, &mut |at, length| {
            blocks.push((at, length));
            ControlFlow::Continue(())
        });
    }
    blocks
}

/// Changes a few bytes of one table: more would never be let through.
fn forge(files: &mut [(String, Vec<u8>)], source: &mut Source<'_>) {
    let count = files.len();
    let Some((_, bytes)) = files.get_mut(source.below(count)) else { return };
    for _ in 0..=source.below(3) {
        let place = usize::from(source.byte()) << 8 | usize::from(source.byte());
        // From the end on, where what is no content lies, or from anywhere.
        let place = if source.below(2) == 0 { place % 4096 } else { place } % bytes.len().max(1);
        let value = source.byte();
        bytes.iter_mut().rev().skip(place).take(1).for_each(|byte| *byte = value);
    }
}

/// Puts the checksums of a manifest right: CRC-32C, turned and shifted as the engine does it.
fn with_checksums(bytes: &mut [u8]) {
    for block in bytes.chunks_mut(32 << 10) {
        let mut rest = block;
        while let Some((checksum, behind)) = rest.split_first_chunk_mut::<4>() {
            let Some([low, high, _, ..]) = behind.first_chunk::<3>() else { break };
            let length = 3 + usize::from(u16::from_le_bytes([*low, *high]));
            let Some((fragment, next)) = behind.split_at_mut_checked(length) else { break };
            // The kind and what follows.
            let sum = crc32c(fragment.get(2..).unwrap_or_default());
            *checksum = sum.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
            rest = next;
        }
    }
}

fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg());
        }
    }
    !sum
}

/// Says in a table that it has no checksums, as the engine knows them too: each is what its
/// block's place makes of the base.
fn without_checksums(bytes: &mut [u8], blocks: &[(u64, u64)]) {
    let end = bytes.len().saturating_sub(FOOTER_BYTES);
    let base = bytes.get(end + 9..end + 13).and_then(|base| base.try_into().ok());
    let base = base.map_or(0, u32::from_le_bytes);
    let at_place = |at: u64| base ^ (at as u32).wrapping_add((at >> 32) as u32);
    let mut put = |at: usize, value: &[u8]| {
        if let Some(place) = bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    };
    put(end, &[0]);
    put(end + 5, &at_place(end as u64).to_le_bytes());
    for (at, length) in blocks {
        put((at + length) as usize + 1, &at_place(*at).to_le_bytes());
    }
}

/// Changes the tables at the places that the input names, and at times the manifest.
fn change(files: &mut [(String, Vec<u8>)], source: &mut Source<'_>) {
    for _ in 0..CHANGES_MAX {
        if source.is_empty() || files.is_empty() {
            return;
        }
        let chosen = source.below(files.len());
        let place = usize::from(source.byte()) << 8 | usize::from(source.byte());
        let Some((_, bytes)) = files.get_mut(chosen) else { return };
        let place = place % bytes.len().max(1);
        match source.below(8) {
            0 => bytes.truncate(place),
            1 => {
                let more = source.take(8).to_vec();
                bytes.splice(place..place, more);
            }
            2 => bytes.iter_mut().skip(place).take(16).for_each(|byte| *byte = 0),
            _ => {
                let value = source.byte();
                bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= value);
            }
        }
    }
}

fn look(store: &RocksStore, family: Family) {
    let (mut count, mut last) = (0, None::<Vec<u8>>);
    let _ = store.scan(family, &[], &mut |key, value| {
        count += 1;
        last = Some(key.to_vec());
        assert!(value.len() <= READ_MAX, "a value out of nothing");
        assert!(count < READ_MAX, "entries without an end");
        ControlFlow::Continue(())
    });
    let _ = (store.last_key(family), store.extents(family));
    for number in [0, ENTRIES / 2, u64::MAX] {
        let _ = store.get(family, &number.to_be_bytes());
    }
    let _ = last.map(|key| store.get(family, &key));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksums_of_a_manifest_are_those_of_the_engine() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        for (name, bytes) in honest().iter().filter(|(name, _)| name.starts_with("MANIFEST")) {
            let mut changed = bytes.clone();
            changed[0] ^= 1;
            with_checksums(&mut changed);
            assert!(changed == *bytes, "{name}");
        }
    }

    /// Else `open_forged_store` would show nothing: the engine has to read on.
    #[test]
    fn tables_that_say_they_have_no_checksums_are_read_by_the_engine() {
        let place = tempfile::tempdir().unwrap();
        let (mut tables, mut changed) = (0, 0);
        for (name, mut bytes) in honest().to_vec() {
            let file = place.path().join(&name);
            fs::write(&file, &bytes).unwrap();
            if is_table(&file) {
                let blocks = blocks_of(&file);
                without_checksums(&mut bytes, &blocks);
                // A value that is changed goes unseen then.
                if let Some(at) = bytes.windows(40).position(|window| window == [9; 40]) {
                    bytes[at] = 10;
                    changed += 1;
                }
                fs::write(&file, &bytes).unwrap();
                tables += 1;
            }
        }
        assert!(tables > 5 && changed > 3, "{tables} tables, {changed} changed");
        let store = RocksStore::open_reader(place.path()).unwrap();
        for family in [Family::Trees, Family::Index, Family::Meta, Family::Snapshots] {
            let mut count = 0;
            let counted = store.scan(family, &[], &mut |_, _| {
                count += 1;
                ControlFlow::Continue(())
            });
            counted.unwrap();
            assert_eq!(count, ENTRIES, "{family:?}");
        }
    }
}
