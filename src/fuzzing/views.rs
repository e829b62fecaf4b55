//! What the view and a check make of forged repositories.

use std::fs;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::base::id::SnapshotId;
use crate::base::progress::Silent;
use crate::base::time::Timestamp;
use crate::check::{CheckOptions, ReadScope, check};
use crate::dag::{Kind, Node};
use crate::fuzzing::decoders::directory;
use crate::fuzzing::forge::Forge;
use crate::fuzzing::source::Source;
use crate::repository::{Layout, Reader};
use crate::store::Store;
use crate::view::{Comparison, Inner, Part, Place, Shown, View, ViewError, ViewOptions};

/// Operations on one repository, and nodes that are known at once, at most.
const OPERATIONS_MAX: usize = 40;
const NODES_MAX: usize = 24;
/// Nodes of a clean repository that are read.
const READ_NODES_MAX: usize = 400;
/// Entries that one operation looks at.
const ENTRIES_MAX: u64 = 200;
pub(super) const CONFIG: &str = r#"format_version = 1
id = "0101010101010101010101010101010101010101010101010101010101010101"
[chunker]
algorithm = "fastcdc-v2020"
min_bytes = 16384
avg_bytes = 65536
max_bytes = 262144
"#;

pub(super) fn open(store: Arc<dyn Store>) -> Option<Reader> {
    let layout = Layout::new(directory());
    fs::write(layout.config(), CONFIG).ok()?;
    Reader::open_over(layout.root(), None, move |_| Ok(store)).ok()
}

/// Random operations on the view of a random repository.
pub(super) fn view_operations(input: &[u8]) {
    let (store, mut source) = Forge::new(input).build();
    let Some(reader) = open(store) else { return };
    let options = ViewOptions { cache_bytes: 1 << 20, ..ViewOptions::default() };
    let Ok(view) = View::new(reader, options) else { return };
    let Ok(list) = view.snapshots() else { return };
    let mut nodes: Vec<Node> = list.iter().map(|snapshot| (*snapshot.root).clone()).collect();
    wander(&view, &mut source);
    for _ in 0..OPERATIONS_MAX {
        if source.is_empty() || nodes.is_empty() {
            break;
        }
        let chosen = source.below(nodes.len());
        let Some(node) = nodes.get(chosen).cloned() else { break };
        operate(&view, &mut source, &node, &mut nodes);
    }
    let snapshots: Vec<_> = list.iter().take(3).cloned().collect();
    for (from, to) in snapshots.iter().zip(snapshots.iter().skip(1)) {
        let comparison = Comparison { from: from.clone(), to: to.clone() };
        for part in [Part::Added, Part::Removed, Part::Modified] {
            let Some(Inner { pair, .. }) = comparison.roots(part) else { continue };
            let mut left = ENTRIES_MAX;
            let _ = view.changes(&pair, 0, &mut |_| {
                left = left.saturating_sub(1);
                Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            });
            let _ = view.find_change(&pair, b"b");
        }
    }
}

/// Goes down among the views, by names that are listed and by others.
fn wander(view: &View, source: &mut Source<'_>) {
    let mut place = Place::Root;
    for _ in 0..OPERATIONS_MAX / 4 {
        let mut names = Vec::new();
        let _ = view.list_shown(&place, source.below(4) as u64, &mut |_, name, _| {
            names.push(name.to_vec());
            if names.len() > 30 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let _ = view.shown_directories(&place);
        let name = match source.below(3) {
            0 => source.take(1).to_vec(),
            1 => [b"latest", source.take(3)].concat(),
            _ => names.get(source.below(names.len().max(1))).cloned().unwrap_or_default(),
        };
        place = match view.find_shown(&place, &name, Timestamp::default()) {
            Ok(Some(Shown::Place(inner))) => inner,
            _ => Place::Root,
        };
        let _ = view.guard(&place);
    }
}

/// One operation on a node; what it leads to is added to the known ones.
fn operate(view: &View, source: &mut Source<'_>, node: &Node, nodes: &mut Vec<Node>) {
    match &node.kind {
        Kind::Directory(tree) => {
            let Ok(directory) = view.directory(tree) else { return };
            let ordinal = source.number();
            let found = match source.below(3) {
                0 => view.find(&directory, source.take(1)).map(|it| it.map(|(_, entry)| entry)),
                1 => view.entry(&directory, ordinal),
                _ => view.entry(&directory, ordinal % directory.len().max(1)),
            };
            if let Ok(Some(entry)) = found
                && let Some(entry) = entry.get()
                && nodes.len() < NODES_MAX
            {
                nodes.push(entry.node.clone());
            }
        }
        Kind::File(content) => {
            let offset = if source.below(2) == 0 { source.number() } else { 0 };
            let length = source.below(256) * 512;
            if let Ok(bytes) = view.read(content, offset, length) {
                let expected = content.size.saturating_sub(offset).min(length as u64);
                assert_eq!(bytes.as_slice().len() as u64, expected, "a short read");
            }
            for found in [view.seek_data(content, offset), view.seek_hole(content, offset)] {
                if let Ok(Some(found)) = found {
                    assert!(found >= offset && found <= content.size, "a seek out of the file");
                }
            }
        }
        _ => {}
    }
    let _ = (node.size(), node.link_count(), node.mtime.to_system_time());
}

/// A check of a random repository: where it finds nothing, all can be read.
pub(super) fn check_repository(input: &[u8]) {
    let (store, _) = Forge::new(input).build();
    let Some(reader) = open(store) else { return };
    let Ok(catalog) = reader.catalog() else { return };
    let Some(now) = Timestamp::new(0, 0) else { return };
    let _ = (catalog.is_pinned(&SnapshotId::from_digest([0; 32]), now), catalog.damaged.len());
    let options = CheckOptions { scope: ReadScope::All, max_duration: None };
    let Ok(report) = check(&reader, catalog, options, &Silent) else { return };
    if report.is_clean() {
        let read = View::new(reader, ViewOptions::default()).and_then(|view| read_all(&view));
        assert!(read.is_ok(), "a check found nothing, but {read:?}");
    }
}

/// Reads the beginning and the end of everything, as far as its number is bounded.
fn read_all(view: &View) -> Result<(), ViewError> {
    let list = view.snapshots()?;
    let mut left: Vec<Node> = list.iter().map(|snapshot| (*snapshot.root).clone()).collect();
    for _ in 0..READ_NODES_MAX {
        match left.pop().map(|node| node.kind) {
            None => break,
            Some(Kind::Directory(tree)) => {
                let directory = view.directory(&tree)?;
                for ordinal in 0..directory.len().min(ENTRIES_MAX) {
                    let entry = view.entry(&directory, ordinal)?;
                    left.extend(entry.iter().filter_map(|it| Some(it.get()?.node.clone())));
                }
            }
            Some(Kind::File(content)) => {
                for offset in [0, content.size.saturating_sub(1000)] {
                    let length = content.size.saturating_sub(offset).min(1000);
                    let read = view.read(&content, offset, 1000)?.as_slice().len() as u64;
                    assert_eq!(read, length, "a short read of a clean repository");
                }
            }
            Some(_) => {}
        }
    }
    Ok(())
}
