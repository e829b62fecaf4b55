//! What was found damaged, bounded.

use std::collections::BTreeMap;

use crate::base::id::{SnapshotId, hex, parse_hex};
use crate::repository::{ObjectKind, RepositoryError};
use crate::store::Family;

/// Damaged things that are named; the rest is counted.
pub const OBJECTS_MAX: usize = 100_000;
/// Paths that are named in all; the rest is counted.
pub const PATHS_MAX: usize = 100_000;
/// Paths that are named of one damaged thing.
const PATHS_OF_ONE_MAX: usize = 1000;
/// Snapshots that are named of one path.
const SNAPSHOTS_OF_ONE_MAX: usize = 100;

/// What is damaged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A key file of an encrypted repository, which hurts no snapshot.
    KeyFile(String),
    /// A file of the store.
    File(String),
    /// A family of the store, or a record in it.
    Record(String),
    /// A snapshot's manifest.
    Snapshot(String),
    /// An object.
    Object(ObjectKind, [u8; 32]),
}

impl Subject {
    /// The word for its kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::KeyFile(_) => "key file",
            Self::File(_) => "file",
            Self::Record(_) => "record",
            Self::Snapshot(_) => "snapshot",
            Self::Object(kind, _) => kind.name(),
        }
    }

    /// Its name: a file's, a record's, or an id.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::KeyFile(name) | Self::File(name) => name.clone(),
            Self::Record(name) | Self::Snapshot(name) => name.clone(),
            Self::Object(_, id) => hex(id),
        }
    }
}

/// A file that cannot be read back because of something damaged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DamagedFile {
    /// Its path in the snapshots.
    pub path: Vec<u8>,
    /// The snapshots in which it is hurt.
    pub snapshots: Vec<SnapshotId>,
    /// How many more there are.
    pub more_snapshots: u64,
}

/// Something damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What.
    pub subject: Subject,
    /// What is wrong.
    pub detail: String,
    /// The files that are hurt by it.
    pub files: Vec<DamagedFile>,
    /// Paths that are not named.
    pub more_files: u64,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    damages: BTreeMap<Subject, Damage>,
    omitted: u64,
    paths: usize,
}

impl Findings {
    pub(crate) fn add(&mut self, subject: Subject, detail: impl Into<String>) {
        if self.damages.contains_key(&subject) {
            return;
        }
        if self.damages.len() >= OBJECTS_MAX {
            self.omitted += 1;
            return;
        }
        let damage = Damage {
            subject: subject.clone(),
            detail: detail.into(),
            files: Vec::new(),
            more_files: 0,
        };
        self.damages.insert(subject, damage);
    }

    /// Counts something damaged that is not named.
    pub(crate) const fn omit(&mut self) {
        self.omitted += 1;
    }

    /// Adds what an error of the repository says.
    pub(crate) fn add_error(&mut self, error: &RepositoryError) {
        let subject = match error {
            RepositoryError::Missing { kind, id }
            | RepositoryError::Damaged { kind, id, .. }
            | RepositoryError::Unreadable { kind, id, .. } => subject(kind, id),
            _ => Subject::Record("store".to_owned()),
        };
        self.add(subject, error.detail());
    }

    pub(crate) fn contains(&self, subject: &Subject) -> bool {
        self.damages.contains_key(subject)
    }

    /// Whether an object of a family is damaged.
    pub(crate) fn has_object_in(&self, family: Family) -> bool {
        self.damages.keys().any(|subject| match subject {
            Subject::Object(kind, _) => kind.family() == family,
            _ => false,
        })
    }

    /// Adds a file that a damaged thing hurts.
    pub(crate) fn add_file(&mut self, subject: &Subject, path: &[u8], snapshot: SnapshotId) {
        let Some(damage) = self.damages.get_mut(subject) else { return };
        // Snapshots come one after another, each with its paths in order, and a
        // file names a damaged chunk several times in a row.
        if let Some(file) = damage.files.iter_mut().find(|file| file.path == path) {
            if file.snapshots.contains(&snapshot) {
                return;
            }
            if file.snapshots.len() < SNAPSHOTS_OF_ONE_MAX {
                file.snapshots.push(snapshot);
            } else {
                file.more_snapshots += 1;
            }
            return;
        }
        if damage.files.len() >= PATHS_OF_ONE_MAX || self.paths >= PATHS_MAX {
            damage.more_files += 1;
            return;
        }
        self.paths += 1;
        let path = path.to_vec();
        damage.files.push(DamagedFile { path, snapshots: vec![snapshot], more_snapshots: 0 });
    }

    pub(crate) fn into_damages(self) -> (Vec<Damage>, u64) {
        (self.damages.into_values().collect(), self.omitted)
    }
}

fn subject(kind: &str, id: &str) -> Subject {
    let kinds = [ObjectKind::Chunk, ObjectKind::Tree, ObjectKind::ChunkList];
    match (kinds.into_iter().find(|known| known.name() == kind), parse_hex(id)) {
        (Some(kind), Some(id)) => Subject::Object(kind, id),
        _ if kind == "snapshot" => Subject::Snapshot(id.to_owned()),
        _ => Subject::Record(format!("{kind} {id}")),
    }
}
