//! The records of a manifest or a log of the engine.
//!
//! ```text
//! file     = block of 32 KiB...
//! block    = fragment... | fewer bytes than a header, of no meaning
//! fragment = checksum (u32 le) | bytes (u16 le) | kind (u8) | its bytes
//! kind     = 1 a whole record | 2 its beginning | 3 its middle | 4 its end | 0 and no
//!            bytes: nothing more in this block
//! ```
//!
//! A file may end anywhere, as it does when a writer is killed.
//!
//! Source: RocksDB, `db/log_format.h` and `db/log_reader.cc`.
//!
//! Imports: nothing of ours.

use std::fs::File;
use std::io::{ErrorKind, Read as _};

use super::block::Malformed;
use super::{Advance, FileError};

const BLOCK_BYTES: usize = 32 << 10;
const HEADER_BYTES: usize = 7;
/// Bytes of a record at most.
const RECORD_BYTES_MAX: usize = 128 << 20;

/// Visits every record.
pub(super) fn for_each(
    mut file: File,
    advance: &mut Advance<'_>,
    visit: &mut dyn FnMut(&[u8]) -> Result<(), Malformed>,
) -> Result<(), FileError> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut record = Record::default();
    let mut at = 0;
    loop {
        let read = fill(&mut file, &mut block)?;
        let bytes = block.get(..read).unwrap_or_default();
        fragments(bytes, &mut |kind, fragment| record.add(kind, fragment, visit))
            .map_err(|Malformed(what)| FileError::Part { at, what })?;
        if advance(at, read as u64).is_break() {
            return Err(FileError::Ended);
        }
        at += read as u64;
        if read < BLOCK_BYTES {
            return Ok(());
        }
    }
}

/// Reads as much as there is.
fn fill(file: &mut File, block: &mut [u8]) -> Result<usize, FileError> {
    let mut filled = 0;
    while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(filled)
}

/// Takes a fragment and its kind.
type VisitFragment<'a> = dyn FnMut(u8, &[u8]) -> Result<(), Malformed> + 'a;

/// Visits the fragments of a block, up to one that is cut off with the file.
fn fragments(mut block: &[u8], visit: &mut VisitFragment<'_>) -> Result<(), Malformed> {
    let is_last = block.len() < BLOCK_BYTES;
    while let Some(([_, _, _, _, low, high, kind], rest)) =
        block.split_first_chunk::<HEADER_BYTES>()
    {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        if (*kind, length) == (0, 0) {
            return Ok(());
        }
        match rest.split_at_checked(length) {
            Some((fragment, rest)) => {
                visit(*kind, fragment)?;
                block = rest;
            }
            None if is_last => return Ok(()),
            None => return Err(Malformed("a fragment leads out of its block")),
        }
    }
    Ok(())
}

/// A record as far as it was read.
#[derive(Default)]
struct Record(Option<Vec<u8>>);

impl Record {
    fn add(
        &mut self,
        kind: u8,
        fragment: &[u8],
        visit: &mut dyn FnMut(&[u8]) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let begun = self.0.take();
        match (kind, begun) {
            (1, None) => visit(fragment),
            (2, None) => {
                self.0 = Some(fragment.to_vec());
                Ok(())
            }
            (3 | 4, Some(mut record)) => {
                if record.len() + fragment.len() > RECORD_BYTES_MAX {
                    return Err(Malformed("a record is too large"));
                }
                record.extend_from_slice(fragment);
                if kind == 4 {
                    return visit(&record);
                }
                self.0 = Some(record);
                Ok(())
            }
            _ => Err(Malformed("a fragment is of another kind")),
        }
    }
}
