//! One life in which every verb has something to do, stopped at each call of the
//! store in turn: by the death of the process, a failure of the disk, or a loss of
//! power that takes any of what was not synced. Each time all that was committed
//! must be there whole, and life must go on: the verb is done again, something new
//! is saved, and all garbage goes.

use std::fs;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;

use crate::base::progress::Silent;
use crate::gc::{GcOptions, collect};
use crate::ingest::testing::SETTLE;
use crate::life::act::{Act, damage, perform};
use crate::life::home::Home;
use crate::life::world::World;
use crate::repository::Writer;
use crate::store::fault::{Fault, FaultPlan, Target};
use crate::store::{Batch, Change, Durability, Family};

/// Hours from here on are those of what comes after the script.
const AFTERWARDS: i64 = 1000;

/// Enough snapshots for small files to be worth joining, which `create` does behind
/// number [`JOINING`]; then each verb. `Repair` comes after a damage of the index.
const LIFE: [Act; 20] = [
    Act::Create(1),
    Act::Create(2),
    Act::Delete(0),
    Act::Undelete,
    Act::Tag(0, true),
    Act::Create(3),
    Act::Create(4),
    Act::Create(5),
    Act::Create(6),
    Act::Create(7),
    Act::Create(8),
    Act::Create(9),
    Act::Prune(4),
    Act::Tag(1, false),
    Act::Collect(0),
    Act::Create(10),
    Act::Repair,
    Act::Delete(2),
    Act::Collect(5),
    Act::Create(11),
];

/// The hour of the snapshot behind which small files are joined.
const JOINING: i64 = 8;

/// Steps that only do again what an earlier one did: stopped by no rig.
const REPETITIONS: std::ops::Range<usize> = 6..10;

/// Of how many writes that were not synced each set is tried.
const SUBSETS_MAX: usize = 6;

/// How the machine goes on behind a stop.
#[derive(Clone, Copy, PartialEq)]
enum Aftermath {
    /// What the process wrote is there.
    ProcessDied,
    /// Of the writes that were not synced some are there: each set of them in turn,
    /// all and none among them.
    PowerLost,
}

/// A directory that changes from hour to hour.
struct Source {
    directory: tempfile::TempDir,
}

impl Source {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Changes a file, adds one and removes one; a large one stays, and a directory
    /// with all in it.
    fn change(&self, hour: i64) {
        let put = |name: &str, content: Vec<u8>| {
            let path: PathBuf = self.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        if hour == 1 {
            put("stays/large", noise(1, 120_000));
            put("stays/small", noise(2, 100));
            put("stays/medium", noise(3, 3000));
        }
        put("changes/content", noise(hour, 2000));
        put("changes/inline", noise(hour, 200));
        put(&format!("comes/{hour}"), noise(100 + hour, 1500));
        let _gone = fs::remove_file(self.path().join(format!("comes/{}", hour - 3)));
        // Else all would be read again.
        sleep(SETTLE);
    }
}

/// Bytes that do not compress.
pub(super) fn noise(seed: i64, count: u64) -> Vec<u8> {
    let mut state = seed as u64 + 1;
    let mut next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (state >> 56) as u8
    };
    (0..count).map(&mut next).collect()
}

/// Of how many calls one is struck: of each if `ICECORE_STRIKE_ALL` is set.
pub(super) fn stride(default: usize) -> usize {
    if std::env::var_os("ICECORE_STRIKE_ALL").is_some() { 1 } else { default }
}

/// How a life is stopped.
#[derive(Clone, Copy)]
struct Rig {
    target: Target,
    fault: Fault,
    aftermath: Aftermath,
    /// Every call is struck, or every second one, and so on.
    stride: usize,
    perform: fn(&Home, &Arc<FaultPlan>, Act, &Path) -> Result<(), String>,
}

const RIG: Rig = Rig {
    target: Target::Writes,
    fault: Fault::Crash,
    aftermath: Aftermath::ProcessDied,
    stride: 1,
    perform: as_it_is,
};

fn as_it_is(home: &Home, plan: &Arc<FaultPlan>, act: Act, source: &Path) -> Result<(), String> {
    let writer = home.dying_writer(plan).map_err(|error| error.to_string())?;
    perform(&writer, act, source)
}

impl Rig {
    /// Lives, stopping each step at each of its calls, and returns how often.
    fn run(self, home: Home) -> Result<usize, String> {
        let source = Source::new();
        let mut world = World::default();
        let mut stops = 0;
        for (step, act) in LIFE.into_iter().enumerate() {
            if let Act::Create(hour) = act {
                source.change(hour);
            }
            if matches!(act, Act::Repair) {
                damage(&home.writer());
            }
            let is_struck = !REPETITIONS.contains(&step);
            let before = stops;
            let first = before % self.stride;
            for at in (first..).step_by(self.stride).take_while(|_| is_struck) {
                let struck = self
                    .strike(&home, &world, act, at as u64, source.path())
                    .map_err(|error| format!("step {step}, {act:?}, stopped at {at}: {error}"))?;
                if !struck {
                    break;
                }
                stops += 1;
            }
            if is_struck && self.stride == 1 && stops == before {
                return Err(format!("step {step}, {act:?}, has nothing to do"));
            }
            let writer = home.writer();
            perform(&writer, act, source.path())?;
            world.adopt(act, &Ok(()), source.path(), &writer)?;
            world.verify(&writer)?;
            let files = writer.store().extents(Family::Data).map_err(|error| error.to_string())?;
            if matches!(act, Act::Create(JOINING)) && files.len() > 1 {
                return Err(format!("nothing was joined: {files:?}"));
            }
        }
        Ok(stops)
    }

    /// Does a step on a copy, stopped at a call, and looks what is there in each
    /// case. Returns whether there was such a call.
    fn strike(
        self,
        home: &Home,
        world: &World,
        act: Act,
        at: u64,
        source: &Path,
    ) -> Result<bool, String> {
        let trial = home.fork();
        let plan = FaultPlan::new(self.target, self.fault, at);
        let outcome = (self.perform)(&trial, &plan, act, source);
        let struck = plan.calls() > at;
        if !struck && outcome.is_err() {
            return Err(format!("it fails by itself: {outcome:?}"));
        }
        let cases: Vec<Home> = match self.aftermath {
            Aftermath::ProcessDied => vec![trial],
            Aftermath::PowerLost => (0..1_usize << trial.unsynced_writes().min(SUBSETS_MAX))
                .map(|set| trial.after_power_loss(|number| (set >> number) & 1 == 1))
                .collect(),
        };
        for (case, left) in cases.iter().enumerate() {
            go_on(left, world.clone(), act, &outcome, source)
                .map_err(|error| format!("case {case}: {error}"))?;
        }
        Ok(struck)
    }
}

/// What the next process finds, and does.
fn go_on(
    home: &Home,
    mut world: World,
    act: Act,
    outcome: &Result<(), String>,
    source: &Path,
) -> Result<(), String> {
    let writer = home.writer();
    world.adopt(act, outcome, source, &writer)?;
    // Until a repair has come to its end, the index may lack something.
    if !matches!(act, Act::Repair) || outcome.is_ok() {
        world.verify(&writer)?;
    }
    let again = match act {
        Act::Create(hour) => Act::Create(hour + AFTERWARDS),
        other => other,
    };
    for act in [again, Act::Create(2 * AFTERWARDS), Act::Collect(0)] {
        perform(&writer, act, source).map_err(|error| format!("afterwards: {error}"))?;
        world.adopt(act, &Ok(()), source, &writer)?;
    }
    world.verify(&writer).map_err(|error| format!("afterwards: {error}"))?;
    nothing_else(&writer)
}

/// Fails unless what is stored is what snapshots reach, and the index knows it.
pub(super) fn nothing_else(writer: &Writer) -> Result<(), String> {
    let count = |family| {
        let mut count = 0;
        let visit = &mut |_: &[u8], _: &[u8]| {
            count += 1;
            ControlFlow::Continue(())
        };
        writer.store().scan(family, &[], visit).map(|()| count).map_err(|error| error.to_string())
    };
    let options = GcOptions { dry_run: true, ..GcOptions::default() };
    let report = collect(writer, options, &Silent).map_err(|error| error.to_string())?;
    let reached = report.live_chunks + report.live_trees;
    let stored = count(Family::Data)? + count(Family::Trees)?;
    let known = count(Family::Index)?;
    if (stored, known) != (reached, reached) {
        return Err(format!("{stored} stored and {known} known objects, {reached} are reached"));
    }
    Ok(())
}

/// Fails unless a rig strikes often enough to prove anything.
fn lives(rig: Rig, home: Home, stops_min: usize) {
    let stops = rig.run(home).unwrap();
    println!("stopped {stops} times");
    assert!(stops >= stops_min, "stopped {stops} times only");
}

/// What a rig notices, or nothing.
fn notices(rig: Rig, home: Home) -> String {
    let outcome = catch_unwind(AssertUnwindSafe(|| rig.run(home)));
    let noticed =
        outcome.map_or_else(|_| "a panic".to_owned(), |ran| ran.err().unwrap_or_default());
    println!("noticed: {noticed}");
    noticed
}

#[test]
fn a_life_may_be_cut_off_at_every_change_of_the_store() {
    lives(RIG, Home::in_memory(), 100);
}

#[test]
fn a_life_may_be_cut_off_at_every_change_of_rocksdb() {
    lives(Rig { stride: stride(3), ..RIG }, Home::on_disk(), 30);
}

#[test]
fn a_life_may_meet_a_failure_at_every_change_of_the_store() {
    lives(Rig { fault: Fault::FailOnce, ..RIG }, Home::in_memory(), 100);
    lives(Rig { fault: Fault::FailAfterEffect, ..RIG }, Home::in_memory(), 100);
}

#[test]
fn a_life_may_be_cut_off_at_any_read_of_the_store() {
    let rig = Rig { target: Target::Reads, stride: stride(7), ..RIG };
    lives(rig, Home::in_memory(), 50);
}

#[test]
fn power_may_be_lost_at_every_change_of_the_store_and_take_all_that_was_not_synced() {
    lives(Rig { aftermath: Aftermath::PowerLost, ..RIG }, Home::in_memory(), 100);
}

#[test]
fn canary_a_disk_that_says_synced_and_is_not() {
    let rig = Rig { aftermath: Aftermath::PowerLost, ..RIG };
    assert!(!notices(rig, Home::lying_about(|_| true)).is_empty());
}

#[test]
fn canary_records_of_what_is_in_doubt_that_are_only_buffered() {
    fn is_record(change: &Change) -> bool {
        matches!(change, Change::Put(Family::Meta, key, _) if key.starts_with(b"pending/"))
    }
    let rig = Rig { aftermath: Aftermath::PowerLost, ..RIG };
    let home = Home::lying_about(|batch| batch.changes().iter().any(is_record));
    assert!(!notices(rig, home).is_empty());
}

#[test]
fn canary_a_snapshot_record_that_is_written_before_its_data() {
    for home in [Home::in_memory(), Home::on_disk()] {
        let noticed = notices(Rig { perform: record_first, ..RIG }, home);
        assert!(noticed.contains("check finds"), "{noticed}");
    }
}

/// Writes the record of a snapshot, and only then what it names.
fn record_first(home: &Home, plan: &Arc<FaultPlan>, act: Act, source: &Path) -> Result<(), String> {
    if matches!(act, Act::Create(_)) {
        let fork = home.fork();
        let rehearsal = fork.writer();
        let known = rehearsal.snapshots().map_err(|error| error.to_string())?;
        perform(&rehearsal, act, source)?;
        let all = rehearsal.snapshots().map_err(|error| error.to_string())?;
        let is_new = |id: &_| known.iter().all(|(other, _)| other != id);
        let mut batch = Batch::new();
        for (id, _) in all.iter().filter(|(id, _)| is_new(id)) {
            let record = rehearsal.store().get(Family::Snapshots, id.as_bytes()).unwrap();
            batch.put(Family::Snapshots, *id.as_bytes(), record.unwrap());
        }
        home.writer().store().write(&batch, Durability::Synced).unwrap();
    }
    as_it_is(home, plan, act, source)
}
