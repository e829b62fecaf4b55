//! `icecore dump`: a file of a snapshot, or an archive of a directory.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::archive::{ArchiveError, ArchiveFormat, NewFile, Packed, dump, dump_file};
use crate::audit::{EventKind, Record};
use crate::base::format;
use crate::base::name::printable;
use crate::base::progress::Monitor as _;
use crate::cli::archive_options::DumpArguments;
use crate::cli::audit::audited;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::path_text;
use crate::cli::progress::Terminal;
use crate::dag::{Kind, Node};
use crate::repository::{Reader, SnapshotName};

/// Bytes written at once.
const BUFFER: usize = 256 << 10;

pub(crate) fn run(context: &Context, arguments: &DumpArguments) -> Result<Outcome, CommandError> {
    audited(context, "dump", false, |trail| {
        let reader = context.reader()?;
        let source = arguments.source.as_bytes();
        let named = reader.find_snapshot_path(source, context.now)?;
        let _lease = reader.lease(named.id)?;
        let node = reader.resolve(&named)?;
        let format = archive_format(arguments, &named, &node)?;
        check_output(context, arguments, format)?;
        let terminal = context.terminal();
        let done = write(&reader, arguments, &named, &node, format, &terminal);
        terminal.finish();
        let path = format!("{}:{}", named.id.short(), printable(&named.path));
        let record = Record::new(EventKind::SnapshotRead).snapshots([named.id]).path(path);
        match done {
            Ok(packed) => {
                trail.record(record.count("files", packed.files).count("bytes", packed.bytes), 0);
                tell(context, arguments, &packed);
                Ok(Outcome::Done)
            }
            Err(error) => {
                let error = context.signals.explain(closed(error));
                // What was read out before a failure was read out all the same.
                if !error.is_rejection() || error.code() == 0 {
                    trail.record(record, error.code());
                }
                Err(error)
            }
        }
    })
}

/// Whoever closed standard output has enough.
fn closed(error: ArchiveError) -> CommandError {
    match error {
        ArchiveError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            CommandError::ClosedOutput
        }
        error => error.into(),
    }
}

/// The format, or nothing for the bytes of a file alone.
fn archive_format(
    arguments: &DumpArguments,
    named: &SnapshotName,
    node: &Node,
) -> Result<Option<ArchiveFormat>, CommandError> {
    let is_file = matches!(node.kind, Kind::File(_));
    let guessed = arguments.output.as_deref().filter(|_| !is_file).and_then(format_of_name);
    let Some(format) = arguments.archive.or(guessed) else {
        if is_file {
            return Ok(None);
        }
        let path = printable(&named.path);
        let what = if path.is_empty() { "The top of the snapshot".to_owned() } else { path };
        return Err(CommandError::Usage(format!("{what} is no regular file; say --archive tar")));
    };
    let is_tree = is_file || matches!(node.kind, Kind::Directory(_) | Kind::Symlink(_));
    let is_held = is_tree || format != ArchiveFormat::Zip && !matches!(node.kind, Kind::Socket);
    if !is_held {
        let path = printable(&named.path);
        return Err(CommandError::Failed(format!("{path} is of a kind that the format has not")));
    }
    Ok(Some(format))
}

fn format_of_name(path: &Path) -> Option<ArchiveFormat> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let fits = |suffix: &str| name.strip_suffix(suffix).is_some_and(|stem| stem.ends_with('.'));
    let names = ArchiveFormat::NAMES.iter().map(|(known, _)| *known).chain(["tgz", "tzst"]);
    names.filter(|known| fits(known)).find_map(ArchiveFormat::parse)
}

/// Refuses what would fill a terminal with bytes, and asks before a file is
/// replaced.
fn check_output(
    context: &Context,
    arguments: &DumpArguments,
    format: Option<ArchiveFormat>,
) -> Result<(), CommandError> {
    match &arguments.output {
        Some(path) if path.symlink_metadata().is_ok() => {
            context.confirm(&format!("Replace {}?", path_text(path)), arguments.yes)
        }
        None if format.is_some() && io::stdout().is_terminal() => Err(CommandError::Refused(
            "An archive is nothing for a terminal; redirect it or say --output FILE".to_owned(),
        )),
        _ => Ok(()),
    }
}

fn write(
    reader: &Reader,
    arguments: &DumpArguments,
    named: &SnapshotName,
    node: &Node,
    format: Option<ArchiveFormat>,
    terminal: &Terminal,
) -> Result<Packed, ArchiveError> {
    if let Kind::Directory(tree) = &node.kind {
        let totals = tree.totals;
        terminal.total(totals.files.saturating_add(totals.directories), totals.bytes);
    }
    let name = named.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let pack = |output: &mut dyn Write| match (format, &node.kind) {
        (Some(format), _) => dump(reader, name, node, format, output, terminal),
        (None, Kind::File(content)) => {
            dump_file(reader, content, output, terminal)?;
            Ok(Packed { files: 1, bytes: content.size, ..Packed::default() })
        }
        (None, _) => Err(ArchiveError::Unsuited("It is no regular file".to_owned())),
    };
    let Some(path) = &arguments.output else {
        return pack(&mut BufWriter::with_capacity(BUFFER, io::stdout().lock()));
    };
    let mut output = BufWriter::with_capacity(BUFFER, NewFile::create(path)?);
    let packed = pack(&mut output)?;
    let file = output.into_inner().map_err(|error| ArchiveError::Output(error.into_error()))?;
    file.publish(true)?;
    Ok(packed)
}

fn tell(context: &Context, arguments: &DumpArguments, packed: &Packed) {
    let Some(path) = &arguments.output else { return };
    let (files, bytes) = (format::plural(packed.files, "file", "files"), packed.bytes);
    context.note(&format!("{}: {files}, {}", path_text(path), format::bytes(bytes)));
}
