//! Facts about a snapshot, as programs read them.

use serde::Serialize;

use crate::base::id::SnapshotId;
use crate::base::name::printable;
use crate::base::time::Timestamp;
use crate::dag::Manifest;
use crate::repository::Pin;

/// The fields of a snapshot in JSON; others may rely on their names.
#[derive(Debug, Serialize)]
pub(crate) struct SnapshotFacts {
    id: String,
    short_id: String,
    time: String,
    finished: String,
    host: String,
    user: String,
    sources: Vec<String>,
    tags: Vec<String>,
    description: String,
    parent: Option<String>,
    program: String,
    root: String,
    files: u64,
    dirs: u64,
    bytes: u64,
    added_bytes: u64,
    stored_bytes: u64,
    errors: u64,
    pinned: bool,
    pinned_until: Option<String>,
}

impl SnapshotFacts {
    pub(crate) fn new(id: &SnapshotId, manifest: &Manifest) -> Self {
        Self {
            id: id.to_string(),
            short_id: id.short(),
            time: manifest.time.to_rfc3339(),
            finished: manifest.finished.to_rfc3339(),
            host: manifest.host.clone(),
            user: manifest.user.clone(),
            sources: sources(manifest),
            tags: manifest.tags.clone(),
            description: manifest.description.clone(),
            parent: manifest.parent.map(|parent| parent.to_string()),
            program: manifest.program.clone(),
            root: manifest.tree().map(|tree| tree.id.to_string()).unwrap_or_default(),
            files: manifest.counters.files,
            dirs: manifest.counters.dirs,
            bytes: manifest.counters.bytes,
            added_bytes: manifest.counters.added_bytes,
            stored_bytes: manifest.counters.stored_bytes,
            errors: manifest.counters.errors,
            pinned: false,
            pinned_until: None,
        }
    }

    /// The same with a pin, if it still holds.
    pub(crate) fn with_pin(mut self, pin: Option<Pin>, now: Timestamp) -> Self {
        let pin = pin.filter(|pin| pin.holds(now));
        self.pinned = pin.is_some();
        self.pinned_until = match pin {
            Some(Pin::Until(end)) => Some(end.to_rfc3339()),
            Some(Pin::Forever) | None => None,
        };
        self
    }
}

/// A pin that still holds, as people read it; nothing if there is none.
pub(crate) fn pin_text(pin: Option<Pin>, now: Timestamp) -> Option<String> {
    match pin.filter(|pin| pin.holds(now))? {
        Pin::Forever => Some("pinned".to_owned()),
        Pin::Until(end) => Some(format!("until {}", end.to_local_text())),
    }
}

/// One line that tells a person which snapshot is meant.
pub(crate) fn line(id: &SnapshotId, manifest: &Manifest) -> String {
    let what = sources(manifest).join(" ");
    let host = printable(manifest.host.as_bytes());
    let line = [id.short(), manifest.time.to_local_text(), host, what].join("  ");
    match printable(manifest.tags.join(",").as_bytes()) {
        tags if tags.is_empty() => line,
        tags => format!("{line}  [{tags}]"),
    }
}

/// The sources of a snapshot as printable text.
pub(crate) fn sources(manifest: &Manifest) -> Vec<String> {
    manifest.sources.iter().map(|source| printable(source)).collect()
}
