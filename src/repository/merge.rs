//! Joining small files: each snapshot leaves at least one new file in `data` and
//! one in `trees`, and every reader opens them all.
//!
//! Neighbours are joined once there are enough of one size: a file that comes of
//! it is at least [`GROWTH`] times as large as its largest part, so a byte is
//! rewritten at most `log4(32 MiB / 64 KiB)`, about 5 times, in its life
//! ([`PART_BYTES`] for each file not counted), and of files of any one octave of
//! sizes fewer than [`PARTS`] stay side by side.
//!
//! Imports: `repository`, `store`.

use std::ops::Range;

use crate::repository::error::RepositoryError;
use crate::repository::objects::Repository;
use crate::store::{Extent, Family};

/// Fewest files to join.
const PARTS: usize = 8;
/// How much larger than its largest part a joined file is at least.
const GROWTH: u64 = 4;
/// What a file weighs at least: below that it costs the same to rewrite it.
const PART_BYTES: u64 = 64 << 10;
/// Larger files are left alone.
const SMALL_BYTES: u64 = 32 << 20;

/// Neighbouring files that are to become one, or as few as possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Merge {
    pub(crate) family: Family,
    first: Vec<u8>,
    last: Vec<u8>,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

impl Repository {
    /// Lists which small files are to be joined, none of the parts larger than
    /// `bytes_max`.
    pub(crate) fn merges(&self, bytes_max: u64) -> Result<Vec<Merge>, RepositoryError> {
        let mut merges = Vec::new();
        for family in [Family::Trees, Family::Data] {
            let extents = self.store.extents(family)?;
            let sizes: Vec<_> = extents.iter().map(|extent| extent.bytes).collect();
            for range in merges_of(&sizes, bytes_max) {
                merges.extend(extents.get(range).and_then(|parts| Merge::of(family, parts)));
            }
        }
        for family in [Family::Snapshots, Family::Meta] {
            let extents = self.store.extents(family)?;
            let sizes: Vec<_> = extents.iter().map(|extent| extent.bytes).collect();
            if is_scattered(&sizes, bytes_max) {
                merges.extend(Merge::of(family, &extents));
            }
        }
        Ok(merges)
    }

    /// Joins small files.
    pub(crate) fn merge(&self, merge: &Merge) -> Result<(), RepositoryError> {
        Ok(self.store.reclaim(merge.family, &merge.first, &merge.last)?)
    }

    /// Joins small files if too many have piled up, rewriting up to `bytes_max`;
    /// `gc` does the rest.
    ///
    /// # Errors
    /// Fails if the store cannot be written. No object is lost then.
    pub fn merge_small_files(&self, bytes_max: u64) -> Result<(), RepositoryError> {
        let mut left = bytes_max;
        for merge in self.merges(bytes_max)? {
            if merge.bytes <= left {
                left -= merge.bytes;
                self.merge(&merge)?;
            }
        }
        Ok(())
    }
}

impl Merge {
    fn of(family: Family, parts: &[Extent]) -> Option<Self> {
        let first = parts.iter().map(|part| &part.first).min()?.clone();
        let last = parts.iter().map(|part| &part.last).max()?.clone();
        let bytes = parts.iter().map(|part| part.bytes).sum();
        Some(Self { family, first, last, files: parts.len() as u64, bytes })
    }
}

/// Which of neighbouring files to join, given their sizes in order: stretches of
/// at most `bytes_max` bytes, none of which overlap.
fn merges_of(sizes: &[u64], bytes_max: u64) -> Vec<Range<usize>> {
    let mut merges: Vec<Range<usize>> = Vec::new();
    let mut threshold = PART_BYTES;
    while threshold <= SMALL_BYTES {
        // The largest stretches win: what a smaller threshold would join inside
        // of them need not be joined twice.
        let found = stretches(sizes, threshold, bytes_max);
        merges.retain(|merge| !found.iter().any(|larger| overlap(merge, larger)));
        merges.extend(found);
        threshold *= 2;
    }
    merges.sort_by_key(|merge| merge.start);
    merges
}

const fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Stretches worth joining of files no larger than `threshold`.
fn stretches(sizes: &[u64], threshold: u64, bytes_max: u64) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, size) in sizes.iter().copied().chain([u64::MAX]).enumerate() {
        if size <= threshold && bytes + size <= bytes_max {
            bytes += size;
            continue;
        }
        if sizes.get(start..index).is_some_and(is_worth_joining) {
            found.push(start..index);
        }
        let begins = size <= threshold.min(bytes_max);
        (start, bytes) = if begins { (index, size) } else { (index + 1, 0) };
    }
    found
}

fn is_worth_joining(sizes: &[u64]) -> bool {
    let weight = |size: &u64| (*size).max(PART_BYTES);
    let largest = sizes.iter().map(weight).max().unwrap_or(0);
    sizes.len() >= PARTS && sizes.iter().map(weight).sum::<u64>() >= GROWTH * largest
}

/// Whether to join all files of a family whose keys come in no order. Its files
/// hold a key or two each and lie side by side, so the engine finds nothing to
/// join; and whatever is joined draws in the large file between. That is worth it
/// once the small ones weigh a part of it.
fn is_scattered(sizes: &[u64], bytes_max: u64) -> bool {
    let small = sizes.iter().filter(|size| **size <= PART_BYTES).count();
    let total: u64 = sizes.iter().sum();
    small >= 2 * PARTS && small as u64 * PART_BYTES * GROWTH >= total && total <= bytes_max
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const M: u64 = 1 << 20;

    /// First and last file of each stretch.
    fn joined(sizes: &[u64], bytes_max: u64) -> Vec<(usize, usize)> {
        let merges = merges_of(sizes, bytes_max);
        merges.into_iter().map(|merge| (merge.start, merge.end - 1)).collect()
    }

    #[test]
    fn few_files_and_large_files_are_left_alone() {
        assert!(merges_of(&[], 64 * M).is_empty());
        assert!(merges_of(&[1000; 7], 64 * M).is_empty());
        assert!(merges_of(&[128 * M; 100], u64::MAX).is_empty());
        // One larger file would be rewritten for the sake of seven small ones.
        let sizes = [M, 1000, 1000, 1000, 1000, 1000, 1000, 1000];
        assert!(merges_of(&sizes, 64 * M).is_empty());
    }

    #[test]
    fn small_neighbours_are_joined_between_large_ones() {
        let mut sizes = vec![128 * M];
        sizes.extend([5000; 9]);
        sizes.push(100 * M);
        assert_eq!(joined(&sizes, 64 * M), [(1, 9)]);
        let files_of_one_size = [20 * M; 8];
        assert_eq!(joined(&files_of_one_size, u64::MAX), [(0, 7)]);
        assert!(merges_of(&files_of_one_size, 64 * M).is_empty(), "too much at once");
    }

    #[test]
    fn what_is_too_much_at_once_is_joined_in_parts() {
        let sizes = [M; 200];
        let expected = [(0, 63), (64, 127), (128, 191), (192, 199)];
        assert_eq!(joined(&sizes, 64 * M), expected);
    }

    /// Adds files one by one, joining as `create` does. Returns the sizes in the
    /// end, the bytes rewritten, and the most that one step rewrote.
    fn live(added: impl Iterator<Item = u64>, bytes_max: u64) -> (Vec<u64>, u64, u64) {
        let (mut sizes, mut rewritten, mut most) = (Vec::new(), 0, 0);
        for size in added {
            sizes.push(size);
            let mut step = 0;
            for merge in merges_of(&sizes, bytes_max).into_iter().rev() {
                let joined = sizes[merge.clone()].iter().sum::<u64>();
                sizes.splice(merge, [joined]);
                step += joined;
            }
            rewritten += step;
            most = most.max(step);
        }
        (sizes, rewritten, most)
    }

    #[test]
    fn ten_thousand_small_snapshots_leave_few_files_and_rewrite_each_byte_a_few_times() {
        for size in [700, 20_000, 200_000, 3 * M] {
            let (sizes, rewritten, most) = live(std::iter::repeat_n(size, 10_000), 64 * M);
            let total: u64 = sizes.iter().sum();
            assert_eq!(total, 10_000 * size);
            let bound = 40 + usize::try_from(total / (16 * M)).unwrap();
            assert!(sizes.len() < bound, "{} files for {size}", sizes.len());
            assert!(rewritten <= 5 * 10_000 * size.max(PART_BYTES), "{rewritten} for {size}");
            assert!(most <= 64 * M);
        }
    }

    #[test]
    fn scattered_files_are_joined_when_they_are_many_beside_what_they_draw_in() {
        assert!(!is_scattered(&[1000; 15], M));
        assert!(is_scattered(&[1000; 16], M));
        let mut sizes = [1000; 30];
        sizes[3] = 10 * M;
        assert!(!is_scattered(&sizes, 64 * M), "ten megabytes for so few");
        sizes[3] = 7 * M;
        assert!(is_scattered(&sizes, 64 * M));
        assert!(!is_scattered(&sizes, M), "too much at once");
    }

    proptest! {
        #[test]
        fn files_stay_few_and_rewriting_cheap_whatever_comes(
            octaves in proptest::collection::vec(8_u32..26, 1..600)
        ) {
            let sizes = octaves.iter().map(|octave| (1_u64 << octave) + 1);
            let weight: u64 = sizes.clone().map(|size| size.max(PART_BYTES)).sum();
            let (left, rewritten, _) = live(sizes, u64::MAX);
            prop_assert!(rewritten <= 6 * weight, "{} of {}", rewritten, weight);
            let large = left.iter().filter(|size| **size > SMALL_BYTES).count();
            // At most seven of each of ten octaves beside each large file.
            prop_assert!(left.len() <= 70 * (large + 1), "{} files", left.len());
            let again = merges_of(&left, u64::MAX);
            prop_assert!(again.is_empty(), "{:?} of {:?}", again, left);
        }
    }
}
