//! Files of this machine: what the system says of them, and setting it.
//!
//! Purpose: those who read sources, compare with the running system or write
//! targets ask for a status, for extended attributes and for names in one way, and
//! set metadata in one way.
//!
//! Invariants:
//! - No symlink is followed, unless a function's name says so.
//! - Below an open directory every step is one name, or the kernel is told that the
//!   path must not leave it.
//!
//! Imports: `base`, `dag`.

mod beneath;
mod handle;
mod naming;
mod status;
pub(crate) mod xattrs;

pub(crate) use beneath::{names, open_beneath, open_parent, path_of, through_proc};
pub(crate) use handle::{Handle, Times, mode_without_rights};
pub(crate) use naming::{link_file, rename_to_free};
pub(crate) use status::{Identity, Status};
