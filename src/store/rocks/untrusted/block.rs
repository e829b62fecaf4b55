//! A block of a table, read entry by entry, where every number in it is doubted.
//!
//! ```text
//! block    = entry... restarts count (u32 le)
//! entry    = shared, unshared [, value bytes] (varints) | rest of the key | value
//! restarts = u32 le for each entry at which a search may begin
//! ```
//!
//! The engine begins to read wherever a restart says, and believes the sizes of what it
//! finds. So each restart must be the beginning of an entry whose key is whole, and the
//! entries must fill what is left of the block. In an index the value has no length of its
//! own: it is a [`Handle`], after a whole key as it is, else as the difference in size to
//! the one before, behind which it lies.
//!
//! Source: RocksDB, `table/block_based/block.cc`, `block_builder.cc`, and `table/format.cc`.
//!
//! Imports: nothing of ours.

use super::table::TRAILER_BYTES;
use super::{KEY_TRAILER_BYTES, USER_KEY_BYTES_MAX};

/// Bytes of a key with its trailer at most.
const KEY_BYTES_MAX: usize = USER_KEY_BYTES_MAX + KEY_TRAILER_BYTES;
/// Entries of a block of data from one restart to the next, and in an index each is one: to go
/// back, the engine reads and keeps all from the restart before.
const RESTART_INTERVAL: usize = 16;
/// Restarts of a block at most; the other bits of their count say that it is of another
/// form.
const RESTARTS_MAX: u32 = (1 << 28) - 1;
/// Bytes of a restart.
const RESTART_BYTES: usize = 4;

/// What is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

const CUT: Malformed = Malformed("an entry is cut off");
const KEY: Malformed = Malformed("a key is not what it can be");
const NUMBER: Malformed = Malformed("a number is too large");
const RESTARTS: Malformed = Malformed("a restart is not the beginning of an entry");

/// Where a block lies in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Handle {
    /// Its first byte.
    pub(super) at: u64,
    /// Its bytes without the trailer behind it.
    pub(super) bytes: u64,
}

impl Handle {
    /// Takes a handle from the beginning of some bytes.
    pub(super) fn take(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(Self { at: number(bytes)?, bytes: number(bytes)? })
    }

    /// The same if it begins at a place.
    pub(super) fn end_if_at(self, at: u64) -> Option<u64> {
        self.end().filter(|_| self.at == at)
    }

    /// The first byte behind its trailer.
    pub(super) fn end(self) -> Option<u64> {
        self.at.checked_add(self.bytes)?.checked_add(TRAILER_BYTES)
    }

    /// Takes the handle of the block behind this one, of which only the size is told.
    fn take_next(self, bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let coded = number(bytes)?;
        let difference = (coded >> 1).cast_signed() ^ -(coded & 1).cast_signed();
        let size = self.bytes.checked_add_signed(difference);
        self.end().zip(size).map(|(at, bytes)| Self { at, bytes }).ok_or(NUMBER)
    }
}

/// How the values of a block are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    /// With their lengths.
    Sized,
    /// The same, with restarts at their distance.
    OfData,
    /// As handles, which have none.
    Handles,
}

/// An entry of a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a, 'b> {
    /// Its key, as it is written there.
    pub(super) key: &'b [u8],
    /// Its value; empty in a block of [`Values::Handles`].
    pub(super) value: &'a [u8],
    /// Where its value leads in such a block.
    pub(super) handle: Handle,
}

/// The entries of a block.
pub(super) struct Block<'a> {
    rest: &'a [u8],
    /// Bytes of entries that were read, and how many these are.
    at: usize,
    count: usize,
    restarts: &'a [u8],
    values: Values,
    key: Vec<u8>,
    handle: Handle,
}

impl<'a> Block<'a> {
    /// Begins to read a block without its trailer.
    pub(super) fn new(bytes: &'a [u8], values: Values) -> Result<Self, Malformed> {
        let (bytes, count) = bytes.split_last_chunk().ok_or(CUT)?;
        let count = u32::from_le_bytes(*count);
        let length = usize::try_from(count).ok().and_then(|count| count.checked_mul(RESTART_BYTES));
        let entries = length.and_then(|length| bytes.len().checked_sub(length));
        let entries = entries.filter(|_| (1..=RESTARTS_MAX).contains(&count));
        let (rest, restarts) = bytes.split_at(entries.ok_or(RESTARTS)?);
        let (at, count, key, handle) = (0, 0, Vec::new(), Handle::default());
        Ok(Self { rest, at, count, restarts, values, key, handle })
    }

    /// The next entry, or none behind the last one.
    pub(super) fn next(&mut self) -> Result<Option<Entry<'a, '_>>, Malformed> {
        if self.rest.is_empty() {
            return if self.restarts.is_empty() { Ok(None) } else { Err(RESTARTS) };
        }
        let before = self.rest.len();
        let is_restart = self.take_restart();
        let is_right = match self.values {
            Values::Sized => is_restart || self.count > 0,
            Values::OfData => is_restart == self.count.is_multiple_of(RESTART_INTERVAL),
            Values::Handles => is_restart,
        };
        if !is_right {
            return Err(RESTARTS);
        }
        let rest = &mut self.rest;
        let (shared, unshared) = (length(rest)?, length(rest)?);
        let bytes = if self.values == Values::Handles { 0 } else { length(rest)? };
        let is_possible = shared <= self.key.len() && unshared <= KEY_BYTES_MAX - shared;
        if !is_possible || (is_restart && shared > 0) {
            return Err(KEY);
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(take(rest, unshared)?);
        let value = take(rest, bytes)?;
        if self.values == Values::Handles {
            let is_told = shared == 0;
            self.handle =
                if is_told { Handle::take(rest)? } else { self.handle.take_next(rest)? };
        }
        self.at += before - self.rest.len();
        self.count += 1;
        Ok(Some(Entry { key: &self.key, value, handle: self.handle }))
    }

    /// Takes the next restart if it is where the reading stands.
    fn take_restart(&mut self) -> bool {
        let Some((restart, rest)) = self.restarts.split_first_chunk::<RESTART_BYTES>() else {
            return false;
        };
        let is_here = usize::try_from(u32::from_le_bytes(*restart)) == Ok(self.at);
        if is_here {
            self.restarts = rest;
        }
        is_here
    }
}

/// Takes a varint of 64 bits.
pub(super) fn number(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(CUT)?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if part > u64::MAX >> shift {
            return Err(NUMBER);
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(NUMBER)
}

/// Takes a varint of 32 bits: the engine reads no more of it.
fn length(bytes: &mut &[u8]) -> Result<usize, Malformed> {
    let length = u32::try_from(number(bytes)?).map_err(|_| NUMBER)?;
    usize::try_from(length).map_err(|_| NUMBER)
}

/// Takes bytes behind their length.
pub(super) fn sized<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let count = length(bytes)?;
    take(bytes, count)
}

/// Takes so many bytes.
pub(super) fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or(CUT)?;
    *bytes = rest;
    Ok(taken)
}
