//! `icecore delete`: removes named snapshots.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::base::format;
use crate::cli::commands::facts::sources;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::Output;

#[derive(Serialize)]
struct Facts {
    deleted: Vec<String>,
}

pub(crate) fn run(context: &Context, names: &[String], yes: bool) -> Result<Outcome, CommandError> {
    // Found before anything is asked or locked: a typo costs nothing.
    let reader = context.reader()?;
    let mut chosen = BTreeMap::new();
    for name in names {
        let (id, manifest) = reader.find_snapshot(name, context.now)?;
        chosen.insert(id, manifest);
    }
    drop(reader);
    if !yes && context.is_interactive() {
        for (id, manifest) in &chosen {
            let what = sources(manifest).join(" ");
            context.note(&format!("{}  {}  {what}", id.short(), manifest.time.to_local_text()));
        }
    }
    let count = format::plural(chosen.len() as u64, "snapshot", "snapshots");
    context.confirm(&format!("Delete {count}?"), yes)?;
    let terminal = context.terminal();
    let writer = context.writer("delete", &terminal)?;
    let ids: Vec<_> = chosen.into_keys().collect();
    writer.delete_snapshots(&ids)?;
    terminal.finish();
    let mut output = Output::new();
    if context.json {
        output.json(&Facts { deleted: ids.iter().map(ToString::to_string).collect() })?;
    } else if !context.quiet {
        output.line(&format!("Deleted {count}; `icecore gc` returns the space"))?;
    }
    output.finish()?;
    Ok(Outcome::Done)
}
