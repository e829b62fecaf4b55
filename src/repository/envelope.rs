//! The envelope around every stored object.
//!
//! ```text
//! envelope = codec (1 byte) | seal 0 (1 byte) | plain length (u32, little endian)
//!          | payload
//! sealed   = 255 (1 byte) | seal 1 (1 byte) | kind (1 byte) | id (32 bytes)
//!          | nonce (24 bytes) | ciphertext | tag (16 bytes)
//! ciphertext = codec (1 byte) | plain length (u32, little endian) | payload
//! codec: 0 raw, 1 lz4 block, 2 zstd frame
//! ```
//!
//! The plain length is bounded before anything is allocated, and the payload
//! must decompress into exactly that many bytes.
//!
//! A sealed one is bound to all that stands before the nonce. Whoever asks for an
//! object puts the kind and the id that it should have into the place of what is
//! written there; only those who read all that there is take them from there. An
//! encrypted repository opens nothing that is not sealed, and a plain one nothing
//! that is.

use std::borrow::Cow;

use crate::compression::{self, Codec, Compression};
use crate::crypto::{OVERHEAD_BYTES, SealError, SealingKey};
use crate::store::Family;

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 6;
/// Bytes before the nonce of a sealed one.
const SEALED_HEADER_BYTES: usize = 3 + ID_BYTES;
const ID_BYTES: usize = 32;
/// Bytes of the codec and the plain length.
const INNER_BYTES: usize = 5;

const RAW: u8 = 0;
const LZ4: u8 = 1;
const ZSTD: u8 = 2;
const HIDDEN: u8 = 255;
const UNSEALED: u8 = 0;
const SEALED: u8 = 1;

/// What an envelope holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// File content.
    Chunk = 0,
    /// A directory node or page.
    Tree = 1,
    /// A page of a chunk list.
    ChunkList = 2,
    /// A manifest.
    Snapshot = 3,
    /// A note on a snapshot.
    Note = 4,
    /// What was seen of a source.
    ScanPage = 5,
    /// What takes a restore back; a file, not a record of the store.
    Rollback = 6,
}

/// Why an envelope cannot be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Fewer bytes than a header.
    #[error("it is cut short")]
    Short,
    /// A codec or seal that this program does not know.
    #[error("its codec {codec} or seal {seal} is unknown")]
    Unknown {
        /// The codec byte.
        codec: u8,
        /// The seal byte.
        seal: u8,
    },
    /// A plain length above the bound.
    #[error("its length {length} exceeds {max}")]
    TooLarge {
        /// The length that it claims.
        length: u64,
        /// The bound.
        max: u64,
    },
    /// The payload does not decompress into the plain length.
    #[error("it does not decompress")]
    Payload,
    /// It is sealed in a repository that is not encrypted.
    #[error("it is encrypted, and the repository is not")]
    Encrypted,
    /// It is not sealed in a repository that is encrypted.
    #[error("it is not encrypted, and the repository is")]
    NotEncrypted,
    /// It cannot be sealed, or was not sealed as what it should be.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Makes and opens the envelopes of a repository.
#[derive(Clone, Debug)]
pub enum Envelopes {
    /// Of one that is not encrypted.
    Plain,
    /// Of one that is.
    Sealed(SealingKey),
}

/// What an envelope was opened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The kind and the id under which it was sealed, if it was.
    pub sealed_as: Option<(u8, [u8; ID_BYTES])>,
    /// The plain bytes.
    pub plain: Vec<u8>,
}

impl Envelopes {
    /// Returns the envelope of an object: compressed if that makes it smaller.
    ///
    /// # Errors
    /// Fails if there is no randomness for a nonce.
    pub fn seal(
        &self,
        kind: RecordKind,
        id: &[u8; ID_BYTES],
        plain: &[u8],
        compression: Compression,
    ) -> Result<Vec<u8>, EnvelopeError> {
        let Self::Sealed(key) = self else { return Ok(seal(plain, compression)) };
        let bound = sealed_header(kind as u8, id);
        compression::compress(plain, compression, |compressed| {
            let (codec, payload) = payload_of(compressed, plain);
            let bytes = SEALED_HEADER_BYTES + OVERHEAD_BYTES + INNER_BYTES + payload.len();
            let mut envelope = Vec::with_capacity(bytes);
            envelope.extend_from_slice(&bound);
            key.seal(&bound, &mut envelope, |inner| {
                inner.push(codec);
                inner.extend_from_slice(&length_of(plain));
                inner.extend_from_slice(payload);
            })?;
            Ok(envelope)
        })
    }

    /// Returns the plain bytes, at most `max`, of the object of that kind and id.
    ///
    /// # Errors
    /// Fails on anything that was not sealed as that object.
    pub fn open(
        &self,
        kind: RecordKind,
        id: &[u8; ID_BYTES],
        envelope: &[u8],
        max: usize,
    ) -> Result<Vec<u8>, EnvelopeError> {
        match self {
            Self::Plain => open(envelope, max),
            Self::Sealed(key) => open_sealed(key, &sealed_header(kind as u8, id), envelope, max),
        }
    }

    /// Returns the plain bytes, at most `max`, of whatever object it is.
    ///
    /// # Errors
    /// Fails on anything that was not sealed as an object.
    pub fn open_any(&self, envelope: &[u8], max: usize) -> Result<Opened, EnvelopeError> {
        match self {
            Self::Plain => open(envelope, max).map(|plain| Opened { sealed_as: None, plain }),
            Self::Sealed(key) => {
                let (kind, id) = sealed_as(envelope).ok_or(EnvelopeError::NotEncrypted)?;
                let plain = open_sealed(key, &sealed_header(kind, &id), envelope, max)?;
                Ok(Opened { sealed_as: Some((kind, id)), plain })
            }
        }
    }

    /// Returns what to store of a record that has no envelope unless it is sealed.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn wrap(
        &self,
        kind: RecordKind,
        id: &[u8; ID_BYTES],
        record: Vec<u8>,
    ) -> Result<Vec<u8>, EnvelopeError> {
        match self {
            Self::Plain => Ok(record),
            Self::Sealed(_) => self.seal(kind, id, &record, Compression::None),
        }
    }

    /// Returns the record in what [`Self::wrap`] made.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn unwrap<'a>(
        &self,
        kind: RecordKind,
        id: &[u8; ID_BYTES],
        stored: &'a [u8],
    ) -> Result<Cow<'a, [u8]>, EnvelopeError> {
        match self {
            // A record without an envelope may begin with any bytes, so only all that
            // stands before the nonce tells.
            Self::Plain if stored.starts_with(&sealed_header(kind as u8, id)) => {
                Err(EnvelopeError::Encrypted)
            }
            Self::Plain => Ok(Cow::Borrowed(stored)),
            // What is in it was no longer than that, since it is not compressed.
            Self::Sealed(_) => self.open(kind, id, stored, stored.len()).map(Cow::Owned),
        }
    }
}

/// The kind and the id under which an envelope says it was sealed.
#[must_use]
pub fn sealed_as(envelope: &[u8]) -> Option<(u8, [u8; ID_BYTES])> {
    let ([codec, seal, kind, id @ ..], _) = envelope.split_first_chunk::<SEALED_HEADER_BYTES>()?;
    ((*codec, *seal) == (HIDDEN, SEALED)).then_some((*kind, *id))
}

/// Whether what a family holds under a key says that it is sealed. A manifest that is
/// not has no envelope, and one of 255 bytes begins as if it had.
#[must_use]
pub fn is_sealed(family: Family, key: &[u8], stored: &[u8]) -> bool {
    sealed_as(stored).is_some_and(|(kind, id)| {
        family != Family::Snapshots || (kind == RecordKind::Snapshot as u8 && id == *key)
    })
}

fn sealed_header(kind: u8, id: &[u8; ID_BYTES]) -> [u8; SEALED_HEADER_BYTES] {
    let mut header = [0; SEALED_HEADER_BYTES];
    let bytes = [HIDDEN, SEALED, kind].into_iter().chain(id.iter().copied());
    header.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    header
}

fn open_sealed(
    key: &SealingKey,
    bound: &[u8; SEALED_HEADER_BYTES],
    envelope: &[u8],
    max: usize,
) -> Result<Vec<u8>, EnvelopeError> {
    if sealed_as(envelope).is_none() {
        return Err(EnvelopeError::NotEncrypted);
    }
    let sealed = envelope.get(SEALED_HEADER_BYTES..).ok_or(EnvelopeError::Short)?;
    // Compression only ever makes a payload smaller.
    let longest = max.saturating_add(INNER_BYTES + OVERHEAD_BYTES);
    if sealed.len() > longest {
        return Err(EnvelopeError::TooLarge { length: sealed.len() as u64, max: longest as u64 });
    }
    open_inner(key.open(bound, sealed)?, max)
}

/// Returns the plain bytes, at most `max`, of what was sealed: a codec, a length and
/// a payload.
pub(crate) fn open_inner(mut inner: Vec<u8>, max: usize) -> Result<Vec<u8>, EnvelopeError> {
    let Some(([codec, length @ ..], payload)) = inner.split_first_chunk::<INNER_BYTES>() else {
        return Err(EnvelopeError::Short);
    };
    let plain_len = bounded(*length, max)?;
    if *codec == RAW && payload.len() == plain_len {
        inner.drain(..INNER_BYTES);
        return Ok(inner);
    }
    decode(*codec, SEALED, payload, plain_len)
}

fn payload_of<'a>(compressed: Option<(Codec, &'a [u8])>, plain: &'a [u8]) -> (u8, &'a [u8]) {
    match compressed {
        Some((Codec::Lz4, payload)) => (LZ4, payload),
        Some((Codec::Zstd, payload)) => (ZSTD, payload),
        None => (RAW, plain),
    }
}

/// Callers hold to limits far below 4 GiB; a longer input would be cut here and
/// refused when it is read back.
fn length_of(plain: &[u8]) -> [u8; 4] {
    u32::try_from(plain.len()).unwrap_or(u32::MAX).to_le_bytes()
}

/// Returns the envelope of `plain` in a repository that is not encrypted:
/// compressed if that makes it smaller.
#[must_use]
pub fn seal(plain: &[u8], compression: Compression) -> Vec<u8> {
    compression::compress(plain, compression, |compressed| {
        let (codec, payload) = payload_of(compressed, plain);
        let mut envelope = Vec::with_capacity(HEADER_BYTES + payload.len());
        envelope.extend_from_slice(&[codec, UNSEALED]);
        envelope.extend_from_slice(&length_of(plain));
        envelope.extend_from_slice(payload);
        envelope
    })
}

/// Returns the plain bytes of an envelope that is not sealed, at most `max`.
///
/// # Errors
/// Fails on anything that `seal` would not have written.
pub fn open(envelope: &[u8], max: usize) -> Result<Vec<u8>, EnvelopeError> {
    let Some(([codec, seal, length @ ..], payload)) = envelope.split_first_chunk::<HEADER_BYTES>()
    else {
        return Err(EnvelopeError::Short);
    };
    match *seal {
        UNSEALED => decode(*codec, *seal, payload, bounded(*length, max)?),
        SEALED if *codec == HIDDEN => Err(EnvelopeError::Encrypted),
        seal => Err(EnvelopeError::Unknown { codec: *codec, seal }),
    }
}

fn bounded(length: [u8; 4], max: usize) -> Result<usize, EnvelopeError> {
    let length = u64::from(u32::from_le_bytes(length));
    let plain_len = usize::try_from(length).unwrap_or(usize::MAX);
    if plain_len > max {
        return Err(EnvelopeError::TooLarge { length, max: max as u64 });
    }
    Ok(plain_len)
}

fn decode(codec: u8, seal: u8, payload: &[u8], plain_len: usize) -> Result<Vec<u8>, EnvelopeError> {
    match codec {
        RAW if payload.len() == plain_len => Ok(payload.to_vec()),
        RAW => Err(EnvelopeError::Payload),
        LZ4 => decompressed(Codec::Lz4, payload, plain_len),
        ZSTD => decompressed(Codec::Zstd, payload, plain_len),
        codec => Err(EnvelopeError::Unknown { codec, seal }),
    }
}

fn decompressed(codec: Codec, payload: &[u8], plain_len: usize) -> Result<Vec<u8>, EnvelopeError> {
    compression::decompress(codec, payload, plain_len).map_err(|_| EnvelopeError::Payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_sealed_opens_again(plain in proptest::collection::vec(any::<u8>(), 0..5000)) {
            for compression in [Compression::None, Compression::Lz4, Compression::Zstd(3)] {
                prop_assert_eq!(open(&seal(&plain, compression), 5000).unwrap(), plain.clone());
            }
        }

        #[test]
        fn any_bytes_open_or_fail_within_the_bound(bytes: Vec<u8>) {
            if let Ok(plain) = open(&bytes, 64) {
                prop_assert!(plain.len() <= 64);
            }
        }
    }

    #[test]
    fn a_length_above_the_bound_is_refused_before_anything_is_allocated() {
        let mut bomb = vec![LZ4, UNSEALED];
        bomb.extend_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(open(&bomb, 1 << 20), Err(EnvelopeError::TooLarge { .. })));
    }

    #[test]
    fn unknown_codecs_and_seals_are_refused() {
        for (codec, seal) in [(9, UNSEALED), (RAW, 9)] {
            let bytes = [codec, seal, 0, 0, 0, 0];
            assert!(matches!(open(&bytes, 10), Err(EnvelopeError::Unknown { .. })));
        }
    }

    fn sealed() -> Envelopes {
        Envelopes::Sealed(crate::crypto::MasterKey::generate().unwrap().keys().sealing)
    }

    #[test]
    fn a_sealed_object_opens_as_itself_alone() {
        let envelopes = sealed();
        let plain = b"the quick brown fox ".repeat(50);
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd(3)] {
            let (kind, id) = (RecordKind::Tree, [7; 32]);
            let stored = envelopes.seal(kind, &id, &plain, compression).unwrap();
            assert_eq!(envelopes.open(kind, &id, &stored, 5000).unwrap(), plain);
            let any = envelopes.open_any(&stored, 5000).unwrap();
            assert_eq!(any, Opened { sealed_as: Some((1, id)), plain: plain.clone() });
            assert!(!stored.windows(9).any(|window| window == b"brown fox"));
            for (other_kind, other_id) in [(RecordKind::Chunk, id), (kind, [8; 32])] {
                let wrong = envelopes.open(other_kind, &other_id, &stored, 5000);
                assert!(matches!(wrong, Err(EnvelopeError::Seal(SealError::Forged))));
            }
            // Under another name it opens as nothing.
            let mut renamed = stored.clone();
            renamed[3] ^= 1;
            assert!(envelopes.open_any(&renamed, 5000).is_err());
            let too_large = envelopes.open(kind, &id, &stored, 999);
            assert!(matches!(too_large, Err(EnvelopeError::TooLarge { .. })));
            assert!(sealed().open(kind, &id, &stored, 5000).is_err());
        }
    }

    #[test]
    fn neither_kind_of_repository_takes_the_envelopes_of_the_other() {
        let (kind, id) = (RecordKind::Note, [7; 32]);
        let stored = sealed().wrap(kind, &id, b"note".to_vec()).unwrap();
        assert!(matches!(open(&stored, 5000), Err(EnvelopeError::Encrypted)));
        let plain = Envelopes::Plain;
        assert!(matches!(plain.open_any(&stored, 5000), Err(EnvelopeError::Encrypted)));
        assert!(matches!(plain.unwrap(kind, &id, &stored), Err(EnvelopeError::Encrypted)));
        assert_eq!(plain.wrap(kind, &id, b"note".to_vec()).unwrap(), b"note");
        for unsealed in [seal(b"note", Compression::None), b"note".to_vec(), Vec::new()] {
            let outcomes = [
                sealed().open(kind, &id, &unsealed, 5000).err(),
                sealed().open_any(&unsealed, 5000).err(),
                sealed().unwrap(kind, &id, &unsealed).err(),
            ];
            for outcome in outcomes {
                assert!(matches!(outcome, Some(EnvelopeError::NotEncrypted)), "{outcome:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_flipped_bit_of_a_sealed_object_goes_unseen(
            plain: Vec<u8>, at: prop::sample::Index, bit in 0_u8..8
        ) {
            let (envelopes, kind, id) = (sealed(), RecordKind::Chunk, [3; 32]);
            let mut stored = envelopes.seal(kind, &id, &plain, Compression::Lz4).unwrap();
            let at = at.index(stored.len());
            stored[at] ^= 1 << bit;
            prop_assert!(envelopes.open_any(&stored, 5000).is_err());
            // Whoever knows the id does not look at the one that is written there.
            if !(2..SEALED_HEADER_BYTES).contains(&at) {
                prop_assert!(envelopes.open(kind, &id, &stored, 5000).is_err());
            }
        }
    }
}
