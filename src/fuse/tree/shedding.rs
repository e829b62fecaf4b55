//! Bounding what the kernel has us remember.
//!
//! The kernel remembers every file that was listed as long as it has memory for
//! it, and each one needs a node here. When there are too many, the kernel is
//! asked to forget those that were looked up longest ago; it does so unless they
//! are in use, and then they are forgotten here.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use fuser::{INodeNo, Notifier};

use super::Tree;

/// Bytes that a node takes at most, with its part of a decoded page (measured: 800).
const NODE_BYTES: u64 = 1024;
/// The fewest nodes that are ever asked for.
const NODES_MIN: u64 = 20_000;

/// Returns how many nodes may be remembered beside caches of that size: they
/// take half as much again.
pub(super) fn nodes_max(cache_bytes: u64) -> usize {
    let nodes = (cache_bytes + cache_bytes / 2) / NODE_BYTES;
    usize::try_from(nodes.max(NODES_MIN)).unwrap_or(usize::MAX)
}

/// Returns how many bytes the pages may take that so many nodes keep in memory.
pub(super) fn kept_bytes_max(nodes_max: usize) -> u64 {
    nodes_max as u64 * NODE_BYTES
}

impl Tree {
    /// Whether more nodes are known than ought to be.
    pub(crate) fn is_crowded(&self) -> bool {
        self.nodes.len() > self.nodes_max || self.nodes.is_heavy()
    }

    /// Asks the kernel to forget files until about half as many are left as may
    /// be. Not to be called by a serving thread: the kernel may hold a directory
    /// for a request that waits to be served.
    pub(crate) fn shed(&self, kernel: &Notifier) {
        let len = self.nodes.len();
        let half = if self.nodes.is_heavy() { len / 2 } else { self.nodes_max / 2 };
        let surplus = len.saturating_sub(half);
        for (parent, name) in self.nodes.oldest(surplus) {
            // What it does not know any more it need not forget.
            let _ = kernel.inval_entry(INodeNo(parent), OsStr::from_bytes(&name));
        }
    }
}
