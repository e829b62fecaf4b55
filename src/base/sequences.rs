//! A set of sequence numbers, one bit each: they are dense by construction.
//!
//! Only an index that lies has others. Bits lie in blocks that are made when they
//! are needed, so that such a number costs one block and not all before it.

use std::collections::BTreeMap;

/// Words of 64 bits in a block: 512 bytes for 4096 numbers.
const BLOCK_WORDS: usize = 64;
/// Numbers in a block.
const BLOCK_NUMBERS: u64 = 64 * BLOCK_WORDS as u64;

type Block = Box<[u64; BLOCK_WORDS]>;

/// A set of sequence numbers.
#[derive(Clone, Debug, Default)]
pub struct SequenceSet {
    blocks: BTreeMap<u64, Block>,
    len: u64,
}

impl SequenceSet {
    /// Adds a number and returns whether it is new.
    pub fn insert(&mut self, number: u64) -> bool {
        let new = || Box::new([0; BLOCK_WORDS]);
        let block = self.blocks.entry(number / BLOCK_NUMBERS).or_insert_with(new);
        let bit = 1_u64 << (number % 64);
        match block.get_mut(word_of(number)) {
            Some(bits) if *bits & bit == 0 => {
                *bits |= bit;
                self.len += 1;
                true
            }
            _ => false,
        }
    }

    /// Whether a number is in the set.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        let block = self.blocks.get(&(number / BLOCK_NUMBERS));
        let word = block.and_then(|block| block.get(word_of(number)));
        word.is_some_and(|bits| bits & (1 << (number % 64)) != 0)
    }

    /// How many numbers are in the set.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no number in the set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The least number in the set.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.within(0, u64::MAX).next()
    }

    /// The greatest number in the set.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        // A block is made for a number, so the last one has some.
        let (place, block) = self.blocks.iter().next_back()?;
        let word = block.iter().rposition(|bits| *bits != 0)?;
        let bits = block.get(word)?;
        Some(place * BLOCK_NUMBERS + 64 * word as u64 + u64::from(63 - bits.leading_zeros()))
    }

    /// Adds every number of another set.
    pub fn union(&mut self, other: &Self) {
        for (place, more) in &other.blocks {
            let block = self.blocks.entry(*place).or_insert_with(|| Box::new([0; BLOCK_WORDS]));
            for (bits, more) in block.iter_mut().zip(more.iter()) {
                self.len += u64::from((more & !*bits).count_ones());
                *bits |= more;
            }
        }
    }

    /// The numbers of `first..=last` that are in the set, in order. Costs little
    /// where there are none.
    pub fn within(&self, first: u64, last: u64) -> impl Iterator<Item = u64> + '_ {
        self.words(first, last).flat_map(|(base, bits)| {
            (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| base + bit)
        })
    }

    /// How many numbers of `first..=last` are in the set.
    #[must_use]
    pub fn count(&self, first: u64, last: u64) -> u64 {
        self.words(first, last).map(|(_, bits)| u64::from(bits.count_ones())).sum()
    }

    /// The words that hold numbers of `first..=last`, without the bits of others,
    /// each with the number that its first bit stands for.
    fn words(&self, first: u64, last: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        // A range that ends before it begins holds nothing.
        let places = (first <= last).then_some(first / BLOCK_NUMBERS..=last / BLOCK_NUMBERS);
        let blocks = places.into_iter().flat_map(|places| self.blocks.range(places));
        let words = blocks.flat_map(|(place, block)| {
            let base = move |word: usize| place * BLOCK_NUMBERS + 64 * word as u64;
            block.iter().enumerate().map(move |(word, bits)| (base(word), *bits))
        });
        words.filter(|(_, bits)| *bits != 0).filter_map(move |(base, bits)| {
            let below = first.saturating_sub(base);
            let above = (base + 63).saturating_sub(last);
            let outside = below > 63 || above > 63;
            let kept = u64::MAX << below.min(63) & u64::MAX >> above.min(63);
            (!outside && bits & kept != 0).then_some((base, bits & kept))
        })
    }
}

/// The word of a block that holds a number.
const fn word_of(number: u64) -> usize {
    (number % BLOCK_NUMBERS / 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_agrees_with_a_set_of_numbers(
            numbers in proptest::collection::vec(0_u64..20_000, 0..200),
            a in 0_u64..24_000,
            b in 0_u64..24_000
        ) {
            let mut set = SequenceSet::default();
            let mut model = BTreeSet::new();
            for number in numbers {
                prop_assert_eq!(set.insert(number), model.insert(number));
            }
            let mut other = SequenceSet::default();
            other.insert(a);
            other.insert(b);
            let mut both = set.clone();
            both.union(&other);
            let mut union = model.clone();
            union.extend([a, b]);
            prop_assert_eq!(both.len(), union.len() as u64);
            prop_assert!(union.iter().all(|number| both.contains(*number)));
            let (first, last) = (a.min(b), a.max(b));
            prop_assert_eq!(set.len(), model.len() as u64);
            prop_assert_eq!(set.contains(a), model.contains(&a));
            prop_assert_eq!(set.count(first, last), model.range(first..=last).count() as u64);
            let within: Vec<_> = set.within(first, last).collect();
            prop_assert_eq!(within, model.range(first..=last).copied().collect::<Vec<_>>());
            prop_assert_eq!(set.within(0, u64::MAX).count() as u64, set.len());
            prop_assert_eq!(set.first(), model.first().copied());
            prop_assert_eq!(set.last(), model.last().copied());
        }
    }

    #[test]
    fn an_absurd_number_is_kept_and_takes_one_block() {
        let mut set = SequenceSet::default();
        for number in [u64::MAX, u64::MAX - 63, 1 << 36] {
            assert!(set.insert(number) && !set.insert(number) && set.contains(number));
        }
        assert_eq!(set.blocks.len(), 2);
        assert_eq!(set.within(1, u64::MAX).collect::<Vec<_>>(), [1 << 36, u64::MAX - 63, u64::MAX]);
        assert_eq!((set.count(u64::MAX, u64::MAX), set.count(9, 3)), (1, 0));
    }
}
