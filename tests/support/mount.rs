//! A mount of a repository that ends with the test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use super::command::{code_of, wait};
use super::repo::{Repo, signal};
use super::scratch::Scratch;
use super::{args, wait_until};

/// A mounted repository.
pub(crate) struct Mount<'a> {
    repo: &'a Repo,
    point: PathBuf,
    child: Option<Child>,
    log: PathBuf,
    _scratch: Scratch,
}

impl<'a> Mount<'a> {
    /// Mounts in the background: the command has ended, the mount serves.
    #[track_caller]
    pub(crate) fn new(repo: &'a Repo) -> Self {
        Self::with(repo, &[])
    }

    /// Mounts in the background with more options.
    #[track_caller]
    pub(crate) fn with(repo: &'a Repo, options: &[&str]) -> Self {
        let mount = Self::prepare(repo);
        let mut command = repo.command(["mount"]);
        super::command::run(command.args(options).arg(&mount.point)).expect(0);
        assert!(is_mounted(&mount.point), "mount ended with 0, but nothing is mounted");
        mount
    }

    /// Mounts in the foreground; the log is what it prints.
    #[track_caller]
    pub(crate) fn foreground(repo: &'a Repo) -> Self {
        Self::foreground_with(repo, |_| ())
    }

    /// Mounts in the foreground by a command to which `adapt` adds something.
    #[track_caller]
    pub(crate) fn foreground_with(repo: &'a Repo, adapt: impl FnOnce(&mut Command)) -> Self {
        let mut mount = Self::prepare(repo);
        let log = File::create(&mount.log).expect("a log can be made");
        let mut command = repo.command(args!["mount", "--foreground", &mount.point]);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a descriptor")).stderr(log);
        adapt(&mut command);
        mount.child = Some(command.spawn().expect("icecore starts"));
        let point = mount.point.clone();
        wait_until("the mount serves", 30, || {
            let child = mount.child.as_mut().expect("it was started");
            let ended = child.try_wait().expect("it can be waited for");
            assert!(ended.is_none(), "mount --foreground ended: {ended:?} {}", mount.log());
            is_mounted(&point) && std::fs::read_dir(&point).is_ok()
        });
        mount
    }

    fn prepare(repo: &'a Repo) -> Self {
        let scratch = Scratch::new();
        let (point, log) = (scratch.mkdir("mnt"), scratch.join("log"));
        Self { repo, point, child: None, log, _scratch: scratch }
    }

    /// Where it is mounted.
    pub(crate) fn point(&self) -> &Path {
        &self.point
    }

    /// What the foreground process said so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// A snapshot's directory.
    pub(crate) fn snapshot(&self, id: &str) -> PathBuf {
        self.point.join(id)
    }

    /// Where an absolute source is in a snapshot.
    pub(crate) fn source(&self, id: &str, source: &Path) -> PathBuf {
        let inner = source.strip_prefix("/").expect("the source is absolute");
        self.point.join(id).join(inner)
    }

    /// Unmounts with the command; fails unless that works.
    #[track_caller]
    pub(crate) fn unmount(mut self) {
        self.repo.ok(args!["umount", &self.point]);
        assert!(!is_mounted(&self.point), "umount ended with 0, but the mount is still there");
        if let Some(mut child) = self.child.take() {
            let status = wait(&mut child, Duration::from_secs(20), "mount --foreground");
            assert_eq!(code_of(status), 0, "after umount; log: {}", self.log());
        }
    }

    /// Sends a signal to the foreground process, which goes on.
    #[track_caller]
    pub(crate) fn signal(&self, by: Signal) {
        signal(self.child.as_ref().expect("the mount is in the foreground"), by);
    }

    /// Sends a signal to the foreground process and returns its exit code.
    #[track_caller]
    pub(crate) fn end_by(&mut self, by: Signal) -> i32 {
        self.signal(by);
        self.end()
    }

    /// Waits for the foreground process to end and returns its exit code.
    #[track_caller]
    pub(crate) fn end(&mut self) -> i32 {
        let mut child = self.child.take().expect("the mount is in the foreground");
        code_of(wait(&mut child, Duration::from_secs(20), "mount --foreground"))
    }

    /// The id of the foreground process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("the mount is in the foreground").id()
    }

    /// True if the foreground process is there.
    pub(crate) fn is_running(&mut self) -> bool {
        let child = self.child.as_mut().expect("the mount is in the foreground");
        child.try_wait().expect("it can be waited for").is_none()
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        for _ in 0..3 {
            if is_mounted(&self.point) {
                detach(&self.point);
            }
        }
        if let Some(mut child) = self.child.take() {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}

/// Takes a mount away although it may be in use.
pub(crate) fn detach(point: &Path) {
    for (tool, option) in [("fusermount3", "-uz"), ("umount", "-l")] {
        let mut command = Command::new(tool);
        let command = command.arg(option).arg(point).stdout(Stdio::null()).stderr(Stdio::null());
        if command.status().is_ok_and(|status| status.success()) {
            return;
        }
    }
}

/// The line of `/proc/self/mountinfo` for a mountpoint, if it is one.
pub(crate) fn mountinfo(point: &Path) -> Option<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    let point = point.to_str().expect("test paths are texts");
    table.lines().rfind(|line| line.split(' ').nth(4) == Some(point)).map(str::to_owned)
}

/// True if something is mounted there.
pub(crate) fn is_mounted(point: &Path) -> bool {
    mountinfo(point).is_some()
}
