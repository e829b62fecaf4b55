//! `icecore undelete`: brings deleted snapshots back.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::audit::{EventKind, Record};
use crate::base::format;
use crate::base::id::SnapshotId;
use crate::cli::audit::audited;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::Output;
use crate::repository::{Catalog, Repository, RepositoryError};

/// The fields in JSON; others may rely on their names.
#[derive(Serialize)]
struct Facts {
    undeleted: Vec<String>,
}

pub(crate) fn run(context: &Context, names: &[String], all: bool) -> Result<Outcome, CommandError> {
    let deleted = deleted(&*context.reader()?)?;
    let mut ids = BTreeSet::new();
    for name in names {
        ids.insert(find(context, &deleted, name)?);
    }
    if all {
        ids.extend(deleted.snapshots.iter().map(|(id, _)| *id));
    }
    let mut output = Output::new();
    if ids.is_empty() {
        context.note("No deleted snapshot can be had back");
    } else {
        audited(context, "undelete", false, |trail| {
            let terminal = context.terminal();
            let writer = context.writer("undelete", &terminal)?;
            writer.undelete_snapshots(&ids.iter().copied().collect::<Vec<_>>())?;
            let record = Record::new(EventKind::SnapshotUndeleted).snapshots(ids.iter().copied());
            trail.record(record, Outcome::Done.code());
            terminal.finish();
            Ok(())
        })?;
        if !context.json && !context.quiet {
            let count = format::plural(ids.len() as u64, "snapshot is", "snapshots are");
            output.line(&format!("{count} back"))?;
        }
    }
    if context.json {
        output.json(&Facts { undeleted: ids.iter().map(ToString::to_string).collect() })?;
    }
    output.finish()?;
    // Those were not asked for by name, and only they are left out.
    if all { context.damaged(deleted.damaged) } else { Ok(Outcome::Done) }
}

/// The deleted snapshots as a catalog, in which names are looked up as usual.
fn deleted(repository: &Repository) -> Result<Catalog, CommandError> {
    let found = repository.deleted_snapshots()?;
    let snapshots = found.snapshots.into_iter().map(|one| (one.id, one.manifest)).collect();
    Ok(Catalog { snapshots, damaged: found.damaged, ..Catalog::default() })
}

fn find(context: &Context, deleted: &Catalog, name: &str) -> Result<SnapshotId, CommandError> {
    match deleted.select(name, context.now) {
        Err(RepositoryError::NoSuchSnapshot { name }) => {
            Err(RepositoryError::NoSuchDeleted { name }.into())
        }
        found => Ok(found?),
    }
}
