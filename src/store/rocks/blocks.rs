//! Reading a table of the engine without its index: block after block from the
//! beginning of the file, as long as they make sense.
//!
//! A table that lost its end lost its footer and its index with it, and the engine
//! opens none without them. The data blocks come first in the file, though, and
//! each says where it ends:
//!
//! ```text
//! block  = entry... restarts count (u32 le) type (u8) checksum (4 bytes)
//! entry  = shared, unshared, value bytes (varints) | rest of the key | value
//! key    = user key | u64 le: sequence number << 8 | type of the entry
//! restarts = u32 le for each entry that shares nothing with the one before
//! ```
//!
//! The first restart is 0, and no entry begins with three zeros (its key would be
//! empty), so a run of zeros ends the entries. Checksums are not verified: who asks
//! checks each value against its id.
//!
//! Source: RocksDB, `table/block_based/block_builder.cc` and `table/format.h`.
//!
//! Imports: the store's own types.

use std::io::{self, ErrorKind, Read};
use std::ops::ControlFlow;

use crate::store::VisitEntry;

/// Bytes of a value at most; more makes no sense.
const VALUE_BYTES_MAX: usize = 64 << 20;
/// Bytes of a key with its trailer at most, however little of it each entry adds.
pub(crate) const KEY_BYTES_MAX: usize = 4096;
/// Bytes behind the user key: sequence number and type.
const KEY_TRAILER_BYTES: usize = 8;
/// Entries from one whose key is whole to the next one, as the engine does it by itself.
const RESTART_INTERVAL: usize = 16;
/// The type of an entry that is a value, and not a mark of deletion.
const TYPE_VALUE: u8 = 1;
/// A block that is not compressed.
const TYPE_PLAIN: u8 = 0;
/// Bits of the count of restarts that say something else.
const COUNT_MASK: u32 = (1 << 28) - 1;

/// Visits the keys and values of a table in rising order, until `visit` breaks, the
/// file ends, or something makes no sense.
///
/// # Errors
/// Fails only if the file cannot be read; what came before was visited.
pub(crate) fn visit(file: impl Read, visit: &mut VisitEntry<'_>) -> io::Result<()> {
    visit_entries(file, &mut |entry| match entry.value {
        Some(value) => visit(entry.key, value),
        None => ControlFlow::Continue(()),
    })
}

/// An entry of a table.
pub struct Entry<'a> {
    /// The key as users know it.
    pub key: &'a [u8],
    /// Of several entries of a key in several tables the one with the largest number counts.
    pub sequence: u64,
    /// The value; none where it is no value but a mark of deletion, say.
    pub value: Option<&'a [u8]>,
}

/// The same for all entries, marks of deletion too.
///
/// # Errors
/// As [`visit`].
pub(super) fn visit_entries(
    file: impl Read,
    visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut reader = BlockReader { file, at: 0, key: Vec::new(), last: None };
    loop {
        match reader.block(visit) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// What follows in a block.
enum Item {
    Entry { shared: usize, unshared: usize, value: usize },
    Restarts,
    Nonsense,
}

struct BlockReader<R> {
    file: R,
    /// Bytes of the block that were read.
    at: u32,
    /// The key with its trailer.
    key: Vec<u8>,
    /// The user key of the entry before.
    last: Option<Vec<u8>>,
}

impl<R: Read> BlockReader<R> {
    /// Visits what is in a block. Breaks where there is no further one.
    fn block(
        &mut self,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        self.at = 0;
        self.key.clear();
        let mut restarts = Vec::new();
        for index in 0_usize.. {
            let start = self.at;
            let (shared, unshared, bytes) = match self.item()? {
                Item::Entry { shared, unshared, value } => (shared, unshared, value),
                Item::Restarts if self.ends(&restarts)? => return Ok(ControlFlow::Continue(())),
                Item::Restarts | Item::Nonsense => return Ok(ControlFlow::Break(())),
            };
            if index.is_multiple_of(RESTART_INTERVAL) {
                restarts.push(start);
            }
            if shared > self.key.len() || shared.saturating_add(unshared) > KEY_BYTES_MAX {
                return Ok(ControlFlow::Break(()));
            }
            self.key.truncate(shared);
            let rest = self.bytes(unshared)?;
            self.key.extend_from_slice(&rest);
            let value = self.bytes(bytes)?;
            let Some(length) = self.key.len().checked_sub(KEY_TRAILER_BYTES) else {
                return Ok(ControlFlow::Break(()));
            };
            let (user, trailer) = self.key.split_at(length);
            if self.last.as_deref().is_some_and(|last| user <= last) {
                return Ok(ControlFlow::Break(()));
            }
            let last = self.last.get_or_insert_default();
            last.clear();
            last.extend_from_slice(user);
            let number = trailer.try_into().map_or(0, u64::from_le_bytes);
            let is_value = trailer.first() == Some(&TYPE_VALUE);
            let value = is_value.then_some(value.as_slice());
            if visit(Entry { key: user, sequence: number >> 8, value }).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Break(()))
    }

    fn item(&mut self) -> io::Result<Item> {
        let mut numbers = [0; 3];
        for number in &mut numbers {
            let Some(decoded) = self.number()? else { return Ok(Item::Nonsense) };
            *number = decoded;
        }
        let [shared, unshared, value] = numbers;
        Ok(match () {
            () if numbers == [0; 3] => Item::Restarts,
            () if unshared == 0 || value > VALUE_BYTES_MAX => Item::Nonsense,
            () => Item::Entry { shared, unshared, value },
        })
    }

    /// Whether the rest of the block, three bytes of the first restart behind, is
    /// what it must be.
    fn ends(&mut self, restarts: &[u32]) -> io::Result<bool> {
        if self.array::<1>()? != [0] {
            return Ok(false);
        }
        for restart in restarts.iter().skip(1) {
            if u32::from_le_bytes(self.array()?) != *restart {
                return Ok(false);
            }
        }
        let count = u32::from_le_bytes(self.array()?) & COUNT_MASK;
        let [kind, ..] = self.array::<5>()?;
        Ok(usize::try_from(count) == Ok(restarts.len()) && kind == TYPE_PLAIN)
    }

    /// A varint of 32 bits; nothing if it is longer.
    fn number(&mut self) -> io::Result<Option<usize>> {
        let mut value = 0_u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(usize::try_from(value).ok());
            }
        }
        Ok(None)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        self.advance(N);
        Ok(bytes)
    }

    fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // Grows with what is there, whatever the count says.
        (&mut self.file).take(count as u64).read_to_end(&mut bytes)?;
        if bytes.len() < count {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.advance(count);
        Ok(bytes)
    }

    fn advance(&mut self, count: usize) {
        self.at = self.at.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Entries = Vec<(Vec<u8>, Vec<u8>)>;

    /// A table as the engine writes it, and what is in it.
    fn table(sizes: &[usize]) -> (Vec<u8>, Entries) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("table.sst");
        let options = crate::store::rocks::descriptors().1;
        let mut writer = rocksdb::SstFileWriter::create(&options);
        writer.open(&path).unwrap();
        let mut entries = Entries::new();
        for (number, size) in sizes.iter().enumerate() {
            let key = (number as u64 + 7).to_be_bytes();
            let value: Vec<u8> = (0..*size).map(|at| (at * 31 + number) as u8).collect();
            writer.put(key, &value).unwrap();
            entries.push((key.to_vec(), value));
        }
        writer.finish().unwrap();
        (std::fs::read(path).unwrap(), entries)
    }

    fn read(bytes: &[u8]) -> Entries {
        let mut found = Entries::new();
        visit(bytes, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_cut_table_is_read_up_to_the_cut(
            sizes in proptest::collection::vec(prop_oneof![0..60_usize, 0..9000_usize], 1..80),
            part in 0.0..1.0_f64,
        ) {
            let (bytes, entries) = table(&sizes);
            prop_assert_eq!(&read(&bytes), &entries);
            let cut = (bytes.len() as f64 * part) as usize;
            let found = read(&bytes[..cut]);
            prop_assert_eq!(&found[..], &entries[..found.len()]);
            // All whose value ends before the cut, as far as they take their bytes.
            let mut end = 0;
            let whole = entries.iter().take_while(|(_, value)| {
                // Lengths, key and the end of a block at most.
                end += value.len() + 40;
                end <= cut
            });
            prop_assert!(found.len() >= whole.count(), "{} of {}", found.len(), entries.len());
        }

        #[test]
        fn hostile_bytes_end_it_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..3000)
        ) {
            read(&bytes);
        }
    }

    /// A block of entries without its end: how much of the key before each has, the
    /// rest of its key, its value.
    fn entries(entries: &[(u8, &[u8], &[u8])]) -> Vec<u8> {
        let mut block = Vec::new();
        for (shared, rest, value) in entries {
            let (rest_bytes, value_bytes) = (rest.len() as u8, value.len() as u8);
            block.extend_from_slice(&[*shared, rest_bytes, value_bytes]);
            block.extend_from_slice(rest);
            block.extend_from_slice(value);
        }
        block
    }

    #[test]
    fn an_empty_key_that_comes_twice_ends_it() {
        // As any other: what loads them refuses a key that does not rise.
        let trailer: &[u8] = &[TYPE_VALUE, 0, 0, 0, 0, 0, 0, 0];
        let empty: (u8, &[u8], &[u8]) = (0, trailer, b"x");
        assert_eq!(read(&entries(&[empty, empty, empty])), [(Vec::new(), b"x".to_vec())]);
    }

    #[test]
    fn a_key_that_grows_from_entry_to_entry_is_bounded() {
        // Each adds 120 bytes to the key before, of which the file holds no copy: else
        // the work would be the square of the file's length.
        let rest = [TYPE_VALUE; 120];
        let mut block = Vec::new();
        for shared in (0_usize..100_000).step_by(rest.len()) {
            let low = (shared & 0x7f) as u8 | 0x80;
            let (middle, high) = ((shared >> 7 & 0x7f) as u8 | 0x80, (shared >> 14) as u8);
            block.extend_from_slice(&[low, middle, high, 120, 0]);
            block.extend_from_slice(&rest);
        }
        let found = read(&block);
        assert_eq!(found.len(), KEY_BYTES_MAX / rest.len());
    }
}
