//! The view of an honest repository compared with the model that it was made of.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::base::id::SnapshotId;
use crate::base::progress::Silent;
use crate::base::time::Timestamp;
use crate::check::{CheckOptions, ReadScope, check};
use crate::dag::{Kind, Node};
use crate::fuzzing::model::{Item, Names, Snapshots, What, invent};
use crate::fuzzing::source::Source;
use crate::fuzzing::views::open;
use crate::repository::Reader;
use crate::view::{
    Comparison, DirectoryPair, Part, PathVersions, Place, Shown, Snapshot, View, ViewError,
    ViewOptions,
};

/// Operations on one repository at most.
const OPERATIONS_MAX: usize = 60;
/// Entries of a directory that are looked at one by one.
const ENTRIES_MAX: usize = 40;

/// Random operations on the view of an honest repository: all that is shown is what
/// the model holds.
pub(super) fn view_model(input: &[u8]) {
    let mut source = Source::new(input);
    let (store, snapshots) = invent(&mut source);
    let Some(reader) = open(store) else { return };
    is_clean(&reader, snapshots.len());
    let options = ViewOptions { cache_bytes: 1 << 20, ..ViewOptions::default() };
    let compared = View::new(reader, options).and_then(|view| {
        let compared = Compared { view, snapshots };
        compared.places()?;
        compared.all_changes()?;
        for _ in 0..OPERATIONS_MAX {
            if source.is_empty() {
                break;
            }
            compared.operate(&mut source)?;
        }
        Ok(())
    });
    assert!(compared.is_ok(), "{compared:?}");
}

/// What was made by the encoders of the program is no damage for `check`.
fn is_clean(reader: &Reader, snapshots: usize) {
    let options = CheckOptions { scope: ReadScope::All, max_duration: None };
    let report = reader.catalog().map_err(|error| error.to_string()).and_then(|catalog| {
        check(reader, catalog, options, &Silent).map_err(|error| error.to_string())
    });
    let found = report.as_ref().map(|report| (report.is_clean(), report.snapshots));
    // Two snapshots of one time and one tree are one.
    assert!(matches!(found, Ok((true, count)) if count <= snapshots as u64), "{report:?}");
}

struct Compared {
    view: View,
    snapshots: Snapshots,
}

impl Compared {
    fn snapshot(&self, id: &SnapshotId) -> Result<Snapshot, ViewError> {
        let list = self.view.snapshots()?;
        let found = list.get(id).cloned();
        found.ok_or_else(|| ViewError::Inconsistent(format!("{id} is not listed")))
    }

    /// Walks down a random path, and looks at what it meets.
    fn operate(&self, source: &mut Source<'_>) -> Result<(), ViewError> {
        let Some((id, root)) = self.snapshots.get(source.below(self.snapshots.len())) else {
            return Ok(());
        };
        let (mut node, mut item) = ((*self.snapshot(id)?.root).clone(), root);
        let mut path = Vec::new();
        loop {
            self.is_shown(&node, item);
            match (&node.kind, &item.what) {
                (Kind::Directory(_), What::Directory(names)) => {
                    self.list(&node, names)?;
                    let chosen = source.below(names.len() + 1);
                    let Some((name, below)) = names.iter().nth(chosen) else { break };
                    path.extend([b"/", name.as_slice()].concat());
                    node = self.view.resolve(&self.snapshot(id)?, &path)?;
                    item = below;
                }
                (Kind::File(content), What::File(runs)) => {
                    for _ in 0..4 {
                        let size = Item::size(runs);
                        let offset = match source.below(3) {
                            0 => source.number(),
                            1 => size.saturating_sub(u64::from(source.byte())),
                            _ => source.number() % size.max(1),
                        };
                        let length = source.below(256) * 7;
                        let read = self.view.read(content, offset, length)?;
                        assert_eq!(read.as_slice(), Item::read(runs, offset, length), "{offset}");
                        let data = self.view.seek_data(content, offset)?;
                        assert_eq!(data, Item::seek(runs, offset, true), "data from {offset}");
                        let hole = self.view.seek_hole(content, offset)?;
                        assert_eq!(hole, Item::seek(runs, offset, false), "hole from {offset}");
                    }
                    break;
                }
                _ => break,
            }
        }
        self.versions(path.strip_prefix(b"/").unwrap_or(&path))
    }

    fn is_shown(&self, node: &Node, item: &Item) {
        assert_eq!(node.mode, item.mode);
        let is_same = match (&node.kind, &item.what) {
            (Kind::Directory(tree), What::Directory(names)) => {
                tree.totals.entries == names.len() as u64
            }
            (Kind::File(content), What::File(runs)) => content.size == Item::size(runs),
            (Kind::Symlink(target), What::Symlink(expected)) => **target == **expected,
            (Kind::Fifo, What::Fifo) => true,
            _ => false,
        };
        assert!(is_same, "{node:?} is no {item:?}");
    }

    /// Looks at a directory by ordinal and by name.
    fn list(&self, node: &Node, names: &Names) -> Result<(), ViewError> {
        let Kind::Directory(tree) = &node.kind else { return Ok(()) };
        let directory = self.view.directory(tree)?;
        assert_eq!(directory.len(), names.len() as u64);
        let step = names.len() / ENTRIES_MAX + 1;
        for (ordinal, (name, item)) in names.iter().enumerate().step_by(step) {
            let by_ordinal = self.view.entry(&directory, ordinal as u64)?;
            let Some(entry) = by_ordinal.as_ref().and_then(|handle| handle.get()) else {
                assert!(by_ordinal.is_some(), "no entry at {ordinal}");
                continue;
            };
            assert_eq!(entry.name.as_bytes(), name.as_slice());
            self.is_shown(&entry.node, item);
            let found = self.view.find(&directory, name)?;
            assert_eq!(found.map(|(place, _)| place), Some(ordinal as u64));
            for absent in [[name, &b"!"[..]].concat(), name[1..].to_vec()] {
                let found = self.view.find(&directory, &absent)?;
                assert_eq!(found.is_some(), names.contains_key(&absent), "{absent:?}");
            }
        }
        assert!(self.view.entry(&directory, directory.len())?.is_none());
        Ok(())
    }

    /// How many versions of a path are shown: as many as are different.
    fn versions(&self, path: &[u8]) -> Result<(), ViewError> {
        let mut place = Place::Versions(PathVersions::default());
        let now = Timestamp::default();
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            match self.view.find_shown(&place, name, now)? {
                Some(Shown::Place(inner)) => place = inner,
                other => {
                    assert!(matches!(other, Some(Shown::Place(_))), "{path:?} leads to {other:?}");
                }
            }
        }
        let mut shown = 0_usize;
        self.view.list_shown(&place, 0, &mut |_, _, _| {
            shown += 1;
            ControlFlow::Continue(())
        })?;
        let mut different: Vec<&Item> = Vec::new();
        for (_, root) in &self.snapshots {
            let item = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
            let item = item.clone().try_fold(root, |item, name| item.directory()?.get(name));
            different.extend(item.filter(|item| !different.contains(item)));
        }
        assert_eq!(shown, different.len(), "versions of {path:?}");
        Ok(())
    }

    /// Whatever is listed among the views is found by its name, and no name comes
    /// twice.
    fn places(&self) -> Result<(), ViewError> {
        let (mut left, now) = (vec![Place::Root], Timestamp::default());
        while let Some(place) = left.pop() {
            let mut names = Vec::new();
            self.view.list_shown(&place, 0, &mut |_, name, _| {
                names.push(name.to_vec());
                ControlFlow::Continue(())
            })?;
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
            for name in names {
                let found = self.view.find_shown(&place, &name, now)?;
                assert!(found.is_some(), "{} is listed and not found", name.escape_ascii());
                if let Some(Shown::Place(inner)) = found {
                    left.push(inner);
                }
            }
        }
        Ok(())
    }

    /// Compares each snapshot with the one behind it.
    fn all_changes(&self) -> Result<(), ViewError> {
        for (before, behind) in self.snapshots.iter().zip(self.snapshots.iter().skip(1)) {
            let (from, to) = (self.snapshot(&before.0)?, self.snapshot(&behind.0)?);
            let comparison = Comparison { from, to };
            for part in Part::ALL {
                let mut shown = BTreeSet::new();
                if let Some(inner) = comparison.roots(part) {
                    self.changes(&inner.pair, &[], &mut shown)?;
                }
                let (side, other) = match part {
                    Part::Removed => (&before.1, &behind.1),
                    Part::Added | Part::Modified => (&behind.1, &before.1),
                };
                let mut expected = BTreeSet::new();
                if let (Some(side), Some(other)) = (side.directory(), other.directory()) {
                    differences(part, side, other, &[], &mut expected);
                }
                assert_eq!(shown, expected, "{part:?}");
            }
        }
        Ok(())
    }

    fn changes(
        &self,
        pair: &DirectoryPair,
        above: &[u8],
        shown: &mut BTreeSet<Vec<u8>>,
    ) -> Result<(), ViewError> {
        let mut inner = Vec::new();
        self.view.changes(pair, 0, &mut |change| {
            if let Some(entry) = change.entry.get() {
                let name = entry.name.as_bytes().to_vec();
                let found = self.view.find_change(pair, &name)?;
                assert!(found.is_some_and(|found| found.ordinal == change.ordinal));
                let path = [above, b"/", &name].concat();
                shown.insert(path.clone());
                inner.extend(change.inner.map(|inner| (inner.pair, path)));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        inner.into_iter().try_for_each(|(pair, path)| self.changes(&pair, &path, shown))
    }
}

/// What a part holds, by the model: a path for each entry that both sides do not
/// have alike. What is in only one of them stands for all below it.
fn differences(
    part: Part,
    side: &Names,
    other: &Names,
    above: &[u8],
    found: &mut BTreeSet<Vec<u8>>,
) {
    for (name, item) in side {
        let path = [above, b"/", name].concat();
        let is_part = match other.get(name) {
            None => part != Part::Modified,
            Some(other) => match (item.directory(), other.directory()) {
                (Some(inner), Some(inner_other)) => {
                    let before = found.len();
                    differences(part, inner, inner_other, &path, found);
                    found.len() > before || (part == Part::Modified && item.mode != other.mode)
                }
                (None, None) => part == Part::Modified && item != other,
                _ => part != Part::Modified,
            },
        };
        if is_part {
            found.insert(path);
        }
    }
}
