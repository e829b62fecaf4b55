//! Reading one item whole: a small file, a symlink, a device. Any thread can.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use crate::base::hash::{Digest256, StreamHash};
use crate::base::limits::INLINE_CONTENT_BYTES_MAX;
use crate::base::progress::Monitor;
use crate::chunking::Chunker;
use crate::compression::Compression;
use crate::dag::{Body, Content, Kind, LinkGroup};
use crate::ingest::content::{ContentSink, Cutter, ReadFailure, read_content, read_small};
use crate::ingest::error::problem;
use crate::ingest::fingerprint::Fingerprinter;
use crate::ingest::location::Location;
use crate::ingest::metadata::{Metadata, Owners, XattrSource};
use crate::ingest::rate::RateLimiter;
use crate::local::Status;
use crate::repository::{Fingerprint, PreparedChunk, Repository, RepositoryError};

/// Bytes above which a file is not read whole but streamed.
pub(crate) const WHOLE_BYTES_MAX: u64 = 1 << 20;
/// Bytes that are read of a file that was small when it was met.
const READ_BYTES_MAX: u64 = 2 * WHOLE_BYTES_MAX;
/// How often a file that changed meanwhile is read again.
pub(crate) const REREADS_MAX: u32 = 2;
/// What is said of a file that went on changing.
pub(crate) const CHANGED: &str = "changed while it was being read; saved as read";
/// What is said of a name that leads to another file by now.
pub(crate) const REPLACED: &str = "was replaced while it was being saved";

/// What all that read share.
pub(crate) struct ItemReader<'a> {
    pub(crate) repository: &'a Repository,
    pub(crate) monitor: &'a dyn Monitor,
    pub(crate) compression: Compression,
    pub(crate) chunker: Chunker,
    pub(crate) owners: Owners,
    pub(crate) fingerprinter: Fingerprinter,
    pub(crate) rate: RateLimiter,
}

/// An item to read.
pub(crate) struct ItemJob {
    pub(crate) location: Location,
    pub(crate) status: Status,
    pub(crate) links: Option<LinkGroup>,
}

/// What became of it.
pub(crate) enum ItemOutcome {
    /// It was read.
    Read(Box<ItemRead>),
    /// It could not be; this is why.
    Failed(String),
}

/// An item as it was read.
pub(crate) struct ItemRead {
    pub(crate) metadata: Metadata,
    pub(crate) body: ItemBody,
    pub(crate) fingerprint: Fingerprint,
    /// What could not be read of it.
    pub(crate) problems: Vec<String>,
}

/// The content of an item.
pub(crate) enum ItemBody {
    /// All there is.
    Done(Kind),
    /// Pieces, still to be stored.
    Pieces {
        pieces: Vec<Piece>,
        /// Of the whole, if it is worth it.
        sha256: Option<Digest256>,
    },
}

/// A piece of a file.
pub(crate) enum Piece {
    Chunk(PreparedChunk),
    Hole(u64),
}

impl ItemReader<'_> {
    /// Hashes, looks up and seals a chunk. Returns its SHA-256 with it.
    pub(crate) fn prepare(
        &self,
        plain: &[u8],
    ) -> Result<(PreparedChunk, Digest256), RepositoryError> {
        self.repository.prepare_chunk(plain, self.compression)
    }

    /// Reads an item that is no directory and no large file.
    pub(crate) fn read(&self, job: &ItemJob) -> Result<ItemOutcome, RepositoryError> {
        if job.status.is(FileType::RegularFile) {
            return self.regular(job);
        }
        Ok(match special_kind(job) {
            Ok(kind) => {
                let mut problems = Vec::new();
                let source = XattrSource::Location(&job.location);
                let metadata = self.metadata(&job.status, job.links, source, &mut problems);
                let fingerprint = self.fingerprinter.remembered(&job.status, &metadata.owner);
                let body = ItemBody::Done(kind);
                ItemOutcome::Read(Box::new(ItemRead { metadata, body, fingerprint, problems }))
            }
            Err(reason) => ItemOutcome::Failed(reason),
        })
    }

    /// Reads the metadata of an item; attributes that cannot be read are a
    /// problem, and the item is kept without.
    pub(crate) fn metadata(
        &self,
        status: &Status,
        links: Option<LinkGroup>,
        xattrs: XattrSource<'_>,
        problems: &mut Vec<String>,
    ) -> Metadata {
        let xattrs = xattrs.read().unwrap_or_else(|error| {
            problems.push(problem("read its extended attributes", &error));
            Vec::new()
        });
        let owner = self.owners.of(status);
        let with_atime = self.fingerprinter.with_atime;
        Metadata { links, ..Metadata::new(status, owner, with_atime, xattrs) }
    }

    fn regular(&self, job: &ItemJob) -> Result<ItemOutcome, RepositoryError> {
        let failed = |action: &str, error: Errno| {
            Ok(ItemOutcome::Failed(problem(action, &io::Error::from(error))))
        };
        let opened = job.location.open(OFlags::empty());
        let opened = opened.and_then(|file| Ok((Status::of_file(&file)?, file)));
        let (mut status, file) = match opened {
            Ok(opened) => opened,
            Err(error) => return failed("open it", error),
        };
        if !status.is(FileType::RegularFile) || status.identity() != job.status.identity() {
            return Ok(ItemOutcome::Failed(REPLACED.to_owned()));
        }
        let mut rereads = 0;
        loop {
            let mut problems = Vec::new();
            let source = XattrSource::File(&file);
            let mut metadata = self.metadata(&status, job.links, source, &mut problems);
            let body = match self.body(&file, &status, job.links.is_some()) {
                Ok(body) => body,
                Err(ReadFailure::Sink(error)) => return Err(error),
                Err(ReadFailure::Source(error)) => {
                    return Ok(ItemOutcome::Failed(problem("read it", &error)));
                }
            };
            let after = match Status::of_file(&file) {
                Ok(after) => after,
                Err(error) => return failed("check it", error),
            };
            let mut fingerprint = self.fingerprinter.remembered(&status, &metadata.owner);
            // One that grew far beyond what it had when it was met is cut.
            let is_cut = status.size > READ_BYTES_MAX;
            if after.stamp() != status.stamp() || is_cut {
                if !is_cut && rereads < REREADS_MAX && !self.monitor.cancelled() {
                    rereads += 1;
                    status = after;
                    continue;
                }
                metadata.changed_while_read = true;
                fingerprint = Fingerprint::NONE;
                problems.push(CHANGED.to_owned());
            }
            let read = ItemRead { metadata, body, fingerprint, problems };
            return Ok(ItemOutcome::Read(Box::new(read)));
        }
    }

    fn body(
        &self,
        file: &OwnedFd,
        status: &Status,
        is_linked: bool,
    ) -> Result<ItemBody, ReadFailure<RepositoryError>> {
        let size = status.size.min(READ_BYTES_MAX);
        if size == 0 {
            // Some files of the kernel say that they are empty and are not.
            return self.sizeless(file, is_linked);
        }
        self.rate.take(size as usize, self.monitor);
        if size <= INLINE_CONTENT_BYTES_MAX as u64 && !is_linked {
            return Ok(self.inline(&read_small(file, size as usize)?));
        }
        let mut collector = Collector::new(self);
        let may_have_holes = status.allocated < size;
        read_content(file, size, may_have_holes, &self.chunker, &mut collector)?;
        Ok(collector.finish())
    }

    /// The body of a file that says it is empty. Some of the kernel's are not.
    fn sizeless(
        &self,
        file: &OwnedFd,
        is_linked: bool,
    ) -> Result<ItemBody, ReadFailure<RepositoryError>> {
        let mut bytes = read_small(file, INLINE_CONTENT_BYTES_MAX + 1)?;
        if bytes.len() > INLINE_CONTENT_BYTES_MAX {
            bytes = read_small(file, WHOLE_BYTES_MAX as usize)?;
        }
        if bytes.len() as u64 >= WHOLE_BYTES_MAX {
            return Err(ReadFailure::Source(io::Error::other("it has no size, and no end")));
        }
        if bytes.is_empty() || (bytes.len() <= INLINE_CONTENT_BYTES_MAX && !is_linked) {
            return Ok(self.inline(&bytes));
        }
        let mut collector = Collector::new(self);
        let mut cutter = Cutter::new(&self.chunker, 0);
        cutter.buffer = bytes;
        cutter.cut(true, true, &mut collector).map_err(ReadFailure::Sink)?;
        Ok(collector.finish())
    }

    fn inline(&self, bytes: &[u8]) -> ItemBody {
        let size = bytes.len() as u64;
        self.monitor.read(size);
        ItemBody::Done(Kind::File(Content { size, sha256: None, body: Body::Inline(bytes.into()) }))
    }
}

/// The kind of an item that is neither a directory nor a regular file.
fn special_kind(job: &ItemJob) -> Result<Kind, String> {
    match job.status.kind {
        FileType::Symlink => match job.location.read_link() {
            Ok(target) => Ok(Kind::Symlink(target.into())),
            Err(error) => Err(problem("read the link", &error.into())),
        },
        FileType::Fifo => Ok(Kind::Fifo),
        FileType::Socket => Ok(Kind::Socket),
        FileType::BlockDevice => Ok(Kind::BlockDevice(job.status.special)),
        FileType::CharacterDevice => Ok(Kind::CharDevice(job.status.special)),
        _ => Err("is of an unknown kind".to_owned()),
    }
}

/// Prepares the chunks of a file as they are read.
struct Collector<'a> {
    reader: &'a ItemReader<'a>,
    pieces: Vec<Piece>,
    /// Of the whole file, while it has no holes.
    hash: Option<StreamHash>,
    /// Of its only chunk, where the chunk's id does not tell.
    only: Option<Digest256>,
    has_holes: bool,
}

impl<'a> Collector<'a> {
    const fn new(reader: &'a ItemReader<'a>) -> Self {
        Self { reader, pieces: Vec::new(), hash: None, only: None, has_holes: false }
    }

    fn finish(self) -> ItemBody {
        let Self { pieces, hash, only, has_holes, .. } = self;
        let sha256 = hash.map(StreamHash::finish).or(only).filter(|_| !has_holes);
        ItemBody::Pieces { pieces, sha256 }
    }
}

impl ContentSink for Collector<'_> {
    type Error = RepositoryError;

    fn before_read(&mut self, _bytes: usize) -> Result<(), Self::Error> {
        Ok(())
    }

    fn chunk(&mut self, bytes: &[u8], is_only: bool) -> Result<(), Self::Error> {
        self.reader.monitor.read(bytes.len() as u64);
        // The id of the only chunk is the hash of the file, unless ids are keyed.
        if !is_only && !self.has_holes {
            self.hash.get_or_insert_default().update(bytes);
        }
        let (chunk, sha256) = self.reader.prepare(bytes)?;
        if is_only && !self.reader.repository.ids().is_plain() {
            self.only = Some(sha256);
        }
        self.pieces.push(Piece::Chunk(chunk));
        Ok(())
    }

    fn hole(&mut self, bytes: u64) -> Result<(), Self::Error> {
        self.has_holes = true;
        self.pieces.push(Piece::Hole(bytes));
        Ok(())
    }
}
