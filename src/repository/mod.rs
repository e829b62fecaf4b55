//! A repository: opening it, reading verified objects from it, writing to it,
//! and what keeps writers and readers from harming each other.
//!
//! Purpose: the layer between the plain key-value [`crate::store`] and the verbs.
//! [`Repository`] reads; [`Reader`] is one without a lock (a secondary), and
//! [`Writer`] the only one with it. A [`Session`] is a set of objects on its way
//! to a snapshot.
//!
//! Invariants:
//! - What a method returns was checked against its id; damage is an error that
//!   names the object.
//! - Chunks are durable before the trees that name them, both before the
//!   snapshot record. A crash leaves unreferenced objects, nothing else.
//! - Sequence numbers are never given twice.
//! - A snapshot that a live lease names is a root for `gc`.
//!
//! Imports: `base`, `chunking`, `compression`, `dag`, `store`.

mod browse;
mod catalog;
pub mod config;
mod damaged;
mod deleted;
pub mod envelope;
mod error;
mod filter;
mod foreign;
mod init;
mod key_proof;
mod keyring;
mod layout;
mod lease;
mod locator;
mod lock;
mod merge;
mod notes;
mod objects;
mod protection;
mod reader;
mod rebuild;
mod reserve;
mod scan;
mod select;
mod session;
mod verify;
mod writer;

/// Decoders of records that only this layer reads, for `crate::fuzzing`.
pub(crate) mod decoders {
    pub(crate) use crate::repository::deleted::decode_any as deleted;
    pub(crate) use crate::repository::keyring::ALL_WORK_KIB_MAX;
    pub(crate) use crate::repository::lease::count_leased as lease;
    pub(crate) use crate::repository::lock::holder_in as lock_holder;
    pub(crate) use crate::repository::notes::decode_and_encode as note;
    pub(crate) use crate::repository::scan::{decode_any as scan_page, forge_scan_page};
    pub(crate) use crate::repository::writer::decode_pending as pending;
}

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod deleted_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use browse::{DirectoryCursor, Held, Met, PathTrail, Step, TreeWalk, VisitBytes, VisitSegment};
pub use catalog::Catalog;
pub use config::Config;
pub use damaged::DamagedRecord;
pub use deleted::{DeletedCatalog, DeletedSnapshot};
pub use error::RepositoryError;
pub use filter::SnapshotFilter;
pub use keyring::{Keyring, Unlocked, is_encrypted};
pub use layout::Layout;
pub use lease::{LeaseGuard, LiveLeases};
pub use locator::{Locator, ObjectKind, sequence_key, sequence_of};
pub use notes::{Note, NoteChange, Pin};
pub use objects::Repository;
pub use reader::{Reader, Unleased};
pub use rebuild::Rebuilt;
pub use scan::{Fingerprint, ScanDetail, ScanEntry, ScanKey, ScanPage};
pub use select::{Selectable, SnapshotName, select_by_time, select_snapshot};
pub use session::{Added, PreparedChunk, Session};
pub use verify::{kinds_of, scan_readable};
pub use writer::{LINGER, PendingRange, Writer};
