//! The record by which a restore is taken back: JSON in a file, sealed where the
//! repository is.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::files::{open_own, replace_own};
use crate::base::format::{self, one_line};
use crate::base::id::{hex, parse_hex_bytes};
use crate::base::time::Timestamp;
use crate::cli::context::Context;
use crate::cli::exit::CommandError;
use crate::cli::output::path_text;
use crate::dag::Xattr;
use crate::repository::{Layout, Repository};
use crate::restore::{Created, DirectoryState};

pub(super) const VERSION: u32 = 1;
/// Bytes of a record at most, unsealed: those of some ten million items.
const BYTES_MAX: usize = 1 << 30;
/// The same sealed.
const STORED_BYTES_MAX: u64 = BYTES_MAX as u64 + 1024;

/// The record in its file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RollbackRecord {
    pub(crate) version: u32,
    /// The name of its file: among those of a repository none passes for another.
    #[serde(default)]
    pub(crate) name: Option<Text>,
    /// When the restore began.
    pub(crate) time: String,
    /// The snapshot that was restored.
    pub(crate) restored: String,
    /// The directory that it was restored into.
    pub(crate) target: Text,
    /// The snapshot of what it replaced or deleted.
    pub(crate) rollback: Option<String>,
    /// Paths below the target that it replaced or deleted.
    pub(crate) replaced: Vec<Text>,
    /// Items that it made, each directory before what is in it.
    pub(crate) created: Vec<CreatedItem>,
    /// Directories as they were.
    pub(crate) directories: Vec<DirectoryItem>,
    /// When it was taken back.
    pub(crate) undone: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CreatedItem {
    pub(crate) path: Text,
    pub(crate) kind: String,
    pub(crate) bytes: u64,
    pub(crate) mtime: (i64, u32),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DirectoryItem {
    pub(crate) path: Text,
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: (i64, u32),
    pub(crate) xattrs: Vec<(Text, Text)>,
}

/// Bytes as text, or as hexadecimal digits behind `hex:` where they are none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Text(pub(crate) Vec<u8>);

const HEX: &str = "hex:";

impl From<Text> for String {
    fn from(Text(bytes): Text) -> Self {
        match Self::from_utf8(bytes) {
            Ok(text) if !text.starts_with(HEX) => text,
            Ok(text) => format!("{HEX}{}", hex(text.as_bytes())),
            Err(error) => format!("{HEX}{}", hex(error.as_bytes())),
        }
    }
}

impl TryFrom<String> for Text {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let Some(digits) = text.strip_prefix(HEX) else { return Ok(Self(text.into_bytes())) };
        parse_hex_bytes(digits).map(Self).ok_or_else(|| format!("{text:?} is not hexadecimal"))
    }
}

/// Decodes any bytes as a record, for fuzzers.
pub(crate) fn decode_any(bytes: &[u8]) {
    let decode = |bytes: &[u8]| decode(Path::new("a record"), bytes);
    let Ok(record) = decode(bytes) else { return };
    let Ok(text) = serde_json::to_vec(&record) else { return };
    let again = decode(&text).ok().and_then(|again| serde_json::to_vec(&again).ok());
    assert_eq!(again, Some(text), "written differently");
}

impl RollbackRecord {
    /// Writes it whole or not at all, as nobody reads or forges it who has not the
    /// repository's key, if there is one.
    pub(crate) fn write(
        &mut self,
        repository: &Repository,
        path: &Path,
    ) -> Result<(), CommandError> {
        self.name = name_of(path);
        let failed = || CommandError::io(format!("write {}", path_text(path)));
        let text = serde_json::to_vec(self).map_err(|error| failed()(error.into()))?;
        if text.len() > BYTES_MAX {
            return Err(CommandError::Refused(format!(
                "What is needed to take this back does not fit into {}; --no-rollback goes without",
                format::bytes(BYTES_MAX as u64)
            )));
        }
        let stored = repository.seal_rollback(text)?;
        replace_own(path, &stored).map_err(failed())
    }

    /// Reads one that somebody named, wherever it was moved.
    pub(crate) fn read(
        context: &Context,
        repository: &Repository,
        path: &Path,
    ) -> Result<Self, CommandError> {
        let directory = Layout::new(&context.repository).rollbacks();
        let is_own = || Some(path.canonicalize().ok()?.parent()? == directory.canonicalize().ok()?);
        if is_own() == Some(true) {
            return Self::read_own(repository, path);
        }
        read(repository, path, File::open(path))
    }

    /// Reads one of the repository, which may come from somebody else.
    pub(crate) fn read_own(repository: &Repository, path: &Path) -> Result<Self, CommandError> {
        let record = read(repository, path, open_own(File::options().read(true), path))?;
        // Without a key anybody could make one with any name.
        if repository.is_encrypted() && record.name != name_of(path) {
            return Err(no_record(path, "it was made under another name"));
        }
        Ok(record)
    }
}

fn name_of(path: &Path) -> Option<Text> {
    path.file_name().map(|name| Text(name.as_encoded_bytes().to_vec()))
}

fn read(
    repository: &Repository,
    path: &Path,
    opened: io::Result<File>,
) -> Result<RollbackRecord, CommandError> {
    let failed = || CommandError::io(format!("read {}", path_text(path)));
    let file = opened.map_err(failed())?;
    if !repository.is_encrypted() {
        // Piece by piece: what is no record may be of any size.
        return decode(path, io::BufReader::new(file));
    }
    // One that is sealed is read as a whole, so a larger file is none.
    if file.metadata().is_ok_and(|metadata| metadata.len() > STORED_BYTES_MAX) {
        return Err(no_record(path, "it is too large"));
    }
    let mut stored = Vec::new();
    file.take(STORED_BYTES_MAX).read_to_end(&mut stored).map_err(failed())?;
    match repository.open_rollback(&stored) {
        Ok(text) => decode(path, &*text),
        Err(detail) => Err(no_record(path, &detail)),
    }
}

fn decode(path: &Path, input: impl Read) -> Result<RollbackRecord, CommandError> {
    let decoded = serde_json::from_reader(input);
    let record: RollbackRecord =
        decoded.map_err(|error| no_record(path, &one_line(&error.to_string())))?;
    match record.version {
        VERSION => Ok(record),
        version => Err(CommandError::Failed(format!(
            "{} is of version {version}, which needs a newer icecore",
            path_text(path)
        ))),
    }
}

fn no_record(path: &Path, detail: &str) -> CommandError {
    CommandError::Failed(format!("{} is no record of a restore: {detail}", path_text(path)))
}

impl CreatedItem {
    pub(crate) fn to_created(&self) -> Created {
        Created {
            path: self.path.0.clone(),
            kind: self.kind.clone(),
            bytes: self.bytes,
            mtime: Timestamp::new(self.mtime.0, self.mtime.1).unwrap_or_default(),
        }
    }
}

impl DirectoryItem {
    pub(crate) fn to_state(&self) -> DirectoryState {
        let xattr = |(name, value): &(Text, Text)| Xattr {
            name: name.0.clone().into(),
            value: value.0.clone().into(),
        };
        DirectoryState {
            path: self.path.0.clone(),
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            mtime: Timestamp::new(self.mtime.0, self.mtime.1).unwrap_or_default(),
            xattrs: self.xattrs.iter().map(xattr).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_survive_a_record() {
        for bytes in [&b""[..], b"plain", b"hex:61", b"\xff\n", "\u{e9}".as_bytes()] {
            let text = serde_json::to_string(&Text(bytes.to_vec())).unwrap();
            assert_eq!(serde_json::from_str::<Text>(&text).unwrap().0, bytes, "{text}");
        }
        assert!(serde_json::from_str::<Text>("\"hex:6\"").is_err());
    }
}
