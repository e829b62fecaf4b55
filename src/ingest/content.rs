//! Reading the content of a file: data in chunks, holes as holes.

use std::io;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::fs::{SeekFrom, seek};
use rustix::io::{Errno, pread};

use crate::chunking::Chunker;
use crate::ingest::pipeline::{Emitter, Event, Stopped};

/// Bytes asked of the system at once for large files.
const READ_BYTES: usize = 1 << 20;

/// Why a file was not read to its end.
pub(crate) enum ReadFailure {
    Source(io::Error),
    Stopped,
}

impl From<Errno> for ReadFailure {
    fn from(error: Errno) -> Self {
        Self::Source(error.into())
    }
}

impl From<Stopped> for ReadFailure {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

/// Reads up to `max` bytes of a small file.
pub(crate) fn read_small(file: &OwnedFd, max: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::with_capacity(max);
    fill(file, &mut bytes, 0, max)?;
    Ok(bytes)
}

/// Passes the content of a file on, up to `size`: what is appended meanwhile
/// belongs to the next snapshot. Only a file that `may_have_holes` is asked for
/// them.
pub(crate) fn emit_content(
    file: &OwnedFd,
    size: u64,
    may_have_holes: bool,
    chunker: &Chunker,
    emitter: &Emitter<'_>,
) -> Result<(), ReadFailure> {
    if !may_have_holes {
        emit_data(file, 0, size, chunker, emitter)?;
        return Ok(());
    }
    let mut position = 0;
    while position < size {
        let data = match seek(file, SeekFrom::Data(position)) {
            Ok(data) => data.min(size),
            // No data behind this position.
            Err(Errno::NXIO) => size,
            // The file system knows no holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => position,
            Err(error) => return Err(error.into()),
        };
        if data > position {
            emitter.event(Event::Hole(data - position))?;
        }
        if data >= size {
            break;
        }
        let end = match seek(file, SeekFrom::Hole(data)) {
            Ok(end) => end.min(size),
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NXIO) => size,
            Err(error) => return Err(error.into()),
        };
        if !emit_data(file, data, end, chunker, emitter)? {
            break;
        }
        position = end;
    }
    Ok(())
}

/// Passes `start..end` on in chunks and returns whether all of it was there.
fn emit_data(
    file: &OwnedFd,
    start: u64,
    end: u64,
    chunker: &Chunker,
    emitter: &Emitter<'_>,
) -> Result<bool, ReadFailure> {
    let length = usize::try_from(end - start).unwrap_or(usize::MAX);
    if length <= chunker.max_bytes() {
        return emit_piece(file, start, length, chunker, emitter);
    }
    let mut buffer = Vec::with_capacity(READ_BYTES + chunker.max_bytes());
    let mut position = start;
    loop {
        // All the room there is, so that nothing is read twice.
        let room = buffer.capacity() - buffer.len();
        let wanted = usize::try_from(end - position).unwrap_or(usize::MAX).min(room);
        let read = fill(file, &mut buffer, position, wanted)?;
        position += read as u64;
        let at_end = position >= end || read < wanted;
        let mut rest = buffer.as_slice();
        while let Some(length) = chunker.cut(rest, at_end) {
            let (chunk, tail) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            emitter.chunk(chunk.to_vec())?;
            rest = tail;
        }
        let kept = rest.len();
        buffer.drain(..buffer.len() - kept);
        if at_end {
            return Ok(position >= end);
        }
    }
}

/// Passes a piece on that fits into one chunk, without a copy if it is one.
fn emit_piece(
    file: &OwnedFd,
    start: u64,
    length: usize,
    chunker: &Chunker,
    emitter: &Emitter<'_>,
) -> Result<bool, ReadFailure> {
    let mut bytes = Vec::with_capacity(length);
    let read = fill(file, &mut bytes, start, length)?;
    if read > chunker.min_bytes() {
        let mut rest = bytes.as_slice();
        while let Some(cut) = chunker.cut(rest, true).filter(|cut| *cut < rest.len()) {
            let (chunk, tail) = rest.split_at_checked(cut).unwrap_or((rest, &[]));
            emitter.chunk(chunk.to_vec())?;
            rest = tail;
        }
        let kept = rest.len();
        if kept < bytes.len() {
            bytes.drain(..bytes.len() - kept);
        }
    }
    if !bytes.is_empty() {
        emitter.chunk(bytes)?;
    }
    Ok(read == length)
}

/// Appends up to `wanted` bytes from `position` on; fewer only at the end.
fn fill(
    file: &OwnedFd,
    buffer: &mut Vec<u8>,
    position: u64,
    wanted: usize,
) -> Result<usize, Errno> {
    let before = buffer.len();
    buffer.reserve(wanted);
    loop {
        let done = buffer.len() - before;
        if done >= wanted {
            break;
        }
        // The spare room may be larger than what is wanted; the surplus is cut.
        match pread(file, spare_capacity(buffer), position + done as u64) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(before + wanted);
    Ok(buffer.len() - before)
}
