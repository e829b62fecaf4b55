//! Comparisons against a plain one of the same trees, and what they cost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::sleep;

use proptest::prelude::*;

use crate::base::id::TreeId;
use crate::base::name::EntryName;
use crate::base::progress::{Monitor, Silent};
use crate::base::time::Timestamp;
use crate::chunking::ChunkerConfig;
use crate::dag::{Content, DirectoryBuilder, Entry, Kind, Node, Totals, TreeRef};
use crate::diff::*;
use crate::ingest::create;
use crate::ingest::testing::*;
use crate::patterns::PathPatterns;
use crate::repository::testing::{Series, directory_of, manifest, node};
use crate::repository::{Config, Layout, Repository, Session};
use crate::store::fault::{FaultPlan, FaultStore, Target};
use crate::store::memory::MemoryStore;

fn options() -> DiffOptions {
    let none = || PathPatterns::new::<&str>(&[], false).unwrap();
    DiffOptions {
        directory_times: false,
        checksum: true,
        // The names of groups say more than paths and content do.
        ignored: vec![Field::Links],
        exclude: none(),
        include: none(),
        one_file_system: false,
    }
}

fn stored(node: &Node) -> Root<'static> {
    Root::Stored(Some(node.clone()))
}

fn live(path: &Path) -> Root<'_> {
    Root::Live { path, inner: b"", follow: true }
}

/// What a comparison tells, with renames looked for in so much memory.
fn told_within(
    repository: &Repository,
    roots: (Root<'_>, Root<'_>),
    options: &DiffOptions,
    listing: Listing,
    held_bytes_max: usize,
) -> (Vec<Difference>, Told) {
    let mut comparison = Comparison::new(repository, roots, b"", options, &Silent).unwrap();
    let mut all = Vec::new();
    let told = comparison.tell_held(listing, held_bytes_max, &mut |_, difference| {
        all.push(difference);
        Ok::<_, DiffError>(())
    });
    (all, told.unwrap())
}

fn told(repository: &Repository, roots: (Root<'_>, Root<'_>), listing: Listing) -> Vec<Difference> {
    told_within(repository, roots, &options(), listing, usize::MAX).0
}

type Facts = BTreeMap<PathBuf, Fact>;
type Lines = BTreeSet<(char, Vec<u8>)>;

fn lines(differences: &[Difference]) -> Lines {
    differences.iter().map(|it| (it.class().letter(), it.path.clone())).collect()
}

/// The same by looking at everything.
fn model(before: &Facts, after: &Facts) -> Lines {
    let paths: BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
    let mut lines = Lines::new();
    for path in paths {
        let mut tell = |letter| lines.insert((letter, path.as_os_str().as_bytes().to_vec()));
        let is_directory = |fact: &Fact| fact.kind == "directory";
        match (before.get(path), after.get(path)) {
            (Some(one), Some(other)) if is_directory(one) != is_directory(other) => {
                tell('-');
                tell('+');
            }
            (Some(one), Some(other)) => {
                let differs = (one.kind != other.kind, one.content != other.content);
                let is_touched = one.mtime != other.mtime && !is_directory(one);
                match differs {
                    (true, _) => drop(tell('T')),
                    (_, true) => drop(tell('M')),
                    _ if one.mode != other.mode || is_touched => drop(tell('U')),
                    _ => {}
                }
            }
            (Some(_), None) => drop(tell('-')),
            (None, _) => drop(tell('+')),
        }
    }
    lines
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

/// What was told with renames, each of them taken apart again; both sides of each
/// must be the same.
fn without_renames(differences: &[Difference], before: &Facts, after: &Facts) -> Lines {
    let mut lines = Lines::new();
    let mut tell = |letter, path: Vec<u8>| assert!(lines.insert((letter, path)), "told twice");
    for difference in differences {
        let Change::Renamed { from, .. } = &difference.change else {
            tell(difference.class().letter(), difference.path.clone());
            continue;
        };
        let below = |facts: &Facts, top: &[u8]| -> BTreeMap<PathBuf, Fact> {
            let top = path(top);
            let inside = facts.iter().filter(|(path, _)| path.starts_with(&top));
            let inner = |path: &Path| path.strip_prefix(&top).unwrap().to_owned();
            inside.map(|(path, fact)| (inner(path), fact.clone())).collect()
        };
        let (one, other) = (below(before, from), below(after, &difference.path));
        let is_directory = difference.item().is_directory();
        assert!(is_directory == difference.is_whole() && (is_directory || one.len() == 1));
        assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
        let contents = |facts: &Facts| -> Vec<_> {
            facts.values().map(|fact| (fact.kind.clone(), fact.content.clone())).collect()
        };
        assert_eq!(contents(&one), contents(&other), "a rename to other content");
        let metadata = |facts: &BTreeMap<PathBuf, Fact>| -> Vec<_> {
            let inner = facts.iter().filter(|(path, _)| !path.as_os_str().is_empty());
            let time = |it: &Fact| (it.kind != "directory").then_some(it.mtime);
            inner.map(|(_, fact)| (fact.mode, time(fact))).collect()
        };
        assert_eq!(metadata(&one), metadata(&other), "a rename that hides a change");
        let counted = difference.below.unwrap_or_default();
        assert_eq!((counted.files + counted.directories) as usize, one.len() - 1);
        assert!(is_directory && one.len() > 1 || one.values().any(|it| !it.content.is_empty()));
        let joined = |top: &[u8], inner: &Path| {
            let joined =
                if inner.as_os_str().is_empty() { path(top) } else { path(top).join(inner) };
            joined.as_os_str().as_bytes().to_vec()
        };
        one.keys().for_each(|inner| tell('-', joined(from, inner)));
        other.keys().for_each(|inner| tell('+', joined(&difference.path, inner)));
    }
    lines
}

fn sums(differences: &[Difference]) -> Summary {
    let mut summary = Summary::default();
    differences.iter().for_each(|difference| summary.add(difference));
    summary
}

/// Whether paths rise. What took the place of a directory comes behind all that
/// was in it, and is left aside.
fn is_sorted(differences: &[Difference]) -> bool {
    let removed = differences.iter().filter(|it| matches!(it.change, Change::Removed(_)));
    let gone: BTreeSet<&[u8]> = removed.map(|it| it.path.as_slice()).collect();
    let is_in_place_of = |it: &Difference| {
        gone.contains(it.path.as_slice()) && !matches!(it.change, Change::Removed(_))
    };
    let others = differences.iter().filter(|it| !is_in_place_of(it));
    others.is_sorted_by_key(|it| it.path.split(|byte| *byte == b'/').collect::<Vec<_>>())
}

impl Scene {
    fn snapshot(&self) -> (Node, Facts) {
        sleep(SETTLE);
        let report = create(&self.writer, &request(&self.source()), &Silent).unwrap();
        let manifest = self.writer.manifest(&report.id.unwrap()).unwrap().unwrap();
        (manifest.root, source_facts(&self.source(), &|_, _| false))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_comparison_tells_what_looking_at_everything_does(
        first in prop::collection::vec(any_edit(), 1..40),
        second in prop::collection::vec(any_edit(), 1..25),
    ) {
        let scene = Scene::new();
        let edit = |edits: &[Edit]| {
            // One that makes no sense where it comes is none.
            edits.iter().for_each(|edit| drop(apply(&scene.source(), edit)));
        };
        edit(&first);
        let (before, before_facts) = scene.snapshot();
        edit(&second);
        let (after, after_facts) = scene.snapshot();
        let (repository, source): (&Repository, _) = (&scene.writer, scene.source());
        let expected = model(&before_facts, &after_facts);
        let pair = || (stored(&before), stored(&after));
        let plain = told(repository, pair(), Listing::Plain);
        prop_assert_eq!(&lines(&plain), &expected);
        prop_assert!(is_sorted(&plain));
        let folded = told(repository, pair(), Listing::Folded);
        prop_assert_eq!(sums(&folded), sums(&plain));
        for held_bytes_max in [usize::MAX, 5_000, 0] {
            let (renamed, _) =
                told_within(repository, pair(), &options(), Listing::Renames, held_bytes_max);
            let apart = without_renames(&renamed, &before_facts, &after_facts);
            prop_assert_eq!(&apart, &expected);
            prop_assert!(is_sorted(&renamed));
        }
        // The running system says the same, in both directions.
        let now = told(repository, (stored(&before), live(&source)), Listing::Plain);
        prop_assert_eq!(&lines(&now), &expected);
        let back = told(repository, (live(&source), stored(&before)), Listing::Plain);
        prop_assert_eq!(lines(&back), model(&after_facts, &before_facts));
        for held_bytes_max in [usize::MAX, 5_000, 0] {
            let within = |roots| {
                told_within(repository, roots, &options(), Listing::Renames, held_bytes_max).0
            };
            let renamed = within((stored(&before), live(&source)));
            prop_assert_eq!(&without_renames(&renamed, &before_facts, &after_facts), &expected);
            prop_assert!(is_sorted(&renamed));
            let back = within((live(&source), stored(&before)));
            let expected = model(&after_facts, &before_facts);
            prop_assert_eq!(without_renames(&back, &after_facts, &before_facts), expected);
        }
        for same in [(stored(&after), stored(&after)), (stored(&after), live(&source))] {
            prop_assert_eq!(told(repository, same, Listing::Renames), vec![]);
        }
    }
}

fn file(seconds: i64) -> Node {
    Node { mtime: Timestamp::new(seconds, 0).unwrap(), ..node(Kind::File(Content::empty())) }
}

fn name(text: &str) -> EntryName {
    EntryName::new(text.as_bytes()).unwrap()
}

fn directory(session: &mut Session<'_>, entries: BTreeMap<String, Node>) -> TreeRef {
    let mut builder = DirectoryBuilder::new();
    for (text, node) in entries {
        let entry = Entry { name: name(&text), node };
        builder.push(entry, &mut |record| session.put_tree(record)).unwrap();
    }
    builder.finish(&mut |record| session.put_tree(record)).unwrap()
}

/// A tree of 200 directories of 100 files and one of 40,000; `changed` is the
/// time of one file in each of two directories.
fn large(repository: &Repository, changed: i64, moved: &str) -> Node {
    let mut session = Session::new(repository, false).unwrap();
    let files = |count: u32, changed: i64| -> BTreeMap<String, Node> {
        let time = |index| if index == 77 { changed } else { 1 };
        (0..count).map(|index| (format!("file-{index:06}"), file(time(index)))).collect()
    };
    let mut top = BTreeMap::new();
    for index in 0..200 {
        let time = if index == 123 { changed } else { i64::from(index) };
        let tree = directory(&mut session, files(100, time));
        let above = BTreeMap::from([("inner".to_owned(), node(Kind::Directory(tree)))]);
        let tree = directory(&mut session, above);
        let place = if index == 50 { moved.to_owned() } else { format!("directory-{index}") };
        top.insert(place, node(Kind::Directory(tree)));
    }
    let wide = directory(&mut session, files(40_000, changed));
    top.insert("wide".to_owned(), node(Kind::Directory(wide)));
    let root = directory(&mut session, top);
    session.commit(&manifest(root, changed)).unwrap();
    node(Kind::Directory(root))
}

#[test]
fn a_comparison_of_large_trees_reads_what_changed_and_the_way_there() {
    let memory = Arc::new(MemoryStore::new());
    let config = Config { id: [1; 32], chunker: ChunkerConfig::default(), encryption: None };
    let plain = Repository::new(Layout::new("/nowhere"), config.clone(), memory.clone());
    let before = large(&plain, 1, "directory-50");
    let after = large(&plain, 2, "moved-directory");
    let plan = FaultPlan::count(Target::Reads);
    let counted = Arc::new(FaultStore::new(memory, plan.clone()));
    let repository = Repository::new(Layout::new("/nowhere"), config, counted);
    let differences = told(&repository, (stored(&before), stored(&after)), Listing::Renames);
    let found: Vec<_> = differences
        .iter()
        .map(|it| format!("{} {}", it.class().letter(), String::from_utf8_lossy(&it.path)))
        .collect();
    let expected = ["U directory-123/inner/file-000077", "R moved-directory", "U wide/file-000077"];
    assert_eq!(found, expected);
    // Two roots, two pages of each of two directories on the way, and of the wide one
    // the index pages and the leaf that differs; 550 trees are there.
    assert!(plan.calls() <= 14, "{} reads", plan.calls());
    let before_that = plan.calls();
    assert_eq!(told(&repository, (stored(&after), stored(&after)), Listing::Plain), []);
    assert_eq!(plan.calls(), before_that, "equal trees are not looked at");
}

#[test]
fn a_moved_directory_of_the_running_system_is_one_line_if_all_below_it_is_the_same() {
    let scene = Scene::new();
    let source = scene.source();
    for name in ["one", "two"] {
        fs::create_dir_all(source.join(name).join("deep/empty")).unwrap();
        fs::write(source.join(name).join("deep/file"), format!("of {name}")).unwrap();
        fs::write(source.join(name).join("top"), format!("at the top of {name}")).unwrap();
        fs::File::create(source.join(name).join("holes")).unwrap().set_len(3 << 20).unwrap();
        symlink("top", source.join(name).join("link")).unwrap();
    }
    let (before, _) = scene.snapshot();
    let found = || -> Vec<String> {
        let found = told(&scene.writer, (stored(&before), live(&source)), Listing::Renames);
        let back = told(&scene.writer, (live(&source), stored(&before)), Listing::Renames);
        assert_eq!(found.len(), back.len(), "the other way round it is the same");
        let line = |it: &Difference| {
            let from = match &it.change {
                Change::Renamed { from, .. } => format!("{} > ", path(from).display()),
                _ => String::new(),
            };
            format!("{} {from}{}", it.class().letter(), path(&it.path).display())
        };
        found.iter().map(line).collect()
    };
    for name in ["one", "two"] {
        fs::rename(source.join(name), source.join(format!("new-{name}"))).unwrap();
    }
    assert_eq!(found(), ["R one > new-one", "R two > new-two"]);
    // Names and sizes do not tell these from what they were; their bytes do.
    let file = source.join("new-one/deep/file");
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, "of six").unwrap();
    fs::File::open(&file).unwrap().set_modified(time).unwrap();
    let expected = [
        "+ new-one",
        "+ new-one/deep",
        "+ new-one/deep/empty",
        "+ new-one/deep/file",
        "R one/holes > new-one/holes",
        "+ new-one/link",
        "R one/top > new-one/top",
        "R two > new-two",
        "- one",
        "- one/deep",
        "- one/deep/empty",
        "- one/deep/file",
        "- one/link",
    ];
    assert_eq!(found(), expected);
    // So do metadata, of which the one line would say nothing.
    fs::write(&file, "of one").unwrap();
    fs::File::open(&file).unwrap().set_modified(time).unwrap();
    assert_eq!(found(), ["R one > new-one", "R two > new-two"]);
    fs::set_permissions(source.join("new-one/top"), fs::Permissions::from_mode(0o600)).unwrap();
    let lines = found();
    let moved: Vec<_> = lines.iter().filter(|line| line.starts_with('R')).collect();
    let expected = [
        "R one/deep > new-one/deep",
        "R one/holes > new-one/holes",
        "R one/top > new-one/top",
        "R two > new-two",
    ];
    assert_eq!(moved, expected);
}

#[test]
fn what_is_damaged_is_named_and_the_rest_compared() {
    #[derive(Default)]
    struct Problems(Mutex<Vec<String>>);
    impl Monitor for Problems {
        fn problem(&self, message: &str) {
            let path = message.split(':').next().unwrap_or_default();
            self.0.lock().unwrap().push(path.to_owned());
        }
    }
    let lost = |what: &str| {
        let totals = Totals { entries: 1, files: 1, ..Totals::default() };
        let id = TreeId::of(what.as_bytes());
        node(Kind::Directory(TreeRef { id, hint: None, totals }))
    };
    let mut series = Series::new();
    for (time, place) in [(1, "gone"), (2, "new")] {
        series.take(|session| {
            let both = lost(&format!("{time}"));
            let one = lost(place);
            let place = format!("{place}/inner");
            directory_of(
                session,
                &[("a", file(time)), ("both", both), (&place, one), ("z", file(time))],
            )
        });
    }
    let reader = series.reader();
    let nodes: Vec<_> =
        reader.snapshots().unwrap().into_iter().map(|(_, manifest)| manifest.root).collect();
    for listing in [Listing::Plain, Listing::Renames] {
        let (problems, options) = (Problems::default(), options());
        let roots = (stored(&nodes[0]), stored(&nodes[1]));
        let comparison = Comparison::new(&reader, roots, b"", &options, &problems).unwrap();
        let mut found = Vec::new();
        let told = comparison.tell(listing, &mut |_, it| {
            found.push(format!("{} {}", it.class().letter(), path(&it.path).display()));
            Ok::<_, DiffError>(())
        });
        assert_eq!(told.unwrap().damaged, 3, "{listing:?}");
        let expected = ["U a", "- gone", "- gone/inner", "+ new", "+ new/inner", "U z"];
        assert_eq!(found, expected, "{listing:?}");
        let mut named = problems.0.into_inner().unwrap();
        named.sort();
        assert_eq!(named, ["both", "gone/inner", "new/inner"], "{listing:?}");
    }
}

#[test]
fn a_live_symlink_is_compared_and_never_followed() {
    let scene = Scene::new();
    fs::create_dir(scene.source().join("inside")).unwrap();
    fs::write(scene.source().join("inside/file"), "x").unwrap();
    let (before, _) = scene.snapshot();
    let outside = scene.directory.path().join("outside");
    fs::rename(scene.source().join("inside"), &outside).unwrap();
    symlink(&outside, scene.source().join("inside")).unwrap();
    let source = scene.source();
    let found = told(&scene.writer, (stored(&before), live(&source)), Listing::Plain);
    let expected = [('-', "inside"), ('-', "inside/file"), ('+', "inside")];
    let found: Vec<_> = found.iter().map(|it| (it.class().letter(), it.path.as_slice())).collect();
    assert_eq!(found, expected.map(|(letter, path)| (letter, path.as_bytes())));
}

#[test]
fn the_repository_itself_is_not_looked_into() {
    let scene = Scene::new();
    fs::write(scene.source().join("file"), "x").unwrap();
    let (before, _) = scene.snapshot();
    // The source beside the repository, seen from the directory that holds both.
    let above = scene.directory.path().to_owned();
    let found = told(&scene.writer, (stored(&before), live(&above)), Listing::Plain);
    let paths: Vec<_> = found.iter().map(|it| path(&it.path)).collect();
    let expected = ["file", "repo", "source", "source/file"].map(PathBuf::from);
    assert_eq!(paths, expected);
}

#[test]
fn metadata_counts_unless_it_is_ignored_and_patterns_choose() {
    let scene = Scene::new();
    for inner in ["a", "b/c"] {
        fs::create_dir_all(scene.source().join(inner)).unwrap();
        fs::write(scene.source().join(inner).join("file"), inner).unwrap();
    }
    let (before, _) = scene.snapshot();
    let source = scene.source();
    let time = std::time::SystemTime::UNIX_EPOCH;
    fs::File::open(source.join("a")).unwrap().set_modified(time).unwrap();
    fs::File::open(source.join("a/file")).unwrap().set_modified(time).unwrap();
    fs::write(source.join("b/c/file"), "B/c").unwrap();
    fs::write(source.join("b/new"), "x").unwrap();
    let (after, _) = scene.snapshot();
    let patterns = |pattern: &str| PathPatterns::new(&[pattern], false).unwrap();
    let letters = |options: DiffOptions| -> Vec<String> {
        let pair = (stored(&before), stored(&after));
        let (found, _) = told_within(&scene.writer, pair, &options, Listing::Plain, usize::MAX);
        let line = |it: &Difference| format!("{}{}", it.class().letter(), path(&it.path).display());
        found.iter().map(line).collect()
    };
    assert_eq!(letters(options()), ["Ua/file", "Mb/c/file", "+b/new"]);
    let with_times = DiffOptions { directory_times: true, ..options() };
    assert_eq!(
        letters(with_times),
        ["U", "Ua", "Ua/file", "Ub", "Mb/c/file", "+b/new"]
            .into_iter()
            .filter(|line| *line != "U")
            .collect::<Vec<_>>()
    );
    let lax = DiffOptions { ignored: vec![Field::Mtime], ..options() };
    assert_eq!(letters(lax), ["Mb/c/file", "+b/new"]);
    let some = DiffOptions { include: patterns("c/"), ..options() };
    assert_eq!(letters(some), ["Mb/c/file"]);
    let others = DiffOptions { exclude: patterns("/b/c"), ..options() };
    assert_eq!(letters(others), ["Ua/file", "+b/new"]);
}
