//! Renames: what was removed and what was added are paired by their content.
//!
//! Differences are held until all are known, at most [`HELD_BYTES_MAX`] of them.
//! A directory of a snapshot is paired whole if its tree has the same id, and
//! then nothing below it is read. One of the running system is if all below it
//! turns out to be the same.

use std::collections::HashSet;

use crate::base::id::TreeId;
use crate::base::name::join_paths;
use crate::dag::Node;
use crate::diff::change::{Change, Difference, Item, Tally};
use crate::diff::comparison::Comparison;
use crate::diff::content_keys::{ContentKeys, unhashed};
use crate::diff::error::DiffError;
use crate::diff::moved;
use crate::diff::pairs::{Pairing, Side, name, side};
use crate::repository::Step;

/// Memory for differences that wait for their partners, in bytes.
const HELD_BYTES_MAX: usize = 128 << 20;
/// What a difference takes beside its path and attributes, roughly.
const DIFFERENCE_BYTES: usize = 512;

/// How differences are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// As they are met, with all below an added or removed directory.
    Plain,
    /// The same, but such a directory stands for all below it.
    Folded,
    /// When all are known and renames are found among them.
    Renames,
}

/// How a comparison ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// There were too many differences to look for renames among all of them.
    pub is_renames_limited: bool,
    /// Live items that could not be compared.
    pub problems: u64,
    /// What is damaged and so was not compared whole.
    pub damaged: u64,
}

/// Called with each difference, in the order of paths.
pub type VisitDifference<'a, E> = dyn FnMut(&Comparison<'_>, Difference) -> Result<(), E> + 'a;

impl Comparison<'_> {
    /// Tells all differences, in the order of paths.
    ///
    /// # Errors
    /// Fails if the repository cannot be read, or with what `visit` says.
    pub fn tell<E: From<DiffError>>(
        mut self,
        listing: Listing,
        visit: &mut VisitDifference<'_, E>,
    ) -> Result<Told, E> {
        self.tell_held(listing, HELD_BYTES_MAX, visit)
    }

    pub(super) fn tell_held<E: From<DiffError>>(
        &mut self,
        listing: Listing,
        held_bytes_max: usize,
        visit: &mut VisitDifference<'_, E>,
    ) -> Result<Told, E> {
        let mut is_renames_limited = false;
        if listing == Listing::Renames {
            let held = Held::collect(self, held_bytes_max)?;
            is_renames_limited = held.is_limited;
            for difference in held.all {
                self.tell_unfolded(difference, visit)?;
            }
        }
        while let Some(mut difference) = self.step()? {
            if listing == Listing::Folded && self.can_fold(&difference) {
                self.fold(&mut difference);
            }
            visit(self, difference)?;
        }
        Ok(Told { is_renames_limited, problems: self.problems(), damaged: self.damaged() })
    }

    /// Whether a difference can stand for all below it.
    fn can_fold(&self, difference: &Difference) -> bool {
        let is_one_sided = matches!(difference.change, Change::Added(_) | Change::Removed(_));
        let is_all_told = self.options.include.is_empty() && self.options.exclude.is_empty();
        is_one_sided && is_all_told && difference.item().tree().is_some()
    }

    /// Makes a difference stand for all below it, which is not looked at.
    fn fold(&mut self, difference: &mut Difference) {
        self.skip();
        difference.below = difference.item().tree().map(|tree| Tally::from(&tree.totals));
    }

    /// Appends an added or removed directory with all that lies below it, unless
    /// there would be more than `bytes_max` bytes.
    fn unfold(
        &mut self,
        mut top: Difference,
        held: &mut Held,
        bytes_max: usize,
    ) -> Result<(), DiffError> {
        let Some(tree) = top.item().tree().copied() else { return Ok(()) };
        let (first, bytes) = (held.all.len(), held.bytes);
        let whole = top.clone();
        top.below = None;
        held.push(top.clone());
        let repository = self.repository;
        let mut walk = repository.walk(&tree);
        loop {
            self.go_on()?;
            match walk.step() {
                Ok(None) => break,
                Ok(Some(Step::Entry(node))) => held.push(below(&top, walk.path(), &node)),
                Ok(Some(Step::Leave)) => {}
                // The next step goes on behind it.
                Err(error) => self.damage(&join_paths(&top.path, walk.path()), error)?,
            }
            if held.bytes > bytes_max {
                held.all.truncate(first);
                (held.bytes, held.is_limited) = (bytes, true);
                held.push(whole);
                break;
            }
        }
        Ok(())
    }

    /// Tells a directory and all below it that it stands for.
    fn tell_unfolded<E: From<DiffError>>(
        &mut self,
        mut top: Difference,
        visit: &mut VisitDifference<'_, E>,
    ) -> Result<(), E> {
        let tree = top.item().tree().copied().filter(|_| top.is_whole());
        let is_renamed = matches!(top.change, Change::Renamed { .. });
        let Some(tree) = tree.filter(|_| !is_renamed) else { return visit(self, top) };
        top.below = None;
        visit(self, top.clone())?;
        let repository = self.repository;
        let mut walk = repository.walk(&tree);
        loop {
            self.go_on()?;
            match walk.step() {
                Ok(None) => return Ok(()),
                Ok(Some(Step::Entry(node))) => visit(self, below(&top, walk.path(), &node))?,
                Ok(Some(Step::Leave)) => {}
                Err(error) => self.damage(&join_paths(&top.path, walk.path()), error)?,
            }
        }
    }
}

/// The difference of an entry below an added or removed directory.
fn below(top: &Difference, path: &[u8], node: &Node) -> Difference {
    let path = join_paths(&top.path, path);
    let item = Item::from(node);
    let change = match top.change {
        Change::Removed(_) => Change::Removed(item),
        _ => Change::Added(item),
    };
    Difference { path, change, below: None }
}

/// Differences that wait for their partners, in the order of paths.
#[derive(Default)]
struct Held {
    all: Vec<Difference>,
    bytes: usize,
    is_limited: bool,
}

impl Held {
    fn push(&mut self, difference: Difference) {
        let item = difference.item();
        let xattrs: usize = item.xattrs.iter().map(|it| it.name.len() + it.value.len()).sum();
        self.bytes += DIFFERENCE_BYTES + difference.path.len() + xattrs;
        self.all.push(difference);
    }

    /// Takes differences until there are too many, and pairs them: directories
    /// as they are, then what lies in the others.
    fn collect(comparison: &mut Comparison<'_>, bytes_max: usize) -> Result<Self, DiffError> {
        let mut held = Self::default();
        comparison.unseen = Some(Vec::new());
        while held.bytes <= bytes_max {
            let Some(mut difference) = comparison.step()? else { break };
            if comparison.can_fold(&difference) {
                comparison.fold(&mut difference);
            }
            held.push(difference);
        }
        held.is_limited = held.bytes > bytes_max;
        // What follows the last one may be in the same directory.
        let last = held.all.last().filter(|_| held.is_limited).map(|last| last.path.clone());
        let mut pairing = Pairing::new(held.all, comparison);
        pair_trees(&mut pairing)?;
        let mut unfolded = Self { is_limited: held.is_limited, ..Self::default() };
        for difference in pairing.finish() {
            if difference.is_whole() && partner_key(&difference).is_some() {
                comparison.unfold(difference, &mut unfolded, bytes_max)?;
            } else {
                unfolded.push(difference);
            }
        }
        let mut unseen = comparison.unseen.take().unwrap_or_default();
        unseen.extend(last);
        let mut pairing = Pairing::new(unfolded.all, comparison);
        let mut contents = ContentKeys::default();
        pair_trees(&mut pairing)?;
        moved::pair(&mut pairing, &unseen, &mut contents)?;
        pair_files(&mut pairing, &mut contents)?;
        unfolded.all = pairing.finish();
        Ok(unfolded)
    }
}

/// Makes renames of added and removed directories with the same tree.
fn pair_trees(pairing: &mut Pairing<'_, '_>) -> Result<(), DiffError> {
    let keys: Vec<_> =
        pairing.places().map(|place| pairing.at(place).and_then(partner_key)).collect();
    pairing.pair_if(&keys, &mut |_, _, _| Ok(true))
}

/// Makes renames of added and removed files with the same content: first of
/// those with the same name in other directories, then of any.
fn pair_files(pairing: &mut Pairing<'_, '_>, contents: &mut ContentKeys) -> Result<(), DiffError> {
    if pairing.comparison.has_live_side() {
        pair_files_with_holes(pairing, contents)?;
    }
    let (added, removed) = (sizes(pairing, Side::Added), sizes(pairing, Side::Removed));
    let mut keys = Vec::with_capacity(pairing.places().len());
    for place in pairing.places() {
        let may_pair = pairing.at(place).is_some_and(|difference| {
            let size = difference.item().size();
            match file_side(difference) {
                Some(Side::Added) => removed.contains(&size),
                Some(Side::Removed) => added.contains(&size),
                None => false,
            }
        });
        keys.push(if may_pair { contents.at(pairing, place)? } else { None });
    }
    pairing.pair_equal(&keys, &|difference| name(&difference.path).to_vec());
    pairing.pair_equal(&keys, &|_| Vec::new());
    Ok(())
}

/// The sizes of the files of one side that can be told by a key.
fn sizes(pairing: &Pairing<'_, '_>, side: Side) -> HashSet<u64> {
    let is_live = pairing.comparison.has_live_side();
    let all = pairing.places().filter_map(|place| pairing.at(place));
    let own = all.filter(|it| file_side(it) == Some(side));
    own.filter(|it| !is_live || unhashed(it).is_none()).map(|it| it.item().size()).collect()
}

/// Does the same where a file of a snapshot has holes and so no hash: it is
/// compared with live ones of its size.
fn pair_files_with_holes(
    pairing: &mut Pairing<'_, '_>,
    contents: &mut ContentKeys,
) -> Result<(), DiffError> {
    let all = pairing.places().filter_map(|place| pairing.at(place));
    let with_holes = all.filter(|it| file_side(it).and(unhashed(it)).is_some());
    let sizes: HashSet<u64> = with_holes.map(|it| it.item().size()).collect();
    let size = |it: &Difference| file_side(it).map(|_| it.item().size());
    let keys: Vec<_> = pairing
        .places()
        .map(|place| pairing.at(place).and_then(size).filter(|size| sizes.contains(size)))
        .collect();
    pairing.pair_if(&keys, &mut |pairing, removed, added| {
        let has_holes = |place| pairing.at(place).and_then(unhashed).is_some();
        Ok((has_holes(removed) || has_holes(added)) && contents.agree(pairing, removed, added)?)
    })
}

/// The tree of a directory that can be renamed. One without entries is like any
/// other one.
fn partner_key(difference: &Difference) -> Option<TreeId> {
    let tree = difference.item().tree().filter(|tree| tree.totals.entries > 0)?;
    side(difference).map(|_| tree.id)
}

/// The side of a file that can be renamed. One without bytes is like any other.
fn file_side(difference: &Difference) -> Option<Side> {
    side(difference).filter(|_| difference.item().size() > 0)
}
