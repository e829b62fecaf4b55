//! Deleted snapshots: out of every listing, and still to be had back until a
//! collection begins to remove what only they reach.

use crate::base::codec::{Decoder, Encoder};
use crate::base::id::{IdScheme, SnapshotId};
use crate::base::time::Timestamp;
use crate::dag::Manifest;
use crate::repository::error::RepositoryError;
use crate::repository::notes::{decode_time, encode_time, key, scan};
use crate::repository::objects::Repository;
use crate::repository::writer::Writer;
use crate::store::{Batch, Durability, Family};

pub(crate) const PREFIX: &str = "deleted/";

/// A snapshot that was deleted and is not forgotten yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedSnapshot {
    /// Its id.
    pub id: SnapshotId,
    /// When it was deleted.
    pub deleted: Timestamp,
    /// Its manifest, with the tags that it had.
    pub manifest: Manifest,
}

/// The deleted snapshots of a repository, and those of them that are damaged.
#[derive(Debug, Default)]
pub struct DeletedCatalog {
    /// Every one that can be read, the one taken first first.
    pub snapshots: Vec<DeletedSnapshot>,
    /// What is wrong with each of the others.
    pub damaged: Vec<RepositoryError>,
}

impl Repository {
    /// Returns the deleted snapshots that can still be had back.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn deleted_snapshots(&self) -> Result<DeletedCatalog, RepositoryError> {
        let mut found = DeletedCatalog::default();
        let notes = self.notes()?;
        scan(self, PREFIX, &mut |id, value| match decode(self, &id, value) {
            Ok((deleted, mut manifest)) => {
                if let Some(tags) = notes.by_id.get(&id).and_then(|note| note.tags.clone()) {
                    manifest.tags = tags;
                }
                found.snapshots.push(DeletedSnapshot { id, deleted, manifest });
            }
            Err(error) => found.damaged.push(error),
        })?;
        found.snapshots.sort_by_key(|snapshot| (snapshot.manifest.time, snapshot.id));
        Ok(found)
    }

    /// Forgets all deleted snapshots, durably, and returns how many there were.
    /// A collection does so before it removes anything: from then on none of
    /// them can come back, so none comes back with a hole.
    ///
    /// # Errors
    /// Fails if the store cannot be read or written.
    pub fn forget_deleted_snapshots(&self) -> Result<u64, RepositoryError> {
        let mut ids = Vec::new();
        scan(self, PREFIX, &mut |id, _| ids.push(id))?;
        let mut batch = Batch::new();
        for id in &ids {
            batch.delete(Family::Meta, key(PREFIX, id));
            // The same snapshot may have come anew, from another repository.
            if !self.exists(id)? {
                Self::forget_note(&mut batch, id);
            }
        }
        if !batch.is_empty() {
            self.store.write(&batch, Durability::Synced)?;
        }
        Ok(ids.len() as u64)
    }

    /// Moves snapshots out of the listings, in one synced batch.
    pub(crate) fn write_deletion(&self, ids: &[SnapshotId]) -> Result<(), RepositoryError> {
        let now = Timestamp::now();
        let mut batch = Batch::new();
        for id in ids {
            let Some(record) = self.store.get(Family::Snapshots, id.as_bytes())? else { continue };
            let mut encoder = Encoder::with_capacity(record.len() + 16);
            encode_time(&mut encoder, now);
            encoder.raw(&record);
            batch.delete(Family::Snapshots, *id.as_bytes());
            batch.put(Family::Meta, key(PREFIX, id), encoder.finish());
        }
        Ok(self.store.write(&batch, Durability::Synced)?)
    }

    /// Moves them back, in one synced batch.
    pub(crate) fn write_undeletion(&self, ids: &[SnapshotId]) -> Result<(), RepositoryError> {
        let mut batch = Batch::new();
        for id in ids {
            let gone = || RepositoryError::NoSuchDeleted { name: id.to_string() };
            let value = self.store.get(Family::Meta, &key(PREFIX, id))?.ok_or_else(gone)?;
            let (_, record) = split(id, &value)?;
            batch.put(Family::Snapshots, *id.as_bytes(), record);
            batch.delete(Family::Meta, key(PREFIX, id));
        }
        Ok(self.store.write(&batch, Durability::Synced)?)
    }
}

impl Writer {
    /// Deletes snapshots, all or none; what is not there is passed over. They
    /// can be had back until `gc` forgets them, and then their space returns.
    /// Their manifests may be damaged.
    ///
    /// # Errors
    /// Fails if the store cannot be read or written.
    pub fn delete_snapshots(&self, ids: &[SnapshotId]) -> Result<(), RepositoryError> {
        self.write_deletion(ids)?;
        self.close()
    }

    /// Brings deleted snapshots back, all or none.
    ///
    /// # Errors
    /// Fails if one of them is not to be had any more, or the store cannot be
    /// read or written.
    pub fn undelete_snapshots(&self, ids: &[SnapshotId]) -> Result<(), RepositoryError> {
        self.write_undeletion(ids)?;
        self.close()
    }
}

/// Returns when a snapshot was deleted, and the record of its manifest.
fn split<'a>(id: &SnapshotId, value: &'a [u8]) -> Result<(Timestamp, &'a [u8]), RepositoryError> {
    let mut decoder = Decoder::new(value);
    let deleted = decode_time(&mut decoder).map_err(|error| RepositoryError::Damaged {
        kind: "deleted snapshot",
        id: id.to_string(),
        detail: error.to_string(),
    })?;
    Ok((deleted, value.get(decoder.position()..).unwrap_or_default()))
}

pub(crate) fn decode(
    repository: &Repository,
    id: &SnapshotId,
    value: &[u8],
) -> Result<(Timestamp, Manifest), RepositoryError> {
    let (deleted, record) = split(id, value)?;
    let (_, manifest) = repository.decode_manifest(id.as_bytes(), record)?;
    Ok((deleted, manifest))
}

/// Decodes a record of a deleted snapshot, whatever it is.
pub(crate) fn decode_any(id: &SnapshotId, bytes: &[u8]) {
    let _ = split(id, bytes)
        .map(|(_, record)| Manifest::decode(&IdScheme::Plain, id, record).map(|it| it.time));
}
