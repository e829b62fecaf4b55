//! The snapshots of a repository.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::base::id::SnapshotId;
use crate::base::time::Timestamp;
use crate::dag::Manifest;
use crate::repository::envelope::RecordKind;
use crate::repository::error::RepositoryError;
use crate::repository::notes::{Note, Pin};
use crate::repository::objects::Repository;
use crate::store::Family;

/// How messages about damage call a snapshot.
const KIND: &str = "snapshot";

/// The snapshots of a repository, and those of them that are damaged.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Every snapshot that can be read, oldest first, with the tags that it has
    /// now; those that it was taken with are in [`Repository::manifest`].
    pub snapshots: Vec<(SnapshotId, Manifest)>,
    /// The pins of snapshots, also of those that are over.
    pub pins: BTreeMap<SnapshotId, Pin>,
    /// What is wrong with each of the others, and with notes.
    pub damaged: Vec<RepositoryError>,
}

impl Catalog {
    /// Whether a pin on a snapshot holds.
    #[must_use]
    pub fn is_pinned(&self, id: &SnapshotId, now: Timestamp) -> bool {
        self.pins.get(id).is_some_and(|pin| pin.holds(now))
    }

    /// The ids of the snapshots that cannot be read.
    pub fn damaged_ids(&self) -> impl Iterator<Item = SnapshotId> {
        self.damaged.iter().filter_map(|error| match error {
            RepositoryError::Damaged { kind: KIND, id, .. } => id.parse().ok(),
            _ => None,
        })
    }
}

impl Repository {
    /// Returns every snapshot that can be read, and what is wrong with the
    /// others: one damaged manifest hides no other snapshot.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn catalog(&self) -> Result<Catalog, RepositoryError> {
        let mut catalog = self.catalog_as_taken()?;
        let notes = self.notes()?;
        for (id, manifest) in &mut catalog.snapshots {
            if let Some(tags) = notes.by_id.get(id).and_then(|note| note.tags.as_ref()) {
                manifest.tags.clone_from(tags);
            }
        }
        let pinned = |(id, note): (&SnapshotId, &Note)| note.pin.map(|pin| (*id, pin));
        catalog.pins = notes.by_id.iter().filter_map(pinned).collect();
        catalog.damaged.extend(notes.damaged);
        Ok(catalog)
    }

    fn catalog_as_taken(&self) -> Result<Catalog, RepositoryError> {
        let mut catalog = Catalog::default();
        self.store.scan(Family::Snapshots, &[], &mut |key, value| {
            match self.decode_manifest(key, value) {
                Ok(snapshot) => catalog.snapshots.push(snapshot),
                Err(error) => catalog.damaged.push(error),
            }
            ControlFlow::Continue(())
        })?;
        catalog.snapshots.sort_by_key(|(id, manifest)| (manifest.time, *id));
        Ok(catalog)
    }

    /// Returns every snapshot as it was taken, oldest first, for work that must
    /// not overlook one.
    ///
    /// # Errors
    /// Fails if the store cannot be read or a manifest is damaged.
    pub fn snapshots(&self) -> Result<Vec<(SnapshotId, Manifest)>, RepositoryError> {
        let Catalog { snapshots, damaged, .. } = self.catalog_as_taken()?;
        damaged.into_iter().next().map_or(Ok(snapshots), Err)
    }

    /// Returns one snapshot as it was taken, if it is there.
    ///
    /// # Errors
    /// As [`Self::snapshots`].
    pub fn manifest(&self, id: &SnapshotId) -> Result<Option<Manifest>, RepositoryError> {
        let value = self.store.get(Family::Snapshots, id.as_bytes())?;
        value
            .map(|value| self.decode_manifest(id.as_bytes(), &value).map(|(_, manifest)| manifest))
            .transpose()
    }

    /// Whether a snapshot is there.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn exists(&self, id: &SnapshotId) -> Result<bool, RepositoryError> {
        Ok(self.store.contains(Family::Snapshots, id.as_bytes())?)
    }

    /// Returns a manifest's id and the bytes to store, refused if they could not be
    /// read back: a snapshot that nobody can list is worse than none.
    pub(crate) fn encode_manifest(
        &self,
        manifest: &Manifest,
    ) -> Result<(SnapshotId, Vec<u8>), RepositoryError> {
        let record = manifest.encode();
        let id = self.ids().snapshot(&record.canonical);
        let stored = record.to_stored();
        match Manifest::decode(self.ids(), &id, &stored) {
            Ok(read) if read == *manifest => {
                let envelopes = &self.protection.envelopes;
                let wrapped = envelopes.wrap(RecordKind::Snapshot, id.as_bytes(), stored);
                Ok((id, wrapped.map_err(RepositoryError::seal)?))
            }
            Ok(_) => Err(RepositoryError::Manifest("it would be read back differently".to_owned())),
            Err(error) => Err(RepositoryError::Manifest(error.to_string())),
        }
    }

    /// Returns the snapshot of a stored record.
    ///
    /// # Errors
    /// Fails if it is damaged.
    pub fn decode_manifest(
        &self,
        key: &[u8],
        value: &[u8],
    ) -> Result<(SnapshotId, Manifest), RepositoryError> {
        let damaged = |detail: String| RepositoryError::Damaged {
            kind: KIND,
            id: crate::base::id::hex(key),
            detail,
        };
        let id =
            SnapshotId::from_slice(key).ok_or_else(|| damaged("its key is no id".to_owned()))?;
        let stored = self.protection.envelopes.unwrap(RecordKind::Snapshot, id.as_bytes(), value);
        let stored = stored.map_err(|error| damaged(error.to_string()))?;
        let manifest = Manifest::decode(self.ids(), &id, &stored);
        Ok((id, manifest.map_err(|error| damaged(error.to_string()))?))
    }
}
