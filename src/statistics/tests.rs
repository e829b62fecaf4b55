//! What counting promises: what sets of all objects of each snapshot tell, with
//! each tree read twice at most.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use proptest::prelude::*;

use crate::base::id::{ChunkId, SnapshotId};
use crate::base::progress::{Monitor, Silent};
use crate::compression::Compression;
use crate::dag::*;
use crate::repository::testing::{Series, directory_of, node};
use crate::repository::*;
use crate::statistics::*;

/// Takes a snapshot of files, each of these chunks.
fn take(scene: &mut Series, files: &BTreeMap<String, Vec<u8>>) -> SnapshotId {
    scene.take(|session| {
        let mut nodes = Vec::new();
        for (path, chunks) in files {
            nodes.push((&**path, file(session, chunks)));
        }
        directory_of(session, &nodes)
    })
}

fn file(session: &mut Session<'_>, chunks: &[u8]) -> Node {
    let mut builder = ChunkListBuilder::new();
    for number in chunks {
        let plain = vec![*number; 300 + usize::from(*number)];
        let (id, bytes) = (ChunkId::of(&plain), plain.len() as u32);
        let envelope = envelope::seal(&plain, Compression::default());
        let segment = session.put_chunk(PreparedChunk::New { id, bytes, envelope }).unwrap();
        let mut put = |record: &Record| session.put_list(record);
        builder.push(segment, &mut put).unwrap();
    }
    let mut put = |record: &Record| session.put_list(record);
    let body = builder.finish(&mut put).unwrap();
    let size = chunks.iter().map(|number| 300 + u64::from(*number)).sum();
    node(Kind::File(Content { size, sha256: None, body }))
}

/// Each object with what it takes: chunks with their plain bytes.
type Objects = BTreeSet<(ObjectKind, [u8; 32], u64)>;

/// All that lies below a tree, by looking at it without memory.
fn objects(reader: &Reader, tree: &TreeRef, found: &mut Objects) {
    found.insert((ObjectKind::Tree, *tree.id.as_bytes(), 0));
    let page = reader.tree(tree).unwrap();
    page.trees().for_each(|tree| objects(reader, tree, found));
    let Tree::Leaf(entries) = &page else { return };
    for entry in entries {
        let Kind::File(content) = &entry.node.kind else { continue };
        if let Body::List(list) = &content.body {
            let mut lists = vec![*list];
            while let Some(list) = lists.pop() {
                found.insert((ObjectKind::ChunkList, *list.id.as_bytes(), 0));
                if let ChunkList::Index { pages, .. } = reader.chunk_list(&list).unwrap() {
                    lists.extend(pages);
                }
            }
        }
        let visit = &mut |segment: &Segment, _| {
            if let Segment::Chunk { id, bytes, .. } = segment {
                found.insert((ObjectKind::Chunk, *id.as_bytes(), u64::from(*bytes)));
            }
            Ok::<_, RepositoryError>(ControlFlow::Continue(()))
        };
        reader.segments(content, visit).unwrap();
    }
}

fn share<'a>(
    reader: &Reader,
    objects: impl IntoIterator<Item = &'a (ObjectKind, [u8; 32], u64)>,
) -> Share {
    let mut share = Share::default();
    for (kind, id, bytes) in objects {
        let stored = u64::from(reader.locate(*kind, id).unwrap().unwrap().stored_bytes);
        if *kind == ObjectKind::Chunk {
            share.chunks += 1;
            share.chunk_bytes += bytes;
            share.chunk_stored_bytes += stored;
        } else {
            share.trees += 1;
            share.tree_stored_bytes += stored;
        }
    }
    share
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..Default::default() })]
    #[test]
    fn what_snapshots_hold_together_and_alone_is_what_sets_of_objects_tell(
        edits in proptest::collection::vec(
            proptest::collection::vec(
                ("([ab]/)?[ab]/[w-z]", proptest::collection::vec(0_u8..9, 0..40)),
                0..6,
            ),
            1..6,
        ),
        pairs: bool,
    ) {
        let (mut scene, mut files) = (Series::new(), BTreeMap::new());
        for edits in edits {
            for (path, chunks) in edits {
                match chunks.is_empty() {
                    true => drop(files.remove(&path)),
                    false => drop(files.insert(path, chunks)),
                }
            }
            take(&mut scene, &files);
        }
        let reader = scene.reader();
        let snapshots = reader.snapshots().unwrap();
        let holder = |place: usize| if pairs { place / 2 } else { place };
        let mut sets: Vec<Objects> = vec![Objects::new(); holder(snapshots.len() - 1) + 1];
        let mut roots = Vec::new();
        for (place, (id, manifest)) in snapshots.iter().enumerate() {
            let tree = manifest.tree().unwrap();
            objects(&reader, tree, &mut sets[holder(place)]);
            roots.push((*id, *tree, holder(place) as u32));
        }
        let mut inventory = Inventory::read(&reader, &Silent).unwrap();
        prop_assert_eq!(inventory.totals, totals(&reader, &Silent).unwrap());
        for _ in 0..2 {
            let usage = usage(&reader, &mut inventory, &roots, &Silent).unwrap();
            let mut all = Objects::new();
            for (place, set) in sets.iter().enumerate() {
                prop_assert_eq!(usage.first[place], share(&reader, set.difference(&all)));
                all.extend(set.iter().copied());
                let others = sets.iter().enumerate().filter(|(other, _)| *other != place);
                let others: Objects = others.flat_map(|(_, set)| set).copied().collect();
                prop_assert_eq!(usage.alone[place], share(&reader, set.difference(&others)));
            }
            prop_assert_eq!(usage.together(), share(&reader, &all));
            prop_assert!(usage.damaged.is_empty());
            prop_assert!(usage.read <= 2 * usage.together().trees, "a tree was read often");
            inventory.forget_holders();
        }
    }
}

#[test]
fn growth_tells_what_was_backed_up_and_what_is_stored() {
    let mut scene = Series::new();
    let one = BTreeMap::from([("a".to_owned(), vec![1, 2])]);
    let mut two = one.clone();
    two.insert("b".to_owned(), vec![2, 3]);
    for files in [&one, &two, &two, &one] {
        take(&mut scene, files);
    }
    let reader = scene.reader();
    let snapshots = reader.snapshots().unwrap();
    let roots: Vec<_> = (0..)
        .zip(&snapshots)
        .map(|(place, (id, manifest))| (*id, *manifest.tree().unwrap(), place))
        .collect();
    let mut inventory = Inventory::read(&reader, &Silent).unwrap();
    let counted = usage(&reader, &mut inventory, &roots, &Silent).unwrap();
    let points = growth(&snapshots, &counted);
    let logical: Vec<_> = points.iter().map(|point| point.logical_bytes).collect();
    assert_eq!(logical, [603, 1208, 1208, 603]);
    let stored: Vec<_> = points.iter().map(|point| point.stored_bytes).collect();
    assert!(stored[0] > 0 && stored[1] > stored[0]);
    assert_eq!([stored[1], stored[1]], [stored[2], stored[3]], "nothing was new");
    let all = inventory.totals.chunk_stored_bytes + inventory.totals.tree_stored_bytes;
    assert_eq!(stored[3], all);
}

#[test]
fn what_is_missing_is_told_with_its_snapshot_and_the_rest_is_counted() {
    let mut scene = Series::new();
    let id = take(&mut scene, &BTreeMap::from([("a".to_owned(), vec![1, 2])]));
    let reader = scene.reader();
    let mut inventory = Inventory::read(&reader, &Silent).unwrap();
    let lost = TreeRef {
        id: crate::base::id::TreeId::of(b"nowhere"),
        hint: Some(1),
        totals: crate::dag::Totals::default(),
    };
    let tree = *reader.snapshots().unwrap()[0].1.tree().unwrap();
    let roots = [(id, lost, 0), (id, tree, 0)];
    let counted = usage(&reader, &mut inventory, &roots, &Silent).unwrap();
    assert_eq!((counted.damaged.len(), counted.together().chunks), (1, 2));
    assert_eq!(counted.damaged[0].0, id);
}

#[test]
fn counting_stops_when_it_is_told() {
    struct Stop;
    impl Monitor for Stop {
        fn cancelled(&self) -> bool {
            true
        }
    }
    let mut scene = Series::new();
    let files = (0..3000).map(|number| (format!("{number}/x"), vec![(number % 250) as u8]));
    let id = take(&mut scene, &files.collect());
    let reader = scene.reader();
    let mut inventory = Inventory::read(&reader, &Silent).unwrap();
    let tree = *reader.snapshots().unwrap()[0].1.tree().unwrap();
    let stopped = usage(&reader, &mut inventory, &[(id, tree, 0)], &Stop);
    assert!(matches!(stopped, Err(StatisticsError::Cancelled)));
}
