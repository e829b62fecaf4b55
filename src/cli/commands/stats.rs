//! `icecore stats`: sizes and counts of the whole repository.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use serde::Serialize;

use crate::base::format;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::Output;
use crate::repository::{Locator, ObjectKind, Repository};
use crate::store::Family;

/// The fields of the statistics in JSON; others may rely on their names.
#[derive(Debug, Default, Serialize)]
struct Facts {
    snapshots: u64,
    /// Bytes of all files in all snapshots.
    snapshot_bytes: u64,
    chunks: u64,
    /// Plain bytes of all chunks: what is left after deduplication.
    chunk_bytes: u64,
    /// Bytes of all chunks as stored: what is left after compression.
    chunk_stored_bytes: u64,
    trees: u64,
    tree_bytes: u64,
    tree_stored_bytes: u64,
    /// Bytes of the repository's files.
    disk_bytes: u64,
}

pub(crate) fn run(context: &Context) -> Result<Outcome, CommandError> {
    let reader = context.reader()?;
    let facts = measure(&reader)?;
    let mut output = Output::new();
    if context.json {
        output.json(&facts)?;
    } else {
        print(&facts, &mut output)?;
    }
    output.finish()?;
    Ok(Outcome::Done)
}

fn measure(repository: &Repository) -> Result<Facts, CommandError> {
    let mut facts = Facts { disk_bytes: disk_bytes(repository.path()), ..Facts::default() };
    for (_, manifest) in repository.catalog()?.snapshots {
        facts.snapshots += 1;
        facts.snapshot_bytes = facts.snapshot_bytes.saturating_add(manifest.counters.bytes);
    }
    let visit = &mut |_: &[u8], value: &[u8]| {
        if let Ok(locator) = Locator::decode(value) {
            let (count, plain, stored) = match locator.kind {
                ObjectKind::Chunk => {
                    (&mut facts.chunks, &mut facts.chunk_bytes, &mut facts.chunk_stored_bytes)
                }
                ObjectKind::Tree | ObjectKind::ChunkList => {
                    (&mut facts.trees, &mut facts.tree_bytes, &mut facts.tree_stored_bytes)
                }
            };
            *count += 1;
            *plain += u64::from(locator.plain_bytes);
            *stored += u64::from(locator.stored_bytes);
        }
        ControlFlow::Continue(())
    };
    let scanned = repository.store().scan(Family::Index, &[], visit);
    scanned.map_err(|error| CommandError::Repository(error.into()))?;
    Ok(facts)
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
    for (label, count, bytes, note) in [
        ("Snapshots", facts.snapshots, facts.snapshot_bytes, String::new()),
        ("Chunks", facts.chunks, facts.chunk_bytes, ratio(facts.snapshot_bytes, facts.chunk_bytes)),
        (
            "  as stored",
            facts.chunks,
            facts.chunk_stored_bytes,
            ratio(facts.chunk_bytes, facts.chunk_stored_bytes),
        ),
        ("Trees", facts.trees, facts.tree_bytes, String::new()),
        (
            "  as stored",
            facts.trees,
            facts.tree_stored_bytes,
            ratio(facts.tree_bytes, facts.tree_stored_bytes),
        ),
    ] {
        let count = format::count(count);
        output.line(&format!("{label:<12} {count:>14} {:>12}{note}", format::bytes(bytes)))?;
    }
    output.line(&format!("{:<27} {:>12}", "On disk", format::bytes(facts.disk_bytes)))
}
