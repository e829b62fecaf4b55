//! The records of a manifest: which tables there are.
//!
//! ```text
//! edit = field...
//! field = tag (varint) | what the tag says
//! ```
//!
//! Source: RocksDB, `db/version_edit.h` and `version_edit.cc`.
//!
//! Imports: nothing of ours.

use std::collections::BTreeSet;

use super::block::{Malformed, number, sized};
use super::user_key;

/// Levels of a family: the engine takes any number for one.
const LEVELS: u64 = 7;
/// Families that there can be: their number rises by one with each that is made.
const FAMILIES_MAX: u64 = 1000;
const NAME_BYTES_MAX: usize = 256;
/// Numbers of files and of changes that make sense.
const NUMBER_MAX: u64 = 1 << 56;
/// Fields of a new table that are numbers or short texts, and lead nowhere.
const TABLE_FIELDS: [u64; 12] = [2, 3, 5, 6, 7, 8, 9, 12, 13, 14, 15, 16];
const TABLE_FIELDS_END: u64 = 1;

const RANGE: Malformed = Malformed("a number is out of its range");

/// What the edits before said.
#[derive(Default)]
pub(super) struct Edits {
    ids: BTreeSet<u64>,
    names: BTreeSet<Vec<u8>>,
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
                // Of the log, the next file, the last change, and logs before.
                2 | 3 | 4 | 9 | 10 => _ = below(bytes, NUMBER_MAX)?,
                6 => {
                    below(bytes, LEVELS)?;
                    below(bytes, NUMBER_MAX)?;
                }
                103 => new_table(bytes)?,
                200 => family = below(bytes, FAMILIES_MAX)?,
                201 => added = Some(sized(bytes)?),
                203 => _ = below(bytes, FAMILIES_MAX)?,
                // The store's identity, and what is short or a number.
                8193 | 8200 | 8201 | 8203 => _ = text(bytes)?,
                _ => return Err(Malformed("there is a field that is never used")),
            }
        }
        let Some(name) = added else { return Ok(()) };
        let is_new = family > 0 && self.ids.insert(family) && self.names.insert(name.to_vec());
        if is_new && name.len() <= NAME_BYTES_MAX { Ok(()) } else { Err(RANGE) }
    }
}

fn new_table(bytes: &mut &[u8]) -> Result<(), Malformed> {
    below(bytes, LEVELS)?;
    below(bytes, NUMBER_MAX)?;
    below(bytes, i64::MAX as u64)?;
    for _ in ["first", "last"] {
        user_key(sized(bytes)?)?;
    }
    for _ in ["first change", "last change"] {
        number(bytes)?;
    }
    loop {
        match number(bytes)? {
            TABLE_FIELDS_END => return Ok(()),
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
