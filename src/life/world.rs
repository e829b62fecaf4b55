//! What must be in a repository: the model, and how it is compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::id::SnapshotId;
use crate::base::progress::Silent;
use crate::base::time::Timestamp;
use crate::check::{CheckOptions, ReadScope, check};
use crate::dag::Manifest;
use crate::ingest::testing::{Fact, source_facts, tree_facts};
use crate::life::act::{Act, TAG, chosen};
use crate::repository::Repository;

/// What a snapshot holds, by path.
pub(super) type Image = BTreeMap<PathBuf, Fact>;

/// A snapshot of the model.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    pub(super) hour: i64,
    pub(super) image: Arc<Image>,
    tags: Vec<String>,
    is_pinned: bool,
}

/// All that must be there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct World {
    pub(super) listed: BTreeMap<SnapshotId, Kept>,
    /// What can be had back.
    deleted: BTreeMap<SnapshotId, Kept>,
}

/// What a repository says of itself: of each snapshot its time, its tags and
/// whether it is pinned; and which can be had back.
#[derive(Debug, PartialEq)]
struct Seen {
    listed: BTreeMap<SnapshotId, (i64, Vec<String>, bool)>,
    deleted: Vec<SnapshotId>,
}

impl Seen {
    fn of(repository: &Repository) -> Result<Self, String> {
        let catalog = repository.catalog().map_err(|error| error.to_string())?;
        let deleted = repository.deleted_snapshots().map_err(|error| error.to_string())?;
        if !catalog.damaged.is_empty() || !deleted.damaged.is_empty() {
            return Err(format!("damaged: {:?} {:?}", catalog.damaged, deleted.damaged));
        }
        let now = Timestamp::now();
        let facts = |(id, manifest): &(SnapshotId, Manifest)| {
            let hour = manifest.time.seconds() / 3600;
            (*id, (hour, manifest.tags.clone(), catalog.is_pinned(id, now)))
        };
        let mut deleted: Vec<_> = deleted.snapshots.iter().map(|snapshot| snapshot.id).collect();
        deleted.sort_unstable();
        Ok(Self { listed: catalog.snapshots.iter().map(facts).collect(), deleted })
    }
}

impl World {
    fn shows(&self) -> Seen {
        let facts = |(id, kept): (&SnapshotId, &Kept)| {
            (*id, (kept.hour, kept.tags.clone(), kept.is_pinned))
        };
        let deleted = self.deleted.keys().copied().collect();
        Seen { listed: self.listed.iter().map(facts).collect(), deleted }
    }

    /// The snapshots, oldest first.
    pub(super) fn oldest_first(&self) -> Vec<SnapshotId> {
        let mut ids: Vec<_> = self.listed.keys().copied().collect();
        ids.sort_by_key(|id| (self.listed[id].hour, *id));
        ids
    }

    /// Takes a snapshot out that is neither promised nor to be had back.
    pub(super) fn forget(&mut self, id: &SnapshotId) {
        self.listed.remove(id);
    }

    fn delete(&mut self, ids: &[SnapshotId]) {
        for id in ids {
            self.deleted.extend(self.listed.remove(id).map(|kept| (*id, kept)));
        }
    }

    /// What must be there once an act has been done, if it made the snapshot `made`.
    fn after(&self, act: Act, source: &Path, made: Option<SnapshotId>) -> Self {
        let mut world = self.clone();
        let ids = self.oldest_first();
        match act {
            Act::Create(hour) => {
                let image = Arc::new(source_facts(source, &|_, _| false));
                let kept = Kept { hour, image, tags: Vec::new(), is_pinned: false };
                world.listed.extend(made.map(|id| (id, kept)));
            }
            Act::Delete(number) => world.delete(chosen(&ids, number)),
            Act::Undelete => world.listed.append(&mut world.deleted),
            Act::Tag(number, pins) => {
                for id in chosen(&ids, number) {
                    let kept = world.listed.get_mut(id).expect("it is listed");
                    kept.is_pinned = pins;
                    kept.tags = vec![TAG.to_owned()];
                }
            }
            Act::Prune(count) => {
                let newest = usize::try_from(count).unwrap();
                let old = &ids[..ids.len().saturating_sub(newest)];
                let is_free = |id: &&SnapshotId| !self.listed[id].is_pinned;
                world.delete(&old.iter().filter(is_free).copied().collect::<Vec<_>>());
            }
            Act::Collect(_) => world.deleted.clear(),
            Act::Repair => {}
        }
        world
    }

    /// Takes in what came of an act: all of it or, if it failed, perhaps nothing. It
    /// fails if the repository shows anything else.
    pub(super) fn adopt(
        &mut self,
        act: Act,
        outcome: &Result<(), String>,
        source: &Path,
        repository: &Repository,
    ) -> Result<(), String> {
        let seen = Seen::of(repository)?;
        let is_new =
            |id: &&SnapshotId| !self.listed.contains_key(id) && !self.deleted.contains_key(id);
        let made = seen.listed.keys().find(is_new).copied();
        let after = self.after(act, source, made);
        if outcome.is_err() && self.shows() == seen {
            return Ok(());
        }
        let made_something = made.is_some() || !matches!(act, Act::Create(_));
        if !made_something || after.shows() != seen {
            return Err(format!("{act:?} ended with {outcome:?} and left {seen:?}"));
        }
        *self = after;
        Ok(())
    }

    /// Fails unless every byte of every snapshot, those that can be had back among
    /// them, is what it was, and a check of everything is clean.
    pub(super) fn verify(&self, repository: &Repository) -> Result<(), String> {
        let seen = Seen::of(repository)?;
        if seen != self.shows() {
            return Err(format!("{seen:?} is there instead of {:?}", self.shows()));
        }
        let catalog = repository.catalog().map_err(|error| error.to_string())?;
        let options = CheckOptions { scope: ReadScope::All, max_duration: None };
        let report = check(repository, catalog, options, &Silent);
        let report = report.map_err(|error| format!("check: {error}"))?;
        if !report.is_clean() {
            return Err(format!("check finds {:?}", report.damages));
        }
        for (id, kept) in &self.listed {
            let manifest = repository.manifest(id).map_err(|error| error.to_string())?;
            kept.compare(repository, &manifest.ok_or("a snapshot is gone")?)?;
        }
        let deleted = repository.deleted_snapshots().map_err(|error| error.to_string())?;
        for snapshot in deleted.snapshots {
            self.deleted[&snapshot.id].compare(repository, &snapshot.manifest)?;
        }
        Ok(())
    }
}

impl Kept {
    fn compare(&self, repository: &Repository, manifest: &Manifest) -> Result<(), String> {
        let root = manifest.tree().ok_or("no root")?;
        let found = tree_facts(repository, root);
        if found == *self.image {
            return Ok(());
        }
        let differs = |path: &&PathBuf| found.get(*path) != self.image.get(*path);
        let paths: Vec<_> = found.keys().chain(self.image.keys()).filter(differs).collect();
        Err(format!("the snapshot of hour {} differs in {paths:?}", self.hour))
    }
}
