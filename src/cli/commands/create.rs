//! `icecore create`: takes a snapshot.

use std::ffi::OsStr;
use std::time::Duration;

use serde::Serialize;

use crate::audit::{EventKind, Record};
use crate::base::format;
use crate::base::name::printable;
use crate::cli::audit::{Trail, audited};
use crate::cli::commands::create_request;
use crate::cli::context::Context;
use crate::cli::create_options::CreateArguments;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::Output;
use crate::cli::profile::{Profile, run_hooks};
use crate::ingest::{self, CreateReport, CreateRequest};

/// The last object that `create --json` prints; others may rely on its names.
#[derive(Serialize)]
struct Summary {
    r#type: &'static str,
    id: Option<String>,
    short_id: Option<String>,
    dry_run: bool,
    parent: Option<String>,
    time: String,
    files: u64,
    dirs: u64,
    bytes: u64,
    files_new: u64,
    files_changed: u64,
    files_unmodified: u64,
    dirs_new: u64,
    dirs_changed: u64,
    dirs_unmodified: u64,
    files_read: u64,
    bytes_read: u64,
    excluded: u64,
    added_bytes: u64,
    stored_bytes: u64,
    added_chunks: u64,
    added_trees: u64,
    errors: u64,
    error_messages: Vec<String>,
    notes: Vec<String>,
    seconds: f64,
}

pub(crate) fn run(context: &Context, arguments: CreateArguments) -> Result<Outcome, CommandError> {
    let profile = match &arguments.profile {
        Some(name) => Profile::read(&context.config, name)?,
        None => Profile::default(),
    };
    let context = context.for_profile(&profile.place)?;
    // The command line's sources replace those of the profile.
    let named = arguments.stdin || arguments.from_command || !arguments.sources.is_empty();
    let named = named || !arguments.command.is_empty();
    let (mut sources, mut kept) = (profile.sources.clone(), profile.options.clone());
    if named || arguments.options.names_sources() {
        sources = arguments.sources.clone();
        (kept.files_from, kept.files_from0) = (Vec::new(), Vec::new());
    }
    let options = arguments.options.clone().over(kept);
    let request = create_request::request(&context, &arguments, options, sources)?;
    audited(&context, "create", arguments.dry_run, |trail| {
        with_hooks(&context, &profile, || create(&context, &arguments, request, trail))
    })
}

/// Runs the hooks of a profile around the work.
fn with_hooks(
    context: &Context,
    profile: &Profile,
    work: impl FnOnce() -> Result<(Outcome, CreateReport), CommandError>,
) -> Result<Outcome, CommandError> {
    let secrets = context.secrets.environment();
    let mut about = vec![
        ("ICECORE_PROFILE", OsStr::new(&profile.name)),
        ("ICECORE_REPO", context.repository.as_os_str()),
    ];
    about.extend(secrets.iter().map(|(name, value)| (*name, value.as_os_str())));
    let hooks = &profile.hooks;
    let cancelled = || context.signals.received().is_some();
    let done = run_hooks("before", &hooks.before, &about, &cancelled)
        .map_err(|error| context.signals.instead_of(error))
        .and_then(|()| work());
    let code = match &done {
        Ok((outcome, _)) => outcome.code(),
        Err(error) => error.code(),
    };
    let snapshot = done.as_ref().ok().and_then(|(_, report)| report.id);
    let (code, id) = (code.to_string(), snapshot.map(|id| id.to_string()).unwrap_or_default());
    about.push(("ICECORE_EXIT_CODE", OsStr::new(&code)));
    about.push(("ICECORE_SNAPSHOT", OsStr::new(&id)));
    let told = match &done {
        Ok(_) => run_hooks("success", &hooks.success, &about, &|| false),
        Err(_) => run_hooks("failure", &hooks.failure, &about, &|| false),
    };
    let ended = run_hooks("after", &hooks.after, &about, &|| false);
    match (done, told.and(ended)) {
        (Ok((outcome, _)), Ok(())) => Ok(outcome),
        (Ok(_), Err(error)) | (Err(error), Ok(())) => Err(error),
        (Err(error), Err(hook)) => {
            context.note(&hook.to_string());
            Err(error)
        }
    }
}

fn create(
    context: &Context,
    arguments: &CreateArguments,
    request: CreateRequest,
    trail: &Trail<'_>,
) -> Result<(Outcome, CreateReport), CommandError> {
    let terminal = context.terminal();
    let sources: Vec<_> = request.source_names.iter().map(|name| printable(name)).collect();
    let created = if arguments.dry_run {
        let reader = context.reader()?;
        let request = create_request::complete(request, arguments, &reader, context.now)?;
        ingest::dry_run(&reader, &request, &terminal)
    } else {
        let writer = context.writer("create", &terminal)?;
        let request = create_request::complete(request, arguments, &writer, context.now)?;
        ingest::create(&writer, &request, &terminal)
    };
    terminal.finish();
    let report = created.map_err(|error| context.signals.explain(error.into()))?;
    let is_whole = report.counters.errors == 0;
    let outcome = if is_whole { Outcome::Done } else { Outcome::Incomplete };
    trail.record(record(&report, sources), outcome.code());
    let mut output = Output::new();
    if context.json {
        output.json(&summary(&report, terminal.elapsed()))?;
    } else if !context.quiet {
        report.notes.iter().for_each(|note| context.note(note));
        print(&report, &mut output)?;
    }
    output.finish()?;
    Ok((outcome, report))
}

/// What the audit log keeps of it.
fn record(report: &CreateReport, sources: Vec<String>) -> Record {
    let counters = report.counters;
    let record = Record::new(EventKind::SnapshotCreated)
        .snapshots(report.id)
        .count("files", counters.files)
        .count("dirs", counters.dirs)
        .count("bytes", counters.bytes)
        .count("added_bytes", counters.added_bytes)
        .count("stored_bytes", counters.stored_bytes)
        .count("errors", counters.errors);
    sources.into_iter().fold(record, Record::path)
}

fn summary(report: &CreateReport, duration: Duration) -> Summary {
    let (counters, changes) = (report.counters, report.changes);
    Summary {
        r#type: "summary",
        id: report.id.map(|id| id.to_string()),
        short_id: report.id.map(|id| id.short()),
        dry_run: report.id.is_none(),
        parent: report.parent.map(|parent| parent.to_string()),
        time: report.time.to_rfc3339(),
        files: counters.files,
        dirs: counters.dirs,
        bytes: counters.bytes,
        files_new: changes.files_new,
        files_changed: changes.files_changed,
        files_unmodified: changes.files_unmodified,
        dirs_new: changes.dirs_new,
        dirs_changed: changes.dirs_changed,
        dirs_unmodified: changes.dirs_unmodified,
        files_read: changes.files_read,
        bytes_read: changes.bytes_read,
        excluded: report.excluded,
        added_bytes: counters.added_bytes,
        stored_bytes: counters.stored_bytes,
        added_chunks: report.added.chunks,
        added_trees: report.added.trees,
        errors: counters.errors,
        error_messages: report.errors.clone(),
        notes: report.notes.clone(),
        seconds: duration.as_secs_f64(),
    }
}

fn print(report: &CreateReport, output: &mut Output) -> Result<(), CommandError> {
    let (counters, changes) = (report.counters, report.changes);
    let three = |new: u64, changed: u64, unmodified: u64| {
        let [new, changed, unmodified] = [new, changed, unmodified].map(format::count);
        format!("{new} new, {changed} changed, {unmodified} unmodified")
    };
    let files = three(changes.files_new, changes.files_changed, changes.files_unmodified);
    let dirs = three(changes.dirs_new, changes.dirs_changed, changes.dirs_unmodified);
    output.line(&format!("Files: {files}"))?;
    output.line(&format!("Directories: {dirs}"))?;
    if report.excluded > 0 {
        output.line(&format!("Left out: {}", format::plural(report.excluded, "item", "items")))?;
    }
    let seconds = report.duration.as_secs_f64();
    output.line(&format!(
        "Read {}, {} of {}, in {seconds:.1} s",
        format::plural(changes.files_read, "file", "files"),
        format::bytes(changes.bytes_read),
        format::bytes(counters.bytes),
    ))?;
    output.line(&format!(
        "{} {}: {} and {}, {} as stored",
        if report.id.is_some() { "Added" } else { "Would add" },
        format::bytes(counters.added_bytes),
        format::plural(report.added.chunks, "chunk", "chunks"),
        format::plural(report.added.trees, "tree", "trees"),
        format::bytes(counters.stored_bytes),
    ))?;
    if counters.errors > 0 {
        let items = format::plural(counters.errors, "item", "items");
        output.line(&format!("{items} could not be read whole; the rest is saved"))?;
    }
    match report.id {
        Some(id) => output.line(&format!("Snapshot {id}")),
        None => output.line("Dry run: no snapshot was made"),
    }
}
