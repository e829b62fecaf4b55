//! Compression of chunks and trees: lz4 blocks, or nothing where it would not
//! help.
//!
//! Imports: `base`.

use lz4_flex::block;

/// Bytes of a sample that tells whether content compresses.
const SAMPLE_BYTES: usize = 4096;
/// Inputs below this are compressed without looking at samples first.
const PROBE_BYTES_MIN: usize = 4 * SAMPLE_BYTES;
/// A sample that keeps more than this share of 100 does not compress.
const SAMPLE_PERCENT_MAX: usize = 97;

/// How new objects are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// By lz4 blocks.
    #[default]
    Lz4,
}

/// A payload that does not decompress to the length it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload does not decompress to {plain_len} bytes")]
pub struct CompressionError {
    /// The length that was expected.
    pub plain_len: usize,
}

/// Returns the compressed bytes, or nothing if they would not be smaller.
#[must_use]
pub fn compress(plain: &[u8], compression: Compression) -> Option<Vec<u8>> {
    if compression == Compression::None || is_incompressible(plain) {
        return None;
    }
    let compressed = block::compress(plain);
    (compressed.len() < plain.len()).then_some(compressed)
}

/// Decompresses an lz4 block into exactly `plain_len` bytes, which the caller
/// has bounded.
///
/// # Errors
/// Fails on anything that is no lz4 block of that plain length.
pub fn decompress_lz4(payload: &[u8], plain_len: usize) -> Result<Vec<u8>, CompressionError> {
    let mut plain = vec![0; plain_len];
    match block::decompress_into(payload, &mut plain) {
        Ok(length) if length == plain_len => Ok(plain),
        _ => Err(CompressionError { plain_len }),
    }
}

/// Looks at two small samples of a large input: content that is compressed
/// already (media, archives) is told for a few percent of the cost.
fn is_incompressible(plain: &[u8]) -> bool {
    if plain.len() < PROBE_BYTES_MIN {
        return false;
    }
    [plain.len() / 3, plain.len() / 3 * 2].into_iter().all(|start| {
        let sample = plain.get(start..start + SAMPLE_BYTES).unwrap_or_default();
        block::compress(sample).len() * 100 > sample.len() * SAMPLE_PERCENT_MAX
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 88_172_645_463_325_252_u64;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    proptest! {
        #[test]
        fn what_is_compressed_decompresses(plain in "[ab]{0,3000}") {
            if let Some(payload) = compress(plain.as_bytes(), Compression::Lz4) {
                prop_assert!(payload.len() < plain.len());
                prop_assert_eq!(decompress_lz4(&payload, plain.len()).unwrap(), plain.as_bytes());
                prop_assert!(decompress_lz4(&payload, plain.len() + 1).is_err());
                prop_assert!(decompress_lz4(&payload, plain.len() - 1).is_err());
            }
        }

        #[test]
        fn a_hostile_payload_fails_or_fits(payload: Vec<u8>, plain_len in 0_usize..5000) {
            if let Ok(plain) = decompress_lz4(&payload, plain_len) {
                prop_assert_eq!(plain.len(), plain_len);
            }
        }
    }

    #[test]
    fn noise_is_stored_raw_and_text_is_not() {
        assert_eq!(compress(&noise(100_000), Compression::Lz4), None);
        assert_eq!(compress(&noise(100), Compression::Lz4), None);
        let text = b"the quick brown fox ".repeat(5000);
        let payload = compress(&text, Compression::Lz4).unwrap();
        assert!(payload.len() * 20 < text.len());
        assert_eq!(compress(&text, Compression::None), None);
    }

    #[test]
    fn text_behind_a_head_of_noise_is_still_compressed() {
        let mut mixed = noise(60_000);
        mixed.extend(b"the quick brown fox ".repeat(5000));
        assert!(compress(&mixed, Compression::Lz4).is_some());
    }
}
