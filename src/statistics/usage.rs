//! What snapshots hold, together and alone.
//!
//! Snapshots are walked one after another. What one comes to first is its own;
//! what another one comes to as well belongs to several, with all that is below,
//! and is taken off what the first one holds alone.

use crate::base::id::SnapshotId;
use crate::base::progress::Monitor;
use crate::dag::{Body, ChunkList, ChunkListRef, Hint, Kind, Segment, Tree, TreeRef};
use crate::repository::{ObjectKind, Repository, RepositoryError};
use crate::statistics::StatisticsError;
use crate::statistics::inventory::{Holder, Inventory};

/// Objects between two looks at whether to stop.
const CANCEL_INTERVAL: u64 = 1 << 10;

/// Some of what is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Chunks of files.
    pub chunks: u64,
    /// Their plain bytes.
    pub chunk_bytes: u64,
    /// Their bytes as stored.
    pub chunk_stored_bytes: u64,
    /// Pages of directories and of chunk lists.
    pub trees: u64,
    /// Their bytes as stored.
    pub tree_stored_bytes: u64,
}

impl Share {
    /// All of it as stored, in bytes.
    #[must_use]
    pub const fn stored_bytes(&self) -> u64 {
        self.chunk_stored_bytes.saturating_add(self.tree_stored_bytes)
    }

    const fn add(&mut self, object: &Self) {
        self.chunks += object.chunks;
        self.chunk_bytes = self.chunk_bytes.saturating_add(object.chunk_bytes);
        self.chunk_stored_bytes = self.chunk_stored_bytes.saturating_add(object.chunk_stored_bytes);
        self.trees += object.trees;
        self.tree_stored_bytes = self.tree_stored_bytes.saturating_add(object.tree_stored_bytes);
    }

    const fn take_off(&mut self, object: &Self) {
        self.chunks = self.chunks.saturating_sub(object.chunks);
        self.chunk_bytes = self.chunk_bytes.saturating_sub(object.chunk_bytes);
        self.chunk_stored_bytes = self.chunk_stored_bytes.saturating_sub(object.chunk_stored_bytes);
        self.trees = self.trees.saturating_sub(object.trees);
        self.tree_stored_bytes = self.tree_stored_bytes.saturating_sub(object.tree_stored_bytes);
    }
}

/// What holders hold.
#[derive(Debug, Default)]
pub struct Usage {
    /// Of each holder, what none before it holds.
    pub first: Vec<Share>,
    /// Of each holder, what no other one holds.
    pub alone: Vec<Share>,
    /// Trees that were read.
    pub read: u64,
    /// What cannot be read or is missing, with the snapshot.
    pub damaged: Vec<(SnapshotId, RepositoryError)>,
}

impl Usage {
    /// What all of them hold together.
    #[must_use]
    pub fn together(&self) -> Share {
        let mut together = Share::default();
        self.first.iter().for_each(|share| together.add(share));
        together
    }
}

/// Walks snapshots, each for a holder; several may be for one. Holders are
/// numbers from 0 on.
///
/// # Errors
/// Fails if the store cannot be read or `monitor` says to stop. Damage does not
/// end it.
pub fn usage(
    repository: &Repository,
    inventory: &mut Inventory,
    snapshots: &[(SnapshotId, TreeRef, u32)],
    monitor: &dyn Monitor,
) -> Result<Usage, StatisticsError> {
    let holders = snapshots.iter().map(|(_, _, holder)| *holder as usize + 1).max().unwrap_or(0);
    let mut walk = Walk {
        repository,
        inventory,
        monitor,
        work: Vec::new(),
        holder: 0,
        usage: Usage {
            first: vec![Share::default(); holders],
            alone: vec![Share::default(); holders],
            ..Usage::default()
        },
    };
    monitor.begin("walking the trees", snapshots.len() as u64, 0);
    for (id, root, holder) in snapshots {
        walk.holder = *holder;
        walk.work.push(Work::Tree(*root));
        walk.run(*id)?;
        monitor.advance(1, 0);
    }
    Ok(walk.usage)
}

/// An object still to be looked at.
enum Work {
    Tree(TreeRef),
    List(ChunkListRef),
}

struct Walk<'a> {
    repository: &'a Repository,
    inventory: &'a mut Inventory,
    monitor: &'a dyn Monitor,
    work: Vec<Work>,
    holder: u32,
    usage: Usage,
}

impl Walk<'_> {
    fn run(&mut self, snapshot: SnapshotId) -> Result<(), StatisticsError> {
        let mut visited = 0_u64;
        while let Some(work) = self.work.pop() {
            visited += 1;
            if visited.is_multiple_of(CANCEL_INTERVAL) && self.monitor.cancelled() {
                return Err(StatisticsError::Cancelled);
            }
            let outcome = match work {
                Work::Tree(tree) => self.tree(&tree),
                Work::List(list) => self.list(&list),
            };
            match outcome {
                Err(error) if error.is_loss() => self.usage.damaged.push((snapshot, error)),
                outcome => outcome?,
            }
        }
        Ok(())
    }

    fn tree(&mut self, tree: &TreeRef) -> Result<(), RepositoryError> {
        let id = tree.id.as_bytes();
        let Some(sequence) = self.see(ObjectKind::Tree, id, tree.hint, 0)? else { return Ok(()) };
        self.usage.read += 1;
        let page = self.repository.tree_by_id(&tree.id, Some(sequence))?;
        self.work.extend(page.trees().map(|tree| Work::Tree(*tree)));
        let Tree::Leaf(entries) = &page else { return Ok(()) };
        let mut missing = None;
        for entry in entries {
            let Kind::File(content) = &entry.node.kind else { continue };
            match &content.body {
                Body::Inline(_) => {}
                Body::Segments(segments) => missing = self.segments(segments)?.or(missing),
                Body::List(list) => self.work.push(Work::List(*list)),
            }
        }
        missing.map_or(Ok(()), Err)
    }

    fn list(&mut self, list: &ChunkListRef) -> Result<(), RepositoryError> {
        let id = list.id.as_bytes();
        let Some(sequence) = self.see(ObjectKind::ChunkList, id, list.hint, 0)? else {
            return Ok(());
        };
        let found = ChunkListRef { hint: Some(sequence), ..*list };
        match self.repository.chunk_list(&found)? {
            ChunkList::Leaf(segments) => self.segments(&segments)?.map_or(Ok(()), Err),
            ChunkList::Index { pages, .. } => {
                self.work.extend(pages.into_iter().map(Work::List));
                Ok(())
            }
        }
    }

    /// Counts chunks, and returns what is said of a missing one.
    fn segments(
        &mut self,
        segments: &[Segment],
    ) -> Result<Option<RepositoryError>, RepositoryError> {
        let mut missing = None;
        for segment in segments {
            let Segment::Chunk { id, bytes, hint } = segment else { continue };
            match self.see(ObjectKind::Chunk, id.as_bytes(), *hint, u64::from(*bytes)) {
                Err(error @ RepositoryError::Missing { .. }) => missing = Some(error),
                outcome => drop(outcome?),
            }
        }
        Ok(missing)
    }

    /// Counts an object, and returns where it lies if what is below it is to be
    /// counted as well.
    fn see(
        &mut self,
        kind: ObjectKind,
        id: &[u8; 32],
        hint: Hint,
        plain_bytes: u64,
    ) -> Result<Option<u64>, RepositoryError> {
        let seen = self.inventory.see(self.repository, kind, id, hint, self.holder)?;
        let seen = seen.ok_or_else(|| {
            let id = crate::base::id::hex(id);
            RepositoryError::Missing { kind: kind.name(), id }
        })?;
        let share = match kind {
            ObjectKind::Chunk => Share {
                chunks: 1,
                chunk_bytes: plain_bytes,
                chunk_stored_bytes: seen.stored_bytes,
                ..Share::default()
            },
            ObjectKind::Tree | ObjectKind::ChunkList => {
                Share { trees: 1, tree_stored_bytes: seen.stored_bytes, ..Share::default() }
            }
        };
        match seen.before {
            Holder::Nobody => {
                let own = self.holder as usize;
                for shares in [&mut self.usage.first, &mut self.usage.alone] {
                    if let Some(mine) = shares.get_mut(own) {
                        mine.add(&share);
                    }
                }
            }
            Holder::Other(other) => {
                if let Some(other) = self.usage.alone.get_mut(other as usize) {
                    other.take_off(&share);
                }
            }
            Holder::Same | Holder::Several => return Ok(None),
        }
        Ok(Some(seen.sequence))
    }
}
