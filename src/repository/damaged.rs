//! Records beside the snapshots that cannot be read, and what a repair puts in their
//! place; key files that cannot be used.

use crate::base::id::SnapshotId;
use crate::repository::deleted;
use crate::repository::error::RepositoryError;
use crate::repository::keyring::Keyring;
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
        let mut outcome = Ok(());
        scan(self, notes::PREFIX, &mut |id, value| {
            let Err(error) = self.decode_note(&id, value) else { return };
            match self.unknown_note(&id) {
                Ok(instead) => {
                    let (detail, key) = (error.detail(), key(notes::PREFIX, &id));
                    let (kind, value) = ("note on snapshot", value.to_vec());
                    let instead = Some(instead);
                    found.push(DamagedRecord { kind, id, detail, key, value, instead });
                }
                Err(error) => outcome = Err(error),
            }
        })?;
        outcome?;
        scan(self, deleted::PREFIX, &mut |id, value| {
            let Err(error) = deleted::decode(self, &id, value) else { return };
            let (detail, key) = (error.detail(), key(deleted::PREFIX, &id));
            let (kind, value, instead) = ("deleted snapshot", value.to_vec(), None);
            found.push(DamagedRecord { kind, id, detail, key, value, instead });
        })?;
        Ok(found)
    }
    /// Lists the key files that cannot be used, by their names, and why. Whoever has the
    /// password of one would find out too late.
    ///
    /// # Errors
    /// Fails if the directory of the key files cannot be read.
    pub fn damaged_keys(&self) -> Result<Vec<(String, String)>, RepositoryError> {
        if !self.is_encrypted() {
            return Ok(Vec::new());
        }
        let damaged = match Keyring::read(&self.layout) {
            Ok(ring) => ring.damaged,
            Err(error @ RepositoryError::KeyFile { .. }) => vec![error],
            Err(error) => return Err(error),
        };
        let named = |error: RepositoryError| match error {
            RepositoryError::KeyFile { path, detail } => {
                let name = path.file_name().unwrap_or(path.as_os_str());
                (name.to_string_lossy().into_owned(), detail)
            }
            error => (String::new(), error.to_string()),
        };
        let mut named: Vec<_> = damaged.into_iter().map(named).collect();
        named.sort_unstable();
        Ok(named)
    }
}
