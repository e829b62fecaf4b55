//! Cold archives: a snapshot or an event log in one file that proves itself, and
//! its manifest beside it.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufWriter, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use crate::archive::content::{Abilities, Packed, Packer};
use crate::archive::entry::{Entry, FormatWriter as _};
use crate::archive::error::ArchiveError;
use crate::archive::event_log::EventLog;
use crate::archive::format::Packing;
use crate::archive::manifest::{
    ArchiveKind, ArchiveSource, ByteText, COMMENT, ChainState, DATA, MANIFEST, ManifestHead,
    ManifestWriter, SnapshotSummary,
};
use crate::archive::output::NewFile;
use crate::archive::packing;
use crate::archive::tar::TarWriter;
use crate::base::hash::{Digest256, StreamHash};
use crate::base::id::SnapshotId;
use crate::base::name::printable;
use crate::base::progress::Monitor;
use crate::base::time::Timestamp;
use crate::dag::{Body, Content, Kind, Manifest, Node, Owner};
use crate::repository::Repository;

/// Bytes written at once.
const BUFFER: usize = 256 << 10;

/// What is the same for all archives of one run.
#[derive(Clone, Debug)]
pub struct ExportRequest {
    /// Where the archives go: an existing directory.
    pub directory: PathBuf,
    /// How they are packed.
    pub packing: Packing,
    /// A name for them in the place of what they are of.
    pub name: Option<String>,
    /// When they are written.
    pub time: Timestamp,
    /// The program that writes them.
    pub program: String,
    /// Where they come from.
    pub source: ArchiveSource,
}

/// An archive that was written.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The archive.
    pub archive: PathBuf,
    /// Its manifest.
    pub manifest: PathBuf,
    /// What is in it.
    pub packed: Packed,
    /// Its size in bytes.
    pub archive_bytes: u64,
}

impl ExportRequest {
    /// Where an archive goes that is named after a thing and a time:
    /// `backup-NAME-YYYYMMDD-HHMMSS.tar.gz`, in UTC.
    #[must_use]
    pub fn archive_path(&self, thing: &str, time: Timestamp) -> PathBuf {
        let name = self.name.as_deref().unwrap_or(thing);
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        let name: String =
            name.chars().map(|letter| if plain(letter) { letter } else { '_' }).take(120).collect();
        let time = time.to_utc_text("%Y%m%d-%H%M%S").unwrap_or_default();
        self.directory.join(format!("backup-{name}-{time}{}", self.packing.suffix()))
    }

    /// Where the archive of a snapshot goes.
    #[must_use]
    pub fn snapshot_path(&self, id: &SnapshotId, manifest: &Manifest) -> PathBuf {
        self.archive_path(&format!("{}-{}", manifest.host, id.short()), manifest.time)
    }

    fn head(&self, kind: ArchiveKind, chain: ChainState) -> ManifestHead {
        let (program, source) = (self.program.clone(), self.source.clone());
        ManifestHead::new(kind, self.time.to_rfc3339(), program, source, chain)
    }
}

/// Where the manifest of an archive lies.
#[must_use]
pub fn manifest_path(archive: &Path, packing: Packing) -> PathBuf {
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(packing.suffix()).unwrap_or(&name);
    archive.with_file_name(format!("{stem}.manifest.json"))
}

/// Writes a snapshot as an archive.
///
/// # Errors
/// Fails if the repository cannot be read, the archive cannot be written or is
/// there already, or it was cancelled; then nothing is left of it.
pub fn export_snapshot(
    repository: &Repository,
    id: &SnapshotId,
    manifest: &Manifest,
    chain: ChainState,
    request: &ExportRequest,
    monitor: &dyn Monitor,
) -> Result<Exported, ArchiveError> {
    let mut head = request.head(ArchiveKind::Snapshot, chain);
    head.snapshot = Some(summary(id, manifest));
    let path = request.snapshot_path(id, manifest);
    write(request, &path, &head, |writer, told| {
        let mut packer = Packer {
            repository,
            monitor,
            writer,
            abilities: Abilities::Tar,
            is_hashing: true,
            told,
            links: HashMap::new(),
            packed: Packed::default(),
        };
        packer.pack(DATA.as_bytes(), &manifest.root)?;
        Ok(packer.packed)
    })
}

/// Writes an event log as an archive.
///
/// # Errors
/// As [`export_snapshot`].
pub fn export_event_log(
    log: &mut EventLog,
    thing: &str,
    request: &ExportRequest,
    monitor: &dyn Monitor,
) -> Result<Exported, ArchiveError> {
    let chain = log.chain().clone();
    let head = request.head(ArchiveKind::EventLog, chain);
    let path = request.archive_path(thing, request.time);
    let time = request.time;
    write(request, &path, &head, |writer, told| {
        let mut packed = Packed { dirs: 1, ..Packed::default() };
        writer.own_directory(DATA, time).map_err(ArchiveError::Output)?;
        let mut buffer = vec![0; BUFFER];
        let mut files: Vec<_> = log.files().iter().collect();
        // As in every archive of ours, names rise.
        files.sort_by(|one, other| one.name.cmp(&other.name));
        for file in files {
            if monitor.cancelled() {
                return Err(ArchiveError::Cancelled);
            }
            let path = format!("{DATA}/{}", file.name);
            let body = Body::Inline(Box::default());
            let content = Content { size: file.bytes, sha256: None, body };
            let node = plain_node(Kind::File(content), file.mtime);
            let entry = Entry { path: path.as_bytes(), node: &node, link: None };
            writer.begin(&entry, None).map_err(ArchiveError::Output)?;
            let mut hash = StreamHash::default();
            let mut reader = file.reader()?;
            loop {
                let read =
                    reader.read(&mut buffer).map_err(ArchiveError::io("read", &file.path))?;
                let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                    break;
                };
                hash.update(bytes);
                monitor.advance(0, bytes.len() as u64);
                writer.data(bytes).map_err(ArchiveError::Output)?;
            }
            writer.end().map_err(ArchiveError::Output)?;
            told(path.as_bytes(), file.bytes, Some(&hash.finish()))?;
            monitor.advance(1, 0);
            packed.files += 1;
            packed.bytes += file.bytes;
        }
        Ok(packed)
    })
}

type Output = TarWriter<packing::Packer<BufWriter<NewFile>>>;
type Told<'a> = dyn FnMut(&[u8], u64, Option<&Digest256>) -> Result<(), ArchiveError> + 'a;

/// Writes an archive and its manifest, whole or not at all.
fn write(
    request: &ExportRequest,
    path: &Path,
    head: &ManifestHead,
    fill: impl FnOnce(&mut Output, &mut Told<'_>) -> Result<Packed, ArchiveError>,
) -> Result<Exported, ArchiveError> {
    let failed = ArchiveError::Output;
    let manifest_path = manifest_path(path, request.packing);
    for path in [path, &manifest_path] {
        if path.symlink_metadata().is_ok() {
            let path = printable(path.as_os_str().as_encoded_bytes());
            return Err(ArchiveError::Occupied { path });
        }
    }
    let output = BufWriter::with_capacity(BUFFER, NewFile::create(path)?);
    let packer = packing::Packer::new(request.packing, output).map_err(failed)?;
    let mut writer = TarWriter::new(packer);
    writer.comment(COMMENT).map_err(failed)?;
    let beside = BufWriter::with_capacity(BUFFER, NewFile::create(&manifest_path)?);
    let mut lines = ManifestWriter::begin(beside, head).map_err(failed)?;
    let packed = fill(&mut writer, &mut |path, size, digest| {
        let inner = path.strip_prefix(DATA.as_bytes()).unwrap_or(path);
        let inner = inner.strip_prefix(b"/").unwrap_or(inner);
        lines.file(inner, size, digest).map_err(ArchiveError::Output)
    })?;
    let beside = lines.finish().map_err(failed)?;
    let mut beside = beside.into_inner().map_err(|error| failed(error.into_error()))?;
    copy_manifest(&mut beside, &mut writer, request.time).map_err(failed)?;
    let packer = writer.finish().map_err(failed)?;
    let (output, archive_bytes) = packer.finish(true).map_err(failed)?;
    let output = output.into_inner().map_err(|error| failed(error.into_error()))?;
    beside.publish(false)?;
    if let Err(error) = output.publish(false) {
        // Without its archive it says what is not so.
        let _ = fs::remove_file(&manifest_path);
        return Err(error);
    }
    let archive = path.to_owned();
    Ok(Exported { archive, manifest: manifest_path, packed, archive_bytes })
}

/// Puts the manifest into the archive as the last member.
fn copy_manifest(from: &mut NewFile, writer: &mut Output, time: Timestamp) -> io::Result<()> {
    let file = from.file();
    let bytes = file.stream_position()?;
    file.rewind()?;
    writer.own_file(MANIFEST, bytes, time)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        writer.data(bytes)?;
    }
    writer.end()
}

fn plain_node(kind: Kind, mtime: Timestamp) -> Node {
    let owner = std::sync::Arc::new(Owner::default());
    Node {
        kind,
        mode: 0o600,
        owner,
        mtime,
        atime: None,
        changed_while_read: false,
        links: None,
        xattrs: Vec::new(),
    }
}

fn summary(id: &SnapshotId, manifest: &Manifest) -> SnapshotSummary {
    let counters = manifest.counters;
    SnapshotSummary {
        id: id.to_string(),
        time: manifest.time.to_rfc3339(),
        finished: manifest.finished.to_rfc3339(),
        host: manifest.host.clone(),
        user: manifest.user.clone(),
        sources: manifest.sources.iter().map(|source| ByteText::new(source)).collect(),
        description: manifest.description.clone(),
        tags: manifest.tags.clone(),
        excludes: manifest.excludes.clone(),
        program: manifest.program.clone(),
        root: manifest.tree().map(|tree| tree.id.to_string()).unwrap_or_default(),
        files: counters.files,
        dirs: counters.dirs,
        bytes: counters.bytes,
        errors: counters.errors,
        error_messages: manifest.errors.clone(),
    }
}
