//! Whether a live file has the bytes of a file of a snapshot.

use std::ops::ControlFlow;
use std::os::fd::OwnedFd;

use rustix::fs::{SeekFrom, seek};
use rustix::io::{Errno, pread};

use crate::base::hash::{Digest256, StreamHash};
use crate::dag::{Body, Content, Segment};
use crate::repository::{Repository, RepositoryError};

/// Bytes asked of the system at once.
const READ_BYTES: usize = 256 << 10;

/// Why two contents could not be compared.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The snapshot's cannot be read.
    Repository(RepositoryError),
    /// The live one cannot be read.
    Live(Errno),
    /// Whoever asked has asked to stop.
    Cancelled,
}

impl From<RepositoryError> for ReadError {
    fn from(error: RepositoryError) -> Self {
        Self::Repository(error)
    }
}

impl From<Errno> for ReadError {
    fn from(error: Errno) -> Self {
        Self::Live(error)
    }
}

/// Compares a live file with a content of as many bytes: by its hash where that
/// is known, else byte by byte up to the first difference. Holes are not read.
pub(super) fn is_same(
    repository: &Repository,
    content: &Content,
    file: &OwnedFd,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<bool, ReadError> {
    if let Body::Inline(bytes) = &content.body {
        return holds(file, 0, bytes);
    }
    if let Some(known) = content.known_sha256() {
        return Ok(sha256(file, is_cancelled)? == known);
    }
    let mut same = true;
    repository.segments::<ReadError>(content, &mut |segment, start| {
        if is_cancelled() {
            return Err(ReadError::Cancelled);
        }
        same = match segment {
            Segment::Chunk { id, bytes, hint } => {
                holds(file, start, &repository.chunk(id, *bytes, *hint)?)?
            }
            Segment::Hole { bytes } => {
                is_zero(file, start, start.saturating_add(*bytes), is_cancelled)?
            }
        };
        Ok(if same { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(same)
}

/// Returns the SHA-256 of a live file.
pub(super) fn sha256(
    file: &OwnedFd,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<Digest256, ReadError> {
    let mut hash = StreamHash::default();
    let mut buffer = vec![0_u8; READ_BYTES];
    let mut position = 0;
    loop {
        if is_cancelled() {
            return Err(ReadError::Cancelled);
        }
        let read = filled(file, position, &mut buffer)?;
        if read == 0 {
            return Ok(hash.finish());
        }
        hash.update(buffer.get(..read).unwrap_or_default());
        position += read as u64;
    }
}

/// Reads a live file whole, or nothing if it has more than `max` bytes.
pub(super) fn read(file: &OwnedFd, max: usize) -> Result<Option<Vec<u8>>, Errno> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0_u8; READ_BYTES];
    loop {
        let read = filled(file, bytes.len() as u64, &mut buffer)?;
        if read == 0 {
            return Ok(Some(bytes));
        }
        bytes.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if bytes.len() > max {
            return Ok(None);
        }
    }
}

fn holds(file: &OwnedFd, start: u64, bytes: &[u8]) -> Result<bool, ReadError> {
    let mut buffer = vec![0_u8; bytes.len()];
    let read = filled(file, start, &mut buffer)?;
    Ok(buffer.get(..read) == Some(bytes))
}

/// Whether a range reads as zeros. What the file system knows to be a hole is not
/// read.
fn is_zero(
    file: &OwnedFd,
    start: u64,
    end: u64,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<bool, ReadError> {
    let mut buffer = vec![0_u8; READ_BYTES];
    let mut position = start;
    while position < end {
        if is_cancelled() {
            return Err(ReadError::Cancelled);
        }
        position = match seek(file, SeekFrom::Data(position)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => position,
            Err(error) => return Err(error.into()),
        };
        let wanted = usize::try_from(end.saturating_sub(position)).unwrap_or(usize::MAX);
        let wanted = wanted.min(READ_BYTES);
        let read = filled(file, position, buffer.get_mut(..wanted).unwrap_or_default())?;
        if buffer.get(..read).unwrap_or_default().iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        if read < wanted {
            return Ok(false);
        }
        position = position.saturating_add(read as u64);
    }
    Ok(true)
}

/// Reads as much as there is room; less only at the end of the file.
fn filled(file: &OwnedFd, start: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut done = 0;
    while let Some(room) = buffer.get_mut(done..).filter(|room| !room.is_empty()) {
        match pread(file, room, start.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
