//! `icecore list`: the snapshots, oldest first.

use crate::base::format;
use crate::base::name::printable;
use crate::cli::commands::facts::{SnapshotFacts, sources};
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::{Align, Output, Table};
use crate::repository::Catalog;

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

pub(crate) fn run(context: &Context) -> Result<Outcome, CommandError> {
    let Catalog { snapshots, damaged } = context.reader()?.catalog()?;
    let mut output = Output::new();
    if context.json {
        let facts: Vec<_> =
            snapshots.iter().map(|(id, manifest)| SnapshotFacts::new(id, manifest)).collect();
        output.json(&facts)?;
        output.finish()?;
        return context.damaged(damaged);
    }
    let mut table = Table::new(&COLUMNS);
    for (id, manifest) in &snapshots {
        let incomplete = if manifest.counters.errors > 0 { "!" } else { "" };
        table.row(vec![
            id.short(),
            manifest.time.to_local_text(),
            printable(manifest.host.as_bytes()),
            printable(manifest.tags.join(",").as_bytes()),
            format!("{}{incomplete}", format::count(manifest.counters.files)),
            format::bytes(manifest.counters.bytes),
            format::bytes(manifest.counters.stored_bytes),
            sources(manifest).join(" "),
        ]);
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
