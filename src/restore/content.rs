//! The content of a file: writing it, and comparing it with the snapshot's.
//!
//! Every chunk is checked against its id before a byte of it is written.

use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::bounded;
use rustix::fs::{SeekFrom, ftruncate, seek};
use rustix::io::{Errno, pread, pwrite};

use crate::dag::{Body, Content, Segment};
use crate::restore::error::ItemError;
use crate::restore::run::Run;

/// Files of so many bytes are written by several threads.
const LARGE_BYTES: u64 = 8 << 20;
/// Segments on their way to the threads of one file.
const SEGMENTS_AHEAD: usize = 64;
/// What becomes a hole if it is zero.
const BLOCK_BYTES: usize = 4096;
const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
const READ_BYTES: usize = 256 << 10;

impl Run<'_> {
    /// Writes the content of a new, empty file.
    pub(super) fn write_content(&self, file: &OwnedFd, content: &Content) -> Result<(), ItemError> {
        let has_holes = AtomicBool::new(false);
        let size = content.size;
        if let Body::Inline(bytes) = &content.body {
            self.write_at(file, bytes, 0)?;
        } else if size >= LARGE_BYTES {
            self.write_together(file, content, &has_holes)?;
        } else {
            self.repository.segments(content, &mut |segment, start| {
                self.write_segment(file, segment, start, &has_holes)?;
                Ok::<_, ItemError>(ControlFlow::Continue(()))
            })?;
        }
        if has_holes.load(Ordering::Relaxed) {
            ftruncate(file, size).map_err(ItemError::target("write it"))?;
        }
        Ok(())
    }

    /// Several threads load, check and write the segments of one large file.
    fn write_together(
        &self,
        file: &OwnedFd,
        content: &Content,
        has_holes: &AtomicBool,
    ) -> Result<(), ItemError> {
        let threads = thread::available_parallelism().map_or(2, usize::from);
        let failed = Mutex::new(None);
        let fail = |error: ItemError| {
            failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
        };
        let (sender, segments) = bounded::<(Segment, u64)>(SEGMENTS_AHEAD);
        thread::scope(|scope| {
            for _ in 0..threads {
                let (segments, fail) = (segments.clone(), &fail);
                scope.spawn(move || {
                    for (segment, start) in segments {
                        if let Err(error) = self.write_segment(file, &segment, start, has_holes) {
                            return fail(error);
                        }
                    }
                });
            }
            drop(segments);
            let listed = self.repository.segments(content, &mut |segment, start| {
                // The rest of a file that failed is not worth reading.
                let is_over = failed.lock().is_ok_and(|failed| failed.is_some());
                let flow = match is_over || sender.send((*segment, start)).is_err() {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                };
                Ok::<_, ItemError>(flow)
            });
            drop(sender);
            if let Err(error) = listed {
                fail(error);
            }
        });
        let failed = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        failed.map_or(Ok(()), Err)
    }

    fn write_segment(
        &self,
        file: &OwnedFd,
        segment: &Segment,
        start: u64,
        has_holes: &AtomicBool,
    ) -> Result<(), ItemError> {
        if self.is_stopped() {
            return Err(ItemError::Stopped);
        }
        match segment {
            Segment::Hole { .. } => has_holes.store(true, Ordering::Relaxed),
            Segment::Chunk { id, bytes, hint } => {
                let plain = self.repository.chunk(id, *bytes, *hint)?;
                if self.request.sparse {
                    self.write_blocks(file, &plain, start, has_holes)?;
                } else {
                    self.write_at(file, &plain, start)?;
                }
            }
        }
        Ok(())
    }

    /// Writes what is not zero.
    fn write_blocks(
        &self,
        file: &OwnedFd,
        plain: &[u8],
        start: u64,
        has_holes: &AtomicBool,
    ) -> Result<(), ItemError> {
        // Holes begin and end where blocks of the file do.
        let head = (BLOCK_BYTES - (start % BLOCK_BYTES as u64) as usize) % BLOCK_BYTES;
        let (head, rest) = plain.split_at_checked(head).unwrap_or((plain, &[]));
        self.write_at(file, head, start)?;
        let mut at = start + head.len() as u64;
        for block in rest.chunks(BLOCK_BYTES) {
            if block == ZEROS {
                has_holes.store(true, Ordering::Relaxed);
            } else {
                self.write_at(file, block, at)?;
            }
            at += block.len() as u64;
        }
        Ok(())
    }

    fn write_at(&self, file: &OwnedFd, mut bytes: &[u8], mut at: u64) -> Result<(), ItemError> {
        while !bytes.is_empty() {
            match pwrite(file, bytes, at) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(written) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    at += written as u64;
                }
                Err(error) => return Err(ItemError::target("write it")(error)),
            }
        }
        Ok(())
    }

    /// Whether a file of the right size holds the content, byte for byte.
    pub(super) fn same_content(
        &self,
        file: &OwnedFd,
        content: &Content,
    ) -> Result<bool, ItemError> {
        let mut buffer = vec![0; READ_BYTES];
        if let Body::Inline(bytes) = &content.body {
            return holds(file, bytes, 0, &mut buffer);
        }
        let mut is_same = true;
        self.repository.segments(content, &mut |segment, start| {
            if self.is_stopped() {
                return Err(ItemError::Stopped);
            }
            is_same = match segment {
                Segment::Hole { bytes } => holds_zeros(file, start, start + bytes, &mut buffer)?,
                Segment::Chunk { id, bytes, hint } => {
                    let plain = self.repository.chunk(id, *bytes, *hint)?;
                    holds(file, &plain, start, &mut buffer)?
                }
            };
            Ok(if is_same { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(is_same)
    }
}

/// Whether a file holds `bytes` at an offset.
fn holds(file: &OwnedFd, bytes: &[u8], start: u64, buffer: &mut [u8]) -> Result<bool, ItemError> {
    let mut at = start;
    for part in bytes.chunks(buffer.len().max(1)) {
        let found = buffer.get_mut(..part.len()).unwrap_or_default();
        if !fill(file, found, at)? || found != part {
            return Ok(false);
        }
        at += part.len() as u64;
    }
    Ok(true)
}

/// Whether a file holds nothing but zeros in a range. Its holes are not read.
fn holds_zeros(file: &OwnedFd, start: u64, end: u64, buffer: &mut [u8]) -> Result<bool, ItemError> {
    let mut at = start;
    while at < end {
        at = match seek(file, SeekFrom::Data(at)) {
            Ok(data) if data < end => data.max(at),
            Ok(_) | Err(Errno::NXIO) => return Ok(true),
            // A file system that knows no holes.
            Err(Errno::INVAL) => at,
            Err(error) => return Err(ItemError::target("read it")(error)),
        };
        let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let found = buffer.get_mut(..length).unwrap_or_default();
        if !fill(file, found, at)? || found.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += length as u64;
    }
    Ok(true)
}

/// Fills a buffer from an offset; false if the file ends before.
fn fill(file: &OwnedFd, mut buffer: &mut [u8], mut at: u64) -> Result<bool, ItemError> {
    while !buffer.is_empty() {
        match pread(file, &mut *buffer, at) {
            Ok(0) => return Ok(false),
            Ok(read) => {
                buffer = buffer.get_mut(read..).unwrap_or_default();
                at += read as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(ItemError::target("read it")(error)),
        }
    }
    Ok(true)
}
