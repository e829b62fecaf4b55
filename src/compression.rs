//! Compression of chunks and trees: lz4 blocks, zstd frames, or nothing where it
//! would not help.
//!
//! Imports: `base`.

use std::cell::RefCell;

use lz4_flex::block;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::compress_bound;

/// Bytes of a sample that tells whether content compresses.
const SAMPLE_BYTES: usize = 4096;
/// Inputs below this are compressed without looking at samples first.
const PROBE_BYTES_MIN: usize = 4 * SAMPLE_BYTES;
/// A sample that keeps more than this share of 100 does not compress.
const SAMPLE_PERCENT_MAX: usize = 97;

/// The levels of zstd.
pub const ZSTD_LEVELS: std::ops::RangeInclusive<i32> = 1..=22;
/// The level of zstd where none is said.
pub const ZSTD_LEVEL: i32 = 3;

/// How new objects are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// By lz4 blocks.
    #[default]
    Lz4,
    /// By zstd at a level of [`ZSTD_LEVELS`].
    Zstd(i32),
}

impl Compression {
    /// Returns what `none`, `lz4`, `zstd` or `zstd:LEVEL` mean.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "none" => Some(Self::None),
            "lz4" => Some(Self::Lz4),
            "zstd" => Some(Self::Zstd(ZSTD_LEVEL)),
            _ => {
                let level = text.strip_prefix("zstd:")?.parse().ok()?;
                ZSTD_LEVELS.contains(&level).then_some(Self::Zstd(level))
            }
        }
    }
}

/// How a payload is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// As an lz4 block.
    Lz4,
    /// As a zstd frame.
    Zstd,
}

/// A payload that does not decompress to the length it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload does not decompress to {plain_len} bytes")]
pub struct CompressionError {
    /// The length that was expected.
    pub plain_len: usize,
}

thread_local! {
    /// A context of zstd is large and costly to make: each thread keeps one,
    /// with its level.
    static ZSTD: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static UNZSTD: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Calls `take` with the compressed bytes, or with nothing if they would not be
/// smaller. They lie in a buffer of the thread's, so that nothing is allocated.
pub fn compress<T>(
    plain: &[u8],
    compression: Compression,
    take: impl FnOnce(Option<(Codec, &[u8])>) -> T,
) -> T {
    if compression == Compression::None || is_incompressible(plain) {
        return take(None);
    }
    BUFFER.with_borrow_mut(|buffer| {
        let bound = block::get_maximum_output_size(plain.len()).max(compress_bound(plain.len()));
        if buffer.len() < bound {
            buffer.resize(bound, 0);
        }
        let compressed = match compression {
            Compression::None => None,
            Compression::Lz4 => {
                block::compress_into(plain, buffer).ok().map(|length| (Codec::Lz4, length))
            }
            Compression::Zstd(level) => {
                compress_zstd(plain, level, buffer).map(|length| (Codec::Zstd, length))
            }
        };
        let smaller = compressed.filter(|(_, length)| *length < plain.len());
        take(smaller.and_then(|(codec, length)| Some((codec, buffer.get(..length)?))))
    })
}

/// Decompresses a payload into exactly `plain_len` bytes, which the caller has
/// bounded.
///
/// # Errors
/// Fails on anything that is no payload of that codec and plain length.
pub fn decompress(
    codec: Codec,
    payload: &[u8],
    plain_len: usize,
) -> Result<Vec<u8>, CompressionError> {
    let mut plain = vec![0; plain_len];
    let length = match codec {
        Codec::Lz4 => block::decompress_into(payload, &mut plain).ok(),
        Codec::Zstd => decompress_zstd(payload, &mut plain),
    };
    if length == Some(plain_len) { Ok(plain) } else { Err(CompressionError { plain_len }) }
}

/// Nothing if zstd fails, which it does only for want of memory: then the
/// content is stored as it is.
fn compress_zstd(plain: &[u8], level: i32, target: &mut [u8]) -> Option<usize> {
    ZSTD.with_borrow_mut(|kept| {
        if kept.as_ref().is_none_or(|(kept_level, _)| *kept_level != level) {
            *kept = Some((level, Compressor::new(level).ok()?));
        }
        let (_, compressor) = kept.as_mut()?;
        compressor.compress_to_buffer(plain, target).ok()
    })
}

/// The target is as long as the result must be, so no frame makes it longer.
fn decompress_zstd(payload: &[u8], plain: &mut [u8]) -> Option<usize> {
    UNZSTD.with_borrow_mut(|kept| {
        if kept.is_none() {
            *kept = Some(Decompressor::new().ok()?);
        }
        kept.as_mut()?.decompress_to_buffer(payload, plain).ok()
    })
}

/// Looks at two small samples of a large input: content that is compressed
/// already (media, archives) is told for a few percent of the cost.
fn is_incompressible(plain: &[u8]) -> bool {
    if plain.len() < PROBE_BYTES_MIN {
        return false;
    }
    [plain.len() / 3, plain.len() / 3 * 2].into_iter().all(|start| {
        let sample = plain.get(start..start + SAMPLE_BYTES).unwrap_or_default();
        let mut target = [0; SAMPLE_BYTES + SAMPLE_BYTES / 8];
        let length = block::compress_into(sample, &mut target).unwrap_or(usize::MAX / 100);
        length * 100 > sample.len() * SAMPLE_PERCENT_MAX
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

    const ALL: [Compression; 4] = [
        Compression::Lz4,
        Compression::Zstd(1),
        Compression::Zstd(ZSTD_LEVEL),
        Compression::Zstd(19),
    ];

    fn compressed(plain: &[u8], compression: Compression) -> Option<(Codec, Vec<u8>)> {
        compress(plain, compression, |found| {
            found.map(|(codec, payload)| (codec, payload.to_vec()))
        })
    }

    proptest! {
        #[test]
        fn what_is_compressed_decompresses(plain in "[ab]{0,3000}") {
            for compression in ALL {
                if let Some((codec, payload)) = compressed(plain.as_bytes(), compression) {
                    prop_assert!(payload.len() < plain.len());
                    let read = |length| decompress(codec, &payload, length);
                    prop_assert_eq!(read(plain.len()).unwrap(), plain.as_bytes());
                    prop_assert!(read(plain.len() + 1).is_err());
                    prop_assert!(read(plain.len() - 1).is_err());
                }
            }
        }

        #[test]
        fn a_hostile_payload_fails_or_fits(payload: Vec<u8>, plain_len in 0_usize..5000) {
            for codec in [Codec::Lz4, Codec::Zstd] {
                if let Ok(plain) = decompress(codec, &payload, plain_len) {
                    prop_assert_eq!(plain.len(), plain_len);
                }
            }
        }
    }

    #[test]
    fn noise_is_stored_raw_and_text_is_not() {
        let text = b"the quick brown fox ".repeat(5000);
        for compression in ALL {
            assert_eq!(compressed(&noise(100_000), compression), None);
            assert_eq!(compressed(&noise(100), compression), None);
            let (_, payload) = compressed(&text, compression).unwrap();
            assert!(payload.len() * 20 < text.len());
        }
        assert_eq!(compressed(&text, Compression::None), None);
    }

    #[test]
    fn text_behind_a_head_of_noise_is_still_compressed() {
        let mut mixed = noise(60_000);
        mixed.extend(b"the quick brown fox ".repeat(5000));
        assert!(compressed(&mixed, Compression::Lz4).is_some());
    }

    #[test]
    fn only_known_ways_to_compress_are_understood() {
        assert_eq!(Compression::parse("lz4"), Some(Compression::Lz4));
        assert_eq!(Compression::parse("zstd"), Some(Compression::Zstd(3)));
        assert_eq!(Compression::parse("zstd:19"), Some(Compression::Zstd(19)));
        for nonsense in ["", "LZ4", "zstd:", "zstd:0", "zstd:23", "zstd:-1", "gzip"] {
            assert_eq!(Compression::parse(nonsense), None, "{nonsense:?}");
        }
    }
}
