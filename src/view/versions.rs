//! The versions of one path over all snapshots: the first snapshot of each.
//!
//! The trail along the path is that of the repository, here with directories
//! that the view keeps.

use std::collections::HashSet;
use std::sync::Arc;

use crate::base::hash::{Digest256, tagged};
use crate::base::id::SnapshotId;
use crate::base::time::Timestamp;
use crate::dag::{Node, TreeRef};
use crate::repository::{Held, Met, PathTrail};
use crate::view::directory::EntryHandle;
use crate::view::names::{TimeFormat, with_id};
use crate::view::snapshots::{Snapshot, SnapshotList};
use crate::view::{View, ViewError};

const TAG: &[u8] = b"icecore version of a path 1\0";

/// The first snapshot that holds a version of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) id: SnapshotId,
    pub(crate) time: Timestamp,
}

impl Version {
    /// `<time>-<short id>`, in ISO 8601 whatever `by-time` shows.
    pub(crate) fn name(&self) -> String {
        with_id(&TimeFormat::default().name(self.time), &self.id.short())
    }
}

impl Met for EntryHandle {
    fn node(&self) -> Option<&Node> {
        self.get().map(|entry| &entry.node)
    }
}

type Trail<'a> = PathTrail<'a, EntryHandle>;

fn find_in(view: &View, tree: &TreeRef, name: &[u8]) -> Result<Option<EntryHandle>, ViewError> {
    let directory = view.directory(tree)?;
    Ok(view.find(&directory, name)?.map(|(_, entry)| entry))
}

impl View {
    fn held(
        &self,
        trail: &mut Trail<'_>,
        snapshot: &Snapshot,
    ) -> Result<Held<EntryHandle>, ViewError> {
        trail.follow(&snapshot.root, &mut |tree, name| find_in(self, tree, name))
    }

    /// Returns the first snapshot of each distinct version of a path, oldest
    /// first. Versions differ if anything that is kept of them does. What
    /// cannot be read for damage counts as a version, so that it is seen.
    pub(crate) fn versions(
        &self,
        list: &SnapshotList,
        path: &Arc<[u8]>,
    ) -> Result<Arc<[Version]>, ViewError> {
        let key = (list.generation, path.clone());
        self.caches.versions.get_or_insert_with(&key, || self.collect_versions(list, path))
    }

    fn collect_versions(
        &self,
        list: &SnapshotList,
        path: &[u8],
    ) -> Result<Arc<[Version]>, ViewError> {
        let mut trail = Trail::new(path);
        let mut seen: HashSet<Digest256> = HashSet::new();
        let mut versions = Vec::new();
        for snapshot in list.oldest_first() {
            let meaning = match self.held(&mut trail, snapshot) {
                Ok(Held::Nothing) => continue,
                Ok(Held::Root) => snapshot.root.meaning(),
                Ok(Held::Entry(entry)) => match entry.get() {
                    Some(entry) => entry.node.meaning(),
                    None => continue,
                },
                Err(_) if self.is_gone(snapshot)? => continue,
                Err(error) if error.is_damage() => error.to_string().into_bytes(),
                Err(error) => return Err(error),
            };
            if seen.insert(tagged(TAG, &meaning)) {
                versions.push(Version { id: snapshot.id, time: snapshot.time });
            }
        }
        Ok(versions.into())
    }

    /// Returns what the newest snapshot that has the path holds there.
    pub(crate) fn newest_entry(
        &self,
        list: &SnapshotList,
        path: &[u8],
    ) -> Result<Option<EntryHandle>, ViewError> {
        let mut trail = Trail::new(path);
        let mut damage = None;
        for snapshot in list.oldest_first().rev() {
            match self.held(&mut trail, snapshot) {
                Ok(Held::Entry(entry)) => return Ok(Some(entry)),
                Ok(Held::Nothing | Held::Root) => {}
                Err(_) if self.is_gone(snapshot)? => {}
                Err(error) if error.is_damage() => damage = Some(error),
                Err(error) => return Err(error),
            }
        }
        damage.map_or(Ok(None), Err)
    }

    /// Whether a snapshot of a list has been deleted since, and perhaps
    /// collected: no lease is taken to look for versions.
    fn is_gone(&self, snapshot: &Snapshot) -> Result<bool, ViewError> {
        self.reader.refresh()?;
        Ok(!self.reader.exists(&snapshot.id)?)
    }
}
