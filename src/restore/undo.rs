//! Taking a restore back: what it made goes, unless somebody changed it since, and
//! directories are as they were. What it replaced is restored like anything else.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

use crate::base::progress::Monitor;
use crate::base::time::Timestamp;
use crate::local::{Handle, Status, Times, open_parent};
use crate::restore::error::{ItemError, Problems, RestoreError};
use crate::restore::request::DirectoryState;

/// An item that a restore made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The path below the target.
    pub path: Vec<u8>,
    /// Its kind: `file`, `directory` and so on.
    pub kind: String,
    /// The bytes of a file.
    pub bytes: u64,
    /// When it was modified, as restored.
    pub mtime: Timestamp,
}

/// What became of taking back.
#[derive(Clone, Debug, Default)]
pub struct Undone {
    /// Items that went.
    pub removed: u64,
    /// Items that stay, since they were changed or hold something new.
    pub kept: Vec<Vec<u8>>,
    /// What could not be done.
    pub problems: u64,
    /// Messages about it, the first of them.
    pub messages: Vec<String>,
}

/// Removes what a restore made, each item before the directory that it is in.
///
/// # Errors
/// Fails if the target cannot be opened, or if it was cancelled.
pub fn undo_created(
    target: &std::path::Path,
    created: &[Created],
    monitor: &dyn Monitor,
) -> Result<Undone, RestoreError> {
    let root = open(target)?;
    let (mut undone, problems) = (Undone::default(), Problems::default());
    for item in created.iter().rev() {
        if monitor.cancelled() {
            return Err(RestoreError::Cancelled);
        }
        match remove(&root, item) {
            Ok(Some(true)) => undone.removed += 1,
            Ok(Some(false)) => undone.kept.push(item.path.clone()),
            Ok(None) => {}
            Err(error) => {
                let error = ItemError::Target { action: "remove it", source: error };
                problems.add(&item.path, &error.text(), monitor);
            }
        }
        monitor.advance(1, 0);
    }
    (undone.problems, undone.messages) = problems.take();
    Ok(undone)
}

/// Removes an item if it is as it was made; nothing if it is gone.
fn remove(root: &OwnedFd, item: &Created) -> Result<Option<bool>, Errno> {
    let gone = |error| matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP);
    let (directory, name) = match open_parent(root, &item.path) {
        Err(error) if gone(error) => return Ok(None),
        opened => opened?,
    };
    let status = match Status::of_name(&directory, name) {
        Err(Errno::NOENT) => return Ok(None),
        found => found?,
    };
    let is_directory = item.kind == "directory";
    let is_same = status.kind_name() == item.kind
        && (is_directory || status.mtime == item.mtime)
        && (item.kind != "file" || status.size == item.bytes);
    if !is_same {
        return Ok(Some(false));
    }
    let flags = if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    match unlinkat(&directory, name, flags) {
        Ok(()) => Ok(Some(true)),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(Some(false)),
        Err(error) => Err(error),
    }
}

/// Gives directories the metadata that they had, deepest first.
///
/// # Errors
/// Fails if the target cannot be opened. What concerns single directories is
/// listed.
pub fn reset_directories(
    target: &std::path::Path,
    directories: &[DirectoryState],
    monitor: &dyn Monitor,
) -> Result<Undone, RestoreError> {
    let root = open(target)?;
    let problems = Problems::default();
    let mut sorted: Vec<_> = directories.iter().collect();
    sorted.sort_by(|a, b| b.path.cmp(&a.path));
    for state in sorted {
        if let Err(error) = reset(&root, state) {
            let error = ItemError::Target { action: "set the metadata of it", source: error };
            problems.add(&state.path, &error.text(), monitor);
        }
    }
    let (problems, messages) = problems.take();
    Ok(Undone { problems, messages, ..Undone::default() })
}

fn reset(root: &OwnedFd, state: &DirectoryState) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = if state.path.is_empty() {
        openat(root, c".", flags, Mode::empty())
    } else {
        let (above, name) = open_parent(root, &state.path)?;
        openat(&above, name, flags, Mode::empty())
    };
    let directory = match directory {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    let (handle, status) = (Handle::file(&directory), Status::of_file(&directory)?);
    if (status.uid, status.gid) != (state.uid, state.gid) {
        handle.chown(state.uid, state.gid)?;
    }
    for name in handle.xattr_names()? {
        if state.xattrs.iter().all(|xattr| *xattr.name != *name) {
            handle.remove_xattr(&name)?;
        }
    }
    let found = handle.xattrs()?;
    for xattr in state.xattrs.iter().filter(|xattr| !found.contains(xattr)) {
        handle.set_xattr(xattr)?;
    }
    if Status::of_file(&directory)?.mode != state.mode {
        handle.chmod(state.mode)?;
    }
    handle.set_times(Times { atime: None, mtime: state.mtime })
}

fn open(target: &std::path::Path) -> Result<OwnedFd, RestoreError> {
    let path = target.as_os_str().as_encoded_bytes();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, target, flags, Mode::empty()).map_err(RestoreError::target("open", path))
}
