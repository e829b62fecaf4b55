//! What a snapshot is to be taken of, and what became of it.

use std::path::PathBuf;
use std::time::Duration;

use crate::base::id::SnapshotId;
use crate::base::limits::{LABEL_BYTES_MAX, MANIFEST_LIST_MAX, MANIFEST_TEXT_BYTES_MAX};
use crate::base::time::Timestamp;
use crate::compression::Compression;
use crate::dag::{Counters, Manifest};
use crate::ingest::error::IngestError;
use crate::ingest::fingerprint::Detection;
use crate::ingest::selection::SelectionOptions;
use crate::ingest::stream::StreamRequest;
use crate::repository::{Added, Repository};

/// Bytes of all the texts of one list of a manifest.
const LIST_BYTES_MAX: usize = 1 << 20;

/// What to take a snapshot of, and what to record about it.
#[derive(Clone, Debug)]
pub struct CreateRequest {
    /// What to read.
    pub input: Input,
    /// What the snapshot is said to be of, as bytes.
    pub source_names: Vec<Vec<u8>>,
    /// What of the input belongs to the snapshot.
    pub selection: SelectionOptions,
    /// How changes are detected.
    pub detection: Detection,
    /// The host's name.
    pub host: String,
    /// The user's name.
    pub user: String,
    /// A text of the user's.
    pub description: String,
    /// Labels of the user's.
    pub tags: Vec<String>,
    /// The snapshot's time.
    pub time: Timestamp,
    /// The program's name and version.
    pub program: String,
    /// The snapshot that this one follows; if none is given, the newest one of
    /// the same host and sources.
    pub parent: Option<SnapshotId>,
    /// Keep access times.
    pub with_atime: bool,
    /// Files that are read at once.
    pub read_concurrency: usize,
    /// Bytes of the input that are read in a second at most.
    pub bytes_per_second: Option<u64>,
    /// How chunks are compressed.
    pub compression: Compression,
}

/// What to read.
#[derive(Clone, Debug)]
pub enum Input {
    /// Files and directories.
    Files {
        /// Absolute or relative to the working directory.
        sources: Vec<PathBuf>,
        /// What relative sources are relative to.
        working_directory: PathBuf,
    },
    /// A stream that becomes a file.
    Stream(StreamRequest),
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct CreateReport {
    /// The snapshot; none in a dry run.
    pub id: Option<SnapshotId>,
    /// The snapshot that it follows.
    pub parent: Option<SnapshotId>,
    /// Its time.
    pub time: Timestamp,
    /// What it holds.
    pub counters: Counters,
    /// How that differs from what was there the last time.
    pub changes: Changes,
    /// Items that were left out by the selection.
    pub excluded: u64,
    /// What was new to the repository.
    pub added: Added,
    /// What was left out on purpose.
    pub notes: Vec<String>,
    /// Messages about source items that could not be read whole, the first of
    /// them.
    pub errors: Vec<String>,
    /// How long it took.
    pub duration: Duration,
}

/// How a snapshot differs from what the last one found in the same place, or,
/// where nothing is known of that, from its parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files of any kind but directories that were not there.
    pub files_new: u64,
    /// Files that differ in content or metadata.
    pub files_changed: u64,
    /// Files that do not differ.
    pub files_unmodified: u64,
    /// Directories that were not there.
    pub dirs_new: u64,
    /// Directories that differ in metadata or in what lies below them.
    pub dirs_changed: u64,
    /// Directories that do not differ.
    pub dirs_unmodified: u64,
    /// Regular files whose content was read.
    pub files_read: u64,
    /// Bytes that were read of them.
    pub bytes_read: u64,
}

impl CreateRequest {
    /// Refuses texts that the manifest could not hold, before anything is read.
    pub(crate) fn check(&self) -> Result<(), IngestError> {
        for (what, text, max) in [
            ("the description", &self.description, MANIFEST_TEXT_BYTES_MAX),
            ("the host's name", &self.host, LABEL_BYTES_MAX),
            ("the user's name", &self.user, LABEL_BYTES_MAX),
        ] {
            if text.len() > max {
                return Err(IngestError::TooLong { what, max });
            }
        }
        check_list(&self.source_names, ["the list of sources", "a source"])?;
        check_list(&self.tags, ["the list of tags", "a tag"])
    }

    /// The patterns that were applied, as texts for the manifest; of very many
    /// the first ones.
    pub(crate) fn exclude_texts(&self) -> Vec<String> {
        let selection = &self.selection;
        let option = |name: &'static str| move |pattern: &String| format!("--{name} {pattern}");
        let mut texts: Vec<String> = selection.excludes.iter().map(option("exclude")).collect();
        texts.extend(selection.excludes_ignoring_case.iter().map(option("iexclude")));
        texts.extend(selection.includes.iter().map(option("include")));
        let marker =
            |marker: &crate::ingest::Marker| format!("--exclude-if-present {}", marker.name);
        texts.extend(selection.markers.iter().map(marker));
        texts.extend(selection.larger_than.map(|bytes| format!("--exclude-larger-than {bytes}")));
        for (given, name) in [
            (selection.nodump, "--exclude-nodump"),
            (selection.one_file_system, "--one-file-system"),
        ] {
            texts.extend(given.then(|| name.to_owned()));
        }
        let (all, mut bytes) = (texts.len(), 0);
        texts.retain(|text| {
            bytes += text.len();
            bytes <= LIST_BYTES_MAX
        });
        texts.truncate(MANIFEST_LIST_MAX - 1);
        if texts.len() < all {
            texts.push(format!("and {} more", all - texts.len()));
        }
        texts
    }

    /// Finds the snapshot that this one follows.
    pub(crate) fn find_parent(
        &self,
        repository: &Repository,
    ) -> Result<Option<(SnapshotId, Manifest)>, IngestError> {
        if let Some(id) = self.parent {
            let manifest = repository.manifest(&id)?;
            return Ok(manifest.map(|manifest| (id, manifest)));
        }
        let snapshots = repository.catalog()?.snapshots;
        let fits = |(_, manifest): &(SnapshotId, Manifest)| {
            manifest.host == self.host
                && manifest.sources == self.source_names
                && manifest.time <= self.time
        };
        Ok(snapshots.into_iter().rfind(fits))
    }
}

fn check_list(texts: &[impl AsRef<[u8]>], names: [&'static str; 2]) -> Result<(), IngestError> {
    let [list, text] = names;
    if texts.len() > MANIFEST_LIST_MAX {
        return Err(IngestError::TooLong { what: list, max: MANIFEST_LIST_MAX });
    }
    if texts.iter().any(|text| text.as_ref().len() > MANIFEST_TEXT_BYTES_MAX) {
        return Err(IngestError::TooLong { what: text, max: MANIFEST_TEXT_BYTES_MAX });
    }
    if texts.iter().map(|text| text.as_ref().len()).sum::<usize>() > LIST_BYTES_MAX {
        return Err(IngestError::TooLong { what: list, max: LIST_BYTES_MAX });
    }
    Ok(())
}
