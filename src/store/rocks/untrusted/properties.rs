//! What a table says of itself.
//!
//! Source: RocksDB, `table/table_properties.cc`, `table/sst_file_writer.cc` and
//! `table/block_based/block_based_table_factory.cc`.
//!
//! Imports: nothing of ours.

use super::NUMBER_MAX;
use super::block::{Malformed, number};
use super::sessions::Origin;

/// Numbers and texts by which the engine reads nothing.
const HARMLESS: [&[u8]; 31] = [
    b"block.based.table.decoupled.partitioned.filters",
    b"block.based.table.prefix.filtering",
    b"block.based.table.whole.key.filtering",
    b"column.family.id",
    b"column.family.name",
    b"compression_options",
    b"creating.host.identity",
    b"creation.time",
    b"data.block.restart.interval",
    b"data.size",
    b"file.creation.time",
    b"filter.policy",
    b"filter.size",
    b"fixed.key.length",
    b"format.version",
    b"index.block.restart.interval",
    b"index.partitions",
    b"index.size",
    b"key.largest.seqno",
    b"key.smallest.seqno",
    b"newest.key.time",
    b"num.data.blocks",
    b"num.data.blocks.compression.bypassed",
    b"num.data.blocks.compression.rejected",
    b"num.filter_entries",
    b"num.uniform.blocks",
    b"oldest.key.time",
    b"property.collectors",
    b"tail.start.offset",
    b"top-level.index.size",
    b"user.defined.timestamps.persisted",
];

/// Bytes of a text at most: the engine keeps them of every table.
const TEXT_BYTES_MAX: usize = 1024;

/// What is in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    entries: u64,
    deletions: u64,
    key_bytes: u64,
    value_bytes: u64,
}

impl Content {
    /// Counts an entry, whose key has its trailer.
    pub(super) const fn add(&mut self, key: &[u8], value: &[u8], is_deletion: bool) {
        self.entries += 1;
        self.deletions += is_deletion as u64;
        self.key_bytes += key.len() as u64;
        self.value_bytes += value.len() as u64;
    }
}

/// What a table says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Properties {
    /// Whether its index leads to partitions.
    pub(super) is_two_level: bool,
    /// Whether keys in the index have no trailer.
    pub(super) has_user_keys: bool,
    /// Where it comes from.
    pub(super) origin: Origin,
    content: Content,
    has_kind: bool,
    has_differences: bool,
}

impl Properties {
    /// Takes note of one.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        let name = name.strip_prefix(b"rocksdb.").unwrap_or_default();
        let is_right = match name {
            _ if value.len() > TEXT_BYTES_MAX => false,
            b"block.based.table.index.type" => {
                self.has_kind = true;
                self.is_two_level = value == [2, 0, 0, 0];
                self.is_two_level || value == [0, 0, 0, 0]
            }
            b"index.key.is.user.key" => {
                self.has_user_keys = value == [1];
                self.has_user_keys || value == [0]
            }
            b"index.value.is.delta.encoded" => {
                self.has_differences = true;
                value == [1]
            }
            b"comparator" => value == b"leveldb.BytewiseComparator",
            b"compression" => value == b"NoCompression",
            b"merge.operator" | b"prefix.extractor.name" => value == b"nullptr",
            b"external_sst_file.version" => value.len() == 4,
            b"external_sst_file.global_seqno" => value.len() == 8,
            b"merge.operands" | b"num.range-deletions" => value == [0],
            b"num.entries" => set(&mut self.content.entries, value)?,
            b"deleted.keys" => set(&mut self.content.deletions, value)?,
            b"raw.key.size" => set(&mut self.content.key_bytes, value)?,
            b"raw.value.size" => set(&mut self.content.value_bytes, value)?,
            b"creating.db.identity" => self.origin.store.replace(value.to_vec()).is_none(),
            b"creating.session.identity" => self.origin.session.replace(value.to_vec()).is_none(),
            b"original.file.number" => {
                let mut number = 0;
                let is_whole = set(&mut number, value)?;
                let is_first = self.origin.number.replace(number).is_none();
                is_whole && is_first && number < NUMBER_MAX
            }
            _ => HARMLESS.contains(&name),
        };
        if is_right { Ok(()) } else { Err(Malformed("a property is of another kind of table")) }
    }

    /// Whether it says how it is to be read, and what is in it is what it says.
    pub(super) fn check(&self, content: &Content) -> Result<(), Malformed> {
        if !self.has_kind || !self.has_differences {
            return Err(Malformed("a property that tells how to read it is missing"));
        }
        if self.content != *content || self.origin.number == Some(0) {
            return Err(Malformed("it is said to hold what it does not"));
        }
        Ok(())
    }
}

/// Takes a number that is all there is.
fn set(place: &mut u64, mut value: &[u8]) -> Result<bool, Malformed> {
    *place = number(&mut value)?;
    Ok(value.is_empty())
}
