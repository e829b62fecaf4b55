//! The list of snapshots, kept current.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use crate::base::id::SnapshotId;
use crate::base::time::Timestamp;
use crate::dag::{Counters, Manifest, Node};
use crate::repository::Catalog;
use crate::view::{View, ViewError};

/// What a view keeps of a snapshot.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// When it was taken.
    pub time: Timestamp,
    /// Its root directory.
    pub root: Arc<Node>,
    /// What it holds.
    pub counters: Counters,
}

/// The snapshots as of some moment.
#[derive(Debug)]
pub struct SnapshotList {
    by_id: BTreeMap<SnapshotId, Snapshot>,
    newest: Option<SnapshotId>,
    damaged: Vec<String>,
    changed: SystemTime,
}

impl SnapshotList {
    pub(crate) fn new(catalog: Catalog) -> Self {
        let Catalog { snapshots, damaged } = catalog;
        let damaged = damaged.iter().map(ToString::to_string).collect();
        // Oldest first.
        let newest = snapshots.last().map(|(id, _)| *id);
        let keep = |(id, manifest): (SnapshotId, Manifest)| {
            let Manifest { time, root, counters, .. } = manifest;
            (id, Snapshot { id, time, root: Arc::new(root), counters })
        };
        let by_id = snapshots.into_iter().map(keep).collect();
        Self { by_id, newest, damaged, changed: SystemTime::now() }
    }

    /// All snapshots, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Snapshot> {
        self.by_id.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: &SnapshotId) -> Option<&Snapshot> {
        self.by_id.get(id)
    }

    /// The newest one.
    #[must_use]
    pub fn newest(&self) -> Option<&Snapshot> {
        self.get(&self.newest?)
    }

    /// What is wrong with the snapshots that are there and cannot be shown.
    #[must_use]
    pub fn damaged(&self) -> &[String] {
        &self.damaged
    }

    /// When this list was found to differ from the one before.
    #[must_use]
    pub const fn changed(&self) -> SystemTime {
        self.changed
    }

    /// The only snapshot whose id begins with `prefix`, given in lower case.
    #[must_use]
    pub fn by_prefix(&self, prefix: &str) -> Option<&Snapshot> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if prefix.is_empty() || prefix.len() > 64 || !prefix.bytes().all(is_hex) {
            return None;
        }
        let first: SnapshotId = format!("{prefix:0<64}").parse().ok()?;
        let mut fitting = self
            .by_id
            .range(first..)
            .map(|(_, snapshot)| snapshot)
            .take_while(|snapshot| snapshot.id.to_string().starts_with(prefix));
        let only = fitting.next()?;
        fitting.next().is_none().then_some(only)
    }
}

impl View {
    /// Returns the current list of snapshots.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn snapshots(&self) -> Result<Arc<SnapshotList>, ViewError> {
        let changed = self.reader.refresh()?;
        let mut current = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        if changed {
            let list = SnapshotList::new(self.reader.catalog()?);
            // A list that says the same keeps its time, and with it what the
            // kernel has cached of the mount's root.
            if !list.by_id.keys().eq(current.by_id.keys()) {
                *current = Arc::new(list);
            }
        }
        Ok(current.clone())
    }
}
