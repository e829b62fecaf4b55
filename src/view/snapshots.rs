//! The list of snapshots, kept current.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use crate::base::id::SnapshotId;
use crate::base::time::Timestamp;
use crate::dag::{Counters, Manifest, Node, XattrClasses};
use crate::repository::{Catalog, Selectable, select_by_time, select_snapshot};
use crate::view::names::Names;
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
    /// The host that took it.
    pub host: Arc<str>,
    /// Its tags.
    pub tags: Arc<[Arc<str>]>,
    /// Whether a repair made it beside the snapshot that it is a copy of, to which
    /// it leaves the name that tells their time.
    pub is_repaired_copy: bool,
}

impl Selectable for Snapshot {
    fn id(&self) -> &SnapshotId {
        &self.id
    }

    fn time(&self) -> Timestamp {
        self.time
    }

    fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| **own == *tag)
    }
}

/// The snapshots as of some moment.
#[derive(Debug)]
pub struct SnapshotList {
    /// Oldest first.
    snapshots: Vec<Snapshot>,
    /// The place of each of them.
    by_id: BTreeMap<SnapshotId, usize>,
    pub(crate) names: Names,
    /// Tells this list from those before and behind it.
    pub(crate) generation: u64,
    damaged: Vec<String>,
    xattrs: XattrClasses,
    changed: SystemTime,
}

/// The snapshots that a repair made beside others.
fn repaired_copies(snapshots: &[(SnapshotId, Manifest)]) -> HashSet<SnapshotId> {
    let by_id: HashMap<_, _> = snapshots.iter().map(|(id, manifest)| (*id, manifest)).collect();
    let find = |id: &SnapshotId| by_id.get(id).copied();
    let is_copy = |(_, manifest): &&(_, Manifest)| manifest.is_repaired_copy(find);
    snapshots.iter().filter(is_copy).map(|(id, _)| *id).collect()
}

impl SnapshotList {
    pub(crate) fn new(catalog: Catalog, generation: u64) -> Self {
        let Catalog { snapshots, damaged, .. } = catalog;
        let damaged = damaged.iter().map(ToString::to_string).collect();
        let all = XattrClasses::default();
        let xattrs = snapshots.iter().fold(all, |all, (_, manifest)| all.and(classes(manifest)));
        let mut labels = Labels::default();
        let copies = repaired_copies(&snapshots);
        let keep = |(id, manifest): (SnapshotId, Manifest)| {
            let is_repaired_copy = copies.contains(&id);
            let Manifest { time, root, counters, host, tags, .. } = manifest;
            let host = labels.share(&host);
            let tags = tags.iter().map(|tag| labels.share(tag)).collect();
            Snapshot { id, time, root: Arc::new(root), counters, host, tags, is_repaired_copy }
        };
        let snapshots: Vec<_> = snapshots.into_iter().map(keep).collect();
        let by_id = snapshots.iter().enumerate().map(|(place, one)| (one.id, place)).collect();
        let (names, changed) = (Names::default(), SystemTime::now());
        Self { snapshots, by_id, names, generation, damaged, xattrs, changed }
    }

    /// Whether it shows the same snapshots under the same names.
    fn says_the_same(&self, other: &Self) -> bool {
        let shown = |snapshot: &Snapshot| (snapshot.id, snapshot.tags.clone());
        self.snapshots.iter().map(shown).eq(other.snapshots.iter().map(shown))
    }

    /// All snapshots, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Snapshot> {
        self.by_id.values().filter_map(|place| self.at_place(*place))
    }

    /// All snapshots, oldest first.
    pub fn oldest_first(&self) -> impl DoubleEndedIterator<Item = &Snapshot> + ExactSizeIterator {
        self.snapshots.iter()
    }

    pub(crate) fn at_place(&self, place: usize) -> Option<&Snapshot> {
        self.snapshots.get(place)
    }

    pub(crate) fn is_at(&self, place: usize, id: &SnapshotId) -> bool {
        self.at_place(place).is_some_and(|snapshot| snapshot.id == *id)
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
        self.at_place(*self.by_id.get(id)?)
    }

    /// The newest one.
    #[must_use]
    pub fn newest(&self) -> Option<&Snapshot> {
        self.snapshots.last()
    }

    /// The one that a name means as on the command line: `latest~2`, a unique
    /// prefix of an id, a tag, a time expression. Nothing if several fit.
    #[must_use]
    pub fn named(&self, name: &str, now: Timestamp) -> Option<&Snapshot> {
        self.at_place(select_snapshot(&self.snapshots, name, now).ok()??)
    }

    /// The newest one that is not younger than a time expression says.
    #[must_use]
    pub fn not_younger(&self, expression: &str, now: Timestamp) -> Option<&Snapshot> {
        self.at_place(select_by_time(&self.snapshots, expression, now)?)
    }

    /// The kinds of extended attributes that occur in any snapshot.
    #[must_use]
    pub const fn xattrs(&self) -> XattrClasses {
        self.xattrs
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
            .filter_map(|(_, place)| self.at_place(*place))
            .take_while(|snapshot| snapshot.id.to_string().starts_with(prefix));
        let only = fitting.next()?;
        fitting.next().is_none().then_some(only)
    }
}

fn classes(manifest: &Manifest) -> XattrClasses {
    let below = manifest.tree().map(|tree| tree.totals.xattrs).unwrap_or_default();
    below.and(XattrClasses::of_node(&manifest.root))
}

/// Texts that many snapshots share, kept once.
#[derive(Default)]
struct Labels(HashSet<Arc<str>>);

impl Labels {
    fn share(&mut self, label: &str) -> Arc<str> {
        if let Some(known) = self.0.get(label) {
            return known.clone();
        }
        let label: Arc<str> = label.into();
        self.0.insert(label.clone());
        label
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
            let list = SnapshotList::new(self.reader.catalog()?, current.generation + 1);
            // A list that says the same keeps its time, and with it what the
            // kernel has cached of the mount's root.
            if !list.says_the_same(&current) {
                *current = Arc::new(list);
            }
        }
        Ok(current.clone())
    }
}
