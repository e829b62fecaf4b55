//! `icecore versions`: the distinct versions of one path.

use std::os::unix::ffi::OsStrExt as _;

use serde::Serialize;

use crate::base::format;
use crate::base::name::printable;
use crate::cli::commands::find::{HolderFacts, Holders, damage_line};
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::find_options::VersionsArguments;
use crate::cli::node_text::{NodeFacts, kind_name, sha256, weight_text};
use crate::cli::output::{Align, Last, Output, Table};
use crate::find::{History, versions};

const COLUMNS: [(&str, Align); 8] = [
    ("SNAPSHOT", Align::Left),
    ("FIRST SEEN", Align::Left),
    ("LAST SEEN", Align::Left),
    ("COUNT", Align::Right),
    ("KIND", Align::Left),
    ("MODIFIED", Align::Left),
    ("SIZE", Align::Right),
    ("SHA-256", Align::Left),
];
/// What a narrow terminal does without, in this order.
const DISPENSABLE: [&str; 3] = ["KIND", "LAST SEEN", "COUNT"];

#[derive(Serialize)]
struct Facts {
    #[serde(flatten)]
    node: NodeFacts,
    #[serde(flatten)]
    holders: HolderFacts,
    /// Each of them, oldest first.
    snapshot_ids: Vec<String>,
}

pub(crate) fn run(
    context: &Context,
    arguments: &VersionsArguments,
) -> Result<Outcome, CommandError> {
    let reader = context.reader()?;
    let (_leases, mut catalog) = reader.lease_all()?;
    arguments.select.choose(context, &mut catalog)?;
    let snapshots = catalog.snapshots;
    let path = trimmed(arguments.path.as_bytes());
    let History { versions, damaged } = versions(&reader, &snapshots, path, &context.silent())
        .map_err(|error| context.signals.explain(error.into()))?;
    let held = versions.iter().filter_map(|version| {
        Holders::new(&snapshots, &version.snapshots).map(|holders| (version, holders))
    });
    let mut output = Output::new();
    if context.json {
        let facts = held.map(|(version, holders)| Facts {
            node: NodeFacts::new(path, &version.node),
            holders: holders.facts(),
            snapshot_ids: (0_u64..)
                .zip(&snapshots)
                .filter(|(place, _)| version.snapshots.contains(*place))
                .map(|(_, (id, _))| id.to_string())
                .collect(),
        });
        output.json(&facts.collect::<Vec<_>>())?;
    } else if !versions.is_empty() {
        let mut table = Table::new(&COLUMNS);
        for (version, holders) in held {
            table.row(vec![
                holders.last.0.short(),
                holders.first.1.time.to_local_text(),
                holders.last.1.time.to_local_text(),
                format::count(holders.count),
                kind_name(&version.node.kind).to_owned(),
                version.node.mtime.to_local_text(),
                weight_text(&version.node),
                sha256(&version.node).unwrap_or_else(|| "-".to_owned()),
            ]);
        }
        table.print_fitting(&mut output, &DISPENSABLE, Last::Cut)?;
    }
    output.finish()?;
    if versions.is_empty() && damaged.is_empty() && catalog.damaged.is_empty() {
        let count = format::plural(snapshots.len() as u64, "snapshot", "snapshots");
        let path = format!("/{}", printable(path));
        return Err(CommandError::Failed(format!(
            "There is no {path} in any of {count}; `icecore find` looks for names"
        )));
    }
    context.damaged_lines(catalog.damaged, damaged.iter().map(damage_line).collect())
}

/// A path as snapshots have it, without slashes around it.
fn trimmed(path: &[u8]) -> &[u8] {
    let is_name = |byte: &u8| *byte != b'/';
    let first = path.iter().position(is_name).unwrap_or(path.len());
    let end = path.iter().rposition(is_name).map_or(first, |last| last + 1);
    path.get(first..end).unwrap_or_default()
}
