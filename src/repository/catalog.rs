//! The snapshots of a repository.

use std::ops::ControlFlow;

use crate::base::id::SnapshotId;
use crate::base::limits::TREE_BYTES_MAX;
use crate::dag::{DagError, Manifest, Record};
use crate::repository::error::RepositoryError;
use crate::repository::objects::Repository;
use crate::store::Family;

impl Repository {
    /// Returns every snapshot, oldest first.
    ///
    /// # Errors
    /// Fails if the store cannot be read or a manifest is damaged.
    pub fn snapshots(&self) -> Result<Vec<(SnapshotId, Manifest)>, RepositoryError> {
        let mut snapshots = Vec::new();
        let mut failure = None;
        self.store.scan(Family::Snapshots, &[], &mut |key, value| {
            match decode(key, value) {
                Ok(snapshot) => snapshots.push(snapshot),
                Err(error) => failure = Some(error),
            }
            if failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if let Some(error) = failure {
            return Err(error);
        }
        snapshots.sort_by_key(|(id, manifest)| (manifest.time, *id));
        Ok(snapshots)
    }

    /// Returns one snapshot, if it is there.
    ///
    /// # Errors
    /// As [`Self::snapshots`].
    pub fn manifest(&self, id: &SnapshotId) -> Result<Option<Manifest>, RepositoryError> {
        let value = self.store.get(Family::Snapshots, id.as_bytes())?;
        value.map(|value| decode(id.as_bytes(), &value).map(|(_, manifest)| manifest)).transpose()
    }

    /// Whether a snapshot is there.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn exists(&self, id: &SnapshotId) -> Result<bool, RepositoryError> {
        Ok(self.store.contains(Family::Snapshots, id.as_bytes())?)
    }
}

/// Returns the bytes to store for a manifest, refused if they are too large to
/// be read back.
pub(crate) fn encode(record: &Record) -> Result<Vec<u8>, RepositoryError> {
    let stored = record.to_stored();
    if stored.len() > TREE_BYTES_MAX {
        return Err(RepositoryError::TooLarge(DagError::TooLarge {
            what: "the manifest",
            max: TREE_BYTES_MAX as u64,
        }));
    }
    Ok(stored)
}

fn decode(key: &[u8], value: &[u8]) -> Result<(SnapshotId, Manifest), RepositoryError> {
    let damaged = |detail: String| RepositoryError::Damaged {
        kind: "snapshot",
        id: crate::base::id::hex(key),
        detail,
    };
    let id = SnapshotId::from_slice(key).ok_or_else(|| damaged("its key is no id".to_owned()))?;
    let manifest = Manifest::decode(&id, value).map_err(|error| damaged(error.to_string()))?;
    Ok((id, manifest))
}
