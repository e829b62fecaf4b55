//! Content-defined chunking: where a file is cut so that equal content gives
//! equal chunks, wherever it lies.
//!
//! FastCDC in its 2020 form (Xia et al., "The Design of Fast Content-Defined
//! Chunking for Data Deduplication Based Storage Systems", TPDS 2020), by the
//! `fastcdc` crate, normalization level 1.
//!
//! Imports: `base`.

use fastcdc::v2020::{Normalization, cut, cut_gear, select_masks};
use zeroize::Zeroize as _;

use crate::base::hash::{Digest256, IdKey, leading_u64, tagged};
use crate::base::id::is_tagged;
use crate::base::limits::CHUNK_BYTES_MAX;
use crate::base::locked::Locked;

/// The sizes of chunks, fixed for the life of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkerConfig {
    /// Fewest bytes of a chunk that does not end its file.
    pub min_bytes: u32,
    /// Mean bytes of a chunk.
    pub avg_bytes: u32,
    /// Most bytes of a chunk.
    pub max_bytes: u32,
}

impl Default for ChunkerConfig {
    fn default() -> Self {
        Self { min_bytes: 16 << 10, avg_bytes: 64 << 10, max_bytes: 256 << 10 }
    }
}

/// Sizes that no chunker can work with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("chunk sizes {min}/{avg}/{max} are not even, rising and within their limits")]
pub struct ChunkerError {
    min: u32,
    avg: u32,
    max: u32,
}

/// Fewest bytes that a mean chunk may have: below, an index entry weighs more
/// than deduplication saves.
const FLOOR: u32 = 1024;

impl ChunkerConfig {
    /// Checks sizes that came from a disk.
    ///
    /// # Errors
    /// Fails if they are not even, do not rise, or exceed the limits.
    pub fn validate(&self) -> Result<(), ChunkerError> {
        let Self { min_bytes: min, avg_bytes: avg, max_bytes: max } = *self;
        let even = [min, avg, max].iter().all(|bytes| bytes.is_multiple_of(2));
        let rising = FLOOR <= min && min < avg && avg < max;
        // The crate's own bounds of the minimum and the mean.
        let bounded = min <= 1 << 20 && avg <= 4 << 20 && max as usize <= CHUNK_BYTES_MAX;
        if even && rising && bounded { Ok(()) } else { Err(ChunkerError { min, avg, max }) }
    }
}

/// Finds the ends of chunks.
#[derive(Clone)]
pub struct Chunker {
    min: usize,
    avg: usize,
    max: usize,
    mask_small: u64,
    mask_large: u64,
    table: Option<Locked<Table>>,
}

/// A table of the rolling hash: a number for each byte, and twice that.
struct Table {
    gear: [u64; 256],
    shifted: [u64; 256],
}

impl Drop for Table {
    fn drop(&mut self) {
        self.gear.zeroize();
        self.shifted.zeroize();
    }
}

impl Chunker {
    /// Returns a chunker for valid sizes.
    #[must_use]
    pub fn new(config: &ChunkerConfig) -> Self {
        let avg = config.avg_bytes as usize;
        let (mask_small, mask_large) = select_masks(avg, Normalization::Level1);
        Self {
            min: config.min_bytes as usize,
            avg,
            max: config.max_bytes as usize,
            mask_small,
            mask_large,
            table: None,
        }
    }

    /// Returns a chunker whose boundaries depend on a secret: the whole table of
    /// the rolling hash is derived from it, number by number, by HMAC-SHA-256.
    #[must_use]
    pub fn keyed(config: &ChunkerConfig, secret: &Digest256) -> Self {
        let key = IdKey::new(secret);
        let number = |byte: u8| leading_u64(&key.mac(&tagged(b"icecore gear 1\0", &[byte])));
        let mut table = Table { gear: [0; 256], shifted: [0; 256] };
        let places = table.gear.iter_mut().zip(&mut table.shifted);
        for (byte, (gear, shifted)) in (0..=u8::MAX).zip(places) {
            *gear = number(byte);
            *shifted = *gear << 1;
        }
        Self { table: Some(Locked::new(table)), ..Self::new(config) }
    }

    /// Most bytes of a chunk.
    #[must_use]
    pub const fn max_bytes(&self) -> usize {
        self.max
    }

    /// Returns the length of the first chunk of `bytes`, or nothing if more
    /// bytes are needed to tell. `at_end` says that none will follow; then the
    /// rest is a chunk. No chunk begins with the tag of another kind of object: its
    /// first byte is cut off.
    #[must_use]
    pub fn cut(&self, bytes: &[u8], at_end: bool) -> Option<usize> {
        if bytes.is_empty() || (bytes.len() < self.max && !at_end) {
            return None;
        }
        if is_tagged(bytes) {
            return Some(1);
        }
        let (small, large) = (self.mask_small, self.mask_large);
        let (min, avg, max) = (self.min, self.avg, self.max);
        let (_, end) = match &self.table {
            None => cut(bytes, min, avg, max, small, large, small << 1, large << 1),
            Some(table) => {
                let Table { gear, shifted } = &**table;
                cut_gear(bytes, min, avg, max, small, large, small << 1, large << 1, gear, shifted)
            }
        };
        Some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn noise(length: usize, mut state: u64) -> Vec<u8> {
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    fn lengths(mut bytes: &[u8]) -> Vec<usize> {
        let chunker = Chunker::new(&ChunkerConfig::default());
        let mut lengths = Vec::new();
        while let Some(length) = chunker.cut(bytes, true) {
            lengths.push(length);
            bytes = &bytes[length..];
        }
        lengths
    }

    #[test]
    fn boundaries_never_change_silently() {
        // Pinned: other boundaries would end deduplication with old snapshots.
        let found = lengths(&noise(600_000, 1));
        assert_eq!(found, fastcdc_crate_lengths(&noise(600_000, 1)));
        assert_eq!(found.iter().sum::<usize>(), 600_000);
        assert_eq!(found.first(), Some(&122_194));
    }

    #[test]
    fn no_chunk_begins_with_the_tag_of_another_object() {
        for tag in [&b"icecore tree 1\0"[..], b"icecore chunk list 1\0", b"icecore snapshot 1\0"] {
            let content = [tag, &noise(100, 5)].concat();
            assert_eq!(lengths(&content), [1, content.len() - 1]);
            assert_eq!(lengths(&content[1..]), [content.len() - 1]);
            // Wherever a cut falls.
            let found = lengths(&[&vec![0; 256 << 10], content.as_slice()].concat());
            assert_eq!(found, [256 << 10, 1, content.len() - 1]);
        }
    }

    fn fastcdc_crate_lengths(bytes: &[u8]) -> Vec<usize> {
        fastcdc::v2020::FastCDC::new(bytes, 16 << 10, 64 << 10, 256 << 10)
            .map(|chunk| chunk.length)
            .collect()
    }

    #[test]
    fn chunks_stay_within_their_bounds() {
        let found = lengths(&noise(5 << 20, 7));
        let (last, others) = found.split_last().unwrap();
        assert!(others.iter().all(|length| (16 << 10..=256 << 10).contains(length)));
        assert!(*last <= 256 << 10);
        let mean = (5 << 20) / found.len();
        assert!((32 << 10..=128 << 10).contains(&mean), "{mean}");
        assert!(lengths(&vec![0; 1 << 20]).iter().all(|length| *length == 256 << 10));
    }

    #[test]
    fn an_insertion_changes_only_the_chunks_around_it() {
        let before = noise(4 << 20, 3);
        let mut after = before.clone();
        after.splice(1000..1000, *b"inserted");
        let pieces = |bytes: &[u8]| -> HashSet<Vec<u8>> {
            let mut rest = bytes;
            let mut pieces = HashSet::new();
            for length in lengths(bytes) {
                let (piece, tail) = rest.split_at(length);
                pieces.insert(piece.to_vec());
                rest = tail;
            }
            pieces
        };
        let new = pieces(&after).difference(&pieces(&before)).count();
        assert!(new <= 3, "{new} new chunks");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn buffers_of_any_size_give_the_same_chunks(
            seed in 1_u64.., step in 300_000_usize..900_000
        ) {
            let bytes = noise(2 << 20, seed);
            let chunker = Chunker::new(&ChunkerConfig::default());
            let (mut start, mut end, mut found) = (0, 0, Vec::new());
            while start < bytes.len() {
                end = (end + step).min(bytes.len());
                while let Some(length) = chunker.cut(&bytes[start..end], end == bytes.len()) {
                    found.push(length);
                    start += length;
                }
            }
            prop_assert_eq!(found, lengths(&bytes));
        }
    }

    #[test]
    fn boundaries_under_a_secret_are_its_own_and_as_good() {
        let bytes = noise(5 << 20, 7);
        let lengths = |chunker: &Chunker| {
            let (mut rest, mut lengths) = (&bytes[..], Vec::new());
            while let Some(length) = chunker.cut(rest, true) {
                lengths.push(length);
                rest = &rest[length..];
            }
            lengths
        };
        let keyed = |byte| lengths(&Chunker::keyed(&ChunkerConfig::default(), &[byte; 32]));
        let (one, other) = (keyed(1), keyed(2));
        assert_eq!(one, keyed(1));
        // Pinned: other boundaries would end deduplication with old snapshots.
        assert_eq!(one.first(), Some(&29_418));
        let plain = lengths(&Chunker::new(&ChunkerConfig::default()));
        for (a, b) in [(&one, &other), (&one, &plain), (&other, &plain)] {
            let ends = |lengths: &[usize]| -> HashSet<usize> {
                lengths
                    .iter()
                    .scan(0, |end, length| {
                        Some({
                            *end += length;
                            *end
                        })
                    })
                    .collect()
            };
            let shared = ends(a).intersection(&ends(b)).count();
            assert_eq!(shared, 1, "only the end is where it must be");
        }
        let mean = bytes.len() / one.len();
        assert!((32 << 10..=128 << 10).contains(&mean), "{mean}");
    }

    #[test]
    fn sizes_that_make_no_sense_are_refused() {
        let good = ChunkerConfig::default();
        assert!(good.validate().is_ok());
        for bad in [
            ChunkerConfig { min_bytes: 0, ..good },
            ChunkerConfig { min_bytes: 64 << 10, ..good },
            ChunkerConfig { avg_bytes: 65_537, ..good },
            ChunkerConfig { max_bytes: u32::MAX - 1, ..good },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }
}
