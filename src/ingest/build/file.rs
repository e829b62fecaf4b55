//! A file under construction: its pieces are stored as they come.

use crate::base::hash::{Digest256, StreamHash};
use crate::base::name::EntryName;
use crate::dag::{ChunkListBuilder, Content, Segment};
use crate::ingest::item::Piece;
use crate::ingest::pipeline::Prepared;
use crate::repository::{RepositoryError, Session};

/// Stores the pieces of a file and returns its content.
pub(crate) fn store_pieces(
    session: &mut Session<'_>,
    pieces: Vec<Piece>,
    sha256: Option<Digest256>,
) -> Result<Content, RepositoryError> {
    let mut segments = ChunkListBuilder::new();
    let mut size = 0;
    for piece in pieces {
        let segment = match piece {
            Piece::Chunk(chunk) => session.put_chunk(chunk)?,
            Piece::Hole(bytes) => Segment::Hole { bytes },
        };
        size += segment.bytes();
        segments.push(segment, &mut |record| session.put_list(record))?;
    }
    let body = segments.finish(&mut |record| session.put_list(record))?;
    Ok(Content { size, sha256, body })
}

/// A file that comes piece by piece.
pub(crate) struct StreamedFile {
    pub(crate) name: EntryName,
    /// Its place in its directory's page, if it was there.
    pub(crate) recorded: Option<usize>,
    segments: ChunkListBuilder,
    size: u64,
    /// Bytes that are no holes.
    pub(crate) data_bytes: u64,
    has_holes: bool,
    /// Of the whole file, unless the id of its only chunk says it already.
    hash: Option<StreamHash>,
}

impl StreamedFile {
    pub(crate) fn new(name: EntryName, recorded: Option<usize>) -> Self {
        let segments = ChunkListBuilder::new();
        Self { name, recorded, segments, size: 0, data_bytes: 0, has_holes: false, hash: None }
    }

    pub(crate) fn chunk(
        &mut self,
        session: &mut Session<'_>,
        prepared: Prepared,
        is_only: bool,
    ) -> Result<(), RepositoryError> {
        let Prepared { chunk, plain } = prepared;
        let segment = session.put_chunk(chunk)?;
        let is_told = is_only && session.ids().is_plain();
        if !is_told && !self.has_holes {
            self.hash.get_or_insert_default().update(&plain);
        }
        self.data_bytes += plain.len() as u64;
        self.push(session, segment)
    }

    pub(crate) fn hole(
        &mut self,
        session: &mut Session<'_>,
        bytes: u64,
    ) -> Result<(), RepositoryError> {
        self.has_holes = true;
        self.push(session, Segment::Hole { bytes })
    }

    /// Bytes that are holes.
    pub(crate) const fn hole_bytes(&self) -> u64 {
        self.size - self.data_bytes
    }

    fn push(&mut self, session: &mut Session<'_>, segment: Segment) -> Result<(), RepositoryError> {
        self.size += segment.bytes();
        self.segments.push(segment, &mut |record| session.put_list(record))
    }

    pub(crate) fn finish(self, session: &mut Session<'_>) -> Result<Content, RepositoryError> {
        let sha256 = self.hash.filter(|_| !self.has_holes).map(StreamHash::finish);
        let body = self.segments.finish(&mut |record| session.put_list(record))?;
        Ok(Content { size: self.size, sha256, body })
    }
}
