//! A repository in a directory of its own, and the commands on it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::command::{Outcome, finish, icecore, run};
use super::encrypt::{encrypts, give_password, give_password_by_default, init_words, is_encrypted};
use super::scratch::Scratch;

/// A repository.
pub(crate) struct Repo {
    path: PathBuf,
    directory: PathBuf,
    _scratch: Option<Scratch>,
}

impl Repo {
    /// Makes a repository.
    pub(crate) fn new() -> Self {
        let repo = Self::missing();
        repo.ok(["init"]);
        repo
    }

    /// Names a repository that was not made yet.
    pub(crate) fn missing() -> Self {
        let scratch = Scratch::new();
        let path = scratch.join("repo");
        Self { path, directory: scratch.path(), _scratch: Some(scratch) }
    }

    /// Makes a repository at `path`.
    pub(crate) fn at(path: &Path) -> Self {
        let repo = Self::existing(path);
        repo.ok(["init"]);
        repo
    }

    /// Copies a repository to `path`.
    pub(crate) fn copy_of(other: &Self, path: &Path) -> Self {
        super::command::run_tool(
            "cp",
            [OsStr::new("-a"), other.path.as_os_str(), path.as_os_str()],
        );
        let directory = path.parent().expect("a repository is in a directory").to_owned();
        Self { path: path.to_owned(), directory, _scratch: None }
    }

    /// Names a repository that is there, and whatever is beside it.
    pub(crate) fn existing(path: &Path) -> Self {
        let directory = path.parent().expect("a repository is in a directory").to_owned();
        Self { path: path.to_owned(), directory, _scratch: None }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A command on it, not started. Runs beside the repository, with no
    /// setting of the tester's environment.
    pub(crate) fn command(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Command {
        let mut command = plain_command();
        command.current_dir(&self.directory).arg("-r").arg(&self.path);
        let mut arguments = arguments.into_iter().map(|word| word.as_ref().to_owned()).peekable();
        let is_init = arguments.next_if(|word| word == "init").is_some();
        if is_init {
            command.args(init_words());
        }
        command.args(arguments);
        give_password(&mut command, is_init && encrypts() || is_encrypted(&self.path));
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Outcome {
        run(&mut self.command(arguments))
    }

    /// Runs a command and fails unless it ends with 0.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Outcome {
        self.run(arguments).expect(0)
    }

    /// Makes a snapshot of one source and returns its id.
    #[track_caller]
    pub(crate) fn create(&self, source: &Path) -> String {
        id_of(&self.create_json([source], 0))
    }

    /// Runs `create --json` with more arguments and returns its summary.
    #[track_caller]
    pub(crate) fn create_json(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        code: i32,
    ) -> Value {
        let mut command = self.command(["create", "--json"]);
        let summary = run(command.args(arguments)).expect(code).last_json_line();
        assert_eq!(summary["type"], "summary", "{summary}");
        summary
    }

    /// What `list --json` shows.
    #[track_caller]
    pub(crate) fn list_json(&self) -> Vec<Value> {
        match self.ok(["list", "--json"]).json() {
            Value::Array(snapshots) => snapshots,
            other => panic!("list --json printed no array: {other}"),
        }
    }

    /// The ids of all snapshots as `list` shows them.
    #[track_caller]
    pub(crate) fn ids(&self) -> Vec<String> {
        self.list_json().iter().map(id_of).collect()
    }

    /// Runs `gc --max-unused 0` and returns what it says.
    #[track_caller]
    pub(crate) fn gc(&self) -> Value {
        self.ok(["gc", "--json", "--max-unused", "0"]).last_json_line()
    }

    /// Bytes that it takes on disk, beside those that it sets aside.
    pub(crate) fn du(&self) -> u64 {
        let reserve = std::fs::metadata(self.path.join("reserve"));
        let set_aside = reserve.map_or(0, |file| file.blocks() * 512);
        disk_bytes(&self.path) - set_aside
    }

    /// Starts `create` of `source` in the background, its output piped.
    pub(crate) fn start_create(&self, source: &Path) -> Child {
        let mut command = self.command([OsStr::new("create"), source.as_os_str()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("icecore starts")
    }

    /// Starts `create` of `source` and stops it (SIGSTOP) once it holds the
    /// lock of the database. Nothing if it ended before.
    pub(crate) fn start_create_and_freeze(&self, source: &Path) -> Option<Frozen> {
        let lock = self.path.join("db/LOCK");
        let child = self.start_create(source);
        Self::freeze(child, &[0], |pid| holds_open(pid, &lock))
    }

    /// Starts a command and stops it (SIGSTOP) at a moment in its work. Nothing if it
    /// ended before, which it must with one of some codes.
    pub(crate) fn start_and_freeze(
        &self,
        arguments: &[&str],
        codes: &[i32],
        is_time: impl FnMut(u32) -> bool,
    ) -> Option<Frozen> {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::freeze(command.spawn().expect("icecore starts"), codes, is_time)
    }

    fn freeze(
        mut child: Child,
        codes: &[i32],
        mut is_time: impl FnMut(u32) -> bool,
    ) -> Option<Frozen> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut ended = None;
        while ended.is_none() && !is_time(child.id()) {
            assert!(Instant::now() < deadline, "it never came to that point");
            std::thread::sleep(Duration::from_millis(1));
            ended = child.try_wait().expect("it can be waited for");
        }
        if ended.is_none() {
            signal(&child, Signal::STOP);
            ended = child.try_wait().expect("it can be waited for");
        }
        let code = ended.map(super::command::code_of);
        let failed = code.is_some_and(|code| !codes.contains(&code));
        assert!(!failed, "it failed before it could be stopped: {ended:?}");
        code.is_none().then_some(Frozen(Some(child)))
    }
}

/// A command that stands still (SIGSTOP). Killed if it is dropped.
pub(crate) struct Frozen(Option<Child>);

impl Frozen {
    /// Its process id.
    pub(crate) fn pid(&self) -> String {
        self.0.as_ref().expect("it is there until it ends").id().to_string()
    }

    /// Sends it a signal, lets it go on and waits for its end.
    pub(crate) fn thaw(mut self, by: Option<Signal>) -> Outcome {
        let child = self.0.take().expect("it is there until it ends");
        for by in by.into_iter().chain([Signal::CONT]) {
            signal(&child, by);
        }
        finish(child, "the frozen command")
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}

/// The binary without any setting of the tester's environment.
pub(crate) fn plain_command() -> Command {
    let mut command = Command::new(icecore());
    for (name, _) in std::env::vars_os() {
        if name.as_bytes().starts_with(b"ICECORE_") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1").env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    give_password_by_default(&mut command);
    command
}

/// The id in an object of `create --json` or `list --json`.
#[track_caller]
pub(crate) fn id_of(object: &Value) -> String {
    let id = object["id"].as_str().unwrap_or_else(|| panic!("no id in {object}"));
    let hex = id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    assert!(id.len() == 64 && hex, "an id has 64 hex digits, not {id:?}");
    id.to_owned()
}

/// A counter in an object of `--json` output.
#[track_caller]
pub(crate) fn count_of(object: &Value, field: &str) -> u64 {
    object[field].as_u64().unwrap_or_else(|| panic!("no number {field:?} in {object}"))
}

/// Sends a signal to a child.
pub(crate) fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid is an i32"));
    kill_process(pid.expect("a pid is not 0"), signal).expect("the child can be signalled");
}

/// True if a process has the file open.
pub(crate) fn holds_open(pid: u32, file: &Path) -> bool {
    let Ok(links) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    links.flatten().any(|link| std::fs::read_link(link.path()).is_ok_and(|to| to == file))
}

/// Bytes on disk of a directory and what is in it.
pub(crate) fn disk_bytes(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let mut total = 0;
    for entry in entries.flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        total += meta.blocks() * 512;
        if meta.is_dir() {
            total += disk_bytes(&entry.path());
        }
    }
    total
}
