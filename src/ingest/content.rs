//! Reading the content of a file: data in chunks, holes as holes.

use std::io;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::fs::{SeekFrom, seek};
use rustix::io::{Errno, pread};

use crate::chunking::Chunker;
use crate::ingest::pipeline::Stopped;

/// Bytes asked of the system at once for large files.
const READ_BYTES: usize = 1 << 20;

/// Why a file was not read to its end.
#[derive(Debug)]
pub(crate) enum ReadFailure<E> {
    /// The file cannot be read.
    Source(io::Error),
    /// Whoever takes the content cannot.
    Sink(E),
}

impl<E> From<Errno> for ReadFailure<E> {
    fn from(error: Errno) -> Self {
        Self::Source(error.into())
    }
}

/// Takes the content of a file, piece by piece.
pub(crate) trait ContentSink {
    /// Why it cannot.
    type Error;

    /// Bytes are about to be read.
    fn before_read(&mut self, bytes: usize) -> Result<(), Self::Error>;

    /// A chunk; `is_only` says that it is all of the file.
    fn chunk(&mut self, bytes: &[u8], is_only: bool) -> Result<(), Self::Error>;

    /// The same, of bytes that nobody else needs.
    fn owned_chunk(&mut self, bytes: Vec<u8>, is_only: bool) -> Result<(), Self::Error> {
        self.chunk(&bytes, is_only)
    }

    /// A hole of so many bytes.
    fn hole(&mut self, bytes: u64) -> Result<(), Self::Error>;
}

/// The pipeline has stopped, which is all that it says.
impl From<Stopped> for ReadFailure<Stopped> {
    fn from(stopped: Stopped) -> Self {
        Self::Sink(stopped)
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
pub(crate) fn read_content<S: ContentSink>(
    file: &OwnedFd,
    size: u64,
    may_have_holes: bool,
    chunker: &Chunker,
    sink: &mut S,
) -> Result<(), ReadFailure<S::Error>> {
    if !may_have_holes {
        read_data(file, 0, size, true, chunker, sink)?;
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
            sink.hole(data - position).map_err(ReadFailure::Sink)?;
        }
        if data >= size {
            break;
        }
        let end = match seek(file, SeekFrom::Hole(data)) {
            Ok(end) => end.min(size),
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NXIO) => size,
            Err(error) => return Err(error.into()),
        };
        let is_all = data == 0 && end == size;
        if !read_data(file, data, end, is_all, chunker, sink)? {
            break;
        }
        position = end;
    }
    Ok(())
}

/// Passes `start..end` on in chunks and returns whether all of it was there.
fn read_data<S: ContentSink>(
    file: &OwnedFd,
    start: u64,
    end: u64,
    is_all: bool,
    chunker: &Chunker,
    sink: &mut S,
) -> Result<bool, ReadFailure<S::Error>> {
    let length = usize::try_from(end - start).unwrap_or(usize::MAX);
    if length <= chunker.max_bytes() {
        return read_piece(file, start, length, is_all, chunker, sink);
    }
    let room = length.min(READ_BYTES) + chunker.max_bytes();
    let mut cutter = Cutter::new(chunker, room);
    let mut position = start;
    loop {
        // All the room there is, so that nothing is read twice.
        let wanted = usize::try_from(end - position).unwrap_or(usize::MAX).min(cutter.room());
        sink.before_read(wanted).map_err(ReadFailure::Sink)?;
        let read = fill(file, &mut cutter.buffer, position, wanted)?;
        position += read as u64;
        let at_end = position >= end || read < wanted;
        cutter.cut(at_end, is_all, sink).map_err(ReadFailure::Sink)?;
        if at_end {
            return Ok(position >= end);
        }
    }
}

/// Cuts a stream that arrives in buffers.
pub(crate) struct Cutter<'a> {
    chunker: &'a Chunker,
    /// Bytes that are not passed on yet; its capacity stays as it is.
    pub(crate) buffer: Vec<u8>,
    chunks: u64,
}

impl<'a> Cutter<'a> {
    /// Returns a cutter that holds `bytes`, more than the largest chunk has.
    pub(crate) fn new(chunker: &'a Chunker, bytes: usize) -> Self {
        Self { chunker, buffer: Vec::with_capacity(bytes), chunks: 0 }
    }

    /// The bytes that may be appended.
    pub(crate) fn room(&self) -> usize {
        self.buffer.capacity() - self.buffer.len()
    }

    /// Passes on the chunks that are whole.
    pub(crate) fn cut<S: ContentSink>(
        &mut self,
        at_end: bool,
        is_all: bool,
        sink: &mut S,
    ) -> Result<(), S::Error> {
        let mut rest = self.buffer.as_slice();
        while let Some(length) = self.chunker.cut(rest, at_end) {
            let (chunk, tail) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            let is_only = is_all && at_end && self.chunks == 0 && tail.is_empty();
            sink.chunk(chunk, is_only)?;
            self.chunks += 1;
            rest = tail;
        }
        let kept = rest.len();
        self.buffer.drain(..self.buffer.len() - kept);
        Ok(())
    }
}

/// Passes a piece on that fits into one chunk, without a copy if it is one.
fn read_piece<S: ContentSink>(
    file: &OwnedFd,
    start: u64,
    length: usize,
    is_all: bool,
    chunker: &Chunker,
    sink: &mut S,
) -> Result<bool, ReadFailure<S::Error>> {
    let mut bytes = Vec::with_capacity(length);
    sink.before_read(length).map_err(ReadFailure::Sink)?;
    let read = fill(file, &mut bytes, start, length)?;
    let mut rest = bytes.as_slice();
    while let Some(cut) = chunker.cut(rest, true).filter(|cut| *cut < rest.len()) {
        let (chunk, tail) = rest.split_at_checked(cut).unwrap_or((rest, &[]));
        sink.chunk(chunk, false).map_err(ReadFailure::Sink)?;
        rest = tail;
    }
    let outcome = match rest.len() {
        0 => Ok(()),
        kept if kept == read => sink.owned_chunk(bytes, is_all),
        _ => sink.chunk(rest, false),
    };
    outcome.map_err(ReadFailure::Sink)?;
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
