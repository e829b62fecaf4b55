//! Directories that exist only in the mount: what they hold, by name and in
//! order. They lead to the snapshots' own directories by symlinks, so that a
//! walk from the root meets every file once.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::base::id::{SHORT_HEX, SnapshotId};
use crate::base::limits::SYMLINK_BYTES_MAX;
use crate::base::time::Timestamp;
use crate::dag::{Kind, Node};
use crate::view::changes::{Comparison, Part};
use crate::view::directory::EntryHandle;
use crate::view::names::{Grouping, NameTable};
use crate::view::snapshots::{Snapshot, SnapshotList};
use crate::view::versions::Version;
use crate::view::{View, ViewError};

/// The symlink to the newest snapshot.
const LATEST: &str = "latest";
/// The name of the view of differences.
pub const CHANGES: &str = "changes";
/// What stands between the two snapshots of a comparison.
const UP_TO: &str = "..";
/// How many views there are at the root.
const VIEWS: usize = 6;

/// The views at the root.
fn views() -> [(&'static str, Place); VIEWS] {
    [
        ("at", Place::At),
        ("by-host", Place::Groups(Grouping::Host)),
        ("by-tag", Place::Groups(Grouping::Tag)),
        ("by-time", Place::ByTime),
        (CHANGES, Place::Changes),
        ("versions", Place::Versions(PathVersions::default())),
    ]
}

/// A directory that exists only in the mount.
#[derive(Clone, Debug)]
pub enum Place {
    /// Where all begins: the views, and the snapshots by id.
    Root,
    /// All snapshots by time.
    ByTime,
    /// The tags, or the hosts.
    Groups(Grouping),
    /// The snapshots of one of these by time.
    Group(Grouping, Arc<str>),
    /// Time expressions; none is listed.
    At,
    /// The versions of one path. Paths below it are found, not listed.
    Versions(PathVersions),
    /// Comparisons; none is listed.
    Changes,
    /// The parts of one comparison.
    Comparison(Arc<Comparison>),
}

/// The versions of a path that some snapshot has.
#[derive(Clone, Debug, Default)]
pub struct PathVersions {
    /// Without slashes around it; empty for the roots.
    path: Arc<[u8]>,
    /// What the newest snapshot that has the path holds there.
    newest: Option<EntryHandle>,
}

impl Place {
    /// How many directories it is below the root.
    fn depth(&self) -> usize {
        match self {
            Self::Root => 0,
            Self::ByTime | Self::Groups(_) | Self::At | Self::Changes => 1,
            Self::Group(..) | Self::Comparison(_) => 2,
            Self::Versions(versions) if versions.path.is_empty() => 1,
            Self::Versions(versions) => 2 + versions.path.iter().filter(|b| **b == b'/').count(),
        }
    }

    /// What tells it from others of its name: what guards it may change.
    #[must_use]
    pub fn meaning(&self) -> Vec<u8> {
        self.guard().map(Node::meaning).unwrap_or_default()
    }

    /// The directory whose permissions guard this one, if one does: without
    /// them, nobody shall learn here which files there are.
    #[must_use]
    pub fn guard(&self) -> Option<&Node> {
        let Self::Versions(versions) = self else { return None };
        let newest = &versions.newest.as_ref()?.get()?.node;
        matches!(newest.kind, Kind::Directory(_)).then_some(newest)
    }

    fn link(&self, snapshot: &Snapshot) -> Shown {
        let target = format!("{}{}", "../".repeat(self.depth()), snapshot.id);
        Shown::Link(Link { target: target.into_bytes(), time: snapshot.time })
    }
}

/// A symlink that exists only in the mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it leads.
    pub target: Vec<u8>,
    /// When the snapshot that it leads to was taken.
    pub time: Timestamp,
}

/// What a name in such a directory stands for.
#[derive(Clone, Debug)]
pub enum Shown {
    /// Another one of them.
    Place(Place),
    /// A symlink.
    Link(Link),
    /// A snapshot's own root directory.
    Snapshot(Snapshot),
    /// The root of a part of a comparison.
    Part(Part, Arc<Comparison>),
}

/// Called with how many entries were passed, a name and what it stands for.
pub type VisitShown<'a> = dyn FnMut(u64, &[u8], Shown) -> ControlFlow<()> + 'a;

impl View {
    /// Returns what a name in `place` stands for, seen from `now`.
    ///
    /// # Errors
    /// Fails if the snapshots cannot be listed or a tree cannot be read.
    pub fn find_shown(
        &self,
        place: &Place,
        name: &[u8],
        now: Timestamp,
    ) -> Result<Option<Shown>, ViewError> {
        let list = self.snapshots()?;
        if let Place::Versions(versions) = place {
            return self.find_in_versions(place, versions, &list, name);
        }
        // All names that are given elsewhere are texts.
        let Ok(name) = std::str::from_utf8(name) else { return Ok(None) };
        Ok(match place {
            Place::Root => self.find_in_root(&list, name),
            Place::ByTime => {
                let table = list.names.by_time(&list, &self.by_time);
                self.find_in_table(place, &list, table, name)
            }
            Place::Groups(grouping) => {
                let group = list.names.groups(&list, *grouping).get_key_value(name);
                group.map(|(name, _)| Shown::Place(Place::Group(*grouping, (**name).into())))
            }
            Place::Group(grouping, group) => {
                match list.names.group(&list, (*grouping, group), &self.by_time) {
                    Some(table) if name == LATEST => table.newest(&list).map(|s| place.link(s)),
                    Some(table) => self.find_in_table(place, &list, table, name),
                    None => None,
                }
            }
            Place::At => list.not_younger(name, now).map(|snapshot| place.link(snapshot)),
            Place::Changes => find_comparison(&list, name, now),
            Place::Comparison(comparison) => {
                let part = Part::ALL.into_iter().find(|part| part.name() == name);
                part.map(|part| Shown::Part(part, comparison.clone()))
            }
            // Found above.
            Place::Versions(_) => None,
        })
    }

    fn find_in_root(&self, list: &SnapshotList, name: &str) -> Option<Shown> {
        if name == LATEST {
            return list.newest().map(|newest| Place::Root.link(newest));
        }
        if let Some((_, view)) = views().into_iter().find(|(view, _)| *view == name) {
            return Some(Shown::Place(view));
        }
        if let Some(format) = self.gmt.as_ref().filter(|_| name.starts_with('@')) {
            let found = list.names.gmt(list, format).find(list, format, name);
            return found.map(|snapshot| Place::Root.link(snapshot));
        }
        list.by_prefix(name).map(|snapshot| Shown::Snapshot(snapshot.clone()))
    }

    /// A version's name comes before a file's.
    fn find_in_versions(
        &self,
        place: &Place,
        versions: &PathVersions,
        list: &SnapshotList,
        name: &[u8],
    ) -> Result<Option<Shown>, ViewError> {
        if is_like_a_version(list, name) {
            let all = self.versions(list, &versions.path)?;
            let found = all.iter().find(|version| version.name().as_bytes() == name);
            if let Some(version) = found {
                return Ok(Some(Shown::Link(versions.link(place, version))));
            }
        }
        let path: Arc<[u8]> = match &*versions.path {
            b"" => name.into(),
            path => [path, name].join(&b'/').into(),
        };
        let Some(newest) = self.newest_entry(list, &path)? else { return Ok(None) };
        let inner = PathVersions { path, newest: Some(newest) };
        let depth = place.depth() + 1;
        // A symlink that leads out of there would be too long.
        if inner.target(depth, &SnapshotId::of(b"")).len() > SYMLINK_BYTES_MAX {
            return Ok(None);
        }
        Ok(Some(Shown::Place(Place::Versions(inner))))
    }

    fn find_in_table(
        &self,
        place: &Place,
        list: &SnapshotList,
        table: &NameTable,
        name: &str,
    ) -> Option<Shown> {
        table.find(list, &self.by_time, name).map(|snapshot| place.link(snapshot))
    }

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
                let found = self.versions(&list, &versions.path)?;
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

impl PathVersions {
    fn target(&self, depth: usize, id: &SnapshotId) -> Vec<u8> {
        let mut target = format!("{}{id}", "../".repeat(depth)).into_bytes();
        if !self.path.is_empty() {
            target.push(b'/');
            target.extend_from_slice(&self.path);
        }
        target
    }

    fn link(&self, place: &Place, version: &Version) -> Link {
        Link { target: self.target(place.depth(), &version.id), time: version.time }
    }
}

/// Whether a name ends in a dash and the short id of a snapshot.
fn is_like_a_version(list: &SnapshotList, name: &[u8]) -> bool {
    let text = std::str::from_utf8(name).ok();
    let id = text.and_then(|text| text.rsplit_once('-')).map(|(_, id)| id);
    id.is_some_and(|id| id.len() == SHORT_HEX && list.by_prefix(id).is_some())
}

/// Returns the comparison that two whole ids name, or a symlink to it for any
/// other names of snapshots: what such a name means may change, and what lies
/// below the comparison may not.
fn find_comparison(list: &SnapshotList, name: &str, now: Timestamp) -> Option<Shown> {
    let between = name.match_indices('.').map(|(index, _)| index);
    for index in between {
        let Some((from, to)) = name.split_at_checked(index) else { continue };
        let Some(to) = to.strip_prefix(UP_TO) else { continue };
        let (Some(from), Some(to)) = (list.named(from, now), list.named(to, now)) else {
            continue;
        };
        let whole = format!("{}{UP_TO}{}", from.id, to.id);
        if whole == name {
            let comparison = Comparison { from: from.clone(), to: to.clone() };
            return Some(Shown::Place(Place::Comparison(Arc::new(comparison))));
        }
        return Some(Shown::Link(Link { target: whole.into_bytes(), time: to.time }));
    }
    None
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
