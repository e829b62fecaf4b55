//! `icecore restore --undo`: takes a restore back.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::audit::{EventKind, Record};
use crate::base::format;
use crate::base::id::SnapshotId;
use crate::base::name::printable;
use crate::cli::audit::audited;
use crate::cli::commands::restore::execute;
use crate::cli::commands::rollback_record::RollbackRecord;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::{Output, path_text};
use crate::cli::restore_options::RestoreArguments;
use crate::patterns::PathPatterns;
use crate::repository::{Layout, Reader, RepositoryError, SnapshotName};
use crate::restore::{
    Comparison, Overwrite, OwnerPolicy, RestoreReport, RestoreRequest, reset_directories,
    undo_created,
};

/// Items that stay and are named.
const KEPT_SHOWN: usize = 20;

/// What `restore --undo --json` prints; others may rely on its names.
#[derive(Serialize)]
struct Facts {
    r#type: &'static str,
    record: String,
    target: String,
    removed: u64,
    restored: u64,
    /// Directories that get back what they were.
    directories: u64,
    kept: Vec<String>,
    problems: u64,
    dry_run: bool,
}

pub(crate) fn run(
    context: &Context,
    arguments: &RestoreArguments,
    file: Option<&Path>,
) -> Result<Outcome, CommandError> {
    let reader = context.reader()?;
    let (file, mut record) = match file {
        Some(file) => (file.to_owned(), RollbackRecord::read(context, &reader, file)?),
        None => newest(context, &reader)?,
    };
    if let Some(time) = &record.undone {
        let time = printable(time.as_bytes());
        let text = format!("{} was taken back already, at {time}", path_text(&file));
        return Err(CommandError::Refused(text));
    }
    let target = PathBuf::from(OsString::from_vec(record.target.0.clone()));
    let [created, replaced, directories] =
        [record.created.len(), record.replaced.len(), record.directories.len()]
            .map(|count| count as u64);
    let question = format!(
        "Take back the restore of {} into {}: remove {}, bring back {}, give {} the owner, \
         mode and attributes that it says?",
        printable(record.time.as_bytes()),
        path_text(&target),
        format::plural(created, "item", "items"),
        format::plural(replaced, "item", "items"),
        format::plural(directories, "directory", "directories"),
    );
    if arguments.dry_run {
        let mut output = Output::new();
        let facts = facts(&file, &target, (created, replaced, directories), (Vec::new(), 0), true);
        match context.json {
            true => output.json(&facts)?,
            false => output.line(&question.replace('?', ""))?,
        }
        output.finish()?;
        return Ok(Outcome::Done);
    }
    context.confirm(&question, arguments.yes)?;
    audited(context, "restore --undo", false, |trail| {
        let taken = take_back(context, &reader, arguments, &record, &target)?;
        record.undone = Some(context.now.to_rfc3339());
        if taken.problems == 0 {
            record.write(&reader, &file)?;
        }
        let outcome = if taken.problems == 0 { Outcome::Done } else { Outcome::Incomplete };
        let ids = record.rollback.as_ref().and_then(|id| id.parse::<SnapshotId>().ok());
        let event = Record::new(EventKind::SnapshotRestored)
            .snapshots(ids)
            .path(path_text(&target))
            .text("undo_of", &path_text(&file))
            .count("removed", taken.removed)
            .count("restored", taken.restored)
            .count("problems", taken.problems);
        trail.record(event, outcome.code());
        print(context, &file, &target, taken)?;
        Ok(outcome)
    })
}

/// What was taken back.
struct Taken {
    removed: u64,
    restored: u64,
    directories: u64,
    kept: Vec<Vec<u8>>,
    problems: u64,
}

fn take_back(
    context: &Context,
    reader: &Reader,
    arguments: &RestoreArguments,
    record: &RollbackRecord,
    target: &Path,
) -> Result<Taken, CommandError> {
    // First of all, so that nothing goes that could not come back.
    let source = source(reader, record, target)?;
    let _lease = match &source {
        Some(named) => Some(reader.lease(named.id)?),
        None => None,
    };
    let created: Vec<_> = record.created.iter().map(|item| item.to_created()).collect();
    let directories: Vec<_> = record.directories.iter().map(|item| item.to_state()).collect();
    let terminal = context.terminal();
    let removed = undo_created(target, &created, &terminal);
    terminal.finish();
    let removed = removed.map_err(|error| context.signals.explain(error.into()))?;
    let report = match source {
        Some(named) => execute(context, reader, &request(arguments, named))?,
        None => RestoreReport::default(),
    };
    let terminal = context.terminal();
    let reset = reset_directories(target, &directories, &terminal);
    terminal.finish();
    let counts = report.counts;
    Ok(Taken {
        removed: removed.removed,
        restored: counts.files_created
            + counts.files_replaced
            + counts.files_updated
            + counts.dirs_created,
        directories: directories.len() as u64,
        kept: removed.kept,
        problems: removed.problems + report.problems + reset?.problems,
    })
}

/// The snapshot of what was replaced.
fn source(
    reader: &Reader,
    record: &RollbackRecord,
    target: &Path,
) -> Result<Option<SnapshotName>, CommandError> {
    let Some(name) = &record.rollback else { return Ok(None) };
    let gone = || RepositoryError::NoSuchSnapshot { name: name.clone() };
    let id: SnapshotId = name.parse().map_err(|_| gone())?;
    let manifest = reader.manifest(&id)?.ok_or_else(gone)?;
    let path = target.as_os_str().as_bytes();
    let path = path.strip_prefix(b"/").unwrap_or(path).to_vec();
    Ok(Some(SnapshotName { id, manifest, path }))
}

fn request(arguments: &RestoreArguments, source: SnapshotName) -> RestoreRequest {
    let is_root = rustix::process::geteuid().is_root();
    let owners = if is_root { OwnerPolicy::Numbers } else { OwnerPolicy::Nobody };
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    RestoreRequest {
        source,
        target: PathBuf::from("/"),
        in_place: true,
        strip_components: 0,
        includes: PathPatterns::none(),
        excludes: PathPatterns::none(),
        overwrite: Overwrite::IfChanged,
        comparison: Comparison::Content,
        delete: None,
        owners,
        sparse: false,
        verify: arguments.verify,
        workers: processors * 2,
    }
}

/// The record of the last restore in place.
fn newest(context: &Context, reader: &Reader) -> Result<(PathBuf, RollbackRecord), CommandError> {
    let directory = Layout::new(&context.repository).rollbacks();
    let none = || {
        CommandError::Failed(format!(
            "There is no record of a restore to be taken back in {}; name one: --undo FILE",
            path_text(&directory)
        ))
    };
    let entries = fs::read_dir(&directory).map_err(|_| none())?;
    let names = entries.flatten().map(|entry| entry.path());
    let is_record = |path: &PathBuf| path.extension() == Some(OsStr::new("json"));
    let mut records: Vec<_> = names.filter(is_record).collect();
    records.sort_unstable();
    let open = |path: PathBuf| {
        let record =
            RollbackRecord::read_own(reader, &path).ok().filter(|record| record.undone.is_none());
        record.map(|record| (path, record))
    };
    records.into_iter().rev().find_map(open).ok_or_else(none)
}

fn facts(
    file: &Path,
    target: &Path,
    (removed, restored, directories): (u64, u64, u64),
    (kept, problems): (Vec<Vec<u8>>, u64),
    dry_run: bool,
) -> Facts {
    Facts {
        r#type: "summary",
        record: path_text(file),
        target: path_text(target),
        removed,
        restored,
        directories,
        kept: kept.iter().map(|path| printable(path)).collect(),
        problems,
        dry_run,
    }
}

fn print(context: &Context, file: &Path, target: &Path, taken: Taken) -> Result<(), CommandError> {
    let mut output = Output::new();
    if context.json {
        let counts = (taken.removed, taken.restored, taken.directories);
        output.json(&facts(file, target, counts, (taken.kept, taken.problems), false))?;
    } else if !context.quiet {
        for path in taken.kept.iter().take(KEPT_SHOWN) {
            context.note(&format!("{}: stays, since it was changed meanwhile", printable(path)));
        }
        if taken.kept.len() > KEPT_SHOWN {
            context.note(&format!("and {} more stay", taken.kept.len() - KEPT_SHOWN));
        }
        output.line(&format!(
            "Taken back in {}: {} removed, {} brought back, {} kept",
            path_text(target),
            format::plural(taken.removed, "item", "items"),
            format::count(taken.restored),
            format::count(taken.kept.len() as u64),
        ))?;
    }
    output.finish()
}
