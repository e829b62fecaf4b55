//! `icecore gc`: returns the space of what no snapshot needs.

use serde::Serialize;

use crate::audit::{EventKind, Record};
use crate::base::format;
use crate::cli::args::GcArguments;
use crate::cli::audit::audited;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, DAMAGE, Outcome};
use crate::cli::output::Output;
use crate::gc::{GcOptions, GcReport, collect};

/// The fields of a collection in JSON; others may rely on their names.
#[derive(Serialize)]
struct Facts {
    r#type: &'static str,
    dry_run: bool,
    snapshots: u64,
    leased_snapshots: u64,
    forgotten_snapshots: u64,
    live_chunks: u64,
    live_trees: u64,
    deleted_chunks: u64,
    deleted_trees: u64,
    missing_chunks: u64,
    dropped_files: u64,
    rewritten_files: u64,
    joined_files: u64,
    bytes_before: u64,
    freed_bytes: u64,
    rewritten_bytes: u64,
    joined_bytes: u64,
    unused_bytes: u64,
}

pub(crate) fn run(context: &Context, arguments: &GcArguments) -> Result<Outcome, CommandError> {
    let report = audited(context, "gc", arguments.dry_run, |trail| {
        let terminal = context.terminal();
        let writer = context.freeing_writer("gc", &terminal)?;
        let options = GcOptions { max_unused: arguments.max_unused, dry_run: arguments.dry_run };
        let collected = collect(&writer, options, &terminal);
        terminal.finish();
        let report = collected.map_err(|error| context.signals.explain(error.into()))?;
        let is_damaged = report.missing_chunks > 0;
        trail.record(record(&report), if is_damaged { DAMAGE } else { Outcome::Done.code() });
        Ok(report)
    })?;
    let mut output = Output::new();
    if context.json {
        output.json(&facts(&report, arguments.dry_run))?;
    } else if !context.quiet {
        print(&report, arguments.dry_run, &mut output)?;
    }
    output.finish()?;
    if report.missing_chunks > 0 {
        let count = format::plural(report.missing_chunks, "reference leads", "references lead");
        context.note(&format!(
            "Damage: {count} to chunks that are missing; `icecore check` names the files"
        ));
        return Err(CommandError::Told(DAMAGE));
    }
    Ok(Outcome::Done)
}

/// What the audit log keeps of it.
fn record(report: &GcReport) -> Record {
    Record::new(EventKind::GarbageCollected)
        .count("snapshots", report.snapshots)
        .count("deleted_chunks", report.deleted_chunks)
        .count("deleted_trees", report.deleted_trees)
        .count("missing_chunks", report.missing_chunks)
        .count("freed_bytes", report.freed_bytes)
        .count("rewritten_bytes", report.rewritten_bytes)
}

fn facts(report: &GcReport, dry_run: bool) -> Facts {
    Facts {
        r#type: "summary",
        dry_run,
        snapshots: report.snapshots,
        leased_snapshots: report.leased_snapshots,
        forgotten_snapshots: report.forgotten_snapshots,
        live_chunks: report.live_chunks,
        live_trees: report.live_trees,
        deleted_chunks: report.deleted_chunks,
        deleted_trees: report.deleted_trees,
        missing_chunks: report.missing_chunks,
        dropped_files: report.dropped_files,
        rewritten_files: report.rewritten_files,
        joined_files: report.joined_files,
        bytes_before: report.bytes_before,
        freed_bytes: report.freed_bytes,
        rewritten_bytes: report.rewritten_bytes,
        joined_bytes: report.joined_bytes,
        unused_bytes: report.unused_bytes,
    }
}

fn print(report: &GcReport, dry_run: bool, output: &mut Output) -> Result<(), CommandError> {
    let verb = if dry_run { "Would delete" } else { "Deleted" };
    let freed = if dry_run { "would free about" } else { "freed" };
    let [dropped, rewrote, left, joined, undone] = if dry_run {
        ["would drop", "rewrite", "leave", "Would join", "could no longer"]
    } else {
        ["dropped", "rewrote", "left", "Joined", "can no longer"]
    };
    output.line(&format!(
        "{verb} {} and {}; {freed} {} of {}",
        format::plural(report.deleted_chunks, "chunk", "chunks"),
        format::plural(report.deleted_trees, "tree", "trees"),
        format::bytes(report.freed_bytes),
        format::bytes(report.bytes_before),
    ))?;
    output.line(&format!(
        "Kept {} and {} of {}; {dropped} {}, {rewrote} {}, {left} {} of garbage in place",
        format::plural(report.live_chunks, "chunk", "chunks"),
        format::plural(report.live_trees, "tree", "trees"),
        format::plural(report.snapshots, "snapshot", "snapshots"),
        format::plural(report.dropped_files, "file", "files"),
        format::bytes(report.rewritten_bytes),
        format::bytes(report.unused_bytes),
    ))?;
    if report.joined_files > 0 {
        let files = format::plural(report.joined_files, "small file", "small files");
        output.line(&format!("{joined} {files} of {}", format::bytes(report.joined_bytes)))?;
    }
    if report.forgotten_snapshots > 0 {
        let count = format::plural(report.forgotten_snapshots, "snapshot", "snapshots");
        output.line(&format!("{count} deleted before {undone} be had back"))?;
    }
    if report.leased_snapshots > 0 {
        let count = format::plural(report.leased_snapshots, "snapshot is", "snapshots are");
        output.line(&format!(
            "{count} deleted but in use by a reader; the space returns with a later gc"
        ))?;
    }
    Ok(())
}
