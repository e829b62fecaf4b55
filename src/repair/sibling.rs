//! Siblings of snapshots that lost something: the same snapshot without the files
//! whose content is lost and the directories whose trees are.
//!
//! A file is left out whole: what is in the sibling is what it was. What can
//! still be read of such a file is read in the damaged snapshot, which stays.

use crate::base::id::SnapshotId;
use crate::base::name::printable;
use crate::base::progress::Monitor;
use crate::base::sequences::SequenceSet;
use crate::dag::{
    Body, ChunkList, ChunkListRef, Counters, DirectoryBuilder, Entry, Kind, Manifest, Segment,
    Tree, TreeRef,
};
use crate::repair::index::Objects;
use crate::repair::{Hurt, RepairError, RepairReport, go_on};
use crate::repository::{ObjectKind, Session, Writer};

/// Paths that are named of one snapshot; the rest is counted.
const PATHS_MAX: usize = 1000;

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
        let before = self.left_out_count;
        let mut builder = DirectoryBuilder::new();
        self.page(path, tree, &mut builder)?;
        if self.left_out_count == before {
            self.whole.insert(place);
            return Ok(Some(*tree));
        }
        let session = &mut self.session;
        Ok(Some(builder.finish(&mut |record| session.put_tree(record))?))
    }

    /// Takes over what is left of a page.
    fn page(
        &mut self,
        path: &mut Vec<u8>,
        tree: &TreeRef,
        builder: &mut DirectoryBuilder,
    ) -> Result<(), RepairError> {
        let id = tree.id.as_bytes();
        let Some(place) = self.objects.place(self.writer, ObjectKind::Tree, id)? else {
            self.lost_trees = true;
            self.leave_out(path);
            return Ok(());
        };
        match self.writer.tree_by_id(&tree.id, Some(place))? {
            Tree::Leaf(entries) => {
                entries.into_iter().try_for_each(|entry| self.entry(path, entry, builder))
            }
            Tree::Index { branches, .. } => {
                branches.iter().try_for_each(|branch| self.page(path, &branch.tree, builder))
            }
        }
    }

    fn entry(
        &mut self,
        path: &mut Vec<u8>,
        mut entry: Entry,
        builder: &mut DirectoryBuilder,
    ) -> Result<(), RepairError> {
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
            builder.push(entry, &mut |record| session.put_tree(record))?;
        }
        Ok(())
    }

    /// Whether all content of a file is there.
    fn body(&mut self, body: &Body) -> Result<bool, RepairError> {
        match body {
            Body::Inline(_) => Ok(true),
            Body::Segments(segments) => self.segments(segments),
            Body::List(list) => self.list(list),
        }
    }

    fn list(&mut self, list: &ChunkListRef) -> Result<bool, RepairError> {
        let id = list.id.as_bytes();
        let Some(place) = self.objects.place(self.writer, ObjectKind::ChunkList, id)? else {
            return Ok(false);
        };
        if self.whole.contains(place) {
            return Ok(true);
        }
        let found = ChunkListRef { hint: Some(place), ..*list };
        let is_whole = match self.writer.chunk_list(&found)? {
            ChunkList::Leaf(segments) => self.segments(&segments)?,
            ChunkList::Index { pages, .. } => {
                let mut all = true;
                for page in &pages {
                    all = all && self.list(page)?;
                }
                all
            }
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
        self.left_out_count += 1;
        if self.left_out.len() < PATHS_MAX {
            self.left_out.push(if path.is_empty() { b"/".to_vec() } else { path.to_vec() });
        }
    }
}
