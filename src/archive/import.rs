//! Reading archives back: into the repository, into a directory, or only to see
//! whether they are whole.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;

use crate::archive::content::Packed;
use crate::archive::error::ArchiveError;
use crate::archive::event_log::EventLog;
use crate::archive::export::manifest_path;
use crate::archive::extract::Extraction;
use crate::archive::format::Packing;
use crate::archive::manifest::{ArchiveKind, ChainState, ManifestHead, SnapshotSummary};
use crate::archive::output::{directory_of, sync_directory};
use crate::archive::stage::Stage;
use crate::archive::unpack::{Nothing, Target, Unpacked, unpack};
use crate::base::hash::{Digest256, StreamHash};
use crate::base::id::SnapshotId;
use crate::base::name::printable;
use crate::base::progress::Monitor;
use crate::base::time::{Timestamp, parse_expression};
use crate::compression::Compression;
use crate::dag::{Counters, Kind, Manifest};
use crate::local::rename_to_free;
use crate::repository::{Added, Writer};

/// Bytes read at once.
const BUFFER: usize = 256 << 10;

/// An archive to read.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    /// The archive; nothing for standard input.
    pub archive: Option<PathBuf>,
}

/// What a snapshot of an archive is to be called, where its manifest does not
/// say it, or in the place of that.
#[derive(Clone, Debug)]
pub struct SnapshotLabels {
    /// The host.
    pub host: Option<String>,
    /// The time.
    pub time: Option<Timestamp>,
    /// A text of the user's.
    pub description: Option<String>,
    /// More tags.
    pub tags: Vec<String>,
    /// The host, the user and the time of this run.
    pub default_host: String,
    /// The user who runs this.
    pub default_user: String,
    /// The time at which this runs.
    pub now: Timestamp,
    /// The program.
    pub program: String,
    /// How chunks are compressed.
    pub compression: Compression,
}

/// What an archive proved to be.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The head of its manifest, if it is one of icecore's.
    pub head: Option<ManifestHead>,
    /// What is in it.
    pub packed: Packed,
    /// The snapshot that was made of it.
    pub snapshot: Option<(SnapshotId, Manifest, Added)>,
    /// The chain of the events, if it is an event log.
    pub chain: Option<ChainState>,
    /// Items that did not get all that they have.
    pub problems: u64,
    /// Where a directory went that was in the way.
    pub moved: Option<PathBuf>,
}

impl Imported {
    fn new(unpacked: Unpacked) -> Self {
        let (head, packed) = (unpacked.manifest.map(|(head, _)| head), unpacked.packed);
        Self { head, packed, snapshot: None, chain: None, problems: 0, moved: None }
    }

    fn is_event_log(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.kind == ArchiveKind::EventLog)
    }
}

impl ImportRequest {
    /// The archive's name, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.archive {
            Some(path) => printable(path.as_os_str().as_encoded_bytes()),
            None => "The archive on standard input".to_owned(),
        }
    }

    fn open(&self) -> Result<Box<dyn Read>, ArchiveError> {
        let Some(path) = &self.archive else { return Ok(Box::new(io::stdin())) };
        let file = File::open(path).map_err(ArchiveError::io("open", path))?;
        if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            let error = io::Error::from(io::ErrorKind::IsADirectory);
            return Err(ArchiveError::io("read", path)(error));
        }
        Ok(Box::new(BufReader::with_capacity(BUFFER, file)))
    }

    /// Reads it to its end, with the manifest beside it.
    fn unpack(
        &self,
        target: &mut dyn Target,
        monitor: &dyn Monitor,
    ) -> Result<Unpacked, ArchiveError> {
        let unpacked = unpack(self.open()?, &self.name(), target, monitor)?;
        if let Some((_, digest)) = &unpacked.manifest {
            self.check_beside(digest)?;
        }
        Ok(unpacked)
    }

    /// A manifest that lies beside the archive must be the one inside.
    fn check_beside(&self, digest: &Digest256) -> Result<(), ArchiveError> {
        let Some(archive) = &self.archive else { return Ok(()) };
        let name = archive.file_name().unwrap_or_default().to_string_lossy();
        let packings = [Packing::Gzip, Packing::Zstd, Packing::None];
        let packing = packings.into_iter().find(|packing| name.ends_with(packing.suffix()));
        let Some(path) = packing.map(|packing| manifest_path(archive, packing)) else {
            return Ok(());
        };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(ArchiveError::io("open", &path)(error)),
        };
        let mut hash = StreamHash::default();
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = file.read(&mut buffer).map_err(ArchiveError::io("read", &path))?;
            if read == 0 {
                break;
            }
            hash.update(buffer.get(..read).unwrap_or_default());
        }
        if hash.finish() == *digest {
            return Ok(());
        }
        Err(ArchiveError::Damaged {
            archive: printable(path.as_os_str().as_encoded_bytes()),
            place: String::new(),
            detail: "it is not the manifest that the archive beside it holds".to_owned(),
        })
    }

    /// Only sees whether the archive is whole.
    ///
    /// # Errors
    /// Fails if it is not, cannot be read, or it was cancelled.
    pub fn check(&self, monitor: &dyn Monitor) -> Result<Imported, ArchiveError> {
        Ok(Imported::new(self.unpack(&mut Nothing, monitor)?))
    }

    /// Makes a snapshot of it.
    ///
    /// # Errors
    /// As [`Self::check`], and if the repository fails; then there is no snapshot.
    pub fn into_repository(
        &self,
        writer: &Writer,
        labels: &SnapshotLabels,
        monitor: &dyn Monitor,
    ) -> Result<Imported, ArchiveError> {
        let mut session = writer.begin()?;
        let mut stage = Stage::new(writer, &mut session, labels.compression);
        let mut imported = Imported::new(self.unpack(&mut stage, monitor)?);
        let root = stage.finish()?;
        if monitor.cancelled() {
            return Err(ArchiveError::Cancelled);
        }
        monitor.phase("committing");
        let totals = match &root.kind {
            Kind::Directory(tree) => tree.totals,
            _ => return Err(ArchiveError::Internal("the root is no directory")),
        };
        let added = session.added();
        let counters = Counters {
            files: totals.files,
            dirs: totals.directories,
            bytes: totals.bytes,
            added_bytes: added.plain_bytes,
            stored_bytes: added.stored_bytes,
            errors: 0,
        };
        let mut manifest = Manifest {
            time: labels.now,
            finished: Timestamp::now(),
            host: labels.default_host.clone(),
            user: labels.default_user.clone(),
            sources: vec![self.source_name()],
            description: String::new(),
            tags: Vec::new(),
            parent: None,
            excludes: Vec::new(),
            program: labels.program.clone(),
            counters,
            errors: Vec::new(),
            root,
        };
        if let Some(summary) = imported.head.as_ref().and_then(|head| head.snapshot.as_ref()) {
            take_over(&mut manifest, summary);
        }
        labels.put_on(&mut manifest);
        let id = session.commit(&manifest)?;
        if imported.is_event_log() {
            imported.chain = Some(EventLog::in_snapshot(writer, &manifest.root)?);
        }
        imported.snapshot = Some((id, manifest, added));
        Ok(imported)
    }

    fn source_name(&self) -> Vec<u8> {
        let path = self.archive.as_deref().unwrap_or(Path::new("stdin"));
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        path.as_os_str().as_encoded_bytes().to_vec()
    }

    /// Unpacks it into a directory, which appears when it is whole. What is there
    /// already is moved aside; the caller has asked.
    ///
    /// # Errors
    /// As [`Self::check`], and if the directory cannot be written; then it is as it
    /// was.
    pub fn into_directory(
        &self,
        directory: &Path,
        now: Timestamp,
        monitor: &dyn Monitor,
    ) -> Result<Imported, ArchiveError> {
        // A symlink to a directory means that one.
        let directory = match directory.canonicalize() {
            Ok(directory) => directory,
            Err(_) => {
                std::path::absolute(directory).map_err(ArchiveError::io("find", directory))?
            }
        };
        let staging = Staging::new(&directory)?;
        let mut extraction = Extraction::new(&staging.path, monitor)?;
        let mut imported = Imported::new(self.unpack(&mut extraction, monitor)?);
        monitor.phase("writing");
        extraction.finish()?;
        imported.problems = extraction.problems;
        drop(extraction);
        if imported.is_event_log() {
            imported.chain = Some(EventLog::open(&staging.path)?.chain().clone());
        }
        imported.moved = staging.publish(&directory, now)?;
        Ok(imported)
    }
}

/// Reads an archive from a stream to its end, and only sees whether it is whole.
///
/// # Errors
/// As [`ImportRequest::check`].
pub fn check_stream(
    input: impl Read,
    name: &str,
    monitor: &dyn Monitor,
) -> Result<Imported, ArchiveError> {
    Ok(Imported::new(unpack(input, name, &mut Nothing, monitor)?))
}

/// What the manifest says of the snapshot that it was.
fn take_over(manifest: &mut Manifest, summary: &SnapshotSummary) {
    let time = |text: &str| parse_expression(text, Timestamp::default());
    manifest.time = time(&summary.time).unwrap_or(manifest.time);
    manifest.finished = time(&summary.finished).unwrap_or(manifest.finished);
    manifest.host.clone_from(&summary.host);
    manifest.user.clone_from(&summary.user);
    manifest.sources = summary.sources.iter().filter_map(|source| source.bytes()).collect();
    manifest.description.clone_from(&summary.description);
    manifest.tags.clone_from(&summary.tags);
    manifest.excludes.clone_from(&summary.excludes);
    manifest.program.clone_from(&summary.program);
    manifest.errors.clone_from(&summary.error_messages);
    manifest.counters.errors = summary.errors;
}

impl SnapshotLabels {
    fn put_on(&self, manifest: &mut Manifest) {
        manifest.host = self.host.clone().unwrap_or_else(|| manifest.host.clone());
        manifest.time = self.time.unwrap_or(manifest.time);
        let description = self.description.clone();
        manifest.description = description.unwrap_or_else(|| manifest.description.clone());
        manifest.tags.extend(self.tags.iter().cloned());
        manifest.tags.sort_unstable();
        manifest.tags.dedup();
    }
}

/// A directory beside the one that it becomes; removed unless it does.
struct Staging {
    path: PathBuf,
    is_done: bool,
}

impl Staging {
    fn new(directory: &Path) -> Result<Self, ArchiveError> {
        let path = beside(directory, &format!("{}.partial", std::process::id()));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(ArchiveError::io("create", &path))?;
        Ok(Self { path, is_done: false })
    }

    fn publish(
        mut self,
        directory: &Path,
        now: Timestamp,
    ) -> Result<Option<PathBuf>, ArchiveError> {
        let mut moved = None;
        if !is_free(directory)? {
            let time = now.to_utc_text("%Y%m%d-%H%M%S").unwrap_or_default();
            let aside = directory.with_file_name(format!(
                "{}.before-import-{time}",
                directory.file_name().unwrap_or_default().to_string_lossy()
            ));
            move_aside(directory, &aside)?;
            moved = Some(aside);
        }
        if let Err(error) = fs::rename(&self.path, directory) {
            // As it was.
            if let Some(aside) = &moved {
                let _ = fs::rename(aside, directory);
            }
            return Err(ArchiveError::io("create", directory)(error));
        }
        self.is_done = true;
        sync_directory(directory_of(directory))?;
        Ok(moved)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.is_done {
            // It is of no use to anybody; if it stays its name tells so.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Renames a directory, or what is in its place, to a name that is free.
fn move_aside(directory: &Path, aside: &Path) -> Result<(), ArchiveError> {
    let occupied =
        || ArchiveError::Occupied { path: printable(aside.as_os_str().as_encoded_bytes()) };
    match rename_to_free(CWD, directory, aside) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Err(occupied()),
        // Where renaming cannot be told to spare others, they are looked for.
        Err(_) if aside.symlink_metadata().is_ok() => Err(occupied()),
        Err(_) => fs::rename(directory, aside).map_err(ArchiveError::io("move aside", directory)),
    }
}

/// A hidden name beside a directory.
fn beside(directory: &Path, suffix: &str) -> PathBuf {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    directory.with_file_name(format!(".{name}.{suffix}"))
}

/// Whether there is nothing at a place, or an empty directory.
///
/// # Errors
/// Fails if it cannot be looked at.
pub fn is_free(directory: &Path) -> Result<bool, ArchiveError> {
    match fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(directory.symlink_metadata().is_err())
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(ArchiveError::io("list", directory)(error)),
    }
}
