//! The content of a file of a snapshot, to be read like any other.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use crate::archive::error::ArchiveError;
use crate::dag::{Body, Content, Segment};
use crate::repository::{Repository, RepositoryError};

/// Reads content in order, holes as zeros. Holds one chunk, and the list of chunks.
pub(super) struct ContentReader<'a> {
    repository: &'a Repository,
    segments: std::vec::IntoIter<Segment>,
    /// The chunk at hand, and how much of it was read.
    chunk: Vec<u8>,
    place: usize,
    /// Bytes that are left of the hole at hand.
    hole: u64,
    failure: Option<RepositoryError>,
}

impl<'a> ContentReader<'a> {
    pub(super) fn new(
        repository: &'a Repository,
        content: &Content,
    ) -> Result<Self, RepositoryError> {
        let (mut segments, mut chunk) = (Vec::new(), Vec::new());
        if let Body::Inline(bytes) = &content.body {
            chunk.extend_from_slice(bytes);
        } else {
            repository.segments(content, &mut |segment, _| {
                segments.push(*segment);
                Ok::<_, RepositoryError>(ControlFlow::Continue(()))
            })?;
        }
        let segments = segments.into_iter();
        Ok(Self { repository, segments, chunk, place: 0, hole: 0, failure: None })
    }

    /// Why reading failed: the repository knows it better.
    pub(super) fn failed(&mut self, name: &str, error: io::Error) -> ArchiveError {
        match self.failure.take() {
            Some(failure) => failure.into(),
            None => ArchiveError::io("read", Path::new(name))(error),
        }
    }
}

impl Read for ContentReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let rest = self.chunk.get(self.place..).unwrap_or_default();
            let most = rest.len().max(usize::try_from(self.hole).unwrap_or(usize::MAX));
            let length = most.min(buffer.len());
            let target = buffer.get_mut(..length).unwrap_or_default();
            match rest.get(..length) {
                Some(bytes) if !rest.is_empty() => {
                    target.copy_from_slice(bytes);
                    self.place += length;
                    return Ok(length);
                }
                _ if self.hole > 0 => {
                    target.fill(0);
                    self.hole -= length as u64;
                    return Ok(length);
                }
                _ => {}
            }
            match self.segments.next() {
                None => return Ok(0),
                Some(Segment::Hole { bytes }) => self.hole = bytes,
                Some(Segment::Chunk { id, bytes, hint }) => {
                    let chunk = self.repository.chunk(&id, bytes, hint);
                    self.chunk = chunk.map_err(|failure| {
                        let error = io::Error::other(failure.to_string());
                        self.failure = Some(failure);
                        error
                    })?;
                    self.place = 0;
                }
            }
        }
    }
}
