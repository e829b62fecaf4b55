//! Whether the tables of a store are such that the engine can be given them.
//!
//! The engine believes what a table says once its checksums are right, and checksums have
//! no key: whoever forges a table can lead it out of its memory. Here every table is read
//! before the engine opens any, by code that believes nothing, and has to be one that
//! this program could have written: all blocks that the engine can come to lie in the
//! file, those of data one behind the other, and are read to their ends; none is
//! compressed; keys rise; nothing is there that this program makes no use of.
//!
//! ```text
//! table      = data... | filter? | index partition... | index | properties | directory
//!              | footer; each but the footer is a block
//! block      = its bytes | type (u8, 0: not compressed) | checksum (u32 le)
//! footer     = checksum type (u8) | 3e 00 7a 00 | checksum (u32 le) | its base (u32 le)
//!              | bytes of the directory (u32 le) | 24 zeros | version 6 (u32 le)
//!              | magic (u64 le)
//! directory, properties: a block of names and values; of the first the values are handles
//! index      = a block of keys and handles, of partitions or of data
//! filter     = a multiple of 64 bytes | ff 00 | probes (u8) | 0 0
//! ```
//!
//! Checksums are left to the engine, and so are its manifest and its logs, which it reads
//! with bounds.
//!
//! Source: RocksDB, `table/format.cc`, `table/meta_blocks.cc`, `table/table_properties.cc`,
//! `table/block_based/block_based_table_reader.cc` and `filter_policy.cc`.
//!
//! Imports: `base`.

mod block;
mod properties;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::base::files::open_own;
use crate::store::rocks::tables::block::{Block, Handle, Malformed, Values};
use crate::store::rocks::tables::properties::Properties;

/// Bytes behind a block: its type and a checksum.
const TRAILER_BYTES: u64 = 5;
/// Bytes of a block at most: of the largest value, or of a filter.
const BLOCK_BYTES_MAX: u64 = 72 << 20;
const FOOTER_BYTES: usize = 53;
/// How a table ends, and the version of the format before that.
const MAGIC: u64 = 0x88e2_41b7_85f4_cff7;
const VERSION: u32 = 6;
/// Bytes behind the user key: type and sequence number.
const KEY_TRAILER_BYTES: usize = 8;
/// Types of an entry: a mark of deletion, a value, a mark that deletes one value.
const ENTRY_TYPES: [u8; 3] = [0, 1, 7];
const FILTER_LINE_BYTES: usize = 64;
/// Tables that are named; more are not looked for.
const FAULTS_MAX: usize = 1000;

/// A table that the engine must not be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFault {
    /// The name of the file.
    pub file: String,
    /// What is wrong with it.
    pub detail: String,
}

/// Is told of each block that was read, its first byte and its bytes, and says whether to
/// go on.
pub type Advance<'a> = dyn FnMut(u64, u64) -> ControlFlow<()> + 'a;

/// Why a table is refused.
#[derive(Debug, thiserror::Error)]
enum TableError {
    #[error("it cannot be read ({0})")]
    Io(#[from] io::Error),
    #[error("it is no table that this program writes: {0}")]
    Form(&'static str),
    #[error("it is no table that this program writes: in the block at byte {at}, {what}")]
    Block { at: u64, what: &'static str },
    #[error("its reading was ended")]
    Ended,
}

/// Reads every table in the directory of a store, and returns those that the engine must
/// not be given, as far as `advance` lets it. In memory are a few blocks.
///
/// # Errors
/// Fails if the directory cannot be listed.
pub fn faults(directory: &Path, advance: &mut Advance<'_>) -> io::Result<Vec<TableFault>> {
    let mut faults = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        let suffix = path.extension().unwrap_or_default();
        let outcome = match suffix.as_encoded_bytes() {
            // The engine looks for the second name where there is none of the first.
            b"sst" | b"ldb" => verify(&path, advance),
            b"blob" => Err(TableError::Form("values lie in files of their own")),
            _ => continue,
        };
        match outcome {
            Ok(()) => {}
            Err(TableError::Ended) => break,
            // A writer beside this is done with it.
            Err(TableError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let file = entry.file_name().to_string_lossy().into_owned();
                faults.push(TableFault { file, detail: error.to_string() });
            }
        }
        if faults.len() == FAULTS_MAX {
            break;
        }
    }
    faults.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(faults)
}

fn verify(path: &Path, advance: &mut Advance<'_>) -> Result<(), TableError> {
    let file = open_own(OpenOptions::new().read(true), path)?;
    let Some(end) = file.metadata()?.len().checked_sub(FOOTER_BYTES as u64) else {
        return Ok(());
    };
    let mut table = Table { file, end, last: Vec::new(), advance };
    let Some(directory) = table.footer()? else { return Ok(()) };
    let parts = table.parts(directory)?;
    let Some((index, properties)) = parts.index.zip(parts.properties) else {
        return Err(TableError::Form("it has no index or no properties"));
    };
    if let Some(filter) = parts.filter {
        table.filter(filter)?;
    }
    let properties = table.properties(properties)?;
    table.index(index, properties)
}

/// The blocks that a table has once each.
#[derive(Default)]
struct Parts {
    index: Option<Handle>,
    properties: Option<Handle>,
    filter: Option<Handle>,
}

struct Table<'a, 'b> {
    file: File,
    /// Where the footer begins.
    end: u64,
    /// The key before, with its trailer.
    last: Vec<u8>,
    advance: &'a mut Advance<'b>,
}

impl Table<'_, '_> {
    /// Reads the footer, and returns where the directory lies: nowhere in a file that is not
    /// even called a table, as a command leaves it that is killed. The engine reads no more
    /// than this of it.
    fn footer(&self) -> Result<Option<Handle>, TableError> {
        let mut footer = [0; FOOTER_BYTES];
        self.file.read_exact_at(&mut footer, self.end)?;
        if !footer.ends_with(&MAGIC.to_le_bytes()) {
            return Ok(None);
        }
        let word = |at: usize| footer.get(at..).and_then(<[u8]>::first_chunk).copied();
        let is_ours = word(1) == Some([0x3e, 0, 0x7a, 0])
            && footer.get(17..41).is_some_and(|zeros| zeros.iter().all(|zero| *zero == 0))
            && word(41).map(u32::from_le_bytes) == Some(VERSION);
        let bytes = word(13).map_or(0, u32::from_le_bytes).into();
        match self.end.checked_sub(TRAILER_BYTES).and_then(|end| end.checked_sub(bytes)) {
            Some(at) if is_ours => Ok(Some(Handle { at, bytes })),
            _ => Err(TableError::Form("its end is another one")),
        }
    }

    /// Reads a block into `bytes`, without its trailer.
    fn read(&mut self, handle: Handle, bytes: &mut Vec<u8>) -> Result<(), TableError> {
        let wrong = |what| TableError::Block { at: handle.at, what };
        if handle.end().is_none_or(|end| end > self.end) {
            return Err(wrong("what is said to be there leads out of the file"));
        }
        if handle.bytes > BLOCK_BYTES_MAX {
            return Err(wrong("there is more than a block can hold"));
        }
        // Fits by the bound.
        bytes.resize((handle.bytes + TRAILER_BYTES) as usize, 0);
        self.file.read_exact_at(bytes, handle.at)?;
        let trailer = bytes.split_off(handle.bytes as usize);
        if trailer.first() != Some(&0) {
            return Err(wrong("it is compressed"));
        }
        match (self.advance)(handle.at, handle.bytes) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(TableError::Ended),
        }
    }

    fn parts(&mut self, directory: Handle) -> Result<Parts, TableError> {
        let mut parts = Parts::default();
        let mut bytes = Vec::new();
        self.read(directory, &mut bytes)?;
        for_each(directory, &bytes, &mut |name, mut value| {
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
    fn filter(&mut self, filter: Handle) -> Result<(), TableError> {
        let mut bytes = Vec::new();
        self.read(filter, &mut bytes)?;
        match bytes.split_last_chunk() {
            Some((lines, [0xff, 0, _, 0, 0]))
                if !lines.is_empty() && lines.len().is_multiple_of(FILTER_LINE_BYTES) =>
            {
                Ok(())
            }
            _ => Err(TableError::Block { at: filter.at, what: "the filter is of another kind" }),
        }
    }

    fn properties(&mut self, properties: Handle) -> Result<Properties, TableError> {
        let (mut bytes, mut found) = (Vec::new(), Properties::default());
        self.read(properties, &mut bytes)?;
        for_each(properties, &bytes, &mut |name, value| found.add(name, value))?;
        found.check().map_err(|Malformed(what)| TableError::Block { at: properties.at, what })?;
        Ok(found)
    }

    /// Reads the index, its partitions if it has any, and all data.
    fn index(&mut self, index: Handle, properties: Properties) -> Result<(), TableError> {
        let (mut top, mut partition, mut data) = (Vec::new(), Vec::new(), Vec::new());
        // Each block lies behind the one before, so that none is read twice.
        let (mut partitions_end, mut data_end) = (0, 0);
        self.read(index, &mut top)?;
        for_each_handle(index, &top, properties, &mut |handle| {
            if !properties.is_two_level {
                return self.data(in_order(handle, &mut data_end)?, &mut data);
            }
            let handle = in_order(handle, &mut partitions_end)?;
            self.read(handle, &mut partition)?;
            for_each_handle(handle, &partition, properties, &mut |handle| {
                self.data(in_order(handle, &mut data_end)?, &mut data)
            })
        })
    }

    fn data(&mut self, handle: Handle, bytes: &mut Vec<u8>) -> Result<(), TableError> {
        self.read(handle, bytes)?;
        let last = &mut self.last;
        for_each(handle, bytes, &mut |key, _| {
            let split = key.len().checked_sub(KEY_TRAILER_BYTES);
            let Some((user, trailer)) = split.map(|length| key.split_at(length)) else {
                return Err(Malformed("a key is too short"));
            };
            if !trailer.first().is_some_and(|kind| ENTRY_TYPES.contains(kind)) {
                return Err(Malformed("an entry is of another kind"));
            }
            if !last.is_empty() && !rises(last, user, trailer) {
                return Err(Malformed("keys do not rise"));
            }
            last.clear();
            last.extend_from_slice(key);
            Ok(())
        })
    }
}

/// Whether a key comes behind another one: of the same user key, the younger entry is
/// first.
fn rises(last: &[u8], user: &[u8], trailer: &[u8]) -> bool {
    let number = |trailer: &[u8]| trailer.try_into().map_or(0, u64::from_le_bytes);
    let Some((last_user, last_trailer)) = last.split_last_chunk::<KEY_TRAILER_BYTES>() else {
        return false;
    };
    match last_user.cmp(user) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Equal => number(last_trailer) > number(trailer),
        std::cmp::Ordering::Greater => false,
    }
}

/// Takes a key and its value.
type VisitPair<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), Malformed> + 'a;

/// Visits the entries of a block of keys and values.
fn for_each(handle: Handle, bytes: &[u8], visit: &mut VisitPair<'_>) -> Result<(), TableError> {
    let mut each = || {
        let mut block = Block::new(bytes, Values::Sized)?;
        while let Some(entry) = block.next()? {
            visit(entry.key, entry.value)?;
        }
        Ok(())
    };
    each().map_err(|Malformed(what)| TableError::Block { at: handle.at, what })
}

/// Visits where the entries of an index lead.
fn for_each_handle(
    handle: Handle,
    bytes: &[u8],
    properties: Properties,
    visit: &mut dyn FnMut(Handle) -> Result<(), TableError>,
) -> Result<(), TableError> {
    let wrong = |Malformed(what)| TableError::Block { at: handle.at, what };
    let shortest = if properties.has_user_keys { 0 } else { KEY_TRAILER_BYTES };
    let mut block = Block::new(bytes, Values::Handles).map_err(wrong)?;
    while let Some(entry) = block.next().map_err(wrong)? {
        if entry.key.len() < shortest {
            return Err(wrong(Malformed("a key is too short")));
        }
        visit(entry.handle)?;
    }
    Ok(())
}

/// Returns a handle if it leads behind all before it.
fn in_order(handle: Handle, end: &mut u64) -> Result<Handle, TableError> {
    match handle.end() {
        Some(behind) if handle.at >= *end => {
            *end = behind;
            Ok(handle)
        }
        _ => Err(TableError::Block { at: handle.at, what: "it lies before the one before it" }),
    }
}

#[cfg(test)]
mod tests;
