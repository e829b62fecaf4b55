//! What the DAG's encodings promise, over arbitrary and hostile values.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;

use proptest::prelude::*;

use crate::base::id::{ChunkId, IdScheme, ListId, SnapshotId, TreeId};
use crate::base::name::EntryName;
use crate::base::time::Timestamp;
use crate::dag::record::split_stored;
use crate::dag::*;

/// Objects as a store would keep them, numbered in the order they came.
#[derive(Default)]
struct Kept {
    trees: HashMap<TreeId, Vec<u8>>,
    lists: HashMap<ListId, Vec<u8>>,
    next: u64,
}

impl Kept {
    fn tree(&mut self, record: &Record) -> Result<(TreeId, Hint), Infallible> {
        let id = TreeId::of(&record.canonical);
        self.trees.insert(id, record.to_stored());
        self.next += 1;
        Ok((id, Some(self.next)))
    }

    fn list(&mut self, record: &Record) -> Result<(ListId, Hint), Infallible> {
        let id = ListId::of(&record.canonical);
        self.lists.insert(id, record.to_stored());
        self.next += 1;
        Ok((id, Some(self.next)))
    }

    fn build(&mut self, entries: impl IntoIterator<Item = Entry>) -> TreeRef {
        let mut builder = DirectoryBuilder::new();
        let store = &mut |record: &Record| self.tree(record);
        for entry in entries {
            builder.push(entry, store).unwrap();
        }
        builder.finish(store).unwrap()
    }

    fn entries(&self, root: &TreeRef) -> Vec<Entry> {
        let stored = &self.trees[&root.id];
        let (canonical, hints) = split_stored("tree", stored).unwrap();
        match Tree::decode(&IdScheme::Plain, &root.id, canonical, hints).unwrap() {
            Tree::Leaf(entries) => entries,
            Tree::Index { branches, .. } => {
                branches.iter().flat_map(|branch| self.entries(&branch.tree)).collect()
            }
        }
    }

    fn segments(&self, list: &ChunkListRef) -> Vec<Segment> {
        let (canonical, hints) = split_stored("chunk list", &self.lists[&list.id]).unwrap();
        match ChunkList::decode(&IdScheme::Plain, list, canonical, hints).unwrap() {
            ChunkList::Leaf(segments) => segments,
            ChunkList::Index { pages, .. } => {
                pages.iter().flat_map(|page| self.segments(page)).collect()
            }
        }
    }
}

fn owner(uid: u32) -> Arc<Owner> {
    Arc::new(Owner { uid, gid: uid / 2, user: "user".into(), group: "".into() })
}

fn node(kind: Kind) -> Node {
    let mtime = Timestamp::new(-5, 999_999_999).unwrap();
    Node {
        kind,
        mode: 0o4755,
        owner: owner(1),
        mtime,
        atime: None,
        changed_while_read: false,
        links: None,
        xattrs: Vec::new(),
    }
}

fn file(content: &[u8]) -> Node {
    let body = Body::Inline(content.into());
    node(Kind::File(Content { size: content.len() as u64, sha256: None, body }))
}

fn numbered(count: u32) -> impl Iterator<Item = Entry> {
    (0..count).map(|number| Entry {
        name: EntryName::new(format!("name-{number:08}").as_bytes()).unwrap(),
        node: file(&number.to_le_bytes()),
    })
}

fn any_kind() -> impl Strategy<Value = Kind> {
    let segment = prop_oneof![
        (any::<[u8; 32]>(), 1_u32..1000, any::<Option<u32>>()).prop_map(|(id, bytes, hint)| {
            let hint = hint.map(u64::from);
            Segment::Chunk { id: ChunkId::from_digest(id), bytes, hint }
        }),
        (1_u64..1 << 40).prop_map(|bytes| Segment::Hole { bytes }),
    ];
    let segments = proptest::collection::vec(segment, 1..16);
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| file(&bytes).kind),
        (segments, any::<Option<[u8; 32]>>()).prop_map(|(segments, sha256)| {
            let size = segments.iter().map(Segment::bytes).sum();
            Kind::File(Content { size, sha256, body: Body::Segments(segments.into()) })
        }),
        proptest::collection::vec(1_u8..=255, 1..100)
            .prop_map(|target| Kind::Symlink(target.into())),
        Just(Kind::Fifo),
        Just(Kind::Socket),
        (any::<u32>(), any::<u32>())
            .prop_map(|(major, minor)| Kind::BlockDevice(Device { major, minor })),
        any::<[u8; 32]>().prop_map(|id| Kind::Directory(TreeRef {
            id: TreeId::from_digest(id),
            hint: None,
            totals: Totals { entries: 1, files: 2, bytes: 3, ..Totals::default() },
        })),
    ]
}

fn any_node() -> impl Strategy<Value = Node> {
    let xattrs = proptest::collection::btree_map("user\\.[a-z]{1,8}", any::<Vec<u8>>(), 0..3);
    let links = any::<Option<(u32, [u8; 16])>>();
    let time = (any::<i64>(), 0_u32..1_000_000_000)
        .prop_map(|(seconds, nanoseconds)| Timestamp::new(seconds, nanoseconds).unwrap());
    let read = (proptest::option::of(time.clone()), any::<bool>());
    (any_kind(), 0_u16..0o10000, any::<u8>(), time, read, links, xattrs).prop_map(
        |(kind, mode, uid, mtime, (atime, changed_while_read), links, xattrs)| Node {
            kind,
            mode,
            owner: owner(u32::from(uid % 3)),
            mtime,
            atime,
            changed_while_read,
            links: links.map(|(count, group)| LinkGroup { count, group }),
            xattrs: xattrs
                .into_iter()
                .map(|(name, value)| Xattr { name: name.into_bytes().into(), value: value.into() })
                .collect(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_directory_of_anything_survives_its_encoding(
        nodes in proptest::collection::btree_map("[a-z]{1,9}", any_node(), 0..40)
    ) {
        let entries: Vec<Entry> = nodes
            .into_iter()
            .map(|(name, node)| Entry { name: EntryName::new(name.as_bytes()).unwrap(), node })
            .collect();
        let mut kept = Kept::default();
        let root = kept.build(entries.clone());
        prop_assert_eq!(root.totals.entries, entries.len() as u64);
        prop_assert_eq!(kept.entries(&root), entries);
    }

    #[test]
    fn one_flipped_bit_anywhere_is_noticed(bit in 0_usize..4000) {
        let mut kept = Kept::default();
        let root = kept.build(numbered(20));
        let stored = &kept.trees[&root.id];
        let (canonical, hints) = split_stored("tree", stored).unwrap();
        let mut flipped = canonical.to_vec();
        let bit = bit % (flipped.len() * 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = Tree::decode(&IdScheme::Plain, &root.id, &flipped, hints).unwrap_err();
        prop_assert!(matches!(error, DagError::WrongHash { .. }), "{}", error);
    }

    #[test]
    fn hostile_bytes_with_the_right_hash_decode_or_fail_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400), form in 1_u8..3
    ) {
        let mut bytes = bytes;
        bytes.insert(0, form);
        let _ = Tree::decode(&IdScheme::Plain, &TreeId::of(&bytes), &bytes, &[]);
        let id = ListId::of(&bytes);
        let reference = ChunkListRef { id, hint: None, bytes: 10, data_bytes: 10 };
        let _ = ChunkList::decode(&IdScheme::Plain, &reference, &bytes, &bytes);
        let _ = Manifest::decode(&IdScheme::Plain, &SnapshotId::of(&bytes), &bytes);
    }

    #[test]
    fn a_long_chunk_list_survives_and_adds_up(count in 0_u64..5000, hole_every in 1_u64..50) {
        let mut kept = Kept::default();
        let mut builder = ChunkListBuilder::new();
        let store = &mut |record: &Record| kept.list(record);
        let mut segments = Vec::new();
        for number in 0..count {
            let segment = if number % hole_every == 0 {
                Segment::Hole { bytes: number + 1 }
            } else {
                let id = ChunkId::of(&number.to_le_bytes());
                Segment::Chunk { id, bytes: 7, hint: Some(number) }
            };
            segments.push(segment);
            builder.push(segment, store).unwrap();
        }
        match builder.finish(store).unwrap() {
            Body::Inline(bytes) => prop_assert!(bytes.is_empty() && segments.is_empty()),
            Body::Segments(found) => prop_assert_eq!(&*found, &segments[..]),
            Body::List(list) => {
                prop_assert_eq!(list.bytes, segments.iter().map(Segment::bytes).sum::<u64>());
                prop_assert_eq!(kept.segments(&list), segments);
            }
        }
    }
}

#[test]
fn one_change_in_a_large_directory_rewrites_one_page_and_its_spine() {
    let mut kept = Kept::default();
    let before = kept.build(numbered(50_000));
    let pages = kept.trees.len();
    assert!(pages > 20, "only {pages} pages");
    let changed = numbered(50_000).map(|mut entry| {
        if entry.name.as_bytes() == b"name-00025000" {
            entry.node = file(b"changed");
        }
        entry
    });
    let after = kept.build(changed);
    assert_ne!(before.id, after.id);
    assert!(kept.trees.len() - pages <= 3, "{} new pages", kept.trees.len() - pages);
    assert_eq!(kept.entries(&after).len(), 50_000);
}

#[test]
fn one_name_more_in_a_large_directory_moves_no_other_boundary() {
    let mut kept = Kept::default();
    kept.build(numbered(50_000));
    let pages = kept.trees.len();
    let more: BTreeMap<_, _> = numbered(50_000)
        .chain([Entry { name: EntryName::new(b"name-00000000a").unwrap(), node: file(b"") }])
        .map(|entry| (entry.name.clone(), entry))
        .collect();
    kept.build(more.into_values());
    assert!(kept.trees.len() - pages <= 6, "{} new pages", kept.trees.len() - pages);
}

#[test]
fn names_out_of_order_or_twice_are_refused() {
    for names in [["b", "a"], ["a", "a"]] {
        let mut kept = Kept::default();
        let entries = names
            .map(|name| Entry { name: EntryName::new(name.as_bytes()).unwrap(), node: file(b"") });
        let root = kept.build(entries);
        let (canonical, hints) = split_stored("tree", &kept.trees[&root.id]).unwrap();
        let error = Tree::decode(&IdScheme::Plain, &root.id, canonical, hints).unwrap_err();
        assert!(error.to_string().contains("rising order"), "{error}");
    }
}

#[test]
fn wrong_or_missing_hints_change_nothing_but_themselves() {
    let mut kept = Kept::default();
    let subdirectory = kept.build(numbered(3));
    let name = EntryName::new(b"sub").unwrap();
    let root = kept.build([Entry { name, node: node(Kind::Directory(subdirectory)) }]);
    let (canonical, hints) = split_stored("tree", &kept.trees[&root.id]).unwrap();
    let hint = |hints: &[u8]| {
        let tree = Tree::decode(&IdScheme::Plain, &root.id, canonical, hints).unwrap();
        tree.trees().next().unwrap().hint
    };
    assert_eq!(hint(hints), subdirectory.hint);
    assert_eq!(hint(&[]), None);
    assert!(hint(&[0x7e]).is_some());
    let _ = hint(&[0xff; 12]);
}

#[test]
fn a_manifest_survives_and_any_change_changes_its_id() {
    let mut kept = Kept::default();
    let root = kept.build(numbered(3));
    let manifest = Manifest {
        time: Timestamp::new(1, 2).unwrap(),
        finished: Timestamp::new(3, 4).unwrap(),
        host: "host".into(),
        user: "user".into(),
        sources: vec![b"/etc\xff".to_vec()],
        description: "text".into(),
        tags: vec!["a".into(), "b".into()],
        parent: None,
        excludes: vec!["*.o".into()],
        program: "icecore".into(),
        counters: Counters { files: 3, ..Counters::default() },
        errors: vec!["/etc/shadow: permission denied".into()],
        root: node(Kind::Directory(root)),
    };
    let id_of = |record: &Record| SnapshotId::of(&record.canonical);
    let record = manifest.encode();
    let id = id_of(&record);
    assert_eq!(Manifest::decode(&IdScheme::Plain, &id, &record.to_stored()).unwrap(), manifest);
    let mut other = manifest.clone();
    other.tags.pop();
    assert_ne!(id_of(&other.encode()), id);
    let mut no_directory = manifest;
    no_directory.root = file(b"");
    let record = no_directory.encode();
    let id = id_of(&record);
    assert!(Manifest::decode(&IdScheme::Plain, &id, &record.to_stored()).is_err());
}

#[test]
fn names_of_one_group_are_of_one_file_just_if_they_say_the_same_of_it() {
    let links = Some(LinkGroup { count: 2, group: [1; 16] });
    let one = Node { links, ..file(b"one") };
    assert!(one.shared_file().is_some());
    // Looked at twice, with a link and a read in between.
    let atime = Some(Timestamp::new(7, 0).unwrap());
    let later = Some(LinkGroup { count: 3, group: [1; 16] });
    let again = Node { links: later, atime, changed_while_read: true, ..one.clone() };
    assert_eq!(again.shared_file(), one.shared_file());
    let xattrs = vec![Xattr { name: b"user.x".as_slice().into(), value: Box::default() }];
    let others = [
        Node { links, ..file(b"two") },
        Node { mode: 0o600, ..one.clone() },
        Node { owner: owner(7), ..one.clone() },
        Node { xattrs, ..one.clone() },
        Node { links, ..node(Kind::Fifo) },
        Node { links: Some(LinkGroup { count: 2, group: [2; 16] }), ..one.clone() },
    ];
    for other in others {
        assert!(other.shared_file().is_some());
        assert_ne!(other.shared_file(), one.shared_file(), "{other:?}");
    }
    assert_eq!(file(b"one").shared_file(), None);
    let tree = TreeRef { id: TreeId::from_digest([3; 32]), hint: None, totals: Totals::default() };
    assert_eq!(Node { links, ..node(Kind::Directory(tree)) }.shared_file(), None);
}
