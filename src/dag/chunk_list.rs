//! The chunk list of a large file: leaf pages of segments, index pages over
//! them, cut at content-defined boundaries like directories.
//!
//! ```text
//! leaf  = 1 | count, segment...
//! index = 2 | level | count, list reference...
//! list reference = id (32 bytes) | bytes | data bytes
//! segment = length * 2 | chunk id (32 bytes)     for data
//!         | length * 2 + 1                       for a hole
//! ```

use crate::base::codec::DecodeError;
use crate::base::hash::leading_u64;
use crate::base::id::{IdScheme, ListId};
use crate::base::limits::{INLINE_SEGMENTS_MAX, TREE_LEVELS_MAX, TREE_PAGE_ITEMS_MAX};
use crate::dag::content::{Body, Segment};
use crate::dag::paging::page_ends;
use crate::dag::record::{DagError, Hint, Record, RecordDecoder, RecordEncoder, Target};

const LEAF: u8 = 1;
const INDEX: u8 = 2;
const OBJECT: &str = "chunk list";

/// A page of a chunk list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChunkList {
    /// Segments in file order.
    Leaf(Vec<Segment>),
    /// Pages in file order, all of one level below this one.
    Index {
        /// How far above the leaves; at least 1.
        level: u8,
        /// The pages.
        pages: Vec<ChunkListRef>,
    },
}

/// A reference to a page of a chunk list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkListRef {
    /// The page.
    pub id: ListId,
    /// Where it lies.
    pub hint: Hint,
    /// The bytes of file below it, holes included.
    pub bytes: u64,
    /// The bytes below it that are not holes.
    pub data_bytes: u64,
}

impl ChunkListRef {
    pub(crate) fn encode(&self, encoder: &mut RecordEncoder) {
        encoder.reference(Target::Tree, self.id.as_bytes(), self.hint);
        encoder.body.number(self.bytes);
        encoder.body.number(self.data_bytes);
    }

    pub(crate) fn decode(decoder: &mut RecordDecoder<'_>) -> Result<Self, DecodeError> {
        let (digest, hint) = decoder.reference(Target::Tree)?;
        let bytes = decoder.body.number()?;
        let data_bytes = decoder.body.number()?;
        if bytes == 0 || data_bytes > bytes {
            return Err(decoder.body.error("a chunk list has impossible sizes"));
        }
        Ok(Self { id: ListId::from_digest(digest), hint, bytes, data_bytes })
    }
}

impl ChunkList {
    /// Decodes and checks a page that was stored under `reference`, sums
    /// included.
    ///
    /// # Errors
    /// Fails if the bytes do not hash to the id, are no canonical encoding, or
    /// do not add up to what the reference says.
    pub fn decode(
        ids: &IdScheme,
        reference: &ChunkListRef,
        canonical: &[u8],
        hints: &[u8],
    ) -> Result<Self, DagError> {
        if ids.list(canonical) != reference.id {
            return Err(DagError::WrongHash { object: OBJECT, id: reference.id.to_string() });
        }
        let mut decoder = RecordDecoder::new(canonical, hints);
        let list = decode_page(&mut decoder).map_err(DagError::malformed(OBJECT))?;
        if list.sums() != Some((reference.bytes, reference.data_bytes)) {
            let source = decoder.body.error("the page does not add up to its reference");
            return Err(DagError::Malformed { object: OBJECT, source });
        }
        decoder.body.finish().map_err(DagError::malformed(OBJECT))?;
        Ok(list)
    }

    /// Whether canonical bytes are those of a page of some chunk list.
    #[must_use]
    pub fn is_page(canonical: &[u8], hints: &[u8]) -> bool {
        let mut decoder = RecordDecoder::new(canonical, hints);
        decode_page(&mut decoder).is_ok() && decoder.body.finish().is_ok()
    }

    /// The bytes below this page, and those of them that are not holes.
    fn sums(&self) -> Option<(u64, u64)> {
        let add = |(all, data): (u64, u64), bytes: u64, data_bytes: u64| {
            Some((all.checked_add(bytes)?, data.checked_add(data_bytes)?))
        };
        match self {
            Self::Leaf(segments) => {
                segments.iter().try_fold((0, 0), |sums, s| add(sums, s.bytes(), s.data_bytes()))
            }
            Self::Index { pages, .. } => {
                pages.iter().try_fold((0, 0), |sums, page| add(sums, page.bytes, page.data_bytes))
            }
        }
    }
}

fn decode_page(decoder: &mut RecordDecoder<'_>) -> Result<ChunkList, DecodeError> {
    match decoder.body.byte()? {
        LEAF => {
            let count = decoder.body.count(TREE_PAGE_ITEMS_MAX, "the number of segments")?;
            let segments: Result<Vec<_>, _> =
                (0..count).map(|_| Segment::decode(decoder)).collect();
            Ok(ChunkList::Leaf(segments?))
        }
        INDEX => {
            let level = decoder.body.byte()?;
            if level == 0 || level > TREE_LEVELS_MAX {
                return Err(decoder.body.error("an index page has an impossible level"));
            }
            let count = decoder.body.count(TREE_PAGE_ITEMS_MAX, "the number of pages")?;
            let pages: Result<Vec<_>, _> =
                (0..count).map(|_| ChunkListRef::decode(decoder)).collect();
            Ok(ChunkList::Index { level, pages: pages? })
        }
        _ => Err(decoder.body.error("a page is of an unknown form")),
    }
}

/// Takes the segments of a file in order and stores the pages of its chunk
/// list, if it needs one. Holds one page of segments at a time.
///
/// `store` receives each page and returns its id and where it put it.
#[derive(Debug, Default)]
pub struct ChunkListBuilder {
    segments: Vec<Segment>,
    pages: Vec<ChunkListRef>,
}

impl ChunkListBuilder {
    /// Returns a builder without segments.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a segment.
    ///
    /// # Errors
    /// Fails if `store` does.
    pub fn push<E>(
        &mut self,
        segment: Segment,
        store: &mut impl FnMut(&Record) -> Result<(ListId, Hint), E>,
    ) -> Result<(), E> {
        self.segments.push(segment);
        let boundary = || match &segment {
            Segment::Chunk { id, .. } => leading_u64(id.as_bytes()),
            Segment::Hole { .. } => 1,
        };
        if page_ends(self.segments.len(), 0, boundary) {
            self.close_page(store)?;
        }
        Ok(())
    }

    /// Stores what is left and returns where the bytes of the file are.
    ///
    /// # Errors
    /// Fails if `store` does.
    pub fn finish<E>(
        mut self,
        store: &mut impl FnMut(&Record) -> Result<(ListId, Hint), E>,
    ) -> Result<Body, E> {
        if self.pages.is_empty() && self.segments.len() <= INLINE_SEGMENTS_MAX {
            return Ok(if self.segments.is_empty() {
                Body::Inline(Box::default())
            } else {
                Body::Segments(self.segments.into())
            });
        }
        if !self.segments.is_empty() {
            self.close_page(store)?;
        }
        let mut level = 1;
        let mut pages = self.pages;
        while pages.len() > 1 {
            pages = index_level(level, &pages, store)?;
            level += 1;
        }
        Ok(Body::List(pages.remove(0)))
    }

    fn close_page<E>(
        &mut self,
        store: &mut impl FnMut(&Record) -> Result<(ListId, Hint), E>,
    ) -> Result<(), E> {
        let segments = std::mem::take(&mut self.segments);
        let mut page = RecordEncoder::default();
        page.body.byte(LEAF);
        page.body.number(segments.len() as u64);
        for segment in &segments {
            segment.encode(&mut page);
        }
        let bytes = segments.iter().map(Segment::bytes).sum();
        let data_bytes = segments.iter().map(Segment::data_bytes).sum();
        self.pages.push(store_page(page, bytes, data_bytes, store)?);
        Ok(())
    }
}

fn index_level<E>(
    level: u8,
    pages: &[ChunkListRef],
    store: &mut impl FnMut(&Record) -> Result<(ListId, Hint), E>,
) -> Result<Vec<ChunkListRef>, E> {
    let mut above = Vec::new();
    let mut start = 0;
    for (index, last) in pages.iter().enumerate() {
        let items = index + 1 - start;
        let boundary = || leading_u64(last.id.as_bytes());
        if index + 1 == pages.len() || page_ends(items, 0, boundary) {
            let group = pages.get(start..=index).unwrap_or_default();
            start = index + 1;
            let mut page = RecordEncoder::default();
            page.body.byte(INDEX);
            page.body.byte(level);
            page.body.number(group.len() as u64);
            for reference in group {
                reference.encode(&mut page);
            }
            let bytes = group.iter().map(|page| page.bytes).sum();
            let data_bytes = group.iter().map(|page| page.data_bytes).sum();
            above.push(store_page(page, bytes, data_bytes, store)?);
        }
    }
    Ok(above)
}

fn store_page<E>(
    page: RecordEncoder,
    bytes: u64,
    data_bytes: u64,
    store: &mut impl FnMut(&Record) -> Result<(ListId, Hint), E>,
) -> Result<ChunkListRef, E> {
    let record = page.finish();
    let (id, hint) = store(&record)?;
    Ok(ChunkListRef { id, hint, bytes, data_bytes })
}
