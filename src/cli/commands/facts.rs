//! Facts about a snapshot, as programs read them.

use serde::Serialize;

use crate::base::id::SnapshotId;
use crate::base::name::printable;
use crate::dag::Manifest;

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
        }
    }
}

/// The sources of a snapshot as printable text.
pub(crate) fn sources(manifest: &Manifest) -> Vec<String> {
    manifest.sources.iter().map(|source| printable(source)).collect()
}
