//! Locators: where the index says that an object lies.
//!
//! ```text
//! index value = kind (1 byte) | sequence | plain bytes | stored bytes (varints)
//! ```

use crate::base::codec::{DecodeError, Decoder, Encoder};
use crate::repository::envelope::RecordKind;
use crate::store::Family;

/// The kind of a stored object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// File content.
    Chunk,
    /// A directory node or page.
    Tree,
    /// A page of a chunk list.
    ChunkList,
}

impl ObjectKind {
    /// The family that objects of this kind lie in.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::Chunk => Family::Data,
            Self::Tree | Self::ChunkList => Family::Trees,
        }
    }

    /// What its envelope says that it is.
    #[must_use]
    pub const fn record(self) -> RecordKind {
        match self {
            Self::Chunk => RecordKind::Chunk,
            Self::Tree => RecordKind::Tree,
            Self::ChunkList => RecordKind::ChunkList,
        }
    }

    /// The word for it in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chunk => "chunk",
            Self::Tree => "tree",
            Self::ChunkList => "chunk list",
        }
    }
}

/// Where an object lies and how large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locator {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its sequence number in the family of its kind.
    pub sequence: u64,
    /// Its plain length in bytes.
    pub plain_bytes: u32,
    /// The length of its envelope in bytes.
    pub stored_bytes: u32,
}

impl Locator {
    /// Returns the bytes to store in the index.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.byte(match self.kind {
            ObjectKind::Chunk => 0,
            ObjectKind::Tree => 1,
            ObjectKind::ChunkList => 2,
        });
        encoder.number(self.sequence);
        encoder.number(u64::from(self.plain_bytes));
        encoder.number(u64::from(self.stored_bytes));
        encoder.finish()
    }

    /// Takes a locator from bytes of the index.
    ///
    /// # Errors
    /// Fails on anything that `encode` would not have written.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let kind = match decoder.byte()? {
            0 => ObjectKind::Chunk,
            1 => ObjectKind::Tree,
            2 => ObjectKind::ChunkList,
            _ => return Err(decoder.error("a locator is of an unknown kind")),
        };
        let sequence = decoder.number()?;
        let plain_bytes = decoder.number32("a plain length")?;
        let stored_bytes = decoder.number32("a stored length")?;
        decoder.finish()?;
        Ok(Self { kind, sequence, plain_bytes, stored_bytes })
    }
}

/// The store's key of a sequence number.
#[must_use]
pub const fn sequence_key(sequence: u64) -> [u8; 8] {
    sequence.to_be_bytes()
}

/// The sequence number of a store's key.
#[must_use]
pub fn sequence_of(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locator_survives_its_encoding() {
        for kind in [ObjectKind::Chunk, ObjectKind::Tree, ObjectKind::ChunkList] {
            let locator = Locator { kind, sequence: 1 << 40, plain_bytes: 7, stored_bytes: 9 };
            assert_eq!(Locator::decode(&locator.encode()).unwrap(), locator);
        }
        assert!(Locator::decode(&[7, 0, 0, 0]).is_err());
        assert!(Locator::decode(&[]).is_err());
    }

    #[test]
    fn keys_of_sequence_numbers_sort_as_the_numbers_do() {
        assert!(sequence_key(255) < sequence_key(256));
        assert_eq!(sequence_of(&sequence_key(77)), Some(77));
    }
}
