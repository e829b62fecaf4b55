//! What the themes share.

pub(crate) mod command;
pub(crate) mod compare;
mod compare_test;
pub(crate) mod encrypt;
pub(crate) mod fixture;
pub(crate) mod frail;
pub(crate) mod frail_disk;
mod frail_test;
pub(crate) mod generate;
pub(crate) mod measure;
pub(crate) mod mount;
pub(crate) mod need;
pub(crate) mod repo;
pub(crate) mod rng;
pub(crate) mod rot;
pub(crate) mod scratch;
pub(crate) mod small_disk;
pub(crate) mod terminal;
pub(crate) mod tools;
pub(crate) mod tree;
mod tree_test;
pub(crate) mod walk;

use std::sync::atomic::{AtomicBool, Ordering};

/// Makes the arguments of a command from texts and paths alike.
macro_rules! args {
    ($($argument:expr),* $(,)?) => {
        [$(std::ffi::OsString::from($argument)),*]
    };
}
pub(crate) use args;

/// Calls `check` until it holds; fails after `seconds` naming `what`.
pub(crate) fn wait_until(what: &str, seconds: u64, mut check: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    while !check() {
        assert!(std::time::Instant::now() < deadline, "not within {seconds} s: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Sets a flag when it goes, by whatever way.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `busy` in a thread beside `body`; `busy` ends when its flag is set,
/// which is when `body` has ended or failed.
pub(crate) fn beside<T>(busy: impl FnOnce(&AtomicBool) + Send, body: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| busy(&stop));
        body()
    })
}
