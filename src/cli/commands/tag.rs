//! `icecore tag`: changes tags of snapshots, and pins them.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::audit::{EventKind, Record};
use crate::base::format;
use crate::base::id::SnapshotId;
use crate::base::name::printable;
use crate::cli::args::TagArguments;
use crate::cli::audit::audited;
use crate::cli::commands::choose;
use crate::cli::commands::facts::{SnapshotFacts, pin_text};
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::Output;
use crate::repository::{NoteChange, Pin, Repository};

#[derive(Serialize)]
struct Facts {
    snapshots: Vec<SnapshotFacts>,
}

pub(crate) fn run(context: &Context, arguments: TagArguments) -> Result<Outcome, CommandError> {
    let (names, change) = understand(context, arguments)?;
    // Found before anything is locked: a typo costs nothing.
    let catalog = context.reader()?.catalog()?;
    let select = |name: &String| catalog.select(name, context.now);
    let ids = names.iter().map(select).collect::<Result<BTreeSet<_>, _>>()?;
    audited(context, "tag", false, |trail| {
        let terminal = context.terminal();
        let writer = context.writer("tag", &terminal)?;
        writer.change_notes(&ids, &change)?;
        let record = Record::new(EventKind::SnapshotTagged).snapshots(ids.iter().copied());
        trail.record(told(record, &change), Outcome::Done.code());
        terminal.finish();
        print(context, &writer, &ids)
    })?;
    Ok(Outcome::Done)
}

/// Returns the names of the snapshots, and what is to change.
fn understand(
    context: &Context,
    arguments: TagArguments,
) -> Result<(Vec<String>, NoteChange), CommandError> {
    let TagArguments { snapshots, add, remove, mut set, pin, until, unpin } = arguments;
    if add.iter().any(String::is_empty) {
        return Err(CommandError::Usage("A tag is empty; --set '' removes all tags".to_owned()));
    }
    if let Some(tag) = add.iter().find(|tag| remove.contains(tag)) {
        return Err(CommandError::Usage(format!("{tag:?} is to be added and removed")));
    }
    let is_set = !set.is_empty();
    set.retain(|tag| !tag.is_empty());
    let mut seen = BTreeSet::new();
    set.retain(|tag| seen.insert(tag.clone()));
    let end = until.map(|text| choose::future("--until", &text, context.now)).transpose()?;
    let pin = match (pin, unpin) {
        (true, _) => Some(Some(end.map_or(Pin::Forever, Pin::Until))),
        (false, true) => Some(None),
        (false, false) => None,
    };
    Ok((snapshots, NoteChange { set: is_set.then_some(set), add, remove, pin }))
}

/// Adds to an event what was changed.
fn told(record: Record, change: &NoteChange) -> Record {
    let NoteChange { set, add, remove, pin } = change;
    let record = match set {
        Some(tags) => record.text("set", &tags.join(",")),
        None => record,
    };
    let lists = [("added", add), ("removed", remove)];
    let record = lists
        .into_iter()
        .filter(|(_, tags)| !tags.is_empty())
        .fold(record, |record, (name, tags)| record.text(name, &tags.join(",")));
    match pin {
        Some(Some(Pin::Forever)) => record.text("pinned", "forever"),
        Some(Some(Pin::Until(end))) => record.text("pinned", &end.to_rfc3339()),
        Some(None) => record.text("pinned", "no"),
        None => record,
    }
}

fn print(
    context: &Context,
    repository: &Repository,
    ids: &BTreeSet<SnapshotId>,
) -> Result<(), CommandError> {
    let mut output = Output::new();
    let mut facts = Vec::new();
    for id in ids {
        let (id, manifest) = repository.find_snapshot(&id.to_string(), context.now)?;
        let pin = repository.note(&id)?.pin;
        if context.json {
            facts.push(SnapshotFacts::new(&id, &manifest).with_pin(pin, context.now));
        } else if !context.quiet {
            let tags = printable(manifest.tags.join(",").as_bytes());
            let pin = pin_text(pin, context.now);
            let parts = [id.short(), if tags.is_empty() { "-".to_owned() } else { tags }];
            let line: Vec<_> = parts.into_iter().chain(pin).collect();
            output.line(&line.join("  "))?;
        }
    }
    if context.json {
        output.json(&Facts { snapshots: facts })?;
    } else if !context.quiet && ids.len() > 1 {
        let count = format::plural(ids.len() as u64, "snapshot", "snapshots");
        output.line(&format!("Changed {count}"))?;
    }
    output.finish()
}
