//! The anchor: what is kept of segments that were removed, so that the chain of
//! the others still begins somewhere.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::audit::append::sync_directory;
use crate::audit::error::AuditError;
use crate::audit::event::Link;
use crate::base::files::open_own;
use crate::base::format::one_line;
use crate::base::hash::Digest256;
use crate::base::id::{hex, parse_hex};
use crate::base::limits::ANCHOR_BYTES_MAX;

/// What is known of the events that were removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The last segment that was removed.
    pub segment: u64,
    /// The last event that was removed, which is how many were.
    pub sequence: u64,
    /// Its hash: what the first event that is left calls the previous one.
    pub hash: Digest256,
    /// The time of the first event of all.
    pub first_time: String,
    /// The time of the last event that was removed.
    pub last_time: String,
    /// When it was removed.
    pub removed_at: String,
}

#[derive(Serialize, Deserialize)]
struct AnchorFile {
    segment: u64,
    events_removed: u64,
    hash: String,
    first_time: String,
    last_time: String,
    removed_at: String,
}

impl Anchor {
    /// The place of the last event that was removed.
    pub(super) const fn link(&self) -> Link {
        Link { sequence: self.sequence, hash: self.hash }
    }

    pub(super) fn path(directory: &Path) -> PathBuf {
        directory.join("anchor.json")
    }

    /// Reads the anchor, if anything was ever removed.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, AuditError> {
        let path = Self::path(directory);
        let file = match open_own(OpenOptions::new().read(true), &path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(AuditError::io("open", &path)(error)),
        };
        let mut bytes = Vec::new();
        let read = file.take(ANCHOR_BYTES_MAX).read_to_end(&mut bytes);
        read.map_err(AuditError::io("read", &path))?;
        let damaged = |detail: String| AuditError::Damaged { path: path.clone(), detail };
        let file: AnchorFile = serde_json::from_slice(&bytes)
            .map_err(|error| damaged(one_line(&error.to_string())))?;
        let hash = parse_hex(&file.hash).ok_or_else(|| damaged("`hash` is none".to_owned()))?;
        if file.segment.checked_add(1).is_none() {
            return Err(damaged("`segment` is none".to_owned()));
        }
        Ok(Some(Self {
            segment: file.segment,
            sequence: file.events_removed,
            hash,
            first_time: file.first_time,
            last_time: file.last_time,
            removed_at: file.removed_at,
        }))
    }

    /// Writes the anchor whole or not at all.
    pub(super) fn write(&self, directory: &Path) -> Result<(), AuditError> {
        let file = AnchorFile {
            segment: self.segment,
            events_removed: self.sequence,
            hash: hex(&self.hash),
            first_time: self.first_time.clone(),
            last_time: self.last_time.clone(),
            removed_at: self.removed_at.clone(),
        };
        let (path, temporary) = (Self::path(directory), directory.join("anchor.tmp"));
        let written = serde_json::to_vec(&file).map_err(io::Error::from).and_then(|mut bytes| {
            bytes.push(b'\n');
            let mut options = OpenOptions::new();
            let options = options.write(true).create(true).truncate(true);
            let mut output = open_own(options, &temporary)?;
            output.write_all(&bytes)?;
            output.sync_all()
        });
        written.map_err(AuditError::io("write", &temporary))?;
        fs::rename(&temporary, &path).map_err(AuditError::io("replace", &path))?;
        sync_directory(directory)
    }
}
