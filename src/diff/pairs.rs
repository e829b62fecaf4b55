//! What was removed and what was added, paired. Pure but for what its callers
//! look at.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::ops::Range;

use crate::diff::change::{Change, Difference, Tally};
use crate::diff::comparison::Comparison;
use crate::diff::error::DiffError;

/// How many of the same key are looked at for one that is the same.
const CANDIDATES_MAX: usize = 64;

/// Which side has what can be part of a rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Added,
    Removed,
}

/// The side of what only one side has.
pub(super) fn side(difference: &Difference) -> Option<Side> {
    match difference.change {
        Change::Added(_) => Some(Side::Added),
        Change::Removed(_) => Some(Side::Removed),
        _ => None,
    }
}

/// Differences in the order of paths. Those that went into a rename leave their
/// places empty.
pub(super) struct Pairing<'c, 'a> {
    pub(super) comparison: &'c Comparison<'a>,
    slots: Vec<Option<Difference>>,
    /// For each difference where those below its path end.
    ends: Vec<usize>,
}

impl<'c, 'a> Pairing<'c, 'a> {
    pub(super) fn new(all: Vec<Difference>, comparison: &'c Comparison<'a>) -> Self {
        let ends = ends(&all);
        Self { comparison, slots: all.into_iter().map(Some).collect(), ends }
    }

    /// What is left, in the order of paths.
    pub(super) fn finish(self) -> Vec<Difference> {
        self.slots.into_iter().flatten().collect()
    }

    /// The places of all differences.
    pub(super) const fn places(&self) -> Range<usize> {
        0..self.slots.len()
    }

    /// The difference at a place, unless it went into a rename.
    pub(super) fn at(&self, place: usize) -> Option<&Difference> {
        self.slots.get(place).and_then(Option::as_ref)
    }

    /// The places of what lies below a difference.
    pub(super) fn inside(&self, place: usize) -> Range<usize> {
        place + 1..self.ends.get(place).copied().unwrap_or(place + 1)
    }

    /// Makes renames of what was removed and added with the same key if it turns
    /// out to be the same, those of the same name first. What lies above goes before
    /// what lies below, and takes it along.
    pub(super) fn pair_if<K: Copy + Eq + Hash>(
        &mut self,
        keys: &[Option<K>],
        is_same: &mut dyn FnMut(&Self, usize, usize) -> Result<bool, DiffError>,
    ) -> Result<(), DiffError> {
        let key = |this: &Self, place: usize, wanted: Side| {
            this.at(place).and_then(side).filter(|side| *side == wanted)?;
            keys.get(place).copied().flatten()
        };
        let mut sources: HashMap<K, Vec<usize>> = HashMap::new();
        for place in self.places() {
            if let Some(key) = key(self, place, Side::Removed) {
                sources.entry(key).or_default().push(place);
            }
        }
        for added in self.places() {
            let Some(key) = key(self, added, Side::Added) else { continue };
            let Some(sources) = sources.get_mut(&key) else { continue };
            let mut candidates: Vec<usize> = sources.iter().take(CANDIDATES_MAX).copied().collect();
            candidates.sort_by_key(|place| !self.has_same_name(*place, added));
            for removed in candidates {
                if self.is_there(removed) && is_same(self, removed, added)? {
                    sources.retain(|place| *place != removed);
                    self.pair(removed, added);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Makes renames of what agrees in its key and in what `further` says of it.
    pub(super) fn pair_equal<K: Copy + Eq + Hash>(
        &mut self,
        keys: &[Option<K>],
        further: &dyn Fn(&Difference) -> Vec<u8>,
    ) {
        let open = |this: &Self, place: usize, wanted: Side| {
            let difference = this.at(place).filter(|it| side(it) == Some(wanted))?;
            Some((keys.get(place).copied().flatten()?, further(difference)))
        };
        let mut sources: HashMap<_, VecDeque<usize>> = HashMap::new();
        for place in self.places() {
            if let Some(key) = open(self, place, Side::Removed) {
                sources.entry(key).or_default().push_back(place);
            }
        }
        for added in self.places() {
            let Some(key) = open(self, added, Side::Added) else { continue };
            if let Some(removed) = sources.get_mut(&key).and_then(VecDeque::pop_front) {
                self.pair(removed, added);
            }
        }
    }

    fn has_same_name(&self, one: usize, other: usize) -> bool {
        let name_at = |place| self.at(place).map(|it| name(&it.path));
        name_at(one) == name_at(other)
    }

    /// Whether a difference and all below it did not go into renames.
    fn is_there(&self, place: usize) -> bool {
        std::iter::once(place).chain(self.inside(place)).all(|place| self.at(place).is_some())
    }

    fn take(&mut self, place: usize) -> Option<Difference> {
        self.slots.get_mut(place).and_then(Option::take)
    }

    /// Makes a rename of what was removed and what was added, with all below.
    fn pair(&mut self, removed: usize, added: usize) {
        let (Some(old), Some(new)) = (self.take(removed), self.take(added)) else { return };
        let (Change::Removed(before), Change::Added(after)) = (old.change, new.change) else {
            return;
        };
        let mut counted = Tally::default();
        self.inside(removed).for_each(|place| drop(self.take(place)));
        for place in self.inside(added) {
            self.take(place).iter().for_each(|difference| counted.add(difference));
        }
        let below = after.is_directory().then(|| new.below.or(old.below).unwrap_or(counted));
        let fields = self.comparison.metadata(&before, &after);
        let change = Change::Renamed { from: old.path, before, after, fields };
        if let Some(slot) = self.slots.get_mut(added) {
            *slot = Some(Difference { path: new.path, change, below });
        }
    }
}

/// The last name of a path.
pub(super) fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// For each difference where those below its path end.
fn ends(all: &[Difference]) -> Vec<usize> {
    let mut ends = vec![all.len(); all.len()];
    let mut above: Vec<(usize, &[u8])> = Vec::new();
    for (index, difference) in all.iter().enumerate() {
        let path = difference.path.as_slice();
        let is_below = |above: &[u8]| {
            above.is_empty() || path.strip_prefix(above).is_some_and(|rest| rest.starts_with(b"/"))
        };
        while let Some((place, _)) = above.pop_if(|(_, above)| !is_below(above)) {
            if let Some(end) = ends.get_mut(place) {
                *end = index;
            }
        }
        above.push((index, path));
    }
    ends
}
