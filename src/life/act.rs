//! What is done to a repository: each verb as the command line does it.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::path::Path;

use crate::base::id::SnapshotId;
use crate::base::progress::Silent;
use crate::base::time::Timestamp;
use crate::compression::Compression;
use crate::gc::{GcOptions, MaxUnused};
use crate::ingest::testing::request;
use crate::ingest::{CreateRequest, create};
use crate::repair::{RepairOptions, repair};
use crate::repository::{NoteChange, Pin, Writer};
use crate::retention::{Amount, Fact, GroupKey, Policy, judge};
use crate::store::{Batch, Durability, Family};

/// One verb. A number chooses among the snapshots, whatever their count.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// Takes a snapshot of the source at an hour that was not before.
    Create(i64),
    Delete(usize),
    Undelete,
    /// Adds a tag, and sets a pin or takes it away.
    Tag(usize, bool),
    /// Removes all but the newest so many and those that are pinned.
    Prune(u64),
    /// Collects, leaving so many percent of garbage in place.
    Collect(u8),
    Repair,
}

/// Does it.
pub(super) fn perform(writer: &Writer, act: Act, source: &Path) -> Result<(), String> {
    match act {
        Act::Create(hour) => {
            create(writer, &request_at(hour, source), &Silent).map(drop).map_err(text)
        }
        Act::Delete(number) => {
            let ids = listed(writer)?;
            let chosen = chosen(&ids, number);
            writer.delete_snapshots(chosen).map_err(text)
        }
        Act::Undelete => {
            let deleted = writer.deleted_snapshots().map_err(text)?;
            let ids: Vec<_> = deleted.snapshots.iter().map(|snapshot| snapshot.id).collect();
            writer.undelete_snapshots(&ids).map_err(text)
        }
        Act::Tag(number, pins) => {
            let ids = listed(writer)?;
            let ids: BTreeSet<_> = chosen(&ids, number).iter().copied().collect();
            let pin = Some(pins.then_some(Pin::Forever));
            let change = NoteChange { add: vec![TAG.to_owned()], pin, ..NoteChange::default() };
            writer.change_notes(&ids, &change).map_err(text)
        }
        Act::Prune(count) => prune(writer, count),
        Act::Collect(percent) => {
            let max_unused = MaxUnused::Percent(f64::from(percent));
            let options = GcOptions { max_unused, dry_run: false };
            crate::gc::collect(writer, options, &Silent).map(drop).map_err(text)
        }
        Act::Repair => {
            let options = RepairOptions { dry_run: false };
            repair(writer, options, false, &Silent).map(drop).map_err(text)
        }
    }
}

/// The tag that is given.
pub(super) const TAG: &str = "tag";

/// A request for a snapshot of a source, as if at that hour.
pub(super) fn request_at(hour: i64, source: &Path) -> CreateRequest {
    let compression = if hour % 2 == 0 { Compression::Lz4 } else { Compression::Zstd(3) };
    let time = Timestamp::new(hour * 3600, 0).unwrap();
    CreateRequest { time, compression, ..request(source) }
}

/// The snapshot that a number chooses, if there is any.
pub(super) fn chosen<T>(all: &[T], number: usize) -> &[T] {
    let place = number.checked_rem(all.len());
    place.map_or(&[], |place| &all[place..=place])
}

/// The snapshots, oldest first.
fn listed(writer: &Writer) -> Result<Vec<SnapshotId>, String> {
    let snapshots = writer.snapshots().map_err(text)?;
    Ok(snapshots.iter().map(|(id, _)| *id).collect())
}

fn prune(writer: &Writer, count: u64) -> Result<(), String> {
    let catalog = writer.catalog().map_err(text)?;
    let now = Timestamp::now();
    let fact = |(id, manifest): &(SnapshotId, crate::dag::Manifest)| Fact {
        id: *id,
        time: manifest.time,
        group: GroupKey::default(),
        tags: manifest.tags.clone(),
        pinned: catalog.is_pinned(id, now),
    };
    let facts: Vec<_> = catalog.snapshots.iter().map(fact).collect();
    let last = NonZeroU64::new(count).map(|_| Amount::AtMost(count));
    let policy = Policy { last, may_empty_groups: true, ..Policy::default() };
    let verdicts = judge(&policy, &facts, now);
    let removed = facts.iter().zip(verdicts).filter(|(_, verdict)| !verdict.keeps());
    let ids: Vec<_> = removed.map(|(fact, _)| fact.id).collect();
    writer.delete_snapshots(&ids).map_err(text)
}

/// Takes every third entry out of the index, and a counter back: what `repair` puts
/// right without a loss.
pub(super) fn damage(writer: &Writer) {
    let mut batch = Batch::new();
    let mut number = 0;
    let visit = &mut |id: &[u8], _: &[u8]| {
        number += 1;
        if number % 3 == 0 {
            batch.delete(Family::Index, id);
        }
        ControlFlow::Continue(())
    };
    writer.store().scan(Family::Index, &[], visit).unwrap();
    batch.put(Family::Meta, *b"next/data", 0_u64.to_be_bytes());
    writer.store().write(&batch, Durability::Synced).unwrap();
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
