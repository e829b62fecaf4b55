//! Reading a value whose block is damaged elsewhere.
//!
//! The engine trusts a block that it does not verify: where an entry begins is told by
//! numbers in the block, and a wrong one leads out of it. So it verifies all, and what it
//! refuses is looked for here, from the beginning of the table on, by code that believes
//! nothing. Who asks checks each value against its id.
//!
//! Imports: the store's own types.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use crate::store::Family;
use crate::store::rocks::RocksStore;
use crate::store::rocks::salvage::visit_blocks;

/// Bytes that one handle reads so at most: a store in which every block is damaged must not
/// cost the square of its size. Some ten seconds of reading, for hundreds of values at least.
const RESCUE_BYTES_MAX: u64 = 16 << 30;
/// Bytes that the search for one value counts at least.
const SEARCH_BYTES: u64 = 1 << 20;

impl RocksStore {
    /// Visits the value of a key of a family that is written by bulk loads alone, as far
    /// as it lies before what makes no sense. Returns whether it was found. Costs the
    /// reading of a file.
    pub(super) fn rescue(&self, family: Family, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> bool {
        if self.rescue_bytes.load(Ordering::Relaxed) > RESCUE_BYTES_MAX {
            return false;
        }
        let Ok(files) = self.file_ranges(family, key, key) else { return false };
        files.keys().any(|name| {
            let (mut is_found, mut bytes) = (false, SEARCH_BYTES);
            let path = self.db.path().join(name.trim_start_matches('/'));
            visit_blocks(&path, &mut |here, value| {
                bytes += value.len() as u64;
                if here < key {
                    return ControlFlow::Continue(());
                }
                is_found = here == key;
                if is_found {
                    visit(value);
                }
                ControlFlow::Break(())
            });
            self.rescue_bytes.fetch_add(bytes, Ordering::Relaxed);
            is_found
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::rocks::salvage::is_table;
    use crate::store::{Store, StoreError};

    /// Every byte of a table is changed in turn, where blocks say where their entries begin
    /// too: the engine would follow these numbers out of its memory.
    #[test]
    fn whatever_byte_of_a_table_is_changed_its_values_are_right_or_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let (path, tmp) = (scratch.path().join("db"), scratch.path().join("tmp"));
        fs::create_dir(&tmp).unwrap();
        let store = RocksStore::create(&path, &tmp).unwrap();
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
}
