//! Choosing snapshots by what they are of and when they were taken.

use crate::base::time::Timestamp;
use crate::dag::Manifest;
use crate::retention::has_tags;

/// What a snapshot must be to be chosen. An empty list asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotFilter {
    /// Taken by one of these hosts.
    pub hosts: Vec<String>,
    /// With one of these tags; see [`has_tags`].
    pub tags: Vec<String>,
    /// With all of these among its sources.
    pub sources: Vec<Vec<u8>>,
    /// Not before that time.
    pub since: Option<Timestamp>,
    /// Not after that time.
    pub until: Option<Timestamp>,
    /// Before that time.
    pub before: Option<Timestamp>,
    /// After that time.
    pub after: Option<Timestamp>,
}

impl SnapshotFilter {
    /// Whether a snapshot is chosen.
    #[must_use]
    pub fn fits(&self, manifest: &Manifest) -> bool {
        let time = manifest.time;
        let any = |list: &[String], is_it: &dyn Fn(&str) -> bool| {
            list.is_empty() || list.iter().any(|one| is_it(one))
        };
        any(&self.hosts, &|host| manifest.host == host)
            && any(&self.tags, &|tag| has_tags(&manifest.tags, tag))
            && self.sources.iter().all(|source| manifest.sources.contains(source))
            && self.since.is_none_or(|first| time >= first)
            && self.until.is_none_or(|last| time <= last)
            && self.before.is_none_or(|end| time < end)
            && self.after.is_none_or(|start| time > start)
    }
}
