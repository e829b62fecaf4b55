//! Siblings of snapshots that lost something: the same snapshot without the files
//! whose content is lost and the directories whose trees are.
//!
//! A file is left out whole: what is in the sibling is what it was. What can
//! still be read of such a file is read in the damaged snapshot, which stays.
//!
//! A damaged directory may be named by more paths than anybody can count: it is
//! looked into for some of them, and for the others it is what it was before.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::thread;

use crate::base::id::SnapshotId;
use crate::base::limits::TREE_DEPTH_MAX;
use crate::base::name::{EntryName, printable};
use crate::base::progress::Monitor;
use crate::base::sequences::SequenceSet;
use crate::dag::{
    Body, Branch, ChunkList, ChunkListRef, Counters, DirectoryBuilder, Entry, Kind, Manifest,
    Segment, Tree, TreeRef,
};
use crate::repair::index::Objects;
use crate::repair::{Hurt, RepairError, RepairReport, go_on};
use crate::repository::{ObjectKind, RepositoryError, Session, Writer};

/// Paths that are named of one snapshot; the rest is counted.
const PATHS_MAX: usize = 1000;
/// Bytes of stack for directories of [`TREE_DEPTH_MAX`] levels (measured: 1.5 KiB each).
const STACK_BYTES: usize = 64 << 20;
/// Paths to one damaged directory for which it is looked into.
const VISITS_MAX: u32 = 100;

/// Makes a sibling of each snapshot, or of each of `only`, that cannot be read
/// whole. Returns whether trees are lost: what they named is then named by
/// nothing.
pub(crate) fn make(
    writer: &Writer,
    objects: &Objects,
    only: Option<&[SnapshotId]>,
    dry_run: bool,
    report: &mut RepairReport,
    monitor: &dyn Monitor,
) -> Result<bool, RepairError> {
    let work = || make_all(writer, objects, only, dry_run, report, monitor);
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        let thread = thread.map_err(RepositoryError::io("start a thread for", writer.path()))?;
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn make_all(
    writer: &Writer,
    objects: &Objects,
    only: Option<&[SnapshotId]>,
    dry_run: bool,
    report: &mut RepairReport,
    monitor: &dyn Monitor,
) -> Result<bool, RepairError> {
    let mut whole = SequenceSet::default();
    let mut lost_trees = false;
    let mut snapshots = writer.catalog()?.snapshots;
    snapshots.retain(|(id, _)| only.is_none_or(|only| only.contains(id)));
    for (id, manifest) in snapshots {
        let Some(root) = manifest.tree().copied() else { continue };
        let session = if dry_run { writer.begin_dry_run()? } else { writer.begin()? };
        let mut maker = Maker {
            writer,
            objects,
            monitor,
            whole: &mut whole,
            session,
            left_out: Vec::new(),
            left_out_count: 0,
            lost_trees: false,
            remains: HashMap::new(),
            depth: 0,
        };
        let remains = maker.directory(&mut Vec::new(), &root)?;
        lost_trees |= maker.lost_trees;
        if maker.left_out_count == 0 {
            continue;
        }
        let Maker { session, left_out, left_out_count, .. } = maker;
        let mut hurt = Hurt { snapshot: id, sibling: None, left_out, left_out_count };
        if let Some(root) = remains.filter(|_| !dry_run) {
            let manifest = sibling(&id, &manifest, root, &hurt);
            let sibling = writer.ids().snapshot(&manifest.encode().canonical);
            hurt.sibling = Some(sibling);
            if !writer.exists(&sibling)? {
                session.commit(&manifest)?;
            }
        }
        report.hurt.push(hurt);
    }
    Ok(lost_trees)
}

/// The manifest of a sibling. It depends on nothing but what is left, so that a
/// second repair makes no second one.
fn sibling(id: &SnapshotId, original: &Manifest, root: TreeRef, hurt: &Hurt) -> Manifest {
    let mut manifest = original.clone();
    let note = format!("Repaired copy of {}: {} left out", id.short(), hurt.left_out_count);
    manifest.description = match original.description.as_str() {
        "" => note,
        text => format!("{text} ({note})"),
    };
    manifest.parent = Some(*id);
    manifest.time = original.time_of_repaired_copy();
    let totals = root.totals;
    manifest.counters = Counters {
        files: totals.files,
        dirs: totals.directories,
        bytes: totals.bytes,
        added_bytes: 0,
        stored_bytes: 0,
        errors: original.counters.errors.saturating_add(hurt.left_out_count),
    };
    let lost = |path: &Vec<u8>| {
        let mut text = printable(path);
        while text.len() > MESSAGE_BYTES {
            text.pop();
        }
        format!("Lost by damage: {text}")
    };
    manifest.errors.extend(hurt.left_out.iter().map(lost));
    manifest.errors.truncate(crate::base::limits::MANIFEST_LIST_MAX);
    manifest.root.kind = Kind::Directory(root);
    manifest
}

/// Bytes of a path in a message of a manifest.
const MESSAGE_BYTES: usize = 4096;

struct Maker<'a> {
    writer: &'a Writer,
    objects: &'a Objects,
    monitor: &'a dyn Monitor,
    /// Trees and lists below which nothing is lost.
    whole: &'a mut SequenceSet,
    session: Session<'a>,
    left_out: Vec<Vec<u8>>,
    left_out_count: u64,
    lost_trees: bool,
    /// What is left of damaged directories, by where they lie.
    remains: HashMap<u64, Remains>,
    /// Directories on the way down.
    depth: usize,
}

/// What is left of a damaged directory.
#[derive(Clone, Copy, Debug)]
struct Remains {
    tree: TreeRef,
    left_out: u64,
    visits: u32,
}

/// What an index page says of a page below it.
struct Expected<'a> {
    level: u8,
    last: &'a EntryName,
}

/// A directory that is made anew.
#[derive(Default)]
struct Remade {
    builder: DirectoryBuilder,
    /// The last name that was taken over, or would have been.
    last: Option<EntryName>,
}

impl Maker<'_> {
    /// Returns a directory without what is lost, or nothing if it is lost itself.
    /// `path` is its path, and is the same afterwards.
    fn directory(
        &mut self,
        path: &mut Vec<u8>,
        tree: &TreeRef,
    ) -> Result<Option<TreeRef>, RepairError> {
        go_on(self.monitor)?;
        self.monitor.advance(1, 0);
        let id = tree.id.as_bytes();
        let Some(place) = self.objects.place(self.writer, ObjectKind::Tree, id)? else {
            self.lost_trees = true;
            self.leave_out(path);
            return Ok(None);
        };
        if self.whole.contains(place) {
            return Ok(Some(*tree));
        }
        if let Some(remains) = self.remains.get(&place).filter(|it| it.visits >= VISITS_MAX) {
            self.left_out_count = self.left_out_count.saturating_add(remains.left_out);
            return Ok(Some(remains.tree));
        }
        if self.depth >= TREE_DEPTH_MAX {
            self.leave_out(path);
            return Ok(None);
        }
        let before = self.left_out_count;
        let mut remade = Remade::default();
        self.depth += 1;
        self.page(path, tree, None, &mut remade)?;
        self.depth -= 1;
        if self.left_out_count == before {
            self.whole.insert(place);
            return Ok(Some(*tree));
        }
        let session = &mut self.session;
        let tree = remade.builder.finish(&mut |record| session.put_tree(record))?;
        let left_out = self.left_out_count - before;
        let visits = self.remains.get(&place).map_or(1, |remains| remains.visits + 1);
        self.remains.insert(place, Remains { tree, left_out, visits });
        Ok(Some(tree))
    }

    /// Takes over what is left of a page.
    fn page(
        &mut self,
        path: &mut Vec<u8>,
        tree: &TreeRef,
        expected: Option<Expected<'_>>,
        remade: &mut Remade,
    ) -> Result<(), RepairError> {
        let id = tree.id.as_bytes();
        let Some(place) = self.objects.place(self.writer, ObjectKind::Tree, id)? else {
            self.lost_trees = true;
            self.leave_out(path);
            return Ok(());
        };
        let page = self.writer.tree_by_id(&tree.id, Some(place))?;
        if expected.is_some_and(|expected| !expected.fits(&page, remade.last.as_ref())) {
            self.leave_out(path);
            return Ok(());
        }
        match page {
            Tree::Leaf(entries) => {
                entries.into_iter().try_for_each(|entry| self.entry(path, entry, remade))
            }
            Tree::Index { level, branches } => branches.iter().try_for_each(|branch| {
                let expected = Expected { level: level - 1, last: &branch.last };
                self.page(path, &branch.tree, Some(expected), remade)
            }),
        }
    }

    fn entry(
        &mut self,
        path: &mut Vec<u8>,
        mut entry: Entry,
        remade: &mut Remade,
    ) -> Result<(), RepairError> {
        remade.last = Some(entry.name.clone());
        let length = path.len();
        path.push(b'/');
        path.extend_from_slice(entry.name.as_bytes());
        let stays = match &mut entry.node.kind {
            Kind::Directory(tree) => match self.directory(path, tree)? {
                Some(left) => {
                    *tree = left;
                    true
                }
                None => false,
            },
            Kind::File(content) => {
                let stays = self.body(&content.body)?;
                if !stays {
                    self.leave_out(path);
                }
                stays
            }
            _ => true,
        };
        path.truncate(length);
        if stays {
            let session = &mut self.session;
            remade.builder.push(entry, &mut |record| session.put_tree(record))?;
        }
        Ok(())
    }

    /// Whether all content of a file is there.
    fn body(&mut self, body: &Body) -> Result<bool, RepairError> {
        match body {
            Body::Inline(_) => Ok(true),
            Body::Segments(segments) => self.segments(segments),
            Body::List(list) => self.list(list, None),
        }
    }

    fn list(&mut self, list: &ChunkListRef, level: Option<u8>) -> Result<bool, RepairError> {
        let id = list.id.as_bytes();
        let Some(place) = self.objects.place(self.writer, ObjectKind::ChunkList, id)? else {
            return Ok(false);
        };
        if self.whole.contains(place) {
            return Ok(true);
        }
        let found = ChunkListRef { hint: Some(place), ..*list };
        let is_whole = match self.writer.chunk_list(&found)? {
            ChunkList::Leaf(segments) if level.is_none_or(|level| level == 0) => {
                self.segments(&segments)?
            }
            ChunkList::Index { level: own, pages } if level.is_none_or(|level| level == own) => {
                let mut all = true;
                for page in &pages {
                    all = all && self.list(page, Some(own - 1))?;
                }
                all
            }
            _ => false,
        };
        if is_whole {
            self.whole.insert(place);
        }
        Ok(is_whole)
    }

    fn segments(&self, segments: &[Segment]) -> Result<bool, RepairError> {
        for segment in segments {
            let Segment::Chunk { id, .. } = segment else { continue };
            if !self.objects.has(self.writer, ObjectKind::Chunk, id.as_bytes())? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn leave_out(&mut self, path: &[u8]) {
        self.left_out_count = self.left_out_count.saturating_add(1);
        if self.left_out.len() < PATHS_MAX {
            self.left_out.push(if path.is_empty() { b"/".to_vec() } else { path.to_vec() });
        }
    }
}

impl Expected<'_> {
    /// Whether a page is what the page above it says, and comes behind `before`:
    /// else the same pages could come again and again.
    fn fits(&self, page: &Tree, before: Option<&EntryName>) -> bool {
        let (level, first, last) = match page {
            Tree::Leaf(entries) => (
                0,
                entries.first().map(|entry: &Entry| &entry.name),
                entries.last().map(|entry| &entry.name),
            ),
            Tree::Index { level, branches } => {
                let last = branches.last().map(|branch: &Branch| &branch.last);
                (*level, branches.first().map(|branch| &branch.last), last)
            }
        };
        level == self.level && last == Some(self.last) && before < first
    }
}
