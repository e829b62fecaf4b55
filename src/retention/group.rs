//! Groups: snapshots that are judged together.

use std::fmt;
use std::str::FromStr;

/// What snapshots must share to be of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grouping {
    /// The host.
    pub host: bool,
    /// The sources, in any order.
    pub sources: bool,
    /// The tags, in any order.
    pub tags: bool,
}

impl Default for Grouping {
    /// By host and sources.
    fn default() -> Self {
        Self { host: true, sources: true, tags: false }
    }
}

impl FromStr for Grouping {
    type Err = String;

    /// Reads names between commas; none at all means one group.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut grouping = Self { host: false, sources: false, tags: false };
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "host" | "hosts" => grouping.host = true,
                "source" | "sources" | "path" | "paths" => grouping.sources = true,
                "tag" | "tags" => grouping.tags = true,
                _ => return Err("any of host,sources,tags is expected, or nothing".to_owned()),
            }
        }
        Ok(grouping)
    }
}

impl fmt::Display for Grouping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(self.host, "host"), (self.sources, "sources"), (self.tags, "tags")];
        let names: Vec<_> =
            names.iter().filter(|(is_on, _)| *is_on).map(|(_, name)| *name).collect();
        f.write_str(&names.join(","))
    }
}

/// What the snapshots of one group share; what does not count is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// The host.
    pub host: Option<String>,
    /// The sources, rising, as bytes.
    pub sources: Option<Vec<Vec<u8>>>,
    /// The tags, rising.
    pub tags: Option<Vec<String>>,
}

impl GroupKey {
    /// The key of a snapshot.
    #[must_use]
    pub fn new(grouping: Grouping, host: &str, sources: &[Vec<u8>], tags: &[String]) -> Self {
        Self {
            host: grouping.host.then(|| host.to_owned()),
            sources: grouping.sources.then(|| sorted(sources)),
            tags: grouping.tags.then(|| sorted(tags)),
        }
    }
}

fn sorted<T: Clone + Ord>(items: &[T]) -> Vec<T> {
    let mut items = items.to_vec();
    items.sort();
    items.dedup();
    items
}
