//! Which snapshots are in use, and their leases.
//!
//! A snapshot is leased before the first read in it. To look up its name reads
//! nothing, and `ls -l` of the mountpoint does it to all of them, so that alone
//! leases nothing: it makes the snapshot a *candidate*, and a little later it is
//! seen whether somebody has stayed there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    /// When the name of each of them was looked up last.
    candidates: Mutex<HashMap<SnapshotId, Instant>>,
}

impl Usages {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), by_id: Mutex::default(), candidates: Mutex::default() }
    }

    /// Returns the use of a snapshot, without leasing it: to be listed is not
    /// to be used.
    pub(crate) fn of(&self, id: SnapshotId) -> Arc<Usage> {
        let mut by_id = lock(&self.by_id);
        let new = || {
            let (lease, last_used) = (Mutex::new(None), AtomicU64::new(0));
            Arc::new(Usage { id, lease, last_used })
        };
        by_id.entry(id).or_insert_with(new).clone()
    }

    /// Notes that a snapshot is being used. One whose lease was given up is
    /// leased again, if it still exists.
    pub(crate) fn touch(&self, reader: &Reader, usage: &Usage) -> Result<(), RepositoryError> {
        self.note_use(usage);
        let mut lease = lock(&usage.lease);
        if lease.is_none() {
            *lease = Some(reader.lease(usage.id)?);
        }
        Ok(())
    }

    fn note_use(&self, usage: &Usage) {
        usage.last_used.store(self.start.elapsed().as_secs(), Ordering::Relaxed);
    }

    /// Notes that the name of a snapshot was looked up. That keeps a lease, and
    /// takes none.
    pub(crate) fn note_lookup(&self, usage: &Usage) {
        if usage.is_leased() {
            self.note_use(usage);
        } else {
            lock(&self.candidates).insert(usage.id, Instant::now());
        }
    }

    /// Returns the snapshots whose names were looked up and which nobody used
    /// since. Those looked up before `settled` are not returned again: by then
    /// the kernel asks for their names anew, so nobody enters them unseen.
    pub(crate) fn candidates(&self, settled: Instant) -> Vec<Arc<Usage>> {
        let mut candidates = lock(&self.candidates);
        let found: Vec<_> = candidates.keys().map(|id| self.of(*id)).collect();
        candidates.retain(|_, looked_up| *looked_up > settled);
        drop(candidates);
        found.into_iter().filter(|usage| !usage.is_leased()).collect()
    }

    /// How many snapshots are leased.
    pub(crate) fn leased(&self) -> usize {
        lock(&self.by_id).values().filter(|usage| usage.is_leased()).count()
    }

    /// Leased snapshots that nobody used for that long.
    pub(crate) fn idle(&self, at_least: Duration) -> Vec<Arc<Usage>> {
        let now = self.start.elapsed().as_secs();
        let by_id = lock(&self.by_id);
        let is_idle = |usage: &&Arc<Usage>| {
            let idle = now.saturating_sub(usage.last_used.load(Ordering::Relaxed));
            idle >= at_least.as_secs() && usage.is_leased()
        };
        by_id.values().filter(is_idle).cloned().collect()
    }
}

impl Usage {
    fn is_leased(&self) -> bool {
        lock(&self.lease).is_some()
    }

    /// Gives the lease up.
    pub(crate) fn release(&self) {
        lock(&self.lease).take();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
