//! Any life: verbs in any order over sources that change at random, stopped at any
//! call, beside readers that hold leases, against the plain model in
//! [`super::world`]. After every step every byte that anybody was promised is read.
//!
//! This is plain proptest. A state machine of `proptest-state-machine` has a
//! reference that goes on by itself, without seeing what came of a step. Whether a
//! step that was cut off took place is exactly what the model must ask: both answers
//! are right, and the next steps depend on which it was.
//!
//! `ICECORE_MODEL_CASES` lives are made up for each kind of store, and
//! `ICECORE_TEST_SEED` is the seed to begin with; it is printed.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use crate::base::id::SnapshotId;
use crate::dag::{Content, Kind, Node, TreeRef};
use crate::ingest::testing::{Edit, SETTLE, any_edit, apply, tree_facts};
use crate::life::act::{Act, chosen, perform};
use crate::life::home::Home;
use crate::life::world::{Image, World};
use crate::repository::{Layout, LeaseGuard};
use crate::store::Family;
use crate::store::fault::{Fault, FaultPlan, Target};
use crate::view::{View, ViewOptions};

/// Lives that are made up by default.
const CASES_IN_MEMORY: u32 = 60;
const CASES_ON_DISK: u32 = 12;
/// Bytes of a piece in which a view is read: no divisor of anything.
const PIECE: usize = 10_007;

/// A step of a life.
#[derive(Clone, Debug)]
enum Step {
    /// Changes the source, and perhaps waits until `create` may trust its times.
    Edit(Vec<Edit>, bool),
    Act(Act, Option<Stop>),
    /// A reader begins to use a snapshot, as a mount does.
    Lease(usize),
    /// A reader ends.
    Release(usize),
}

/// Where the process is stopped, and how.
#[derive(Clone, Copy, Debug)]
struct Stop {
    target: Target,
    fault: Fault,
    at: u64,
    /// Which of the writes that were not synced a loss of power leaves, as bits; no
    /// loss of power for none. It ends the readers too.
    power: Option<u8>,
}

fn any_stop() -> impl Strategy<Value = Stop> {
    let fault =
        prop_oneof![Just(Fault::Crash), Just(Fault::FailOnce), Just(Fault::FailAfterEffect)];
    // Most verbs make few writes and many reads.
    let place = prop_oneof![
        3 => (Just(Target::Writes), 0_u64..20),
        1 => (Just(Target::Reads), 0_u64..200),
    ];
    (place, fault, proptest::option::of(any::<u8>()))
        .prop_map(|((target, at), fault, power)| Stop { target, fault, at, power })
}

fn any_step() -> impl Strategy<Value = Step> {
    let number = any::<usize>;
    let act = prop_oneof![
        6 => Just(Act::Create(0)),
        3 => number().prop_map(Act::Delete),
        2 => Just(Act::Undelete),
        2 => (number(), any::<bool>()).prop_map(|(number, pins)| Act::Tag(number, pins)),
        2 => (0_u64..4).prop_map(Act::Prune),
        4 => prop_oneof![Just(0_u8), Just(5), Just(50)].prop_map(Act::Collect),
        1 => Just(Act::Repair),
    ];
    let edits = proptest::collection::vec(any_edit(), 1..6);
    prop_oneof![
        3 => (edits, proptest::bool::weighted(0.3))
            .prop_map(|(edits, waits)| Step::Edit(edits, waits)),
        8 => (act, proptest::option::weighted(0.4, any_stop()))
            .prop_map(|(act, stop)| Step::Act(act, stop)),
        2 => number().prop_map(Step::Lease),
        1 => number().prop_map(Step::Release),
    ]
}

/// A reader and what it was promised.
struct Holder {
    view: View,
    _guard: LeaseGuard,
    root: TreeRef,
    image: Arc<Image>,
}

/// A life under way.
struct Life {
    home: Home,
    source: tempfile::TempDir,
    world: World,
    holders: Vec<Holder>,
    hour: i64,
}

impl Life {
    fn new(home: Home) -> Self {
        let source = tempfile::tempdir().unwrap();
        Self { home, source, world: World::default(), holders: Vec::new(), hour: 0 }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Edit(edits, waits) => {
                for edit in edits {
                    // Some make no sense, such as a directory moved into itself.
                    let _ = apply(self.source.path(), edit);
                }
                if *waits {
                    sleep(SETTLE);
                }
                return Ok(());
            }
            Step::Act(act, stop) => self.act(*act, *stop)?,
            Step::Lease(number) => self.lease(*number)?,
            Step::Release(number) => {
                if let Some(place) = number.checked_rem(self.holders.len()) {
                    self.holders.remove(place);
                }
            }
        }
        self.look()
    }

    fn act(&mut self, act: Act, stop: Option<Stop>) -> Result<(), String> {
        let act = match act {
            Act::Create(_) => {
                self.hour += 1;
                Act::Create(self.hour)
            }
            other => other,
        };
        let plan = match stop {
            Some(Stop { target, fault, at, .. }) => FaultPlan::new(target, fault, at),
            None => FaultPlan::count(Target::Writes),
        };
        let source = self.source.path();
        let opened = self.home.dying_writer(&plan).map_err(|error| error.to_string());
        let outcome = opened.and_then(|writer| perform(&writer, act, source));
        if outcome.is_err() && stop.is_none_or(|stop| plan.calls() <= stop.at) {
            return Err(format!("it fails by itself: {outcome:?}"));
        }
        if let Some(set) = stop.and_then(|stop| stop.power)
            && self.home.loses_power()
        {
            self.holders.clear();
            let is_left = |number| number < 8 && (set >> number) & 1 == 1;
            self.home = self.home.after_power_loss(is_left);
        }
        self.world.adopt(act, &outcome, source, &self.home.writer())
    }

    fn lease(&mut self, number: usize) -> Result<(), String> {
        let ids = self.world.oldest_first();
        let Some(id) = chosen(&ids, number).first() else { return Ok(()) };
        let view = self.view()?;
        let guard = view.reader().lease(*id).map_err(|error| format!("lease: {error}"))?;
        let root = root_in(&view, id)?;
        let image = self.world.listed[id].image.clone();
        self.holders.push(Holder { view, _guard: guard, root, image });
        Ok(())
    }

    fn view(&self) -> Result<View, String> {
        let options = ViewOptions { cache_bytes: 1 << 20, ..ViewOptions::default() };
        View::new(self.home.reader(), options).map_err(|error| format!("view: {error}"))
    }

    /// Fails unless everything is there that anybody was promised.
    fn look(&self) -> Result<(), String> {
        self.world.verify(&self.home.writer())?;
        let fresh = self.view()?;
        let list = fresh.snapshots().map_err(|error| error.to_string())?;
        let shown: Vec<_> = list.oldest_first().map(|snapshot| snapshot.id).collect();
        if shown != self.world.oldest_first() {
            return Err(format!("a mount shows {shown:?}"));
        }
        for (id, kept) in &self.world.listed {
            compare(&fresh, &root_in(&fresh, id)?, &kept.image)
                .map_err(|error| format!("{} in a mount: {error}", id.short()))?;
        }
        for holder in &self.holders {
            // As it was when the reader last looked, with its caches and without, and
            // as one sees it who looks now.
            compare(&holder.view, &holder.root, &holder.image)
                .and_then(|()| compare(&fresh, &holder.root, &holder.image))
                .map_err(|error| format!("leased: {error}"))?;
            if tree_facts(holder.view.reader(), &holder.root) != *holder.image {
                return Err("what is leased differs".to_owned());
            }
        }
        Ok(())
    }

    /// Ends a life: what can be had back comes back, and when all is deleted nothing
    /// is left.
    fn end(mut self) -> Result<(), String> {
        for act in [Act::Undelete, Act::Create(0)] {
            self.act(act, None)?;
            self.look()?;
        }
        self.holders.clear();
        for act in [Act::Collect(0), Act::Prune(0)] {
            self.act(act, None)?;
        }
        while let Some(id) = self.world.oldest_first().first() {
            // Pinned.
            self.home.writer().delete_snapshots(&[*id]).map_err(|error| error.to_string())?;
            self.world.forget(id);
        }
        perform(&self.home.writer(), Act::Collect(0), self.source.path())?;
        let writer = self.home.writer();
        for family in [Family::Data, Family::Trees, Family::Index] {
            if writer.store().last_key(family).map_err(|error| error.to_string())?.is_some() {
                return Err(format!("garbage is left in {}", family.name()));
            }
        }
        Ok(())
    }
}

fn root_in(view: &View, id: &SnapshotId) -> Result<TreeRef, String> {
    let list = view.snapshots().map_err(|error| error.to_string())?;
    match list.get(id).map(|snapshot| &snapshot.root.kind) {
        Some(Kind::Directory(tree)) => Ok(*tree),
        other => Err(format!("{} is {other:?} in a mount", id.short())),
    }
}

/// Fails unless a view shows under a directory what an image says.
fn compare(view: &View, root: &TreeRef, image: &Image) -> Result<(), String> {
    let mut shown = 0;
    let mut work = vec![(std::path::PathBuf::new(), *root)];
    while let Some((path, tree)) = work.pop() {
        let directory = view.directory(&tree).map_err(|error| error.to_string())?;
        for ordinal in 0..directory.len() {
            let entry = view.entry(&directory, ordinal).map_err(|error| error.to_string())?;
            let entry = entry.as_ref().and_then(|handle| handle.get()).ok_or("an entry is gone")?;
            let path = path.join(entry.name.as_os_str());
            let fact = image.get(&path).ok_or_else(|| format!("{path:?} was never there"))?;
            let Node { kind, mode, mtime, .. } = &entry.node;
            let (kind, content) = match kind {
                Kind::Directory(tree) => {
                    work.push((path.clone(), *tree));
                    ("directory", Vec::new())
                }
                Kind::Symlink(target) => ("symlink", target.to_vec()),
                Kind::File(content) => ("file", read(view, content)?),
                other => return Err(format!("{path:?} is {other:?}")),
            };
            let time = (mtime.seconds(), i64::from(mtime.nanoseconds()));
            let found = (kind, u32::from(*mode), time, &content);
            if found != (fact.kind.as_str(), fact.mode, fact.mtime, &fact.content) {
                return Err(format!("{path:?} differs"));
            }
            shown += 1;
        }
    }
    if shown == image.len() { Ok(()) } else { Err(format!("{shown} of {}", image.len())) }
}

fn read(view: &View, content: &Content) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < content.size {
        let piece = view.read(content, bytes.len() as u64, PIECE);
        bytes.extend_from_slice(piece.map_err(|error| error.to_string())?.as_slice());
    }
    Ok(bytes)
}

fn live(home: Home, steps: &[Step]) -> Result<(), String> {
    let mut life = Life::new(home);
    for (number, step) in steps.iter().enumerate() {
        life.step(step).map_err(|error| format!("step {number}, {step:?}: {error}"))?;
    }
    life.end().map_err(|error| format!("at the end: {error}"))
}

/// Lives `cases` made up lives, and returns what was noticed first, in the shortest
/// life that shows it.
fn lives(home: fn() -> Home, cases: u32) -> Result<(), String> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let seed = number("ICECORE_TEST_SEED").unwrap_or(now);
    let cases = number("ICECORE_MODEL_CASES").and_then(|n| n.try_into().ok()).unwrap_or(cases);
    println!("ICECORE_TEST_SEED={seed} ICECORE_MODEL_CASES={cases}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    // A life takes a moment: a failure is cut down for a minute at most.
    let config =
        Config { cases, failure_persistence: None, max_shrink_time: 60_000, ..Config::default() };
    let steps = proptest::collection::vec(any_step(), 1..25);
    let outcome = TestRunner::new_with_rng(config, rng)
        .run(&steps, |steps| live(home(), &steps).map_err(TestCaseError::fail));
    outcome.map_err(|error| match error {
        TestError::Fail(reason, steps) => format!("{reason}\n{steps:#?}"),
        TestError::Abort(reason) => reason.to_string(),
    })
}

#[test]
fn whatever_is_done_and_wherever_it_stops_every_promised_byte_is_there_in_memory() {
    assert_eq!(lives(Home::in_memory, CASES_IN_MEMORY), Ok(()));
}

#[test]
fn whatever_is_done_and_wherever_it_stops_every_promised_byte_is_there_on_disk() {
    assert_eq!(lives(Home::on_disk, CASES_ON_DISK), Ok(()));
}

#[test]
fn canary_a_disk_that_says_synced_and_is_not() {
    let steps = [Step::Act(Act::Create(0), None), Step::Act(Act::Delete(0), Some(POWER_LOSS))];
    assert_eq!(live(Home::in_memory(), &steps), Ok(()));
    let noticed = live(Home::lying_about(|_| true), &steps);
    assert!(noticed.is_err_and(|error| error.contains("and left")));
}

/// Power goes after the verb has ended.
const POWER_LOSS: Stop =
    Stop { target: Target::Writes, fault: Fault::Crash, at: u64::MAX, power: Some(0) };

#[test]
fn canary_a_reader_without_a_lease() {
    let lease = |is_held: bool| {
        let mut life = Life::new(Home::in_memory());
        let edit = Edit::Write { place: 0, name: 4, size: 3001, byte: 7 };
        life.step(&Step::Edit(vec![edit], false))?;
        life.step(&Step::Act(Act::Create(0), None))?;
        life.step(&Step::Lease(0))?;
        if !is_held {
            // What the reader holds is no longer known to anybody.
            let leases = Layout::new(life.home.root()).leases();
            std::fs::remove_dir_all(&leases).map_err(|error| error.to_string())?;
        }
        life.step(&Step::Act(Act::Delete(0), None))?;
        life.step(&Step::Act(Act::Collect(0), None))
    };
    assert_eq!(lease(true), Ok(()));
    assert!(lease(false).is_err_and(|error| error.contains("leased")));
}
