//! Archives: a part of a snapshot for other programs ([`dump`]), cold copies of
//! snapshots and event logs that prove themselves ([`export_snapshot`],
//! [`export_event_log`]), and the way back ([`ImportRequest`]).
//!
//! Purpose: what leaves the repository as one file and comes back from one.
//! `docs/archive.md` describes the files.
//!
//! Invariants:
//! - A file appears under its name only when it is whole and durable.
//! - Nothing of an archive is kept unless every checksum of it was seen to be
//!   right; an archive without its end is damaged.
//! - A name in an archive never leads out of where it is unpacked, nor through a
//!   symlink; no name comes twice.
//! - Memory is bounded by one chunk, 4 MiB of extended headers, one map of holes,
//!   16 bytes for each file, and a few hundred for each file with more links; an
//!   archive that is not in our order needs a few hundred bytes for each entry. What
//!   attributes, symlinks and names take beside that is bounded by [`kept`] and [`names`].
//!
//! Imports: `base`, `chunking`, `compression`, `dag`, `repository`.

mod content;
mod dump;
mod entry;
mod error;
mod event_log;
mod export;
mod extract;
mod format;
mod import;
mod kept;
mod manifest;
mod names;
mod output;
mod packing;
mod stage;
mod tar;
mod unpack;
mod witness;
mod zip;

#[cfg(test)]
mod tests;

pub use content::Packed;
pub use dump::{dump, dump_file};
pub use error::ArchiveError;
pub use event_log::EventLog;
pub use export::{ExportRequest, Exported, export_event_log, export_snapshot, manifest_path};
pub use format::{ArchiveFormat, Packing};
pub use import::{ImportRequest, Imported, SnapshotLabels, check_stream, is_free};
pub use manifest::{
    ArchiveKind, ArchiveSource, ByteText, ChainState, ManifestHead, SnapshotSummary,
};
pub use output::NewFile;
pub(crate) use witness::witness;
