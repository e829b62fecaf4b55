//! Which snapshots are in use, and their leases.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::base::id::SnapshotId;
use crate::repository::{LeaseGuard, Reader, RepositoryError};

/// The use of one snapshot.
#[derive(Debug)]
pub(crate) struct Usage {
    pub(crate) id: SnapshotId,
    lease: Mutex<Option<LeaseGuard>>,
    /// Seconds after the start of the mount.
    last_used: AtomicU64,
}

/// The use of all snapshots.
#[derive(Debug)]
pub(crate) struct Usages {
    start: Instant,
    by_id: Mutex<HashMap<SnapshotId, Arc<Usage>>>,
}

impl Usages {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), by_id: Mutex::default() }
    }

    /// Returns the use of a snapshot, without leasing it: to be listed is not
    /// to be used.
    pub(crate) fn of(&self, id: SnapshotId) -> Arc<Usage> {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let (lease, last_used) = (Mutex::new(None), AtomicU64::new(0));
            Arc::new(Usage { id, lease, last_used })
        };
        by_id.entry(id).or_insert_with(new).clone()
    }

    /// Notes that a snapshot is being used. One whose lease was given up is
    /// leased again, if it still exists.
    pub(crate) fn touch(&self, reader: &Reader, usage: &Usage) -> Result<(), RepositoryError> {
        usage.last_used.store(self.start.elapsed().as_secs(), Ordering::Relaxed);
        let mut lease = usage.lease.lock().unwrap_or_else(PoisonError::into_inner);
        if lease.is_none() {
            *lease = Some(reader.lease(usage.id)?);
        }
        Ok(())
    }

    /// Leased snapshots that nobody used for that long.
    pub(crate) fn idle(&self, at_least: Duration) -> Vec<Arc<Usage>> {
        let now = self.start.elapsed().as_secs();
        let by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        let is_idle = |usage: &&Arc<Usage>| {
            let idle = now.saturating_sub(usage.last_used.load(Ordering::Relaxed));
            idle >= at_least.as_secs() && usage.is_leased()
        };
        by_id.values().filter(is_idle).cloned().collect()
    }
}

impl Usage {
    fn is_leased(&self) -> bool {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Gives the lease up.
    pub(crate) fn release(&self) {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
