//! Verifying objects, and reading round what cannot be read.

use std::ops::ControlFlow;

use crate::base::id::{IdScheme, TreeId, hex};
use crate::base::limits::{CHUNK_BYTES_MAX, TREE_BYTES_MAX};
use crate::base::progress::Monitor;
use crate::dag::record::split_stored;
use crate::dag::{ChunkList, Tree};
use crate::repository::envelope::{self, RecordKind};
use crate::repository::error::RepositoryError;
use crate::repository::locator::{Locator, ObjectKind, sequence_key, sequence_of};
use crate::repository::objects::Repository;
use crate::repository::protection::Protection;
use crate::repository::session::{next_key, next_sequence};
use crate::store::{Family, Store, StoreError};

impl ObjectKind {
    /// Plain bytes of a stored object of this kind at most.
    #[must_use]
    pub const fn plain_bytes_max(self) -> usize {
        match self {
            Self::Chunk => CHUNK_BYTES_MAX,
            Self::Tree | Self::ChunkList => 2 * TREE_BYTES_MAX,
        }
    }

    /// Returns the id that plain bytes of this kind have, if they can be of it.
    #[must_use]
    pub fn id_of(self, ids: &IdScheme, plain: &[u8]) -> Option<[u8; 32]> {
        let canonical = || split_stored(self.name(), plain).ok().map(|(canonical, _)| canonical);
        Some(match self {
            Self::Chunk => *ids.chunk(plain).as_bytes(),
            Self::Tree => *ids.tree(canonical()?).as_bytes(),
            Self::ChunkList => *ids.list(canonical()?).as_bytes(),
        })
    }
}

/// The kinds of object that lie in a family.
#[must_use]
pub const fn kinds_of(family: Family) -> &'static [ObjectKind] {
    match family {
        Family::Data => &[ObjectKind::Chunk],
        Family::Trees => &[ObjectKind::Tree, ObjectKind::ChunkList],
        _ => &[],
    }
}

/// Whether a record is a tree or a page of a chunk list. Only one of them
/// decodes: their ids have different tags, their bytes different forms.
fn record_kind(plain: &[u8]) -> Option<ObjectKind> {
    let (canonical, hints) = split_stored("record", plain).ok()?;
    let id = TreeId::of(canonical);
    if Tree::decode(&IdScheme::Plain, &id, canonical, hints).is_ok() {
        return Some(ObjectKind::Tree);
    }
    ChunkList::is_page(canonical, hints).then_some(ObjectKind::ChunkList)
}

/// Whether what is stored is a tree or a page of a chunk list, as far as that can
/// be told without a key.
pub(crate) fn is_record(stored: &[u8]) -> bool {
    let kinds = [RecordKind::Tree as u8, RecordKind::ChunkList as u8];
    match envelope::sealed_as(stored) {
        Some((kind, _)) => kinds.contains(&kind),
        None => {
            let plain = envelope::open(stored, ObjectKind::Tree.plain_bytes_max()).ok();
            plain.is_some_and(|plain| record_kind(&plain).is_some())
        }
    }
}

impl Protection {
    /// Returns the kind, id and plain length of what lies in a family, if it is an
    /// object at all.
    pub(crate) fn object_of(
        &self,
        family: Family,
        stored: &[u8],
    ) -> Option<(ObjectKind, [u8; 32], u32)> {
        let first = *kinds_of(family).first()?;
        let opened = self.envelopes.open_any(stored, first.plain_bytes_max()).ok()?;
        let plain = opened.plain;
        let kind = if first == ObjectKind::Chunk { first } else { record_kind(&plain)? };
        let id = kind.id_of(&self.ids, &plain)?;
        let is_so = opened.sealed_as.is_none_or(|as_what| as_what == (kind.record() as u8, id));
        Some((kind, id, u32::try_from(plain.len()).ok()?)).filter(|_| is_so)
    }
}

impl Repository {
    /// Returns the kind, id and plain length of what lies in a family, if it is an
    /// object at all.
    #[must_use]
    pub fn object_of(&self, family: Family, stored: &[u8]) -> Option<(ObjectKind, [u8; 32], u32)> {
        self.protection.object_of(family, stored)
    }

    /// Returns a tree as it lies in the store, with its id.
    #[must_use]
    pub fn stored_tree(&self, stored: &[u8]) -> Option<(TreeId, Tree)> {
        let (id, plain) = self.opened_as(ObjectKind::Tree, stored)?;
        let (canonical, hints) = split_stored("tree", &plain).ok()?;
        let id = TreeId::from_digest(id);
        Tree::decode(self.ids(), &id, canonical, hints).ok().map(|tree| (id, tree))
    }

    /// Returns the id and the plain bytes of a stored object, if it could be of
    /// that kind.
    fn opened_as(&self, kind: ObjectKind, stored: &[u8]) -> Option<([u8; 32], Vec<u8>)> {
        let opened = self.protection.envelopes.open_any(stored, kind.plain_bytes_max()).ok()?;
        let id = kind.id_of(self.ids(), &opened.plain)?;
        let is_so = opened.sealed_as.is_none_or(|as_what| as_what == (kind.record() as u8, id));
        is_so.then_some((id, opened.plain))
    }

    /// Returns what is stored under a sequence number, if the index says so of
    /// the very bytes that lie there.
    ///
    /// # Errors
    /// Fails if the index cannot be read.
    pub fn verify_stored(
        &self,
        family: Family,
        sequence: u64,
        stored: &[u8],
    ) -> Result<Option<[u8; 32]>, RepositoryError> {
        for kind in kinds_of(family) {
            let Some((id, plain)) = self.opened_as(*kind, stored) else { continue };
            let expected = Locator {
                kind: *kind,
                sequence,
                plain_bytes: u32::try_from(plain.len()).unwrap_or(u32::MAX),
                stored_bytes: u32::try_from(stored.len()).unwrap_or(u32::MAX),
            };
            if self.locate(*kind, &id)? == Some(expected) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Returns the counters that lie below a number that was given, with what they
    /// must be.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn wrong_counters(&self) -> Result<Vec<(String, [u8; 8])>, RepositoryError> {
        let mut wrong = Vec::new();
        for family in [Family::Data, Family::Trees] {
            let counter = self.store.get(Family::Meta, next_key(family).as_bytes())?;
            let is = counter.and_then(|value| sequence_of(&value)).unwrap_or(0);
            let next = next_sequence(self, family)?;
            let pending = self.pending_ranges()?;
            if is < next && !pending.iter().any(|range| range.family == family) {
                wrong.push((next_key(family), sequence_key(next)));
            }
        }
        Ok(wrong)
    }

    /// Reads an object by the index alone and checks it against its id, and what
    /// the index says of it.
    ///
    /// # Errors
    /// Fails if it is missing or damaged, or the store cannot be read.
    pub fn verify(&self, kind: ObjectKind, id: &[u8; 32]) -> Result<(), RepositoryError> {
        self.object(kind, id, None, kind.plain_bytes_max(), &|plain| {
            if kind.id_of(self.ids(), &plain) == Some(*id) {
                return Ok(());
            }
            Err("its bytes do not match its hash".to_owned())
        })?;
        let Some(locator) = self.locate(kind, id)? else { return Ok(()) };
        let stored = self.store.get(kind.family(), &sequence_key(locator.sequence))?;
        let stored = stored.unwrap_or_default();
        if self.verify_stored(kind.family(), locator.sequence, &stored)? == Some(*id) {
            return Ok(());
        }
        let detail = "the index says other lengths than it has".to_owned();
        Err(RepositoryError::Damaged { kind: kind.name(), id: hex(id), detail })
    }
}

/// Numbers in one range behind damage that are tried one by one. A file of the store
/// holds fewer objects than that, but somebody who makes one may leave any gap.
const TRIES_MAX: u64 = 1 << 17;

/// Visits what can be read under the sequence numbers `first..=last` of a
/// family, in rising order, until `visit` breaks or the monitor says so. What cannot
/// be read is passed over, number by number, and where that would have no end by
/// rising steps. Returns what was met: a failure of the disk if there is
/// one, since what lies there is not known to be damaged; else the first damage, which
/// may have hurt no object.
///
/// # Errors
/// Fails if the store does for another reason.
pub fn scan_readable(
    store: &dyn Store,
    family: Family,
    first: u64,
    last: u64,
    monitor: &dyn Monitor,
    visit: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> Result<Option<StoreError>, StoreError> {
    let mut next = first;
    let mut ended = false;
    let mut met = None;
    let mut tries = 0;
    while next <= last && !ended && !monitor.cancelled() {
        let mut beyond = false;
        let scanned = store.scan(family, &sequence_key(next), &mut |key, value| {
            let Some(sequence) = sequence_of(key) else { return ControlFlow::Continue(()) };
            if sequence > last {
                beyond = true;
                return ControlFlow::Break(());
            }
            if sequence < next {
                // The key itself is damaged.
                return ControlFlow::Continue(());
            }
            next = sequence.saturating_add(1);
            let flow = visit(sequence, value);
            ended = flow.is_break();
            flow
        });
        match scanned {
            // A key beyond may be a damaged one, so those between are looked for.
            Ok(()) if !beyond || tries >= TRIES_MAX => return Ok(met),
            Ok(()) => {}
            // It came to what lies behind the range.
            Err(error) if error.is_loss() && next > last => return Ok(met),
            Err(error) if error.is_loss() => {
                // A scan reads ahead, and fails before it comes to what is lost.
                let alone = store.read(family, &sequence_key(next), &mut |value| {
                    ended = visit(next, value).is_break();
                });
                if let Err(error) = alone
                    && !error.is_loss()
                {
                    return Err(error);
                }
                if met.is_none() || matches!(error, StoreError::Unreadable { .. }) {
                    met = Some(error);
                }
            }
            Err(error) => return Err(error),
        }
        tries += 1;
        next = match tries <= TRIES_MAX {
            true => next.saturating_add(1),
            false => first_readable(store, family, next, last)?,
        };
        if next == u64::MAX {
            break;
        }
    }
    Ok(met)
}

/// The first number behind `lost`, which cannot be read, from which on the store is read
/// without an error, or one behind `last`. What lies between two damaged places may
/// be passed over.
fn first_readable(
    store: &dyn Store,
    family: Family,
    mut lost: u64,
    last: u64,
) -> Result<u64, StoreError> {
    let is_readable = |from: u64| match store
        .scan(family, &sequence_key(from), &mut |_, _| ControlFlow::Break(()))
    {
        Ok(()) => Ok(true),
        Err(error) if error.is_loss() => Ok(false),
        Err(error) => Err(error),
    };
    let mut step = 1_u64;
    let mut found = loop {
        let probe = lost.saturating_add(step);
        if probe > last || is_readable(probe)? {
            break probe;
        }
        lost = probe;
        step = step.saturating_mul(2);
    };
    while found - lost > 1 {
        let middle = lost + (found - lost) / 2;
        if is_readable(middle)? {
            found = middle;
        } else {
            lost = middle;
        }
    }
    Ok(found)
}
