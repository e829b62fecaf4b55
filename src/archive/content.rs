//! The entries of a snapshot on their way into an archive.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::archive::entry::{Entry, FormatWriter};
use crate::archive::error::ArchiveError;
use crate::archive::tar::{EXTENTS_MAX, Extent};
use crate::base::hash::{Digest256, StreamHash};
use crate::base::name::printable;
use crate::base::progress::Monitor;
use crate::dag::{Body, Content, Kind, Node, Segment};
use crate::repository::{Repository, Step};

/// Bytes of holes in one file that are hashed at most: hashing reads them all.
const HASHED_HOLES_MAX: u64 = 16 << 30;
/// Zeros in the place of a hole between two looks at whether to stop.
const ZEROS_BYTES: u64 = 16 << 20;

/// What a format can hold besides files and directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Abilities {
    /// Links, pipes and devices, but no sockets.
    Tar,
    /// Symlinks.
    Zip,
}

/// What was put into an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// Files of any kind but directories.
    pub files: u64,
    /// Directories, the top one included.
    pub dirs: u64,
    /// Bytes of the regular files, holes included, each hard link counted once.
    pub bytes: u64,
    /// Items that the format cannot hold.
    pub left_out: u64,
}

/// Told of each regular file: its path, its size, and the SHA-256 of its content
/// if it was computed.
pub(super) type Told<'a> =
    dyn FnMut(&[u8], u64, Option<&Digest256>) -> Result<(), ArchiveError> + 'a;

/// Puts a node, and everything below it, into an archive.
pub(super) struct Packer<'a> {
    pub(super) repository: &'a Repository,
    pub(super) monitor: &'a dyn Monitor,
    pub(super) writer: &'a mut dyn FormatWriter,
    pub(super) abilities: Abilities,
    /// Whether content is hashed for whoever is told.
    pub(super) is_hashing: bool,
    pub(super) told: &'a mut Told<'a>,
    /// The first path of each file with hard links, with its digest.
    pub(super) links: HashMap<Digest256, (Vec<u8>, Option<Digest256>)>,
    pub(super) packed: Packed,
}

impl Packer<'_> {
    /// Packs a node under the path `top`, which is empty for the archive's root.
    pub(super) fn pack(&mut self, top: &[u8], node: &Node) -> Result<(), ArchiveError> {
        if !top.is_empty() {
            self.entry(top, node)?;
        }
        let Kind::Directory(tree) = &node.kind else { return Ok(()) };
        let repository = self.repository;
        let mut walk = repository.walk(tree);
        loop {
            let step = walk.step();
            let Some(step) = step.map_err(|error| named(error.into(), walk.path()))? else { break };
            let Step::Entry(node) = step else { continue };
            if self.monitor.cancelled() {
                return Err(ArchiveError::Cancelled);
            }
            let path = match top {
                b"" => walk.path().to_vec(),
                top => [top, b"/", walk.path()].concat(),
            };
            self.monitor.path(Path::new(OsStr::from_bytes(walk.path())));
            self.entry(&path, &node)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &[u8], node: &Node) -> Result<(), ArchiveError> {
        let is_held = match (&node.kind, self.abilities) {
            (Kind::File(_) | Kind::Directory(_) | Kind::Symlink(_), _) => true,
            (Kind::Socket, _) => false,
            (_, abilities) => abilities == Abilities::Tar,
        };
        if !is_held {
            self.packed.left_out += 1;
            let kind = if matches!(node.kind, Kind::Socket) { "a socket" } else { "a device" };
            let path = printable(path);
            self.monitor.warn(&format!("{path} is {kind} and left out: the format has none"));
            return Ok(());
        }
        let file = node.shared_file().filter(|_| self.abilities == Abilities::Tar);
        if let Some((first, digest)) = file.and_then(|file| self.links.get(&file)) {
            let entry = Entry { path, node, link: Some(first) };
            self.writer.begin(&entry, None).map_err(ArchiveError::Output)?;
            self.writer.end().map_err(ArchiveError::Output)?;
            self.packed.files += 1;
            self.monitor.advance(1, 0);
            if let Kind::File(content) = &node.kind {
                (self.told)(path, content.size, digest.as_ref())?;
            }
            return Ok(());
        }
        let digest = match &node.kind {
            Kind::File(content) => self.file(path, node, content)?,
            _ => {
                let entry = Entry { path, node, link: None };
                self.writer.begin(&entry, None).map_err(ArchiveError::Output)?;
                self.writer.end().map_err(ArchiveError::Output)?;
                None
            }
        };
        match &node.kind {
            Kind::Directory(_) => self.packed.dirs += 1,
            _ => self.packed.files += 1,
        }
        self.monitor.advance(1, 0);
        // Of a directory the count is that of its subdirectories, and no group.
        if let Some(file) = file {
            self.links.insert(file, (path.to_vec(), digest));
        }
        Ok(())
    }

    fn file(
        &mut self,
        path: &[u8],
        node: &Node,
        content: &Content,
    ) -> Result<Option<Digest256>, ArchiveError> {
        let extents = extents(self.repository, content)?;
        let entry = Entry { path, node, link: None };
        self.writer.begin(&entry, extents.as_deref()).map_err(ArchiveError::Output)?;
        let holes = content.size - content.data_bytes().min(content.size);
        let mut hash = (self.is_hashing && is_hashed(holes)).then(StreamHash::default);
        let is_cheap = self.abilities == Abilities::Tar && hash.is_none();
        let (monitor, writer) = (self.monitor, &mut *self.writer);
        read(self.repository, content, &mut |piece| {
            if monitor.cancelled() {
                return Err(ArchiveError::Cancelled);
            }
            match piece {
                Piece::Data(bytes) => {
                    if let Some(hash) = &mut hash {
                        hash.update(bytes);
                    }
                    monitor.advance(0, bytes.len() as u64);
                    writer.data(bytes).map_err(ArchiveError::Output)
                }
                Piece::Hole(bytes) => {
                    // Where a hole is zeros, there may be more than anybody can wait for.
                    let most = if is_cheap { u64::MAX } else { ZEROS_BYTES };
                    let mut left = bytes;
                    while left > 0 && !monitor.cancelled() {
                        let piece = left.min(most);
                        if let Some(hash) = &mut hash {
                            hash_zeros(hash, piece);
                        }
                        monitor.advance(0, piece);
                        writer.hole(piece).map_err(ArchiveError::Output)?;
                        left -= piece;
                    }
                    if left > 0 { Err(ArchiveError::Cancelled) } else { Ok(()) }
                }
            }
        })
        .map_err(|error| named(error, path))?;
        self.writer.end().map_err(ArchiveError::Output)?;
        self.packed.bytes = self.packed.bytes.saturating_add(content.size);
        let digest = hash.map(StreamHash::finish);
        (self.told)(path, content.size, digest.as_ref())?;
        Ok(digest)
    }
}

/// Hashes so many zeros.
pub(super) fn hash_zeros(hash: &mut StreamHash, bytes: u64) {
    let zeros = [0; 64 << 10];
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(zeros.len() as u64);
        hash.update(zeros.get(..piece as usize).unwrap_or_default());
        left -= piece;
    }
}

/// Whether a file with so many bytes of holes is hashed.
pub(super) const fn is_hashed(holes: u64) -> bool {
    holes <= HASHED_HOLES_MAX
}

/// Damage names the file that it hurts.
fn named(error: ArchiveError, path: &[u8]) -> ArchiveError {
    match error {
        ArchiveError::Repository(source) if source.is_loss() => {
            ArchiveError::Unreadable { path: printable(path), source }
        }
        error => error,
    }
}

/// A piece of a file.
pub(super) enum Piece<'a> {
    Data(&'a [u8]),
    Hole(u64),
}

/// Reads the content of a file in order.
pub(super) fn read(
    repository: &Repository,
    content: &Content,
    take: &mut dyn FnMut(Piece<'_>) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    if let Body::Inline(bytes) = &content.body {
        return if bytes.is_empty() { Ok(()) } else { take(Piece::Data(bytes)) };
    }
    repository.segments(content, &mut |segment, _| {
        match segment {
            Segment::Chunk { id, bytes, hint } => {
                let plain = repository.chunk(id, *bytes, *hint)?;
                take(Piece::Data(&plain))?;
            }
            Segment::Hole { bytes } => take(Piece::Hole(*bytes))?,
        }
        Ok::<_, ArchiveError>(ControlFlow::Continue(()))
    })
}

/// Where the data of a file with holes lies. Nothing if it has none, or so many
/// that they are better stored as zeros.
fn extents(
    repository: &Repository,
    content: &Content,
) -> Result<Option<Vec<Extent>>, ArchiveError> {
    if content.data_bytes() >= content.size {
        return Ok(None);
    }
    let mut extents: Vec<Extent> = Vec::new();
    repository.segments(content, &mut |segment, offset| {
        if let Segment::Chunk { bytes, .. } = segment {
            let bytes = u64::from(*bytes);
            match extents.last_mut() {
                Some(last) if last.offset + last.bytes == offset => last.bytes += bytes,
                _ => extents.push(Extent { offset, bytes }),
            }
        }
        let is_enough = extents.len() > EXTENTS_MAX - 1;
        let flow = if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        Ok::<_, ArchiveError>(flow)
    })?;
    Ok((extents.len() < EXTENTS_MAX).then_some(extents))
}
