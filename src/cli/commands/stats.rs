//! `icecore stats`: sizes and counts of the repository, or of some snapshots.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::base::format;
use crate::base::id::SnapshotId;
use crate::base::name::printable;
use crate::cli::commands::facts::sources;
use crate::cli::commands::stats_growth;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::{Align, Last, Output, Table};
use crate::cli::progress::Terminal;
use crate::cli::snapshot_options::keep_latest;
use crate::cli::stats_options::StatsArguments;
use crate::dag::Manifest;
use crate::repository::{Catalog, Reader};
use crate::statistics::{Inventory, Share, StatisticsError, Totals, Usage, growth, totals, usage};

const COLUMNS: [(&str, Align); 7] = [
    ("ID", Align::Left),
    ("TIME", Align::Left),
    ("HOST", Align::Left),
    ("SIZE", Align::Right),
    ("NEW", Align::Right),
    ("UNIQUE", Align::Right),
    ("SOURCES", Align::Left),
];
const DISPENSABLE: [&str; 3] = ["HOST", "NEW", "SIZE"];

/// The fields of the statistics in JSON; others may rely on their names.
#[derive(Debug, Default, Serialize)]
struct Facts {
    snapshots: u64,
    /// Files in all those snapshots.
    snapshot_files: u64,
    /// Bytes of all files in all those snapshots.
    snapshot_bytes: u64,
    chunks: u64,
    /// Plain bytes of all chunks: what is left after deduplication.
    chunk_bytes: u64,
    /// Bytes of all chunks as stored: what is left after compression.
    chunk_stored_bytes: u64,
    trees: u64,
    /// Plain bytes of all trees, unless it is of some snapshots alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    tree_bytes: Option<u64>,
    tree_stored_bytes: u64,
    /// Bytes of the repository's files.
    disk_bytes: u64,
    /// Bytes as stored that those snapshots hold and no other one.
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_stored_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_snapshot: Option<Vec<SnapshotShare>>,
}

/// What a snapshot holds, in JSON.
#[derive(Debug, Serialize)]
struct SnapshotShare {
    id: String,
    short_id: String,
    time: String,
    host: String,
    files: u64,
    bytes: u64,
    /// As stored, of what no older snapshot holds.
    new_stored_bytes: u64,
    /// Plain bytes of the chunks that no other snapshot holds.
    unique_bytes: u64,
    /// As stored, with trees: what `delete` and `gc` would free.
    unique_stored_bytes: u64,
}

type Snapshots = Vec<(SnapshotId, Manifest)>;

pub(crate) fn run(context: &Context, arguments: &StatsArguments) -> Result<Outcome, CommandError> {
    let reader = context.reader()?;
    let is_chart = arguments.growth || arguments.svg.is_some();
    let is_chosen = !arguments.snapshots.is_empty() || !arguments.filter.is_empty();
    if !arguments.unique && !is_chart && !is_chosen {
        return all(context, &reader);
    }
    let (_leases, mut catalog) = reader.lease_all()?;
    let kept = choose(context, arguments, &catalog)?;
    let terminal = context.bar();
    let all = std::mem::take(&mut catalog.snapshots);
    let (report, usage) = measure(&reader, arguments, &all, &kept, &terminal)
        .map_err(|error| context.signals.explain(error.into()))?;
    terminal.finish();
    let mut output = Output::new();
    if is_chart {
        let points = growth(&kept, &usage);
        stats_growth::print(context, arguments, &reader, &points, &mut output)?;
    } else if context.json {
        output.json(&report)?;
    } else {
        print(&report, &mut output)?;
        print_shares(&report, &kept, &mut output)?;
    }
    output.finish()?;
    let lines = usage.damaged.iter();
    let lines = lines.map(|(id, error)| format!("{error}; snapshot {} holds it", id.short()));
    context.damaged_lines(catalog.damaged, lines.collect())
}

/// The snapshots that are meant, oldest first.
fn choose(
    context: &Context,
    arguments: &StatsArguments,
    catalog: &Catalog,
) -> Result<Snapshots, CommandError> {
    let mut kept = catalog.snapshots.clone();
    if !arguments.snapshots.is_empty() {
        let select = |name: &String| catalog.select(name, context.now);
        let named: Vec<_> = arguments.snapshots.iter().map(select).collect::<Result<_, _>>()?;
        kept.retain(|(id, _)| named.contains(id));
    }
    arguments.filter.retain(context, &mut kept)?;
    if let Some(latest) = arguments.filter.latest {
        keep_latest(&mut kept, latest);
    }
    Ok(kept)
}

/// Walks the trees and returns the facts, with what the walk of the snapshots
/// that are meant told, each for itself.
fn measure(
    reader: &Reader,
    arguments: &StatsArguments,
    all: &Snapshots,
    kept: &Snapshots,
    terminal: &Terminal,
) -> Result<(Facts, Usage), StatisticsError> {
    let is_kept = |id: &SnapshotId| kept.iter().any(|(own, _)| own == id);
    let mut inventory = Inventory::read(reader, terminal)?;
    let mut walk = |snapshots: &Snapshots, holder: &dyn Fn(usize, &SnapshotId) -> u32| {
        let root = |(place, (id, manifest)): (usize, &(SnapshotId, Manifest))| {
            Some((*id, *manifest.tree()?, holder(place, id)))
        };
        let roots: Vec<_> = snapshots.iter().enumerate().filter_map(root).collect();
        inventory.forget_holders();
        usage(reader, &mut inventory, &roots, terminal)
    };
    let each = |place: usize, _: &SnapshotId| u32::try_from(place).unwrap_or_default();
    let own = walk(kept, &each)?;
    let mut facts = Facts { disk_bytes: disk_bytes(reader.path()), ..sums(kept) };
    let together = own.together();
    facts.chunks = together.chunks;
    facts.chunk_bytes = together.chunk_bytes;
    facts.chunk_stored_bytes = together.chunk_stored_bytes;
    facts.trees = together.trees;
    facts.tree_stored_bytes = together.tree_stored_bytes;
    if arguments.unique && kept.len() == all.len() {
        facts.unique_stored_bytes = Some(together.stored_bytes());
        facts.per_snapshot = Some(shares(kept, &own, &is_kept));
    } else if arguments.unique {
        let two = walk(all, &|_, id| u32::from(is_kept(id)))?;
        facts.unique_stored_bytes = two.alone.get(1).map(Share::stored_bytes);
        facts.per_snapshot = Some(shares(all, &walk(all, &each)?, &is_kept));
    }
    Ok((facts, own))
}

/// The statistics of the whole repository, by its index alone.
fn all(context: &Context, reader: &Reader) -> Result<Outcome, CommandError> {
    let Catalog { snapshots, damaged, .. } = reader.catalog()?;
    let facts = Facts { disk_bytes: disk_bytes(reader.path()), ..sums(&snapshots) };
    let silent = context.silent();
    let Totals { chunks, chunk_bytes, chunk_stored_bytes, trees, tree_bytes, tree_stored_bytes } =
        totals(reader, &silent).map_err(|error| context.signals.explain(error.into()))?;
    let facts = Facts {
        chunks,
        chunk_bytes,
        chunk_stored_bytes,
        trees,
        tree_bytes: Some(tree_bytes),
        tree_stored_bytes,
        ..facts
    };
    let mut output = Output::new();
    if context.json {
        output.json(&facts)?;
    } else {
        print(&facts, &mut output)?;
    }
    output.finish()?;
    context.damaged(damaged)
}

/// What manifests alone tell.
fn sums(snapshots: &Snapshots) -> Facts {
    let sum = |of: fn(&Manifest) -> u64| {
        snapshots.iter().fold(0_u64, |sum, (_, manifest)| sum.saturating_add(of(manifest)))
    };
    Facts {
        snapshots: snapshots.len() as u64,
        snapshot_files: sum(|manifest| manifest.counters.files),
        snapshot_bytes: sum(|manifest| manifest.counters.bytes),
        ..Facts::default()
    }
}

fn shares(
    all: &Snapshots,
    each: &Usage,
    is_kept: &dyn Fn(&SnapshotId) -> bool,
) -> Vec<SnapshotShare> {
    let shares = all.iter().zip(each.first.iter().zip(&each.alone));
    let kept = shares.filter(|((id, _), _)| is_kept(id));
    kept.map(|((id, manifest), (first, alone))| SnapshotShare {
        id: id.to_string(),
        short_id: id.short(),
        time: manifest.time.to_rfc3339(),
        host: manifest.host.clone(),
        files: manifest.counters.files,
        bytes: manifest.counters.bytes,
        new_stored_bytes: first.stored_bytes(),
        unique_bytes: alone.chunk_bytes,
        unique_stored_bytes: alone.stored_bytes(),
    })
    .collect()
}

/// Sums up the files of the repository; what vanishes meanwhile is not counted.
fn disk_bytes(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}

fn print(facts: &Facts, output: &mut Output) -> Result<(), CommandError> {
    let ratio = |before: u64, after: u64| match (before, after) {
        (0, _) | (_, 0) => String::new(),
        (before, after) => format!("  ({:.2} to 1)", before as f64 / after as f64),
    };
    let Facts { chunks, chunk_bytes, chunk_stored_bytes, trees, .. } = *facts;
    let mut lines = vec![
        ("Snapshots", facts.snapshots, facts.snapshot_bytes, String::new()),
        ("Chunks", chunks, chunk_bytes, ratio(facts.snapshot_bytes, chunk_bytes)),
        ("  as stored", chunks, chunk_stored_bytes, ratio(chunk_bytes, chunk_stored_bytes)),
    ];
    match facts.tree_bytes {
        Some(bytes) => {
            lines.push(("Trees", trees, bytes, String::new()));
            let ratio = ratio(bytes, facts.tree_stored_bytes);
            lines.push(("  as stored", trees, facts.tree_stored_bytes, ratio));
        }
        None => lines.push(("Trees", trees, facts.tree_stored_bytes, "  as stored".to_owned())),
    }
    for (label, count, bytes, note) in lines {
        let count = format::count(count);
        output.line(&format!("{label:<12} {count:>14} {:>12}{note}", format::bytes(bytes)))?;
    }
    if let Some(bytes) = facts.unique_stored_bytes {
        let note = "  held by no other snapshot";
        output.line(&format!("{:<27} {:>12}{note}", "Unique", format::bytes(bytes)))?;
    }
    output.line(&format!("{:<27} {:>12}", "On disk", format::bytes(facts.disk_bytes)))
}

/// Prints what each snapshot holds alone, if that was counted.
fn print_shares(facts: &Facts, kept: &Snapshots, output: &mut Output) -> Result<(), CommandError> {
    let Some(shares) = facts.per_snapshot.as_ref().filter(|shares| !shares.is_empty()) else {
        return Ok(());
    };
    let mut table = Table::new(&COLUMNS);
    for (share, (_, manifest)) in shares.iter().zip(kept) {
        table.row(vec![
            share.short_id.clone(),
            manifest.time.to_local_text(),
            printable(manifest.host.as_bytes()),
            format::bytes(share.bytes),
            format::bytes(share.new_stored_bytes),
            format::bytes(share.unique_stored_bytes),
            sources(manifest).join(" "),
        ]);
    }
    output.line("")?;
    table.print_fitting(output, &DISPENSABLE, Last::Wrap)
}
