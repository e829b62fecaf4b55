//! What the files of the control directory say, for people and for programs.
//! Others may rely on the names in JSON.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;

use crate::base::format;
use crate::fuse::statistics::{Damage, Failure, LatencyFacts, Operation, Statistics};
use crate::view::CacheFacts;

/// A file of the control directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    Errors,
    ErrorsJson,
    Stats,
    StatsJson,
}

impl Document {
    pub(super) const ALL: [Self; 4] =
        [Self::Errors, Self::ErrorsJson, Self::Stats, Self::StatsJson];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::ErrorsJson => "errors.json",
            Self::Stats => "stats",
            Self::StatsJson => "stats.json",
        }
    }

    pub(super) fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|document| document.name().as_bytes() == name)
    }
}

/// All that there is to say.
pub(super) struct Facts<'a> {
    pub(super) statistics: &'a Statistics,
    pub(super) caches: [CacheFacts; 6],
    pub(super) snapshots: usize,
    pub(super) leased_snapshots: usize,
    pub(super) nodes: usize,
    /// What is wrong with manifests.
    pub(super) damaged_snapshots: &'a [String],
}

#[derive(Serialize)]
struct StatsJson<'a> {
    program: &'static str,
    process: u32,
    started: String,
    uptime_seconds: u64,
    requests: Vec<RequestJson>,
    caches: Vec<CacheJson>,
    bytes_read: u64,
    bytes_decompressed: u64,
    snapshots: usize,
    leased_snapshots: usize,
    nodes: usize,
    failures: FailuresJson,
    damaged_snapshots: &'a [String],
}

#[derive(Serialize)]
struct RequestJson {
    name: &'static str,
    count: u64,
    mean_ns: u64,
    p50_ns: u64,
    p99_ns: u64,
}

#[derive(Serialize)]
struct CacheJson {
    name: &'static str,
    hits: u64,
    misses: u64,
    loaded_bytes: u64,
    values: u64,
    bytes: u64,
    bytes_max: u64,
}

#[derive(Serialize)]
struct FailuresJson {
    damage: u64,
    stale: u64,
    other: u64,
}

#[derive(Serialize)]
struct ErrorJson {
    time: String,
    count: u64,
    path: String,
    snapshot: Option<String>,
    kind: Option<&'static str>,
    id: Option<String>,
    message: String,
}

impl Facts<'_> {
    pub(super) fn document(&self, document: Document) -> String {
        match document {
            Document::Stats => self.stats(),
            Document::StatsJson => json(&self.stats_json()),
            Document::Errors => self.errors(),
            Document::ErrorsJson => {
                let damage = self.statistics.damage();
                json(&damage.iter().map(ErrorJson::new).collect::<Vec<_>>())
            }
        }
    }

    /// Content is all that is compressed for its own sake.
    fn bytes_decompressed(&self) -> u64 {
        self.caches.first().map_or(0, |chunks| chunks.loaded_bytes)
    }

    fn bytes_read(&self) -> u64 {
        self.statistics.bytes_read.load(Ordering::Relaxed)
    }

    fn stats(&self) -> String {
        let mut text = format!(
            "icecore {}, process {}, serving since {} ({})\n",
            env!("CARGO_PKG_VERSION"),
            std::process::id(),
            self.statistics.started.to_rfc3339_local(),
            age(self.statistics.uptime().as_secs()),
        );
        line(&mut text, &["", "count", "mean", "p50", "p99"]);
        for operation in Operation::ALL {
            let LatencyFacts { count, mean, median, p99 } = self.statistics.requests(operation);
            if count > 0 {
                let count = format::count(count);
                let times = [mean, median, p99].map(duration);
                line(&mut text, &[operation.name(), &count, &times[0], &times[1], &times[2]]);
            }
        }
        text.push('\n');
        line(&mut text, &["cache", "hits", "misses", "loaded", "holds", "limit"]);
        for cache in &self.caches {
            let counts = [cache.hits, cache.misses].map(format::count);
            let sizes = [cache.loaded_bytes, cache.bytes, cache.bytes_max].map(format::bytes);
            let cells = [cache.name, &counts[0], &counts[1], &sizes[0], &sizes[1], &sizes[2]];
            line(&mut text, &cells);
        }
        text.push('\n');
        let count = |number: usize| format::count(number as u64);
        let failures = |failure| format::count(self.statistics.failures(failure));
        for (label, value) in [
            ("read", format::bytes(self.bytes_read())),
            ("decompressed", format::bytes(self.bytes_decompressed())),
            ("snapshots", count(self.snapshots)),
            ("leased", count(self.leased_snapshots)),
            ("known nodes", count(self.nodes)),
            ("damage met", failures(Failure::Damage)),
            ("stale", failures(Failure::Stale)),
            ("other errors", failures(Failure::Other)),
        ] {
            line(&mut text, &[label, &value]);
        }
        text
    }

    fn stats_json(&self) -> StatsJson<'_> {
        let requests = Operation::ALL.map(|operation| {
            let LatencyFacts { count, mean, median, p99 } = self.statistics.requests(operation);
            let [mean_ns, p50_ns, p99_ns] = [mean, median, p99].map(nanoseconds);
            RequestJson { name: operation.name(), count, mean_ns, p50_ns, p99_ns }
        });
        let caches = self.caches.map(|cache| {
            let CacheFacts { name, hits, misses, loaded_bytes, values, bytes, bytes_max } = cache;
            CacheJson { name, hits, misses, loaded_bytes, values, bytes, bytes_max }
        });
        StatsJson {
            program: concat!("icecore ", env!("CARGO_PKG_VERSION")),
            process: std::process::id(),
            started: self.statistics.started.to_rfc3339(),
            uptime_seconds: self.statistics.uptime().as_secs(),
            requests: requests.into(),
            caches: caches.into(),
            bytes_read: self.bytes_read(),
            bytes_decompressed: self.bytes_decompressed(),
            snapshots: self.snapshots,
            leased_snapshots: self.leased_snapshots,
            nodes: self.nodes,
            failures: FailuresJson {
                damage: self.statistics.failures(Failure::Damage),
                stale: self.statistics.failures(Failure::Stale),
                other: self.statistics.failures(Failure::Other),
            },
            damaged_snapshots: self.damaged_snapshots,
        }
    }

    fn errors(&self) -> String {
        let mut text = String::new();
        for damaged in self.damaged_snapshots {
            let _ = writeln!(text, "{damaged}");
        }
        for damage in self.statistics.damage() {
            let (time, path) = (damage.time.to_rfc3339_local(), &damage.path);
            let _ = write!(text, "{time} /{path}: {}", damage.message);
            let times =
                if damage.count > 1 { format!(" ({} times)", damage.count) } else { "".into() };
            let _ = writeln!(text, "{times}");
        }
        text
    }
}

impl ErrorJson {
    fn new(damage: &Damage) -> Self {
        let (kind, id) = damage.object.clone().unzip();
        Self {
            time: damage.time.to_rfc3339(),
            count: damage.count,
            path: format!("/{}", damage.path),
            snapshot: damage.snapshot.map(|id| id.to_string()),
            kind,
            id,
            message: damage.message.clone(),
        }
    }
}

fn json(value: &impl Serialize) -> String {
    // Texts and numbers under names that are texts: that cannot fail.
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}

/// Sets a line: a name, and numbers below each other.
fn line(text: &mut String, cells: &[&str]) {
    for (index, cell) in cells.iter().enumerate() {
        let _ = if index == 0 { write!(text, "{cell:<14}") } else { write!(text, "{cell:>12}") };
    }
    text.push('\n');
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The latency of a request for people.
fn duration(time: Duration) -> String {
    match time.as_nanos() {
        0..10_000 => format!("{:.1} us", time.as_secs_f64() * 1e6),
        10_000..10_000_000 => format!("{:.0} us", time.as_secs_f64() * 1e6),
        10_000_000..10_000_000_000 => format!("{} ms", time.as_millis()),
        _ => format!("{} s", time.as_secs()),
    }
}

/// The age of a mount for people.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_in_which_they_are_short() {
        for (nanoseconds, text) in [
            (480, "0.5 us"),
            (9_999, "10.0 us"),
            (37_400, "37 us"),
            (9_437_184, "9437 us"),
            (50_000_000, "50 ms"),
            (12_000_000_000, "12 s"),
        ] {
            assert_eq!(duration(Duration::from_nanos(nanoseconds)), text);
        }
        let ages = [59, 61, 7_260, 200_000].map(age);
        assert_eq!(ages, ["59 s", "1 min", "2 h 1 min", "2 days"]);
    }
}
