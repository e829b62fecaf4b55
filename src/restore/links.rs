//! Hard links: the first name of a file is written, all others are made links to it.
//! Names of one group are those of one file only if they say the same of it.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::hash::Digest256;
use crate::local::Identity;
use crate::restore::run::Run;

/// How long to sleep at most until one looks whether it is time to stop.
const NAP: Duration = Duration::from_millis(100);

/// The first name of a file.
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

/// The files that were met, by [`crate::dag::Node::shared_file`].
#[derive(Debug, Default)]
pub(super) struct Links {
    groups: Mutex<HashMap<Digest256, Group>>,
    settled: Condvar,
}

impl Links {
    fn lock(&self) -> MutexGuard<'_, HashMap<Digest256, Group>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the first name of a file, waiting for it if need be; or nothing,
    /// and then the caller restores the first one and calls [`Self::settle`].
    pub(super) fn claim(&self, file: &Digest256, run: &Run<'_>) -> Option<First> {
        let mut groups = self.lock();
        loop {
            match groups.get(file) {
                None => {
                    groups.insert(*file, Group::Pending);
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
    pub(super) fn settle(&self, file: &Digest256, first: Option<First>) {
        let mut groups = self.lock();
        match first {
            Some(first) => groups.insert(*file, Group::Done(first)),
            None => groups.remove(file),
        };
        self.settled.notify_all();
    }
}
