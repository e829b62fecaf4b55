//! `icecore delete`: removes snapshots by name, or all that fit.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::audit::{EventKind, Record};
use crate::base::format;
use crate::base::id::SnapshotId;
use crate::cli::args::DeleteArguments;
use crate::cli::audit::audited;
use crate::cli::commands::{choose, facts};
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::Output;
use crate::repository::{Catalog, SnapshotFilter};

/// Pinned snapshots named in a refusal.
const PINNED_SHOWN: usize = 4;

/// The fields of a deletion in JSON; others may rely on their names.
#[derive(Serialize)]
struct Facts {
    dry_run: bool,
    deleted: Vec<String>,
}

pub(crate) fn run(context: &Context, arguments: &DeleteArguments) -> Result<Outcome, CommandError> {
    let filter = filter(context, arguments)?;
    // Found before anything is asked or locked: a typo costs nothing.
    let catalog = context.reader()?.catalog()?;
    let chosen = choose(context, &catalog, arguments, &filter)?;
    if chosen.is_empty() {
        context.note("No snapshot fits; nothing was deleted");
        print(context, arguments.dry_run, &chosen)?;
    } else {
        delete(context, &catalog, arguments, &chosen)?;
    }
    // No filter fits what cannot be read; who gave names does not ask for it.
    let overlooked = if arguments.snapshots.is_empty() { catalog.damaged } else { Vec::new() };
    context.damaged(overlooked)
}

fn delete(
    context: &Context,
    catalog: &Catalog,
    arguments: &DeleteArguments,
    chosen: &BTreeSet<SnapshotId>,
) -> Result<(), CommandError> {
    refuse_pinned(context, catalog, arguments, chosen)?;
    let lines = lines(catalog, chosen);
    if arguments.dry_run {
        let mut output = Output::new();
        if !context.json && !context.quiet {
            for line in &lines {
                output.line(line)?;
            }
        }
        output.finish()?;
        return print(context, true, chosen);
    }
    if !arguments.yes && context.is_interactive() {
        lines.iter().for_each(|line| context.note(line));
    }
    context.confirm(&format!("Delete {}?", count(chosen.len())), arguments.yes)?;
    audited(context, "delete", false, |trail| {
        let terminal = context.terminal();
        let writer = context.freeing_writer("delete", &terminal)?;
        // Somebody may have pinned one of them meanwhile.
        refuse_pinned(context, &writer.catalog()?, arguments, chosen)?;
        writer.delete_snapshots(&chosen.iter().copied().collect::<Vec<_>>())?;
        let record = Record::new(EventKind::SnapshotDeleted).snapshots(chosen.iter().copied());
        trail.record(record, Outcome::Done.code());
        terminal.finish();
        Ok(())
    })?;
    print(context, false, chosen)
}

fn filter(context: &Context, arguments: &DeleteArguments) -> Result<SnapshotFilter, CommandError> {
    let past = |option: &str, text: &Option<String>| {
        text.as_ref().map(|text| choose::past(option, text, context.now)).transpose()
    };
    let first = |range: Option<(_, _)>| range.map(|(first, _)| first);
    let last = |range: Option<(_, _)>| range.map(|(_, last)| last);
    Ok(SnapshotFilter {
        before: first(past("--older-than", &arguments.older_than)?),
        after: last(past("--newer-than", &arguments.newer_than)?),
        since: first(past("--since", &arguments.since)?),
        until: last(past("--until", &arguments.until)?),
        ..choose::filter(&arguments.host, &arguments.tag, &arguments.path)
    })
}

fn choose(
    context: &Context,
    catalog: &Catalog,
    arguments: &DeleteArguments,
    filter: &SnapshotFilter,
) -> Result<BTreeSet<SnapshotId>, CommandError> {
    if arguments.snapshots.is_empty() {
        let fitting = catalog.snapshots.iter().filter(|(_, manifest)| filter.fits(manifest));
        return Ok(fitting.map(|(id, _)| *id).collect());
    }
    let select = |name: &String| Ok(catalog.select(name, context.now)?);
    arguments.snapshots.iter().map(select).collect()
}

fn refuse_pinned(
    context: &Context,
    catalog: &Catalog,
    arguments: &DeleteArguments,
    chosen: &BTreeSet<SnapshotId>,
) -> Result<(), CommandError> {
    let pinned = chosen.iter().filter(|id| catalog.is_pinned(id, context.now));
    let mut pinned: Vec<_> = pinned.map(SnapshotId::short).collect();
    if pinned.is_empty() || arguments.even_pinned {
        return Ok(());
    }
    let (is, count) = (if pinned.len() == 1 { "is" } else { "are" }, count(pinned.len()));
    if pinned.len() > PINNED_SHOWN {
        pinned.truncate(PINNED_SHOWN);
        pinned.push("...".to_owned());
    }
    Err(CommandError::Refused(format!(
        "{count} {is} pinned ({}), so nothing was deleted; `icecore tag --unpin` takes a pin away, \
         --even-pinned deletes them too",
        pinned.join(", ")
    )))
}

/// One line for each chosen snapshot, oldest first.
fn lines(catalog: &Catalog, chosen: &BTreeSet<SnapshotId>) -> Vec<String> {
    let mut damaged: BTreeMap<SnapshotId, String> =
        chosen.iter().map(|id| (*id, format!("{}  (damaged)", id.short()))).collect();
    let mut lines = Vec::new();
    for (id, manifest) in catalog.snapshots.iter().filter(|(id, _)| chosen.contains(id)) {
        damaged.remove(id);
        lines.push(facts::line(id, manifest));
    }
    lines.extend(damaged.into_values());
    lines
}

fn count(snapshots: usize) -> String {
    format::plural(snapshots as u64, "snapshot", "snapshots")
}

fn print(
    context: &Context,
    dry_run: bool,
    chosen: &BTreeSet<SnapshotId>,
) -> Result<(), CommandError> {
    let mut output = Output::new();
    if context.json {
        let deleted = chosen.iter().map(ToString::to_string).collect();
        output.json(&Facts { dry_run, deleted })?;
    } else if !context.quiet && !chosen.is_empty() {
        let count = count(chosen.len());
        output.line(&match dry_run {
            true => format!("Would delete {count}"),
            false => format!(
                "Deleted {count}; `icecore gc` returns the space, `icecore undelete` undoes this \
                 until then"
            ),
        })?;
    }
    output.finish()
}
