//! What a table says of itself.
//!
//! Source: RocksDB, `table/table_properties.cc`, `table/sst_file_writer.cc` and
//! `table/block_based/block_based_table_factory.cc`.
//!
//! Imports: nothing of ours.

use super::block::Malformed;

/// Numbers and texts by which the engine reads nothing.
const HARMLESS: [&[u8]; 40] = [
    b"block.based.table.decoupled.partitioned.filters",
    b"block.based.table.prefix.filtering",
    b"block.based.table.whole.key.filtering",
    b"column.family.id",
    b"column.family.name",
    b"compression_options",
    b"creating.db.identity",
    b"creating.host.identity",
    b"creating.session.identity",
    b"creation.time",
    b"data.block.restart.interval",
    b"data.size",
    b"deleted.keys",
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
    b"merge.operands",
    b"newest.key.time",
    b"num.data.blocks",
    b"num.data.blocks.compression.bypassed",
    b"num.data.blocks.compression.rejected",
    b"num.entries",
    b"num.filter_entries",
    b"num.range-deletions",
    b"num.uniform.blocks",
    b"oldest.key.time",
    b"original.file.number",
    b"property.collectors",
    b"raw.key.size",
    b"raw.value.size",
    b"tail.start.offset",
    b"top-level.index.size",
    b"user.defined.timestamps.persisted",
];

/// How a table is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Properties {
    /// Whether its index leads to partitions.
    pub(super) is_two_level: bool,
    /// Whether keys in the index have no trailer.
    pub(super) has_user_keys: bool,
    has_kind: bool,
    has_differences: bool,
}

impl Properties {
    /// Takes note of one.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        let name = name.strip_prefix(b"rocksdb.").unwrap_or_default();
        let is_right = match name {
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
            _ => HARMLESS.contains(&name),
        };
        if is_right { Ok(()) } else { Err(Malformed("a property is of another kind of table")) }
    }

    /// Whether those are there without which a table is read in another way.
    pub(super) const fn check(self) -> Result<(), Malformed> {
        if self.has_kind && self.has_differences {
            return Ok(());
        }
        Err(Malformed("a property that tells how to read it is missing"))
    }
}
