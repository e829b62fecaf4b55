//! The envelope around every stored object.
//!
//! ```text
//! envelope = codec (1 byte) | seal (1 byte) | plain length (u32, little endian)
//!          | payload
//! codec: 0 raw, 1 lz4 block, 2 zstd frame        seal: 0 none
//! ```
//!
//! The plain length is bounded before anything is allocated, and the payload
//! must decompress into exactly that many bytes.

use crate::compression::{self, Codec, Compression};

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 6;

const RAW: u8 = 0;
const LZ4: u8 = 1;
const ZSTD: u8 = 2;
const UNSEALED: u8 = 0;

/// Why an envelope cannot be opened.
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
}

/// Returns the envelope of `plain`: compressed if that makes it smaller.
#[must_use]
pub fn seal(plain: &[u8], compression: Compression) -> Vec<u8> {
    compression::compress(plain, compression, |compressed| {
        let (codec, payload) = match compressed {
            Some((Codec::Lz4, payload)) => (LZ4, payload),
            Some((Codec::Zstd, payload)) => (ZSTD, payload),
            None => (RAW, plain),
        };
        let mut envelope = Vec::with_capacity(HEADER_BYTES + payload.len());
        envelope.extend_from_slice(&[codec, UNSEALED]);
        // Callers hold to limits far below 4 GiB; a longer input would be cut
        // here and refused when it is read back.
        let length = u32::try_from(plain.len()).unwrap_or(u32::MAX);
        envelope.extend_from_slice(&length.to_le_bytes());
        envelope.extend_from_slice(payload);
        envelope
    })
}

/// Returns the plain bytes of an envelope, at most `max`.
///
/// # Errors
/// Fails on anything that `seal` would not have written.
pub fn open(envelope: &[u8], max: usize) -> Result<Vec<u8>, EnvelopeError> {
    let Some(([codec, seal, length @ ..], payload)) = envelope.split_first_chunk::<HEADER_BYTES>()
    else {
        return Err(EnvelopeError::Short);
    };
    let length = u64::from(u32::from_le_bytes(*length));
    let plain_len = usize::try_from(length).unwrap_or(usize::MAX);
    if plain_len > max {
        return Err(EnvelopeError::TooLarge { length, max: max as u64 });
    }
    match (*codec, *seal) {
        (RAW, UNSEALED) if payload.len() == plain_len => Ok(payload.to_vec()),
        (RAW, UNSEALED) => Err(EnvelopeError::Payload),
        (LZ4, UNSEALED) => decompressed(Codec::Lz4, payload, plain_len),
        (ZSTD, UNSEALED) => decompressed(Codec::Zstd, payload, plain_len),
        (codec, seal) => Err(EnvelopeError::Unknown { codec, seal }),
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
}
