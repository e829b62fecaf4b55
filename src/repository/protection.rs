//! What an encrypted repository does otherwise: ids under a key, sealed records,
//! keyed boundaries of chunks.

use std::borrow::Cow;
use std::ops::ControlFlow;

use crate::base::hash::{Digest256, IdKey, tagged};
use crate::base::id::IdScheme;
use crate::chunking::{Chunker, ChunkerConfig};
use crate::compression::Compression;
use crate::crypto::{MasterKey, SealingKey, Secret};
use crate::repository::config::Config;
use crate::repository::envelope::{Envelopes, RecordKind, is_sealed};
use crate::repository::error::RepositoryError;
use crate::repository::layout::Layout;
use crate::repository::locator::ObjectKind;
use crate::repository::objects::Repository;
use crate::repository::session::PreparedChunk;
use crate::store::{Family, Store};

/// How the content of a repository is protected.
#[derive(Clone, Debug)]
pub(crate) struct Protection {
    pub(crate) ids: IdScheme,
    pub(crate) envelopes: Envelopes,
    secrets: Option<Secrets>,
}

#[derive(Clone, Debug)]
struct Secrets {
    chunker: Secret,
    log: SealingKey,
    names: IdKey,
}

impl Protection {
    /// Of a repository that is not encrypted.
    pub(crate) const fn none() -> Self {
        Self { ids: IdScheme::Plain, envelopes: Envelopes::Plain, secrets: None }
    }

    /// Returns the protection that a configuration says and a key gives.
    ///
    /// # Errors
    /// Fails if only one of them is there, or the key is another repository's.
    pub(crate) fn new(
        layout: &Layout,
        config: &Config,
        key: Option<&MasterKey>,
    ) -> Result<Self, RepositoryError> {
        let Some(master) = key else {
            if config.encryption.is_some() {
                return Err(RepositoryError::Locked { path: layout.root().to_owned() });
            }
            return Ok(Self::none());
        };
        config.check_key(layout, master)?;
        let keys = master.keys();
        Ok(Self {
            ids: IdScheme::Keyed(keys.ids.clone()),
            envelopes: Envelopes::Sealed(keys.sealing),
            secrets: Some(Secrets { chunker: keys.chunker, log: keys.log, names: keys.ids }),
        })
    }

    /// What stands for a name where names cannot be sealed, in the keys of records:
    /// nothing in a repository that is not encrypted.
    pub(crate) fn name(&self, purpose: &[u8], name: &[u8]) -> Option<Digest256> {
        Some(self.secrets.as_ref()?.names.mac(&tagged(purpose, name)))
    }
}

/// Whether the first records of a store are encrypted, as far as they can be read.
pub(crate) fn begins_sealed(store: &dyn Store) -> bool {
    [Family::Snapshots, Family::Trees].into_iter().any(|family| {
        let mut found = false;
        let _ = store.scan(family, &[], &mut |key, value| {
            found = is_sealed(family, key, value);
            ControlFlow::Break(())
        });
        found
    })
}

impl Repository {
    /// Refuses to write in the clear what would lie beside encrypted records: then
    /// the configuration was changed.
    pub(crate) fn guard(&self) -> Result<(), RepositoryError> {
        if self.is_encrypted() || !begins_sealed(self.store()) {
            return Ok(());
        }
        let detail = "it says that the repository is not encrypted, but what is stored is; it was \
                      changed, and nothing is written";
        Err(RepositoryError::Config { path: self.layout.config(), detail: detail.to_owned() })
    }

    /// How the repository names its objects.
    #[must_use]
    pub const fn ids(&self) -> &IdScheme {
        &self.protection.ids
    }

    /// Whether the repository is encrypted.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.protection.secrets.is_some()
    }

    /// What seals the details of events in the audit log, if anything does.
    #[must_use]
    pub fn log_key(&self) -> Option<&SealingKey> {
        self.protection.secrets.as_ref().map(|secrets| &secrets.log)
    }

    /// Returns what cuts content in this repository.
    #[must_use]
    pub fn chunker(&self) -> Chunker {
        let config: &ChunkerConfig = &self.config.chunker;
        match &self.protection.secrets {
            None => Chunker::new(config),
            Some(secrets) => Chunker::keyed(config, secrets.chunker.as_bytes()),
        }
    }

    /// Hashes a chunk, looks it up and seals it if it is new. Returns its SHA-256
    /// with it. Any thread can.
    ///
    /// # Errors
    /// Fails if the index cannot be read, or there is no randomness.
    pub fn prepare_chunk(
        &self,
        plain: &[u8],
        compression: Compression,
    ) -> Result<(PreparedChunk, Digest256), RepositoryError> {
        let sha256 = crate::base::hash::sha256(plain);
        let id = self.ids().chunk_of(&sha256);
        // Chunks are bounded far below 4 GiB.
        let bytes = u32::try_from(plain.len()).unwrap_or(u32::MAX);
        let chunk = match self.find_chunk(&id)? {
            Some(hint) => PreparedChunk::Known { id, bytes, hint },
            None => {
                let envelope = self.seal(ObjectKind::Chunk, id.as_bytes(), plain, compression)?;
                PreparedChunk::New { id, bytes, envelope }
            }
        };
        Ok((chunk, sha256))
    }

    /// Returns what to keep in a file of a record by which a restore is taken back.
    ///
    /// # Errors
    /// Fails if there is no randomness.
    pub fn seal_rollback(&self, record: Vec<u8>) -> Result<Vec<u8>, RepositoryError> {
        let wrapped = self.protection.envelopes.wrap(RecordKind::Rollback, &[0; 32], record);
        wrapped.map_err(RepositoryError::seal)
    }

    /// Returns the record that such a file holds.
    ///
    /// # Errors
    /// Fails with a text if it was not made with this repository's key.
    pub fn open_rollback<'a>(&self, stored: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
        let opened = self.protection.envelopes.unwrap(RecordKind::Rollback, &[0; 32], stored);
        opened.map_err(|error| error.to_string())
    }

    /// Returns the envelope of an object.
    ///
    /// # Errors
    /// Fails if there is no randomness.
    pub(crate) fn seal(
        &self,
        kind: ObjectKind,
        id: &[u8; 32],
        plain: &[u8],
        compression: Compression,
    ) -> Result<Vec<u8>, RepositoryError> {
        let sealed = self.protection.envelopes.seal(kind.record(), id, plain, compression);
        sealed.map_err(RepositoryError::seal)
    }
}
