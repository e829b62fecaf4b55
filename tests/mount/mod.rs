//! The mount as a file system: what programs ask of one, and what peers got
//! wrong. `docs/testing.md` lists the peers' defects with the test of each.

mod ahead;
mod attributes;
mod changes;
mod deleted;
mod directories;
mod forgetting;
mod holes;
mod killed;
mod peers;
mod reading;
mod soak;
mod stacked;
mod tools;

use std::path::Path;
use std::process::Command;

/// The process that serves a mount.
fn server(point: &Path) -> u32 {
    let mut buffer = [0; 16];
    let size = rustix::fs::getxattr(point, "user.icecore.pid", &mut buffer);
    let text = buffer[..size.expect("the mount tells its process")].to_vec();
    String::from_utf8(text).ok().and_then(|text| text.parse().ok()).expect("a process id")
}

/// True if there is a python to run. Otherwise says what is skipped.
fn python(what: &str) -> bool {
    let there = Command::new("python3").arg("--version").output().is_ok();
    if !there {
        eprintln!("SKIPPED {what}: there is no python3");
    }
    there
}

/// KiB of a process that are in memory.
fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).expect("a number of KiB")
}
