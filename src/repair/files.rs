//! Replacing files of the store in which a block is damaged.
//!
//! `gc` rewrites files, and could never get past such a block. So what is good in the
//! file is stored again under new numbers, durably, and then the file is dropped, which
//! needs no reading. Killed between, it leaves objects twice, and the index leads to the
//! new ones; the next repair drops the file.

use std::ops::ControlFlow;

use crate::base::progress::Monitor;
use crate::repair::index::Objects;
use crate::repair::{RepairError, RepairReport, go_on};
use crate::repository::{RepositoryError, Session, Writer, scan_readable, sequence_of};
use crate::store::{Extent, Family, StoreError};

/// Replaces the files that were found damaged while all objects were read.
pub(crate) fn replace(
    writer: &Writer,
    objects: &mut Objects,
    dry_run: bool,
    report: &mut RepairReport,
    monitor: &dyn Monitor,
) -> Result<(), RepairError> {
    report.replaced_files = objects.unsound.len() as u64;
    if dry_run {
        return Ok(());
    }
    for (family, file) in std::mem::take(&mut objects.unsound) {
        go_on(monitor)?;
        let mut session = writer.begin()?;
        store_again(writer, &mut session, objects, family, &file, monitor)?;
        session.checkpoint()?;
        drop(session);
        writer.store().flush()?;
        writer.store().drop_files(family, &file.first, &file.last)?;
    }
    Ok(())
}

/// Stores what is good in a file once more.
fn store_again(
    writer: &Writer,
    session: &mut Session<'_>,
    objects: &mut Objects,
    family: Family,
    file: &Extent,
    monitor: &dyn Monitor,
) -> Result<(), RepairError> {
    let numbers = sequence_of(&file.first).zip(sequence_of(&file.last));
    let Some((first, last)) = numbers else { return Ok(()) };
    let mut put = |sequence, stored: &[u8]| -> Result<(), RepairError> {
        go_on(monitor)?;
        if objects.holds(family, sequence)
            && let Some((kind, id, plain_bytes)) = writer.object_of(family, stored)
        {
            let new = session.put_again(kind, id, plain_bytes, stored)?;
            objects.insert(family, new);
        }
        Ok(())
    };
    let mut outcome = Ok(());
    let met =
        scan_readable(writer.store(), family, first, last, monitor, &mut |sequence, stored| {
            outcome = put(sequence, stored);
            if outcome.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
    outcome.and_then(|()| go_on(monitor))?;
    match met {
        Some(error @ StoreError::Unreadable { .. }) => Err(RepositoryError::from(error).into()),
        _ => Ok(()),
    }
}
