//! Walking every tree that a snapshot reaches, each one once, children before
//! parents: whether it can be read, whether it adds up, and whether anything
//! below it is damaged.

use std::collections::HashSet;

use crate::base::id::SnapshotId;
use crate::base::limits::TREE_DEPTH_MAX;
use crate::base::progress::Monitor;
use crate::base::sequences::SequenceSet;
use crate::check::findings::{Findings, Subject};
use crate::check::index::confirm;
use crate::check::{CheckError, go_on};
use crate::dag::{Body, ChunkList, ChunkListRef, Kind, Manifest, Segment, Totals, Tree, TreeRef};
use crate::repository::{ObjectKind, Repository};

/// Objects between two looks at whether the work was cancelled.
const CANCEL_INTERVAL: u64 = 256;

/// What was walked, by sequence number.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    /// Trees and pages of chunk lists that were looked at.
    pub(crate) visited: SequenceSet,
    /// Those of them that are damaged or have something damaged below.
    pub(crate) hurt: SequenceSet,
    /// The same for those that lie nowhere.
    pub(crate) lost: HashSet<[u8; 32]>,
    pub(crate) damaged_snapshots: Vec<SnapshotId>,
}

impl Walked {
    /// Whether anything at or below an object is damaged.
    pub(crate) fn is_hurt(&self, id: &[u8; 32], place: Option<u64>) -> bool {
        self.lost.contains(id) || place.is_some_and(|place| self.hurt.contains(place))
    }
}

/// Walks all snapshots.
pub(crate) fn walk(
    repository: &Repository,
    snapshots: &[(SnapshotId, Manifest)],
    findings: &mut Findings,
    monitor: &dyn Monitor,
) -> Result<Walked, CheckError> {
    let walked = Walked::default();
    let mut walker = Walker { repository, findings, monitor, walked, stack: Vec::new(), steps: 0 };
    for (id, manifest) in snapshots {
        let Some(root) = manifest.tree() else { continue };
        let is_hurt = walker.run(root)?;
        let (counters, totals) = (manifest.counters, root.totals);
        let counted = (counters.files, counters.dirs, counters.bytes);
        if counted != (totals.files, totals.directories, totals.bytes) {
            let detail = "its counters are not those of its tree";
            walker.findings.add(Subject::Snapshot(id.to_string()), detail);
        }
        if is_hurt {
            walker.walked.damaged_snapshots.push(*id);
        }
    }
    Ok(walker.walked)
}

/// An object that is to be looked at, and what its parent says of it.
#[derive(Clone, Debug)]
enum Child {
    /// With its level, if it is a page of a directory.
    Tree(TreeRef, Option<u8>),
    List(ChunkListRef, Option<u8>),
}

/// An object whose children are being looked at.
struct Frame {
    id: [u8; 32],
    place: Option<u64>,
    /// Directories from the root down to it.
    depth: usize,
    children: Vec<Child>,
    is_hurt: bool,
}

struct Walker<'a> {
    repository: &'a Repository,
    findings: &'a mut Findings,
    monitor: &'a dyn Monitor,
    walked: Walked,
    stack: Vec<Frame>,
    steps: u64,
}

impl Walker<'_> {
    /// Walks the tree at `root`, and returns whether anything in it is damaged.
    fn run(&mut self, root: &TreeRef) -> Result<bool, CheckError> {
        self.stack.clear();
        let mut is_hurt = self.enter(Child::Tree(*root, None))?;
        while let Some(frame) = self.stack.last_mut() {
            if let Some(child) = frame.children.pop() {
                let hurt = self.enter(child)?;
                if let Some(frame) = self.stack.last_mut().filter(|_| hurt == Some(true)) {
                    frame.is_hurt = true;
                }
                continue;
            }
            let Some(frame) = self.stack.pop() else { break };
            if frame.is_hurt {
                match frame.place {
                    Some(place) => drop(self.walked.hurt.insert(place)),
                    None => drop(self.walked.lost.insert(frame.id)),
                }
            }
            match self.stack.last_mut() {
                Some(parent) => parent.is_hurt |= frame.is_hurt,
                None => is_hurt = Some(frame.is_hurt),
            }
        }
        Ok(is_hurt.unwrap_or(false))
    }

    /// Looks at an object. Returns whether it is hurt, or nothing if that shows
    /// when its children, now on the stack, were looked at.
    fn enter(&mut self, child: Child) -> Result<Option<bool>, CheckError> {
        self.steps += 1;
        if self.steps.is_multiple_of(CANCEL_INTERVAL) {
            go_on(self.monitor)?;
        }
        let (kind, id, hint) = match &child {
            Child::Tree(tree, _) => (ObjectKind::Tree, *tree.id.as_bytes(), tree.hint),
            Child::List(list, _) => (ObjectKind::ChunkList, *list.id.as_bytes(), list.hint),
        };
        let mut place = self.place(kind, &id)?;
        if place.is_none() && !confirm(self.repository, kind, &id, self.findings)? {
            // It came since, by a `create` beside this.
            place = self.place(kind, &id)?;
        }
        if self.walked.lost.contains(&id) {
            return Ok(Some(true));
        }
        if let Some(place) = place.filter(|place| !self.walked.visited.insert(*place)) {
            return Ok(Some(self.walked.hurt.contains(place)));
        }
        let above = self.stack.last().map_or(0, |frame| frame.depth);
        let depth = above + usize::from(matches!(child, Child::Tree(_, None)));
        let mut frame = Frame { id, place, depth, children: Vec::new(), is_hurt: false };
        // An object that only a hint leads to is there, but no longer for `create`.
        frame.is_hurt = self.findings.contains(&Subject::Object(kind, id));
        let hint = place.or(hint);
        let read = match &child {
            Child::Tree(tree, level) => self.tree(&TreeRef { hint, ..*tree }, *level, &mut frame),
            Child::List(list, level) => {
                self.list(&ChunkListRef { hint, ..*list }, *level, &mut frame)
            }
        };
        if let Err(error) = read {
            match error {
                CheckError::Repository(error) if error.is_loss() => {
                    self.findings.add(Subject::Object(kind, id), error.detail());
                    frame.is_hurt = true;
                }
                error => return Err(error),
            }
        }
        if frame.place.is_none() {
            let detail = "it is missing from the index";
            self.findings.add(Subject::Object(kind, id), detail);
            frame.is_hurt = true;
        }
        if depth > TREE_DEPTH_MAX {
            self.refuse(&mut frame, kind, "its directory is deeper than any source can be");
            frame.children.clear();
        }
        self.monitor.advance(1, 0);
        self.stack.push(frame);
        Ok(None)
    }

    /// Where the index says that an object lies.
    fn place(&self, kind: ObjectKind, id: &[u8; 32]) -> Result<Option<u64>, CheckError> {
        match self.repository.locate(kind, id) {
            Ok(locator) => Ok(locator.map(|locator| locator.sequence)),
            Err(error) if error.is_loss() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn tree(
        &mut self,
        tree: &TreeRef,
        level: Option<u8>,
        frame: &mut Frame,
    ) -> Result<(), CheckError> {
        let (mut totals, mut own_level) = (Totals::default(), 0);
        match self.repository.tree(tree)? {
            Tree::Leaf(entries) => {
                for entry in entries {
                    totals.add_entry(&entry.node);
                    match entry.node.kind {
                        Kind::Directory(tree) => frame.children.push(Child::Tree(tree, None)),
                        Kind::File(content) => self.body(&content.body, frame)?,
                        _ => {}
                    }
                }
            }
            Tree::Index { level, branches } => {
                own_level = level;
                for branch in branches {
                    totals.add_page(&branch.tree.totals);
                    frame.children.push(Child::Tree(branch.tree, Some(level - 1)));
                }
            }
        }
        // Read in the order in which they lie.
        frame.children.reverse();
        if totals != tree.totals {
            self.refuse(frame, ObjectKind::Tree, "it does not add up to what its parent says");
        }
        if level.is_some_and(|level| level != own_level) {
            self.refuse(frame, ObjectKind::Tree, "it is a page of another level than it should be");
            frame.children.clear();
        }
        Ok(())
    }

    fn list(
        &mut self,
        list: &ChunkListRef,
        level: Option<u8>,
        frame: &mut Frame,
    ) -> Result<(), CheckError> {
        let mut own_level = 0;
        match self.repository.chunk_list(list)? {
            ChunkList::Leaf(segments) => self.segments(&segments, frame)?,
            ChunkList::Index { level, pages } => {
                own_level = level;
                let child = |page| Child::List(page, Some(level - 1));
                frame.children.extend(pages.into_iter().rev().map(child));
            }
        }
        if level.is_some_and(|level| level != own_level) {
            let detail = "it is a page of another level than it should be";
            self.refuse(frame, ObjectKind::ChunkList, detail);
            frame.children.clear();
        }
        Ok(())
    }

    fn refuse(&mut self, frame: &mut Frame, kind: ObjectKind, detail: &str) {
        self.findings.add(Subject::Object(kind, frame.id), detail);
        frame.is_hurt = true;
    }

    fn body(&mut self, body: &Body, frame: &mut Frame) -> Result<(), CheckError> {
        match body {
            Body::Inline(_) => Ok(()),
            Body::Segments(segments) => self.segments(segments, frame),
            Body::List(list) => {
                frame.children.push(Child::List(*list, None));
                Ok(())
            }
        }
    }

    fn segments(&mut self, segments: &[Segment], frame: &mut Frame) -> Result<(), CheckError> {
        for segment in segments {
            let Segment::Chunk { id, bytes, .. } = segment else { continue };
            let kind = ObjectKind::Chunk;
            let subject = Subject::Object(kind, *id.as_bytes());
            if !self.findings.contains(&subject) {
                match self.repository.locate(kind, id.as_bytes()) {
                    Ok(Some(locator)) if locator.plain_bytes == *bytes => continue,
                    Ok(Some(_)) => self.findings.add(subject, "its length in the index is wrong"),
                    Ok(None) if confirm(self.repository, kind, id.as_bytes(), self.findings)? => {}
                    Ok(None) => continue,
                    Err(error) if error.is_loss() => {
                        self.findings.add(subject, error.detail());
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            frame.is_hurt = true;
        }
        Ok(())
    }
}
