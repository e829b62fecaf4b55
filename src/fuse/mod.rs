//! The FUSE driver: a thin shim between the kernel and the view.
//!
//! Purpose: [`Mount`] serves a [`crate::view::View`] at a mountpoint. The only
//! module that names `fuser`.
//!
//! Invariants:
//! - Every change is refused with EROFS.
//! - No panic leaves a handler: it becomes EIO and a line in the log.
//! - Damage is EIO and a line that names path and chunk.
//! - A node lives in the table as long as the kernel remembers it, no longer.
//!
//! Three numbers, never confused: the kernel's *node id*, the *inode number*
//! that `stat` reports, and the generation, 0. `fuser` sends one number as both
//! when it answers a lookup, and only an answer to GETATTR can differ. So:
//! - what is no directory has its inode number as node id: an unchanged file in
//!   two snapshots then is one inode with one page cache, and hard links are
//!   links;
//! - a directory may not have two places. The first one that the kernel meets
//!   has its inode number as node id too; an equal one in another snapshot, while
//!   the first is known, gets a node id of its own, its attributes are sent as
//!   expired at once, and `stat` asks for them with GETATTR, which tells the
//!   inode number and is cached from then on.
//!
//! Imports: `base`, `dag`, `repository`, `view`.

mod ahead;
mod attributes;
mod driver;
mod errno;
mod guard;
mod mount;
mod mount_table;
mod nodes;
mod polling;
mod processes;
mod statistics;
mod tree;
mod usage;

/// Answers to the kernel without a kernel, for `crate::fuzzing`.
pub(crate) mod decoders {
    pub(crate) use crate::fuse::tree::Tree;
}

use std::sync::Arc;

use crate::base::id::SnapshotId;
use crate::repository::{Reader, RepositoryError};

pub use mount::{Mount, MountError, MountOptions, Refresher, Unmounter, check_mountpoint};
pub use mount_table::{MountEntry, find_mount};
pub use tree::SingleTree;

/// Takes one line about trouble.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// Describes a snapshot for programs, in JSON.
pub type Describe =
    Arc<dyn Fn(&Reader, &SnapshotId) -> Result<String, RepositoryError> + Send + Sync>;
