//! Whether the files of a store are such that the engine can be given them, though
//! somebody else made them.
//!
//! The engine believes what its files say once their checksums are right, and checksums
//! have no key: whoever forges a file can lead it out of its memory. Here every file that
//! it would read is read before it opens any, by code that believes nothing, and has to be
//! one that this program could have written:
//!
//! - tables, see [`table`]; no two of them may pass for one in a cache, see [`sessions`];
//! - manifests and logs: records of the kinds that this program writes, with numbers in
//!   their ranges, see [`edits`] and [`batches`];
//! - nothing else that the engine reads is longer than a page.
//!
//! Whatever the engine does not take for a table, a record or a file at all passes: it is
//! refused there, as damage.
//!
//! Imports: `base`.

mod batches;
mod block;
mod edits;
mod properties;
mod records;
mod sessions;
mod table;

use std::cmp::Ordering;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use crate::base::files::open_own;
use crate::store::rocks::SMALL_BYTES_MAX;
use crate::store::rocks::untrusted::block::Malformed;
use crate::store::rocks::untrusted::sessions::Sessions;

/// Numbers of files and of changes that make sense: the engine counts on from the largest
/// one that it meets, and must not come to its end.
const NUMBER_MAX: u64 = 1 << 56;
/// Bytes of a value, with room for what is around it.
const VALUE_BYTES_MAX: u64 = 72 << 20;
/// Bytes of a user key.
const USER_KEY_BYTES_MAX: usize = 4096;
/// Bytes behind the user key: type and sequence number.
const KEY_TRAILER_BYTES: usize = 8;
/// Types of an entry.
const DELETION: u8 = 0;
const VALUE: u8 = 1;
/// Files that are named; more are not looked for.
const FAULTS_MAX: usize = 1000;

/// A file that the engine must not be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgedFile {
    /// Its name.
    pub file: String,
    /// What is wrong with it.
    pub detail: String,
}

/// Is told of each part that was read, its first byte and its bytes, and says whether to
/// go on.
pub type Advance<'a> = dyn FnMut(u64, u64) -> ControlFlow<()> + 'a;

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("it cannot be read ({0})")]
    Io(#[from] io::Error),
    #[error("it is not what this program writes: {0}")]
    Form(&'static str),
    #[error("it is not what this program writes: in what begins at byte {at}, {what}")]
    Part { at: u64, what: &'static str },
    #[error("its reading was ended")]
    Ended,
}

/// Reads every file of a store that the engine would, and returns those that it must not
/// be given, as far as `advance` lets it. In memory are a few blocks or one record.
///
/// # Errors
/// Fails if the directory cannot be listed.
pub fn forged_files(directory: &Path, advance: &mut Advance<'_>) -> io::Result<Vec<ForgedFile>> {
    let mut forged = Vec::new();
    let mut sessions = Sessions::default();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let path = directory.join(&name);
        let name = name.to_string_lossy().into_owned();
        match verify(&path, &name, &mut sessions, advance) {
            Ok(()) => {}
            Err(FileError::Ended) => return Ok(forged),
            // A writer beside this is done with it.
            Err(FileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => forged.push(ForgedFile { file: name, detail: error.to_string() }),
        }
        if forged.len() == FAULTS_MAX {
            break;
        }
    }
    forged.extend(sessions.conflicts());
    forged.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(forged)
}

fn verify(
    path: &Path,
    name: &str,
    sessions: &mut Sessions,
    advance: &mut Advance<'_>,
) -> Result<(), FileError> {
    if !has_small_numbers(name) {
        return Err(FileError::Form("the number in its name is too large"));
    }
    let open = || open_own(OpenOptions::new().read(true), path).map_err(FileError::Io);
    // The engine looks for the second suffix where there is no table of the first.
    if name.ends_with(".sst") || name.ends_with(".ldb") {
        let origin = table::verify(open()?, advance)?;
        sessions.add(name, origin);
        return Ok(());
    }
    if name.ends_with(".blob") {
        return Err(FileError::Form("values lie apart from their keys"));
    }
    if name.ends_with(".log") {
        return records::for_each(open()?, advance, &mut batches::verify);
    }
    if name.starts_with("MANIFEST-") {
        let mut edits = edits::Edits::default();
        records::for_each(open()?, advance, &mut |edit| edits.verify(edit))?;
        return edits.finish().map_err(|Malformed(what)| FileError::Form(what));
    }
    if ["CURRENT", "IDENTITY"].contains(&name) && length(&open()?)? > SMALL_BYTES_MAX {
        return Err(FileError::Form("it is too long"));
    }
    Ok(())
}

/// Whether each run of digits in a name is a number that a file can have, whatever kind of
/// file that is: the engine looks at all names.
fn has_small_numbers(name: &str) -> bool {
    let mut runs = name.split(|letter: char| !letter.is_ascii_digit());
    runs.all(|run| run.is_empty() || run.parse::<u64>().is_ok_and(|number| number < NUMBER_MAX))
}

fn length(file: &File) -> Result<u64, FileError> {
    Ok(file.metadata()?.len())
}

/// Compares keys with trailers: of one user key, the younger entry is first.
fn compare(one: &[u8], other: &[u8]) -> Result<Ordering, Malformed> {
    let number = |trailer: &[u8; KEY_TRAILER_BYTES]| u64::from_le_bytes(*trailer);
    let ((one, younger), (other, older)) = (user_key(one)?, user_key(other)?);
    Ok(one.cmp(other).then(number(older).cmp(&number(younger))))
}

/// The type of an entry, if it is one that this program writes: a mark of deletion, or a
/// value.
fn kind_of(key: &[u8]) -> Result<u8, Malformed> {
    match user_key(key)? {
        (_, [kind @ (DELETION | VALUE), ..]) => Ok(*kind),
        _ => Err(Malformed("an entry is of another kind")),
    }
}

/// Takes a user key with its trailer apart.
fn user_key(key: &[u8]) -> Result<(&[u8], &[u8; KEY_TRAILER_BYTES]), Malformed> {
    match key.split_last_chunk() {
        Some((user, trailer)) if user.len() <= USER_KEY_BYTES_MAX => Ok((user, trailer)),
        _ => Err(Malformed("a key is not what it can be")),
    }
}

#[cfg(test)]
mod tests;
