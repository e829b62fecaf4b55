//! SHA-256, with a tag for every kind of object but content.
//!
//! A chunk's id is the plain SHA-256 of its bytes, so that a file of one chunk
//! has the id that `sha256sum` prints. Every other object hashes a tag first:
//! a chunk can then never pass as a tree, whatever its bytes.

use sha2::{Digest, Sha256};

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
