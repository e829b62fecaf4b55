//! Records beside the snapshots that cannot be read, and what a repair puts in their
//! place.

use crate::base::id::SnapshotId;
use crate::repository::deleted;
use crate::repository::error::RepositoryError;
use crate::repository::notes::{self, key, scan};
use crate::repository::objects::Repository;

/// A record of the family `meta` that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedRecord {
    /// What it was.
    pub kind: &'static str,
    /// The snapshot that it was about.
    pub id: SnapshotId,
    /// What is wrong with it.
    pub detail: String,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// What stands for it where it is not known what it said: a pin for a note, nothing
    /// for a snapshot that was deleted.
    pub instead: Option<Vec<u8>>,
}

impl Repository {
    /// Lists the notes and the records of deleted snapshots that cannot be read.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn damaged_records(&self) -> Result<Vec<DamagedRecord>, RepositoryError> {
        let mut found = Vec::new();
        let mut look = |kind, prefix, instead: Option<&[u8]>, damage: Damage| {
            scan(self, prefix, &mut |id, value| {
                let Some(error) = damage(&id, value) else { return };
                let (detail, key) = (error.detail(), key(prefix, &id));
                let (value, instead) = (value.to_vec(), instead.map(<[u8]>::to_vec));
                found.push(DamagedRecord { kind, id, detail, key, value, instead });
            })
        };
        let note = notes::unknown();
        look("note on snapshot", notes::PREFIX, Some(&note), notes::damage)?;
        look("deleted snapshot", deleted::PREFIX, None, deleted::damage)?;
        Ok(found)
    }
}

/// What is wrong with a record about a snapshot, if anything is.
type Damage = fn(&SnapshotId, &[u8]) -> Option<RepositoryError>;
