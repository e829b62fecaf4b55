//! `icecore import`: a snapshot, or a directory, of an archive.

use std::path::Path;

use serde::Serialize;

use crate::archive::{ArchiveKind, ChainState, ImportRequest, Imported, SnapshotLabels, is_free};
use crate::audit::{EventKind, Record};
use crate::base::format;
use crate::base::name::printable;
use crate::base::progress::Monitor as _;
use crate::base::time::parse_expression;
use crate::cli::archive_options::ImportArguments;
use crate::cli::audit::audited;
use crate::cli::context::{Context, host, user};
use crate::cli::exit::{CommandError, DAMAGE, Outcome};
use crate::cli::output::{Output, path_text};

/// What became of an archive, in JSON; others may rely on its names.
#[derive(Serialize)]
struct Facts {
    r#type: &'static str,
    archive: String,
    dry_run: bool,
    /// `snapshot`, `event-log`, or nothing for an archive made elsewhere.
    kind: Option<ArchiveKind>,
    created_at: Option<String>,
    original_id: Option<String>,
    id: Option<String>,
    short_id: Option<String>,
    time: Option<String>,
    directory: Option<String>,
    moved_aside: Option<String>,
    files: u64,
    dirs: u64,
    bytes: u64,
    added_bytes: u64,
    stored_bytes: u64,
    problems: u64,
    chain: Option<ChainState>,
}

pub(crate) fn run(context: &Context, arguments: &ImportArguments) -> Result<Outcome, CommandError> {
    let is_stdin = arguments.archive.as_os_str() == "-";
    let archive = (!is_stdin).then(|| arguments.archive.clone());
    let request = ImportRequest { archive };
    let imported = match &arguments.to {
        _ if arguments.dry_run => {
            let terminal = context.terminal();
            terminal.phase("verifying");
            let checked = request.check(&terminal);
            terminal.finish();
            checked.map_err(|error| context.signals.explain(error.into()))?
        }
        Some(directory) => unpack(context, arguments, &request, directory)?,
        None => return into_repository(context, arguments, &request),
    };
    tell(context, arguments, &request, &imported)
}

fn unpack(
    context: &Context,
    arguments: &ImportArguments,
    request: &ImportRequest,
    directory: &Path,
) -> Result<Imported, CommandError> {
    if !is_free(directory)? {
        let path = path_text(directory);
        let question = format!("{path} is not empty; move it aside and put the archive there?");
        context.confirm(&question, arguments.yes)?;
    }
    let terminal = context.terminal();
    terminal.phase("unpacking");
    let imported = request.into_directory(directory, context.now, &terminal);
    terminal.finish();
    imported.map_err(|error| context.signals.explain(error.into()))
}

fn into_repository(
    context: &Context,
    arguments: &ImportArguments,
    request: &ImportRequest,
) -> Result<Outcome, CommandError> {
    let time = match &arguments.time {
        None => None,
        Some(text) => Some(parse_expression(text, context.now).ok_or_else(|| {
            CommandError::Usage(format!(
                "--time {text:?} is no time; say 2026-11-19, 2026-11-19T03:00 or 2h"
            ))
        })?),
    };
    let labels = SnapshotLabels {
        host: arguments.host.clone(),
        time,
        description: arguments.description.clone(),
        tags: arguments.tag.clone(),
        default_host: host(),
        default_user: user(),
        now: context.now,
        program: concat!("icecore ", env!("CARGO_PKG_VERSION")).to_owned(),
        compression: arguments.compression,
    };
    audited(context, "import", false, |trail| {
        let terminal = context.terminal();
        let writer = context.writer("import", &terminal)?;
        terminal.phase("importing");
        let imported = request.into_repository(&writer, &labels, &terminal);
        terminal.finish();
        let imported = imported.map_err(|error| context.signals.explain(error.into()))?;
        let id = imported.snapshot.as_ref().map(|(id, ..)| *id);
        let record = Record::new(EventKind::SnapshotImported)
            .snapshots(id)
            .path(request.name())
            .count("files", imported.packed.files)
            .count("bytes", imported.packed.bytes);
        let is_broken = imported.chain.as_ref().is_some_and(|chain| !chain.valid);
        trail.record(record, if is_broken { DAMAGE } else { 0 });
        tell(context, arguments, request, &imported)
    })
}

fn tell(
    context: &Context,
    arguments: &ImportArguments,
    request: &ImportRequest,
    imported: &Imported,
) -> Result<Outcome, CommandError> {
    let mut output = Output::new();
    if context.json {
        output.json(&facts(arguments, request, imported))?;
    } else if !context.quiet {
        print(arguments, imported, &mut output)?;
    }
    output.finish()?;
    let broken = imported.chain.as_ref().and_then(|chain| chain.broken.as_ref());
    if let Some(broken) = broken {
        let text = format!("The archive is whole, and the chain of its events is broken: {broken}");
        return Err(CommandError::Damage(text));
    }
    Ok(if imported.problems > 0 { Outcome::Incomplete } else { Outcome::Done })
}

fn print(
    arguments: &ImportArguments,
    imported: &Imported,
    output: &mut Output,
) -> Result<(), CommandError> {
    let packed = imported.packed;
    let files = format::plural(packed.files, "file", "files");
    let dirs = format::plural(packed.dirs, "directory", "directories");
    let bytes = format::bytes(packed.bytes);
    let origin = match &imported.head {
        None => "tar made elsewhere".to_owned(),
        Some(head) => {
            let (host, time) = (printable(head.source.host.as_bytes()), &head.created_at);
            match &head.snapshot {
                Some(snapshot) => {
                    let short: String = snapshot.id.chars().take(12).collect();
                    format!("snapshot {short}, exported on {host} at {time}")
                }
                None => format!("event log, exported on {host} at {time}"),
            }
        }
    };
    output.line(&format!("Whole: {files} in {dirs}, {bytes}; {}", printable(origin.as_bytes())))?;
    if let Some(chain) = &imported.chain {
        let state = if chain.valid { "unbroken" } else { "broken" };
        let last = chain.last_hash.as_deref().unwrap_or("-");
        let events = format::plural(chain.events, "event", "events");
        output.line(&format!(
            "Chain of {events}: {state}; last hash {}",
            printable(last.as_bytes())
        ))?;
    }
    if let Some((id, _, added)) = &imported.snapshot {
        let (plain, stored) = (format::bytes(added.plain_bytes), format::bytes(added.stored_bytes));
        output.line(&format!("Added {plain}, {stored} as stored"))?;
        return output.line(&format!("Snapshot {id}"));
    }
    if arguments.dry_run {
        return output.line("Dry run: nothing was imported");
    }
    if let Some(directory) = &arguments.to {
        output.line(&format!("Unpacked into {}", path_text(directory)))?;
    }
    if let Some(moved) = &imported.moved {
        output.line(&format!("What was there is now {}", path_text(moved)))?;
    }
    if imported.problems > 0 {
        let items = format::plural(imported.problems, "attribute", "attributes");
        output.line(&format!("{items} could not be set; the rest is there"))?;
    }
    Ok(())
}

fn facts(arguments: &ImportArguments, request: &ImportRequest, imported: &Imported) -> Facts {
    let packed = imported.packed;
    let head = imported.head.as_ref();
    let snapshot = imported.snapshot.as_ref();
    let added = snapshot.map(|(_, _, added)| *added).unwrap_or_default();
    Facts {
        r#type: "summary",
        archive: request.name(),
        dry_run: arguments.dry_run,
        kind: head.map(|head| head.kind),
        created_at: head.map(|head| head.created_at.clone()),
        original_id: head.and_then(|head| Some(head.snapshot.as_ref()?.id.clone())),
        id: snapshot.map(|(id, ..)| id.to_string()),
        short_id: snapshot.map(|(id, ..)| id.short()),
        time: snapshot.map(|(_, manifest, _)| manifest.time.to_rfc3339()),
        directory: arguments.to.as_deref().map(path_text),
        moved_aside: imported.moved.as_deref().map(path_text),
        files: packed.files,
        dirs: packed.dirs,
        bytes: packed.bytes,
        added_bytes: added.plain_bytes,
        stored_bytes: added.stored_bytes,
        problems: imported.problems,
        chain: imported.chain.clone(),
    }
}
