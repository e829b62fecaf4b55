//! Reading a value whose block is damaged elsewhere.
//!
//! The engine trusts a block that it does not verify: where an entry begins is told by
//! numbers in the block, and a wrong one leads out of it. So it verifies all, and what it
//! refuses is looked for here, from the beginning of the table on, by code that believes
//! nothing. Who asks checks each value against its id.
//!
//! Imports: the store's own types.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use crate::store::Family;
use crate::store::rocks::RocksStore;
use crate::store::rocks::salvage::visit_blocks;

/// Bytes that one handle reads so at most, unless it is there to save what can be saved: a
/// store in which every block is damaged must not cost the square of its size. Some ten
/// seconds of reading.
const RESCUE_BYTES_MAX: u64 = 16 << 30;
/// Bytes that the search for one value counts at least.
const SEARCH_BYTES: u64 = 1 << 20;
/// Bytes that are kept of what lies behind the value: a block that is damaged holds many.
const AHEAD_BYTES: usize = 16 << 20;
/// What keeping a value takes beside its bytes.
const OVERHEAD_BYTES: usize = 96;

/// What was read without the engine last.
#[derive(Default)]
pub(super) struct Rescue {
    file: PathBuf,
    /// The keys of the file that are known: those from one on, up to another one or, if
    /// there is none, as far as the file makes sense.
    first: Vec<u8>,
    last: Option<Vec<u8>>,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Bytes that were read in all.
    bytes: u64,
    /// Whether nothing is to be read so.
    is_off: bool,
}

impl Rescue {
    fn knows(&self, file: &Path, key: &[u8]) -> bool {
        let is_before_end = self.last.as_ref().is_none_or(|last| key <= last.as_slice());
        self.file == file && self.first.as_slice() <= key && is_before_end
    }

    /// Reads a file up to a key, and keeps its value and some behind it.
    fn read(&mut self, file: PathBuf, key: &[u8]) {
        let (mut bytes, mut kept) = (SEARCH_BYTES, 0);
        let (mut last, mut values) = (None, BTreeMap::new());
        visit_blocks(&file, &mut |here, value| {
            bytes += value.len() as u64;
            if here < key {
                return ControlFlow::Continue(());
            }
            values.insert(here.to_vec(), value.to_vec());
            kept += here.len() + value.len() + OVERHEAD_BYTES;
            if kept < AHEAD_BYTES {
                return ControlFlow::Continue(());
            }
            last = Some(here.to_vec());
            ControlFlow::Break(())
        });
        let bytes = self.bytes.saturating_add(bytes);
        *self = Self { file, first: key.to_vec(), last, values, bytes, is_off: self.is_off };
    }
}

impl RocksStore {
    /// Visits the value of a key of a family that is written by bulk loads alone, as far
    /// as it lies before what makes no sense. Returns whether it was found. Costs the
    /// reading of a file, for many values that follow one another not much more.
    pub(super) fn rescue(&self, family: Family, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> bool {
        let Ok(files) = self.file_ranges(family, key, key) else { return false };
        let files = files.keys().map(|name| self.db.path().join(name.trim_start_matches('/')));
        let Some(value) = self.rescued(files, key) else { return false };
        visit(&value);
        true
    }

    fn rescued(&self, files: impl Iterator<Item = PathBuf>, key: &[u8]) -> Option<Vec<u8>> {
        let mut rescue = self.rescue.lock().unwrap_or_else(PoisonError::into_inner);
        for file in files {
            if !rescue.knows(&file, key) {
                let is_spent = rescue.bytes > RESCUE_BYTES_MAX && !self.is_remains;
                if rescue.is_off || is_spent {
                    return None;
                }
                rescue.read(file, key);
            }
            if let Some(value) = rescue.values.get(key) {
                return Some(value.clone());
            }
        }
        None
    }

    /// Says whether values are to be read without the engine, where it refuses them.
    pub fn set_rescue(&self, is_on: bool) {
        let mut rescue = self.rescue.lock().unwrap_or_else(PoisonError::into_inner);
        *rescue = Rescue { is_off: !is_on, bytes: rescue.bytes, ..Rescue::default() };
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::rocks::salvage::{is_table, visit_entries};
    use crate::store::{Batch, Durability, Store, StoreError};

    fn empty() -> (tempfile::TempDir, PathBuf, RocksStore) {
        let scratch = tempfile::tempdir().unwrap();
        let (path, tmp) = (scratch.path().join("db"), scratch.path().join("tmp"));
        fs::create_dir(&tmp).unwrap();
        let store = RocksStore::create(&path, &tmp).unwrap();
        (scratch, path, store)
    }

    /// Every byte of a table is changed in turn, where blocks say where their entries begin
    /// too: the engine would follow these numbers out of its memory.
    #[test]
    fn whatever_byte_of_a_table_is_changed_its_values_are_right_or_refused() {
        let (_scratch, path, store) = empty();
        let mut load = store.bulk_load(Family::Data).unwrap();
        let value = |number: u64| vec![number as u8; 40];
        for number in 0..40_u64 {
            load.put(&number.to_be_bytes(), &value(number)).unwrap();
        }
        load.finish().unwrap();
        drop(store);
        let mut names = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
        let table = names.find(|path| is_table(path)).unwrap();
        let honest = fs::read(&table).unwrap();
        let (mut rescued, mut refused) = (0, 0);
        for place in (0..honest.len()).step_by(13) {
            let mut changed = honest.clone();
            changed[place] ^= 0x55;
            fs::write(&table, &changed).unwrap();
            let Ok(store) = RocksStore::open_reader(&path) else { continue };
            for number in [0, 20, 39_u64] {
                match store.get(Family::Data, &number.to_be_bytes()) {
                    // A value that was changed itself is told by its id.
                    Ok(found) if found == Some(value(number)) => rescued += 1,
                    Ok(_) => {}
                    Err(StoreError::Damaged { .. }) => refused += 1,
                    Err(error) => panic!("{place}: {error}"),
                }
            }
        }
        assert!(rescued > 0 && refused > 0, "{rescued} rescued, {refused} refused");
    }

    #[test]
    fn values_that_follow_one_another_cost_little_more_than_one() {
        let (_scratch, _, store) = empty();
        let mut load = store.bulk_load(Family::Data).unwrap();
        let value = |number: u64| vec![number as u8; 10_000];
        for number in 0..3000_u64 {
            load.put(&number.to_be_bytes(), &value(number)).unwrap();
        }
        load.finish().unwrap();
        for number in 0..3000_u64 {
            let mut found = Vec::new();
            let mut visit = |value: &[u8]| found = value.to_vec();
            assert!(store.rescue(Family::Data, &number.to_be_bytes(), &mut visit), "{number}");
            assert!(found == value(number), "{number}");
        }
        assert!(!store.rescue(Family::Data, &3000_u64.to_be_bytes(), &mut |_| {}));
        // Of 30 MB: once in part, and once whole.
        let read = store.rescue.lock().unwrap().bytes;
        assert!(read < 64 << 20, "{read}");
        store.set_rescue(false);
        assert!(!store.rescue(Family::Data, &5_u64.to_be_bytes(), &mut |_| {}));
    }

    /// What `repair` reads of the small families, whose blocks the engine is not given either
    /// once a byte of them is wrong.
    #[test]
    fn whatever_byte_of_a_small_table_is_changed_what_else_is_in_it_is_found() {
        let (_scratch, path, store) = empty();
        let key = |number: u8| [number.wrapping_mul(37); 32];
        let mut batch = Batch::new();
        for number in 0..50 {
            batch.put(Family::Snapshots, key(number), vec![number; 60]);
        }
        store.write(&batch, Durability::Synced).unwrap();
        store.flush().unwrap();
        let files = store.files_of(Family::Snapshots).unwrap();
        drop(store);
        let [(table, 50)] = files.as_slice() else { panic!("{files:?}") };
        let honest = fs::read(table).unwrap();
        let (mut whole, mut cut) = (0, 0);
        for place in (0..honest.len()).step_by(7) {
            let mut changed = honest.clone();
            changed[place] ^= 0x55;
            fs::write(table, &changed).unwrap();
            let Ok((store, _)) = RocksStore::open_remains(&path) else { continue };
            let _ = store.scan(Family::Snapshots, &[], &mut |_, _| ControlFlow::Continue(()));
            let (mut right, mut wrong) = (0, 0);
            visit_entries(table, &mut |entry| {
                let number = entry.value.and_then(|value| value.get(30)).copied();
                let is_right = number.is_some_and(|number| entry.key == key(number))
                    && entry.value == number.map(|number| vec![number; 60]).as_deref();
                if is_right {
                    right += 1
                } else {
                    wrong += 1
                }
                ControlFlow::Continue(())
            });
            // Those behind it may share what was changed of its key, up to the next whole one.
            assert!(wrong <= 15, "{place}: {wrong} of one that was changed");
            if right + wrong == 50 { whole += 1 } else { cut += 1 }
        }
        assert!(whole > 100 && cut > 0, "{whole} read to their end, {cut} not");
    }
}
