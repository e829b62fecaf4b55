//! Snapshots whose record is damaged or lost.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::base::id::{TreeId, hex};
use crate::base::progress::Monitor;
use crate::base::sequences::SequenceSet;
use crate::base::time::Timestamp;
use crate::dag::{Counters, Kind, Manifest, Node, Owner, Totals, Tree, TreeRef};
use crate::repair::index::Objects;
use crate::repair::{Removed, RepairError, RepairReport, SNAPSHOT, go_on};
use crate::repository::{ObjectKind, Writer, scan_readable, sequence_of};
use crate::store::{Batch, Durability, Family, StoreError};

/// Where damaged records are kept in the family `meta`.
const ASIDE: &str = "damaged/";
/// The same for manifests.
const MANIFESTS_ASIDE: &str = "damaged/snapshots/";
/// The tag of recovered snapshots.
const TAG: &str = "recovered";

/// Moves manifests, notes and records of deleted snapshots that cannot be read out of
/// the way of all others, and returns how many manifests there were.
pub(crate) fn set_aside(
    writer: &Writer,
    dry_run: bool,
    report: &mut RepairReport,
) -> Result<usize, RepairError> {
    let mut batch = Batch::new();
    let mut count = 0;
    writer.store().scan(Family::Snapshots, &[], &mut |key, value| {
        let detail = match writer.decode_manifest(key, value) {
            Ok(_) => return ControlFlow::Continue(()),
            Err(error) => error.detail(),
        };
        let detail = format!("{detail}; kept aside as meta/{MANIFESTS_ASIDE}");
        report.removed.push(Removed { kind: SNAPSHOT, id: hex(key), detail });
        count += 1;
        batch.put(Family::Meta, [MANIFESTS_ASIDE.as_bytes(), key].concat(), value);
        batch.delete(Family::Snapshots, key);
        ControlFlow::Continue(())
    })?;
    for record in writer.damaged_records()? {
        let detail = format!("{}; kept aside as meta/{ASIDE}", record.detail);
        report.removed.push(Removed { kind: record.kind, id: record.id.to_string(), detail });
        batch.put(Family::Meta, [ASIDE.as_bytes(), &record.key].concat(), record.value);
        match record.instead {
            Some(instead) => batch.put(Family::Meta, record.key, instead),
            None => batch.delete(Family::Meta, record.key),
        }
    }
    if !dry_run {
        writer.store().write(&batch, Durability::Synced)?;
    }
    Ok(count)
}

/// Makes snapshots of the trees that nothing names: those whose records were
/// lost are among them.
pub(crate) fn recover(
    writer: &Writer,
    objects: &Objects,
    dry_run: bool,
    report: &mut RepairReport,
    monitor: &dyn Monitor,
) -> Result<(), RepairError> {
    let mut named = SequenceSet::default();
    let place = |id: &TreeId| objects.place(writer, ObjectKind::Tree, id.as_bytes());
    let deleted =
        writer.deleted_snapshots()?.snapshots.into_iter().map(|snapshot| snapshot.manifest);
    let present = writer.catalog()?.snapshots.into_iter().map(|(_, manifest)| manifest);
    for manifest in present.chain(deleted) {
        if let Some(sequence) = manifest.tree().map(|tree| place(&tree.id)).transpose()?.flatten() {
            named.insert(sequence);
        }
    }
    each_tree(writer, objects, monitor, &mut |_, _, tree| {
        for child in tree.trees() {
            if let Some(sequence) = place(&child.id)? {
                named.insert(sequence);
            }
        }
        Ok(())
    })?;
    let mut roots = Vec::new();
    each_tree(writer, objects, monitor, &mut |sequence, id, tree| {
        if !named.contains(sequence) {
            roots.push(TreeRef { id, hint: Some(sequence), totals: totals(tree) });
        }
        Ok(())
    })?;
    for root in roots {
        // A tree of nothing is no loss.
        if root.totals.entries == 0 {
            continue;
        }
        let manifest = manifest(root);
        let id = writer.ids().snapshot(&manifest.encode().canonical);
        report.recovered.push(if dry_run { id } else { writer.begin()?.commit(&manifest)? });
    }
    Ok(())
}

type VisitTree<'a> = dyn FnMut(u64, TreeId, &Tree) -> Result<(), RepairError> + 'a;

/// Visits every tree that can be read.
fn each_tree(
    writer: &Writer,
    objects: &Objects,
    monitor: &dyn Monitor,
    visit: &mut VisitTree<'_>,
) -> Result<(), RepairError> {
    let store = writer.store();
    for extent in store.extents(Family::Trees)? {
        let numbers = sequence_of(&extent.first).zip(sequence_of(&extent.last));
        let Some((first, last)) = numbers else { continue };
        let mut outcome = Ok(());
        let met =
            scan_readable(store, Family::Trees, first, last, monitor, &mut |sequence, stored| {
                outcome = go_on(monitor).and_then(|()| match writer.stored_tree(stored) {
                    Some((id, tree)) => {
                        match objects.place(writer, ObjectKind::Tree, id.as_bytes())? {
                            Some(place) if place == sequence => visit(sequence, id, &tree),
                            _ => Ok(()),
                        }
                    }
                    None => Ok(()),
                });
                if outcome.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
        outcome.and_then(|()| go_on(monitor))?;
        if let Some(error @ StoreError::Unreadable { .. }) = met {
            return Err(error.into());
        }
    }
    Ok(())
}

fn totals(tree: &Tree) -> Totals {
    let mut totals = Totals::default();
    match tree {
        Tree::Leaf(entries) => entries.iter().for_each(|entry| totals.add_entry(&entry.node)),
        Tree::Index { branches, .. } => {
            branches.iter().for_each(|branch| totals.add_page(&branch.tree.totals));
        }
    }
    totals
}

fn manifest(root: TreeRef) -> Manifest {
    let now = Timestamp::now();
    let Totals { files, directories, bytes, .. } = root.totals;
    Manifest {
        time: now,
        finished: now,
        host: String::new(),
        user: String::new(),
        sources: Vec::new(),
        description: "Recovered by repair: the record of this snapshot was lost".to_owned(),
        tags: vec![TAG.to_owned()],
        parent: None,
        excludes: Vec::new(),
        program: concat!("icecore ", env!("CARGO_PKG_VERSION")).to_owned(),
        counters: Counters { files, dirs: directories, bytes, ..Counters::default() },
        errors: Vec::new(),
        root: Node {
            kind: Kind::Directory(root),
            mode: 0o755,
            owner: Arc::new(Owner::default()),
            mtime: now,
            atime: None,
            changed_while_read: false,
            links: None,
            xattrs: Vec::new(),
        },
    }
}
