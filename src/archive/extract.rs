//! Unpacking into a new directory, through handles of its own.
//!
//! Everything happens in a directory that nobody else looks into, under names
//! that were checked, and no symlink is ever followed. Directories get their own
//! modes and times last.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, Uid,
    XattrFlags, chmod, chownat, fsync, linkat, lsetxattr, makedev, mkdirat, mknodat, openat,
    openat2, symlinkat, syncfs, utimensat,
};
use rustix::io::Errno;

use crate::archive::entry::{Found, FoundKind};
use crate::archive::error::ArchiveError;
use crate::archive::unpack::Target;
use crate::base::name::printable;
use crate::base::progress::Monitor;
use crate::base::time::Timestamp;

/// Bytes of a path that are opened at once: fewer than `PATH_MAX`.
const PATH_BYTES: usize = 2048;

/// Unpacks into one directory.
pub(super) struct Extraction<'a> {
    root: OwnedFd,
    root_path: PathBuf,
    is_root: bool,
    monitor: &'a dyn Monitor,
    /// The directories, with what they get at the end.
    directories: BTreeMap<Vec<u8>, Found>,
    /// The directory that was used last.
    parent: Option<(Vec<u8>, OwnedFd)>,
    file: Option<(File, u64, Found)>,
    /// Items that did not get all that they have.
    pub(super) problems: u64,
}

impl<'a> Extraction<'a> {
    /// Begins in an empty directory.
    pub(super) fn new(directory: &Path, monitor: &'a dyn Monitor) -> Result<Self, ArchiveError> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = openat(CWD, directory, flags, Mode::empty());
        let failed = |error: Errno| ArchiveError::io("open", directory)(error.into());
        Ok(Self {
            root: root.map_err(failed)?,
            root_path: directory.to_owned(),
            is_root: rustix::process::geteuid().is_root(),
            monitor,
            directories: BTreeMap::new(),
            parent: None,
            file: None,
            problems: 0,
        })
    }

    /// Gives directories what they have, and makes everything durable.
    pub(super) fn finish(&mut self) -> Result<(), ArchiveError> {
        // What lies in a directory comes before it.
        for found in std::mem::take(&mut self.directories).into_values().rev() {
            self.dress(&found)?;
        }
        self.parent = None;
        let synced = syncfs(&self.root).and_then(|()| fsync(&self.root));
        synced.map_err(|error| self.failed("write", b"")(error))
    }

    fn failed(&self, action: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> ArchiveError {
        let path = self.root_path.join(OsStr::from_bytes(path));
        move |error| ArchiveError::io(action, &path)(error.into())
    }

    /// Opens the directory that a path lies in, and returns the last name.
    fn enter<'p>(&mut self, path: &'p [u8]) -> Result<&'p [u8], ArchiveError> {
        let (above, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => path.split_at(slash),
            None => (&[][..], path),
        };
        let name = name.strip_prefix(b"/").unwrap_or(name);
        if self.parent.as_ref().is_none_or(|(open, _)| open != above) {
            let opened = self.open_directory(above);
            let opened = opened.map_err(self.failed("open", above))?;
            self.parent = Some((above.to_vec(), opened));
        }
        // The root itself.
        Ok(if name.is_empty() { b"." } else { name })
    }

    fn open_directory(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let mut open = self.root.try_clone().map_err(|_| Errno::MFILE)?;
        let mut rest = path;
        while !rest.is_empty() {
            let end = match rest.get(..PATH_BYTES) {
                Some(piece) => piece.iter().rposition(|byte| *byte == b'/').unwrap_or(rest.len()),
                None => rest.len(),
            };
            let (piece, behind) = rest.split_at(end);
            open = openat2(&open, piece, flags, Mode::empty(), resolve)?;
            rest = behind.strip_prefix(b"/").unwrap_or(behind);
        }
        Ok(open)
    }

    fn parent(&self) -> Result<&OwnedFd, ArchiveError> {
        let parent = self.parent.as_ref().map(|(_, parent)| parent);
        parent.ok_or(ArchiveError::Internal("no directory is open"))
    }

    fn problem(&mut self, path: &[u8], what: &str, error: Errno) {
        self.problems += 1;
        let error = std::io::Error::from(error);
        self.monitor.problem(&format!("{}: cannot {what}: {error}", printable(path)));
    }

    /// Gives an item its owner, mode, attributes and times, in this order: each
    /// undoes a part of the ones behind it.
    fn dress(&mut self, found: &Found) -> Result<(), ArchiveError> {
        let name = self.enter(&found.path)?;
        let parent = self.parent()?.as_fd().try_clone_to_owned();
        let parent = parent.map_err(|_| self.failed("open", &found.path)(Errno::MFILE))?;
        let is_link = matches!(found.kind, FoundKind::Symlink(_));
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        if self.is_root {
            let owner = (Uid::from_raw_unchecked(found.uid), Gid::from_raw_unchecked(found.gid));
            if let Err(error) = chownat(&parent, name, Some(owner.0), Some(owner.1), nofollow) {
                self.problem(&found.path, "give it its owner", error);
            }
        }
        let mut place = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
        place.extend_from_slice(name);
        if !is_link
            && let Err(error) = chmod(place.as_slice(), Mode::from_raw_mode(found.mode.into()))
        {
            self.problem(&found.path, "set its mode", error);
        }
        for xattr in &found.xattrs {
            let set = lsetxattr(place.as_slice(), &*xattr.name, &xattr.value, XattrFlags::empty());
            if let Err(error) = set {
                let what = format!("set its attribute {}", printable(&xattr.name));
                self.problem(&found.path, &what, error);
            }
        }
        let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let times = Timestamps {
            last_access: found.atime.map_or(omitted, timespec),
            last_modification: timespec(found.mtime),
        };
        if let Err(error) = utimensat(&parent, name, &times, nofollow) {
            self.problem(&found.path, "set its times", error);
        }
        Ok(())
    }

    fn make(&mut self, found: &Found) -> Result<Result<(), Errno>, ArchiveError> {
        let name = self.enter(&found.path)?;
        let parent = self.parent()?;
        let private = Mode::from_raw_mode(0o700);
        let node = |kind, major, minor| {
            mknodat(parent, name, kind, Mode::from_raw_mode(0o600), makedev(major, minor))
        };
        Ok(match &found.kind {
            FoundKind::Directory => match mkdirat(parent, name, private) {
                Err(Errno::EXIST) => Ok(()),
                made => made,
            },
            FoundKind::Symlink(target) => symlinkat(target.as_slice(), parent, name),
            FoundKind::Fifo => node(FileType::Fifo, 0, 0),
            FoundKind::CharDevice(it) => node(FileType::CharacterDevice, it.major, it.minor),
            FoundKind::BlockDevice(it) => node(FileType::BlockDevice, it.major, it.minor),
            FoundKind::HardLink(first) => {
                let (above, first) = match first.iter().rposition(|byte| *byte == b'/') {
                    Some(slash) => (first.get(..slash), first.get(slash + 1..)),
                    None => (Some(&[][..]), Some(first.as_slice())),
                };
                let above = self.open_directory(above.unwrap_or_default());
                above.and_then(|above| {
                    linkat(above, first.unwrap_or_default(), parent, name, AtFlags::empty())
                })
            }
            FoundKind::File { .. } => Err(Errno::INVAL),
        })
    }
}

fn timespec(time: Timestamp) -> Timespec {
    Timespec { tv_sec: time.seconds(), tv_nsec: time.nanoseconds().into() }
}

impl Target for Extraction<'_> {
    fn begin(&mut self, _is_ordered: bool) {}

    fn entry(&mut self, found: &Found) -> Result<(), ArchiveError> {
        let made = self.make(found)?;
        match (&found.kind, made) {
            (FoundKind::Directory, Ok(())) => {
                // Told of more than once, the last word counts.
                self.directories.insert(found.path.clone(), found.clone());
                Ok(())
            }
            (FoundKind::HardLink(_), Ok(())) => Ok(()),
            (_, Ok(())) => self.dress(found),
            (FoundKind::CharDevice(_) | FoundKind::BlockDevice(_), Err(error)) => {
                self.problem(&found.path, "make the device", error);
                Ok(())
            }
            (_, Err(error)) => Err(self.failed("create", &found.path)(error)),
        }
    }

    fn begin_file(&mut self, found: &Found) -> Result<(), ArchiveError> {
        let name = self.enter(&found.path)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(self.parent()?, name, flags, Mode::from_raw_mode(0o600));
        let file = file.map_err(self.failed("create", &found.path))?;
        self.file = Some((File::from(file), 0, found.clone()));
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        let Some((file, place, found)) = &mut self.file else { return Ok(()) };
        if let Err(source) = file.write_all_at(bytes, *place) {
            let path = self.root_path.join(OsStr::from_bytes(&found.path));
            return Err(ArchiveError::io("write", &path)(source));
        }
        *place += bytes.len() as u64;
        Ok(())
    }

    fn hole(&mut self, bytes: u64) -> Result<(), ArchiveError> {
        if let Some((_, place, _)) = &mut self.file {
            *place += bytes;
        }
        Ok(())
    }

    fn end_file(&mut self) -> Result<(), ArchiveError> {
        let Some((file, size, found)) = self.file.take() else { return Ok(()) };
        if let Err(source) = file.set_len(size) {
            let path = self.root_path.join(OsStr::from_bytes(&found.path));
            return Err(ArchiveError::io("write", &path)(source));
        }
        drop(file);
        self.dress(&found)
    }
}
