//! `icecore export`: snapshots, or an event log, as cold archives.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::archive::{
    ArchiveSource, ChainState, EventLog, ExportRequest, Exported, export_event_log,
    export_snapshot, manifest_path,
};
use crate::audit::{EventKind, Record};
use crate::base::format;
use crate::base::id::SnapshotId;
use crate::base::progress::Monitor as _;
use crate::cli::archive_options::ExportArguments;
use crate::cli::audit::{Trail, audited};
use crate::cli::context::{Context, host};
use crate::cli::exit::{CommandError, DAMAGE, Outcome};
use crate::cli::output::{Output, path_text};
use crate::dag::Manifest;
use crate::repository::{Layout, Reader, RepositoryError};

/// An archive in JSON; others may rely on its names.
#[derive(Serialize)]
struct Facts {
    r#type: &'static str,
    snapshot: Option<String>,
    archive: String,
    manifest: String,
    dry_run: bool,
    files: u64,
    dirs: u64,
    bytes: u64,
    archive_bytes: Option<u64>,
    left_out: u64,
    chain: ChainState,
}

pub(crate) fn run(context: &Context, arguments: &ExportArguments) -> Result<Outcome, CommandError> {
    // A log of others is none of this repository's business.
    let is_foreign = matches!(arguments.event_log, Some(Some(_)));
    audited(context, "export", arguments.dry_run || is_foreign, |trail| {
        let Some((directory, names)) = arguments.operands.split_last() else {
            return Err(CommandError::Usage("OUT_DIR is missing".to_owned()));
        };
        let directory = PathBuf::from(directory);
        match (&arguments.event_log, names) {
            (None, []) => Err(CommandError::Usage(format!(
                "Snapshots and a directory are expected: `icecore export latest {}`",
                path_text(&directory)
            ))),
            (None, names) => {
                let texts: Vec<_> =
                    names.iter().map(|name| name.to_string_lossy().into_owned()).collect();
                snapshots(context, arguments, &texts, &directory, trail)
            }
            (Some(log), []) => event_log(context, arguments, log.as_deref(), &directory, trail),
            (Some(_), _) => Err(CommandError::Usage(
                "--event-log exports a log and no snapshots; say --event-log[=DIRECTORY] OUT_DIR"
                    .to_owned(),
            )),
        }
    })
}

fn request(
    context: &Context,
    arguments: &ExportArguments,
    directory: &Path,
    source: &Path,
) -> Result<ExportRequest, CommandError> {
    let place = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let inside = |path: &Path| {
        path.canonicalize().is_ok_and(|path| {
            context.repository.canonicalize().is_ok_and(|repository| path.starts_with(repository))
        })
    };
    if place.ancestors().any(inside) {
        let text = format!("{} lies in the repository, where nothing else may", path_text(&place));
        return Err(CommandError::Refused(text));
    }
    if !arguments.dry_run && !directory.exists() {
        let action = format!("make the directory {}", path_text(directory));
        fs::create_dir(directory).map_err(CommandError::io(action))?;
    }
    Ok(ExportRequest {
        directory: directory.to_owned(),
        packing: arguments.format,
        name: arguments.name.clone(),
        time: context.now,
        program: concat!("icecore ", env!("CARGO_PKG_VERSION")).to_owned(),
        source: ArchiveSource { path: path_text(source), host: host() },
    })
}

fn snapshots(
    context: &Context,
    arguments: &ExportArguments,
    names: &[String],
    directory: &Path,
    trail: &Trail<'_>,
) -> Result<Outcome, CommandError> {
    let reader = context.reader()?;
    let mut chosen: Vec<(SnapshotId, Manifest)> = Vec::new();
    for name in names {
        let found = reader.find_snapshot(name, context.now)?;
        if chosen.iter().all(|(id, _)| *id != found.0) {
            chosen.push(found);
        }
    }
    let request = request(context, arguments, directory, &context.repository)?;
    let chain = log_state(context)?;
    let mut output = Output::new();
    for (id, manifest) in &chosen {
        let exported = if arguments.dry_run {
            let archive = request.snapshot_path(id, manifest);
            planned(archive, &request, manifest)
        } else {
            export_one(context, &reader, id, manifest, &chain, &request)?
        };
        if !arguments.dry_run {
            trail.record(record(EventKind::SnapshotExported, &exported).snapshots([*id]), 0);
        }
        tell(context, arguments, Some(id), &exported, &chain, &mut output)?;
    }
    output.finish()?;
    Ok(Outcome::Done)
}

fn export_one(
    context: &Context,
    reader: &Reader,
    id: &SnapshotId,
    manifest: &Manifest,
    chain: &ChainState,
    request: &ExportRequest,
) -> Result<Exported, CommandError> {
    let _lease = reader.lease(*id)?;
    let terminal = context.terminal();
    let counters = manifest.counters;
    terminal.begin("packing", counters.files.saturating_add(counters.dirs), counters.bytes);
    let exported = export_snapshot(reader, id, manifest, chain.clone(), request, &terminal);
    terminal.finish();
    exported.map_err(|error| context.signals.explain(error.into()))
}

fn planned(archive: PathBuf, request: &ExportRequest, manifest: &Manifest) -> Exported {
    let counters = manifest.counters;
    let packed = crate::archive::Packed {
        files: counters.files,
        dirs: counters.dirs + 1,
        bytes: counters.bytes,
        left_out: 0,
    };
    let manifest = manifest_path(&archive, request.packing);
    Exported { archive, manifest, packed, archive_bytes: 0 }
}

/// The state of the repository's audit log.
fn log_state(context: &Context) -> Result<ChainState, CommandError> {
    let directory = Layout::new(&context.repository).log();
    if !directory.is_dir() {
        let broken = Some("there is no audit log".to_owned());
        return Ok(ChainState { broken, ..ChainState::default() });
    }
    Ok(EventLog::open(&directory)?.chain().clone())
}

fn event_log(
    context: &Context,
    arguments: &ExportArguments,
    foreign: Option<&Path>,
    directory: &Path,
    trail: &Trail<'_>,
) -> Result<Outcome, CommandError> {
    let (source, thing) = match foreign {
        Some(source) => (source.to_owned(), "event-log".to_owned()),
        None => {
            let layout = Layout::new(&context.repository);
            if !layout.config().exists() && !layout.log().is_dir() {
                let path = context.repository.clone();
                return Err(RepositoryError::NotFound { path, has_store: false }.into());
            }
            (layout.log(), format!("{}-audit-log", host()))
        }
    };
    let request = request(context, arguments, directory, &source)?;
    let mut log = EventLog::open(&source)?;
    let chain = log.chain().clone();
    let exported = if arguments.dry_run {
        let archive = request.archive_path(&thing, request.time);
        let manifest = manifest_path(&archive, request.packing);
        let packed = crate::archive::Packed {
            files: chain.segments,
            dirs: 1,
            bytes: log.bytes(),
            left_out: 0,
        };
        Exported { archive, manifest, packed, archive_bytes: 0 }
    } else {
        let terminal = context.terminal();
        terminal.begin("packing", chain.segments, log.bytes());
        let exported = export_event_log(&mut log, &thing, &request, &terminal);
        terminal.finish();
        exported.map_err(|error| context.signals.explain(error.into()))?
    };
    let record = record(EventKind::LogExported, &exported).count("events", chain.events);
    trail.record(record, if chain.valid { 0 } else { DAMAGE });
    let mut output = Output::new();
    tell(context, arguments, None, &exported, &chain, &mut output)?;
    output.finish()?;
    match &chain.broken {
        None => Ok(Outcome::Done),
        Some(broken) => Err(CommandError::Damage(format!(
            "The event log was exported as it is, and its chain is broken: {broken}"
        ))),
    }
}

fn record(kind: EventKind, exported: &Exported) -> Record {
    Record::new(kind)
        .path(path_text(&exported.archive))
        .count("files", exported.packed.files)
        .count("bytes", exported.packed.bytes)
        .count("archive_bytes", exported.archive_bytes)
}

fn tell(
    context: &Context,
    arguments: &ExportArguments,
    id: Option<&SnapshotId>,
    exported: &Exported,
    chain: &ChainState,
    output: &mut Output,
) -> Result<(), CommandError> {
    let packed = exported.packed;
    if context.json {
        return output.json(&Facts {
            r#type: "archive",
            snapshot: id.map(ToString::to_string),
            archive: path_text(&exported.archive),
            manifest: path_text(&exported.manifest),
            dry_run: arguments.dry_run,
            files: packed.files,
            dirs: packed.dirs,
            bytes: packed.bytes,
            archive_bytes: (!arguments.dry_run).then_some(exported.archive_bytes),
            left_out: packed.left_out,
            chain: chain.clone(),
        });
    }
    if context.quiet {
        return Ok(());
    }
    let what = match id {
        Some(id) => format!("Snapshot {}", id.short()),
        None => format::plural(chain.events, "event", "events"),
    };
    let files = format::plural(packed.files, "file", "files");
    let bytes = format::bytes(packed.bytes);
    if arguments.dry_run {
        let archive = path_text(&exported.archive);
        return output.line(&format!("Would write {archive}: {what}, {files}, {bytes}"));
    }
    let archive_bytes = format::bytes(exported.archive_bytes);
    output.line(&format!("{what}: {files}, {bytes}, packed into {archive_bytes}"))?;
    if packed.left_out > 0 {
        let items = format::plural(packed.left_out, "socket", "sockets");
        output.line(&format!("  left out: {items}, which tar has no place for"))?;
    }
    output.line(&format!("  {}", path_text(&exported.archive)))?;
    output.line(&format!("  {}", path_text(&exported.manifest)))?;
    if id.is_none() {
        let state = match (&chain.broken, chain.recomputed) {
            (Some(_), _) => "broken",
            (None, true) => "unbroken, every hash computed again",
            (None, false) => "unbroken as far as each event names the one before it",
        };
        let last = chain.last_hash.as_deref().unwrap_or("-");
        let segments = format::plural(chain.segments, "segment", "segments");
        output.line(&format!("  {what} in {segments}, {state}; last hash {last}"))?;
    }
    Ok(())
}
