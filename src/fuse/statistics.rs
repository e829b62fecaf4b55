//! What a mount has done so far: requests with their latencies, bytes, failures,
//! and the damaged files that were met last.
//!
//! Counting costs two looks at the clock and two relaxed additions for each
//! request. Numbers read while requests are served may be off by those.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::base::id::SnapshotId;
use crate::base::time::Timestamp;

/// How many damaged files are remembered.
const DAMAGE_MAX: usize = 100;
/// Buckets of a histogram: four for each doubling of the nanoseconds, up to
/// nine minutes.
const BUCKETS: usize = 156;

/// What the kernel asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Lookup,
    Forget,
    GetAttributes,
    ReadLink,
    Read,
    ReadDirectory,
    ReadDirectoryPlus,
    FileSystem,
    GetXattr,
    ListXattr,
    Seek,
}

impl Operation {
    pub(crate) const ALL: [Self; 11] = [
        Self::Lookup,
        Self::GetAttributes,
        Self::Read,
        Self::ReadDirectoryPlus,
        Self::ReadDirectory,
        Self::ReadLink,
        Self::GetXattr,
        Self::ListXattr,
        Self::Seek,
        Self::FileSystem,
        Self::Forget,
    ];

    /// As the protocol names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Forget => "forget",
            Self::GetAttributes => "getattr",
            Self::ReadLink => "readlink",
            Self::Read => "read",
            Self::ReadDirectory => "readdir",
            Self::ReadDirectoryPlus => "readdirplus",
            Self::FileSystem => "statfs",
            Self::GetXattr => "getxattr",
            Self::ListXattr => "listxattr",
            Self::Seek => "lseek",
        }
    }
}

/// How requests that failed did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// What was asked for is damaged.
    Damage,
    /// The snapshot has gone.
    Stale,
    /// Anything else.
    Other,
}

/// A damaged file, or part of one.
#[derive(Clone, Debug)]
pub(crate) struct Damage {
    /// Below the mountpoint, printable.
    pub(crate) path: String,
    pub(crate) snapshot: Option<SnapshotId>,
    /// The kind and the id of the object, where one is to blame.
    pub(crate) object: Option<(&'static str, String)>,
    pub(crate) message: String,
    /// When it was met last, and how often it was.
    pub(crate) time: Timestamp,
    pub(crate) count: u64,
}

/// All that is counted.
#[derive(Debug)]
pub(crate) struct Statistics {
    pub(crate) started: Timestamp,
    start: Instant,
    requests: [Latencies; Operation::ALL.len()],
    pub(crate) bytes_read: AtomicU64,
    failures: [AtomicU64; 3],
    serial: AtomicU64,
    /// The newest one last.
    damage: Mutex<VecDeque<Damage>>,
}

/// How many requests of a kind took how long.
#[derive(Debug)]
struct Latencies {
    nanoseconds: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

/// A summary of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LatencyFacts {
    pub(crate) count: u64,
    pub(crate) mean: Duration,
    /// Half of them took no longer, and 99 of a hundred: to an eighth.
    pub(crate) median: Duration,
    pub(crate) p99: Duration,
}

impl Statistics {
    pub(crate) fn new() -> Self {
        Self {
            started: Timestamp::now(),
            start: Instant::now(),
            requests: std::array::from_fn(|_| Latencies::new()),
            bytes_read: AtomicU64::new(0),
            failures: std::array::from_fn(|_| AtomicU64::new(0)),
            serial: AtomicU64::new(0),
            damage: Mutex::default(),
        }
    }

    /// How long the mount has been serving.
    pub(crate) fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    /// Counts a request that was begun at some time and is done now.
    pub(crate) fn count(&self, operation: Operation, begun: Instant) {
        if let Some(latencies) = self.requests.get(operation as usize) {
            latencies.add(begun.elapsed());
        }
    }

    /// Returns a number that no other call returns.
    pub(crate) fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn add_bytes_read(&self, bytes: usize) {
        self.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_failure(&self, failure: Failure) {
        if let Some(counter) = self.failures.get(failure as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn failures(&self, failure: Failure) -> u64 {
        self.failures.get(failure as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    pub(crate) fn requests(&self, operation: Operation) -> LatencyFacts {
        self.requests.get(operation as usize).map(Latencies::facts).unwrap_or_default()
    }

    /// Remembers damage; what is known already moves to the end.
    pub(crate) fn remember(&self, mut damage: Damage) {
        let mut known = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |one: &Damage| one.path == damage.path && one.object == damage.object;
        if let Some(before) = known.iter().position(is_same).and_then(|at| known.remove(at)) {
            damage.count += before.count;
        }
        if known.len() == DAMAGE_MAX {
            known.pop_front();
        }
        known.push_back(damage);
    }

    /// The damage that was met last, the newest last.
    pub(crate) fn damage(&self) -> Vec<Damage> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl Latencies {
    fn new() -> Self {
        let buckets = std::array::from_fn(|_| AtomicU64::new(0));
        Self { nanoseconds: AtomicU64::new(0), buckets }
    }

    fn add(&self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        if let Some(bucket) = self.buckets.get(bucket_of(nanoseconds)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn facts(&self) -> LatencyFacts {
        let buckets = self.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed));
        let count: u64 = buckets.iter().sum();
        let nanoseconds = self.nanoseconds.load(Ordering::Relaxed);
        let mean = Duration::from_nanos(nanoseconds.checked_div(count).unwrap_or(0));
        let at = |percent: u64| {
            let rank = (count * percent).div_ceil(100);
            let mut passed = 0;
            let is_reached = |bucket: &u64| {
                passed += bucket;
                passed >= rank
            };
            let bucket = buckets.iter().position(is_reached).unwrap_or(0);
            Duration::from_nanos(if count == 0 { 0 } else { middle_of(bucket) })
        };
        LatencyFacts { count, mean, median: at(50), p99: at(99) }
    }
}

/// The bucket of a latency: its highest bit, and the two bits behind it.
fn bucket_of(nanoseconds: u64) -> usize {
    let highest = nanoseconds.max(4).ilog2();
    let quarter = (nanoseconds.max(4) >> (highest - 2)) & 3;
    ((highest as usize - 2) * 4 + quarter as usize).min(BUCKETS - 1)
}

/// The middle of a bucket.
const fn middle_of(bucket: usize) -> u64 {
    let (doubling, quarter) = (bucket / 4, bucket as u64 % 4);
    ((4 + quarter) << doubling) + ((1_u64 << doubling) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_have_a_counter_and_a_name_each() {
        let statistics = Statistics::new();
        for operation in Operation::ALL {
            statistics.count(operation, Instant::now());
        }
        let counts = Operation::ALL.map(|operation| statistics.requests(operation).count);
        assert_eq!(counts, [1; 11]);
        let names: std::collections::BTreeSet<_> = Operation::ALL.map(Operation::name).into();
        assert_eq!(names.len(), 11);
    }

    #[test]
    fn a_bucket_holds_what_is_within_an_eighth_of_its_middle() {
        for exponent in 2..40 {
            for nanoseconds in [1_u64 << exponent, (1 << exponent) * 11 / 8, (2 << exponent) - 1] {
                let middle = middle_of(bucket_of(nanoseconds));
                let off = middle.abs_diff(nanoseconds);
                assert!(off * 8 <= nanoseconds, "{nanoseconds} is counted as {middle}");
            }
        }
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn median_and_99th_percentile_are_those_of_what_was_added() {
        let latencies = Latencies::new();
        assert_eq!(latencies.facts(), LatencyFacts::default());
        (0..98).for_each(|_| latencies.add(Duration::from_micros(10)));
        (0..2).for_each(|_| latencies.add(Duration::from_millis(50)));
        let facts = latencies.facts();
        assert_eq!((facts.count, facts.mean), (100, Duration::from_nanos(1_009_800)));
        let near = |time: Duration, expected: Duration| time.abs_diff(expected) * 8 <= expected;
        assert!(near(facts.median, Duration::from_micros(10)), "{facts:?}");
        assert!(near(facts.p99, Duration::from_millis(50)), "{facts:?}");
    }

    #[test]
    fn damage_is_remembered_once_for_each_file_and_no_more_than_that_many() {
        let statistics = Statistics::new();
        let damage = |number: usize| Damage {
            path: format!("file-{number}"),
            snapshot: None,
            object: Some(("chunk", "00".to_owned())),
            message: String::new(),
            time: Timestamp::now(),
            count: 1,
        };
        (0..DAMAGE_MAX + 5).for_each(|number| statistics.remember(damage(number)));
        statistics.remember(damage(7));
        let known = statistics.damage();
        assert_eq!(known.len(), DAMAGE_MAX);
        assert_eq!((known[0].path.as_str(), known[0].count), ("file-5", 1));
        let last = known.last().unwrap();
        assert_eq!((last.path.as_str(), last.count), ("file-7", 2));
    }
}
