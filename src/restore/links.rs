//! Hard links: the first name of a group is written, all others are made links
//! to it.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::local::Identity;
use crate::restore::run::Run;

/// How long to sleep at most until one looks whether it is time to stop.
const NAP: Duration = Duration::from_millis(100);

/// The first name of a group.
#[derive(Clone, Debug)]
pub(super) struct First {
    /// The path below the target.
    pub(super) path: Vec<u8>,
    /// The file; none in a plan, if it is yet to be made.
    pub(super) identity: Option<Identity>,
}

#[derive(Debug)]
enum Group {
    /// Somebody restores its first name.
    Pending,
    Done(First),
}

/// The groups that were met.
#[derive(Debug, Default)]
pub(super) struct Links {
    groups: Mutex<HashMap<[u8; 16], Group>>,
    settled: Condvar,
}

impl Links {
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 16], Group>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the first name of a group, waiting for it if need be; or nothing,
    /// and then the caller restores the first one and calls [`Self::settle`].
    pub(super) fn claim(&self, group: &[u8; 16], run: &Run<'_>) -> Option<First> {
        let mut groups = self.lock();
        loop {
            match groups.get(group) {
                None => {
                    groups.insert(*group, Group::Pending);
                    return None;
                }
                Some(Group::Done(first)) => return Some(first.clone()),
                Some(Group::Pending) if run.is_stopped() => return None,
                Some(Group::Pending) => {
                    let waited = self.settled.wait_timeout(groups, NAP);
                    groups = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// Says what became of a first name: nothing if it is not there, and then the
    /// next one is the first.
    pub(super) fn settle(&self, group: &[u8; 16], first: Option<First>) {
        let mut groups = self.lock();
        match first {
            Some(first) => groups.insert(*group, Group::Done(first)),
            None => groups.remove(group),
        };
        self.settled.notify_all();
    }
}
