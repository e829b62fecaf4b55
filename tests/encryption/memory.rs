//! What a running process tells of the secrets that it holds: no core, no memory to
//! others of the same user, nothing in the swap.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use super::Locked;
use crate::support::command::{icecore, run_tool, try_tool};
use crate::support::encrypt::give_password;
use crate::support::need::require_root;
use crate::support::repo::signal;
use crate::support::{args, wait_until};

/// A `create` that has opened its repository and waits for standard input. Whatever it
/// dumps lies beside the repository.
struct Waiting(Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Waiting {
    /// Starts it by the program at `program`, behind the words of another one.
    fn start(locked: &Locked, before: &[&str], program: &Path) -> Self {
        let mut command = Command::new(before[0]);
        command.args(&before[1..]).arg(program).arg("-r").arg(locked.repo());
        command.args(["create", "--stdin"]).current_dir(locked.scratch.path());
        give_password(&mut command, false);
        if locked.repo().join("keys").is_dir() {
            command.env("ICECORE_PASSWORD", "first");
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let lock = locked.repo().join("db/LOCK");
        let pid = child.id();
        wait_until("it writes", 20, || crate::support::repo::holds_open(pid, &lock));
        Self(child)
    }

    /// What the kernel says of it.
    fn fact(&self, file: &str, line: &str) -> String {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).unwrap();
        let line = text.lines().find_map(|found| found.strip_prefix(line));
        line.unwrap_or_else(|| panic!("no {file}")).trim().to_owned()
    }
}

/// The words that make a command one of somebody else.
const USER: [&str; 6] = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];

/// Gives everything to that user, with a copy of the program.
fn owned_by_user(locked: &Locked) -> PathBuf {
    let program = locked.place("icecore");
    if !program.exists() {
        fs::copy(icecore(), &program).unwrap();
    }
    run_tool("chown", args!["-R", "65534:65534", locked.scratch.path()]);
    program
}

/// Takes the encryption away: what is a secret of one repository is the canary in the
/// other.
fn without_encryption(locked: &Locked) {
    fs::remove_dir_all(locked.repo()).unwrap();
    crate::support::command::run(&mut locked.command(&["init"])).expect(0);
}

#[test]
fn no_core_is_made_of_a_process_that_holds_a_key() {
    let locked = Locked::new();
    for is_secret in [true, false] {
        if !is_secret {
            without_encryption(&locked);
        }
        let words = ["prlimit", "--core=unlimited", "--"];
        let mut waiting = Waiting::start(&locked, &words, Path::new(icecore()));
        let limit = waiting.fact("limits", "Max core file size");
        assert_eq!(limit.starts_with('0'), is_secret, "{limit}");
        signal(&waiting.0, Signal::ABORT);
        let status = waiting.0.wait().unwrap();
        let names = fs::read_dir(locked.scratch.path()).unwrap().flatten();
        let dumped =
            names.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"core"));
        let dumped = dumped.count();
        assert_eq!((status.signal(), status.core_dumped() && is_secret), (Some(6), false));
        assert!(dumped == 0 || !is_secret, "{dumped} cores");
        // Elsewhere cores may go to a program, or nowhere.
        let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
        assert!(is_secret || dumped == 1 || !pattern.starts_with("core"), "the canary");
    }
}

#[test]
fn another_process_of_the_same_user_reads_neither_its_memory_nor_its_environment() {
    if !require_root("becoming another user") {
        return;
    }
    let locked = Locked::new();
    for is_secret in [true, false] {
        if !is_secret {
            without_encryption(&locked);
        }
        let program = owned_by_user(&locked);
        let waiting = Waiting::start(&locked, &USER, &program);
        for file in ["environ", "maps"] {
            let place = format!("/proc/{}/{file}", waiting.0.id());
            let read = try_tool(USER[0], USER[1..].iter().chain(&["cat", &place]));
            assert_eq!(read.code != 0, is_secret, "{file}: {}", read.error());
        }
    }
}

#[test]
fn keys_lie_on_pages_that_are_not_swapped_where_the_system_lets_them() {
    let locked = Locked::new();
    let before = ["prlimit", "--memlock=1048576:1048576", "--"];
    let waiting = Waiting::start(&locked, &before, Path::new(icecore()));
    let kib = |text: String| text.trim_end_matches(" kB").parse::<u64>().unwrap();
    // The master key, and those for records, ids, events and the chunker.
    wait_until("all keys are locked", 10, || kib(waiting.fact("status", "VmLck:")) >= 20);
    drop(waiting);
    if !require_root("becoming another user, whom limits bind") {
        return;
    }
    // Where nothing may be locked, all goes on.
    let program = owned_by_user(&locked);
    let none = [&["prlimit", "--memlock=0:0", "--"], &USER[..]].concat();
    let waiting = Waiting::start(&locked, &none, &program);
    assert_eq!(kib(waiting.fact("status", "VmLck:")), 0);
}
