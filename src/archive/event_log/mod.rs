//! Event logs: directories of segments whose events form a chain of hashes.
//!
//! Purpose: [`EventLog`] takes what there is of a log at one moment, without a
//! lock, and proves its chain. Logs of icecore and of other programs with files of
//! the same names are understood; `docs/archive.md` says which. It is a second
//! reading of `docs/format.md`, written apart from the `audit` module.
//!
//! Invariants:
//! - All files are open before the first one is read, so that what is removed
//!   meanwhile is still whole.
//! - Neither a file nor an event is ever held as a whole tree of values: the proof
//!   takes a few MiB, whatever a log holds.
//! - Of the last segment only whole events count; it may grow meanwhile.

mod chain;
mod content;
mod document;
mod facts;
mod state;

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::archive::error::ArchiveError;
use crate::archive::event_log::chain::Chain;
use crate::archive::event_log::content::ContentReader;
use crate::archive::event_log::state::{STATES, State};
use crate::archive::manifest::ChainState;
use crate::base::name::printable;
use crate::base::time::Timestamp;
use crate::dag::{Kind, Node};
use crate::repository::Repository;

/// How often it is tried to take a log that changes meanwhile.
const TRIES: usize = 5;

/// An event log at one moment.
pub struct EventLog {
    files: Vec<LogFile>,
    chain: ChainState,
}

/// A file of it.
pub(super) struct LogFile {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// How many bytes of it count.
    pub(super) bytes: u64,
    pub(super) mtime: Timestamp,
    file: File,
}

impl LogFile {
    fn open(path: &Path) -> Result<Self, ArchiveError> {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(path);
        let file = file.map_err(ArchiveError::io("open", path))?;
        let metadata = file.metadata().map_err(ArchiveError::io("read", path))?;
        if !metadata.is_file() {
            let odd = io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
            return Err(ArchiveError::io("read", path)(odd));
        }
        let nanoseconds = u32::try_from(metadata.mtime_nsec()).unwrap_or_default();
        let mtime = Timestamp::new(metadata.mtime(), nanoseconds).unwrap_or_default();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, path: path.to_owned(), bytes: metadata.len(), mtime, file })
    }

    /// The bytes that count.
    pub(super) fn reader(&self) -> Result<impl Read + '_, ArchiveError> {
        let mut file = &self.file;
        file.rewind().map_err(ArchiveError::io("read", &self.path))?;
        Ok(file.take(self.bytes))
    }
}

impl EventLog {
    /// Takes the log in a directory and proves its chain. That it is broken is no
    /// failure.
    ///
    /// # Errors
    /// Fails if the directory holds no log or a file cannot be read.
    pub fn open(directory: &Path) -> Result<Self, ArchiveError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut log = Self::take(directory)?;
            // What was removed beside us would look as if it were missing.
            let is_same = names(directory)? == log.names();
            if is_same || tries == TRIES {
                log.prove()?;
                return Ok(log);
            }
        }
    }

    /// What the chain proved to be.
    #[must_use]
    pub const fn chain(&self) -> &ChainState {
        &self.chain
    }

    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    pub(super) fn files(&self) -> &[LogFile] {
        &self.files
    }

    fn names(&self) -> Vec<String> {
        self.files.iter().map(|file| file.name.clone()).collect()
    }

    fn take(directory: &Path) -> Result<Self, ArchiveError> {
        let names = names(directory)?;
        if !names.iter().any(|name| segment_number(name).is_some()) {
            let path = printable(directory.as_os_str().as_encoded_bytes());
            let detail = "it has no file segment-NNNNNN.json".to_owned();
            return Err(ArchiveError::EventLog { path, detail });
        }
        let mut files = Vec::new();
        for name in names {
            match LogFile::open(&directory.join(&name)) {
                Ok(file) => files.push(file),
                // It was removed meanwhile, which shows in the names.
                Err(ArchiveError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { files, chain: ChainState::default() })
    }

    fn prove(&mut self) -> Result<(), ArchiveError> {
        let state = self.files.iter().find(|file| STATES.contains(&file.name.as_str()));
        let state = match state {
            Some(file) => {
                let state = State::read(&file.name, file.reader()?);
                state.map_err(ArchiveError::io("read", &file.path))?
            }
            None => State::default(),
        };
        let removed = state.removed_until();
        let mut chain = Chain::new(state);
        // They are being removed: the state says it before it is done.
        self.files.retain(|file| segment_number(&file.name).is_none_or(|it| it > removed));
        let is_segment = |file: &LogFile| segment_number(&file.name).is_some();
        let last = self.files.iter().rposition(is_segment);
        for (place, file) in self.files.iter_mut().enumerate() {
            let Some(number) = segment_number(&file.name) else { continue };
            let is_last = Some(place) == last;
            let reader = BufReader::new(file.reader()?);
            let end = chain.segment(&file.name, number, reader, is_last);
            let end = end.map_err(ArchiveError::io("read", &file.path))?;
            if is_last {
                file.bytes = end.min(file.bytes);
            }
        }
        self.chain = chain.finish();
        Ok(())
    }
}

impl EventLog {
    /// Proves the chain of a log that is the content of a snapshot.
    ///
    /// # Errors
    /// Fails if the repository cannot be read.
    pub(super) fn in_snapshot(
        repository: &Repository,
        root: &Node,
    ) -> Result<ChainState, ArchiveError> {
        let Kind::Directory(tree) = &root.kind else { return Ok(ChainState::default()) };
        let mut files = Vec::new();
        let mut directory = repository.open_directory(tree);
        while let Some(entry) = directory.entry()? {
            if let Kind::File(content) = &entry.node.kind {
                let name = String::from_utf8_lossy(entry.name.as_bytes()).into_owned();
                files.push((segment_number(&name), name, content.clone()));
            }
            directory.advance();
        }
        files.sort_by_key(|(number, ..)| *number);
        let state = files.iter().find(|(_, name, _)| STATES.contains(&name.as_str()));
        let state = match state {
            Some((_, name, content)) => {
                let mut reader = ContentReader::new(repository, content)?;
                let state = State::read(name, &mut reader);
                state.map_err(|error| reader.failed(name, error))?
            }
            None => State::default(),
        };
        let mut chain = Chain::new(state);
        let segments: Vec<_> = files.iter().filter(|(number, ..)| number.is_some()).collect();
        for (place, (number, name, content)) in segments.iter().enumerate() {
            let (number, is_last) = (number.unwrap_or_default(), place + 1 == segments.len());
            let mut reader = ContentReader::new(repository, content)?;
            let end = chain.segment(name, number, BufReader::new(&mut reader), is_last);
            end.map_err(|error| reader.failed(name, error))?;
        }
        Ok(chain.finish())
    }
}

/// The number of a segment, by its name.
fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("segment-")?.strip_suffix(".json")?;
    let is_plain = (6..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| is_plain)
}

/// The names of a log's files: segments by number, then its state.
fn names(directory: &Path) -> Result<Vec<String>, ArchiveError> {
    let mut names = Vec::new();
    let entries = fs::read_dir(directory).map_err(ArchiveError::io("list", directory))?;
    for entry in entries {
        let entry = entry.map_err(ArchiveError::io("list", directory))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if segment_number(&name).is_some() || STATES.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names.sort_by_key(|name| (segment_number(name).unwrap_or(u64::MAX), name.clone()));
    Ok(names)
}
