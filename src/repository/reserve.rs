//! The reserve: space that is given back when the disk is full.
//!
//! Purpose: to free space takes space. Opening the store writes a new manifest,
//! and a deletion is a record. A file of a few MiB holds that space, and goes when
//! a command that frees space finds too little left.
//!
//! Invariants: nothing depends on the file; it may be removed at any time, and is
//! made again when a writer begins or ends where there is space to spare. A command
//! that adds content never takes it.
//!
//! Imports: `base`, and where it lies.

use std::fs::{self, OpenOptions};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::base::files::open_own;
use crate::repository::layout::Layout;

/// Bytes that it holds: enough for a deletion, and for a collection to drop what
/// is garbage altogether.
const RESERVE_BYTES: u64 = 8 << 20;
/// It is made only where so many times as many are free.
const PLENTY: u64 = 8;

/// Gives the space back if there is less left than it holds.
pub(super) fn release(layout: &Layout) {
    if free_bytes(layout).is_some_and(|free| free < RESERVE_BYTES) {
        // Where it is missing, the command tries without.
        let _ = fs::remove_file(layout.reserve());
    }
}

/// Makes it if it is missing and there is space to spare. Where that fails, or the
/// file system cannot set space aside, there is none.
pub(super) fn keep(layout: &Layout) {
    let path = layout.reserve();
    let is_there = fs::symlink_metadata(&path).is_ok_and(|file| file.len() >= RESERVE_BYTES);
    let has_plenty = || free_bytes(layout).is_some_and(|free| free >= PLENTY * RESERVE_BYTES);
    if is_there || !has_plenty() {
        return;
    }
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false);
    let Ok(file) = open_own(options, &path) else { return };
    if fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES).is_err() {
        let _ = fs::remove_file(&path);
    }
}

fn free_bytes(layout: &Layout) -> Option<u64> {
    let disk = statvfs(layout.root()).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}
