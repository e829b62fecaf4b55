//! File content by offset: chunks from a bounded cache, holes as zeros.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use crate::base::id::ChunkId;
use crate::base::limits::TREE_LEVELS_MAX;
use crate::dag::{Body, ChunkList, ChunkListRef, Content, Hint, Segment};
use crate::view::{View, ViewError};

/// Bytes of a file, shared with the cache where they lie in one chunk.
#[derive(Clone, Debug)]
pub enum FileBytes {
    /// A part of a chunk in the cache.
    Shared(Arc<[u8]>, Range<usize>),
    /// Bytes put together from several places.
    Owned(Vec<u8>),
}

impl FileBytes {
    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Shared(bytes, range) => bytes.get(range.clone()).unwrap_or_default(),
            Self::Owned(bytes) => bytes,
        }
    }
}

/// A page of a chunk list, with where each of its items begins in the page.
#[derive(Debug)]
pub(crate) struct ListPage {
    list: ChunkList,
    starts: Vec<u64>,
    /// The bytes of file below it.
    bytes: u64,
}

impl ListPage {
    fn new(list: ChunkList, bytes: u64) -> Self {
        let mut next = 0_u64;
        let mut start = |bytes: u64| {
            let start = next;
            next = next.saturating_add(bytes);
            start
        };
        let starts = match &list {
            ChunkList::Leaf(segments) => segments.iter().map(|s| start(s.bytes())).collect(),
            ChunkList::Index { pages, .. } => pages.iter().map(|p| start(p.bytes)).collect(),
        };
        Self { list, starts, bytes }
    }

    pub(crate) fn item_count(&self) -> u64 {
        self.starts.len() as u64
    }

    /// The index of the item that holds an offset.
    fn item_at(&self, offset: u64) -> usize {
        self.starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }
}

/// Tells from the sizes of a page whether to look into it.
type IsWanted = dyn Fn(&ChunkListRef) -> bool;
/// Called with each segment and where it begins in the file.
type Visit<'a> = dyn FnMut(&Segment, u64) -> Result<ControlFlow<()>, ViewError> + 'a;

impl View {
    /// Returns up to `length` bytes from `offset` on; fewer only at the end.
    ///
    /// # Errors
    /// Fails if a chunk cannot be read; the error names it.
    pub fn read(
        &self,
        content: &Content,
        offset: u64,
        length: usize,
    ) -> Result<FileBytes, ViewError> {
        let end = content.size.min(offset.saturating_add(length as u64));
        if offset >= end {
            return Ok(FileBytes::Owned(Vec::new()));
        }
        if let Body::Inline(bytes) = &content.body {
            let range = to_index(offset)..to_index(end);
            return Ok(FileBytes::Owned(bytes.get(range).unwrap_or_default().to_vec()));
        }
        let mut shared = None;
        let mut owned = Vec::new();
        self.visit(content, offset, &|_| true, &mut |segment, start| {
            let from = offset.max(start) - start;
            let to = segment.bytes().min(end - start);
            match segment {
                Segment::Chunk { id, bytes, hint } => {
                    let chunk = self.chunk(id, *bytes, *hint)?;
                    let range = to_index(from)..to_index(to);
                    if offset >= start && end <= start + segment.bytes() {
                        shared = Some(FileBytes::Shared(chunk, range));
                    } else {
                        owned.reserve(to_index(end - offset) - owned.len());
                        owned.extend_from_slice(chunk.get(range).unwrap_or_default());
                    }
                }
                Segment::Hole { .. } => owned.resize(owned.len() + to_index(to - from), 0),
            }
            let done = start + segment.bytes() >= end;
            Ok(if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(shared.unwrap_or(FileBytes::Owned(owned)))
    }

    /// Returns the next offset from `offset` on that is data, or nothing if
    /// there is none before the end of the file.
    ///
    /// # Errors
    /// Fails if a chunk list cannot be read.
    pub fn seek_data(&self, content: &Content, offset: u64) -> Result<Option<u64>, ViewError> {
        let is_data = |segment: &Segment| matches!(segment, Segment::Chunk { .. });
        self.seek(content, offset, is_data, &|page| page.data_bytes > 0)
    }

    /// Returns the next offset from `offset` on that is a hole; the end of the
    /// file counts as one. Nothing if the offset is not inside the file.
    ///
    /// # Errors
    /// Fails if a chunk list cannot be read.
    pub fn seek_hole(&self, content: &Content, offset: u64) -> Result<Option<u64>, ViewError> {
        if offset >= content.size {
            return Ok(None);
        }
        let is_hole = |segment: &Segment| matches!(segment, Segment::Hole { .. });
        let hole = self.seek(content, offset, is_hole, &|page| page.data_bytes < page.bytes);
        Ok(Some(hole?.unwrap_or(content.size)))
    }

    fn seek(
        &self,
        content: &Content,
        offset: u64,
        wanted: impl Fn(&Segment) -> bool,
        is_wanted: &IsWanted,
    ) -> Result<Option<u64>, ViewError> {
        if offset >= content.size {
            return Ok(None);
        }
        if let Body::Inline(_) = &content.body {
            let data = Segment::Chunk { id: ChunkId::from_digest([0; 32]), bytes: 1, hint: None };
            return Ok(wanted(&data).then_some(offset));
        }
        let mut found = None;
        self.visit(content, offset, is_wanted, &mut |segment, start| {
            if wanted(segment) {
                found = Some(offset.max(start));
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// Visits the segments from the one that holds `offset` on, without those
    /// below pages that are not wanted: a file may have more segments than anybody
    /// can look at.
    fn visit(
        &self,
        content: &Content,
        offset: u64,
        is_wanted: &IsWanted,
        visit: &mut Visit<'_>,
    ) -> Result<(), ViewError> {
        match &content.body {
            Body::Inline(_) => {}
            Body::Segments(segments) => {
                let mut start = 0;
                for segment in segments {
                    let end = start + segment.bytes();
                    if end > offset && visit(segment, start)?.is_break() {
                        break;
                    }
                    start = end;
                }
            }
            Body::List(list) => {
                let walk = ListWalk { offset, is_wanted };
                let _ = self.visit_list(&walk, list, (0, None), visit)?;
            }
        }
        Ok(())
    }

    /// Visits the segments below a page that begins at `start` in the file.
    /// Levels fall strictly, so the recursion is bounded.
    fn visit_list(
        &self,
        walk: &ListWalk<'_>,
        reference: &ChunkListRef,
        (start, level_above): (u64, Option<u8>),
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, ViewError> {
        let page = self.list_page(reference)?;
        let first = page.item_at(walk.offset.saturating_sub(start));
        let level = match &page.list {
            ChunkList::Leaf(_) => 0,
            ChunkList::Index { level, .. } => *level,
        };
        if level_above.is_some_and(|above| level + 1 != above) || level > TREE_LEVELS_MAX {
            let problem = format!("chunk list {} is of the wrong level", reference.id);
            return Err(ViewError::Inconsistent(problem));
        }
        for (index, item_start) in page.starts.iter().enumerate().skip(first) {
            let item_start = start + item_start;
            let flow = match &page.list {
                ChunkList::Leaf(segments) => match segments.get(index) {
                    Some(segment) => visit(segment, item_start)?,
                    None => ControlFlow::Break(()),
                },
                ChunkList::Index { pages, .. } => match pages.get(index) {
                    Some(below) if !(walk.is_wanted)(below) => ControlFlow::Continue(()),
                    Some(below) => {
                        self.visit_list(walk, below, (item_start, Some(level)), visit)?
                    }
                    None => ControlFlow::Break(()),
                },
            };
            if flow.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Returns a page that is as long as its reference says: it may be in the
    /// cache because of another reference.
    fn list_page(&self, list: &ChunkListRef) -> Result<Arc<ListPage>, ViewError> {
        let page = self.caches.lists.get_or_insert_with(&list.id, || {
            let page = self.reader.chunk_list(list)?;
            Ok::<_, ViewError>(Arc::new(ListPage::new(page, list.bytes)))
        })?;
        if page.bytes != list.bytes {
            let problem = format!("chunk list {} is not as long as it should be", list.id);
            return Err(ViewError::Inconsistent(problem));
        }
        Ok(page)
    }

    fn chunk(&self, id: &ChunkId, bytes: u32, hint: Hint) -> Result<Arc<[u8]>, ViewError> {
        let mut is_missed = false;
        let chunk = self.caches.chunks.get_or_insert_with(id, || {
            is_missed = true;
            Ok::<_, ViewError>(Arc::from(self.reader.chunk(id, bytes, hint)?))
        })?;
        // It may be in the cache because of another file.
        if chunk.len() as u64 != u64::from(bytes) {
            let problem = format!("chunk {id} has {} bytes instead of {bytes}", chunk.len());
            return Err(ViewError::Inconsistent(problem));
        }
        if let Some(sequence) = hint {
            self.prefetch.note(sequence, bytes, is_missed);
        }
        Ok(chunk)
    }
}

/// What is looked for in a chunk list.
struct ListWalk<'a> {
    offset: u64,
    is_wanted: &'a IsWanted,
}

/// A length inside a request or a chunk, which fits any machine.
fn to_index(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
