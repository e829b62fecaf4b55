//! What going through directories promises, on real ones in memory.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use proptest::prelude::*;

use crate::base::name::EntryName;
use crate::base::time::Timestamp;
use crate::chunking::ChunkerConfig;
use crate::dag::*;
use crate::repository::testing::node;
use crate::repository::*;

struct Scene {
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Writer::init(&directory.path().join("repo"), ChunkerConfig::default()).unwrap();
        Self { directory }
    }

    fn store<T>(&self, work: impl FnOnce(&mut Session<'_>) -> T) -> T {
        let root = self.directory.path().join("repo");
        let wait = std::time::Duration::ZERO;
        let writer =
            Writer::open(&root, None, "test", wait, &crate::base::progress::Silent).unwrap();
        let mut session = writer.begin().unwrap();
        let done = work(&mut session);
        let root = directory(&mut session, &BTreeMap::new());
        let seconds = 1;
        session.commit(&crate::repository::testing::manifest(root, seconds)).unwrap();
        done
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.directory.path().join("repo")).unwrap()
    }
}

fn name(bytes: &[u8]) -> EntryName {
    EntryName::new(bytes).unwrap()
}

fn file(seconds: i64) -> Node {
    let content = Content { size: 0, sha256: None, body: Body::Inline(Box::default()) };
    Node { mtime: Timestamp::new(seconds, 0).unwrap(), ..node(Kind::File(content)) }
}

fn directory(session: &mut Session<'_>, entries: &BTreeMap<Vec<u8>, Node>) -> TreeRef {
    let mut builder = DirectoryBuilder::new();
    let mut store = |record: &Record| session.put_tree(record);
    for (entry, node) in entries {
        builder.push(Entry { name: name(entry), node: node.clone() }, &mut store).unwrap();
    }
    builder.finish(&mut store).unwrap()
}

fn all(reader: &Reader, tree: &TreeRef) -> BTreeMap<Vec<u8>, Node> {
    let mut cursor = reader.open_directory(tree);
    let mut all = BTreeMap::new();
    while let Some(entry) = cursor.entry().unwrap() {
        all.insert(entry.name.as_bytes().to_vec(), entry.node.clone());
        cursor.advance();
    }
    all
}

/// The names that differ, by two cursors side by side, and how many entries were
/// compared for that.
fn differences(reader: &Reader, left: &TreeRef, right: &TreeRef) -> (Vec<Vec<u8>>, usize) {
    let (mut left, mut right) = (reader.open_directory(left), reader.open_directory(right));
    let (mut found, looked_at) = (Vec::new(), Cell::new(0));
    loop {
        left.skip_equal_pages(&mut right).unwrap();
        looked_at.set(looked_at.get() + 1);
        let (one, other) = (left.entry().unwrap(), right.entry().unwrap());
        let (order, name) = match (one, other) {
            (None, None) => return (found, looked_at.get()),
            (Some(one), None) => (std::cmp::Ordering::Less, one.name.clone()),
            (None, Some(other)) => (std::cmp::Ordering::Greater, other.name.clone()),
            (Some(one), Some(other)) => {
                (one.name.cmp(&other.name), one.name.clone().min(other.name.clone()))
            }
        };
        let is_same = order.is_eq() && one.map(|it| &it.node) == other.map(|it| &it.node);
        if order.is_le() {
            left.advance();
        }
        if order.is_ge() {
            right.advance();
        }
        if !is_same {
            found.push(name.as_bytes().to_vec());
        }
    }
}

fn many(count: u32) -> BTreeMap<Vec<u8>, Node> {
    (0..count).map(|number| (format!("{number:06}").into_bytes(), file(0))).collect()
}

#[test]
fn a_directory_of_many_pages_is_gone_through_once_and_in_order() {
    let (scene, entries) = (Scene::new(), many(20_000));
    let tree = scene.store(|session| directory(session, &entries));
    let reader = scene.reader();
    assert!(all(&reader, &tree) == entries);
    for wanted in ["000000", "004711", "019999", "02", ""] {
        let mut cursor = reader.open_directory(&tree);
        let found = cursor.seek(wanted.as_bytes()).unwrap().map(|entry| entry.name.clone());
        assert_eq!(found.is_some(), entries.contains_key(wanted.as_bytes()), "{wanted}");
        let next = cursor.entry().unwrap().map(|entry| entry.name.as_bytes().to_vec());
        let expected = entries.range(wanted.as_bytes().to_vec()..).next();
        assert_eq!(next.as_ref(), expected.map(|(name, _)| name), "behind {wanted}");
    }
}

#[test]
fn two_large_directories_with_one_difference_are_compared_in_few_steps() {
    let (scene, entries) = (Scene::new(), many(100_000));
    let mut edited = entries.clone();
    edited.insert(b"050000".to_vec(), file(7));
    let [before, behind] =
        scene.store(|session| [&entries, &edited].map(|entries| directory(session, entries)));
    let (found, steps) = differences(&scene.reader(), &before, &behind);
    assert_eq!(found, [b"050000".to_vec()]);
    assert!(steps <= 2_050, "{steps} entries of 100,000 were looked at");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..Default::default() })]
    #[test]
    fn two_cursors_find_just_what_differs(
        size in 0_u32..5000,
        edits in proptest::collection::vec((0_u32..6000, 0_i64..3), 0..12),
    ) {
        let scene = Scene::new();
        let entries = many(size);
        let mut edited = entries.clone();
        for (number, seconds) in edits {
            let name = format!("{number:06}").into_bytes();
            match seconds {
                0 => drop(edited.remove(&name)),
                seconds => drop(edited.insert(name, file(seconds))),
            }
        }
        let [before, behind] = scene
            .store(|session| [&entries, &edited].map(|entries| directory(session, entries)));
        let reader = scene.reader();
        let mut names: Vec<_> = entries.keys().chain(edited.keys()).cloned().collect();
        names.sort_unstable();
        names.dedup();
        names.retain(|name| entries.get(name) != edited.get(name));
        prop_assert_eq!(&differences(&reader, &before, &behind).0, &names);
        prop_assert_eq!(&differences(&reader, &behind, &before).0, &names);
    }
}

#[test]
fn a_walk_tells_a_directory_before_what_it_holds_and_when_it_is_left() {
    let scene = Scene::new();
    let root = scene.store(|session| {
        let empty = directory(session, &BTreeMap::new());
        let inner = BTreeMap::from([(b"z".to_vec(), file(1))]);
        let inner = directory(session, &inner);
        let middle = BTreeMap::from([
            (b"inner".to_vec(), node(Kind::Directory(inner))),
            (b"x".to_vec(), file(1)),
        ]);
        let middle = directory(session, &middle);
        let top = BTreeMap::from([
            (b"a".to_vec(), file(1)),
            (b"empty".to_vec(), node(Kind::Directory(empty))),
            (b"middle".to_vec(), node(Kind::Directory(middle))),
            (b"z".to_vec(), file(1)),
        ]);
        directory(session, &top)
    });
    let told = |skipped: &[u8]| {
        let reader = scene.reader();
        let mut walk = reader.walk(&root);
        let mut told = Vec::new();
        while let Some(step) = walk.step().unwrap() {
            let sign = if step == Step::Leave { "<" } else { "" };
            told.push(format!("{sign}{}", String::from_utf8_lossy(walk.path())));
            if walk.path() == skipped {
                walk.skip();
            }
        }
        told.join(" ")
    };
    assert_eq!(
        told(b"-"),
        "a empty <empty middle middle/inner middle/inner/z <middle/inner middle/x <middle z"
    );
    assert_eq!(told(b"middle/inner"), "a empty <empty middle middle/inner middle/x <middle z");
}

#[test]
fn a_walk_goes_on_behind_a_directory_that_cannot_be_read() {
    let scene = Scene::new();
    let root = scene.store(|session| {
        let lost = TreeRef {
            id: crate::base::id::TreeId::of(b"nowhere"),
            hint: None,
            totals: Totals::default(),
        };
        let top = BTreeMap::from([
            (b"lost".to_vec(), node(Kind::Directory(lost))),
            (b"z".to_vec(), file(1)),
        ]);
        directory(session, &top)
    });
    let reader = scene.reader();
    let mut walk = reader.walk(&root);
    assert!(matches!(walk.step().unwrap(), Some(Step::Entry(_))));
    assert!(walk.step().unwrap_err().is_damage());
    assert_eq!(walk.path(), b"lost");
    assert_eq!((walk.step().unwrap(), walk.path()), (Some(Step::Leave), &b"lost"[..]));
    assert!(matches!(walk.step().unwrap(), Some(Step::Entry(_))));
    assert_eq!(walk.path(), b"z");
    assert_eq!(walk.step().unwrap(), None);
}

#[test]
fn pages_whose_names_do_not_rise_across_them_are_damage() {
    let scene = Scene::new();
    let forged = scene.store(|session| {
        let page = BTreeMap::from([(b"a".to_vec(), file(1)), (b"b".to_vec(), file(1))]);
        let again = BTreeMap::from([(b"b".to_vec(), file(2)), (b"c".to_vec(), file(1))]);
        let branches: Vec<_> = [(page, b"b"), (again, b"c")]
            .iter()
            .map(|(entries, last)| Branch { last: name(*last), tree: directory(session, entries) })
            .collect();
        let mut totals = Totals::default();
        branches.iter().for_each(|branch| totals.add_page(&branch.tree.totals));
        let mut page = crate::dag::record::RecordEncoder::default();
        page.body.byte(2);
        page.body.byte(1);
        page.body.number(branches.len() as u64);
        for branch in &branches {
            page.body.bytes(branch.last.as_bytes());
            branch.tree.encode(&mut page);
        }
        let record = page.finish();
        let (id, hint) = session.put_tree(&record).unwrap();
        TreeRef { id, hint, totals }
    });
    let reader = scene.reader();
    let mut cursor = reader.open_directory(&forged);
    for _ in 0..2 {
        assert!(cursor.entry().unwrap().is_some());
        cursor.advance();
    }
    assert!(cursor.entry().unwrap_err().is_damage(), "a name twice in one directory");
}

#[test]
fn segments_of_a_long_list_come_in_order_and_end_when_told() {
    let scene = Scene::new();
    let (body, expected) = scene.store(|session| {
        let mut builder = ChunkListBuilder::new();
        let mut expected = Vec::new();
        let mut store = |record: &Record| session.put_list(record);
        let mut start = 0;
        for bytes in 1..4000_u64 {
            let segment = Segment::Hole { bytes };
            builder.push(segment, &mut store).unwrap();
            expected.push((segment, start));
            start += bytes;
        }
        (builder.finish(&mut store).unwrap(), expected)
    });
    let content =
        Content { size: expected.iter().map(|(it, _)| it.bytes()).sum(), sha256: None, body };
    let (reader, mut seen) = (Arc::new(scene.reader()), Vec::new());
    let mut visit = |segment: &Segment, start| {
        seen.push((*segment, start));
        Ok::<_, RepositoryError>(ControlFlow::Continue(()))
    };
    reader.segments(&content, &mut visit).unwrap();
    assert!(seen == expected);
    let mut count = 0;
    let mut visit = |_: &Segment, _| {
        count += 1;
        Ok::<_, RepositoryError>(if count < 5 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        })
    };
    reader.segments(&content, &mut visit).unwrap();
    assert_eq!(count, 5);
}
