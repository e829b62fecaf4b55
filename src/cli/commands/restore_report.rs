//! What `restore` prints: a plan item by item, and a summary.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::base::format;
use crate::base::name::printable;
use crate::cli::commands::restore_rollback::Rollback;
use crate::cli::context::Context;
use crate::cli::exit::CommandError;
use crate::cli::output::{Output, path_text};
use crate::restore::{Action, Observer, Planned, RestoreReport, RestoreRequest};

/// One item of `restore --dry-run --json`; others may rely on the names.
#[derive(Serialize)]
struct Item {
    r#type: &'static str,
    action: &'static str,
    kind: &'static str,
    path: String,
    bytes: u64,
}

/// The last object that `restore --json` prints; others may rely on its names.
#[derive(Serialize)]
struct Summary {
    r#type: &'static str,
    id: String,
    path: String,
    target: String,
    dry_run: bool,
    files_created: u64,
    files_replaced: u64,
    files_updated: u64,
    files_unchanged: u64,
    files_kept: u64,
    dirs_created: u64,
    dirs_updated: u64,
    dirs_unchanged: u64,
    deleted: u64,
    deleted_bytes: u64,
    bytes: u64,
    files_verified: u64,
    problems: u64,
    damaged: u64,
    messages: Vec<String>,
    notes: Vec<String>,
    rollback: Option<String>,
    rollback_record: Option<String>,
    seconds: f64,
}

/// Prints a plan as it is made.
pub(crate) struct PlanOutput {
    output: Mutex<(Output, Result<(), CommandError>)>,
    json: bool,
    quiet: bool,
}

impl PlanOutput {
    pub(crate) fn new(context: &Context) -> Self {
        let output = Mutex::new((Output::new(), Ok(())));
        Self { output, json: context.json, quiet: context.quiet }
    }

    /// Prints what is left, or says why it could not.
    pub(crate) fn finish(self) -> Result<(), CommandError> {
        let (output, written) = self.output.into_inner().unwrap_or_else(PoisonError::into_inner);
        written.and_then(|()| output.finish())
    }
}

impl Observer for PlanOutput {
    fn item(&self, planned: &Planned<'_>) {
        let is_shown = self.json || !self.quiet && planned.action != Action::Unchanged;
        let mut state = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let (output, written) = &mut *state;
        if !is_shown || written.is_err() {
            return;
        }
        let (action, kind) = (planned.action.name(), planned.kind);
        *written = if self.json {
            let path = printable(planned.path);
            output.json(&Item { r#type: "item", action, kind, path, bytes: planned.bytes })
        } else {
            let size = match (kind, planned.action) {
                ("file", Action::Create | Action::Replace | Action::Delete) => {
                    format::bytes(planned.bytes)
                }
                ("directory", Action::Delete) => format::bytes(planned.bytes),
                _ => String::new(),
            };
            let slash = if kind == "directory" { "/" } else { "" };
            output.line(&format!("{action:<8} {size:>10}  {}{slash}", printable(planned.path)))
        };
    }
}

/// Prints how a restore ended.
pub(crate) fn print_summary(
    context: &Context,
    request: &RestoreRequest,
    report: &RestoreReport,
    dry_run: bool,
    rollback: Option<&Rollback>,
) -> Result<(), CommandError> {
    let mut output = Output::new();
    if context.json {
        output.json(&summary(request, report, dry_run, rollback))?;
    } else if !context.quiet {
        report.notes.iter().for_each(|note| context.note(note));
        print(request, report, dry_run, rollback, &mut output)?;
    }
    output.finish()
}

fn print(
    request: &RestoreRequest,
    report: &RestoreReport,
    dry_run: bool,
    rollback: Option<&Rollback>,
    output: &mut Output,
) -> Result<(), CommandError> {
    let counts = &report.counts;
    let listed = |parts: &[(u64, &str)]| {
        let parts = parts.iter().filter(|(count, _)| *count > 0);
        let parts: Vec<_> =
            parts.map(|(count, what)| format!("{} {what}", format::count(*count))).collect();
        if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
    };
    let files = listed(&[
        (counts.files_created, "new"),
        (counts.files_replaced, "replaced"),
        (counts.files_updated, "with other metadata"),
        (counts.files_unchanged, "unchanged"),
        (counts.files_kept, "kept though they differ"),
    ]);
    let dirs = listed(&[
        (counts.dirs_created, "new"),
        (counts.dirs_updated, "with other metadata"),
        (counts.dirs_unchanged, "unchanged"),
    ]);
    output.line(&format!("Files: {files}"))?;
    output.line(&format!("Directories: {dirs}"))?;
    if counts.deleted > 0 {
        let (items, bytes) =
            (format::plural(counts.deleted, "item", "items"), format::bytes(counts.deleted_bytes));
        let verb = if dry_run { "Would delete" } else { "Deleted" };
        output.line(&format!("{verb}: {items}, {bytes}"))?;
    }
    if request.verify && !dry_run {
        let files = format::plural(counts.files_verified, "file", "files");
        output.line(&format!("Read back: {files} as in the snapshot"))?;
    }
    if report.problems > 0 {
        let items = format::plural(report.problems, "problem", "problems");
        output.line(&format!("{items}, listed above; the rest is restored"))?;
    }
    if let Some(Rollback { record, .. }) = rollback {
        output.line(&format!("`icecore restore --undo {}` takes this back", path_text(record)))?;
    }
    let (bytes, seconds) = (format::bytes(counts.bytes), report.duration.as_secs_f64());
    let (id, target) = (request.source.id.short(), path_text(&request.target));
    match dry_run {
        true => {
            output.line(&format!("Dry run: {bytes} of snapshot {id} would be written to {target}"))
        }
        false => output.line(&format!(
            "Restored snapshot {id} to {target}: {bytes} written in {seconds:.1} s"
        )),
    }
}

fn summary(
    request: &RestoreRequest,
    report: &RestoreReport,
    dry_run: bool,
    rollback: Option<&Rollback>,
) -> Summary {
    let counts = report.counts;
    Summary {
        r#type: "summary",
        id: request.source.id.to_string(),
        path: printable(&request.source.path),
        target: path_text(&request.target),
        dry_run,
        files_created: counts.files_created,
        files_replaced: counts.files_replaced,
        files_updated: counts.files_updated,
        files_unchanged: counts.files_unchanged,
        files_kept: counts.files_kept,
        dirs_created: counts.dirs_created,
        dirs_updated: counts.dirs_updated,
        dirs_unchanged: counts.dirs_unchanged,
        deleted: counts.deleted,
        deleted_bytes: counts.deleted_bytes,
        bytes: counts.bytes,
        files_verified: counts.files_verified,
        problems: report.problems,
        damaged: report.damaged,
        messages: report.messages.clone(),
        notes: report.notes.clone(),
        rollback: rollback.and_then(|rollback| rollback.snapshot).map(|id| id.to_string()),
        rollback_record: rollback.map(|rollback| path_text(&rollback.record)),
        seconds: report.duration.as_secs_f64(),
    }
}
