//! `icecore repair`: makes what is undamaged readable again.

use serde::Serialize;

use crate::audit::{EventKind, Record};
use crate::base::format;
use crate::base::name::printable;
use crate::cli::audit::audited;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::{Output, path_text};
use crate::repair::{Hurt, Removed, RepairOptions, RepairReport, repair};
use crate::repository::{Rebuilt, Writer};

/// Paths and records shown to a person at once; `--json` has more.
const LINES_SHOWN: usize = 20;

/// The fields of the report in JSON; others may rely on their names.
#[derive(Serialize)]
struct Facts {
    r#type: &'static str,
    dry_run: bool,
    notes: Vec<String>,
    damaged_store: Option<String>,
    good_objects: u64,
    restored: u64,
    counters: u64,
    replaced_files: u64,
    removed: Vec<RemovedFacts>,
    recovered: Vec<String>,
    hurt: Vec<HurtFacts>,
    damaged_keys: Vec<KeyFacts>,
}

#[derive(Serialize)]
struct KeyFacts {
    name: String,
    detail: String,
}

#[derive(Serialize)]
struct RemovedFacts {
    kind: &'static str,
    id: String,
    detail: String,
}

#[derive(Serialize)]
struct HurtFacts {
    snapshot: String,
    sibling: Option<String>,
    left_out: Vec<String>,
    left_out_count: u64,
}

pub(crate) fn run(context: &Context, dry_run: bool, yes: bool) -> Result<Outcome, CommandError> {
    if !dry_run {
        let question = format!(
            "Repair {}? (`icecore repair -n` tells what would be done.)",
            path_text(&context.repository)
        );
        context.confirm(&question, yes)?;
    }
    let (report, rebuilt) = audited(context, "repair", dry_run, |trail| {
        let done = work(context, dry_run)?;
        let (report, rebuilt) = (done.0.as_ref(), &done.1);
        let is_hurt = report.is_some_and(|report| !report.is_whole());
        let code = if is_hurt { Outcome::Damaged } else { Outcome::Done }.code();
        trail.record(record(report, rebuilt), code);
        Ok(done)
    })?;
    let mut output = Output::new();
    let unknown = report.is_none();
    let report = report.unwrap_or_default();
    let is_clean = rebuilt.notes.is_empty() && report.is_clean();
    let is_hurt = !report.is_whole() || (dry_run && !is_clean);
    if context.json {
        output.json(&facts(&report, &rebuilt, dry_run))?;
    } else if !context.quiet || !is_clean || !report.damaged_keys.is_empty() {
        print(&report, &rebuilt, dry_run, unknown, &mut output)?;
    }
    output.finish()?;
    Ok(if is_hurt { Outcome::Damaged } else { Outcome::Done })
}

/// What the audit log keeps of it.
fn record(report: Option<&RepairReport>, rebuilt: &Rebuilt) -> Record {
    let count = |of: fn(&RepairReport) -> usize| report.map_or(0, of) as u64;
    Record::new(EventKind::RepositoryRepaired)
        .count("rebuilt", u64::from(rebuilt.aside.is_some()))
        .count("replaced_files", report.map_or(0, |report| report.replaced_files))
        .count("removed", count(|report| report.removed.len()))
        .count("recovered_snapshots", count(|report| report.recovered.len()))
        .count("damaged_snapshots", count(|report| report.hurt.len()))
}

fn work(context: &Context, dry_run: bool) -> Result<(Option<RepairReport>, Rebuilt), CommandError> {
    let terminal = context.terminal();
    let key = context.key_of_damaged()?;
    terminal.start();
    let opened = Writer::open_for_repair(
        &context.repository,
        key.as_ref(),
        dry_run,
        context.wait,
        &terminal,
    );
    let (writer, rebuilt) = opened.map_err(|error| context.signals.explain(error.into()))?;
    let options = RepairOptions { dry_run };
    let repaired = writer.as_ref().map(|w| repair(w, options, rebuilt.lost_snapshots, &terminal));
    terminal.finish();
    let report = repaired.transpose().map_err(|error| context.signals.explain(error.into()))?;
    Ok((report, rebuilt))
}

fn facts(report: &RepairReport, rebuilt: &Rebuilt, dry_run: bool) -> Facts {
    let removed = |removed: &Removed| RemovedFacts {
        kind: removed.kind,
        id: removed.id.clone(),
        detail: removed.detail.clone(),
    };
    let hurt = |hurt: &Hurt| HurtFacts {
        snapshot: hurt.snapshot.to_string(),
        sibling: hurt.sibling.map(|id| id.to_string()),
        left_out: hurt.left_out.iter().map(|path| printable(path)).collect(),
        left_out_count: hurt.left_out_count,
    };
    let key = |(name, detail): &(String, String)| KeyFacts {
        name: printable(name.as_bytes()),
        detail: detail.clone(),
    };
    Facts {
        r#type: "summary",
        dry_run,
        notes: rebuilt.notes.clone(),
        damaged_store: rebuilt.aside.as_deref().map(path_text),
        good_objects: report.good_objects,
        restored: report.restored,
        counters: report.counters,
        replaced_files: report.replaced_files,
        removed: report.removed.iter().map(removed).collect(),
        recovered: report.recovered.iter().map(ToString::to_string).collect(),
        hurt: report.hurt.iter().map(hurt).collect(),
        damaged_keys: report.damaged_keys.iter().map(key).collect(),
    }
}

fn print(
    report: &RepairReport,
    rebuilt: &Rebuilt,
    dry_run: bool,
    unknown: bool,
    output: &mut Output,
) -> Result<(), CommandError> {
    for note in &rebuilt.notes {
        output.line(note)?;
    }
    for (name, detail) in &report.damaged_keys {
        let name = printable(name.as_bytes());
        output.line(&format!("key file {name}: {detail}; `icecore key remove` takes it away"))?;
    }
    if unknown {
        return output.line("What is lost shows when the new store is in its place");
    }
    for removed in report.removed.iter().take(LINES_SHOWN) {
        output.line(&format!("{} {}: {}", removed.kind, removed.id, removed.detail))?;
    }
    more(report.removed.len() as u64, "record", "records", output)?;
    for hurt in &report.hurt {
        print_hurt(hurt, output)?;
    }
    for id in &report.recovered {
        let verb = if dry_run { "Would recover" } else { "Recovered" };
        output.line(&format!("{verb} snapshot {} from a tree that nothing named", id.short()))?;
    }
    if report.replaced_files > 0 {
        let files = format::plural(report.replaced_files, "file", "files");
        let verb = if dry_run { "would be replaced" } else { "replaced" };
        output.line(&format!("{files} of the store with damaged blocks {verb}"))?;
    }
    output.line(&summary(report, dry_run))?;
    if !report.hurt.is_empty() {
        output.line(
            "`icecore create` of the same sources stores again what is still there of them",
        )?;
    }
    match (report.lost_snapshots(), report.hurt.is_empty()) {
        (0, false) => Ok(()),
        (0, true) if rebuilt.lost_snapshots => output.line(
            "Records of snapshots may be lost; every snapshot that is left can be read whole",
        ),
        (0, true) => output.line("Every snapshot can be read whole"),
        (lost, is_rest_whole) => {
            let lost = format::plural(lost, "snapshot is", "snapshots are");
            let rest = if is_rest_whole { "; every other one can be read whole" } else { "" };
            output.line(&format!("{lost} lost, since nothing can read the record{rest}"))
        }
    }
}

/// One line of what was found good and what was changed.
fn summary(report: &RepairReport, dry_run: bool) -> String {
    let good = format::plural(report.good_objects, "object is", "objects are");
    let (restored, removed) = (report.restored, report.removed.len() as u64);
    if (restored, removed, report.counters) == (0, 0, 0) {
        return format!("{good} good; no record had to be changed");
    }
    let [add, remove, mend] = if dry_run {
        ["would be added to the index", "would be removed", "would be put right"]
    } else {
        ["added to the index", "removed", "put right"]
    };
    format!(
        "{good} good; {} {add}, {} {remove}, {} {mend}",
        format::count(restored),
        format::plural(removed, "damaged record", "damaged records"),
        format::plural(report.counters, "counter", "counters"),
    )
}

fn print_hurt(hurt: &Hurt, output: &mut Output) -> Result<(), CommandError> {
    let sibling = hurt
        .sibling
        .map_or_else(String::new, |id| format!("; {} is a copy of the rest", id.short()));
    output.line(&format!(
        "Snapshot {} lost {}{sibling}",
        hurt.snapshot.short(),
        format::plural(hurt.left_out_count, "path", "paths"),
    ))?;
    for path in hurt.left_out.iter().take(LINES_SHOWN) {
        output.line(&format!("    {}", printable(path)))?;
    }
    more(hurt.left_out_count, "path", "paths", output)
}

fn more(count: u64, one: &str, many: &str, output: &mut Output) -> Result<(), CommandError> {
    match count.saturating_sub(LINES_SHOWN as u64) {
        0 => Ok(()),
        rest => output.line(&format!("    and {} more", format::plural(rest, one, many))),
    }
}
