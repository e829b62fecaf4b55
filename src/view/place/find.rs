//! What a name in such a directory stands for.

use std::sync::Arc;

use super::{LATEST, Link, PathVersions, Place, Shown, views};
use crate::base::id::{SHORT_HEX, SnapshotId};
use crate::base::limits::SYMLINK_BYTES_MAX;
use crate::base::time::Timestamp;
use crate::view::changes::{Comparison, Part};
use crate::view::names::NameTable;
use crate::view::snapshots::SnapshotList;
use crate::view::{View, ViewError};

/// What stands between the two snapshots of a comparison.
const UP_TO: &str = "..";

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
            let history = self.history(list, &versions.path)?;
            let found = history.versions.iter().find(|version| version.name().as_bytes() == name);
            if let Some(version) = found {
                return Ok(Some(Shown::Link(versions.link(place, version))));
            }
        }
        let path: Arc<[u8]> = match &*versions.path {
            b"" => name.into(),
            path => [path, name].join(&b'/').into(),
        };
        if !self.has_entry(list, &path)? {
            return Ok(None);
        }
        let inner = PathVersions { path };
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
