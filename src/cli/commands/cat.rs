//! `icecore cat`: prints files of a snapshot.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use crate::audit::{EventKind, Record};
use crate::base::id::SnapshotId;
use crate::base::name::printable;
use crate::cli::audit::audited;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::Output;
use crate::dag::Kind;
use crate::view::{View, ViewOptions};

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// What was read out.
#[derive(Default)]
struct ReadOut {
    /// Each file with its snapshot.
    files: Vec<(SnapshotId, String)>,
    bytes: u64,
}

pub(crate) fn run(context: &Context, files: &[OsString]) -> Result<Outcome, CommandError> {
    audited(context, "cat", false, |trail| {
        let mut read = ReadOut::default();
        let done = print(context, files, &mut read);
        // What was read out before a failure was read out all the same.
        if !read.files.is_empty() {
            let code = done.as_ref().map_or_else(CommandError::code, |outcome| outcome.code());
            trail.record(record(read), code);
        }
        done
    })
}

/// What the audit log keeps of it.
fn record(read: ReadOut) -> Record {
    let mut ids: Vec<_> = read.files.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    let record = Record::new(EventKind::SnapshotRead)
        .snapshots(ids)
        .count("files", read.files.len() as u64)
        .count("bytes", read.bytes);
    read.files
        .into_iter()
        .fold(record, |record, (id, path)| record.path(format!("{}:{path}", id.short())))
}

fn print(
    context: &Context,
    files: &[OsString],
    read: &mut ReadOut,
) -> Result<Outcome, CommandError> {
    let view = View::new(context.reader()?, ViewOptions::default())?;
    let mut output = Output::new();
    for file in files {
        let named = view.reader().find_snapshot_path(file.as_bytes(), context.now)?;
        if named.path.is_empty() {
            let text = printable(file.as_bytes());
            return Err(CommandError::Usage(format!("{text:?} names no file; say SNAPSHOT:PATH")));
        }
        let _lease = view.reader().lease(named.id)?;
        let list = view.snapshots()?;
        let gone = || CommandError::Failed(format!("Snapshot {} is gone", named.id.short()));
        let node = view.resolve(list.get(&named.id).ok_or_else(gone)?, &named.path)?;
        let Kind::File(content) = &node.kind else {
            let path = printable(&named.path);
            return Err(CommandError::Failed(format!("{path} is no regular file")));
        };
        read.files.push((named.id, printable(&named.path)));
        let mut offset = 0;
        while offset < content.size {
            context.go_on()?;
            let bytes = view.read(content, offset, READ_BYTES)?;
            read.bytes += bytes.as_slice().len() as u64;
            output.raw(bytes.as_slice())?;
            offset += bytes.as_slice().len() as u64;
        }
    }
    output.finish()?;
    Ok(Outcome::Done)
}
