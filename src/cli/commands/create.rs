//! `icecore create`: takes a snapshot.

use std::env;

use serde::Serialize;

use crate::base::format;
use crate::cli::args::CreateArguments;
use crate::cli::context::{self, Context};
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::Output;
use crate::compression::Compression;
use crate::ingest::{self, CreateReport, CreateRequest};

/// The last object that `create --json` prints; others may rely on its names.
#[derive(Serialize)]
struct Summary {
    r#type: &'static str,
    id: String,
    short_id: String,
    files: u64,
    dirs: u64,
    bytes: u64,
    added_bytes: u64,
    stored_bytes: u64,
    added_chunks: u64,
    added_trees: u64,
    errors: u64,
    error_messages: Vec<String>,
    notes: Vec<String>,
    seconds: f64,
}

pub(crate) fn run(context: &Context, arguments: CreateArguments) -> Result<Outcome, CommandError> {
    let terminal = context.terminal();
    let writer = context.writer("create", &terminal)?;
    let working_directory =
        env::current_dir().map_err(CommandError::io("find the working directory"))?;
    let request = CreateRequest {
        sources: arguments.sources,
        working_directory,
        host: arguments.host.unwrap_or_else(context::host),
        user: context::user(),
        description: arguments.description,
        tags: arguments.tags,
        time: context.now,
        program: concat!("icecore ", env!("CARGO_PKG_VERSION")).to_owned(),
        parent: None,
        workers: std::thread::available_parallelism().map_or(2, usize::from),
        compression: match arguments.compression.as_str() {
            "none" => Compression::None,
            _ => Compression::Lz4,
        },
    };
    let created = ingest::create(&writer, &request, &terminal);
    terminal.finish();
    let report = created.map_err(|error| context.signals.explain(error.into()))?;
    let mut output = Output::new();
    if context.json {
        output.json(&summary(&report))?;
    } else if !context.quiet {
        report.notes.iter().for_each(|note| context.note(note));
        print(&report, &mut output)?;
    }
    output.finish()?;
    Ok(if report.counters.errors > 0 { Outcome::Incomplete } else { Outcome::Done })
}

fn summary(report: &CreateReport) -> Summary {
    let counters = report.counters;
    Summary {
        r#type: "summary",
        id: report.id.to_string(),
        short_id: report.id.short(),
        files: counters.files,
        dirs: counters.dirs,
        bytes: counters.bytes,
        added_bytes: counters.added_bytes,
        stored_bytes: counters.stored_bytes,
        added_chunks: report.added.chunks,
        added_trees: report.added.trees,
        errors: counters.errors,
        error_messages: report.errors.clone(),
        notes: report.notes.clone(),
        seconds: report.duration.as_secs_f64(),
    }
}

fn print(report: &CreateReport, output: &mut Output) -> Result<(), CommandError> {
    let counters = report.counters;
    let seconds = report.duration.as_secs_f64();
    output.line(&format!(
        "Read {} and {}, {} in {seconds:.1} s ({}/s)",
        format::plural(counters.files, "file", "files"),
        format::plural(counters.dirs, "directory", "directories"),
        format::bytes(counters.bytes),
        format::bytes((counters.bytes as f64 / seconds.max(1e-9)) as u64),
    ))?;
    output.line(&format!(
        "Added {}: {} and {}, {} as stored",
        format::bytes(counters.added_bytes),
        format::plural(report.added.chunks, "chunk", "chunks"),
        format::plural(report.added.trees, "tree", "trees"),
        format::bytes(counters.stored_bytes),
    ))?;
    if counters.errors > 0 {
        let items = format::plural(counters.errors, "item", "items");
        output.line(&format!("{items} could not be read whole; the rest is saved"))?;
    }
    output.line(&format!("Snapshot {}", report.id))
}
