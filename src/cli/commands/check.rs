//! `icecore check`: looks for damage and names the files that it hurts.

use serde::Serialize;

use crate::audit::{EventKind, Record};
use crate::base::format;
use crate::base::name::printable;
use crate::check::{
    CheckOptions, CheckReport, Damage, DamagedFile, ReadScope, Subject, check, check_files,
};
use crate::cli::args::CheckArguments;
use crate::cli::audit::audited;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::Output;
use crate::repository::{Catalog, Layout};

/// Paths shown to a person of one damaged thing; `--json` has more.
const PATHS_SHOWN: usize = 20;
/// Snapshots shown to a person in one line.
const SNAPSHOTS_SHOWN: usize = 4;

/// The fields of the report in JSON; others may rely on their names.
#[derive(Serialize)]
struct Facts {
    r#type: &'static str,
    clean: bool,
    snapshots: u64,
    trees: u64,
    index_entries: u64,
    read_chunks: u64,
    read_bytes: u64,
    data_bytes: u64,
    out_of_time: bool,
    damaged_snapshots: Vec<String>,
    damages: Vec<DamageFacts>,
    /// Damaged things that are only counted.
    omitted: u64,
}

#[derive(Serialize)]
struct DamageFacts {
    kind: &'static str,
    id: String,
    detail: String,
    files: Vec<FileFacts>,
    more_files: u64,
}

#[derive(Serialize)]
struct FileFacts {
    path: String,
    snapshots: Vec<String>,
    more_snapshots: u64,
}

pub(crate) fn run(context: &Context, arguments: &CheckArguments) -> Result<Outcome, CommandError> {
    if arguments.untrusted {
        // Before anything asks for a key, since that may look into the store.
        let report = look_at_files(context)?;
        if !report.is_clean() {
            return refuse(context, report);
        }
    }
    let report = audited(context, "check", false, |trail| {
        let report = look(context, arguments)?;
        trail.record(record(&report), outcome(&report).code());
        Ok(report)
    })?;
    let is_clean = report.is_clean();
    let is_key = |damage: &Damage| matches!(damage.subject, Subject::KeyFile(_));
    let are_keys_alone = report.damages.iter().all(is_key);
    let mut output = Output::new();
    if context.json {
        output.json(&facts(report))?;
    } else if !context.quiet || !is_clean {
        print(&report, &mut output)?;
    }
    output.finish()?;
    if is_clean {
        return Ok(Outcome::Done);
    }
    context.note(if are_keys_alone {
        "Whoever has the password or key of that file cannot open the repository with it; \
         `icecore key remove` takes the file away, `icecore key add` makes a new one"
    } else {
        "Damage was found; docs/repair.md says what to do, `icecore repair -n` what it would"
    });
    Ok(Outcome::Damaged)
}

/// Names the files for which nothing else was looked at.
fn refuse(context: &Context, report: CheckReport) -> Result<Outcome, CommandError> {
    let mut output = Output::new();
    if context.json {
        output.json(&facts(report))?;
    } else {
        report.damages.iter().try_for_each(|damage| print_damage(damage, &mut output))?;
    }
    output.finish()?;
    context.note(
        "The store was not opened, and should not be: these files are not what icecore writes. \
         If the repository is your own and damaged, `icecore check` says more",
    );
    Ok(Outcome::Damaged)
}

fn look_at_files(context: &Context) -> Result<CheckReport, CommandError> {
    let terminal = context.terminal();
    terminal.start();
    let layout = Layout::new(&context.repository);
    let checked = check_files(&layout, &terminal).map_err(CommandError::from);
    terminal.finish();
    checked.map_err(|error| context.signals.explain(error))
}

const fn outcome(report: &CheckReport) -> Outcome {
    if report.is_clean() { Outcome::Done } else { Outcome::Damaged }
}

/// What the audit log keeps of it.
fn record(report: &CheckReport) -> Record {
    let is_clean = report.is_clean();
    let kind = if is_clean { EventKind::ValidationSucceeded } else { EventKind::ValidationFailed };
    Record::new(kind)
        .count("snapshots", report.snapshots)
        .count("read_bytes", report.read_bytes)
        .count("damages", report.damages.len() as u64 + report.omitted)
        .count("damaged_snapshots", report.damaged_snapshots.len() as u64)
}

fn look(context: &Context, arguments: &CheckArguments) -> Result<CheckReport, CommandError> {
    let terminal = context.terminal();
    let reader = context.reader()?;
    if let Some(warning) = reader.permission_warning() {
        context.note(&warning);
    }
    let scope = match (arguments.read_data, arguments.read_data_subset) {
        (_, Some(subset)) => subset,
        (true, None) => ReadScope::All,
        (false, None) if arguments.max_duration.is_some() => {
            let text = "--max-duration bounds what is read: say --read-data or --read-data-subset";
            return Err(CommandError::Usage(text.to_owned()));
        }
        (false, None) => ReadScope::Nothing,
    };
    let options = CheckOptions { scope, max_duration: arguments.max_duration };
    let leased = match reader.lease_all() {
        // What does not depend on the list of snapshots is checked nevertheless.
        Err(error) if error.is_loss() => {
            Ok((Vec::new(), Catalog { damaged: vec![error], ..Catalog::default() }))
        }
        leased => leased,
    };
    let (_leases, catalog) = leased?;
    let checked = check(&reader, catalog, options, &terminal).map_err(CommandError::from);
    terminal.finish();
    checked.map_err(|error| context.signals.explain(error))
}

fn facts(report: CheckReport) -> Facts {
    Facts {
        r#type: "summary",
        clean: report.is_clean(),
        snapshots: report.snapshots,
        trees: report.trees,
        index_entries: report.index_entries,
        read_chunks: report.read_chunks,
        read_bytes: report.read_bytes,
        data_bytes: report.data_bytes,
        out_of_time: report.out_of_time,
        damaged_snapshots: report.damaged_snapshots.iter().map(ToString::to_string).collect(),
        damages: report.damages.into_iter().map(damage_facts).collect(),
        omitted: report.omitted,
    }
}

fn damage_facts(damage: Damage) -> DamageFacts {
    let file = |file: DamagedFile| FileFacts {
        path: printable(&file.path),
        snapshots: file.snapshots.iter().map(ToString::to_string).collect(),
        more_snapshots: file.more_snapshots,
    };
    DamageFacts {
        kind: damage.subject.kind(),
        id: damage.subject.name(),
        detail: damage.detail,
        files: damage.files.into_iter().map(file).collect(),
        more_files: damage.more_files,
    }
}

fn print(report: &CheckReport, output: &mut Output) -> Result<(), CommandError> {
    for damage in &report.damages {
        print_damage(damage, output)?;
    }
    output.line(&format!(
        "Checked {}, {} and {}; read {} of {} of content",
        format::plural(report.snapshots, "snapshot", "snapshots"),
        format::plural(report.trees, "tree", "trees"),
        format::plural(report.index_entries, "index entry", "index entries"),
        format::bytes(report.read_bytes),
        format::bytes(report.data_bytes),
    ))?;
    if report.out_of_time {
        output.line("The time was over before all was read; the next check goes on from there")?;
    }
    if report.is_clean() {
        return output.line("No damage was found");
    }
    let count = report.damages.len() as u64 + report.omitted;
    output.line(&format!(
        "DAMAGED: {}; {} cannot be read back whole",
        format::plural(count, "thing", "things"),
        format::plural(report.damaged_snapshots.len() as u64, "snapshot", "snapshots"),
    ))?;
    if report.omitted > 0 {
        let omitted = format::plural(report.omitted, "thing is", "things are");
        output.line(&format!("{omitted} not named above"))?;
    }
    Ok(())
}

fn print_damage(damage: &Damage, output: &mut Output) -> Result<(), CommandError> {
    let name = printable(damage.subject.name().as_bytes());
    output.line(&format!("{} {name}: {}", damage.subject.kind(), damage.detail))?;
    for file in damage.files.iter().take(PATHS_SHOWN) {
        let shown = file.snapshots.iter().take(SNAPSHOTS_SHOWN);
        let mut snapshots = shown.map(|id| id.short()).collect::<Vec<_>>().join(", ");
        let more = file.snapshots.len().saturating_sub(SNAPSHOTS_SHOWN) as u64;
        if more + file.more_snapshots > 0 {
            snapshots += &format!(" and {} more", format::count(more + file.more_snapshots));
        }
        output.line(&format!("    {}  in {snapshots}", printable(&file.path)))?;
    }
    let more = damage.files.len().saturating_sub(PATHS_SHOWN) as u64 + damage.more_files;
    if more > 0 {
        output.line(&format!("    and {} more", format::plural(more, "path", "paths")))?;
    }
    Ok(())
}
