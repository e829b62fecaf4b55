//! What a test needs of the machine, and what happens without it.

use std::path::Path;

/// True if FUSE is there. Otherwise says that the test is skipped, or fails if
/// `ICECORE_REQUIRE_FUSE` is set.
pub(crate) fn require_fuse() -> bool {
    let fuse = Path::new("/dev/fuse").exists();
    need(fuse, "ICECORE_REQUIRE_FUSE", "there is no /dev/fuse")
}

/// True if the test runs as root. Otherwise says what is skipped, or fails if
/// `ICECORE_REQUIRE_ROOT` is set.
pub(crate) fn require_root(what: &str) -> bool {
    need(is_root(), "ICECORE_REQUIRE_ROOT", &format!("{what} needs root"))
}

/// True if the test runs as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn need(there: bool, variable: &str, reason: &str) -> bool {
    if !there {
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        assert!(std::env::var_os(variable).is_none(), "{variable} is set, but {reason}");
        eprintln!("SKIPPED {name}: {reason}");
    }
    there
}
