//! Renames: what was removed and what was added are paired by their content.
//!
//! Differences are held until all are known, at most [`HELD_BYTES_MAX`] of them.
//! A directory of a snapshot is paired whole if its tree has the same id, and
//! then nothing below it is read.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::base::hash::{Digest256, tagged};
use crate::base::id::TreeId;
use crate::dag::{Body, Content, Node, Segment};
use crate::diff::change::{Change, Difference, FileContent, Item, ItemKind};
use crate::diff::comparison::Comparison;
use crate::diff::error::DiffError;
use crate::diff::live_content;
use crate::repository::Step;

/// Memory for differences that wait for their partners, in bytes.
const HELD_BYTES_MAX: usize = 128 << 20;
/// What a difference takes beside its path and attributes, roughly.
const DIFFERENCE_BYTES: usize = 512;

/// Equal directories among which one of the same name is looked for.
const CANDIDATES_MAX: usize = 64;

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
                self.skip();
                difference.is_whole = true;
            }
            visit(self, difference)?;
        }
        Ok(Told { is_renames_limited, problems: self.problems() })
    }

    /// Whether a difference can stand for all below it.
    fn can_fold(&self, difference: &Difference) -> bool {
        let is_one_sided = matches!(difference.change, Change::Added(_) | Change::Removed(_));
        let is_all_told = self.options.include.is_empty() && self.options.exclude.is_empty();
        is_one_sided && is_all_told && difference.item().tree().is_some()
    }

    /// Appends an added or removed directory with all that lies below it, unless
    /// there would be more than `bytes_max` bytes.
    fn unfold(
        &self,
        mut top: Difference,
        held: &mut Held,
        bytes_max: usize,
    ) -> Result<(), DiffError> {
        let Some(tree) = top.item().tree().copied() else { return Ok(()) };
        let (first, bytes) = (held.all.len(), held.bytes);
        top.is_whole = false;
        held.push(top.clone());
        let mut walk = self.repository.walk(&tree);
        while let Some(step) = walk.step()? {
            self.go_on()?;
            if let Step::Entry(node) = step {
                held.push(below(&top, walk.path(), &node));
            }
            if held.bytes > bytes_max {
                held.all.truncate(first);
                (held.bytes, held.is_limited) = (bytes, true);
                held.push(Difference { is_whole: true, ..top });
                break;
            }
        }
        Ok(())
    }

    /// Tells a directory and all below it that it stands for.
    fn tell_unfolded<E: From<DiffError>>(
        &self,
        mut top: Difference,
        visit: &mut VisitDifference<'_, E>,
    ) -> Result<(), E> {
        let tree = top.item().tree().copied().filter(|_| top.is_whole);
        let is_renamed = matches!(top.change, Change::Renamed { .. });
        let Some(tree) = tree.filter(|_| !is_renamed) else { return visit(self, top) };
        top.is_whole = false;
        visit(self, top.clone())?;
        let mut walk = self.repository.walk(&tree);
        while let Some(step) = walk.step().map_err(DiffError::from)? {
            self.go_on()?;
            if let Step::Entry(node) = step {
                visit(self, below(&top, walk.path(), &node))?;
            }
        }
        Ok(())
    }

    /// What two equal files have in common. Live ones are read for it.
    fn content_key(&self, difference: &Difference) -> Result<Option<Digest256>, DiffError> {
        match &difference.item().kind {
            ItemKind::File(FileContent::Stored(content)) => Ok(stored_key(content)),
            ItemKind::File(FileContent::Live(_)) => {
                self.go_on()?;
                let cancelled = || self.monitor.cancelled();
                // One that cannot be read is not renamed, as far as is known.
                let file = self.open_live(&difference.path).ok();
                Ok(file.and_then(|file| live_content::sha256(&file, &cancelled).ok()))
            }
            _ => Ok(None),
        }
    }
}

/// The difference of an entry below an added or removed directory.
fn below(top: &Difference, path: &[u8], node: &Node) -> Difference {
    let path = match top.path.as_slice() {
        b"" => path.to_vec(),
        above => [above, b"/", path].concat(),
    };
    let item = Item::from(node);
    let change = match top.change {
        Change::Removed(_) => Change::Removed(item),
        _ => Change::Added(item),
    };
    Difference { path, change, is_whole: false }
}

/// A digest that two contents of a repository share just if they are the same.
fn stored_key(content: &Content) -> Option<Digest256> {
    if let Some(known) = content.known_sha256() {
        return Some(known);
    }
    let mut bytes = Vec::new();
    match &content.body {
        Body::Inline(inline) => bytes.extend_from_slice(inline),
        Body::List(list) => bytes.extend_from_slice(list.id.as_bytes()),
        Body::Segments(segments) => {
            for segment in segments {
                bytes.extend_from_slice(&segment.bytes().to_le_bytes());
                if let Segment::Chunk { id, .. } = segment {
                    bytes.extend_from_slice(id.as_bytes());
                }
            }
        }
    }
    Some(tagged(b"icecore diff segments 1\0", &bytes))
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
        while held.bytes <= bytes_max {
            let Some(mut difference) = comparison.step()? else { break };
            if comparison.can_fold(&difference) {
                comparison.skip();
                difference.is_whole = true;
            }
            held.push(difference);
        }
        held.is_limited = held.bytes > bytes_max;
        held.pair_directories(comparison);
        let mut unfolded = Self { is_limited: held.is_limited, ..Self::default() };
        for difference in held.all {
            if difference.is_whole && partner_key(&difference).is_some() {
                comparison.unfold(difference, &mut unfolded, bytes_max)?;
            } else {
                unfolded.push(difference);
            }
        }
        unfolded.pair_directories(comparison);
        unfolded.pair_files(comparison)?;
        Ok(unfolded)
    }

    /// Makes renames of added and removed directories with the same tree. What
    /// lies above goes first, and takes along what lies below.
    fn pair_directories(&mut self, comparison: &Comparison<'_>) {
        let ends = ends(&self.all);
        let mut slots: Vec<Option<Difference>> = self.all.drain(..).map(Some).collect();
        let mut sources: HashMap<TreeId, Vec<usize>> = HashMap::new();
        for (index, slot) in slots.iter().enumerate() {
            if let Some((Side::Removed, id)) = slot.as_ref().and_then(partner_key) {
                sources.entry(id).or_default().push(index);
            }
        }
        let inside = |index: usize| index + 1..ends.get(index).copied().unwrap_or(index + 1);
        for index in 0..slots.len() {
            let Some(added) = slots.get(index).and_then(Option::as_ref) else { continue };
            let Some((Side::Added, id)) = partner_key(added) else { continue };
            let Some(places) = sources.get_mut(&id) else { continue };
            let is_there = |place: &usize| {
                let mut all = std::iter::once(*place).chain(inside(*place));
                all.all(|place| slots.get(place).is_some_and(Option::is_some))
            };
            let mut candidates = places.iter().take(CANDIDATES_MAX).copied();
            let same_name = |place: &usize| {
                let path = slots.get(*place).and_then(Option::as_ref).map(|it| name(&it.path));
                path == Some(name(&added.path))
            };
            let chosen = candidates.clone().find(|place| same_name(place) && is_there(place));
            let Some(chosen) = chosen.or_else(|| candidates.find(is_there)) else { continue };
            places.retain(|place| *place != chosen);
            for gone in inside(chosen).chain(inside(index)) {
                take(&mut slots, gone);
            }
            pair(&mut slots, chosen, index, comparison);
        }
        self.all = slots.into_iter().flatten().collect();
    }

    /// Makes renames of added and removed files with the same content: first of
    /// those with the same name in other directories, then of any.
    fn pair_files(&mut self, comparison: &Comparison<'_>) -> Result<(), DiffError> {
        let sizes = |side: Side| -> HashSet<u64> {
            let files = self.all.iter().filter(|it| file_side(it) == Some(side));
            files.map(|it| it.item().size()).collect()
        };
        let (added, removed) = (sizes(Side::Added), sizes(Side::Removed));
        let mut keys = Vec::with_capacity(self.all.len());
        for difference in &self.all {
            let size = difference.item().size();
            let may_pair = match file_side(difference) {
                Some(Side::Added) => removed.contains(&size),
                Some(Side::Removed) => added.contains(&size),
                None => false,
            };
            let key = if may_pair { comparison.content_key(difference)? } else { None };
            keys.push(key.zip(file_side(difference)));
        }
        let mut slots: Vec<Option<Difference>> = self.all.drain(..).map(Some).collect();
        let by_name = |difference: &Difference| name(&difference.path).to_vec();
        pair_by(&mut slots, &keys, &by_name, comparison);
        pair_by(&mut slots, &keys, &|_| Vec::new(), comparison);
        self.all = slots.into_iter().flatten().collect();
        Ok(())
    }
}

/// Which side has what can be part of a rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Added,
    Removed,
}

fn side(difference: &Difference) -> Option<Side> {
    match difference.change {
        Change::Added(_) => Some(Side::Added),
        Change::Removed(_) => Some(Side::Removed),
        _ => None,
    }
}

/// The side and the tree of a directory that can be renamed. One without entries
/// is like any other one.
fn partner_key(difference: &Difference) -> Option<(Side, TreeId)> {
    let tree = difference.item().tree().filter(|tree| tree.totals.entries > 0)?;
    side(difference).map(|side| (side, tree.id))
}

/// The side of a file that can be renamed. One without bytes is like any other.
fn file_side(difference: &Difference) -> Option<Side> {
    side(difference).filter(|_| difference.item().size() > 0)
}

fn name(path: &[u8]) -> &[u8] {
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

fn take(slots: &mut [Option<Difference>], index: usize) -> Option<Difference> {
    slots.get_mut(index).and_then(Option::take)
}

/// Makes a rename of what was removed and what was added.
fn pair(
    slots: &mut [Option<Difference>],
    removed: usize,
    added: usize,
    comparison: &Comparison<'_>,
) {
    let (Some(old), Some(new)) = (take(slots, removed), take(slots, added)) else { return };
    let (Change::Removed(before), Change::Added(after)) = (old.change, new.change) else { return };
    let fields = comparison.metadata(&before, &after);
    let is_whole = after.is_directory();
    let change = Change::Renamed { from: old.path, before, after, fields };
    if let Some(slot) = slots.get_mut(added) {
        *slot = Some(Difference { path: new.path, change, is_whole });
    }
}

/// Pairs files that agree in their key and in what `further` says of them.
fn pair_by(
    slots: &mut [Option<Difference>],
    keys: &[Option<(Digest256, Side)>],
    further: &dyn Fn(&Difference) -> Vec<u8>,
    comparison: &Comparison<'_>,
) {
    let open = |slots: &[Option<Difference>], index: usize, wanted: Side| {
        let difference = slots.get(index)?.as_ref().filter(|it| side(it) == Some(wanted))?;
        let (key, _) = keys.get(index).copied()??;
        Some((key, further(difference)))
    };
    let mut sources: HashMap<_, VecDeque<usize>> = HashMap::new();
    for index in 0..slots.len() {
        if let Some(key) = open(slots, index, Side::Removed) {
            sources.entry(key).or_default().push_back(index);
        }
    }
    for index in 0..slots.len() {
        let Some(key) = open(slots, index, Side::Added) else { continue };
        if let Some(source) = sources.get_mut(&key).and_then(VecDeque::pop_front) {
            pair(slots, source, index, comparison);
        }
    }
}
