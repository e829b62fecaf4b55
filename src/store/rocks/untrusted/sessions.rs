//! Whether two tables of a store could pass for one in the engine's cache of blocks.
//!
//! The cache knows a block by the session in which its table was written, the table's
//! number in it, and its place; not by its kind. A table says the first two itself. The
//! bits of a session's number are put in reverse order and joined with the place by
//! exclusive or: so two sessions must differ there in bits above those of any place.
//!
//! Source: RocksDB, `cache/cache_key.cc` and `table/unique_id.cc`.
//!
//! Imports: nothing of ours.

use std::collections::{BTreeMap, BTreeSet};

use super::ForgedFile;
use super::block::Malformed;

/// Digits of a session's name, and how many of the last ones count alone.
const SESSION_DIGITS: usize = 20;
const LOWER_DIGITS: usize = 12;
/// Bits of a place that a block's key has not.
const PLACE_SHIFT: u32 = 2;

/// Where a table says that it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) store: Option<Vec<u8>>,
    pub(super) session: Option<Vec<u8>>,
    pub(super) number: Option<u64>,
    /// Bytes of the table.
    pub(super) bytes: u64,
}

impl Origin {
    /// The bits by which the cache knows the session.
    pub(super) fn bits(&self) -> Result<u64, Malformed> {
        let missing = Malformed("where it comes from is not told");
        let session = self.session.as_deref().ok_or(missing)?;
        if self.store.is_none() || self.number.is_none() || session.len() != SESSION_DIGITS {
            return Err(missing);
        }
        let mut parts = [0_u64; 2];
        for (index, digit) in session.iter().enumerate() {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'A'..=b'Z' => digit - b'A' + 10,
                _ => return Err(missing),
            };
            let part = usize::from(index >= SESSION_DIGITS - LOWER_DIGITS);
            if let Some(part) = parts.get_mut(part) {
                *part = part.wrapping_mul(36).wrapping_add(u64::from(value));
            }
        }
        let [upper, lower] = parts;
        Ok(((lower & (u64::MAX >> 2)) | (upper << 62)).reverse_bits())
    }
}

/// The tables of a store by the bits of their sessions.
#[derive(Default)]
pub(super) struct Sessions {
    tables: BTreeMap<u64, Vec<(String, Origin)>>,
    largest: u64,
}

impl Sessions {
    /// Adds a table, if it is one.
    pub(super) fn add(&mut self, name: &str, origin: Option<(u64, Origin)>) {
        let Some((bits, origin)) = origin else { return };
        self.largest = self.largest.max(origin.bytes);
        self.tables.entry(bits).or_default().push((name.to_owned(), origin));
    }

    /// The tables of which blocks could be taken for those of others.
    pub(super) fn conflicts(self) -> impl Iterator<Item = ForgedFile> {
        // Above the bits that a place in any table can have.
        let spread = (self.largest >> PLACE_SHIFT).saturating_add(1).next_power_of_two();
        let mut before = 0;
        self.tables.into_iter().filter_map(move |(bits, tables)| {
            let is_near = (bits ^ before) < spread;
            before = bits;
            let (first, rest) = tables.split_first()?;
            let mut numbers = BTreeSet::from([first.1.number]);
            let mut is_another = |(_, origin): &(String, Origin)| {
                let is_one = (&origin.store, &origin.session) == (&first.1.store, &first.1.session);
                is_one && numbers.insert(origin.number)
            };
            let are_different = rest.iter().all(&mut is_another);
            (is_near || !are_different).then(|| ForgedFile {
                file: first.0.clone(),
                detail: "it is not what this program writes: another one says that it is the same"
                    .to_owned(),
            })
        })
    }
}
