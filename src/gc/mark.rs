//! Marking: what the roots reach, each object once.

use crate::base::id::{ChunkId, SnapshotId, TreeId};
use crate::base::progress::Monitor;
use crate::dag::{Body, ChunkList, ChunkListRef, Kind, Segment, Tree};
use crate::gc::bitmap::SequenceSet;
use crate::gc::plan::bytes_of;
use crate::gc::{CANCEL_INTERVAL, GcError, GcReport};
use crate::repository::{LiveLeases, ObjectKind, Repository, RepositoryError};
use crate::store::Family;

/// What is reachable.
#[derive(Debug, Default)]
pub(crate) struct Marked {
    /// Sequence numbers of reachable chunks.
    pub(crate) chunks: SequenceSet,
    /// Sequence numbers of reachable trees and chunk lists.
    pub(crate) trees: SequenceSet,
    snapshots: u64,
    leased_snapshots: u64,
    missing_chunks: u64,
}

impl Marked {
    /// What is reachable in a family.
    pub(crate) const fn live(&self, family: Family) -> &SequenceSet {
        match family {
            Family::Data => &self.chunks,
            _ => &self.trees,
        }
    }

    /// Whether the index knows all that the roots reach.
    pub(crate) const fn is_whole(&self) -> bool {
        self.missing_chunks == 0
    }

    /// Starts the report with what was counted.
    pub(crate) fn report(&self) -> GcReport {
        GcReport {
            snapshots: self.snapshots,
            leased_snapshots: self.leased_snapshots,
            live_chunks: self.chunks.len(),
            live_trees: self.trees.len(),
            missing_chunks: self.missing_chunks,
            ..GcReport::default()
        }
    }
}

/// Marks everything that snapshots and leases reach.
pub(crate) fn mark(
    repository: &Repository,
    leases: &LiveLeases,
    monitor: &dyn Monitor,
) -> Result<Marked, GcError> {
    let mut roots: Vec<(SnapshotId, TreeId)> = Vec::new();
    for (id, manifest) in repository.snapshots()? {
        roots.extend(manifest.tree().map(|tree| (id, tree.id)));
    }
    let snapshots = roots.len() as u64;
    for (id, root) in &leases.roots {
        if !repository.exists(id)? {
            roots.push((*id, *root));
        }
    }
    let leased_snapshots = roots.len() as u64 - snapshots;
    let mut marker = Marker {
        repository,
        monitor,
        marked: Marked { snapshots, leased_snapshots, ..Marked::default() },
        work: Vec::new(),
        visited: 0,
    };
    // An estimate that is never too low: each tree is read once.
    monitor.begin("marking", roots.len() as u64, bytes_of(repository, Family::Trees)?);
    for (snapshot, root) in roots {
        marker.work.push(Work::Tree(root));
        marker.run(snapshot)?;
        monitor.advance(1, 0);
    }
    Ok(marker.marked)
}

/// An object still to be looked at.
enum Work {
    Tree(TreeId),
    List(ChunkListRef),
}

struct Marker<'a> {
    repository: &'a Repository,
    monitor: &'a dyn Monitor,
    marked: Marked,
    work: Vec<Work>,
    visited: u64,
}

impl Marker<'_> {
    fn run(&mut self, snapshot: SnapshotId) -> Result<(), GcError> {
        while let Some(work) = self.work.pop() {
            self.visited += 1;
            if self.visited.is_multiple_of(CANCEL_INTERVAL) && self.monitor.cancelled() {
                return Err(GcError::Cancelled);
            }
            let outcome = match work {
                Work::Tree(id) => self.tree(id),
                Work::List(list) => self.list(&list),
            };
            outcome.map_err(|source| GcError::Unreadable { snapshot: snapshot.short(), source })?;
        }
        Ok(())
    }

    fn tree(&mut self, id: TreeId) -> Result<(), RepositoryError> {
        let Some(sequence) = self.enter(ObjectKind::Tree, id.as_bytes())? else { return Ok(()) };
        let tree = self.repository.tree_by_id(&id, Some(sequence))?;
        self.work.extend(tree.trees().map(|tree| Work::Tree(tree.id)));
        if let Tree::Leaf(entries) = &tree {
            for entry in entries {
                let Kind::File(content) = &entry.node.kind else { continue };
                match &content.body {
                    Body::Inline(_) => {}
                    Body::Segments(segments) => self.segments(segments)?,
                    Body::List(list) => self.work.push(Work::List(*list)),
                }
            }
        }
        Ok(())
    }

    fn list(&mut self, list: &ChunkListRef) -> Result<(), RepositoryError> {
        let Some(sequence) = self.enter(ObjectKind::ChunkList, list.id.as_bytes())? else {
            return Ok(());
        };
        let found = ChunkListRef { hint: Some(sequence), ..*list };
        match self.repository.chunk_list(&found)? {
            ChunkList::Leaf(segments) => self.segments(&segments)?,
            ChunkList::Index { pages, .. } => self.work.extend(pages.into_iter().map(Work::List)),
        }
        Ok(())
    }

    /// Marks a tree or list by what the index says of it, never by a hint: a
    /// wrong hint would keep the wrong object. Returns where it lies if it was
    /// not marked before.
    fn enter(&mut self, kind: ObjectKind, id: &[u8; 32]) -> Result<Option<u64>, RepositoryError> {
        let locator = self.repository.locate(kind, id)?.ok_or_else(|| {
            let id = crate::base::id::hex(id);
            RepositoryError::Missing { kind: kind.name(), id }
        })?;
        let is_new = self.marked.trees.insert(locator.sequence);
        if is_new {
            self.monitor.advance(0, u64::from(locator.stored_bytes));
        }
        Ok(is_new.then_some(locator.sequence))
    }

    /// A chunk that the index lacks is damage. It is counted, and what lies where
    /// the hint says is kept, so that a repair of the index may find it again.
    fn segments(&mut self, segments: &[Segment]) -> Result<(), RepositoryError> {
        for segment in segments {
            let Segment::Chunk { id, hint, .. } = segment else { continue };
            let found = self.locate_chunk(id)?;
            self.marked.missing_chunks += u64::from(found.is_none());
            if let Some(sequence) = found.or(*hint) {
                self.marked.chunks.insert(sequence);
            }
        }
        Ok(())
    }

    fn locate_chunk(&self, id: &ChunkId) -> Result<Option<u64>, RepositoryError> {
        let locator = self.repository.locate(ObjectKind::Chunk, id.as_bytes())?;
        Ok(locator.map(|locator| locator.sequence))
    }
}
