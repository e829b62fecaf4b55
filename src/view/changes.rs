//! What changed between two snapshots, as a tree that is computed while it is
//! walked: equal subtrees and equal pages are skipped by their ids.
//!
//! A directory that both have appears in a part (added, removed, modified) just
//! if something of that part lies below it. To know that, its changes are
//! looked through until the first one is found: depth first, in memory that
//! grows with the depth alone, and the answer is kept for a while.

use std::ops::ControlFlow;

use crate::base::id::TreeId;
use crate::base::limits::TREE_DEPTH_MAX;
use crate::dag::{Kind, Node, TreeRef};
use crate::view::cursor::Cursor;
use crate::view::directory::EntryHandle;
use crate::view::guard::Guard;
use crate::view::snapshots::Snapshot;
use crate::view::{View, ViewError};

/// A part of the difference of two snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// What only the second one has.
    Added,
    /// What only the first one has.
    Removed,
    /// What both have, and not the same.
    Modified,
}

impl Part {
    /// All parts, in the order of their names.
    pub const ALL: [Self; 3] = [Self::Added, Self::Modified, Self::Removed];

    /// The name under which it is shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Modified => "modified",
        }
    }
}

/// Two snapshots to compare.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The one before.
    pub from: Snapshot,
    /// The one behind.
    pub to: Snapshot,
}

impl Comparison {
    /// The snapshot whose files a part shows, and the other one.
    #[must_use]
    pub const fn sides(&self, part: Part) -> (&Snapshot, &Snapshot) {
        match part {
            Part::Removed => (&self.from, &self.to),
            Part::Added | Part::Modified => (&self.to, &self.from),
        }
    }

    /// The roots, as a part shows them.
    #[must_use]
    pub fn roots(&self, part: Part) -> Option<Inner> {
        let (shown, other) = self.sides(part);
        // Others were refused when the manifests were decoded.
        Inner::of(part, &shown.root, &other.root)
    }
}

/// A directory that both snapshots have, and the part of its changes that is
/// looked at.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryPair {
    part: Part,
    shown: TreeRef,
    other: TreeRef,
}

impl DirectoryPair {
    /// Tells it from other pairs, wherever they lie.
    const fn key(&self) -> (TreeId, TreeId, Part) {
        (self.shown.id, self.other.id, self.part)
    }
}

/// What a part shows of a directory that both snapshots have.
#[derive(Clone, Debug)]
pub struct Inner {
    /// The two.
    pub pair: DirectoryPair,
    /// Who may look into it. What it shows tells of either of the two.
    pub guard: Guard,
}

impl Inner {
    /// None if one of the two is no directory.
    fn of(part: Part, shown: &Node, other: &Node) -> Option<Self> {
        let (Kind::Directory(shown_tree), Kind::Directory(other_tree)) = (&shown.kind, &other.kind)
        else {
            return None;
        };
        let pair = DirectoryPair { part, shown: *shown_tree, other: *other_tree };
        Some(Self { pair, guard: Guard::of(shown)?.and(Guard::of(other)?) })
    }
}

/// An entry of a part.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its ordinal in the directory whose files are shown.
    pub ordinal: u64,
    /// The entry.
    pub entry: EntryHandle,
    /// If both have it as a directory: what to look at below it.
    pub inner: Option<Inner>,
}

/// Called with each change.
pub type VisitChange<'a> = dyn FnMut(Change) -> Result<ControlFlow<()>, ViewError> + 'a;

/// How an entry differs.
enum Difference {
    /// It is of the part, with all below it.
    Whole,
    /// Both have it as a directory. Something below it may be of the part;
    /// `itself` tells whether it is too.
    Directory { inner: Box<Inner>, itself: bool },
}

impl View {
    /// Visits what a directory of a part holds, from an ordinal on.
    ///
    /// # Errors
    /// Fails if a tree cannot be read, or with what `visit` says.
    pub fn changes(
        &self,
        pair: &DirectoryPair,
        first: u64,
        visit: &mut VisitChange<'_>,
    ) -> Result<(), ViewError> {
        self.differences(pair, first, &mut |ordinal, entry, difference| match self.change(
            ordinal,
            entry,
            &difference,
        )? {
            Some(change) => visit(change),
            None => Ok(ControlFlow::Continue(())),
        })
    }

    /// Finds a name in a directory of a part.
    ///
    /// # Errors
    /// Fails if a tree cannot be read.
    pub fn find_change(
        &self,
        pair: &DirectoryPair,
        name: &[u8],
    ) -> Result<Option<Change>, ViewError> {
        let (shown, other) = (self.directory(&pair.shown)?, self.directory(&pair.other)?);
        let Some((ordinal, entry)) = self.find(&shown, name)? else { return Ok(None) };
        let other = self.find(&other, name)?.map(|(_, other)| other);
        match difference(pair.part, &entry, other.as_ref()) {
            Some(difference) => self.change(ordinal, entry, &difference),
            None => Ok(None),
        }
    }

    fn change(
        &self,
        ordinal: u64,
        entry: EntryHandle,
        difference: &Difference,
    ) -> Result<Option<Change>, ViewError> {
        Ok(match difference {
            Difference::Whole => Some(Change { ordinal, entry, inner: None }),
            Difference::Directory { inner, itself }
                if *itself || self.has_changes(&inner.pair)? =>
            {
                Some(Change { ordinal, entry, inner: Some((**inner).clone()) })
            }
            Difference::Directory { .. } => None,
        })
    }

    /// Whether anything of the part lies below a directory.
    fn has_changes(&self, pair: &DirectoryPair) -> Result<bool, ViewError> {
        self.caches.changes.get_or_insert_with(&pair.key(), || self.look_for_changes(*pair))
    }

    /// Depth first. A directory on the way is left at its first subdirectory
    /// and gone on with later, so that no list of subdirectories is kept. Pairs in
    /// which nothing was found are remembered: there may be more paths to one than
    /// anybody can walk.
    fn look_for_changes(&self, top: DirectoryPair) -> Result<bool, ViewError> {
        let mut way = vec![(top, 0)];
        while let Some((pair, first)) = way.pop() {
            let (mut found, mut below) = (false, None);
            self.differences(&pair, first, &mut |ordinal, _, difference| {
                match difference {
                    Difference::Whole | Difference::Directory { itself: true, .. } => found = true,
                    Difference::Directory { inner, .. } => below = Some((inner.pair, ordinal)),
                }
                Ok(ControlFlow::Break(()))
            })?;
            if found {
                return Ok(true);
            }
            let Some((inner, ordinal)) = below else {
                if !way.is_empty() {
                    self.caches.changes.insert(pair.key(), false);
                }
                continue;
            };
            if way.len() >= TREE_DEPTH_MAX {
                let problem = format!("tree {} is deeper than any source can be", pair.shown.id);
                return Err(ViewError::Inconsistent(problem));
            }
            way.push((pair, ordinal + 1));
            if self.caches.changes.get(&inner.key()) != Some(false) {
                way.push((inner, 0));
            }
        }
        Ok(false)
    }

    /// Visits the entries of two directories that differ, from an ordinal of
    /// the shown one on.
    fn differences(
        &self,
        pair: &DirectoryPair,
        first: u64,
        visit: &mut dyn FnMut(u64, EntryHandle, Difference) -> Result<ControlFlow<()>, ViewError>,
    ) -> Result<(), ViewError> {
        if pair.shown.id == pair.other.id {
            return Ok(());
        }
        let mut shown = Cursor::new(self, self.directory(&pair.shown)?, first);
        let mut other = Cursor::new(self, self.directory(&pair.other)?, 0);
        loop {
            if shown.page_here().is_some() && shown.page_here() == other.page_here() {
                shown.skip_page();
                other.skip_page();
                continue;
            }
            let Some(entry) = shown.entry()? else { return Ok(()) };
            let Some(name) = entry.get().map(|entry| &entry.name) else { return Ok(()) };
            let twin = other.seek(name.as_bytes())?;
            if shown.page_here().is_some() && shown.page_here() == other.page_here() {
                continue;
            }
            let difference = difference(pair.part, &entry, twin.as_ref());
            let ordinal = shown.ordinal();
            shown.advance();
            if let Some(difference) = difference
                && visit(ordinal, entry, difference)?.is_break()
            {
                return Ok(());
            }
        }
    }
}

/// How an entry differs from the other snapshot's entry of that name, as far as
/// the part goes.
fn difference(part: Part, shown: &EntryHandle, other: Option<&EntryHandle>) -> Option<Difference> {
    let shown = &shown.get()?.node;
    let whole = |is_of_part: bool| is_of_part.then_some(Difference::Whole);
    let Some(other) = other.and_then(EntryHandle::get).map(|entry| &entry.node) else {
        return whole(part != Part::Modified);
    };
    match (&shown.kind, &other.kind) {
        (Kind::Directory(shown_tree), Kind::Directory(other_tree)) => {
            let itself = part == Part::Modified && has_other_metadata(shown, other);
            let is_equal = shown_tree.id == other_tree.id && !itself;
            if is_equal {
                return None;
            }
            let inner = Box::new(Inner::of(part, shown, other)?);
            Some(Difference::Directory { inner, itself })
        }
        // A directory that became something else, or the other way round: one
        // was removed, and the other added.
        (Kind::Directory(_), _) | (_, Kind::Directory(_)) => whole(part != Part::Modified),
        _ => {
            let differs = shown != other && shown.meaning() != other.meaning();
            whole(part == Part::Modified && differs)
        }
    }
}

/// Whether a directory was itself modified. Its mtime does not tell: it changes
/// with every entry that is added or removed.
fn has_other_metadata(one: &Node, other: &Node) -> bool {
    one.mode != other.mode || one.owner != other.owner || one.xattrs != other.xattrs
}
