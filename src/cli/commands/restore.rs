//! `icecore restore`: brings files of a snapshot back.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use crate::audit::{EventKind, Record};
use crate::base::format;
use crate::base::progress::Monitor;
use crate::base::time::{Timestamp, parse_expression};
use crate::cli::audit::{Trail, audited};
use crate::cli::commands::restore_report::{PlanOutput, print_summary};
use crate::cli::commands::restore_rollback::{self, Rollback};
use crate::cli::commands::restore_undo;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::path_text;
use crate::cli::progress::Terminal;
use crate::cli::restore_options::{OverwriteWhen, RestoreArguments, RestorePolicy};
use crate::patterns::PathPatterns;
use crate::repository::{LeaseGuard, Reader, SnapshotName, select_by_time};
use crate::restore::{
    Comparison, Counts, Deletion, Overwrite, OwnerPolicy, RestoreReport, RestoreRequest,
    TargetState, plan, restore, target_state,
};

/// Writers for each processor: while some wait for the disk, others work.
const WRITERS_PER_PROCESSOR: usize = 2;

pub(crate) fn run(
    context: &Context,
    arguments: &RestoreArguments,
) -> Result<Outcome, CommandError> {
    if let Some(record) = &arguments.undo.undo {
        return restore_undo::run(context, arguments, record.as_deref());
    }
    check(arguments)?;
    audited(context, "restore", arguments.dry_run, |trail| {
        let reader = context.reader()?;
        let (source, _lease) = source(context, arguments, &reader)?;
        let mut request = request(arguments, source)?;
        if arguments.dry_run {
            request.overwrite = told(arguments).unwrap_or(Overwrite::IfChanged);
            return dry_run(context, &reader, &request);
        }
        let (report, rollback) = match decide(context, arguments, &reader, &mut request, trail)? {
            Decision::Restore(rollback) => (execute(context, &reader, &request)?, rollback),
            Decision::Nothing(report) => (report, None),
        };
        let outcome = outcome(&report);
        trail.record(record(&request, &report), outcome.code());
        print_summary(context, &request, &report, false, rollback.as_ref())?;
        Ok(outcome)
    })
}

/// What is to be done.
enum Decision {
    /// To restore; with what takes it back, if that was wanted.
    Restore(Option<Rollback>),
    /// Nothing: all is as it should be.
    Nothing(RestoreReport),
}

/// Refuses what makes no sense together, before anything is opened.
fn check(arguments: &RestoreArguments) -> Result<(), CommandError> {
    let usage = |text: &str| Err(CommandError::Usage(text.to_owned()));
    let names_path = || {
        let bytes = arguments.source.as_ref().map(|source| source.as_bytes());
        bytes.is_some_and(|bytes| bytes.contains(&b':'))
    };
    let is_selective = arguments.existing.policy == RestorePolicy::Selective;
    if is_selective && arguments.selection.include.is_empty() && !names_path() {
        return usage("--policy selective needs to know what: give --include or SNAPSHOT:PATH");
    }
    let is_full = arguments.existing.policy == RestorePolicy::Full;
    if is_full && arguments.existing.checksum {
        return usage("--policy full writes everything, so there is nothing to --checksum");
    }
    if arguments.target.is_some() && arguments.at.is_some() && !begins_with_colon(arguments) {
        return usage("--at stands in the place of SNAPSHOT; give only :PATH before TARGET");
    }
    Ok(())
}

fn begins_with_colon(arguments: &RestoreArguments) -> bool {
    arguments.source.as_ref().is_some_and(|source| source.as_bytes().starts_with(b":"))
}

/// Finds the snapshot, and keeps it from being collected.
fn source(
    context: &Context,
    arguments: &RestoreArguments,
    reader: &Reader,
) -> Result<(SnapshotName, LeaseGuard), CommandError> {
    let named = match &arguments.at {
        None => {
            let name = arguments.source.as_ref().map(|source| source.as_bytes().to_vec());
            reader.find_snapshot_path(&name.unwrap_or_default(), context.now)?
        }
        Some(time) => {
            let snapshots = reader.catalog()?.snapshots;
            let found = select_by_time(&snapshots, time, context.now);
            let Some((id, manifest)) = found.and_then(|at| snapshots.into_iter().nth(at)) else {
                return Err(no_snapshot_at(time, context.now));
            };
            let path = arguments.source.as_ref().filter(|_| begins_with_colon(arguments));
            let path = path.map(|path| path.as_bytes().to_vec()).unwrap_or_default();
            let name = [id.to_string().as_bytes(), &path].concat();
            let SnapshotName { path, .. } = reader.find_snapshot_path(&name, context.now)?;
            SnapshotName { id, manifest, path }
        }
    };
    let lease = reader.lease(named.id)?;
    Ok((named, lease))
}

fn no_snapshot_at(time: &str, now: Timestamp) -> CommandError {
    match parse_expression(time, now) {
        None => CommandError::Usage(format!(
            "--at takes a time, such as 2026-01-15, \"2026-01-15 18:00\" or 3d; {time:?} is none"
        )),
        Some(_) => CommandError::Failed(format!(
            "No snapshot is as old as {time}; `icecore list` shows what there is"
        )),
    }
}

/// What the command line says of overwriting.
fn told(arguments: &RestoreArguments) -> Option<Overwrite> {
    let is_full = arguments.existing.policy == RestorePolicy::Full;
    match arguments.existing.overwrite {
        Some(OverwriteWhen::Always) => Some(Overwrite::Always),
        Some(OverwriteWhen::IfChanged) if is_full => Some(Overwrite::Always),
        Some(OverwriteWhen::IfChanged) => Some(Overwrite::IfChanged),
        Some(OverwriteWhen::IfNewer) => Some(Overwrite::IfNewer),
        Some(OverwriteWhen::Never) => Some(Overwrite::Never),
        None if arguments.yes => Some(meant(arguments)),
        None => None,
    }
}

/// What is meant by yes.
fn meant(arguments: &RestoreArguments) -> Overwrite {
    match arguments.existing.policy {
        RestorePolicy::Full => Overwrite::Always,
        RestorePolicy::Incremental | RestorePolicy::Selective => Overwrite::IfChanged,
    }
}

fn request(
    arguments: &RestoreArguments,
    source: SnapshotName,
) -> Result<RestoreRequest, CommandError> {
    let patterns = |patterns: &[String]| {
        PathPatterns::new(patterns, false).map_err(|error| CommandError::Usage(error.to_string()))
    };
    let is_root = rustix::process::geteuid().is_root();
    let metadata = &arguments.metadata;
    let owners = match () {
        () if metadata.no_owner || !is_root && !metadata.owner => OwnerPolicy::Nobody,
        () if metadata.numeric_ids => OwnerPolicy::Numbers,
        () => OwnerPolicy::Names,
    };
    let delete = arguments.existing.delete.then(|| Deletion {
        across_mounts: arguments.existing.delete_in_mounts,
        spared: spared(&source),
    });
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    let workers =
        metadata.write_concurrency.map_or(processors * WRITERS_PER_PROCESSOR, usize::from);
    Ok(RestoreRequest {
        target: target(arguments, &source)?,
        source,
        in_place: arguments.in_place,
        strip_components: arguments.selection.strip_components,
        includes: patterns(&arguments.selection.include)?,
        excludes: patterns(&arguments.selection.exclude)?,
        overwrite: Overwrite::Never,
        comparison: match arguments.existing.checksum {
            true => Comparison::Content,
            false => Comparison::Metadata,
        },
        delete,
        owners,
        sparse: metadata.sparse,
        verify: arguments.verify,
        workers,
    })
}

/// What `create` left out is not in the snapshot, and is spared all the same.
fn spared(source: &SnapshotName) -> PathPatterns {
    let excludes = &source.manifest.excludes;
    let patterns: Vec<_> =
        excludes.iter().filter_map(|text| text.strip_prefix("--exclude ")).collect();
    // What was understood once is understood now.
    PathPatterns::new(&patterns, false).unwrap_or_else(|_| PathPatterns::none())
}

fn target(arguments: &RestoreArguments, source: &SnapshotName) -> Result<PathBuf, CommandError> {
    let given = match (&arguments.at, &arguments.source) {
        (Some(_), Some(operand)) if !begins_with_colon(arguments) => Some(operand),
        _ => arguments.target.as_ref(),
    };
    if let Some(target) = given {
        return Ok(PathBuf::from(target));
    }
    if !arguments.in_place {
        let text = "Restore where to? Name a directory behind it, or say --in-place";
        return Err(CommandError::Usage(text.to_owned()));
    }
    let is_absolute = |source: &Vec<u8>| source.starts_with(b"/");
    if !source.manifest.sources.iter().all(is_absolute) {
        return Err(CommandError::Usage(format!(
            "Snapshot {} was taken of relative paths; say below which directory they were: \
             --in-place DIRECTORY",
            source.id.short()
        )));
    }
    Ok(PathBuf::from("/"))
}

fn dry_run(
    context: &Context,
    reader: &Reader,
    request: &RestoreRequest,
) -> Result<Outcome, CommandError> {
    let terminal = context.terminal();
    let output = PlanOutput::new(context);
    let planned = plan(reader, request, &terminal, &output);
    terminal.finish();
    let report = planned.map_err(|error| context.signals.explain(error.into()))?;
    output.finish()?;
    print_summary(context, request, &report, true, None)?;
    Ok(outcome(&report))
}

/// Finds out whether anything is overwritten or deleted, asks, and saves it.
fn decide(
    context: &Context,
    arguments: &RestoreArguments,
    reader: &Reader,
    request: &mut RestoreRequest,
    trail: &Trail<'_>,
) -> Result<Decision, CommandError> {
    let told = told(arguments);
    let is_told = told.is_some() && (request.delete.is_none() || arguments.yes);
    let undo = &arguments.undo;
    let saves = undo.rollback_to.is_some() || request.in_place && !undo.no_rollback;
    let state = target_state(reader, request)?;
    let is_own = state == TargetState::Unfinished && request.delete.is_none();
    let is_empty = matches!(state, TargetState::Missing | TargetState::Empty);
    if !saves && (is_told || is_empty || is_own) {
        request.overwrite = told.unwrap_or(match is_empty {
            true => Overwrite::Never,
            false => meant(arguments),
        });
        return Ok(Decision::Restore(None));
    }
    request.overwrite = told.unwrap_or(meant(arguments));
    let terminal = context.terminal();
    let saved = restore_rollback::Collector::new(saves);
    let planned = plan(reader, request, &Quietly(&terminal), &saved);
    terminal.finish();
    let planned = planned.map_err(|error| context.signals.explain(error.into()))?;
    if planned.is_settled && !request.verify {
        return Ok(Decision::Nothing(planned));
    }
    let counts = planned.counts;
    if !is_told && !is_own && counts.conflicts() > 0 {
        let question = question(&counts, request);
        if !arguments.yes && !context.is_interactive() {
            let how = if request.delete.is_some() { "--yes" } else { "--yes or --overwrite WHEN" };
            return Err(CommandError::Refused(format!(
                "{question} Nobody is there to ask; say {how} if that is meant. Nothing was \
                 changed"
            )));
        }
        context.confirm(&question, arguments.yes)?;
    } else if told.is_none() && !is_own {
        // Nothing is in the way, and what appears from now on is not either.
        request.overwrite = Overwrite::Never;
    }
    if !saves || counts.is_nothing() {
        return Ok(Decision::Restore(None));
    }
    let record = undo.rollback_to.as_deref();
    let rollback = restore_rollback::save(context, reader, request, saved, record, trail)?;
    Ok(Decision::Restore(Some(rollback)))
}

fn question(counts: &Counts, request: &RestoreRequest) -> String {
    let mut parts = Vec::new();
    let mut part = |verb: &str, count: u64, one: &str, many: &str| {
        if count > 0 {
            parts.push(format!("{verb} {}", format::plural(count, one, many)));
        }
    };
    part("replace", counts.files_replaced, "file", "files");
    let updated = counts.files_updated + counts.dirs_updated;
    part("set the metadata of", updated, "item", "items");
    part("delete", counts.deleted, "item", "items");
    let mut text = parts.join(", ");
    if let Some(first) = text.get(..1).map(str::to_uppercase) {
        text.replace_range(..1, &first);
    }
    format!("{text} in {}?", path_text(&request.target))
}

/// Restores without asking or saving.
pub(crate) fn execute(
    context: &Context,
    reader: &Reader,
    request: &RestoreRequest,
) -> Result<RestoreReport, CommandError> {
    let terminal = context.terminal();
    let restored = restore(reader, request, &terminal);
    terminal.finish();
    restored.map_err(|error| context.signals.explain(error.into()))
}

pub(crate) fn outcome(report: &RestoreReport) -> Outcome {
    match (report.damaged, report.problems) {
        (0, 0) => Outcome::Done,
        (0, _) => Outcome::Incomplete,
        _ => Outcome::Damaged,
    }
}

/// What the audit log keeps of it.
pub(crate) fn record(request: &RestoreRequest, report: &RestoreReport) -> Record {
    let counts = &report.counts;
    let record = Record::new(EventKind::SnapshotRestored)
        .snapshots([request.source.id])
        .path(path_text(&request.target))
        .count("files_created", counts.files_created)
        .count("files_replaced", counts.files_replaced)
        .count("files_updated", counts.files_updated)
        .count("deleted", counts.deleted)
        .count("bytes", counts.bytes)
        .count("problems", report.problems)
        .count("damaged", report.damaged);
    match request.source.path.is_empty() {
        true => record,
        false => record.text("source_path", &crate::base::name::printable(&request.source.path)),
    }
}

/// Shows progress, and leaves problems to whoever meets them again.
pub(crate) struct Quietly<'a>(pub(crate) &'a Terminal);

impl Monitor for Quietly<'_> {
    fn path(&self, path: &std::path::Path) {
        self.0.path(path);
    }

    fn advance(&self, items: u64, bytes: u64) {
        self.0.advance(items, bytes);
    }

    fn begin(&self, name: &str, items: u64, bytes: u64) {
        self.0.begin(name, items, bytes);
    }

    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}
