//! The records of a log: changes that are in no table yet.
//!
//! ```text
//! batch  = sequence number (u64 le) | changes (u32 le) | change...
//! change = 0 | key, or 1 | key | value: of the first family
//!        | 4 | family (varint) | key, or 5 | family | key | value
//! ```
//!
//! Source: RocksDB, `db/write_batch.cc`.
//!
//! Imports: nothing of ours.

use super::block::{Malformed, number, sized, take};
use super::{NUMBER_MAX, USER_KEY_BYTES_MAX, VALUE_BYTES_MAX};

const HEADER_BYTES: usize = 12;

/// Reads a batch.
pub(super) fn verify(mut batch: &[u8]) -> Result<(), Malformed> {
    let bytes = &mut batch;
    let sequence = take(bytes, HEADER_BYTES)?.first_chunk().copied().map(u64::from_le_bytes);
    if sequence.is_none_or(|sequence| sequence >= NUMBER_MAX) {
        return Err(Malformed("a number is too large"));
    }
    while let Some((kind, rest)) = bytes.split_first() {
        *bytes = rest;
        let (has_family, has_value) = match kind {
            0 => (false, false),
            1 => (false, true),
            4 => (true, false),
            5 => (true, true),
            _ => return Err(Malformed("a change is of another kind")),
        };
        if has_family && u32::try_from(number(bytes)?).is_err() {
            return Err(Malformed("a number is too large"));
        }
        if sized(bytes)?.len() > USER_KEY_BYTES_MAX {
            return Err(Malformed("a key is not what it can be"));
        }
        if has_value && sized(bytes)?.len() as u64 > VALUE_BYTES_MAX {
            return Err(Malformed("a value is too large"));
        }
    }
    Ok(())
}
