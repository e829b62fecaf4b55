//! A life in which content is lost, and a repair that is stopped at each of its calls
//! of the store. Whatever stops it: what is not lost can be read before and after, the
//! repair that is run again ends as one that nobody stopped, the next `create` heals
//! what its source still holds, and in the end a check of everything is clean.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use crate::base::id::{ChunkId, SnapshotId};
use crate::base::progress::Silent;
use crate::check::{CheckOptions, ReadScope, Subject, check};
use crate::dag::{Body, Content, Kind, Segment};
use crate::ingest::testing::{SETTLE, entries, source_facts, tree_facts};
use crate::life::act::{Act, perform};
use crate::life::home::Home;
use crate::life::script::{noise, nothing_else, stride};
use crate::life::world::Image;
use crate::repository::{ObjectKind, Repository, Writer, sequence_key};
use crate::store::fault::{Fault, FaultPlan, Target};
use crate::store::{Batch, Durability, Family};

/// A file whose chunk is lost, and that the source still holds.
const HELD: &str = "stays/held";
/// A file whose chunk is lost, and that only the first snapshot held.
const GONE: &str = "gone";
/// Of how many writes that were not synced each set is tried.
const SUBSETS_MAX: usize = 5;

type Outcome = Result<(), String>;

/// A repository that lost content.
struct Scene {
    home: Home,
    source: tempfile::TempDir,
    /// The two snapshots, with what they held and which of it is lost.
    snapshots: Vec<(SnapshotId, Image, Vec<PathBuf>)>,
}

impl Scene {
    fn new(home: Home) -> Self {
        let source = tempfile::tempdir().unwrap();
        let put = |name: &str, content: Vec<u8>| {
            let path = source.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        put(HELD, noise(1, 3000));
        put("stays/large", noise(2, 120_000));
        put("stays/inline", noise(3, 100));
        put(GONE, noise(4, 2500));
        let mut snapshots = Vec::new();
        for (hour, lost) in [(1, &[HELD, GONE][..]), (2, &[HELD])] {
            sleep_until_trusted();
            let writer = home.writer();
            perform(&writer, Act::Create(hour), source.path()).unwrap();
            let (id, _) = writer.snapshots().unwrap().pop().unwrap();
            let image = source_facts(source.path(), &|_, _| false);
            snapshots.push((id, image, lost.iter().map(PathBuf::from).collect()));
            if hour == 1 {
                fs::remove_file(source.path().join(GONE)).unwrap();
                put("comes", noise(5, 2000));
            }
        }
        lose(&home.writer(), &lost_chunks());
        Self { home, source, snapshots }
    }

    /// Fails unless what is not lost can be read in the damaged snapshots.
    fn rest_is_whole(&self, repository: &Repository) -> Outcome {
        for (id, image, lost) in &self.snapshots {
            let found = readable(repository, id);
            let expected = without(image, lost);
            let is_whole = expected
                .iter()
                .all(|(path, fact)| fact.kind != "file" || found.get(path) == Some(&fact.content));
            if !is_whole {
                return Err(format!("{} lost more than it must", id.short()));
            }
        }
        Ok(())
    }

    /// Fails unless a repository is what a repair must leave: each snapshot just behind
    /// its copy, which holds the rest, and nothing damaged but what is lost.
    fn is_repaired(&self, repository: &Repository) -> Outcome {
        let listed = listed(repository)?;
        let [(copy_1, _), (first, _), (copy_2, _), (second, _)] = listed.as_slice() else {
            return Err(format!("{} snapshots are there", listed.len()));
        };
        if [*first, *second] != [self.snapshots[0].0, self.snapshots[1].0] {
            return Err("the order is another one".to_owned());
        }
        for (copy, (_, image, lost)) in [copy_1, copy_2].into_iter().zip(&self.snapshots) {
            if facts(repository, copy) != without(image, lost) {
                return Err("a copy holds something else".to_owned());
            }
        }
        self.rest_is_whole(repository)?;
        expect_lost(repository, &lost_chunks())
    }

    /// Goes on behind a repair that was stopped or not.
    fn go_on(&self, home: &Home) -> Outcome {
        let (writer, source) = (home.writer(), self.source.path());
        self.rest_is_whole(&writer)?;
        perform(&writer, Act::Repair, source)?;
        self.is_repaired(&writer)?;
        let before: Vec<_> = listed(&writer)?.into_iter().map(|(id, _)| id).collect();
        perform(&writer, Act::Create(3), source)?;
        expect_lost(&writer, &[chunk(4, 2500)])?;
        // The first one, which nothing heals.
        perform(&writer, Act::Delete(1), source)?;
        perform(&writer, Act::Collect(0), source)?;
        expect_lost(&writer, &[])?;
        let copies = [(before[0], 0, true), (before[2], 1, true), (before[3], 1, false)];
        for (id, place, is_copy) in copies {
            let (_, image, lost) = &self.snapshots[place];
            let expected = if is_copy { without(image, lost) } else { image.clone() };
            if facts(&writer, &id) != expected {
                return Err(format!("in the end {} holds something else", id.short()));
            }
        }
        nothing_else(&writer)
    }

    /// Stops a repair at each call, and returns how often.
    fn strike(&self, target: Target, fault: Fault, loses_power: bool, stride: usize) -> usize {
        for stops in 0.. {
            let at = (stops * stride) as u64;
            let trial = self.home.fork();
            let plan = FaultPlan::new(target, fault, at);
            let writer = trial.dying_writer(&plan).map_err(|error| error.to_string());
            let outcome = writer.and_then(|w| perform(&w, Act::Repair, self.source.path()));
            let is_struck = plan.calls() > at;
            assert!(is_struck || outcome.is_ok(), "it fails by itself: {outcome:?}");
            let sets = if loses_power { 1 << trial.unsynced_writes().min(SUBSETS_MAX) } else { 1 };
            for set in 0..sets {
                let left = match loses_power {
                    true => &trial.after_power_loss(|number| (set >> number) & 1 == 1),
                    false => &trial,
                };
                let went_on = self.go_on(left);
                assert_eq!(went_on, Ok(()), "{target:?} {at}, {fault:?}, set {set}");
            }
            if !is_struck {
                return stops;
            }
        }
        0
    }
}

fn sleep_until_trusted() {
    std::thread::sleep(SETTLE);
}

fn chunk(seed: i64, count: u64) -> ChunkId {
    ChunkId::of(&noise(seed, count))
}

/// Those of [`HELD`] and [`GONE`].
fn lost_chunks() -> [ChunkId; 2] {
    [chunk(1, 3000), chunk(4, 2500)]
}

fn lose(writer: &Writer, chunks: &[ChunkId]) {
    let mut batch = Batch::new();
    for id in chunks {
        let locator = writer.locate(ObjectKind::Chunk, id.as_bytes()).unwrap().unwrap();
        batch.delete(Family::Data, sequence_key(locator.sequence));
    }
    writer.store().write(&batch, Durability::Synced).unwrap();
}

fn without(image: &Image, lost: &[PathBuf]) -> Image {
    let mut image = image.clone();
    image.retain(|path, _| !lost.contains(path));
    image
}

fn listed(repository: &Repository) -> Result<Vec<(SnapshotId, crate::dag::Manifest)>, String> {
    repository.snapshots().map_err(|error| error.to_string())
}

fn facts(repository: &Repository, id: &SnapshotId) -> Image {
    let manifest = repository.manifest(id).unwrap().unwrap();
    tree_facts(repository, manifest.tree().unwrap())
}

/// The files that can be read whole.
fn readable(repository: &Repository, id: &SnapshotId) -> BTreeMap<PathBuf, Vec<u8>> {
    let manifest = repository.manifest(id).unwrap().unwrap();
    let mut found = BTreeMap::new();
    let mut work = vec![(PathBuf::new(), *manifest.tree().unwrap())];
    while let Some((directory, tree)) = work.pop() {
        for (name, node) in entries(repository, &tree) {
            let path = directory.join(name);
            match &node.kind {
                Kind::Directory(tree) => work.push((path, *tree)),
                Kind::File(content) => {
                    found.extend(content_of(repository, content).map(|bytes| (path, bytes)));
                }
                _ => {}
            }
        }
    }
    found
}

fn content_of(repository: &Repository, content: &Content) -> Option<Vec<u8>> {
    match &content.body {
        Body::Inline(bytes) => Some(bytes.to_vec()),
        Body::Segments(segments) => {
            let mut bytes = Vec::new();
            for segment in segments {
                let Segment::Chunk { id, bytes: count, hint } = segment else { return None };
                bytes.extend_from_slice(&repository.chunk(id, *count, *hint).ok()?);
            }
            Some(bytes)
        }
        Body::List(_) => None,
    }
}

/// Fails unless a check of everything names these chunks and nothing else.
fn expect_lost(repository: &Repository, chunks: &[ChunkId]) -> Outcome {
    let catalog = repository.catalog().map_err(|error| error.to_string())?;
    let options = CheckOptions { scope: ReadScope::All, max_duration: None };
    let report = check(repository, catalog, options, &Silent).map_err(|error| error.to_string())?;
    let found: BTreeSet<_> = report.damages.iter().map(|damage| damage.subject.clone()).collect();
    let chunk = |id: &ChunkId| Subject::Object(ObjectKind::Chunk, *id.as_bytes());
    let expected = chunks.iter().map(chunk).collect();
    if found == expected { Ok(()) } else { Err(format!("check finds {found:?}")) }
}

#[test]
fn a_repair_of_lost_content_may_be_cut_off_at_every_call_of_the_store() {
    let scene = Scene::new(Home::in_memory());
    let stops = [
        scene.strike(Target::Writes, Fault::Crash, false, 1),
        scene.strike(Target::Writes, Fault::FailOnce, false, 1),
        scene.strike(Target::Writes, Fault::FailAfterEffect, false, 1),
        scene.strike(Target::Writes, Fault::Crash, true, 1),
        scene.strike(Target::Reads, Fault::Crash, false, stride(5)),
        scene.strike(Target::Reads, Fault::FailOnce, false, stride(5)),
    ];
    println!("stopped {stops:?} times");
    assert!(stops.iter().all(|count| *count >= 5), "{stops:?}");
}

#[test]
fn a_repair_of_lost_content_may_be_cut_off_at_every_call_of_rocksdb() {
    let scene = Scene::new(Home::on_disk());
    let stops = [
        scene.strike(Target::Writes, Fault::Crash, false, 1),
        scene.strike(Target::Reads, Fault::Crash, false, stride(11)),
    ];
    println!("stopped {stops:?} times");
    assert!(stops.iter().all(|count| *count >= 5), "{stops:?}");
}

#[test]
fn canary_a_repair_that_is_not_run_again() {
    let scene = Scene::new(Home::in_memory());
    assert!(scene.is_repaired(&scene.home.writer()).is_err());
    // What is lost by more than was said is noticed.
    lose(&scene.home.writer(), &[chunk(5, 2000)]);
    assert!(scene.go_on(&scene.home).is_err());
}
