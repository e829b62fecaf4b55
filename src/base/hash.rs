//! SHA-256, with a tag for every kind of object but content.
//!
//! A chunk's id is the plain SHA-256 of its bytes, so that a file of one chunk
//! has the id that `sha256sum` prints. Every other object hashes a tag first,
//! and no chunk begins with such a tag ([`is_tagged`](crate::base::id::is_tagged)):
//! so none has the id of a tree, whatever the content is. In an encrypted
//! repository an id is the HMAC-SHA-256 (RFC 2104) of that hash, so that nobody
//! else can tell the id of a known file.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest, Sha256};
use zeroize::Zeroize as _;

use crate::base::locked::Locked;

/// Bytes of a digest.
pub const DIGEST_BYTES: usize = 32;

/// A SHA-256 digest.
pub type Digest256 = [u8; DIGEST_BYTES];

/// Returns the SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Digest256 {
    Sha256::digest(bytes).into()
}

/// Returns the SHA-256 of `tag` followed by `bytes`.
#[must_use]
pub fn tagged(tag: &[u8], bytes: &[u8]) -> Digest256 {
    Sha256::new().chain_update(tag).chain_update(bytes).finalize().into()
}

/// Returns a 64-bit digest of several parts under a tag: the leading bytes of
/// their SHA-256, each part preceded by its length.
#[must_use]
pub fn short(tag: &[u8], parts: &[&[u8]]) -> u64 {
    let mut hasher = Sha256::new_with_prefix(tag);
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let digest: Digest256 = hasher.finalize().into();
    leading_u64(&digest)
}

/// A key under which digests become ids. Out of the swap, and wiped when it is dropped.
#[derive(Clone)]
pub struct IdKey(Locked<Hmac<Sha256>>);

impl IdKey {
    /// Prepares a key.
    #[must_use]
    pub fn new(key: &Digest256) -> Self {
        // A key shorter than a block of the hash is filled up with zeros.
        let mut block = [0; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte = *key);
        let keyed = Self(Locked::new(Hmac::new((&block).into())));
        block.zeroize();
        keyed
    }

    /// Returns the HMAC-SHA-256 of a digest.
    #[must_use]
    pub fn mac(&self, digest: &Digest256) -> Digest256 {
        Hmac::clone(&self.0).chain_update(digest).finalize().into_bytes().into()
    }
}

impl fmt::Debug for IdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdKey")
    }
}

/// Returns the first eight bytes of a digest as a number.
#[must_use]
pub fn leading_u64(digest: &Digest256) -> u64 {
    let mut first = [0_u8; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

/// SHA-256 of a stream that arrives in pieces.
#[derive(Clone, Default)]
pub struct StreamHash(Sha256);

impl StreamHash {
    /// Appends `bytes` to the stream.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the digest of all that was appended.
    #[must_use]
    pub fn finish(self) -> Digest256 {
        self.0.finalize().into()
    }
}
