//! Making items that appear under their names only when they are whole.
//!
//! A new file has no name at all while it is written (`O_TMPFILE`), so that a
//! process that is killed leaves nothing behind. Where the file system knows no
//! such files, and where something is to be replaced in one step, it has a
//! temporary name for a while, made of [`PREFIX`] and the id of the process, so that
//! a later run can tell and remove it.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, linkat, makedev, mknodat, openat, renameat, symlinkat,
    unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::dag::{Device, Kind, Node};
use crate::local::{link_file, rename_to_free};
use crate::restore::error::ItemError;
use crate::restore::run::Run;

/// How temporary names begin.
const PREFIX: &str = ".icecore-restore-";
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Gives temporary names.
#[derive(Debug, Default)]
pub(super) struct TemporaryNames(AtomicU64);

impl TemporaryNames {
    fn next(&self) -> String {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        format!("{PREFIX}{:x}-{number:x}", std::process::id())
    }
}

/// Whether a name is a temporary one, of a run under way or not.
pub(super) fn is_temporary(name: &[u8]) -> bool {
    owner_of(name).is_some()
}

/// Whether a name is a temporary one that a run left behind which is no more.
pub(super) fn is_leftover(name: &[u8]) -> bool {
    let Some(pid) = owner_of(name) else { return false };
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return true };
    matches!(test_kill_process(pid), Err(Errno::SRCH))
}

/// The process whose temporary name it is.
fn owner_of(name: &[u8]) -> Option<u32> {
    let (pid, number) = std::str::from_utf8(name).ok()?.strip_prefix(PREFIX)?.split_once('-')?;
    u64::from_str_radix(number, 16).ok()?;
    u32::from_str_radix(pid, 16).ok()
}

/// An item on its way into a directory; gone without a trace if it is dropped.
pub(super) struct Unpublished<'a> {
    run: &'a Run<'a>,
    directory: &'a OwnedFd,
    /// What has no temporary name is an open file without any.
    temporary: Option<String>,
    /// The item: open for writing, or as a mere place.
    pub(super) file: Option<OwnedFd>,
}

impl<'a> Unpublished<'a> {
    /// Makes an empty regular file.
    pub(super) fn regular(run: &'a Run<'a>, directory: &'a OwnedFd) -> Result<Self, ItemError> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        if run.knows_nameless.load(Ordering::Relaxed) {
            match openat(directory, c".", flags | OFlags::TMPFILE, PRIVATE) {
                Ok(file) => {
                    return Ok(Self { run, directory, temporary: None, file: Some(file) });
                }
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                    run.knows_nameless.store(false, Ordering::Relaxed);
                }
                Err(error) => return Err(ItemError::target("make it")(error)),
            }
        }
        let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mut made = Self { run, directory, temporary: None, file: None };
        made.named(|name| made_file(openat(directory, name, flags, PRIVATE)))?;
        Ok(made)
    }

    /// Makes an item of any other kind but a directory, and opens it as a place.
    pub(super) fn other(
        run: &'a Run<'a>,
        directory: &'a OwnedFd,
        node: &Node,
    ) -> Result<Self, ItemError> {
        let mut made = Self { run, directory, temporary: None, file: None };
        made.named(|name| {
            let node_of = |kind, device: Device| {
                let number = makedev(device.major, device.minor);
                mknodat(directory, name, kind, PRIVATE, number)
            };
            let none = Device { major: 0, minor: 0 };
            match &node.kind {
                Kind::Symlink(target) => symlinkat(&**target, directory, name),
                Kind::Fifo => node_of(FileType::Fifo, none),
                Kind::Socket => node_of(FileType::Socket, none),
                Kind::BlockDevice(device) => node_of(FileType::BlockDevice, *device),
                Kind::CharDevice(device) => node_of(FileType::CharacterDevice, *device),
                Kind::File(_) | Kind::Directory(_) => Err(Errno::INVAL),
            }
            .map(|()| None)
        })?;
        if let Some(name) = &made.temporary {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let place = openat(directory, name.as_str(), flags, Mode::empty());
            made.file = Some(place.map_err(ItemError::target("open it"))?);
        }
        Ok(made)
    }

    /// Makes another name for an item, which must be the one that `is_it` knows.
    pub(super) fn link(
        run: &'a Run<'a>,
        directory: &'a OwnedFd,
        from: (&OwnedFd, &[u8]),
    ) -> Result<(Self, String), Errno> {
        let name = run.names.next();
        linkat(from.0, from.1, directory, name.as_str(), AtFlags::empty())?;
        let made = Self { run, directory, temporary: Some(name.clone()), file: None };
        Ok((made, name))
    }

    fn named(
        &mut self,
        make: impl Fn(&str) -> Result<Option<OwnedFd>, Errno>,
    ) -> Result<(), ItemError> {
        loop {
            let name = self.run.names.next();
            match make(&name) {
                Ok(file) => {
                    (self.temporary, self.file) = (Some(name), file);
                    return Ok(());
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(ItemError::target("make it")(error)),
            }
        }
    }

    /// Gives it its name: in the place of whatever has it, or only if nothing
    /// does.
    pub(super) fn publish(mut self, name: &[u8], replaces: bool) -> Result<(), ItemError> {
        let failed = ItemError::target("give it its name");
        if !replaces {
            let named = match (&self.temporary, &self.file) {
                (Some(temporary), _) => rename_to_free(self.directory, temporary.as_str(), name),
                (None, Some(file)) => self.link_file(file, name),
                (None, None) => Err(Errno::BADF),
            };
            if named == Err(Errno::EXIST) {
                let problem = "something else appeared under its name meanwhile, and stays";
                return Err(ItemError::Problem(problem.to_owned()));
            }
            named.map_err(failed)?;
            self.temporary = None;
            return Ok(());
        }
        if self.temporary.is_none()
            && let Some(file) = &self.file
        {
            let temporary = self.run.names.next();
            if let Err(error) = self.link_file(file, temporary.as_bytes()) {
                return Err(failed(error));
            }
            self.temporary = Some(temporary);
        }
        let temporary = self.temporary.as_deref().unwrap_or_default();
        // Of two names of the same file, the kernel leaves both: the temporary
        // one goes when this does.
        renameat(self.directory, temporary, self.directory, name).map_err(failed)
    }

    fn link_file(&self, file: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        if self.run.is_root {
            match linkat(file, c"", self.directory, name, AtFlags::EMPTY_PATH) {
                Err(Errno::NOENT | Errno::PERM | Errno::INVAL) => {}
                other => return other,
            }
        }
        link_file(file, self.directory, name)
    }
}

impl Drop for Unpublished<'_> {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // Mostly it has its name by now, and this finds nothing.
            let _ = unlinkat(self.directory, temporary.as_str(), AtFlags::empty());
        }
    }
}

fn made_file(file: Result<OwnedFd, Errno>) -> Result<Option<OwnedFd>, Errno> {
    file.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_names_tell_whose_they_are() {
        let name = TemporaryNames::default().next();
        assert!(is_temporary(name.as_bytes()) && !is_leftover(name.as_bytes()), "{name}");
        assert!(is_leftover(b".icecore-restore-7ffffffe-0"));
        for other in [&b".icecore-restore-"[..], b".icecore-restore-x-0", b"x", b"\xff-1-1"] {
            assert!(!is_temporary(other) && !is_leftover(other));
        }
    }
}
