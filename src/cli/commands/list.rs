//! `icecore list`: the snapshots, oldest first, or the deleted ones.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::base::format;
use crate::base::id::SnapshotId;
use crate::base::name::printable;
use crate::cli::commands::facts::{SnapshotFacts, pin_text, sources};
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::list_options::{ListArguments, Order};
use crate::cli::output::{Align, Last, Output, Table};
use crate::cli::snapshot_options::keep_latest;
use crate::cli::template::Template;
use crate::dag::Manifest;
use crate::repository::{Catalog, DeletedCatalog, DeletedSnapshot, Pin};
use crate::retention::{GroupKey, Grouping};

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
/// What a narrow terminal does without, in this order.
const DISPENSABLE: [&str; 5] = ["STORED", "FILES", "HOST", "SIZE", "TAGS"];

const DELETED_COLUMNS: [(&str, Align); 6] = [
    ("ID", Align::Left),
    ("TIME", Align::Left),
    ("HOST", Align::Left),
    ("TAGS", Align::Left),
    ("DELETED", Align::Left),
    ("SOURCES", Align::Left),
];

type Snapshots = Vec<(SnapshotId, Manifest)>;
type Pins = BTreeMap<SnapshotId, Pin>;

/// The fields of a deleted snapshot in JSON.
#[derive(Serialize)]
struct DeletedFacts {
    #[serde(flatten)]
    snapshot: SnapshotFacts,
    deleted: String,
}

/// The fields of a group in JSON; what snapshots are not grouped by is absent.
#[derive(Serialize)]
struct GroupFacts {
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sources: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<String>>,
    snapshots: Vec<SnapshotFacts>,
}

pub(crate) fn run(context: &Context, arguments: &ListArguments) -> Result<Outcome, CommandError> {
    if arguments.deleted {
        return run_deleted(context, arguments);
    }
    let Catalog { mut snapshots, pins, damaged } = context.reader()?.catalog()?;
    let is_empty = snapshots.is_empty() && damaged.is_empty();
    arguments.filter.retain(context, &mut snapshots)?;
    let grouping = arguments.group_by.unwrap_or(ONE_GROUP);
    let mut groups: BTreeMap<GroupKey, Snapshots> = BTreeMap::new();
    for (id, manifest) in snapshots {
        let Manifest { host, sources, tags, .. } = &manifest;
        let key = GroupKey::new(grouping, host, sources, tags);
        groups.entry(key).or_default().push((id, manifest));
    }
    for group in groups.values_mut() {
        if let Some(latest) = arguments.filter.latest {
            keep_latest(group, latest);
        }
        sort(group, arguments);
    }
    let mut lister = Lister { context, pins, output: Output::new() };
    if context.json {
        lister.json(&groups, arguments.group_by.is_some())?;
    } else if let Some(template) = &arguments.format {
        let end = if arguments.null { "\0" } else { "\n" };
        groups.values().try_for_each(|group| lister.lines(group, template, end))?;
    } else {
        lister.tables(&groups)?;
        if is_empty {
            context.note("There are no snapshots yet; `icecore create DIRECTORY` takes one");
        } else if groups.is_empty() && damaged.is_empty() {
            context.note("No snapshot fits");
        }
    }
    lister.output.finish()?;
    context.damaged(damaged)
}

const ONE_GROUP: Grouping = Grouping { host: false, sources: false, tags: false };

fn sort(snapshots: &mut Snapshots, arguments: &ListArguments) {
    // They come sorted by time, which decides between equals.
    match arguments.sort {
        Order::Time => {}
        Order::Size => snapshots.sort_by_key(|(_, manifest)| manifest.counters.bytes),
        Order::Stored => snapshots.sort_by_key(|(_, manifest)| manifest.counters.stored_bytes),
        Order::Files => snapshots.sort_by_key(|(_, manifest)| manifest.counters.files),
        Order::Host => snapshots.sort_by(|(_, one), (_, other)| one.host.cmp(&other.host)),
    }
    if arguments.reverse {
        snapshots.reverse();
    }
}

/// Lists the deleted snapshots.
fn run_deleted(context: &Context, arguments: &ListArguments) -> Result<Outcome, CommandError> {
    let DeletedCatalog { mut snapshots, damaged } = context.reader()?.deleted_snapshots()?;
    let filter = arguments.filter.filter(context)?;
    snapshots.retain(|one| filter.fits(&one.manifest));
    if let Some(latest) = arguments.filter.latest {
        keep_latest(&mut snapshots, latest);
    }
    if arguments.reverse {
        snapshots.reverse();
    }
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
        table.print_fitting(&mut output, &DISPENSABLE, Last::Wrap)?;
    }
    output.finish()?;
    context.damaged(damaged)
}

struct Lister<'a> {
    context: &'a Context,
    pins: Pins,
    output: Output,
}

impl Lister<'_> {
    fn facts(&self, (id, manifest): &(SnapshotId, Manifest)) -> SnapshotFacts {
        let pin = self.pins.get(id).copied();
        SnapshotFacts::new(id, manifest).with_pin(pin, self.context.now)
    }

    fn json(
        &mut self,
        groups: &BTreeMap<GroupKey, Snapshots>,
        are_groups: bool,
    ) -> Result<(), CommandError> {
        let all = |group: &Snapshots| group.iter().map(|one| self.facts(one)).collect::<Vec<_>>();
        if !are_groups {
            let facts: Vec<_> = groups.values().flat_map(all).collect();
            return self.output.json(&facts);
        }
        let texts = |sources: &Vec<Vec<u8>>| sources.iter().map(|one| printable(one)).collect();
        let facts = groups.iter().map(|(key, group)| GroupFacts {
            host: key.host.clone(),
            sources: key.sources.as_ref().map(texts),
            tags: key.tags.clone(),
            snapshots: all(group),
        });
        let facts: Vec<_> = facts.collect();
        self.output.json(&facts)
    }

    /// Prints a line for each snapshot as a template says.
    fn lines(
        &mut self,
        group: &Snapshots,
        template: &Template,
        end: &str,
    ) -> Result<(), CommandError> {
        for snapshot in group {
            let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(self.facts(snapshot))
            else {
                continue;
            };
            let text = template.fill(&fields).map_err(CommandError::Usage)?;
            // What is meant for a person is no text that drives the terminal.
            let text = match self.output.is_terminal() {
                true => text.replace(|c: char| c.is_control() && !matches!(c, '\n' | '\t'), "?"),
                false => text,
            };
            self.output.raw(text.as_bytes())?;
            self.output.raw(end.as_bytes())?;
        }
        Ok(())
    }

    fn tables(&mut self, groups: &BTreeMap<GroupKey, Snapshots>) -> Result<(), CommandError> {
        let mut before = "";
        for (key, group) in groups {
            let title = title(key);
            if !title.is_empty() {
                self.output.line(&format!("{before}{title}"))?;
                before = "\n";
            }
            self.table(group)?;
        }
        let mut all = groups.values().flatten();
        if all.any(|(_, manifest)| manifest.counters.errors > 0) {
            let text = "! some items could not be read whole; `icecore show ID` names them";
            self.context.note(text);
        }
        Ok(())
    }

    fn table(&mut self, snapshots: &Snapshots) -> Result<(), CommandError> {
        let pin = |id| pin_text(self.pins.get(id).copied(), self.context.now);
        // A column of its own, if there is something in it.
        let has_pins = snapshots.iter().any(|(id, _)| pin(id).is_some());
        let mut columns = COLUMNS.to_vec();
        if has_pins {
            columns.insert(PIN_PLACE, ("PIN", Align::Left));
        }
        let mut table = Table::new(&columns);
        for (id, manifest) in snapshots {
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
        table.print_fitting(&mut self.output, &DISPENSABLE, Last::Wrap)
    }
}

/// The line above the table of a group; empty if all are one group.
fn title(GroupKey { host, sources, tags }: &GroupKey) -> String {
    let mut parts = Vec::new();
    if let Some(host) = host {
        parts.push(format!("host {}", printable(host.as_bytes())));
    }
    if let Some(sources) = sources {
        let sources: Vec<_> = sources.iter().map(|source| printable(source)).collect();
        parts.push(format!("sources {}", sources.join(" ")));
    }
    if let Some(tags) = tags {
        let tags = if tags.is_empty() { "-".to_owned() } else { tags.join(",") };
        parts.push(format!("tags {}", printable(tags.as_bytes())));
    }
    parts.join("  ")
}
