//! A table of the engine, in which everything is doubted.
//!
//! ```text
//! table      = data... | filter? | index partition... | index | properties | directory
//!              | footer; each but the footer is a block, and nothing is between them
//! block      = its bytes | type (u8, 0: not compressed) | checksum (u32 le)
//! footer     = checksum type 4 (u8) | 3e 00 7a 00 | checksum (u32 le) | its base (u32 le)
//!              | bytes of the directory (u32 le) | 24 zeros | version 6 (u32 le)
//!              | magic (u64 le)
//! directory, properties: names and values; of the first the values are handles
//! index      = keys and handles, of partitions or of data
//! filter     = a multiple of 64 bytes | ff 00 | probes (u8) | 0 0
//! ```
//!
//! All blocks are read to their ends, and keys rise. Blocks lie in this order without a
//! gap or an overlap: the engine's cache knows them by their places alone, whatever they
//! are. What a table says of itself is what is in it.
//!
//! Source: RocksDB, `table/format.cc`, `table/meta_blocks.cc`,
//! `table/block_based/block_based_table_builder.cc`, `block_based_table_reader.cc` and
//! `filter_policy.cc`.
//!
//! Imports: nothing of ours.

use std::cmp::Ordering;
use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;

use super::block::{Block, Handle, Malformed, Values};
use super::properties::{Content, Properties};
use super::sessions::Origin;
use super::{Advance, DELETION, FileError, VALUE_BYTES_MAX, compare, kind_of, length, user_key};

/// Bytes behind a block: its type and a checksum.
pub(super) const TRAILER_BYTES: u64 = 5;
const FOOTER_BYTES: usize = 53;
/// How a table ends, and the version of the format before that.
const MAGIC: u64 = 0x88e2_41b7_85f4_cff7;
const VERSION: u32 = 6;
/// Bytes of a directory and of properties at most: the engine keeps them of every table.
const DIRECTORY_BYTES_MAX: u64 = 4 << 10;
const PROPERTIES_BYTES_MAX: u64 = 64 << 10;
/// The type of checksums: the engine is to look at each.
const CHECKSUM: u8 = 4;
const FILTER_LINE_BYTES: usize = 64;

const ORDER: Malformed = Malformed("keys do not rise");

/// Reads a table, and returns where it comes from: nothing of what is no table, as a
/// command leaves it that is killed.
pub(super) fn verify(
    file: File,
    advance: &mut Advance<'_>,
) -> Result<Option<(u64, Origin)>, FileError> {
    let bytes = length(&file)?;
    let Some(end) = bytes.checked_sub(FOOTER_BYTES as u64) else { return Ok(None) };
    let mut table = Table { file, end, last: Vec::new(), content: Content::default(), advance };
    let Some(directory) = table.footer()? else { return Ok(None) };
    let parts = table.parts(directory)?;
    let Some((index, properties_at)) = parts.index.zip(parts.properties) else {
        return Err(FileError::Form("it has no index or no properties"));
    };
    if let Some(filter) = parts.filter {
        table.filter(filter)?;
    }
    let properties = table.properties(properties_at)?;
    let ends = table.index(index, &properties)?;
    let wrong = |Malformed(what)| FileError::Part { at: properties_at.at, what };
    properties.check(&table.content).map_err(wrong)?;
    let filter_end = parts.filter.map_or(Some(ends.data), |it| it.end_if_at(ends.data));
    let is_tiled = ends.partitions_at.is_none_or(|at| Some(at) == filter_end)
        && ends.partitions.or(filter_end) == Some(index.at)
        && index.end() == Some(properties_at.at)
        && properties_at.end() == Some(directory.at)
        && filter_end.is_some();
    if !is_tiled {
        return Err(FileError::Form("its blocks do not lie one behind the other"));
    }
    let origin = Origin { bytes, ..properties.origin };
    let bits = origin.bits().map_err(wrong)?;
    Ok(Some((bits, origin)))
}

/// The blocks that a table has once each.
#[derive(Default)]
struct Parts {
    index: Option<Handle>,
    properties: Option<Handle>,
    filter: Option<Handle>,
}

/// Where the data and the partitions of an index end, and where the latter begin.
#[derive(Default)]
struct Ends {
    data: u64,
    partitions_at: Option<u64>,
    partitions: Option<u64>,
}

struct Table<'a, 'b> {
    file: File,
    /// Where the footer begins.
    end: u64,
    /// The key before, with its trailer.
    last: Vec<u8>,
    content: Content,
    advance: &'a mut Advance<'b>,
}

impl Table<'_, '_> {
    /// Reads the footer, and returns where the directory lies: nowhere in a file that is not
    /// even called a table. The engine reads no more than this of it.
    fn footer(&self) -> Result<Option<Handle>, FileError> {
        let mut footer = [0; FOOTER_BYTES];
        self.file.read_exact_at(&mut footer, self.end)?;
        if !footer.ends_with(&MAGIC.to_le_bytes()) {
            return Ok(None);
        }
        let word = |at: usize| footer.get(at..).and_then(<[u8]>::first_chunk).copied();
        let is_ours = footer.first() == Some(&CHECKSUM)
            && word(1) == Some([0x3e, 0, 0x7a, 0])
            && footer.get(17..41).is_some_and(|zeros| zeros.iter().all(|zero| *zero == 0))
            && word(41).map(u32::from_le_bytes) == Some(VERSION);
        let bytes = word(13).map_or(0, u32::from_le_bytes).into();
        match self.end.checked_sub(TRAILER_BYTES).and_then(|end| end.checked_sub(bytes)) {
            Some(at) if is_ours => Ok(Some(Handle { at, bytes })),
            _ => Err(FileError::Form("its end is another one")),
        }
    }

    /// Reads a block of at most `max` bytes into `bytes`, without its trailer.
    fn read(&mut self, handle: Handle, max: u64, bytes: &mut Vec<u8>) -> Result<(), FileError> {
        let wrong = |what| FileError::Part { at: handle.at, what };
        if handle.end().is_none_or(|end| end > self.end) {
            return Err(wrong("what is said to be there leads out of the file"));
        }
        if handle.bytes > max {
            return Err(wrong("there is more than a block can hold"));
        }
        // Fits by the bound.
        bytes.resize((handle.bytes + TRAILER_BYTES) as usize, 0);
        self.file.read_exact_at(bytes, handle.at)?;
        let kind = bytes.get(handle.bytes as usize).copied();
        bytes.truncate(handle.bytes as usize);
        if kind != Some(0) {
            return Err(wrong("it is compressed"));
        }
        match (self.advance)(handle.at, handle.bytes) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(FileError::Ended),
        }
    }

    fn parts(&mut self, directory: Handle) -> Result<Parts, FileError> {
        let mut parts = Parts::default();
        let mut bytes = Vec::new();
        self.read(directory, DIRECTORY_BYTES_MAX, &mut bytes)?;
        for_each(directory, &bytes, Values::Sized, &mut |name, mut value| {
            let part = match name {
                b"rocksdb.index" => &mut parts.index,
                b"rocksdb.properties" => &mut parts.properties,
                b"fullfilter.rocksdb.BuiltinBloomFilter" => &mut parts.filter,
                _ => return Err(Malformed("there is a part that is never used")),
            };
            match part.replace(Handle::take(&mut value)?) {
                None => Ok(()),
                Some(_) => Err(Malformed("a part comes twice")),
            }
        })?;
        Ok(parts)
    }

    /// The engine looks for the probes of a key in one line of 64 bytes.
    fn filter(&mut self, filter: Handle) -> Result<(), FileError> {
        let mut bytes = Vec::new();
        self.read(filter, VALUE_BYTES_MAX, &mut bytes)?;
        match bytes.split_last_chunk() {
            Some((lines, [0xff, 0, _, 0, 0]))
                if !lines.is_empty() && lines.len().is_multiple_of(FILTER_LINE_BYTES) =>
            {
                Ok(())
            }
            _ => Err(FileError::Part { at: filter.at, what: "the filter is of another kind" }),
        }
    }

    fn properties(&mut self, properties: Handle) -> Result<Properties, FileError> {
        let (mut bytes, mut found) = (Vec::new(), Properties::default());
        self.read(properties, PROPERTIES_BYTES_MAX, &mut bytes)?;
        for_each(properties, &bytes, Values::Sized, &mut |name, value| found.add(name, value))?;
        Ok(found)
    }

    /// Reads the index, its partitions if it has any, and all data.
    fn index(&mut self, index: Handle, properties: &Properties) -> Result<Ends, FileError> {
        let (mut top, mut partition, mut data) = (Vec::new(), Vec::new(), Vec::new());
        let (mut ends, mut above) = (Ends::default(), Above::new(properties));
        self.read(index, VALUE_BYTES_MAX, &mut top)?;
        for_each_handle(index, &top, &mut |key, handle| {
            if !properties.is_two_level {
                self.data(next(handle, &mut ends.data)?, &mut data, &above)?;
                return above.rise(key, &self.last, index);
            }
            let mut end = ends.partitions.unwrap_or(handle.at);
            ends.partitions_at.get_or_insert(handle.at);
            let handle = next(handle, &mut end)?;
            ends.partitions = Some(end);
            self.read(handle, VALUE_BYTES_MAX, &mut partition)?;
            for_each_handle(handle, &partition, &mut |key, handle| {
                self.data(next(handle, &mut ends.data)?, &mut data, &above)?;
                above.rise(key, &self.last, index)
            })?;
            above.is_at_least(key, index)
        })?;
        Ok(ends)
    }

    fn data(
        &mut self,
        handle: Handle,
        bytes: &mut Vec<u8>,
        above: &Above,
    ) -> Result<(), FileError> {
        self.read(handle, VALUE_BYTES_MAX, bytes)?;
        let (last, content) = (&mut self.last, &mut self.content);
        let mut is_first = true;
        for_each(handle, bytes, Values::OfData, &mut |key, value| {
            let kind = kind_of(key)?;
            if !last.is_empty() && compare(last, key)? != Ordering::Less {
                return Err(ORDER);
            }
            if std::mem::take(&mut is_first) {
                above.is_below(key)?;
            }
            content.add(key, value, kind == DELETION);
            last.clear();
            last.extend_from_slice(key);
            Ok(())
        })
    }
}

/// The key of an index that all data behind it must exceed.
struct Above {
    has_user_keys: bool,
    key: Option<Vec<u8>>,
}

impl Above {
    const fn new(properties: &Properties) -> Self {
        Self { has_user_keys: properties.has_user_keys, key: None }
    }

    fn compare(&self, separator: &[u8], key: &[u8]) -> Result<Ordering, Malformed> {
        if !self.has_user_keys {
            return compare(separator, key);
        }
        Ok(separator.cmp(user_key(key)?.0))
    }

    /// Whether the first key of a block lies behind it.
    fn is_below(&self, key: &[u8]) -> Result<(), Malformed> {
        match &self.key {
            Some(separator) if self.compare(separator, key)? != Ordering::Less => Err(ORDER),
            _ => Ok(()),
        }
    }

    /// Takes the next one, which is no less than the last key of its block.
    fn rise(&mut self, separator: &[u8], last: &[u8], index: Handle) -> Result<(), FileError> {
        let wrong = |Malformed(what)| FileError::Part { at: index.at, what };
        if self.compare(separator, last).map_err(wrong)? == Ordering::Less {
            return Err(wrong(ORDER));
        }
        self.key = Some(separator.to_vec());
        Ok(())
    }

    /// Whether the key that leads to a partition is no less than the last one in that, and
    /// counts from then on.
    fn is_at_least(&mut self, separator: &[u8], index: Handle) -> Result<(), FileError> {
        let wrong = |Malformed(what)| FileError::Part { at: index.at, what };
        let last = self.key.take().unwrap_or_default();
        let order = match self.has_user_keys {
            true => Ok(separator.cmp(last.as_slice())),
            false => compare(separator, &last),
        };
        if order.map_err(wrong)? == Ordering::Less {
            return Err(wrong(ORDER));
        }
        self.key = Some(separator.to_vec());
        Ok(())
    }
}

/// Takes a key and its value.
type VisitPair<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), Malformed> + 'a;

/// Visits the entries of a block of keys and values.
fn for_each(
    handle: Handle,
    bytes: &[u8],
    values: Values,
    visit: &mut VisitPair<'_>,
) -> Result<(), FileError> {
    let mut each = || {
        let mut block = Block::new(bytes, values)?;
        while let Some(entry) = block.next()? {
            visit(entry.key, entry.value)?;
        }
        Ok(())
    };
    each().map_err(|Malformed(what)| FileError::Part { at: handle.at, what })
}

/// Takes a key of an index and where it leads.
type VisitHandle<'a> = dyn FnMut(&[u8], Handle) -> Result<(), FileError> + 'a;

/// Visits the keys of an index and where they lead.
fn for_each_handle(
    handle: Handle,
    bytes: &[u8],
    visit: &mut VisitHandle<'_>,
) -> Result<(), FileError> {
    let wrong = |Malformed(what)| FileError::Part { at: handle.at, what };
    let mut block = Block::new(bytes, Values::Handles).map_err(wrong)?;
    while let Some(entry) = block.next().map_err(wrong)? {
        visit(entry.key, entry.handle)?;
    }
    Ok(())
}

/// Returns a handle if it leads to what is right behind the one before.
fn next(handle: Handle, end: &mut u64) -> Result<Handle, FileError> {
    match handle.end() {
        Some(behind) if handle.at == *end => {
            *end = behind;
            Ok(handle)
        }
        _ => Err(FileError::Part { at: handle.at, what: "it is not the next block" }),
    }
}
