//! From what is damaged to the files that are hurt by it: only trees with damage
//! below them are walked again for each snapshot.
//!
//! A tree may be named by more paths than anybody can count, so each is walked for
//! some of them only, and each object is named with as many.

use std::collections::HashMap;

use crate::base::id::SnapshotId;
use crate::base::limits::TREE_DEPTH_MAX;
use crate::base::progress::Monitor;
use crate::check::findings::{Findings, Subject};
use crate::check::walk::Walked;
use crate::check::{CheckError, go_on};
use crate::dag::{
    Body, Branch, ChunkList, ChunkListRef, Entry, Kind, Manifest, Segment, Tree, TreeRef,
};
use crate::repository::{ObjectKind, Repository};

/// Paths of one tree or chunk list, in one snapshot, that are followed.
const PATHS_FOLLOWED: u16 = 1000;
/// Trees and chunk lists that are looked into in one snapshot more than once.
const REPEATS_MAX: u64 = 100_000;

/// Names the files of all snapshots that damage hurts.
pub(crate) fn trace(
    repository: &Repository,
    snapshots: &[(SnapshotId, Manifest)],
    walked: &Walked,
    findings: &mut Findings,
    monitor: &dyn Monitor,
) -> Result<(), CheckError> {
    for (snapshot, manifest) in snapshots {
        let Some(root) = manifest.tree() else { continue };
        let (snapshot, followed, repeats) = (*snapshot, HashMap::new(), 0);
        let mut tracer =
            Tracer { repository, walked, findings, monitor, snapshot, followed, repeats };
        let mut work = vec![Place { path: Vec::new(), depth: 0, tree: *root }];
        while let Some(place) = work.pop() {
            go_on(tracer.monitor)?;
            tracer.tree(&place, &mut work)?;
        }
    }
    Ok(())
}

/// A directory, or a page of one, that is to be looked into.
struct Place {
    path: Vec<u8>,
    depth: usize,
    tree: TreeRef,
}

struct Tracer<'a> {
    repository: &'a Repository,
    walked: &'a Walked,
    findings: &'a mut Findings,
    monitor: &'a dyn Monitor,
    snapshot: SnapshotId,
    /// How often each damaged object was looked into.
    followed: HashMap<[u8; 32], u16>,
    repeats: u64,
}

impl Tracer<'_> {
    fn tree(&mut self, place: &Place, work: &mut Vec<Place>) -> Result<(), CheckError> {
        let Place { path, depth, tree } = place;
        let id = tree.id.as_bytes();
        if !self.is_hurt(ObjectKind::Tree, id)? || !self.follow(id) {
            return Ok(());
        }
        self.note(ObjectKind::Tree, id, if path.is_empty() { b"/" } else { path });
        // What cannot be read was noted by the walk.
        match self.repository.tree(tree) {
            Ok(Tree::Leaf(entries)) => {
                for entry in entries.iter().rev() {
                    self.entry(place, entry, work)?;
                }
            }
            Ok(Tree::Index { branches, .. }) => {
                let page = |branch: &Branch| Place {
                    path: path.clone(),
                    depth: *depth,
                    tree: branch.tree,
                };
                let pages = branches.iter().rev().map(page);
                work.extend(pages);
            }
            Err(error) if error.is_loss() => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn entry(
        &mut self,
        directory: &Place,
        entry: &Entry,
        work: &mut Vec<Place>,
    ) -> Result<(), CheckError> {
        let path = || [directory.path.as_slice(), b"/", entry.name.as_bytes()].concat();
        let depth = directory.depth + 1;
        match &entry.node.kind {
            // What is deeper is damage, which the walk has found.
            Kind::Directory(_) if depth > TREE_DEPTH_MAX => {}
            Kind::Directory(tree) => work.push(Place { path: path(), depth, tree: *tree }),
            Kind::File(content) => match &content.body {
                Body::Inline(_) => {}
                Body::Segments(segments) => self.segments(segments, &path),
                Body::List(list) => self.list(*list, &path())?,
            },
            _ => {}
        }
        Ok(())
    }

    fn list(&mut self, list: ChunkListRef, path: &[u8]) -> Result<(), CheckError> {
        let mut work = vec![list];
        while let Some(list) = work.pop() {
            let id = list.id.as_bytes();
            go_on(self.monitor)?;
            if !self.is_hurt(ObjectKind::ChunkList, id)? || !self.follow(id) {
                continue;
            }
            self.note(ObjectKind::ChunkList, id, path);
            match self.repository.chunk_list(&list) {
                Ok(ChunkList::Leaf(segments)) => self.segments(&segments, &|| path.to_vec()),
                Ok(ChunkList::Index { pages, .. }) => work.extend(pages),
                Err(error) if error.is_loss() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn segments(&mut self, segments: &[Segment], path: &dyn Fn() -> Vec<u8>) {
        for segment in segments {
            let Segment::Chunk { id, .. } = segment else { continue };
            if self.findings.contains(&Subject::Object(ObjectKind::Chunk, *id.as_bytes())) {
                self.note(ObjectKind::Chunk, id.as_bytes(), &path());
            }
        }
    }

    /// Counts a path to an object, and tells whether to look into it once more.
    fn follow(&mut self, id: &[u8; 32]) -> bool {
        let count = self.followed.entry(*id).or_default();
        *count = count.saturating_add(1);
        let is_repeat = *count > 1;
        self.repeats += u64::from(is_repeat);
        !is_repeat || (*count <= PATHS_FOLLOWED && self.repeats <= REPEATS_MAX)
    }

    fn note(&mut self, kind: ObjectKind, id: &[u8; 32], path: &[u8]) {
        self.findings.add_file(&Subject::Object(kind, *id), path, self.snapshot);
    }

    fn is_hurt(&self, kind: ObjectKind, id: &[u8; 32]) -> Result<bool, CheckError> {
        match self.repository.locate(kind, id) {
            Ok(locator) => Ok(self.walked.is_hurt(id, locator.map(|locator| locator.sequence))),
            Err(error) if error.is_loss() => Ok(self.walked.is_hurt(id, None)),
            Err(error) => Err(error.into()),
        }
    }
}
