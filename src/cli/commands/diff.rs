//! `icecore diff`: what differs between two snapshots, or a snapshot and the
//! running system.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::audit::{EventKind, Record};
use crate::base::id::SnapshotId;
use crate::base::name::printable;
use crate::cli::audit::audited;
use crate::cli::commands::diff_report::{Label, Reporter};
use crate::cli::context::Context;
use crate::cli::diff_options::DiffArguments;
use crate::cli::exit::{self, CommandError, Outcome};
use crate::cli::progress::{Display, Terminal};
use crate::dag::{Kind, Node};
use crate::diff::{Comparison, DiffOptions, Listing, Root};
use crate::patterns::{PathPatterns, PatternError};
use crate::repository::{LeaseGuard, Reader, RepositoryError, SnapshotName};

/// A failure as `diff` tells it, where 1 means that there are differences.
const TROUBLE: u8 = 2;

pub(crate) fn run(context: &Context, arguments: &DiffArguments) -> Result<Outcome, CommandError> {
    let compare = || compare(context, arguments).map_err(|it| context.signals.instead_of(it));
    let done = match arguments.content {
        true => audited(context, "diff", false, |trail| {
            let (outcome, report) = compare()?;
            if report.files_read > 0 {
                let record = Record::new(EventKind::SnapshotRead)
                    .snapshots(report.snapshots)
                    .count("files", report.files_read)
                    .count("bytes", report.bytes_read);
                trail.record(report.paths.into_iter().fold(record, Record::path), outcome.code());
            }
            Ok(outcome)
        }),
        false => compare().map(|(outcome, _)| outcome),
    };
    match done {
        Err(error) if arguments.exit_code && error.code() == Outcome::Different.code() => {
            exit::report(Err(error));
            Err(CommandError::Told(TROUBLE))
        }
        done => done,
    }
}

/// What was read out.
#[derive(Default)]
pub(super) struct ReadOut {
    snapshots: Vec<SnapshotId>,
    pub(super) paths: Vec<String>,
    pub(super) files_read: u64,
    pub(super) bytes_read: u64,
}

/// What the command line names.
enum Operand<'a> {
    Live(&'a Path),
    Snapshot {
        named: Box<SnapshotName>,
        /// Keeps what is compared from being collected.
        _lease: LeaseGuard,
    },
}

fn compare(
    context: &Context,
    arguments: &DiffArguments,
) -> Result<(Outcome, ReadOut), CommandError> {
    let options = options(arguments)?;
    let inner = inner_path(arguments.path.as_deref())?;
    let reader = context.reader()?;
    let before = operand(context, &reader, &arguments.before)?;
    let after = operand(context, &reader, &arguments.after)?;
    let nodes = [&before, &after].map(|operand| node(&reader, operand, &inner));
    let [before_node, after_node] = nodes;
    let (before_node, after_node) = (before_node?, after_node?);
    let known = before_node.as_ref().or(after_node.as_ref());
    let is_stored = |operand: &Operand<'_>| matches!(operand, Operand::Snapshot { .. });
    match (is_stored(&before), is_stored(&after)) {
        (false, false) => {
            let text = "One of both must be a snapshot; `diff -r` compares directories".to_owned();
            return Err(CommandError::Usage(text));
        }
        (true, true) if known.is_none() => {
            let path = printable(&inner);
            return Err(CommandError::Failed(format!("Neither snapshot has a {path}")));
        }
        _ => {}
    }
    let is_itself =
        inner.is_empty() && known.is_some_and(|node| !matches!(node.kind, Kind::Directory(_)));
    let root_path = if is_itself { own_name(&before, &after) } else { inner.clone() };
    let follow = known.is_some_and(|node| !matches!(node.kind, Kind::Symlink(_)));
    let roots =
        (root(&before, before_node, &inner, follow), root(&after, after_node, &inner, follow));
    let terminal = terminal(context);
    let comparison = Comparison::new(&reader, roots, &root_path, &options, &terminal)
        .inspect_err(|_| terminal.finish())?;
    let labels = (
        Label::new(&arguments.before, is_stored(&before), is_itself),
        Label::new(&arguments.after, is_stored(&after), is_itself),
    );
    let mut reporter = Reporter::new(context, arguments, labels);
    let told = comparison.tell(listing(arguments), &mut |comparison, difference| {
        reporter.difference(comparison, &difference)
    });
    terminal.finish();
    let (summary, mut read) = reporter.finish(&told?)?;
    read.snapshots = [before, after]
        .into_iter()
        .filter_map(|operand| match operand {
            Operand::Snapshot { named, .. } => Some(named.id),
            Operand::Live(_) => None,
        })
        .collect();
    Ok((summary, read))
}

fn options(arguments: &DiffArguments) -> Result<DiffOptions, CommandError> {
    let patterns = |patterns: &[String]| {
        PathPatterns::new(patterns, false)
            .map_err(|error: PatternError| CommandError::Usage(error.to_string()))
    };
    Ok(DiffOptions {
        directory_times: arguments.directory_times,
        checksum: arguments.checksum,
        ignored: arguments.ignore.clone(),
        exclude: patterns(&arguments.exclude)?,
        include: patterns(&arguments.include)?,
        one_file_system: arguments.one_file_system,
    })
}

const fn listing(arguments: &DiffArguments) -> Listing {
    match (arguments.no_renames, arguments.stat) {
        (false, _) => Listing::Renames,
        (true, false) => Listing::Plain,
        (true, true) => Listing::Folded,
    }
}

/// The names of a path inside both sides, joined by single slashes.
fn inner_path(path: Option<&OsStr>) -> Result<Vec<u8>, CommandError> {
    let bytes = path.unwrap_or_default().as_bytes();
    let names = bytes.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    let names: Vec<&[u8]> = names.collect();
    if names.contains(&b"..".as_slice()) {
        let text = format!("{} leads upwards; name the path itself", printable(bytes));
        return Err(CommandError::Usage(text));
    }
    Ok(names.join(&b'/'))
}

fn operand<'a>(
    context: &Context,
    reader: &Reader,
    text: &'a OsString,
) -> Result<Operand<'a>, CommandError> {
    let path = Path::new(text);
    if matches!(text.as_bytes().first(), Some(b'/' | b'.')) {
        return Ok(Operand::Live(path));
    }
    match reader.find_snapshot_path(text.as_bytes(), context.now) {
        Ok(named) => {
            let lease = reader.lease(named.id)?;
            Ok(Operand::Snapshot { named: Box::new(named), _lease: lease })
        }
        Err(RepositoryError::NoSuchSnapshot { name }) if path.symlink_metadata().is_ok() => {
            let name = printable(name.as_bytes());
            Err(CommandError::Usage(format!(
                "No snapshot is named {name}; say ./{name} if the file or directory is meant"
            )))
        }
        Err(error) => Err(error.into()),
    }
}

/// The node of a snapshot; nothing if only the path inside is not there.
fn node(
    reader: &Reader,
    operand: &Operand<'_>,
    inner: &[u8],
) -> Result<Option<Node>, CommandError> {
    let Operand::Snapshot { named, .. } = operand else { return Ok(None) };
    let mut named = SnapshotName::clone(named);
    if !inner.is_empty() {
        named.path = [named.path.as_slice(), inner].join(&b'/');
    }
    match reader.resolve(&named) {
        Ok(node) => Ok(Some(node)),
        Err(RepositoryError::NoSuchPath { .. } | RepositoryError::NotADirectory { .. })
            if !inner.is_empty() =>
        {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn root<'a>(operand: &Operand<'a>, node: Option<Node>, inner: &'a [u8], follow: bool) -> Root<'a> {
    match operand {
        Operand::Live(path) => Root::Live { path, inner, follow },
        Operand::Snapshot { .. } => Root::Stored(node),
    }
}

/// The name of a file that is compared by itself.
fn own_name(before: &Operand<'_>, after: &Operand<'_>) -> Vec<u8> {
    let path = match (after, before) {
        (Operand::Snapshot { named, .. }, _) | (_, Operand::Snapshot { named, .. }) => {
            named.path.clone()
        }
        (Operand::Live(path), _) => path.as_os_str().as_bytes().to_vec(),
    };
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec()
}

/// Shows progress only where it does not get between the lines of the output.
pub(super) fn terminal(context: &Context) -> Terminal {
    let is_apart = io::stderr().is_terminal() && !io::stdout().is_terminal();
    let is_shown = is_apart && !context.quiet && !context.json;
    let display = if is_shown { Display::Bar } else { Display::Nothing };
    Terminal::new(display, context.quiet, context.signals.clone())
}
