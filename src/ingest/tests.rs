//! Snapshots of real directories, compared with the directories.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::thread::sleep;

use proptest::prelude::*;

use crate::base::id::TreeId;
use crate::base::progress::{Monitor, Silent};
use crate::dag::TreeRef;
use crate::gc::{GcOptions, MaxUnused, collect};
use crate::ingest::testing::*;
use crate::ingest::*;
use crate::repository::{ScanKey, ScanPage};
use crate::store::{Batch, Durability, Family};

impl Scene {
    fn request(&self) -> CreateRequest {
        request(&self.source())
    }

    fn create(&self) -> CreateReport {
        self.create_as(self.request())
    }

    fn create_as(&self, request: CreateRequest) -> CreateReport {
        let report = create(&self.writer, &request, &Silent).unwrap();
        assert_eq!(report.errors, Vec::<String>::new());
        report
    }

    fn root(&self, report: &CreateReport) -> TreeId {
        let manifest = self.writer.manifest(&report.id.unwrap()).unwrap().unwrap();
        manifest.tree().unwrap().id
    }

    fn force(&self) -> CreateRequest {
        let detection = Detection { force: true, ..Detection::default() };
        CreateRequest { detection, ..self.request() }
    }

    fn facts(&self, report: &CreateReport) -> BTreeMap<PathBuf, Fact> {
        snapshot_facts(&self.writer, report.id.unwrap())
    }

    /// Asserts that a snapshot is what the source is by now.
    fn assert_equals_source(&self, report: &CreateReport) {
        assert_eq!(self.facts(report), source_facts(&self.source(), &|_, _| false));
    }
}

/// The same rules in the words of the test and of `.gitignore`.
fn selection() -> SelectionOptions {
    SelectionOptions {
        excludes: ["*.skip", "skipped/", "/top"].map(str::to_owned).to_vec(),
        ..SelectionOptions::default()
    }
}

fn selection_of_the_test(path: &Path, is_directory: bool) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    name.ends_with(".skip") || (name == "skipped" && is_directory) || path == Path::new("top")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_newest_snapshot_equals_the_source_whatever_was_done_to_it(
        rounds in proptest::collection::vec(
            (proptest::collection::vec(any_edit(), 1..12), any::<bool>(), 0_u8..10), 1..7
        )
    ) {
        let scene = Scene::new();
        for (edits, settles, extra) in rounds {
            for edit in &edits {
                // Some make no sense, such as a directory moved into itself.
                let _ = apply(&scene.source(), edit);
            }
            if settles {
                sleep(SETTLE);
            }
            match extra {
                0 => scene.writer.drop_scan_pages(&|_| false).unwrap(),
                1 => {
                    let ids: Vec<_> =
                        scene.writer.snapshots().unwrap().iter().map(|(id, _)| *id).collect();
                    scene.writer.delete_snapshots(&ids).unwrap();
                    let options = GcOptions { max_unused: MaxUnused::Percent(0.0), dry_run: false };
                    collect(&scene.writer, options, &Silent).unwrap();
                }
                _ => {}
            }
            let report = scene.create();
            scene.assert_equals_source(&report);
            let selected = CreateRequest { selection: selection(), ..scene.request() };
            let selected = scene.create_as(selected);
            let expected = source_facts(&scene.source(), &selection_of_the_test);
            let found = scene.facts(&selected);
            // A link whose first name is left out is linked to the next one.
            let unlinked = |facts: BTreeMap<PathBuf, Fact>| -> Vec<_> {
                facts.into_iter().map(|(p, f)| (p, Fact { linked_to: None, ..f })).collect()
            };
            prop_assert_eq!(unlinked(found), unlinked(expected));
        }
    }
}

fn fill(source: &Path) {
    for directory in ["a", "b/c"] {
        fs::create_dir_all(source.join(directory)).unwrap();
    }
    for (path, size) in [("a/empty", 0), ("a/small", 100), ("b/medium", 5000), ("b/c/l", 700_000)] {
        let content: Vec<u8> = (0..size).map(|i: u32| (i.wrapping_mul(i) >> 5) as u8).collect();
        fs::write(source.join(path), content).unwrap();
    }
    sleep(SETTLE);
}

#[test]
fn an_unchanged_tree_is_not_read_and_gives_the_same_tree() {
    let scene = Scene::new();
    fill(&scene.source());
    let first = scene.create();
    assert_eq!((first.changes.files_new, first.changes.files_read), (4, 4));
    let second = scene.create();
    assert_eq!(second.parent, first.id);
    assert_eq!((second.changes.files_unmodified, second.changes.files_read), (4, 0));
    assert_eq!((second.changes.dirs_unmodified, second.added.trees), (3, 0));
    assert_eq!(scene.root(&second), scene.root(&first));
    let forced = scene.create_as(scene.force());
    assert_eq!((forced.changes.files_unmodified, forced.changes.files_read), (4, 4));
    assert_eq!(scene.root(&forced), scene.root(&first));
}

#[test]
fn one_changed_file_is_the_only_one_read() {
    let scene = Scene::new();
    fill(&scene.source());
    scene.create();
    fs::write(scene.source().join("b/medium"), b"other").unwrap();
    let report = scene.create();
    let changes = report.changes;
    assert_eq!((changes.files_changed, changes.files_new, changes.files_read), (1, 0, 1));
    assert_eq!((changes.dirs_changed, changes.dirs_unmodified), (1, 2));
    scene.assert_equals_source(&report);
    // Young as it is, it is not trusted, and yet no change.
    let again = scene.create();
    assert_eq!((again.changes.files_unmodified, again.changes.files_changed), (4, 0));
}

#[test]
fn pages_of_a_large_directory_are_reused_around_a_change() {
    let scene = Scene::new();
    let path = |number: u32| scene.source().join(format!("file-{number:05}"));
    for number in 0..6000 {
        fs::write(path(number), number.to_le_bytes()).unwrap();
    }
    sleep(SETTLE);
    let first = scene.create();
    fs::write(path(3000), b"changed").unwrap();
    fs::remove_file(path(4500)).unwrap();
    fs::write(path(7000), b"new at the end").unwrap();
    let second = scene.create();
    let changes = second.changes;
    assert_eq!((changes.files_new, changes.files_changed, changes.files_read), (1, 1, 2));
    assert!(second.added.trees < first.added.trees, "{:?} {:?}", first.added, second.added);
    assert_eq!(scene.root(&scene.create_as(scene.force())), scene.root(&second));
    // The first pages vanish, then all of them.
    for number in 0..2500 {
        fs::remove_file(path(number)).unwrap();
    }
    sleep(SETTLE);
    let third = scene.create();
    assert_eq!(scene.root(&scene.create_as(scene.force())), scene.root(&third));
    let fourth = scene.create();
    assert_eq!((fourth.changes.files_read, scene.root(&fourth)), (0, scene.root(&third)));
    scene.assert_equals_source(&fourth);
    for entry in fs::read_dir(scene.source()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    scene.assert_equals_source(&scene.create());
}

#[test]
fn records_that_name_what_is_not_there_are_dropped_and_everything_is_read() {
    let scene = Scene::new();
    fill(&scene.source());
    scene.create();
    // Every record points to a tree that nobody has.
    let context = [0, 0, 0, 4, b'h', b'o', b's', b't'];
    let mut batch = Batch::new();
    let mut count = 0;
    for directory in ["", "/a", "/b", "/b/c"] {
        let path = format!("{}{directory}", scene.source().display());
        let key = ScanKey::new(&context, path.as_bytes());
        let Some(page) = scene.writer.first_scan_page(key).unwrap() else { continue };
        count += 1;
        let nowhere = TreeRef { id: TreeId::from_digest([count; 32]), ..page.tree };
        let page = ScanPage { tree: nowhere, ..page };
        let mut session = scene.writer.begin().unwrap();
        session.put_scan_page(key, true, &page).unwrap();
        session.checkpoint().unwrap();
    }
    assert_eq!(count, 4, "the keys are those of the walk");
    batch.put(Family::Meta, b"unrelated".to_vec(), b"x".to_vec());
    scene.writer.store().write(&batch, Durability::Buffered).unwrap();
    let report = scene.create();
    assert_eq!(report.changes.files_read, 4);
    scene.assert_equals_source(&report);
}

#[test]
fn a_dry_run_counts_what_the_real_one_stores_and_stores_nothing() {
    let scene = Scene::new();
    fill(&scene.source());
    let dry = dry_run(&scene.writer, &scene.request(), &Silent).unwrap();
    assert_eq!((dry.id, scene.writer.snapshots().unwrap().len()), (None, 0));
    assert_eq!(scene.writer.store().last_key(Family::Data).unwrap(), None);
    assert_eq!(scene.writer.store().last_key(Family::Scan).unwrap(), None);
    let real = scene.create();
    assert_eq!((dry.added, dry.changes), (real.added, real.changes));
}

/// Says that it was cancelled once so many bytes were read.
struct CancelAfter(AtomicU64);

impl Monitor for CancelAfter {
    fn read(&self, bytes: u64) {
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left.saturating_sub(bytes), Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

#[test]
fn a_cancelled_run_leaves_no_snapshot_and_the_next_one_goes_on_from_there() {
    let scene = Scene::new();
    for directory in 0..40 {
        let directory = scene.source().join(format!("d{directory:02}"));
        fs::create_dir(&directory).unwrap();
        for file in 0..50_u8 {
            fs::write(directory.join(format!("f{file}")), vec![file; 3000]).unwrap();
        }
    }
    sleep(SETTLE);
    let monitor = CancelAfter((3_000_000).into());
    let error = create(&scene.writer, &scene.request(), &monitor).unwrap_err();
    assert!(matches!(error, IngestError::Cancelled), "{error}");
    assert!(scene.writer.snapshots().unwrap().is_empty());
    let report = scene.create();
    let read = report.changes.files_read;
    assert!(read < 2000, "{read} files of 2000 were read again");
    scene.assert_equals_source(&report);
}

/// Counts how often more was told to be done than was told to be read before.
#[derive(Default)]
struct Order {
    read: AtomicU64,
    done: AtomicU64,
    breaches: AtomicU64,
}

impl Monitor for Order {
    fn read(&self, bytes: u64) {
        self.read.fetch_add(bytes, Ordering::SeqCst);
    }

    fn advance(&self, _items: u64, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::SeqCst) + bytes;
        let is_breach = done > self.read.load(Ordering::SeqCst);
        self.breaches.fetch_add(is_breach.into(), Ordering::SeqCst);
    }
}

#[test]
fn what_is_told_to_be_done_was_told_to_be_read_before() {
    let scene = Scene::new();
    let sizes = [1_u64, 100, 3000, 600_000, 9_000_000];
    for (index, size) in sizes.iter().enumerate() {
        fs::write(scene.source().join(format!("f{index}")), vec![7; *size as usize]).unwrap();
    }
    let order = Order::default();
    create(&scene.writer, &scene.request(), &order).unwrap();
    let total = sizes.iter().sum::<u64>();
    let told = (order.read.into_inner(), order.done.into_inner(), order.breaches.into_inner());
    assert_eq!(told, (total, total, 0));
}
