//! Secrets in memory that is kept out of the swap (`mlock(2)`).
//!
//! Locks of pages do not count: whoever unlocks one unlocks it for all that lies on
//! it. So each secret has pages of its own. A system that refuses the lock, for want of
//! `RLIMIT_MEMLOCK` say, leaves things as they are.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use region::LockGuard;

/// A secret on memory of its own, out of the swap. Clones share it.
pub struct Locked<T>(Arc<Page<T>>);

/// Fields go in this order: what wipes itself does so before its pages are let go.
#[repr(align(4096))]
struct Page<T> {
    secret: T,
    lock: OnceLock<LockGuard>,
}

impl<T> Locked<T> {
    /// Moves a secret there. One that is to be wiped must do so when it is dropped.
    pub fn new(secret: T) -> Self {
        let page = Arc::new(Page { secret, lock: OnceLock::new() });
        if let Ok(guard) = region::lock(Arc::as_ptr(&page), size_of::<Page<T>>()) {
            page.lock.get_or_init(|| guard);
        }
        Self(page)
    }

    /// Whether the system took the lock.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.0.lock.get().is_some()
    }
}

impl<T> Clone for Locked<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Locked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.secret
    }
}

impl<T> fmt::Debug for Locked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Locked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel says is locked of this process, in KiB.
    fn locked_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn secrets_share_no_page_and_are_locked_where_that_is_allowed() {
        let secrets: Vec<_> = (0..4_u8).map(|byte| Locked::new([byte; 32])).collect();
        let pages: Vec<_> = secrets.iter().map(|secret| secret.as_ptr() as usize >> 12).collect();
        for (index, page) in pages.iter().enumerate() {
            assert!(!pages[..index].contains(page), "{pages:x?}");
        }
        let copy = secrets[3].clone();
        assert_eq!(copy.as_ptr(), secrets[3].as_ptr());
        assert_eq!(format!("{copy:?} {}", copy[0]), "Locked 3");
        // Others of this process may be locked too, and some systems allow none.
        let locked = secrets.iter().filter(|secret| secret.is_locked()).count() as u64;
        assert!(locked_kib() >= 4 * locked, "{locked} secrets");
        if rustix::process::geteuid().is_root() {
            assert_eq!(locked, 4, "root may lock");
        }
    }
}
