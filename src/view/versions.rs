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
use crate::view::guard::Guard;
use crate::view::names::{TimeFormat, with_id};
use crate::view::snapshots::{Snapshot, SnapshotList};
use crate::view::{View, ViewError};

const TAG: &[u8] = b"icecore version of a path 1\0";

/// What there was of a path.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Its versions, oldest first.
    pub(crate) versions: Vec<Version>,
    /// The permissions that all directories among them give, if there are any.
    pub(crate) guard: Option<Guard>,
}

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

    /// Returns what there was of a path: the first snapshot of each distinct version,
    /// oldest first, and who may look into it. Versions differ if anything that is kept
    /// of them does. What cannot be read for damage counts as a version, so that it is
    /// seen.
    pub(crate) fn history(
        &self,
        list: &SnapshotList,
        path: &Arc<[u8]>,
    ) -> Result<Arc<History>, ViewError> {
        let key = (list.generation, path.clone());
        self.caches.versions.get_or_insert_with(&key, || self.collect_history(list, path))
    }

    fn collect_history(&self, list: &SnapshotList, path: &[u8]) -> Result<Arc<History>, ViewError> {
        let mut trail = Trail::new(path);
        let mut seen: HashSet<Digest256> = HashSet::new();
        let mut history = History::default();
        for snapshot in list.oldest_first() {
            let of = |node: &Node| (node.meaning(), Guard::of(node));
            let (meaning, guard) = match self.held(&mut trail, snapshot) {
                Ok(Held::Nothing) => continue,
                Ok(Held::Root) => of(&snapshot.root),
                Ok(Held::Entry(entry)) => match entry.get() {
                    Some(entry) => of(&entry.node),
                    None => continue,
                },
                Err(_) if self.is_gone(snapshot)? => continue,
                Err(error) if error.is_damage() => (error.to_string().into_bytes(), None),
                Err(error) => return Err(error),
            };
            if seen.insert(tagged(TAG, &meaning)) {
                history.versions.push(Version { id: snapshot.id, time: snapshot.time });
                history.guard = match (history.guard, guard) {
                    (Some(before), Some(guard)) => Some(before.and(guard)),
                    (before, guard) => before.or(guard),
                };
            }
        }
        Ok(Arc::new(history))
    }

    /// Whether any snapshot has something at a path, the newest one asked first.
    pub(crate) fn has_entry(&self, list: &SnapshotList, path: &[u8]) -> Result<bool, ViewError> {
        let mut trail = Trail::new(path);
        let mut damage = None;
        for snapshot in list.oldest_first().rev() {
            match self.held(&mut trail, snapshot) {
                Ok(Held::Entry(_)) => return Ok(true),
                Ok(Held::Nothing | Held::Root) => {}
                Err(_) if self.is_gone(snapshot)? => {}
                Err(error) if error.is_damage() => damage = Some(error),
                Err(error) => return Err(error),
            }
        }
        damage.map_or(Ok(false), Err)
    }

    /// Whether a snapshot of a list has been deleted since, and perhaps
    /// collected: no lease is taken to look for versions.
    fn is_gone(&self, snapshot: &Snapshot) -> Result<bool, ViewError> {
        self.reader.refresh()?;
        Ok(!self.reader.exists(&snapshot.id)?)
    }
}
