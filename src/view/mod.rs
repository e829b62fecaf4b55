//! The virtual, read-only tree of all snapshots, without any FUSE types.
//!
//! Purpose: what the mount and the commands that look into snapshots share:
//! the list of snapshots, directories by ordinal and name, file content by
//! offset, and inode numbers; and the directories that exist only in the mount,
//! by which snapshots are found ([`Place`]).
//!
//! Invariants:
//! - Memory is bounded: [`ViewOptions::cache_bytes`] for content and a fixed
//!   share for trees; listing the snapshots reads no tree.
//! - Whatever comes out was checked against its id.
//! - Nothing is read twice at the same time: a second reader waits for the
//!   first.
//!
//! Imports: `base`, `dag`, `repository`.

mod cache;
mod changes;
mod content;
mod counted;
mod cursor;
mod directory;
mod error;
mod guard;
mod inode_number;
mod names;
mod place;
mod prefetch;
mod snapshots;
mod versions;

use std::sync::{Arc, Mutex};

use crate::repository::Reader;
use crate::view::cache::Caches;
use crate::view::prefetch::Prefetch;

pub use changes::{Change, Comparison, DirectoryPair, Inner, Part, VisitChange};
pub use content::FileBytes;
pub use counted::CacheFacts;
pub use directory::{Directory, EntryHandle};
pub use error::ViewError;
pub use guard::Guard;
pub use inode_number::{InodeNumbers, PathKey};
pub use names::{Grouping, TimeFormat};
pub use place::{CHANGES, Link, PathVersions, Place, Shown, VisitShown};
pub use snapshots::{Snapshot, SnapshotList};

/// How a view uses the machine, and what it shows.
#[derive(Clone, Debug)]
pub struct ViewOptions {
    /// Bytes of file content to keep.
    pub cache_bytes: u64,
    /// How `by-time` names snapshots.
    pub by_time: TimeFormat,
    /// Whether the root shows `@GMT-...` names, as Samba wants them.
    pub samba: bool,
}

impl Default for ViewOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, by_time: TimeFormat::default(), samba: false }
    }
}

/// The tree of all snapshots of a repository.
pub struct View {
    reader: Reader,
    cache_bytes: u64,
    caches: Caches,
    prefetch: Prefetch,
    inode_numbers: InodeNumbers,
    snapshots: Mutex<Arc<SnapshotList>>,
    by_time: TimeFormat,
    /// How names for Samba are made, if there are any.
    gmt: Option<TimeFormat>,
}

impl View {
    /// Makes a view of a repository.
    ///
    /// # Errors
    /// Fails if the snapshots cannot be listed.
    pub fn new(reader: Reader, options: ViewOptions) -> Result<Self, ViewError> {
        reader.refresh()?;
        let list = SnapshotList::new(reader.catalog()?, 0);
        Ok(Self {
            cache_bytes: options.cache_bytes,
            caches: Caches::new(options.cache_bytes),
            prefetch: Prefetch::default(),
            inode_numbers: InodeNumbers::new(reader.config().id),
            snapshots: Mutex::new(Arc::new(list)),
            by_time: options.by_time,
            gmt: options.samba.then(TimeFormat::gmt),
            reader,
        })
    }

    /// The repository.
    #[must_use]
    pub const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Bytes of file content that it keeps.
    #[must_use]
    pub const fn cache_bytes(&self) -> u64 {
        self.cache_bytes
    }

    /// The inode numbers of this repository.
    #[must_use]
    pub const fn inode_numbers(&self) -> &InodeNumbers {
        &self.inode_numbers
    }
}
