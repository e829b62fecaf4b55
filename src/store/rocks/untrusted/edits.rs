//! The records of a manifest: which tables there are.
//!
//! ```text
//! edit = field...
//! field = tag (varint) | what the tag says
//! ```
//!
//! Source: RocksDB, `db/version_edit.h` and `version_edit.cc`.
//!
//! Imports: the names of families.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::block::{Malformed, number, sized};
use super::{NUMBER_MAX, compare, kind_of};
use crate::store::Family;

/// Levels of a family: the engine takes any number for one.
const LEVELS: u64 = 7;
/// Families that there can be: their number rises by one with each that is made.
const FAMILIES_MAX: u64 = 1000;
const NAME_BYTES_MAX: usize = 256;
/// Fields of a new table that are numbers or short texts, and lead nowhere.
const TABLE_FIELDS: [u64; 10] = [2, 5, 6, 7, 8, 9, 12, 13, 15, 16];
/// The oldest log that is still needed.
const TABLE_FIELD_LOG: u64 = 3;
const TABLE_FIELDS_END: u64 = 1;

const RANGE: Malformed = Malformed("a number is out of its range");

/// What the edits before said.
#[derive(Default)]
pub(super) struct Edits {
    ids: BTreeSet<u64>,
    names: BTreeSet<Vec<u8>>,
    /// The largest number of a log, and the last one of a file that is to come.
    log: u64,
    next_file: Option<u64>,
}

impl Edits {
    /// Reads one.
    pub(super) fn verify(&mut self, mut edit: &[u8]) -> Result<(), Malformed> {
        let bytes = &mut edit;
        let (mut family, mut added) = (0, None);
        while !bytes.is_empty() {
            match number(bytes)? {
                1 => {
                    if sized(bytes)? != b"leveldb.BytewiseComparator" {
                        return Err(Malformed("keys have another order"));
                    }
                }
                // Of the log, of logs before, and of those that are still needed.
                2 | 9 | 10 => self.log = self.log.max(below(bytes, NUMBER_MAX)?),
                3 => self.next_file = Some(below(bytes, NUMBER_MAX)?),
                // Of the last change.
                4 => _ = below(bytes, NUMBER_MAX)?,
                6 => {
                    below(bytes, LEVELS)?;
                    below(bytes, NUMBER_MAX)?;
                }
                103 => self.log = self.log.max(new_table(bytes)?),
                200 => family = below(bytes, FAMILIES_MAX)?,
                201 => added = Some(sized(bytes)?),
                203 => _ = below(bytes, FAMILIES_MAX)?,
                // The store's identity, and what is short or a number.
                8193 | 8200 | 8201 | 8203 => _ = text(bytes)?,
                _ => return Err(Malformed("there is a field that is never used")),
            }
        }
        let Some(name) = added else { return Ok(()) };
        let is_ours = Family::ALL.iter().any(|family| family.name().as_bytes() == name);
        let is_new = family > 0 && self.ids.insert(family) && self.names.insert(name.to_vec());
        if is_ours && is_new { Ok(()) } else { Err(Malformed("there is a family too many")) }
    }

    /// Whether the numbers go together: the engine counts files on from the one that is to
    /// come, and forgets logs below the one that is needed.
    pub(super) fn finish(&self) -> Result<(), Malformed> {
        match self.next_file {
            Some(next) if self.log > next => Err(RANGE),
            _ => Ok(()),
        }
    }
}

/// Returns the oldest log that is still needed, if that is said.
fn new_table(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    below(bytes, LEVELS)?;
    below(bytes, NUMBER_MAX)?;
    below(bytes, i64::MAX as u64)?;
    let (first, last) = (sized(bytes)?, sized(bytes)?);
    for key in [first, last] {
        kind_of(key)?;
    }
    if compare(first, last)? == Ordering::Greater {
        return Err(Malformed("a table ends before it begins"));
    }
    for _ in ["first change", "last change"] {
        below(bytes, NUMBER_MAX)?;
    }
    let mut log = 0;
    loop {
        match number(bytes)? {
            TABLE_FIELDS_END => return Ok(log),
            TABLE_FIELD_LOG => {
                let value = sized(bytes)?.try_into().map_err(|_| RANGE)?;
                log = u64::from_le_bytes(value);
            }
            field if TABLE_FIELDS.contains(&field) => _ = text(bytes)?,
            _ => return Err(Malformed("a table has a field that is never used")),
        }
    }
}

fn below(bytes: &mut &[u8], bound: u64) -> Result<u64, Malformed> {
    Some(number(bytes)?).filter(|number| *number < bound).ok_or(RANGE)
}

fn text<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    Some(sized(bytes)?).filter(|text| text.len() <= NAME_BYTES_MAX).ok_or(RANGE)
}
