//! The master key of a repository and the keys made of it.
//!
//! Each purpose has a key of its own, derived by HKDF with SHA-256 (RFC 5869)
//! under a label. The master key is random, so no salt is needed.

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::base::hash::{Digest256, IdKey, sha256};
use crate::crypto::secret::{KEY_BYTES, RandomnessError, Secret};
use crate::crypto::xaes::SealingKey;

/// The secret from which all keys of a repository are made. It never changes.
#[derive(Clone)]
pub struct MasterKey(Secret);

/// The keys of a repository.
#[derive(Clone)]
pub struct Keys {
    /// Seals records.
    pub sealing: SealingKey,
    /// Makes ids.
    pub ids: IdKey,
    /// Seals the details of events.
    pub log: SealingKey,
    /// Cuts content.
    pub chunker: Secret,
}

impl MasterKey {
    /// Returns a new random one.
    ///
    /// # Errors
    /// Fails if the system gives no randomness.
    pub fn generate() -> Result<Self, RandomnessError> {
        Secret::generate().map(Self)
    }

    /// Wraps one that was kept elsewhere.
    #[must_use]
    pub const fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// The secret itself.
    #[must_use]
    pub const fn secret(&self) -> &Secret {
        &self.0
    }

    /// Returns the keys for each purpose.
    #[must_use]
    pub fn keys(&self) -> Keys {
        Keys {
            sealing: SealingKey::new(&self.derive(b"icecore records 1")),
            ids: IdKey::new(self.derive(b"icecore ids 1").as_bytes()),
            log: SealingKey::new(&self.derive(b"icecore log 1")),
            chunker: self.derive(b"icecore chunker 1"),
        }
    }

    /// Returns what only this key makes of a text, and what tells nothing of it.
    #[must_use]
    pub fn mark(&self, text: &[u8]) -> Digest256 {
        IdKey::new(self.derive(b"icecore config 1").as_bytes()).mac(&sha256(text))
    }

    fn derive(&self, label: &[u8]) -> Secret {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        let expanded = Hkdf::<Sha256>::new(None, self.0.as_bytes()).expand(label, &mut *key);
        // HKDF refuses only what is longer than 255 digests.
        debug_assert!(expanded.is_ok());
        Secret::take(&mut key)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::hex;

    #[test]
    fn each_purpose_has_its_key_which_never_changes() {
        let master = MasterKey::new(Secret::take(&mut [7; 32]));
        // Pinned: other keys could not read what was written with these.
        let chunker = hex(master.keys().chunker.as_bytes());
        assert_eq!(chunker, "92526a93d072209b58e4c7d86aa51ede9bb9442bc1b0401a7814e3bd85feeef1");
        let labels: [&[u8]; 4] =
            [b"icecore records 1", b"icecore ids 1", b"icecore log 1", b"icecore chunker 1"];
        let mut keys: Vec<_> = labels.map(|label| *master.derive(label).as_bytes()).to_vec();
        keys.push([7; 32]);
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 5);
        assert_eq!(format!("{master:?} {:?}", master.keys()), "MasterKey Keys");
    }
}
