//! Removing what the snapshot does not have.
//!
//! Symlinks are removed, never followed; what is mounted somewhere below stays
//! unless that was asked for, and so does the repository.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode as FileMode, OFlags, SeekFrom, openat, seek, unlinkat};
use rustix::io::Errno;

use crate::local::{self, Status};
use crate::restore::directory::Directory;
use crate::restore::error::ItemError;
use crate::restore::publish::is_leftover;
use crate::restore::request::{Action, Planned};
use crate::restore::run::{Mode, Run};

const OPEN: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory that is being emptied.
struct Level {
    handle: OwnedFd,
    names: Vec<Vec<u8>>,
    /// Its own name in the one above.
    name: Vec<u8>,
}

/// What went, or would go.
#[derive(Clone, Copy, Default)]
struct Removed {
    items: u64,
    bytes: u64,
}

/// The names in a directory, by rising bytes.
pub(super) fn names(directory: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    // Somebody may have read it before.
    seek(directory, SeekFrom::Start(0))?;
    let mut names = Vec::new();
    local::names(directory, &mut |name| names.push(name.to_vec()))?;
    names.sort_unstable();
    Ok(names)
}

impl Run<'_> {
    /// Whether a directory holds nothing, but for what runs left behind.
    pub(super) fn is_empty_directory(
        &self,
        directory: &Directory,
        name: &[u8],
    ) -> Result<bool, ItemError> {
        let failed = || ItemError::target("look into it");
        let opened = openat(directory.handle()?, name, OPEN, FileMode::empty());
        let names = names(&opened.map_err(failed())?).map_err(failed())?;
        Ok(names.is_empty())
    }

    /// Removes what runs that are no more left in a directory; a plan takes note.
    pub(super) fn remove_leftovers(&self, directory: &Directory) -> Result<(), ItemError> {
        let handle = directory.handle()?;
        let names = names(handle).map_err(ItemError::target("look into it"))?;
        for name in names.iter().filter(|name| is_leftover(name)) {
            if self.mode == Mode::Plan {
                self.leave_something();
                return Ok(());
            }
            self.touch(directory)?;
            let removed = unlinkat(handle, name.as_slice(), AtFlags::empty());
            removed.map_err(ItemError::target("remove what an earlier restore left in it"))?;
        }
        Ok(())
    }

    /// Removes an item with all that is in it, or tells what that would be.
    pub(super) fn remove(
        &self,
        directory: &Directory,
        name: &[u8],
        path: &[u8],
        status: &Status,
    ) -> Result<(), ItemError> {
        let mut removed = Removed::default();
        self.touch_unless_planned(directory)?;
        let outcome = if status.is_directory() {
            self.remove_tree(directory, name, path, &mut removed)
        } else {
            removed = Removed { items: 1, bytes: status.size };
            self.unlink(directory.handle()?, name, AtFlags::empty())
        };
        self.count(|counts| {
            counts.deleted += removed.items;
            counts.deleted_bytes += removed.bytes;
        });
        if self.mode == Mode::Plan && outcome.is_ok() {
            self.about_to_change(directory);
            let (action, kind) = (Action::Delete, status.kind_name());
            let (bytes, mtime) = (removed.bytes, status.mtime);
            self.observer.item(&Planned { action, path, kind, bytes, mtime });
        }
        outcome
    }

    fn touch_unless_planned(&self, directory: &Directory) -> Result<(), ItemError> {
        if self.mode == Mode::Execute { self.touch(directory) } else { Ok(()) }
    }

    fn unlink(&self, directory: &OwnedFd, name: &[u8], flags: AtFlags) -> Result<(), ItemError> {
        if self.mode != Mode::Execute {
            return Ok(());
        }
        match unlinkat(directory, name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(ItemError::target("delete it")(error)),
        }
    }

    /// Removes a directory level by level. What cannot go is listed, and keeps
    /// the directories above it.
    fn remove_tree(
        &self,
        directory: &Directory,
        name: &[u8],
        path: &[u8],
        removed: &mut Removed,
    ) -> Result<(), ItemError> {
        let mut path = path.to_vec();
        let mut levels = vec![self.enter_to_remove(directory.handle()?, name, directory.status)?];
        let mut stays = false;
        while let Some(level) = levels.last_mut() {
            if self.is_stopped() {
                return Err(ItemError::Stopped);
            }
            let Some(name) = level.names.pop() else {
                let name = level.name.clone();
                levels.pop();
                let above = match levels.last() {
                    Some(level) => &level.handle,
                    None => directory.handle()?,
                };
                if !stays {
                    self.unlink(above, &name, AtFlags::REMOVEDIR)?;
                    removed.items += 1;
                }
                path.truncate(path.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                continue;
            };
            let status = match Status::of_name(&level.handle, name.as_slice()) {
                Ok(status) => status,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(ItemError::target("look at what is in it")(error)),
            };
            let above = Status::of_file(&level.handle).ok();
            if status.is_directory() {
                match self.enter_to_remove(&level.handle, &name, above) {
                    Ok(below) => {
                        path.push(b'/');
                        path.extend_from_slice(&name);
                        levels.push(below);
                    }
                    Err(error) => {
                        stays = true;
                        self.settle(&[&path, &b"/"[..], &name].concat(), error);
                    }
                }
            } else {
                match self.unlink(&level.handle, &name, AtFlags::empty()) {
                    Ok(()) => {
                        removed.items += 1;
                        removed.bytes += status.size;
                    }
                    Err(error) => {
                        stays = true;
                        self.settle(&[&path, &b"/"[..], &name].concat(), error);
                    }
                }
            }
        }
        Ok(())
    }

    fn enter_to_remove(
        &self,
        above: &OwnedFd,
        name: &[u8],
        status_above: Option<Status>,
    ) -> Result<Level, ItemError> {
        let failed = || ItemError::target("delete what is in it");
        let handle = openat(above, name, OPEN, FileMode::empty()).map_err(failed())?;
        let status = Status::of_file(&handle).map_err(failed())?;
        if Some(status.identity()) == self.protected {
            let problem = "it is the repository itself, which is never deleted";
            return Err(ItemError::Problem(problem.to_owned()));
        }
        let crosses = self.request.delete.as_ref().is_some_and(|delete| delete.across_mounts);
        if !crosses && status_above.is_some_and(|above| above.device != status.device) {
            let problem = "something is mounted there, which is not deleted";
            return Err(ItemError::Problem(problem.to_owned()));
        }
        let names = names(&handle).map_err(failed())?;
        Ok(Level { handle, names, name: name.to_vec() })
    }
}
