//! The bytes of a file, in order.

use std::ops::ControlFlow;

use crate::base::hash::{Digest256, StreamHash};
use crate::dag::{Body, Content, Segment};
use crate::repository::error::RepositoryError;
use crate::repository::objects::Repository;

/// Bytes of a hole that are passed on at once.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Called with each piece of a file's bytes.
pub type VisitBytes<'a, E> = dyn FnMut(&[u8]) -> Result<ControlFlow<()>, E> + 'a;

impl Repository {
    /// Visits the bytes of a file in order, holes as zeros. Each piece was
    /// checked against its id.
    ///
    /// # Errors
    /// Fails if a chunk or a page of the chunk list cannot be read, or with what
    /// `visit` says.
    pub fn bytes<E: From<RepositoryError>>(
        &self,
        content: &Content,
        visit: &mut VisitBytes<'_, E>,
    ) -> Result<(), E> {
        if let Body::Inline(bytes) = &content.body {
            return visit(bytes).map(drop);
        }
        self.segments(content, &mut |segment, _| {
            let mut hole = match segment {
                Segment::Chunk { id, bytes, hint } => {
                    return visit(&self.chunk(id, *bytes, *hint)?);
                }
                Segment::Hole { bytes } => *bytes,
            };
            while hole > 0 {
                let length = usize::try_from(hole).unwrap_or(usize::MAX).min(ZEROS.len());
                if visit(ZEROS.get(..length).unwrap_or_default())?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                hole -= length as u64;
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Returns the SHA-256 of a file: as it is known, else by reading all of it.
    /// Nothing if `is_cancelled` says so before the end.
    ///
    /// # Errors
    /// Fails if the content cannot be read.
    pub fn sha256(
        &self,
        content: &Content,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<Digest256>, RepositoryError> {
        if let Some(known) = content.known_sha256() {
            return Ok(Some(known));
        }
        let mut hash = StreamHash::default();
        let mut whole = true;
        self.bytes(content, &mut |bytes| {
            if is_cancelled() {
                whole = false;
                return Ok::<_, RepositoryError>(ControlFlow::Break(()));
            }
            hash.update(bytes);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(whole.then(|| hash.finish()))
    }
}
