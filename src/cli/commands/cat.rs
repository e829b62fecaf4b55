//! `icecore cat`: prints files of a snapshot.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use crate::base::name::printable;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::Output;
use crate::dag::Kind;
use crate::view::{View, ViewOptions};

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

pub(crate) fn run(context: &Context, files: &[OsString]) -> Result<Outcome, CommandError> {
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
        let mut offset = 0;
        while offset < content.size {
            let bytes = view.read(content, offset, READ_BYTES)?;
            output.raw(bytes.as_slice())?;
            offset += bytes.as_slice().len() as u64;
        }
    }
    output.finish()?;
    Ok(Outcome::Done)
}
