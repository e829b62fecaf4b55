//! Going through an archive: everything is checked, and passed on to whoever
//! keeps it.

use std::collections::HashMap;
use std::io::{self, BufReader, Read};

use crate::archive::content::{Packed, hash_zeros, is_hashed};
use crate::archive::entry::{Found, FoundKind};
use crate::archive::error::ArchiveError;
use crate::archive::kept::Kept;
use crate::archive::manifest::{COMMENT, DATA, MANIFEST, ManifestHead, read};
use crate::archive::names::{Names, key};
use crate::archive::packing::Unpacker;
use crate::archive::tar::{Extent, TarError, TarReader};
use crate::base::hash::{Digest256, StreamHash, sha256};
use crate::base::name::shown;
use crate::base::progress::Monitor;
use crate::base::time::Timestamp;

/// Bytes read at once.
const BUFFER: usize = 256 << 10;

/// Keeps what an archive holds. Nothing may be final before the archive has come
/// to its end.
pub(super) trait Target {
    /// Whether entries come in the order of a walk.
    fn begin(&mut self, is_ordered: bool);

    /// An entry that has no content. A directory may come more than once.
    fn entry(&mut self, found: &Found) -> Result<(), ArchiveError>;

    /// A regular file begins.
    fn begin_file(&mut self, found: &Found) -> Result<(), ArchiveError>;

    /// The next bytes of it.
    fn data(&mut self, bytes: &[u8]) -> Result<(), ArchiveError>;

    /// The next hole of it.
    fn hole(&mut self, bytes: u64) -> Result<(), ArchiveError>;

    /// It ends.
    fn end_file(&mut self) -> Result<(), ArchiveError>;
}

/// Keeps nothing: the archive is only checked.
pub(super) struct Nothing;

impl Target for Nothing {
    fn begin(&mut self, _is_ordered: bool) {}

    fn entry(&mut self, _found: &Found) -> Result<(), ArchiveError> {
        Ok(())
    }

    fn begin_file(&mut self, _found: &Found) -> Result<(), ArchiveError> {
        Ok(())
    }

    fn data(&mut self, _bytes: &[u8]) -> Result<(), ArchiveError> {
        Ok(())
    }

    fn hole(&mut self, _bytes: u64) -> Result<(), ArchiveError> {
        Ok(())
    }

    fn end_file(&mut self) -> Result<(), ArchiveError> {
        Ok(())
    }
}

/// What an archive proved to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Unpacked {
    /// The head of its manifest and the digest of the whole, if it is one of ours.
    pub(super) manifest: Option<(ManifestHead, Digest256)>,
    pub(super) packed: Packed,
}

/// An archive that is being read.
struct Unpacking<'a, R: Read> {
    archive: &'a str,
    tar: TarReader<Stoppable<'a, Unpacker<R>>>,
    target: &'a mut dyn Target,
    monitor: &'a dyn Monitor,
    names: Option<Names>,
    kept: Kept,
    /// Short digests of path, size and content of each file of ours.
    files: Vec<[u8; 16]>,
    /// What has more links, in ours: size and content of the files among them, by
    /// the short digest of the first path.
    linked: HashMap<[u8; 16], Option<(u64, Option<Digest256>)>>,
    /// The entry at hand, for messages.
    present: Vec<u8>,
    unpacked: Unpacked,
}

/// Reads an archive to its end. `archive` is its name for messages.
pub(super) fn unpack(
    input: impl Read,
    archive: &str,
    target: &mut dyn Target,
    monitor: &dyn Monitor,
) -> Result<Unpacked, ArchiveError> {
    let io = |source| ArchiveError::Io { action: "read", path: archive.to_owned(), source };
    let inner = Unpacker::new(input).map_err(io)?;
    let tar = TarReader::new(Stoppable { inner, monitor });
    let mut unpacking = Unpacking {
        archive,
        tar,
        target,
        monitor,
        names: None,
        kept: Kept::default(),
        files: Vec::new(),
        linked: HashMap::new(),
        present: Vec::new(),
        unpacked: Unpacked::default(),
    };
    unpacking.run()?;
    let Unpacking { tar, unpacked, .. } = unpacking;
    let at = String::new();
    let unpacker = tar.into_inner().inner;
    let is_packed = unpacker.is_packed();
    let is_sealed = unpacker.finish().map_err(|error| failed(archive, at, error))?;
    if unpacked.manifest.is_some() && !is_sealed {
        return Err(ArchiveError::Damaged {
            archive: archive.to_owned(),
            place: " at its end".to_owned(),
            detail: match is_packed {
                true => "the seal is not that of the bytes before it".to_owned(),
                false => "it was unpacked, which takes the seal off; import it packed".to_owned(),
            },
        });
    }
    Ok(unpacked)
}

/// What a decoder says is damage; what the system says is a failure.
fn failed(archive: &str, place: String, error: io::Error) -> ArchiveError {
    let archive = archive.to_owned();
    if error.raw_os_error().is_some() {
        return ArchiveError::Io { action: "read", path: archive, source: error };
    }
    let detail = if error.kind() == io::ErrorKind::UnexpectedEof {
        "it was cut off".to_owned()
    } else {
        format!("it cannot be unpacked: {error}")
    };
    ArchiveError::Damaged { archive, place, detail }
}

impl<R: Read> Unpacking<'_, R> {
    fn run(&mut self) -> Result<(), ArchiveError> {
        loop {
            if self.monitor.cancelled() {
                return Err(ArchiveError::Cancelled);
            }
            let next = self.tar.next();
            let Some(mut found) = next.map_err(|error| self.tar_error(error))? else { break };
            let is_own = self.tar.comment() == Some(COMMENT);
            if self.names.is_none() {
                self.names = Some(Names::new(is_own));
                self.target.begin(is_own);
            }
            if is_own {
                if self.unpacked.manifest.is_some() {
                    return Err(self.damaged("something follows its manifest".to_owned()));
                }
                if found.path == MANIFEST.as_bytes() {
                    self.manifest(&found)?;
                    continue;
                }
                found = self.strip(found)?;
            }
            self.present.clone_from(&found.path);
            self.entry(&mut found, is_own)?;
        }
        let is_own = self.tar.comment() == Some(COMMENT);
        if is_own && self.unpacked.manifest.is_none() {
            return Err(self.damaged("its manifest is missing".to_owned()));
        }
        if self.names.is_none() {
            self.target.begin(false);
            self.target.entry(&implied_directory(Vec::new(), Timestamp::now()))?;
        }
        Ok(())
    }

    /// Takes the directory off a path in which our archives have their files.
    fn strip(&self, mut found: Found) -> Result<Found, ArchiveError> {
        let inner = |path: &[u8]| match path.strip_prefix(DATA.as_bytes()) {
            Some(b"") => Some(Vec::new()),
            Some(rest) => rest.strip_prefix(b"/").map(<[u8]>::to_vec),
            None => None,
        };
        let path = shown(&found.path);
        let stray = || self.damaged(format!("{path} does not belong into an archive of icecore"));
        found.path = inner(&found.path).ok_or_else(stray)?;
        if let FoundKind::HardLink(target) = &found.kind {
            found.kind = FoundKind::HardLink(inner(target).ok_or_else(stray)?);
        }
        Ok(found)
    }

    fn place(&self) -> String {
        let position = self.tar.position();
        match self.present.as_slice() {
            b"" => format!(" (byte {position} of what is packed)"),
            path => format!(" at {} (byte {position} of what is packed)", shown(path)),
        }
    }

    fn damaged(&self, detail: String) -> ArchiveError {
        ArchiveError::Damaged { archive: self.archive.to_owned(), place: self.place(), detail }
    }

    fn refused(&self, detail: String) -> ArchiveError {
        ArchiveError::Unsafe { archive: self.archive.to_owned(), detail }
    }

    fn tar_error(&self, error: TarError) -> ArchiveError {
        match error {
            TarError::Io(_) if self.monitor.cancelled() => ArchiveError::Cancelled,
            TarError::Io(error) => failed(self.archive, self.place(), error),
            TarError::Malformed(detail) => self.damaged(detail),
            TarError::Unsafe(detail) => self.refused(detail),
        }
    }

    fn entry(&mut self, found: &mut Found, is_own: bool) -> Result<(), ArchiveError> {
        let taken = match &mut self.names {
            Some(names) => names.take(&found.path, &found.kind),
            None => Err("it has no order".to_owned()),
        };
        let implied = taken
            .map_err(|detail| if is_own { self.damaged(detail) } else { self.refused(detail) })?;
        // In our order, all other entries are passed on at once.
        let is_held =
            !is_own || found.links.is_some() || matches!(found.kind, FoundKind::Directory);
        if is_held {
            self.kept.take(found).map_err(|detail| self.refused(detail))?;
        }
        let found = &*found;
        for length in implied {
            self.unpacked.packed.dirs += 1;
            let path = found.path.get(..length).unwrap_or_default().to_vec();
            self.target.entry(&implied_directory(path, found.mtime))?;
        }
        match &found.kind {
            FoundKind::File { size, extents } => {
                self.target.begin_file(found)?;
                let digest = self.content(*size, extents.as_deref())?;
                self.target.end_file()?;
                let bytes = &mut self.unpacked.packed.bytes;
                *bytes = bytes.saturating_add(*size);
                if is_own {
                    self.file(found, *size, digest);
                }
            }
            FoundKind::HardLink(first) => {
                match self.linked.get(&key(first)).copied() {
                    Some(Some((size, digest))) => {
                        self.files.push(short_digest(&found.path, size, digest.as_ref()));
                    }
                    Some(None) => {}
                    None if self.names.as_ref().is_some_and(|names| names.has_file(first)) => {}
                    None => {
                        let first = shown(first);
                        let detail = format!("it is a link of {first}, which did not come before");
                        return Err(self.damaged(detail));
                    }
                }
                self.target.entry(found)?;
            }
            _ => {
                if is_own && found.links.is_some() {
                    self.linked.insert(key(&found.path), None);
                }
                self.target.entry(found)?;
            }
        }
        match found.kind {
            FoundKind::Directory => self.unpacked.packed.dirs += 1,
            _ => self.unpacked.packed.files += 1,
        }
        self.monitor.advance(1, 0);
        Ok(())
    }

    fn file(&mut self, found: &Found, size: u64, digest: Option<Digest256>) {
        self.files.push(short_digest(&found.path, size, digest.as_ref()));
        if found.links.is_some() {
            self.linked.insert(key(&found.path), Some((size, digest)));
        }
    }

    /// Passes the content of a file on, and returns its digest.
    fn content(
        &mut self,
        size: u64,
        extents: Option<&[Extent]>,
    ) -> Result<Option<Digest256>, ArchiveError> {
        let whole = [Extent { offset: 0, bytes: size }];
        let extents = extents.unwrap_or(&whole);
        let data: u64 = extents.iter().map(|extent| extent.bytes).sum();
        let mut hash = is_hashed(size - data).then(StreamHash::default);
        let mut buffer = vec![0; BUFFER];
        let mut place = 0;
        let end = Extent { offset: size, bytes: 0 };
        for extent in extents.iter().chain([&end]) {
            if extent.offset > place {
                let hole = extent.offset - place;
                if let Some(hash) = &mut hash {
                    hash_zeros(hash, hole);
                }
                self.target.hole(hole)?;
                self.monitor.advance(0, hole);
            }
            let mut left = extent.bytes;
            while left > 0 {
                if self.monitor.cancelled() {
                    return Err(ArchiveError::Cancelled);
                }
                let wanted = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
                let read = self.tar.read(buffer.get_mut(..wanted).unwrap_or_default());
                let read = read.map_err(|error| self.tar_error(error))?;
                let bytes = buffer.get(..read).unwrap_or_default();
                if let Some(hash) = &mut hash {
                    hash.update(bytes);
                }
                self.target.data(bytes)?;
                self.monitor.advance(0, read as u64);
                left -= read as u64;
            }
            place = extent.offset + extent.bytes;
        }
        Ok(hash.map(StreamHash::finish))
    }

    /// Compares the manifest with what came before it.
    fn manifest(&mut self, found: &Found) -> Result<(), ArchiveError> {
        self.present.clone_from(&found.path);
        if !matches!(found.kind, FoundKind::File { extents: None, .. }) {
            return Err(self.damaged("the manifest is no file".to_owned()));
        }
        let mut seen = std::mem::take(&mut self.files).into_iter();
        let mut failure = None;
        let mut hash = StreamHash::default();
        let content = MemberReader { tar: &mut self.tar, failure: &mut failure, hash: &mut hash };
        let result = read(BufReader::new(content), &mut |path, size, digest| match seen.next() {
            Some(there) if there == short_digest(path, size, digest.as_ref()) => Ok(()),
            _ => Err(format!("{} is not what the manifest says of it", shown(path))),
        });
        if let Some(error) = failure {
            return Err(self.tar_error(error));
        }
        let head = result.map_err(|detail| self.damaged(detail))?;
        if seen.next().is_some() {
            return Err(self.damaged("the manifest does not name all files".to_owned()));
        }
        self.unpacked.manifest = Some((head, hash.finish()));
        Ok(())
    }
}

fn short_digest(path: &[u8], size: u64, digest: Option<&Digest256>) -> [u8; 16] {
    let bytes = path.len() as u64;
    let digest = digest.map_or(&[][..], |digest| &digest[..]);
    let parts = [&bytes.to_le_bytes()[..], path, &size.to_le_bytes(), digest].concat();
    let mut short = [0; 16];
    short.copy_from_slice(&sha256(&parts)[..16]);
    short
}

/// A directory that only names below it tell of.
fn implied_directory(path: Vec<u8>, mtime: Timestamp) -> Found {
    Found {
        path,
        kind: FoundKind::Directory,
        mode: 0o755,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        user: Vec::new(),
        group: Vec::new(),
        mtime,
        atime: None,
        xattrs: [].into(),
        links: None,
        changed_while_read: false,
    }
}

/// Reads until it is cancelled: little can unpack to more than anybody waits for,
/// and not all of it is passed on to a target.
struct Stoppable<'a, R> {
    inner: R,
    monitor: &'a dyn Monitor,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.monitor.cancelled() {
            return Err(io::Error::other("it was cancelled"));
        }
        self.inner.read(buffer)
    }
}

/// Reads and hashes the content of a member; why that fails is kept aside.
struct MemberReader<'a, R: Read> {
    tar: &'a mut TarReader<R>,
    failure: &'a mut Option<TarError>,
    hash: &'a mut StreamHash,
}

impl<R: Read> Read for MemberReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.tar.read(buffer) {
            Ok(read) => {
                self.hash.update(buffer.get(..read).unwrap_or_default());
                Ok(read)
            }
            Err(error) => {
                *self.failure = Some(error);
                Err(io::Error::other("it cannot be read on"))
            }
        }
    }
}
