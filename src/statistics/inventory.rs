//! What the index says of all objects.

use std::collections::HashMap;
use std::ops::ControlFlow;

use crate::base::progress::Monitor;
use crate::repository::{Locator, ObjectKind, Repository, RepositoryError};
use crate::statistics::StatisticsError;
use crate::store::Family;

/// Objects between two looks at whether to stop.
const CANCEL_INTERVAL: u64 = 1 << 14;
/// Sequence numbers in one page: 48 KiB. A corrupt index that claims an absurd
/// number costs one page.
const PAGE_SLOTS: u64 = 4096;
/// The owner of what no snapshot was seen to hold yet.
const NOBODY: u32 = u32::MAX;
/// The owner of what several hold.
const SEVERAL: u32 = u32::MAX - 1;

/// Counts and bytes of all that is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Chunks of files.
    pub chunks: u64,
    /// Their plain bytes.
    pub chunk_bytes: u64,
    /// Their bytes as stored.
    pub chunk_stored_bytes: u64,
    /// Pages of directories and of chunk lists.
    pub trees: u64,
    /// Their plain bytes.
    pub tree_bytes: u64,
    /// Their bytes as stored.
    pub tree_stored_bytes: u64,
}

impl Totals {
    fn add(&mut self, locator: &Locator) {
        let (count, plain, stored) = match locator.kind {
            ObjectKind::Chunk => {
                (&mut self.chunks, &mut self.chunk_bytes, &mut self.chunk_stored_bytes)
            }
            ObjectKind::Tree | ObjectKind::ChunkList => {
                (&mut self.trees, &mut self.tree_bytes, &mut self.tree_stored_bytes)
            }
        };
        *count += 1;
        *plain = plain.saturating_add(u64::from(locator.plain_bytes));
        *stored = stored.saturating_add(u64::from(locator.stored_bytes));
    }
}

/// Sums up the index.
///
/// # Errors
/// Fails if the store cannot be read or `monitor` says to stop.
pub fn totals(repository: &Repository, monitor: &dyn Monitor) -> Result<Totals, StatisticsError> {
    let mut totals = Totals::default();
    scan(repository, monitor, &mut |_, locator| totals.add(locator))?;
    Ok(totals)
}

fn scan(
    repository: &Repository,
    monitor: &dyn Monitor,
    visit: &mut dyn FnMut(&[u8], &Locator),
) -> Result<(), StatisticsError> {
    let (mut count, mut is_cancelled) = (0_u64, false);
    let scanned = repository.store().scan(Family::Index, &[], &mut |key, value| {
        count += 1;
        if count.is_multiple_of(CANCEL_INTERVAL) {
            monitor.advance(CANCEL_INTERVAL, 0);
            is_cancelled = monitor.cancelled();
        }
        if let Ok(locator) = Locator::decode(value) {
            visit(key, &locator);
        }
        if is_cancelled { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    scanned.map_err(RepositoryError::from)?;
    if is_cancelled { Err(StatisticsError::Cancelled) } else { Ok(()) }
}

/// What is kept of an object.
#[derive(Clone, Copy)]
struct Slot {
    /// The first bytes of its id.
    mark: u32,
    /// 0 if nothing lies there.
    stored_bytes: u32,
    owner: u32,
}

const EMPTY: Slot = Slot { mark: 0, stored_bytes: 0, owner: NOBODY };

/// Objects of one family, by sequence number.
#[derive(Default)]
struct Slots(HashMap<u64, Box<[Slot]>>);

impl Slots {
    fn insert(&mut self, sequence: u64, slot: Slot) {
        let empty = || vec![EMPTY; PAGE_SLOTS as usize].into();
        let page = self.0.entry(sequence / PAGE_SLOTS).or_insert_with(empty);
        if let Some(own) = page.get_mut((sequence % PAGE_SLOTS) as usize) {
            *own = slot;
        }
    }

    fn get_mut(&mut self, sequence: u64) -> Option<&mut Slot> {
        let page = self.0.get_mut(&(sequence / PAGE_SLOTS))?;
        page.get_mut((sequence % PAGE_SLOTS) as usize).filter(|slot| slot.stored_bytes > 0)
    }
}

/// All objects of a repository, and who was seen to hold each.
pub struct Inventory {
    /// Their sums.
    pub totals: Totals,
    chunks: Slots,
    trees: Slots,
}

/// An object that a snapshot was seen to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) sequence: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) before: Holder,
}

/// Who was seen before to hold an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Nobody,
    Same,
    /// One other one, which had it alone until now.
    Other(u32),
    Several,
}

impl Inventory {
    /// Reads the index.
    ///
    /// # Errors
    /// As [`totals`].
    pub fn read(repository: &Repository, monitor: &dyn Monitor) -> Result<Self, StatisticsError> {
        let mut inventory =
            Self { totals: Totals::default(), chunks: Slots::default(), trees: Slots::default() };
        scan(repository, monitor, &mut |key, locator| {
            inventory.totals.add(locator);
            let slot = Slot { mark: mark(key), stored_bytes: locator.stored_bytes, owner: NOBODY };
            inventory.slots(locator.kind).insert(locator.sequence, slot);
        })?;
        Ok(inventory)
    }

    /// Forgets who was seen to hold what.
    pub fn forget_holders(&mut self) {
        let pages = self.chunks.0.values_mut().chain(self.trees.0.values_mut());
        pages.flat_map(|page| page.iter_mut()).for_each(|slot| slot.owner = NOBODY);
    }

    /// Notes that somebody holds an object. Nothing if it is not stored.
    pub(crate) fn see(
        &mut self,
        repository: &Repository,
        kind: ObjectKind,
        id: &[u8; 32],
        hint: Option<u64>,
        holder: u32,
    ) -> Result<Option<Seen>, RepositoryError> {
        let mark = mark(id);
        let slots = self.slots(kind);
        let is_it = |sequence: &u64| {
            slots.0.get(&(sequence / PAGE_SLOTS)).is_some_and(|page| {
                let slot = page.get((sequence % PAGE_SLOTS) as usize);
                slot.is_some_and(|slot| slot.mark == mark && slot.stored_bytes > 0)
            })
        };
        let sequence = match hint.filter(is_it) {
            Some(sequence) => Some(sequence),
            None => repository.locate(kind, id)?.map(|locator| locator.sequence),
        };
        let Some((sequence, slot)) = sequence.and_then(|it| Some((it, slots.get_mut(it)?))) else {
            return Ok(None);
        };
        let before = match slot.owner {
            NOBODY => Holder::Nobody,
            SEVERAL => Holder::Several,
            owner if owner == holder => Holder::Same,
            owner => Holder::Other(owner),
        };
        match before {
            Holder::Nobody => slot.owner = holder,
            Holder::Other(_) => slot.owner = SEVERAL,
            Holder::Same | Holder::Several => {}
        }
        Ok(Some(Seen { sequence, stored_bytes: u64::from(slot.stored_bytes), before }))
    }

    const fn slots(&mut self, kind: ObjectKind) -> &mut Slots {
        match kind {
            ObjectKind::Chunk => &mut self.chunks,
            ObjectKind::Tree | ObjectKind::ChunkList => &mut self.trees,
        }
    }
}

fn mark(id: &[u8]) -> u32 {
    id.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
