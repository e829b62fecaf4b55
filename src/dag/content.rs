//! The content of a regular file: a few bytes inline, or a run of chunks and
//! holes, or the root of a chunk list when there are many.

use crate::base::codec::DecodeError;
use crate::base::hash::Digest256;
use crate::base::id::ChunkId;
use crate::base::limits::{CHUNK_BYTES_MAX, INLINE_CONTENT_BYTES_MAX, INLINE_SEGMENTS_MAX};
use crate::dag::chunk_list::ChunkListRef;
use crate::dag::record::{Hint, RecordDecoder, RecordEncoder, Target};

/// Bytes of a block in which disks are accounted.
const BLOCK_BYTES: u64 = 4096;

/// The content of a regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its length in bytes, holes included.
    pub size: u64,
    /// The SHA-256 of the whole, where it is not the id of the only chunk and
    /// was worth computing: files with holes have none. In an encrypted repository
    /// ids are no hashes, so there a file of one chunk has it too.
    pub sha256: Option<Digest256>,
    /// Where the bytes are.
    pub body: Body,
}

/// Where the bytes of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Here.
    Inline(Box<[u8]>),
    /// In these segments, one after another.
    Segments(Box<[Segment]>),
    /// In the segments of a chunk list.
    List(ChunkListRef),
}

/// A piece of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Data.
    Chunk {
        /// The chunk that holds it.
        id: ChunkId,
        /// Its length in bytes.
        bytes: u32,
        /// Where the chunk lies.
        hint: Hint,
    },
    /// A hole: reads as zeros and takes no space.
    Hole {
        /// Its length in bytes.
        bytes: u64,
    },
}

impl Segment {
    /// The length in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        match self {
            Self::Chunk { bytes, .. } => *bytes as u64,
            Self::Hole { bytes } => *bytes,
        }
    }

    /// The bytes that are not a hole.
    #[must_use]
    pub const fn data_bytes(&self) -> u64 {
        match self {
            Self::Chunk { bytes, .. } => *bytes as u64,
            Self::Hole { .. } => 0,
        }
    }

    /// Appends the segment: its length, and for data the chunk. A hole is told
    /// from data by the lowest bit of the length.
    pub(crate) fn encode(&self, encoder: &mut RecordEncoder) {
        match self {
            Self::Chunk { id, bytes, hint } => {
                encoder.body.number(u64::from(*bytes) << 1);
                encoder.reference(Target::Data, id.as_bytes(), *hint);
            }
            Self::Hole { bytes } => encoder.body.number(bytes << 1 | 1),
        }
    }

    pub(crate) fn decode(decoder: &mut RecordDecoder<'_>) -> Result<Self, DecodeError> {
        let length = decoder.body.number()?;
        if length >> 1 == 0 {
            return Err(decoder.body.error("a segment is empty"));
        }
        if length & 1 == 1 {
            return Ok(Self::Hole { bytes: length >> 1 });
        }
        if length >> 1 > CHUNK_BYTES_MAX as u64 {
            return Err(decoder.body.error("a chunk exceeds its largest size"));
        }
        let (digest, hint) = decoder.reference(Target::Data)?;
        let bytes = u32::try_from(length >> 1).unwrap_or(u32::MAX);
        Ok(Self::Chunk { id: ChunkId::from_digest(digest), bytes, hint })
    }
}

const INLINE: u8 = 0;
const SEGMENTS: u8 = 1;
const LIST: u8 = 2;
const BODY_MASK: u8 = 0x0f;
const HAS_SHA256: u8 = 0x10;

impl Content {
    /// Returns the content of an empty file.
    #[must_use]
    pub fn empty() -> Self {
        Self { size: 0, sha256: None, body: Body::Inline(Box::default()) }
    }

    /// The bytes that are not holes.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        match &self.body {
            Body::Inline(bytes) => bytes.len() as u64,
            Body::Segments(segments) => segments.iter().map(Segment::data_bytes).sum(),
            Body::List(list) => list.data_bytes,
        }
    }

    /// The 512-byte blocks that `stat` reports: what the data takes in whole
    /// blocks of 4 KiB, holes not counted. Never 0 for a file with data, since
    /// `tar -S` takes such a file for one big hole.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.data_bytes().div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES / 512)
    }

    /// The SHA-256 of the whole content, where it is known without reading.
    #[must_use]
    pub fn known_sha256(&self) -> Option<Digest256> {
        match &self.body {
            Body::Inline(bytes) => Some(crate::base::hash::sha256(bytes)),
            Body::Segments(segments) => match **segments {
                [Segment::Chunk { id, .. }] => self.sha256.or(Some(*id.as_bytes())),
                _ => self.sha256,
            },
            Body::List(_) => self.sha256,
        }
    }

    pub(crate) fn encode(&self, encoder: &mut RecordEncoder) {
        let flags = if self.sha256.is_some() { HAS_SHA256 } else { 0 };
        match &self.body {
            Body::Inline(bytes) => {
                encoder.body.byte(INLINE | flags);
                encoder.body.bytes(bytes);
            }
            Body::Segments(segments) => {
                encoder.body.byte(SEGMENTS | flags);
                encoder.body.number(segments.len() as u64);
                for segment in segments {
                    segment.encode(encoder);
                }
            }
            Body::List(list) => {
                encoder.body.byte(LIST | flags);
                list.encode(encoder);
            }
        }
        if let Some(sha256) = &self.sha256 {
            encoder.body.raw(sha256);
        }
    }

    pub(crate) fn decode(decoder: &mut RecordDecoder<'_>) -> Result<Self, DecodeError> {
        let tag = decoder.body.byte()?;
        if tag & !(BODY_MASK | HAS_SHA256) != 0 {
            return Err(decoder.body.error("a content has unknown flags"));
        }
        let (size, body) = match tag & BODY_MASK {
            INLINE => {
                let bytes = decoder.body.bytes(INLINE_CONTENT_BYTES_MAX, "inline content")?;
                (bytes.len() as u64, Body::Inline(bytes.into()))
            }
            SEGMENTS => {
                let segments = decode_segments(decoder)?;
                let size = segments.iter().try_fold(0_u64, |sum, s| sum.checked_add(s.bytes()));
                let size = size.ok_or_else(|| decoder.body.error("a file exceeds 64 bits"))?;
                (size, Body::Segments(segments))
            }
            LIST => {
                let list = ChunkListRef::decode(decoder)?;
                (list.bytes, Body::List(list))
            }
            _ => return Err(decoder.body.error("a content is of an unknown form")),
        };
        let sha256 = if tag & HAS_SHA256 == 0 { None } else { Some(decoder.body.array()?) };
        Ok(Self { size, sha256, body })
    }
}

fn decode_segments(decoder: &mut RecordDecoder<'_>) -> Result<Box<[Segment]>, DecodeError> {
    let count = decoder.body.count(INLINE_SEGMENTS_MAX, "the number of segments")?;
    if count == 0 {
        return Err(decoder.body.error("a file has an empty list of segments"));
    }
    let mut segments = Vec::with_capacity(count);
    for _ in 0..count {
        segments.push(Segment::decode(decoder)?);
    }
    Ok(segments.into())
}
