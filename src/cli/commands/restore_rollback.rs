//! Saving what a restore is going to replace or delete, and the record by which
//! it is taken back.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::audit::{EventKind, Record};
use crate::base::files::{open_own, replace_own};
use crate::base::format::one_line;
use crate::base::id::{SnapshotId, hex, parse_hex_bytes};
use crate::base::time::{NANOS_PER_SECOND, Timestamp};
use crate::cli::context::{self, Context};
use crate::cli::exit::CommandError;
use crate::cli::output::path_text;
use crate::dag::Xattr;
use crate::ingest::{self, CreateRequest, Detection, Input, SelectionOptions};
use crate::repository::Layout;
use crate::restore::{Action, Created, DirectoryState, Observer, Planned, RestoreRequest};

/// The tag of snapshots that are taken before a restore.
const TAG: &str = "icecore:rollback";
const VERSION: u32 = 1;

/// What a restore is taken back by.
pub(crate) struct Rollback {
    /// The snapshot of what was replaced; none if nothing was.
    pub(crate) snapshot: Option<SnapshotId>,
    /// The file.
    pub(crate) record: PathBuf,
}

/// The record in its file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RollbackRecord {
    pub(crate) version: u32,
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
    path: Text,
    kind: String,
    bytes: u64,
    mtime: (i64, u32),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DirectoryItem {
    path: Text,
    mode: u16,
    uid: u32,
    gid: u32,
    mtime: (i64, u32),
    xattrs: Vec<(Text, Text)>,
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

/// Collects from a plan what is needed to take it back.
pub(crate) struct Collector {
    is_wanted: bool,
    state: Mutex<Collected>,
}

#[derive(Default)]
struct Collected {
    replaced: Vec<Vec<u8>>,
    created: Vec<CreatedItem>,
    directories: Vec<DirectoryItem>,
}

impl Collector {
    pub(crate) fn new(is_wanted: bool) -> Self {
        Self { is_wanted, state: Mutex::default() }
    }
}

impl Observer for Collector {
    fn item(&self, planned: &Planned<'_>) {
        if !self.is_wanted {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match planned.action {
            Action::Create => state.created.push(CreatedItem {
                path: Text(planned.path.to_vec()),
                kind: planned.kind.to_owned(),
                bytes: planned.bytes,
                mtime: (planned.mtime.seconds(), planned.mtime.nanoseconds()),
            }),
            // Of a directory only the metadata is at stake, which has its own
            // place in the record.
            Action::Update if planned.kind == "directory" => {}
            Action::Replace | Action::Update | Action::Delete => {
                state.replaced.push(planned.path.to_vec());
            }
            Action::Unchanged | Action::Keep => {}
        }
    }

    fn directory(&self, state: DirectoryState) {
        let xattr = |xattr: Xattr| (Text(xattr.name.into()), Text(xattr.value.into()));
        let item = DirectoryItem {
            path: Text(state.path),
            mode: state.mode,
            uid: state.uid,
            gid: state.gid,
            mtime: (state.mtime.seconds(), state.mtime.nanoseconds()),
            xattrs: state.xattrs.into_iter().map(xattr).collect(),
        };
        self.state.lock().unwrap_or_else(PoisonError::into_inner).directories.push(item);
    }

    fn wants_directories(&self) -> bool {
        self.is_wanted
    }
}

/// Takes a snapshot of what will be replaced, and writes the record.
pub(crate) fn save(
    context: &Context,
    request: &RestoreRequest,
    collector: Collector,
    file: Option<&Path>,
) -> Result<Rollback, CommandError> {
    let collected = collector.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let found = CommandError::io(format!("find {}", path_text(&request.target)));
    let target = match fs::canonicalize(&request.target) {
        // Nothing that is there can be replaced.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::path::absolute(&request.target).map_err(found)?
        }
        target => target.map_err(found)?,
    };
    let mut collected = collected;
    // A directory that a file takes the place of is both deleted and replaced.
    collected.replaced.dedup();
    let snapshot = match collected.replaced.is_empty() {
        true => None,
        false => Some(take_snapshot(context, request, &target, &collected.replaced)?),
    };
    let record = RollbackRecord {
        version: VERSION,
        time: context.now.to_rfc3339(),
        restored: request.source.id.to_string(),
        target: Text(target.into_os_string().into_vec()),
        rollback: snapshot.map(|id| id.to_string()),
        replaced: collected.replaced.into_iter().map(Text).collect(),
        created: collected.created,
        directories: collected.directories,
        undone: None,
    };
    let path = match file {
        Some(file) => file.to_owned(),
        None => default_place(context, &request.source.id)?,
    };
    write(&path, &record)?;
    Ok(Rollback { snapshot, record: path })
}

fn default_place(context: &Context, id: &SnapshotId) -> Result<PathBuf, CommandError> {
    let directory = Layout::new(&context.repository).rollbacks();
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
    made.map_err(CommandError::io(format!("make {}", path_text(&directory))))?;
    let time = Timestamp::now().to_utc_text("%Y%m%dT%H%M%S.%9fZ").unwrap_or_default();
    Ok(directory.join(format!("{time}-{}.json", id.short())))
}

fn take_snapshot(
    context: &Context,
    restored: &RestoreRequest,
    target: &Path,
    replaced: &[Vec<u8>],
) -> Result<SnapshotId, CommandError> {
    let path = |path: &Vec<u8>| target.join(std::ffi::OsStr::from_bytes(path));
    let sources: Vec<PathBuf> = replaced.iter().map(path).collect();
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    let request = CreateRequest {
        input: Input::Files { sources, working_directory: PathBuf::from("/") },
        source_names: vec![target.as_os_str().as_bytes().to_vec()],
        // What is mounted below is not deleted either.
        selection: SelectionOptions {
            one_file_system: true,
            ignore_files: false,
            ..SelectionOptions::default()
        },
        detection: Detection::default(),
        host: context::host(),
        user: context::user(),
        description: format!(
            "before a restore into {} at {}",
            path_text(target),
            context.now.to_rfc3339()
        ),
        tags: vec![TAG.to_owned()],
        // A nanosecond older than what is restored, so that `latest` and times lead
        // where they led before.
        time: just_before(restored.source.manifest.time),
        program: concat!("icecore ", env!("CARGO_PKG_VERSION")).to_owned(),
        parent: None,
        with_atime: false,
        read_concurrency: processors * 2,
        bytes_per_second: None,
        compression: crate::compression::Compression::default(),
    };
    let terminal = context.terminal();
    let created = context
        .writer("restore", &terminal)
        .and_then(|writer| Ok(ingest::create(&writer, &request, &terminal)?));
    terminal.finish();
    let report = created.map_err(|error| context.signals.explain(error))?;
    let id = report.id.filter(|_| report.counters.errors == 0);
    if let Some(id) = report.id {
        let record = Record::new(EventKind::SnapshotCreated).snapshots([id]);
        let log = crate::audit::AuditLog::new(&Layout::new(&context.repository));
        let _ = log.append(&crate::cli::audit::actor(), &record);
    }
    id.ok_or_else(|| {
        CommandError::Refused(
            "Not all that would be replaced can be saved, so nothing was changed; --no-rollback \
             goes without"
                .to_owned(),
        )
    })
}

fn just_before(time: Timestamp) -> Timestamp {
    let before = match time.nanoseconds().checked_sub(1) {
        Some(nanoseconds) => Timestamp::new(time.seconds(), nanoseconds),
        None => Timestamp::new(time.seconds().saturating_sub(1), NANOS_PER_SECOND - 1),
    };
    before.unwrap_or(time)
}

/// Decodes any bytes as a record, for fuzzers.
pub(crate) fn decode_any(bytes: &[u8]) {
    let place = Path::new("a record");
    let Ok(record) = decode(place, Ok(bytes)) else { return };
    let Ok(text) = serde_json::to_vec(&record) else { return };
    let again = decode(place, Ok(text.as_slice())).ok().and_then(|r| serde_json::to_vec(&r).ok());
    assert_eq!(again, Some(text), "written differently");
}

/// Writes a record whole or not at all.
pub(crate) fn write(path: &Path, record: &RollbackRecord) -> Result<(), CommandError> {
    let failed = CommandError::io(format!("write {}", path_text(path)));
    let written = serde_json::to_vec(record)
        .map_err(io::Error::from)
        .and_then(|text| replace_own(path, &text));
    written.map_err(failed)
}

/// Reads a record that somebody named.
pub(crate) fn read(path: &Path) -> Result<RollbackRecord, CommandError> {
    decode(path, File::open(path))
}

/// Reads a record of the repository, which may come from somebody else.
pub(crate) fn read_own(path: &Path) -> Result<RollbackRecord, CommandError> {
    decode(path, open_own(File::options().read(true), path))
}

fn decode(path: &Path, opened: io::Result<impl Read>) -> Result<RollbackRecord, CommandError> {
    let file = opened.map_err(CommandError::io(format!("read {}", path_text(path))))?;
    // Piece by piece: what is no record may be of any size.
    let decoded = serde_json::from_reader(io::BufReader::new(file));
    let record: RollbackRecord = decoded.map_err(|error| {
        let detail = one_line(&error.to_string());
        CommandError::Failed(format!("{} is no record of a restore: {detail}", path_text(path)))
    })?;
    match record.version {
        VERSION => Ok(record),
        version => Err(CommandError::Failed(format!(
            "{} is of version {version}, which needs a newer icecore",
            path_text(path)
        ))),
    }
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
