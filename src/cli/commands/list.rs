//! `icecore list`: the snapshots, oldest first, or the deleted ones.

use serde::Serialize;

use crate::base::format;
use crate::base::id::SnapshotId;
use crate::base::name::printable;
use crate::cli::commands::facts::{SnapshotFacts, pin_text, sources};
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::{Align, Output, Table};
use crate::dag::Manifest;
use crate::repository::{Catalog, DeletedCatalog, DeletedSnapshot};

const COLUMNS: [(&str, Align); 8] = [
    ("ID", Align::Left),
    ("TIME", Align::Left),
    ("HOST", Align::Left),
    ("TAGS", Align::Left),
    ("FILES", Align::Right),
    ("SIZE", Align::Right),
    ("STORED", Align::Right),
    ("SOURCES", Align::Left),
];

/// Where the column of pins is put.
const PIN_PLACE: usize = 4;

const DELETED_COLUMNS: [(&str, Align); 6] = [
    ("ID", Align::Left),
    ("TIME", Align::Left),
    ("HOST", Align::Left),
    ("TAGS", Align::Left),
    ("DELETED", Align::Left),
    ("SOURCES", Align::Left),
];

/// The fields of a deleted snapshot in JSON.
#[derive(Serialize)]
struct DeletedFacts {
    #[serde(flatten)]
    snapshot: SnapshotFacts,
    deleted: String,
}

/// Lists the deleted snapshots.
pub(crate) fn run_deleted(context: &Context) -> Result<Outcome, CommandError> {
    let DeletedCatalog { snapshots, damaged } = context.reader()?.deleted_snapshots()?;
    let mut output = Output::new();
    if context.json {
        let facts = |one: &DeletedSnapshot| DeletedFacts {
            snapshot: SnapshotFacts::new(&one.id, &one.manifest),
            deleted: one.deleted.to_rfc3339(),
        };
        output.json(&snapshots.iter().map(facts).collect::<Vec<_>>())?;
    } else if snapshots.is_empty() {
        context.note("No deleted snapshot can be had back");
    } else {
        let mut table = Table::new(&DELETED_COLUMNS);
        for DeletedSnapshot { id, deleted, manifest } in &snapshots {
            table.row(vec![
                id.short(),
                manifest.time.to_local_text(),
                printable(manifest.host.as_bytes()),
                printable(manifest.tags.join(",").as_bytes()),
                deleted.to_local_text(),
                sources(manifest).join(" "),
            ]);
        }
        table.print(&mut output)?;
    }
    output.finish()?;
    context.damaged(damaged)
}

pub(crate) fn run(context: &Context) -> Result<Outcome, CommandError> {
    let Catalog { snapshots, pins, damaged } = context.reader()?.catalog()?;
    let mut output = Output::new();
    if context.json {
        let facts = |(id, manifest): &(SnapshotId, Manifest)| {
            SnapshotFacts::new(id, manifest).with_pin(pins.get(id).copied(), context.now)
        };
        output.json(&snapshots.iter().map(facts).collect::<Vec<_>>())?;
        output.finish()?;
        return context.damaged(damaged);
    }
    let pin = |id| pin_text(pins.get(id).copied(), context.now);
    // A column of its own, if there is something in it.
    let has_pins = pins.keys().any(|id| pin(id).is_some());
    let mut columns = COLUMNS.to_vec();
    if has_pins {
        columns.insert(PIN_PLACE, ("PIN", Align::Left));
    }
    let mut table = Table::new(&columns);
    for (id, manifest) in &snapshots {
        let incomplete = if manifest.counters.errors > 0 { "!" } else { "" };
        let mut row = vec![
            id.short(),
            manifest.time.to_local_text(),
            printable(manifest.host.as_bytes()),
            printable(manifest.tags.join(",").as_bytes()),
            format!("{}{incomplete}", format::count(manifest.counters.files)),
            format::bytes(manifest.counters.bytes),
            format::bytes(manifest.counters.stored_bytes),
            sources(manifest).join(" "),
        ];
        if has_pins {
            row.insert(PIN_PLACE, pin(id).unwrap_or_default());
        }
        table.row(row);
    }
    if snapshots.is_empty() && damaged.is_empty() {
        context.note("There are no snapshots yet; `icecore create DIRECTORY` takes one");
    } else {
        table.print(&mut output)?;
    }
    if snapshots.iter().any(|(_, manifest)| manifest.counters.errors > 0) {
        context.note("! some items could not be read whole; `icecore show ID` names them");
    }
    output.finish()?;
    context.damaged(damaged)
}
