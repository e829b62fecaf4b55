//! From what is damaged to the files that are hurt by it: only trees with damage
//! below them are walked again, once for each snapshot.

use crate::base::id::SnapshotId;
use crate::base::progress::Monitor;
use crate::check::findings::{Findings, Subject};
use crate::check::walk::Walked;
use crate::check::{CheckError, go_on};
use crate::dag::{Body, ChunkList, ChunkListRef, Entry, Kind, Manifest, Segment, Tree, TreeRef};
use crate::repository::{ObjectKind, Repository};

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
        let mut tracer = Tracer { repository, walked, findings, monitor, snapshot: *snapshot };
        let mut work = vec![(Vec::new(), *root)];
        while let Some((path, tree)) = work.pop() {
            go_on(tracer.monitor)?;
            tracer.tree(&path, &tree, &mut work)?;
        }
    }
    Ok(())
}

struct Tracer<'a> {
    repository: &'a Repository,
    walked: &'a Walked,
    findings: &'a mut Findings,
    monitor: &'a dyn Monitor,
    snapshot: SnapshotId,
}

impl Tracer<'_> {
    fn tree(
        &mut self,
        path: &[u8],
        tree: &TreeRef,
        work: &mut Vec<(Vec<u8>, TreeRef)>,
    ) -> Result<(), CheckError> {
        let id = tree.id.as_bytes();
        if !self.is_hurt(ObjectKind::Tree, id)? {
            return Ok(());
        }
        self.note(ObjectKind::Tree, id, if path.is_empty() { b"/" } else { path });
        // What cannot be read was noted by the walk.
        match self.repository.tree(tree) {
            Ok(Tree::Leaf(entries)) => {
                for entry in entries.iter().rev() {
                    self.entry(path, entry, work)?;
                }
            }
            Ok(Tree::Index { branches, .. }) => {
                let pages = branches.iter().rev().map(|branch| (path.to_vec(), branch.tree));
                work.extend(pages);
            }
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn entry(
        &mut self,
        directory: &[u8],
        entry: &Entry,
        work: &mut Vec<(Vec<u8>, TreeRef)>,
    ) -> Result<(), CheckError> {
        let path = || [directory, b"/", entry.name.as_bytes()].concat();
        match &entry.node.kind {
            Kind::Directory(tree) => work.push((path(), *tree)),
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
            if !self.is_hurt(ObjectKind::ChunkList, id)? {
                continue;
            }
            self.note(ObjectKind::ChunkList, id, path);
            match self.repository.chunk_list(&list) {
                Ok(ChunkList::Leaf(segments)) => self.segments(&segments, &|| path.to_vec()),
                Ok(ChunkList::Index { pages, .. }) => work.extend(pages),
                Err(error) if error.is_damage() => {}
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

    fn note(&mut self, kind: ObjectKind, id: &[u8; 32], path: &[u8]) {
        self.findings.add_file(&Subject::Object(kind, *id), path, self.snapshot);
    }

    fn is_hurt(&self, kind: ObjectKind, id: &[u8; 32]) -> Result<bool, CheckError> {
        match self.repository.locate(kind, id) {
            Ok(locator) => Ok(self.walked.is_hurt(id, locator.map(|locator| locator.sequence))),
            Err(error) if error.is_damage() => Ok(self.walked.is_hurt(id, None)),
            Err(error) => Err(error.into()),
        }
    }
}
