//! A store that fails on demand, around any other one.
//!
//! Purpose: to show that every failure of the store, wherever it strikes, loses
//! nothing and hangs nothing. A [`FaultPlan`] counts the calls that change
//! something, or those that read, and fails the chosen one: once, or from then
//! on, as if the process had died. A call may fail before it has done anything
//! or after it has done all: both happen in the world.
//!
//! Imports: nothing of ours but the store's own types.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::store::{Batch, BulkLoad, Durability, Extent, Family, Store, StoreError, VisitEntry};

/// Which calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Writes, bulk loads, flushes and rewrites.
    Writes,
    /// Reads, scans and listings.
    Reads,
}

/// What happens at the chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails without effect, and later ones work (but see poisoning).
    FailOnce,
    /// It takes effect and fails nevertheless.
    FailAfterEffect,
    /// It fails without effect, and so does every later call of any kind.
    Crash,
}

/// Which call fails, and how. Shared with the test that made it.
#[derive(Debug)]
pub struct FaultPlan {
    target: Target,
    fault: Fault,
    /// The number of the call that fails, from 0; none for `u64::MAX`.
    at: u64,
    calls: AtomicU64,
    crashed: AtomicBool,
}

impl FaultPlan {
    /// Fails call number `at`, counted from 0.
    #[must_use]
    pub fn new(target: Target, fault: Fault, at: u64) -> Arc<Self> {
        let (calls, crashed) = (AtomicU64::new(0), AtomicBool::new(false));
        Arc::new(Self { target, fault, at, calls, crashed })
    }

    /// Fails nothing, and counts the calls.
    #[must_use]
    pub fn count(target: Target) -> Arc<Self> {
        Self::new(target, Fault::FailOnce, u64::MAX)
    }

    /// How many calls were counted.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Runs a call, or fails it.
    fn call<T>(
        &self,
        target: Target,
        run: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.crashed.load(Ordering::SeqCst) {
            return Err(injected());
        }
        if target != self.target || self.calls.fetch_add(1, Ordering::SeqCst) != self.at {
            return run();
        }
        match self.fault {
            Fault::FailOnce => {}
            Fault::FailAfterEffect => drop(run()?),
            Fault::Crash => self.crashed.store(true, Ordering::SeqCst),
        }
        Err(injected())
    }
}

fn injected() -> StoreError {
    StoreError::Failed { action: "injecting a fault", detail: "as planned".to_owned() }
}

/// A store that fails by plan.
pub struct FaultStore<S> {
    inner: S,
    plan: Arc<FaultPlan>,
    poisoned: AtomicBool,
}

impl<S: Store> FaultStore<S> {
    /// Wraps a store.
    pub fn new(inner: S, plan: Arc<FaultPlan>) -> Self {
        Self { inner, plan, poisoned: AtomicBool::new(false) }
    }

    /// Returns the store inside, as it was left.
    pub fn into_inner(self) -> S {
        self.inner
    }

    fn change<T>(&self, run: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.poisoned.load(Ordering::SeqCst) {
            return Err(StoreError::Poisoned);
        }
        let outcome = self.plan.call(Target::Writes, run);
        if matches!(outcome, Err(StoreError::Failed { .. } | StoreError::Full { .. })) {
            self.poisoned.store(true, Ordering::SeqCst);
        }
        outcome
    }
}

impl<S: Store> Store for FaultStore<S> {
    fn read(
        &self,
        family: Family,
        key: &[u8],
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, StoreError> {
        self.plan.call(Target::Reads, || self.inner.read(family, key, visit))
    }

    fn scan(
        &self,
        family: Family,
        first: &[u8],
        visit: &mut VisitEntry<'_>,
    ) -> Result<(), StoreError> {
        self.plan.call(Target::Reads, || self.inner.scan(family, first, visit))
    }

    fn last_key(&self, family: Family) -> Result<Option<Vec<u8>>, StoreError> {
        self.plan.call(Target::Reads, || self.inner.last_key(family))
    }

    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), StoreError> {
        self.change(|| self.inner.write(batch, durability))
    }

    fn bulk_load(&self, family: Family) -> Result<Box<dyn BulkLoad + '_>, StoreError> {
        let load = self.change(|| self.inner.bulk_load(family))?;
        Ok(Box::new(FaultLoad { store: self, load }))
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.change(|| self.inner.flush())
    }

    fn catch_up(&self) -> Result<(), StoreError> {
        self.plan.call(Target::Reads, || self.inner.catch_up())
    }

    fn extents(&self, family: Family) -> Result<Vec<Extent>, StoreError> {
        self.plan.call(Target::Reads, || self.inner.extents(family))
    }

    fn reclaim(&self, family: Family, first: &[u8], last: &[u8]) -> Result<(), StoreError> {
        self.change(|| self.inner.reclaim(family, first, last))
    }

    fn drop_files(&self, family: Family, first: &[u8], last: &[u8]) -> Result<(), StoreError> {
        self.change(|| self.inner.drop_files(family, first, last))
    }
}

struct FaultLoad<'a, S> {
    store: &'a FaultStore<S>,
    load: Box<dyn BulkLoad + 'a>,
}

impl<S: Store> BulkLoad for FaultLoad<'_, S> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let Self { store, load } = self;
        store.change(|| load.put(key, value))
    }

    fn bytes(&self) -> u64 {
        self.load.bytes()
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let Self { store, load } = *self;
        store.change(|| load.finish())
    }
}
