//! The bytes of files that differ, for a comparison of their lines.

use std::io;
use std::ops::ControlFlow;

use crate::diff::change::{FileContent, Item, ItemKind};
use crate::diff::comparison::Comparison;
use crate::diff::live_content;
use crate::repository::RepositoryError;

/// Why content could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// Of a snapshot.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// On the live side.
    #[error("cannot read it: {0}")]
    Live(io::Error),
}

impl Comparison<'_> {
    /// Reads a regular file of either side whole, as it was told at a path;
    /// nothing if it is none or has more than `bytes_max` bytes.
    ///
    /// # Errors
    /// Fails if it cannot be read.
    pub fn read(
        &self,
        item: &Item,
        path: &[u8],
        bytes_max: usize,
    ) -> Result<Option<Vec<u8>>, ContentError> {
        let content = match &item.kind {
            ItemKind::File(_) if item.size() > bytes_max as u64 => return Ok(None),
            ItemKind::File(FileContent::Stored(content)) => content,
            ItemKind::File(FileContent::Live(_)) => {
                let bytes = self.open_live(path).and_then(|it| live_content::read(&it, bytes_max));
                return bytes.map_err(|error| ContentError::Live(error.into()));
            }
            _ => return Ok(None),
        };
        let mut bytes = Vec::new();
        self.repository.bytes(content, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok::<_, RepositoryError>(ControlFlow::Continue(()))
        })?;
        Ok(Some(bytes))
    }
}
