//! The segments of a file, in order.

use std::ops::ControlFlow;

use crate::dag::{Body, ChunkList, ChunkListRef, Content, Segment};
use crate::repository::error::RepositoryError;
use crate::repository::objects::Repository;

/// Called with each segment and where it begins in the file.
pub type VisitSegment<'a, E> = dyn FnMut(&Segment, u64) -> Result<ControlFlow<()>, E> + 'a;

impl Repository {
    /// Visits the chunks and holes of a file in order. Content that lies in the
    /// tree itself has none.
    ///
    /// # Errors
    /// Fails if a page of the chunk list cannot be read or contradicts what
    /// refers to it, or with what `visit` says.
    pub fn segments<E: From<RepositoryError>>(
        &self,
        content: &Content,
        visit: &mut VisitSegment<'_, E>,
    ) -> Result<(), E> {
        match &content.body {
            Body::Inline(_) => Ok(()),
            Body::Segments(segments) => {
                let mut start = 0_u64;
                for segment in segments {
                    if visit(segment, start)?.is_break() {
                        break;
                    }
                    start = start.saturating_add(segment.bytes());
                }
                Ok(())
            }
            Body::List(list) => self.listed_segments(list, visit),
        }
    }

    /// Pages say their sums, which are checked when they are decoded, so a list
    /// cannot be longer than the file.
    fn listed_segments<E: From<RepositoryError>>(
        &self,
        list: &ChunkListRef,
        visit: &mut VisitSegment<'_, E>,
    ) -> Result<(), E> {
        let mut start = 0_u64;
        let mut ahead: Vec<(ChunkListRef, Option<u8>)> = vec![(*list, None)];
        while let Some((reference, expected)) = ahead.pop() {
            match (self.chunk_list(&reference)?, expected) {
                (ChunkList::Leaf(segments), None | Some(0)) => {
                    for segment in &segments {
                        if visit(segment, start)?.is_break() {
                            return Ok(());
                        }
                        start = start.saturating_add(segment.bytes());
                    }
                }
                (ChunkList::Index { level, pages }, expected)
                    if expected.is_none_or(|it| it == level) =>
                {
                    let level = level.checked_sub(1);
                    ahead.extend(pages.into_iter().rev().map(|page| (page, level)));
                }
                _ => {
                    let (kind, id) = ("chunk list", reference.id.to_string());
                    let detail = "it is of the wrong level".to_owned();
                    return Err(RepositoryError::Damaged { kind, id, detail }.into());
                }
            }
        }
        Ok(())
    }
}
