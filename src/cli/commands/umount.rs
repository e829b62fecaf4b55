//! `icecore umount`: takes a mount away and waits until its process has ended.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::path_text;
use crate::fuse::find_mount;

/// How long the serving process may take to end. It only removes its lease.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a mount may be in use before that is said, and between two tries.
const BUSY_PATIENCE: Duration = Duration::from_millis(500);
const BUSY_RETRY: Duration = Duration::from_millis(20);

pub(crate) fn run(
    context: &Context,
    mountpoint: &Path,
    lazy: bool,
) -> Result<Outcome, CommandError> {
    let place = path_text(mountpoint);
    let absolute =
        std::path::absolute(mountpoint).map_err(CommandError::io(format!("find {place}")))?;
    let mounted = find_mount(&absolute).or_else(|| {
        // The path may lead through a symlink; looking is harmless now.
        find_mount(&fs::canonicalize(&absolute).ok()?)
    });
    let Some(path) = mounted.map(|mount| mount.place) else {
        return Err(CommandError::Failed(format!("{place} is no icecore mount")));
    };
    let server = serving_process(&path);
    let flags = if lazy { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    match unmount_patiently(&path, flags) {
        Ok(()) => {}
        Err(Errno::PERM) => unmount_as_user(&path, lazy)?,
        Err(Errno::BUSY) => return Err(busy(&place)),
        Err(error) => return Err(CommandError::io(format!("unmount {place}"))(error.into())),
    }
    if let Some(server) = server.filter(|_| !lazy) {
        wait_for_end(&server);
    }
    if !context.quiet && !context.json {
        context.note(&format!("Unmounted {place}"));
    }
    Ok(Outcome::Done)
}

/// Unmounts, trying for a moment longer if the mount is in use: a program that
/// is just being started still holds what its parent had open.
fn unmount_patiently(path: &Path, flags: UnmountFlags) -> Result<(), Errno> {
    let begun = Instant::now();
    loop {
        match unmount(path, flags) {
            Err(Errno::BUSY) if begun.elapsed() < BUSY_PATIENCE => thread::sleep(BUSY_RETRY),
            outcome => return outcome,
        }
    }
}

fn busy(place: &str) -> CommandError {
    CommandError::Failed(format!(
        "{place} is in use by a process; end it, or detach the mount with --lazy"
    ))
}

/// Users other than root unmount through the setuid helper of FUSE.
fn unmount_as_user(path: &Path, lazy: bool) -> Result<(), CommandError> {
    let mut command = Command::new("fusermount3");
    command.arg("-u");
    if lazy {
        command.arg("-z");
    }
    let output = command.arg("--").arg(path).output();
    let output = output.map_err(CommandError::io("run fusermount3 (package fuse3)"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if text.contains("busy") {
        return Err(busy(&path_text(path)));
    }
    Err(CommandError::Failed(format!("Cannot unmount {}: {text}", path_text(path))))
}

/// The process behind the mount, which names itself in an attribute of the root.
fn serving_process(path: &Path) -> Option<OwnedFd> {
    let mut value = [0_u8; 16];
    let length = rustix::fs::getxattr(path, "user.icecore.pid", &mut value).ok()?;
    let text = std::str::from_utf8(value.get(..length)?).ok()?;
    let pid = Pid::from_raw(text.parse().ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Waits until the process has ended: only then is its lease gone.
fn wait_for_end(process: &OwnedFd) {
    let timeout = Timespec::try_from(END_TIMEOUT).ok();
    let mut ends = [PollFd::new(process, PollFlags::IN)];
    let _ = poll(&mut ends, timeout.as_ref());
}
