//! Ids of objects: 32 bytes, shown as 64 hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use crate::base::hash::{self, DIGEST_BYTES, Digest256, IdKey};

/// Hexadecimal digits of the short form of an id.
pub const SHORT_HEX: usize = 12;

/// Why a text is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an id: 64 hexadecimal digits are expected")]
pub struct IdError {
    text: String,
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Digest256);

        impl $name {
            /// Wraps a digest that was computed or read elsewhere.
            #[must_use]
            pub const fn from_digest(digest: Digest256) -> Self {
                Self(digest)
            }

            /// Returns the id's bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &Digest256 {
                &self.0
            }

            /// Returns the id held by exactly 32 bytes.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                Digest256::try_from(bytes).ok().map(Self)
            }

            /// Returns the first digits of the id, enough for a human.
            #[must_use]
            pub fn short(&self) -> String {
                let mut hex = self.to_string();
                hex.truncate(SHORT_HEX);
                hex
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_hex(text).map(Self).ok_or_else(|| IdError { text: text.to_owned() })
            }
        }
    };
}

id_type! {
    /// Names a piece of file content: the SHA-256 of its plain bytes.
    ChunkId
}
id_type! {
    /// Names a directory node, or a page of one.
    TreeId
}
id_type! {
    /// Names a page of the chunk list of a large file.
    ListId
}
id_type! {
    /// Names a snapshot: the hash of its manifest.
    SnapshotId
}

impl ChunkId {
    /// Returns the id of a chunk with these plain bytes.
    #[must_use]
    pub fn of(plain: &[u8]) -> Self {
        Self(hash::sha256(plain))
    }
}

const TREE_TAG: &[u8] = b"icecore tree 1\0";
const LIST_TAG: &[u8] = b"icecore chunk list 1\0";
const SNAPSHOT_TAG: &[u8] = b"icecore snapshot 1\0";

/// Whether content begins as what is hashed for the id of an object that is no
/// chunk. A chunk of it might have the id of a tree that somebody foresaw, so content
/// is cut such that none begins so.
#[must_use]
pub fn is_tagged(content: &[u8]) -> bool {
    [TREE_TAG, LIST_TAG, SNAPSHOT_TAG].iter().any(|tag| content.starts_with(tag))
}

impl TreeId {
    /// Returns the id of a directory node with this canonical encoding.
    #[must_use]
    pub fn of(canonical: &[u8]) -> Self {
        Self(hash::tagged(TREE_TAG, canonical))
    }
}

impl ListId {
    /// Returns the id of a chunk-list page with this canonical encoding.
    #[must_use]
    pub fn of(canonical: &[u8]) -> Self {
        Self(hash::tagged(LIST_TAG, canonical))
    }
}

impl SnapshotId {
    /// Returns the id of a snapshot with this canonical manifest.
    #[must_use]
    pub fn of(canonical: &[u8]) -> Self {
        Self(hash::tagged(SNAPSHOT_TAG, canonical))
    }
}

/// How a repository names its objects: by the ids of this module, or, if it is
/// encrypted, by these under a key.
#[derive(Clone, Debug, Default)]
pub enum IdScheme {
    /// By their hash.
    #[default]
    Plain,
    /// By the HMAC-SHA-256 of their hash.
    Keyed(IdKey),
}

impl IdScheme {
    fn apply(&self, digest: Digest256) -> Digest256 {
        match self {
            Self::Plain => digest,
            Self::Keyed(key) => key.mac(&digest),
        }
    }

    /// Returns the id of a chunk with these plain bytes.
    #[must_use]
    pub fn chunk(&self, plain: &[u8]) -> ChunkId {
        self.chunk_of(&hash::sha256(plain))
    }

    /// Returns the id of a chunk whose plain bytes have that SHA-256.
    #[must_use]
    pub fn chunk_of(&self, sha256: &Digest256) -> ChunkId {
        ChunkId(self.apply(*sha256))
    }

    /// Returns the id of a directory node with this canonical encoding.
    #[must_use]
    pub fn tree(&self, canonical: &[u8]) -> TreeId {
        TreeId(self.apply(TreeId::of(canonical).0))
    }

    /// Returns the id of a chunk-list page with this canonical encoding.
    #[must_use]
    pub fn list(&self, canonical: &[u8]) -> ListId {
        ListId(self.apply(ListId::of(canonical).0))
    }

    /// Returns the id of a snapshot with this canonical manifest.
    #[must_use]
    pub fn snapshot(&self, canonical: &[u8]) -> SnapshotId {
        SnapshotId(self.apply(SnapshotId::of(canonical).0))
    }

    /// Whether the id of a chunk is the SHA-256 of its bytes.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        matches!(self, Self::Plain)
    }
}

/// Returns bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Returns the digest that 64 hexadecimal digits mean.
#[must_use]
pub fn parse_hex(text: &str) -> Option<Digest256> {
    let digits = text.as_bytes();
    if digits.len() != 2 * DIGEST_BYTES {
        return None;
    }
    let mut digest = [0_u8; DIGEST_BYTES];
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = hex_byte(pair)?;
    }
    Some(digest)
}

/// Returns the bytes that hexadecimal digits mean.
#[must_use]
pub fn parse_hex_bytes(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(hex_byte).collect()
}

fn hex_byte(pair: &[u8]) -> Option<u8> {
    let &[high, low] = pair else { return None };
    let high = char::from(high).to_digit(16)?;
    let low = char::from(low).to_digit(16)?;
    u8::try_from(high << 4 | low).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_id_is_what_sha256sum_prints() {
        assert_eq!(
            ChunkId::of(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn equal_bytes_of_different_kinds_have_different_ids() {
        let bytes = b"same";
        let ids = [
            *ChunkId::of(bytes).as_bytes(),
            *TreeId::of(bytes).as_bytes(),
            *ListId::of(bytes).as_bytes(),
            *SnapshotId::of(bytes).as_bytes(),
        ];
        for (i, a) in ids.iter().enumerate() {
            assert!(ids.iter().skip(i + 1).all(|b| a != b));
        }
    }

    #[test]
    fn keyed_ids_depend_on_the_key_and_tell_nothing_of_the_plain_ones() {
        let keyed = |byte| IdScheme::Keyed(IdKey::new(&[byte; 32]));
        let (one, other) = (keyed(1), keyed(2));
        let bytes = b"same";
        assert_eq!(IdScheme::Plain.chunk(bytes), ChunkId::of(bytes));
        assert_eq!(one.chunk(bytes), keyed(1).chunk_of(ChunkId::of(bytes).as_bytes()));
        // HMAC-SHA-256 of the 32 bytes, as RFC 2104 has it.
        let outer =
            |pad: u8, rest: &[u8]| hash::sha256(&[&[1 ^ pad; 32][..], &[pad; 32], rest].concat());
        let expected = outer(0x5c, &outer(0x36, ChunkId::of(bytes).as_bytes()));
        assert_eq!(one.chunk(bytes).as_bytes(), &expected);
        let ids = |scheme: &IdScheme| {
            [
                *scheme.chunk(bytes).as_bytes(),
                *scheme.tree(bytes).as_bytes(),
                *scheme.list(bytes).as_bytes(),
                *scheme.snapshot(bytes).as_bytes(),
            ]
        };
        let mut all: Vec<_> = [IdScheme::Plain, one, other].iter().flat_map(ids).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 12);
    }

    #[test]
    fn an_id_survives_text_and_back_and_bad_texts_are_refused() {
        let id = TreeId::of(b"x");
        assert_eq!(id.to_string().parse::<TreeId>().unwrap(), id);
        let upper = id.to_string().to_uppercase();
        assert_eq!(upper.parse::<TreeId>().unwrap(), id);
        for bad in ["", "abc", &"g".repeat(64), &"0".repeat(63), &"\u{e9}".repeat(32)] {
            assert!(bad.parse::<TreeId>().is_err(), "{bad:?}");
        }
    }
}
