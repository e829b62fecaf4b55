//! Snapshots of real directories, compared with the directories.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use proptest::prelude::*;

use crate::base::id::{SnapshotId, TreeId};
use crate::base::progress::{Monitor, Silent};
use crate::chunking::ChunkerConfig;
use crate::dag::{Body, ChunkListRef, Content, Kind, Node, Segment, Tree, TreeRef};
use crate::gc::{GcOptions, MaxUnused, collect};
use crate::ingest::*;
use crate::repository::{Repository, ScanKey, ScanPage};
use crate::store::{Batch, Durability, Family};

/// Longer than the step of the clock in which a change might hide.
const SETTLE: Duration = Duration::from_millis(130);

struct Scene {
    directory: tempfile::TempDir,
    writer: Writer,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("repo");
        Writer::init(&root, ChunkerConfig::default()).unwrap();
        let writer = Writer::open(&root, "test", Duration::ZERO, &Silent).unwrap();
        fs::create_dir(directory.path().join("source")).unwrap();
        Self { directory, writer }
    }

    fn source(&self) -> PathBuf {
        self.directory.path().join("source")
    }

    fn request(&self) -> CreateRequest {
        CreateRequest {
            input: Input::Files {
                sources: vec![PathBuf::from(".")],
                working_directory: self.source(),
            },
            source_names: vec![b".".to_vec()],
            selection: SelectionOptions::default(),
            detection: Detection::default(),
            host: "host".to_owned(),
            user: "user".to_owned(),
            description: String::new(),
            tags: Vec::new(),
            time: Timestamp::now(),
            program: "test".to_owned(),
            parent: None,
            with_atime: false,
            read_concurrency: 3,
            bytes_per_second: None,
            compression: Default::default(),
        }
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

/// What a file is, on either side.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fact {
    kind: String,
    mode: u32,
    mtime: (i64, i64),
    content: Vec<u8>,
    /// The first path of its group of hard links.
    linked_to: Option<PathBuf>,
}

fn source_facts(source: &Path, excluded: &dyn Fn(&Path, bool) -> bool) -> BTreeMap<PathBuf, Fact> {
    let mut facts = BTreeMap::new();
    let mut groups: HashMap<u64, PathBuf> = HashMap::new();
    let mut work = vec![PathBuf::new()];
    while let Some(directory) = work.pop() {
        for entry in fs::read_dir(source.join(&directory)).unwrap() {
            let path = directory.join(entry.unwrap().file_name());
            let real = source.join(&path);
            let metadata = fs::symlink_metadata(&real).unwrap();
            if excluded(&path, metadata.is_dir()) {
                continue;
            }
            let (kind, content) = if metadata.is_dir() {
                work.push(path.clone());
                ("directory", Vec::new())
            } else if metadata.is_symlink() {
                ("symlink", fs::read_link(&real).unwrap().into_os_string().into_encoded_bytes())
            } else {
                ("file", fs::read(&real).unwrap())
            };
            let is_linked = !metadata.is_dir() && metadata.nlink() > 1;
            if is_linked {
                let first = groups.entry(metadata.ino()).or_insert_with(|| path.clone());
                *first = path.clone().min(first.clone());
            }
            let fact = Fact {
                kind: kind.to_owned(),
                mode: metadata.mode() & 0o7777,
                mtime: (metadata.mtime(), metadata.mtime_nsec()),
                content,
                linked_to: is_linked.then(|| PathBuf::from(metadata.ino().to_string())),
            };
            facts.insert(path, fact);
        }
    }
    for fact in facts.values_mut() {
        let inode = fact.linked_to.as_ref().map(|inode| inode.to_str().unwrap().parse().unwrap());
        fact.linked_to = inode.map(|inode: u64| groups[&inode].clone());
    }
    facts
}

fn snapshot_facts(repository: &Repository, id: SnapshotId) -> BTreeMap<PathBuf, Fact> {
    let manifest = repository.manifest(&id).unwrap().unwrap();
    let mut facts = BTreeMap::new();
    let mut groups: HashMap<[u8; 16], PathBuf> = HashMap::new();
    let mut work = vec![(PathBuf::new(), *manifest.tree().unwrap())];
    while let Some((directory, tree)) = work.pop() {
        for (name, node) in entries(repository, &tree) {
            let path = directory.join(name);
            let (kind, content) = match &node.kind {
                Kind::Directory(tree) => {
                    work.push((path.clone(), *tree));
                    ("directory", Vec::new())
                }
                Kind::Symlink(target) => ("symlink", target.to_vec()),
                Kind::File(content) => ("file", bytes_of(repository, content)),
                other => panic!("{other:?}"),
            };
            if let Some(links) = &node.links {
                let first = groups.entry(links.group).or_insert_with(|| path.clone());
                *first = path.clone().min(first.clone());
            }
            let group = node.links.map(|links| crate::base::id::hex(&links.group));
            let fact = Fact {
                kind: kind.to_owned(),
                mode: node.mode.into(),
                mtime: (node.mtime.seconds(), node.mtime.nanoseconds().into()),
                content,
                linked_to: group.map(PathBuf::from),
            };
            facts.insert(path, fact);
        }
    }
    let groups: HashMap<_, _> = groups
        .into_iter()
        .map(|(group, path)| (PathBuf::from(crate::base::id::hex(&group)), path))
        .collect();
    for fact in facts.values_mut() {
        fact.linked_to = fact.linked_to.as_ref().map(|group| groups[group].clone());
    }
    facts
}

fn entries(repository: &Repository, tree: &TreeRef) -> Vec<(PathBuf, Node)> {
    match repository.tree(tree).unwrap() {
        Tree::Leaf(entries) => {
            entries.into_iter().map(|e| (PathBuf::from(e.name.as_os_str()), e.node)).collect()
        }
        Tree::Index { branches, .. } => {
            branches.iter().flat_map(|branch| entries(repository, &branch.tree)).collect()
        }
    }
}

fn bytes_of(repository: &Repository, content: &Content) -> Vec<u8> {
    let bytes = match &content.body {
        Body::Inline(bytes) => bytes.to_vec(),
        Body::Segments(segments) => segments.iter().flat_map(|s| segment(repository, s)).collect(),
        Body::List(list) => list_bytes(repository, list),
    };
    assert_eq!(bytes.len() as u64, content.size);
    if let Some(hash) = content.known_sha256() {
        assert_eq!(crate::base::hash::sha256(&bytes), hash);
    }
    bytes
}

fn list_bytes(repository: &Repository, list: &ChunkListRef) -> Vec<u8> {
    match repository.chunk_list(list).unwrap() {
        crate::dag::ChunkList::Leaf(segments) => {
            segments.iter().flat_map(|s| segment(repository, s)).collect()
        }
        crate::dag::ChunkList::Index { pages, .. } => {
            pages.iter().flat_map(|page| list_bytes(repository, page)).collect()
        }
    }
}

fn segment(repository: &Repository, segment: &Segment) -> Vec<u8> {
    match segment {
        Segment::Chunk { id, bytes, hint } => repository.chunk(id, *bytes, *hint).unwrap(),
        Segment::Hole { bytes } => vec![0; usize::try_from(*bytes).unwrap()],
    }
}

/// A change of the source; numbers choose among what is there.
#[derive(Clone, Debug)]
enum Edit {
    Write { place: u8, name: u8, size: u16, byte: u8 },
    Directory { place: u8, name: u8 },
    OverwriteSecretly { which: u8, byte: u8 },
    Remove { which: u8 },
    Rename { which: u8, place: u8, name: u8 },
    Mode { which: u8, mode: u16 },
    Symlink { place: u8, name: u8 },
    Link { which: u8, place: u8, name: u8 },
}

fn any_edit() -> impl Strategy<Value = Edit> {
    let numbers = (any::<u8>(), any::<u8>(), any::<u8>());
    prop_oneof![
        4 => (any::<u8>(), any::<u8>(), any::<u16>(), any::<u8>())
            .prop_map(|(place, name, size, byte)| Edit::Write { place, name, size, byte }),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(place, name)| Edit::Directory { place, name }),
        2 => (any::<u8>(), any::<u8>())
            .prop_map(|(which, byte)| Edit::OverwriteSecretly { which, byte }),
        2 => any::<u8>().prop_map(|which| Edit::Remove { which }),
        2 => numbers.prop_map(|(which, place, name)| Edit::Rename { which, place, name }),
        1 => (any::<u8>(), 0_u16..8).prop_map(|(which, mode)| Edit::Mode { which, mode }),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(place, name)| Edit::Symlink { place, name }),
        2 => numbers.prop_map(|(which, place, name)| Edit::Link { which, place, name }),
    ]
}

/// Names that the selection of the test has an opinion on are among them.
fn name(number: u8) -> String {
    match number % 12 {
        0 => "b.skip".to_owned(),
        1 => "skipped".to_owned(),
        2 => "top".to_owned(),
        3 => "B.SKIP".to_owned(),
        other => format!("name-{other}"),
    }
}

fn apply(source: &Path, edit: &Edit) -> std::io::Result<()> {
    let all: Vec<_> = source_facts(source, &|_, _| false).into_iter().collect();
    let directories: Vec<_> = std::iter::once(PathBuf::new())
        .chain(all.iter().filter(|(_, f)| f.kind == "directory").map(|(path, _)| path.clone()))
        .collect();
    let new = |place: u8, number: u8| {
        source.join(&directories[usize::from(place) % directories.len()]).join(name(number))
    };
    let old = |which: u8| {
        let chosen = (!all.is_empty()).then(|| &all[usize::from(which) % all.len()]);
        let none = || std::io::Error::other("nothing is there");
        chosen.map(|(path, fact)| (source.join(path), fact)).ok_or_else(none)
    };
    match edit {
        Edit::Write { place, name, size, byte } => {
            // From nothing through inline content to several chunks.
            let size = usize::from(*size) * if size % 7 == 0 { 12 } else { 1 } / 2;
            let content: Vec<u8> =
                (0..size).map(|i| byte.wrapping_mul(i as u8 | 1) ^ (i >> 8) as u8).collect();
            fs::write(new(*place, *name), content)
        }
        Edit::Directory { place, name } => fs::create_dir(new(*place, *name)),
        Edit::OverwriteSecretly { which, byte } => {
            let (path, fact) = old(*which)?;
            if fact.kind != "file" {
                return Ok(());
            }
            let modified = fs::metadata(&path)?.modified()?;
            fs::write(&path, vec![*byte; fact.content.len()])?;
            fs::File::options().write(true).open(&path)?.set_modified(modified)
        }
        Edit::Remove { which } => {
            let (path, fact) = old(*which)?;
            if fact.kind == "directory" { fs::remove_dir_all(path) } else { fs::remove_file(path) }
        }
        Edit::Rename { which, place, name } => fs::rename(old(*which)?.0, new(*place, *name)),
        Edit::Mode { which, mode } => {
            let (path, fact) = old(*which)?;
            let mode = fs::Permissions::from_mode(0o700 | u32::from(*mode));
            if fact.kind == "symlink" { Ok(()) } else { fs::set_permissions(path, mode) }
        }
        Edit::Symlink { place, name } => symlink("name-5", new(*place, *name)),
        Edit::Link { which, place, name } => fs::hard_link(old(*which)?.0, new(*place, *name)),
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
struct CancelAfter(std::sync::atomic::AtomicU64);

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
