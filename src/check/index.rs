//! Checking the small families and the index, record by record.

use std::ops::ControlFlow;

use crate::base::id::hex;
use crate::base::progress::Monitor;
use crate::base::sequences::SequenceSet;
use crate::check::findings::{Findings, Subject};
use crate::check::read::Read;
use crate::check::scope::{Span, spans};
use crate::check::{CheckError, go_on};
use crate::repository::{Locator, ObjectKind, PendingRange, Repository, sequence_of};
use crate::store::{Family, StoreError};

/// Entries between two looks at whether the work was cancelled.
const CANCEL_INTERVAL: u64 = 64 << 10;

/// Checks the index against the files of its objects and what was read of them,
/// and the counters. Returns the number of entries.
pub(crate) fn check(
    repository: &Repository,
    read: &Read,
    findings: &mut Findings,
    monitor: &dyn Monitor,
) -> Result<u64, CheckError> {
    let mut places = Places::new(repository)?;
    let mut suspects = Vec::new();
    let mut entries = 0_u64;
    let scanned = repository.store().scan(Family::Index, &[], &mut |id, value| {
        entries += 1;
        let entry = <[u8; 32]>::try_from(id).ok().zip(Locator::decode(value).ok());
        match entry {
            None => {
                let record = Subject::Record(format!("index/{}", hex(id)));
                findings.add(record, "it makes no sense");
            }
            Some((id, locator)) => {
                let is_suspect = !places.take(&locator)
                    || read.is_suspect(locator.kind.family(), locator.sequence);
                if is_suspect && suspects.len() < crate::check::OBJECTS_MAX {
                    suspects.push((id, locator.kind));
                } else if is_suspect {
                    findings.omit();
                }
            }
        }
        if entries.is_multiple_of(CANCEL_INTERVAL) {
            monitor.advance(CANCEL_INTERVAL, 0);
            if monitor.cancelled() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    go_on(monitor)?;
    note_family(Family::Index, scanned, findings)?;
    suspects.extend(places.sharers(repository, findings)?);
    for (id, kind) in suspects {
        go_on(monitor)?;
        confirm_entry(repository, kind, &id, findings)?;
    }
    for family in [Family::Meta, Family::Scan, Family::Events] {
        let scanned = repository.store().scan(family, &[], &mut |_, _| ControlFlow::Continue(()));
        note_family(family, scanned, findings)?;
    }
    counters(repository, findings)?;
    Ok(entries)
}

/// Reads an object again, by the index and caught up with the writer, and notes
/// it if it is not what it was. Returns whether it is damaged.
pub(crate) fn confirm(
    repository: &Repository,
    kind: ObjectKind,
    id: &[u8; 32],
    findings: &mut Findings,
) -> Result<bool, CheckError> {
    match repository.verify(kind, id) {
        Ok(()) => Ok(false),
        Err(error) if error.is_loss() => {
            findings.add(Subject::Object(kind, *id), error.detail());
            Ok(true)
        }
        Err(error) => Err(error.into()),
    }
}

/// Looks again at an entry of the index. A writer beside this may have loaded the
/// object since its entry was seen, or collected it and the entry.
fn confirm_entry(
    repository: &Repository,
    kind: ObjectKind,
    id: &[u8; 32],
    findings: &mut Findings,
) -> Result<(), CheckError> {
    let Err(error) = repository.verify(kind, id) else { return Ok(()) };
    if !error.is_loss() {
        return Err(error.into());
    }
    let is_gone = matches!(repository.locate(kind, id), Ok(None));
    if !is_gone {
        findings.add(Subject::Object(kind, *id), error.detail());
    }
    Ok(())
}

/// Notes a family that cannot be scanned to its end.
fn note_family(
    family: Family,
    scanned: Result<(), StoreError>,
    findings: &mut Findings,
) -> Result<(), CheckError> {
    match scanned {
        Err(error) if error.is_loss() => {
            findings.add(Subject::Record(family.name().to_owned()), error.to_string());
            Ok(())
        }
        outcome => Ok(outcome?),
    }
}

/// Which numbers lie in files, and which of them the index has named.
struct Places {
    data: Vec<Span>,
    trees: Vec<Span>,
    chunks_named: SequenceSet,
    trees_named: SequenceSet,
    /// Those that it has named more than once.
    chunks_shared: SequenceSet,
    trees_shared: SequenceSet,
}

impl Places {
    fn new(repository: &Repository) -> Result<Self, CheckError> {
        let store = repository.store();
        Ok(Self {
            data: spans(store.extents(Family::Data)?),
            trees: spans(store.extents(Family::Trees)?),
            chunks_named: SequenceSet::default(),
            trees_named: SequenceSet::default(),
            chunks_shared: SequenceSet::default(),
            trees_shared: SequenceSet::default(),
        })
    }

    /// Takes an entry of the index, and returns whether its place is in a file
    /// and no other entry's.
    fn take(&mut self, locator: &Locator) -> bool {
        let (files, named, shared) = match locator.kind.family() {
            Family::Data => (&self.data, &mut self.chunks_named, &mut self.chunks_shared),
            _ => (&self.trees, &mut self.trees_named, &mut self.trees_shared),
        };
        let sequence = locator.sequence;
        let index = files.partition_point(|file| file.last < sequence);
        let is_there = files.get(index).is_some_and(|file| file.first <= sequence);
        let is_first = is_there && named.insert(sequence);
        if is_there && !is_first {
            shared.insert(sequence);
        }
        is_first
    }

    /// All entries whose place another entry names too: the one that was met first
    /// may be the wrong one.
    fn sharers(
        &self,
        repository: &Repository,
        findings: &mut Findings,
    ) -> Result<Vec<([u8; 32], ObjectKind)>, CheckError> {
        let mut found = Vec::new();
        if self.chunks_shared.is_empty() && self.trees_shared.is_empty() {
            return Ok(found);
        }
        let scanned = repository.store().scan(Family::Index, &[], &mut |id, value| {
            let entry = <[u8; 32]>::try_from(id).ok().zip(Locator::decode(value).ok());
            let Some((id, locator)) = entry else { return ControlFlow::Continue(()) };
            let is_shared = match locator.kind.family() {
                Family::Data => self.chunks_shared.contains(locator.sequence),
                _ => self.trees_shared.contains(locator.sequence),
            };
            if is_shared && found.len() < crate::check::OBJECTS_MAX {
                found.push((id, locator.kind));
            } else if is_shared {
                findings.omit();
            }
            ControlFlow::Continue(())
        });
        note_family(Family::Index, scanned, findings)?;
        Ok(found)
    }
}

/// A counter below a number that was given would give it again.
fn counters(repository: &Repository, findings: &mut Findings) -> Result<(), CheckError> {
    let store = repository.store();
    let pending = match repository.pending_ranges() {
        Ok(ranges) => ranges,
        // Noted by the one who scanned the family.
        Err(error) if error.is_loss() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for family in [Family::Data, Family::Trees] {
        let key = format!("next/{}", family.name());
        let (last, counter) =
            match (store.last_key(family), store.get(Family::Meta, key.as_bytes())) {
                (Ok(last), Ok(counter)) => (last, counter),
                (Err(error), _) | (_, Err(error)) if error.is_loss() => continue,
                (Err(error), _) | (_, Err(error)) => return Err(error.into()),
            };
        let Some(last) = last.and_then(|key| sequence_of(&key)) else { continue };
        let covers = |range: &PendingRange| range.family == family && range.last >= last;
        let next = counter.and_then(|value| sequence_of(&value)).unwrap_or(0);
        if next <= last && !pending.iter().any(covers) {
            let detail = format!("it is {next}, but number {last} was given");
            findings.add(Subject::Record(format!("meta/{key}")), detail);
        }
    }
    Ok(())
}
