//! What such a directory lists.

use std::ops::ControlFlow;

use super::{LATEST, Place, Shown, VIEWS, VisitShown, views};
use crate::view::changes::Part;
use crate::view::names::NameTable;
use crate::view::snapshots::{Snapshot, SnapshotList};
use crate::view::{View, ViewError};

impl View {
    /// Shows what `place` lists, behind the first `passed` entries.
    ///
    /// # Errors
    /// Fails if the snapshots cannot be listed or a tree cannot be read.
    pub fn list_shown(
        &self,
        place: &Place,
        passed: u64,
        visit: &mut VisitShown<'_>,
    ) -> Result<(), ViewError> {
        let list = self.snapshots()?;
        let mut rows = Rows { passed, next: 0, visit };
        // Full or not, nothing comes behind it.
        let _ = match place {
            Place::Root => self.list_root(&list, &mut rows),
            Place::ByTime => rows.table(place, &list, list.names.by_time(&list, &self.by_time)),
            Place::Groups(grouping) => {
                let groups = list.names.groups(&list, *grouping);
                let shown = |name: &str| Shown::Place(Place::Group(*grouping, name.into()));
                groups.keys().try_for_each(|name| rows.give(name.as_bytes(), || shown(name)))
            }
            Place::Group(grouping, group) => {
                let table = list.names.group(&list, (*grouping, group), &self.by_time);
                table.map_or(ControlFlow::Continue(()), |table| {
                    rows.latest(place, table.newest(&list))?;
                    rows.table(place, &list, table)
                })
            }
            Place::Versions(versions) => {
                let found = &self.history(&list, &versions.path)?.versions;
                let skipped = rows.skippable(found.len());
                found.iter().skip(skipped).try_for_each(|version| {
                    let link = || versions.link(place, version);
                    rows.give(version.name().as_bytes(), || Shown::Link(link()))
                })
            }
            Place::Comparison(comparison) => Part::ALL.into_iter().try_for_each(|part| {
                let name = part.name().as_bytes();
                rows.give(name, || Shown::Part(part, comparison.clone()))
            }),
            Place::At | Place::Changes => ControlFlow::Continue(()),
        };
        Ok(())
    }

    fn list_root(&self, list: &SnapshotList, rows: &mut Rows<'_, '_>) -> ControlFlow<()> {
        for (name, view) in views() {
            rows.give(name.as_bytes(), || Shown::Place(view))?;
        }
        rows.latest(&Place::Root, list.newest())?;
        if let Some(format) = &self.gmt {
            rows.table(&Place::Root, list, list.names.gmt(list, format))?;
        }
        for snapshot in list.iter().skip(rows.skippable(list.len())) {
            let name = snapshot.id.to_string();
            rows.give(name.as_bytes(), || Shown::Snapshot(snapshot.clone()))?;
        }
        ControlFlow::Continue(())
    }

    /// How many directories `place` lists.
    ///
    /// # Errors
    /// Fails if the snapshots cannot be listed.
    pub fn shown_directories(&self, place: &Place) -> Result<u64, ViewError> {
        let list = self.snapshots()?;
        let count = match place {
            Place::Root => list.len() + VIEWS,
            Place::Groups(grouping) => list.names.groups(&list, *grouping).len(),
            Place::Comparison(_) => Part::ALL.len(),
            Place::ByTime | Place::Group(..) | Place::At => 0,
            Place::Changes | Place::Versions(_) => 0,
        };
        Ok(count as u64)
    }
}

/// Entries on their way to a visitor, counted.
struct Rows<'a, 'v> {
    /// Entries that were given before.
    passed: u64,
    /// Entries so far, given or not.
    next: u64,
    visit: &'a mut VisitShown<'v>,
}

impl Rows<'_, '_> {
    fn give(&mut self, name: &[u8], shown: impl FnOnce() -> Shown) -> ControlFlow<()> {
        self.next += 1;
        if self.next <= self.passed {
            return ControlFlow::Continue(());
        }
        (self.visit)(self.next, name, shown())
    }

    /// Passes as many of `len` entries as were given before, and returns how
    /// many that were.
    fn skippable(&mut self, len: usize) -> usize {
        let left = usize::try_from(self.passed.saturating_sub(self.next)).unwrap_or(usize::MAX);
        let skipped = left.min(len);
        self.next += skipped as u64;
        skipped
    }

    fn latest(&mut self, place: &Place, newest: Option<&Snapshot>) -> ControlFlow<()> {
        match newest {
            Some(newest) => self.give(LATEST.as_bytes(), || place.link(newest)),
            None => ControlFlow::Continue(()),
        }
    }

    fn table(&mut self, place: &Place, list: &SnapshotList, table: &NameTable) -> ControlFlow<()> {
        let skipped = self.skippable(table.len());
        for (name, snapshot) in table.rows(list, skipped) {
            self.give(name.as_bytes(), || place.link(snapshot))?;
        }
        ControlFlow::Continue(())
    }
}
