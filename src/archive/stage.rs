//! Making a tree in the repository of what an archive holds. Until the snapshot
//! is committed it is garbage like that of a run that was cut short.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::archive::entry::{Found, FoundKind};
use crate::archive::error::ArchiveError;
use crate::archive::names;
use crate::archive::unpack::Target;
use crate::base::hash::{StreamHash, sha256};
use crate::base::id::TreeId;
use crate::base::limits::{INLINE_CONTENT_BYTES_MAX, LABEL_BYTES_MAX};
use crate::base::name::{EntryName, shown};
use crate::chunking::Chunker;
use crate::compression::Compression;
use crate::dag::{
    Body, ChunkListBuilder, Content, DirectoryBuilder, Entry, Kind, LinkGroup, Node, Owner,
    Segment, Totals, TreeRef, Xattr,
};
use crate::repository::{Repository, RepositoryError, Session};

/// Owners that are known at once: entries share them.
const OWNERS_MAX: usize = 1 << 16;
/// Bytes of the pages of all directories that are open at once, at most.
const OPEN_PAGES_BYTES_MAX: usize = 128 << 20;

/// Stores what an archive holds.
pub(super) struct Stage<'a, 'session> {
    repository: &'a Repository,
    session: &'a mut Session<'session>,
    chunker: Chunker,
    compression: Compression,
    owners: HashSet<Arc<Owner>>,
    file: Option<StagedFile>,
    trees: Trees,
    /// All entries of an archive that is in no order. The keys are paths with NULs
    /// for slashes, whose order is that of a walk.
    entries: Option<BTreeMap<Box<[u8]>, Staged>>,
    /// The files that have more links, in our order, by the short digest of the path.
    linked: HashMap<[u8; 16], Staged>,
    /// The groups of hard links, and how many links each has here.
    groups: HashMap<[u8; 16], u32>,
}

/// A node, whose attributes others may have too: it has none itself until it goes
/// into its directory.
#[derive(Clone)]
struct Staged {
    node: Node,
    xattrs: Arc<[Xattr]>,
}

impl Staged {
    fn into_node(self) -> Node {
        Node { xattrs: self.xattrs.to_vec(), ..self.node }
    }
}

/// A file that is being stored.
struct StagedFile {
    path: Vec<u8>,
    staged: Staged,
    buffer: Vec<u8>,
    segments: ChunkListBuilder,
    hash: StreamHash,
    size: u64,
    chunks: u64,
    has_holes: bool,
    is_inline: bool,
}

impl<'a, 'session> Stage<'a, 'session> {
    pub(super) fn new(
        repository: &'a Repository,
        session: &'a mut Session<'session>,
        compression: Compression,
    ) -> Self {
        Self {
            repository,
            session,
            chunker: repository.chunker(),
            compression,
            owners: HashSet::new(),
            file: None,
            trees: Trees::default(),
            entries: None,
            linked: HashMap::new(),
            groups: HashMap::new(),
        }
    }

    /// Stores what is left and returns the root.
    pub(super) fn finish(mut self) -> Result<Node, ArchiveError> {
        for (key, mut staged) in self.entries.take().unwrap_or_default() {
            if let Some(links) = &mut staged.node.links {
                links.count = self.groups.get(&links.group).copied().unwrap_or(1);
            }
            let path: Vec<u8> =
                key.iter().map(|byte| if *byte == 0 { b'/' } else { *byte }).collect();
            self.trees.put(self.session, &path, staged)?;
        }
        self.trees.finish(self.session)
    }

    fn staged(&mut self, found: &Found, kind: Kind) -> Staged {
        let label = |name: &[u8]| match std::str::from_utf8(name) {
            Ok(name) if name.len() <= LABEL_BYTES_MAX => name.into(),
            _ => "".into(),
        };
        let (uid, gid) = (found.uid, found.gid);
        let owner = Owner { uid, gid, user: label(&found.user), group: label(&found.group) };
        let owner = match self.owners.get(&owner) {
            Some(known) => known.clone(),
            None => {
                if self.owners.len() >= OWNERS_MAX {
                    self.owners.clear();
                }
                let owner = Arc::new(owner);
                self.owners.insert(owner.clone());
                owner
            }
        };
        let node = Node {
            kind,
            mode: found.mode,
            owner,
            mtime: found.mtime,
            atime: found.atime,
            changed_while_read: found.changed_while_read,
            links: self.links(found),
            xattrs: Vec::new(),
        };
        Staged { node, xattrs: found.xattrs.clone() }
    }

    /// The group that a file says it is of, unless another one said so before.
    fn links(&mut self, found: &Found) -> Option<LinkGroup> {
        // In no order, links are counted as they come.
        let links = found.links.filter(|_| self.entries.is_none())?;
        let group = free_group(&self.groups, links.group, &found.path);
        self.groups.insert(group, links.count);
        Some(LinkGroup { group, ..links })
    }

    fn put(&mut self, path: &[u8], staged: Staged) -> Result<(), ArchiveError> {
        match &mut self.entries {
            Some(entries) => {
                entries.insert(key(path), staged);
                Ok(())
            }
            None => {
                if staged.node.links.is_some() {
                    self.linked.insert(names::key(path), staged.clone());
                }
                self.trees.put(self.session, path, staged)
            }
        }
    }

    /// Another link of a file that came before.
    fn link(&mut self, path: &[u8], first: &[u8]) -> Result<(), ArchiveError> {
        let unknown = || ArchiveError::Internal("a link came before its file");
        let Some(entries) = &mut self.entries else {
            let staged = self.linked.get(&names::key(first)).cloned().ok_or_else(unknown)?;
            return self.trees.put(self.session, path, staged);
        };
        let staged = entries.get_mut(&key(first)).ok_or_else(unknown)?;
        let group = match staged.node.links {
            Some(links) => links.group,
            None => free_group(&self.groups, group_of(first), first),
        };
        let count = self.groups.entry(group).or_insert(1);
        *count = count.saturating_add(1);
        staged.node.links = Some(LinkGroup { count: *count, group });
        let staged = staged.clone();
        entries.insert(key(path), staged);
        Ok(())
    }

    /// Stores the chunks of the buffer that are whole, or all of it.
    fn cut(&mut self, at_end: bool) -> Result<(), ArchiveError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut rest = file.buffer.as_slice();
        while let Some(length) = self.chunker.cut(rest, at_end) {
            let (chunk, tail) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            let (prepared, _) = self.repository.prepare_chunk(chunk, self.compression)?;
            let segment = self.session.put_chunk(prepared)?;
            file.hash.update(chunk);
            file.chunks += 1;
            let session = &mut *self.session;
            file.segments.push(segment, &mut |record| session.put_list(record))?;
            rest = tail;
        }
        let kept = rest.len();
        file.buffer.drain(..file.buffer.len() - kept);
        Ok(())
    }
}

fn key(path: &[u8]) -> Box<[u8]> {
    path.iter().map(|byte| if *byte == b'/' { 0 } else { *byte }).collect()
}

fn group_of(name: &[u8]) -> [u8; 16] {
    let mut group = [0; 16];
    group.copy_from_slice(&sha256(name)[..16]);
    group
}

/// A group that nobody has yet: this one, or one named after the path.
fn free_group(taken: &HashMap<[u8; 16], u32>, mut group: [u8; 16], path: &[u8]) -> [u8; 16] {
    let mut name = path.to_vec();
    while taken.contains_key(&group) {
        group = group_of(&name);
        name.push(0);
    }
    group
}

impl Target for Stage<'_, '_> {
    fn begin(&mut self, is_ordered: bool) {
        self.entries = (!is_ordered).then(BTreeMap::new);
    }

    fn entry(&mut self, found: &Found) -> Result<(), ArchiveError> {
        let kind = match &found.kind {
            FoundKind::HardLink(first) => return self.link(&found.path, first),
            FoundKind::Symlink(target) => Kind::Symlink(target.as_slice().into()),
            FoundKind::Fifo => Kind::Fifo,
            FoundKind::CharDevice(device) => Kind::CharDevice(*device),
            FoundKind::BlockDevice(device) => Kind::BlockDevice(*device),
            // What is in a directory is known when it is left.
            FoundKind::Directory => {
                let (id, totals) = (TreeId::from_digest([0; 32]), Totals::default());
                Kind::Directory(TreeRef { id, hint: None, totals })
            }
            FoundKind::File { .. } => return Err(ArchiveError::Internal("a file has no content")),
        };
        let staged = self.staged(found, kind);
        self.put(&found.path, staged)
    }

    fn begin_file(&mut self, found: &Found) -> Result<(), ArchiveError> {
        let FoundKind::File { size, .. } = found.kind else {
            return Err(ArchiveError::Internal("what begins is no file"));
        };
        let staged = self.staged(found, Kind::File(Content::empty()));
        let is_small = size <= INLINE_CONTENT_BYTES_MAX as u64;
        self.file = Some(StagedFile {
            path: found.path.clone(),
            is_inline: is_small && (staged.node.links.is_none() || size == 0),
            staged,
            buffer: Vec::new(),
            segments: ChunkListBuilder::new(),
            hash: StreamHash::default(),
            size,
            chunks: 0,
            has_holes: false,
        });
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.buffer.extend_from_slice(bytes);
        if file.is_inline { Ok(()) } else { self.cut(false) }
    }

    fn hole(&mut self, bytes: u64) -> Result<(), ArchiveError> {
        if let Some(file) = self.file.as_mut().filter(|file| file.is_inline) {
            let room = file.buffer.len() + usize::try_from(bytes).unwrap_or(0);
            file.buffer.resize(room, 0);
            return Ok(());
        }
        self.cut(true)?;
        let Some(file) = &mut self.file else { return Ok(()) };
        file.has_holes = true;
        let session = &mut *self.session;
        let hole = Segment::Hole { bytes };
        Ok(file.segments.push(hole, &mut |record| session.put_list(record))?)
    }

    fn end_file(&mut self) -> Result<(), ArchiveError> {
        if self.file.as_ref().is_some_and(|file| !file.is_inline) {
            self.cut(true)?;
        }
        let Some(file) = self.file.take() else { return Ok(()) };
        let (body, sha256) = if file.is_inline {
            (Body::Inline(file.buffer.into()), None)
        } else {
            let session = &mut *self.session;
            let body = file.segments.finish(&mut |record| session.put_list(record))?;
            // The id of the only chunk is the hash of the file, unless ids are keyed.
            let is_told = file.chunks <= 1 && self.repository.ids().is_plain();
            let is_worth = !is_told && !file.has_holes;
            (body, is_worth.then(|| file.hash.finish()))
        };
        let content = Content { size: file.size, sha256, body };
        let Staged { node, xattrs } = file.staged;
        let node = Node { kind: Kind::File(content), ..node };
        self.put(&file.path, Staged { node, xattrs })
    }
}

/// The directories that are open, from the root down.
#[derive(Default)]
struct Trees {
    open: Vec<OpenDirectory>,
    /// Bytes of the pages that they have begun.
    bytes: usize,
}

struct OpenDirectory {
    path: Vec<u8>,
    staged: Staged,
    entries: DirectoryBuilder,
}

impl Trees {
    /// Puts in an entry; they come in the order of a walk.
    fn put(
        &mut self,
        session: &mut Session<'_>,
        path: &[u8],
        staged: Staged,
    ) -> Result<(), ArchiveError> {
        while self.open.last().is_some_and(|directory| !is_below(path, &directory.path)) {
            self.close(session)?;
        }
        if matches!(staged.node.kind, Kind::Directory(_)) {
            let (path, entries) = (path.to_vec(), DirectoryBuilder::new());
            self.open.push(OpenDirectory { path, staged, entries });
            return Ok(());
        }
        self.push(session, path, staged.into_node())
    }

    fn push(
        &mut self,
        session: &mut Session<'_>,
        path: &[u8],
        node: Node,
    ) -> Result<(), ArchiveError> {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let name = EntryName::new(name).map_err(|_| ArchiveError::Internal("a name is none"))?;
        let parent = self.open.last_mut();
        let parent = parent.ok_or(ArchiveError::Internal("an entry lies in no directory"))?;
        let entry = Entry { name, node };
        let store = &mut |record: &_| session.put_tree(record);
        self.bytes -= parent.entries.pending_bytes();
        parent.entries.push::<RepositoryError>(entry, store)?;
        self.bytes += parent.entries.pending_bytes();
        if self.bytes > OPEN_PAGES_BYTES_MAX {
            let archive = "The archive".to_owned();
            let detail = format!("{} lies below directories of too many entries", shown(path));
            return Err(ArchiveError::Unsafe { archive, detail });
        }
        Ok(())
    }

    /// Leaves the innermost directory; returns it if it is the root.
    fn close(&mut self, session: &mut Session<'_>) -> Result<Option<Node>, ArchiveError> {
        let Some(OpenDirectory { path, staged, entries }) = self.open.pop() else {
            return Ok(None);
        };
        self.bytes -= entries.pending_bytes();
        let tree = entries.finish(&mut |record| session.put_tree(record))?;
        let node = Node { kind: Kind::Directory(tree), ..staged.into_node() };
        if self.open.is_empty() {
            return Ok(Some(node));
        }
        self.push(session, &path, node).map(|()| None)
    }

    fn finish(mut self, session: &mut Session<'_>) -> Result<Node, ArchiveError> {
        loop {
            if self.open.is_empty() {
                return Err(ArchiveError::Internal("the archive has no root"));
            }
            if let Some(root) = self.close(session)? {
                return Ok(root);
            }
        }
    }
}

/// Whether a path leads below a directory.
fn is_below(path: &[u8], directory: &[u8]) -> bool {
    match path.strip_prefix(directory) {
        Some(rest) => directory.is_empty() && !rest.is_empty() || rest.starts_with(b"/"),
        None => false,
    }
}
