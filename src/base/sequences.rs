//! A set of sequence numbers, one bit each: they are dense by construction.

/// Numbers that may lie beyond the last one given, against a corrupt index that
/// claims absurd ones: 2^36 bits are 8 GiB, more than any repository needs.
const NUMBER_MAX: u64 = 1 << 36;

/// A set of sequence numbers.
#[derive(Clone, Debug, Default)]
pub struct SequenceSet {
    words: Vec<u64>,
    len: u64,
}

impl SequenceSet {
    /// Adds a number and returns whether it is new. Absurdly large numbers are
    /// not added and count as new.
    pub fn insert(&mut self, number: u64) -> bool {
        if number >= NUMBER_MAX {
            return true;
        }
        let Ok(word) = usize::try_from(number / 64) else { return true };
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let bit = 1_u64 << (number % 64);
        match self.words.get_mut(word) {
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
        let word = usize::try_from(number / 64).ok().and_then(|word| self.words.get(word));
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
        let word = self.words.iter().rposition(|bits| *bits != 0)?;
        let bits = self.words.get(word)?;
        Some(word as u64 * 64 + u64::from(63 - bits.leading_zeros()))
    }

    /// Adds every number of another set.
    pub fn union(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (bits, more) in self.words.iter_mut().zip(&other.words) {
            self.len += u64::from((more & !*bits).count_ones());
            *bits |= more;
        }
    }

    /// The numbers of `first..=last` that are in the set, in order. Costs little
    /// where there are none.
    pub fn within(&self, first: u64, last: u64) -> impl Iterator<Item = u64> + '_ {
        let end = (self.words.len() as u64).min((last / 64).saturating_add(1));
        let words = (first / 64..end).filter_map(move |index| {
            let bits = usize::try_from(index).ok().and_then(|index| self.words.get(index))?;
            (*bits != 0).then_some((index * 64, *bits))
        });
        words
            .flat_map(|(base, bits)| {
                (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| base + bit)
            })
            .filter(move |number| (first..=last).contains(number))
    }

    /// How many numbers of `first..=last` are in the set.
    #[must_use]
    pub fn count(&self, first: u64, last: u64) -> u64 {
        let mut count = 0;
        for word in first / 64..=last / 64 {
            let Some(bits) = usize::try_from(word).ok().and_then(|word| self.words.get(word))
            else {
                break;
            };
            let mut bits = *bits;
            if word == first / 64 {
                bits &= u64::MAX << (first % 64);
            }
            if word == last / 64 {
                bits &= u64::MAX >> (63 - last % 64);
            }
            count += u64::from(bits.count_ones());
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_agrees_with_a_set_of_numbers(
            numbers in proptest::collection::vec(0_u64..500, 0..200),
            a in 0_u64..600,
            b in 0_u64..600
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
    fn an_absurd_number_takes_no_memory() {
        let mut set = SequenceSet::default();
        assert!(set.insert(u64::MAX));
        assert!(!set.contains(u64::MAX));
        assert!(set.words.is_empty());
    }
}
