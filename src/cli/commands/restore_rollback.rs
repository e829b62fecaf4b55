//! Saving what a restore is going to replace or delete.

use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::audit::{EventKind, Record};
use crate::base::id::SnapshotId;
use crate::base::time::{NANOS_PER_SECOND, Timestamp};
use crate::cli::audit::Trail;
use crate::cli::commands::rollback_record::{
    self, CreatedItem, DirectoryItem, RollbackRecord, Text,
};
use crate::cli::context::{self, Context};
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::path_text;
use crate::dag::Xattr;
use crate::ingest::{self, CreateRequest, Detection, Input, SelectionOptions};
use crate::repository::{Layout, Repository};
use crate::restore::{Action, DirectoryState, Observer, Planned, RestoreRequest};

/// The tag of snapshots that are taken before a restore.
const TAG: &str = "icecore:rollback";

/// What a restore is taken back by.
pub(crate) struct Rollback {
    /// The snapshot of what was replaced; none if nothing was.
    pub(crate) snapshot: Option<SnapshotId>,
    /// The file.
    pub(crate) record: PathBuf,
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
    repository: &Repository,
    request: &RestoreRequest,
    collector: Collector,
    file: Option<&Path>,
    trail: &Trail<'_>,
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
        false => Some(take_snapshot(context, request, &target, &collected.replaced, trail)?),
    };
    let mut record = RollbackRecord {
        version: rollback_record::VERSION,
        name: None,
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
    record.write(repository, &path)?;
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
    trail: &Trail<'_>,
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
        let code = if report.counters.errors == 0 { Outcome::Done } else { Outcome::Incomplete };
        let record = Record::new(EventKind::SnapshotCreated).snapshots([id]);
        trail.record(record.path(path_text(target)), code.code());
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
