//! What the themes share.

pub(crate) mod command;
pub(crate) mod compare;
mod compare_test;
pub(crate) mod generate;
pub(crate) mod mount;
pub(crate) mod need;
pub(crate) mod repo;
pub(crate) mod rng;
pub(crate) mod scratch;
pub(crate) mod tree;
mod tree_test;
pub(crate) mod walk;

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
