//! Making the index say what is so.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use crate::base::id::hex;
use crate::base::progress::Monitor;
use crate::base::sequences::SequenceSet;
use crate::repair::{ObjectName, Removed, RepairError, RepairReport, go_on};
use crate::repository::{
    Locator, ObjectKind, PendingRange, Repository, scan_readable, sequence_of,
};
use crate::store::{Batch, Durability, Extent, Family, StoreError};

/// Changes in one batch.
const BATCH_CHANGES: usize = 10_000;

/// Objects that are there and are what they were.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    good_chunks: SequenceSet,
    good_trees: SequenceSet,
    /// Objects that the index does not know, or places elsewhere.
    found: HashMap<ObjectName, Locator>,
    /// Objects that it knows again.
    restored: u64,
    /// Files that the engine could not rewrite.
    pub(crate) unsound: Vec<(Family, Extent)>,
    /// Whether nothing is to be written.
    dry_run: bool,
}

impl Objects {
    /// Whether an object can be read, now or once the index is put right.
    pub(crate) fn has(
        &self,
        repository: &Repository,
        kind: ObjectKind,
        id: &[u8; 32],
    ) -> Result<bool, RepairError> {
        if self.dry_run && self.found.contains_key(&(kind, *id)) {
            return Ok(true);
        }
        match repository.locate(kind, id) {
            Ok(locator) => Ok(locator.is_some_and(|locator| self.is_good(&locator))),
            Err(error) if error.is_damage() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Where an object lies that can be read.
    pub(crate) fn place(
        &self,
        repository: &Repository,
        kind: ObjectKind,
        id: &[u8; 32],
    ) -> Result<Option<u64>, RepairError> {
        if self.dry_run
            && let Some(locator) = self.found.get(&(kind, *id))
        {
            return Ok(Some(locator.sequence));
        }
        let located = repository.locate(kind, id);
        match located {
            Ok(locator) => {
                Ok(locator.filter(|locator| self.is_good(locator)).map(|found| found.sequence))
            }
            Err(error) if error.is_damage() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn good(&self, family: Family) -> &SequenceSet {
        if family == Family::Data { &self.good_chunks } else { &self.good_trees }
    }

    fn is_good(&self, locator: &Locator) -> bool {
        self.good(locator.kind.family()).contains(locator.sequence)
    }

    /// Whether the object that lies under a number is good and the one that the index
    /// leads to.
    pub(crate) fn holds(&self, family: Family, sequence: u64) -> bool {
        self.good(family).contains(sequence)
    }

    pub(crate) fn insert(&mut self, family: Family, sequence: u64) {
        let set = if family == Family::Data { &mut self.good_chunks } else { &mut self.good_trees };
        set.insert(sequence);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.good_chunks.len() + self.good_trees.len() + self.found.len() as u64
    }
}

/// Reads every object, in the order in which they lie.
pub(crate) fn read(
    repository: &Repository,
    dry_run: bool,
    monitor: &dyn Monitor,
) -> Result<Objects, RepairError> {
    let mut objects = Objects { dry_run, ..Objects::default() };
    let pending = repository.pending_ranges()?;
    let store = repository.store();
    let bytes = |family| -> Result<u64, StoreError> {
        Ok(store.extents(family)?.iter().map(|extent| extent.bytes).sum())
    };
    monitor.begin("reading all objects", 0, bytes(Family::Data)? + bytes(Family::Trees)?);
    for family in [Family::Data, Family::Trees] {
        for extent in store.extents(family)? {
            let numbers = sequence_of(&extent.first).zip(sequence_of(&extent.last));
            let Some((first, last)) = numbers else { continue };
            let mut failed = None;
            let met =
                scan_readable(store, family, first, last, monitor, &mut |sequence, stored| {
                    monitor.advance(1, stored.len() as u64);
                    let taken = objects
                        .take(repository, family, sequence, stored, &pending)
                        .and_then(|()| objects.spill(repository, BATCH_CHANGES));
                    failed = taken.and_then(|()| go_on(monitor)).err();
                    if failed.is_some() {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                })?;
            if let Some(error) = failed {
                return Err(error);
            }
            go_on(monitor)?;
            match met {
                // What a sound disk would give must not be given up.
                Some(error @ StoreError::Unreadable { .. }) => return Err(error.into()),
                // Marks of deletion are read together with what they lie above.
                Some(_) if !extent.is_young => objects.unsound.push((family, extent)),
                Some(_) | None => {}
            }
        }
    }
    objects.spill(repository, 1)?;
    Ok(objects)
}

impl Objects {
    /// Lets the index know what it lacked, once there is enough of it.
    fn spill(&mut self, repository: &Repository, at_least: usize) -> Result<(), RepairError> {
        if self.dry_run || self.found.len() < at_least {
            return Ok(());
        }
        let mut batch = Batch::new();
        for ((_, id), locator) in std::mem::take(&mut self.found) {
            batch.put(Family::Index, id, locator.encode());
            self.insert(locator.kind.family(), locator.sequence);
            self.restored += 1;
        }
        Ok(repository.store().write(&batch, Durability::Buffered)?)
    }

    /// Takes what lies under a number.
    fn take(
        &mut self,
        repository: &Repository,
        family: Family,
        sequence: u64,
        stored: &[u8],
        pending: &[PendingRange],
    ) -> Result<(), RepairError> {
        let Some((kind, id, plain_bytes)) = repository.object_of(family, stored) else {
            return Ok(());
        };
        let stored_bytes = u32::try_from(stored.len()).unwrap_or(u32::MAX);
        let locator = Locator { kind, sequence, plain_bytes, stored_bytes };
        match repository.locate(kind, &id) {
            Ok(Some(known)) if known == locator => self.insert(family, sequence),
            // Another copy of it, if that one is good.
            Ok(Some(known))
                if known.sequence != sequence && repository.verify(kind, &id).is_ok() => {}
            Ok(None) => {
                // Loads and sweeps that were cut short left these; see gc.
                let in_doubt = |range: &PendingRange| {
                    range.family == family && (range.first..=range.last).contains(&sequence)
                };
                if !pending.iter().any(in_doubt) {
                    self.found.insert((kind, id), locator);
                }
            }
            Ok(Some(_)) => {
                self.found.insert((kind, id), locator);
            }
            Err(error) if error.is_damage() => {
                self.found.insert((kind, id), locator);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Adds what the index lacks and removes what is not so.
pub(crate) fn put_right(
    repository: &Repository,
    objects: &Objects,
    report: &mut RepairReport,
    monitor: &dyn Monitor,
) -> Result<(), RepairError> {
    report.good_objects = objects.len();
    report.restored = objects.restored + objects.found.len() as u64;
    let store = repository.store();
    let wrong = wrong_entries(repository, objects, report, monitor)?;
    let counters = repository.wrong_counters()?;
    report.counters = counters.len() as u64;
    if objects.dry_run {
        return Ok(());
    }
    if !wrong.is_empty() || report.restored > 0 {
        repository.drop_scan_pages(&|_| false)?;
    }
    let mut batch = Batch::new();
    for id in wrong {
        batch.delete(Family::Index, id);
    }
    for (key, value) in counters {
        batch.put(Family::Meta, key, value);
    }
    Ok(store.write(&batch, Durability::Synced)?)
}

/// Names the entries of the index that lead to nothing good.
fn wrong_entries(
    repository: &Repository,
    objects: &Objects,
    report: &mut RepairReport,
    monitor: &dyn Monitor,
) -> Result<Vec<Vec<u8>>, RepairError> {
    let mut suspects = Vec::new();
    let mut wrong = Vec::new();
    let mut named = [SequenceSet::default(), SequenceSet::default()];
    let mut twice = HashSet::new();
    repository.store().scan(Family::Index, &[], &mut |key, value| {
        let entry = <[u8; 32]>::try_from(key).ok().zip(Locator::decode(value).ok());
        let Some((id, locator)) = entry else {
            wrong.push(key.to_vec());
            let detail = "its entry in the index makes no sense".to_owned();
            report.removed.push(Removed { kind: "record", id: hex(key), detail });
            return ControlFlow::Continue(());
        };
        let family = locator.kind.family();
        let set = &mut named[usize::from(family == Family::Data)];
        if !set.insert(locator.sequence) {
            twice.insert((family, locator.sequence));
        }
        if !objects.is_good(&locator) && !objects.finds(&id) {
            suspects.push((locator.kind, id));
        }
        ControlFlow::Continue(())
    })?;
    if !twice.is_empty() {
        // Two entries name one place, so one of them lies.
        repository.store().scan(Family::Index, &[], &mut |key, value| {
            let entry = <[u8; 32]>::try_from(key).ok().zip(Locator::decode(value).ok());
            if let Some((id, locator)) = entry
                && twice.contains(&(locator.kind.family(), locator.sequence))
                && !objects.finds(&id)
            {
                suspects.push((locator.kind, id));
            }
            ControlFlow::Continue(())
        })?;
    }
    suspects.sort_unstable();
    suspects.dedup();
    for (kind, id) in suspects {
        go_on(monitor)?;
        match repository.verify(kind, &id) {
            Ok(()) => {}
            Err(error) if error.is_damage() => {
                wrong.push(id.to_vec());
                let detail = error.detail();
                report.removed.push(Removed { kind: kind.name(), id: hex(&id), detail });
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(wrong)
}

impl Objects {
    fn finds(&self, id: &[u8; 32]) -> bool {
        let kinds = [ObjectKind::Chunk, ObjectKind::Tree, ObjectKind::ChunkList];
        kinds.into_iter().any(|kind| self.found.contains_key(&(kind, *id)))
    }
}
