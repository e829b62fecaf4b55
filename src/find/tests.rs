//! What finding promises: it tells what looking at each file of each snapshot
//! tells, at the cost of the distinct trees.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::base::id::{ChunkId, SnapshotId};
use crate::base::progress::{Monitor, Silent};
use crate::base::time::Timestamp;
use crate::dag::*;
use crate::find::*;
use crate::repository::testing::{Series, directory_of, node};
use crate::repository::*;

/// The content of a snapshot: paths of files with their times.
type Files = BTreeMap<String, i64>;

fn take(scene: &mut Series, files: &Files) {
    let files: Vec<_> = files.iter().map(|(path, seconds)| (&**path, file(*seconds))).collect();
    scene.take(|session| directory_of(session, &files));
}

fn file(seconds: i64) -> Node {
    let body = Body::Inline(vec![b'x'; seconds.unsigned_abs() as usize % 8].into());
    let size = seconds.unsigned_abs() % 8;
    let mtime = Timestamp::new(seconds, 0).unwrap();
    Node { mtime, ..node(Kind::File(Content { size, sha256: None, body })) }
}

/// A version, by path and time, and the places of its snapshots.
type Told = (String, i64, Vec<u64>);

fn told(reader: &Reader, criteria: &Criteria) -> (Vec<Told>, Report) {
    let snapshots = reader.snapshots().unwrap();
    let mut told = Vec::new();
    let report = search::<FindError>(reader, &snapshots, criteria, &Silent, &mut |found| {
        let path = String::from_utf8(found.path.to_vec()).unwrap();
        let places = found.snapshots.within(0, u64::MAX).collect();
        told.push((path, found.node.mtime.seconds(), places));
        Ok(())
    })
    .unwrap();
    assert_eq!(report.found, told.len() as u64);
    (told, report)
}

fn criteria(patterns: &[&str]) -> Criteria {
    Criteria::of(FilePatterns::new(patterns, false).unwrap())
}

/// What looking at every file of every snapshot tells.
fn model(all: &[Files], fits: &dyn Fn(&str, i64) -> bool) -> Vec<Told> {
    let mut versions: BTreeMap<(Vec<&str>, i64), Vec<u64>> = BTreeMap::new();
    for (place, files) in (0..).zip(all) {
        for (path, seconds) in files.iter().filter(|(path, seconds)| fits(path, **seconds)) {
            versions.entry((path.split('/').collect(), *seconds)).or_default().push(place);
        }
    }
    let mut told: Vec<_> =
        versions.into_iter().map(|((names, at), places)| (names, places, at)).collect();
    told.sort();
    told.into_iter().map(|(names, places, at)| (names.join("/"), at, places)).collect()
}

fn many(size: u32) -> Files {
    (0..size).map(|number| (format!("wide/{number:05}.c"), 1)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..Default::default() })]
    #[test]
    fn a_search_tells_what_looking_at_every_file_tells(
        size in prop_oneof![Just(0_u32), 1_u32..3000],
        edits in proptest::collection::vec(
            proptest::collection::vec(
                ("(wide/0[0-3][0-9]{3}\\.c|[ab]/[ab]/[xyz]|[cd])", 0_i64..4),
                0..9,
            ),
            1..6,
        ),
        least in 0_u64..4,
    ) {
        let (mut scene, mut files, mut all) = (Series::new(), many(size), Vec::new());
        for edits in edits {
            for (path, seconds) in edits {
                match seconds {
                    0 => drop(files.remove(&path)),
                    seconds => drop(files.insert(path, seconds)),
                }
            }
            take(&mut scene, &files);
            all.push(files.clone());
        }
        let reader = scene.reader();
        let files_only = |criteria| Criteria { kinds: vec!['f'], ..criteria };
        let everything = told(&reader, &files_only(criteria(&[]))).0;
        prop_assert_eq!(everything, model(&all, &|_, _| true));
        let sizes = vec![SizeRange(least..=u64::MAX)];
        let by_name = Criteria { sizes, ..criteria(&["[x-z]", "*1.c"]) };
        let is_named = |path: &str| path.ends_with("1.c") || path.ends_with(['x', 'y', 'z']);
        let fits = |path: &str, seconds: i64| is_named(path) && seconds.unsigned_abs() % 8 >= least;
        prop_assert_eq!(told(&reader, &by_name).0, model(&all, &fits));
        let by_path = told(&reader, &files_only(criteria(&["/a/*/x"]))).0;
        let fits = |path: &str, _| path.starts_with("a/") && path.ends_with("/x");
        prop_assert_eq!(by_path, model(&all, &fits));
        // One path alone.
        for path in ["a/b/x", "wide/00001.c"] {
            let snapshots = reader.snapshots().unwrap();
            let history = versions(&reader, &snapshots, path.as_bytes(), &Silent).unwrap();
            let told: Vec<_> = history.versions.iter().map(|version| {
                let places = version.snapshots.within(0, u64::MAX).collect();
                (path.to_owned(), version.node.mtime.seconds(), places)
            }).collect();
            prop_assert_eq!(told, model(&all, &|own, _| own == path));
        }
    }
}

#[test]
fn ten_snapshots_of_the_same_files_cost_as_much_as_one() {
    let (mut scene, mut files) = (Series::new(), many(20_000));
    take(&mut scene, &files);
    let once = told(&scene.reader(), &criteria(&["*"])).1.pages;
    assert!(once >= 15, "{once}");
    for number in 0..9 {
        files.insert(format!("wide/{:05}.c", number * 1000), 2);
        files.insert("beside".to_owned(), number);
        take(&mut scene, &files);
    }
    let (found, report) = told(&scene.reader(), &criteria(&["*"]));
    // A root, an index page and a changed leaf for each.
    assert!(report.pages <= once + 9 * 4, "{} pages, {once} for the first one", report.pages);
    assert_eq!(found.len(), 20_000 + 9 + 9 + 1);
}

#[test]
fn what_moved_is_not_gone_through_again_where_only_names_count() {
    let (mut scene, files) = (Series::new(), many(5_000));
    take(&mut scene, &files);
    let once = told(&scene.reader(), &criteria(&["nothing"])).1.pages;
    take(&mut scene, &files.iter().map(|(path, at)| (format!("moved/{path}"), *at)).collect());
    let pages = told(&scene.reader(), &criteria(&["nothing"])).1.pages;
    assert!(pages <= once + 3, "{pages} pages, {once} for one place");
}

#[test]
fn directories_that_cannot_hold_it_are_not_read() {
    let (mut scene, mut files) = (Series::new(), many(5_000));
    files.insert("etc/nginx/a.conf".to_owned(), 1);
    files.insert("etc/a.conf".to_owned(), 1);
    take(&mut scene, &files);
    let (found, report) = told(&scene.reader(), &criteria(&["/etc/*.conf"]));
    assert_eq!((found.len(), report.pages), (1, 2));
    let sizes = vec![SizeRange(1 << 30..=u64::MAX)];
    let (found, report) = told(&scene.reader(), &Criteria { sizes, ..criteria(&[]) });
    assert_eq!((found.len(), report.pages), (0, 1));
}

#[test]
fn a_directory_is_one_version_whatever_is_in_it() {
    let (mut scene, mut files) = (Series::new(), many(3));
    for number in 0..3 {
        files.insert(format!("wide/{number}"), number);
        take(&mut scene, &files);
    }
    let kinds = vec!['d'];
    let (found, _) = told(&scene.reader(), &Criteria { kinds, ..criteria(&[]) });
    assert_eq!(found, [("wide".to_owned(), 0, vec![0, 1, 2])]);
    let reader = scene.reader();
    let history = versions(&reader, &reader.snapshots().unwrap(), b"/wide/", &Silent).unwrap();
    assert_eq!(history.versions.len(), 3, "what is in it counts for one path");
}

#[test]
fn chunks_are_found_in_short_and_in_long_lists() {
    let mut scene = Series::new();
    let content = |session: &mut Session<'_>, numbers: std::ops::Range<u32>| {
        let mut builder = ChunkListBuilder::new();
        let mut put = |record: &Record| session.put_list(record);
        for number in numbers {
            let id = ChunkId::of(&number.to_be_bytes());
            builder.push(Segment::Chunk { id, bytes: 1, hint: None }, &mut put).unwrap();
        }
        let body = builder.finish(&mut put).unwrap();
        let size = match &body {
            Body::List(list) => list.bytes,
            _ => 2,
        };
        node(Kind::File(Content { size, sha256: None, body }))
    };
    scene.take(|session| {
        let (short, long) = (content(session, 0..2), content(session, 1..5000));
        directory_of(session, &[("long", long), ("short", short)])
    });
    let reader = scene.reader();
    for (number, expected) in [(0, "short"), (1, "long short"), (4999, "long"), (5000, "")] {
        let chunks = vec![ChunkId::of(&u32::to_be_bytes(number))];
        let (found, _) = told(&reader, &Criteria { chunks, ..criteria(&[]) });
        let names: Vec<_> = found.iter().map(|(path, ..)| &**path).collect();
        assert_eq!(names.join(" "), expected, "chunk {number}");
    }
}

#[test]
fn damage_is_told_with_its_path_and_the_rest_is_found() {
    let mut scene = Series::new();
    let id = crate::base::id::TreeId::of(b"nowhere");
    let totals = Totals { files: 1, ..Totals::default() };
    let lost = node(Kind::Directory(TreeRef { id, hint: None, totals }));
    scene.take(|session| directory_of(session, &[("lost", lost), ("z", file(1))]));
    let (found, report) = told(&scene.reader(), &criteria(&["z"]));
    assert_eq!(found.len(), 1);
    assert_eq!(report.damaged.len(), 1);
    assert_eq!(report.damaged[0].path, b"lost");
    let reader = scene.reader();
    let snapshots: Vec<(SnapshotId, Manifest)> = reader.snapshots().unwrap();
    let history = versions(&reader, &snapshots, b"lost/x", &Silent).unwrap();
    assert_eq!((history.versions.len(), history.damaged.len()), (0, 1));
}

#[test]
fn a_search_stops_when_it_is_told() {
    struct Stop;
    impl Monitor for Stop {
        fn cancelled(&self) -> bool {
            true
        }
    }
    let mut scene = Series::new();
    take(&mut scene, &many(2_000));
    let reader = scene.reader();
    let snapshots = reader.snapshots().unwrap();
    let ended = search::<FindError>(&reader, &snapshots, &criteria(&[]), &Stop, &mut |_| Ok(()));
    assert!(matches!(ended, Err(FindError::Cancelled)));
    assert!(matches!(versions(&reader, &snapshots, b"x", &Stop), Err(FindError::Cancelled)));
}
