//! Unpacking into a new directory.
//!
//! Restoring asks what is there already and decides; here nothing is: all of it is
//! made in a directory that is this run's alone, and gets its name in one step.
//! So what is shared with `restore` is not its walk but what both do to files, which
//! is in `local`: no symlink is followed, nothing leads out of the directory, and
//! metadata is set through open handles of what was made. Directories get theirs last,
//! since what is made in them changes their times and needs their modes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, fsync, linkat, makedev, mkdirat, mknodat, openat,
    symlinkat, syncfs,
};
use rustix::io::Errno;

use crate::archive::entry::{Found, FoundKind};
use crate::archive::error::ArchiveError;
use crate::archive::names::PATH_BYTES_MAX;
use crate::archive::unpack::Target;
use crate::base::name::printable;
use crate::base::progress::Monitor;
use crate::local::{Handle, Status, Times, mode_without_rights, open_beneath, open_parent};

/// Unpacks into one directory.
pub(super) struct Extraction<'a> {
    root: OwnedFd,
    root_path: PathBuf,
    euid: u32,
    egid: u32,
    monitor: &'a dyn Monitor,
    /// The directories by their paths, with what they get at the end.
    directories: BTreeMap<Vec<u8>, Found>,
    /// Bytes of their paths.
    path_bytes: usize,
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
        let root = root.map_err(failed)?;
        let euid = rustix::process::geteuid().as_raw();
        if Status::of_file(&root).map_err(failed)?.uid != euid {
            return Err(failed(Errno::PERM));
        }
        // What the directory above passes on goes no further.
        Handle::file(&root).remove_acls().map_err(failed)?;
        Ok(Self {
            root,
            root_path: directory.to_owned(),
            euid,
            egid: rustix::process::getegid().as_raw(),
            monitor,
            directories: BTreeMap::new(),
            path_bytes: 0,
            parent: None,
            file: None,
            problems: 0,
        })
    }

    /// Gives directories what they have, and makes everything durable.
    pub(super) fn finish(&mut self) -> Result<(), ArchiveError> {
        // What lies in a directory comes before it.
        for (path, found) in std::mem::take(&mut self.directories).into_iter().rev() {
            let found = Found { path, ..found };
            let place = self.place(&found, FileType::Directory)?;
            self.dress(&found, Handle::place(&place));
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
        let slash = path.iter().rposition(|byte| *byte == b'/');
        let (above, name) = path.split_at(slash.unwrap_or(0));
        let name = name.strip_prefix(b"/").unwrap_or(name);
        if self.parent.as_ref().is_none_or(|(open, _)| open != above) {
            let opened = open_beneath(&self.root, above);
            let opened = opened.map_err(self.failed("open", above))?;
            self.parent = Some((above.to_vec(), opened));
        }
        // The root itself.
        Ok(if name.is_empty() { b"." } else { name })
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

    /// Opens what was just made as a mere place, and makes sure that it is that.
    fn place(&mut self, found: &Found, kind: FileType) -> Result<OwnedFd, ArchiveError> {
        let name = self.enter(&found.path)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = openat(self.parent()?, name, flags, Mode::empty());
        let status = place.and_then(|place| Ok((Status::of_file(&place)?, place)));
        let (status, place) = status.map_err(self.failed("open", &found.path))?;
        let is_own = status.uid == self.euid && (status.links <= 1 || status.is_directory());
        if is_own && status.is(kind) {
            return Ok(place);
        }
        let path = self.root_path.join(OsStr::from_bytes(&found.path));
        let text = "another process put something else in its place";
        Err(ArchiveError::io("create", &path)(std::io::Error::other(text)))
    }

    /// Gives an item its owner, attributes, mode and times, in this order: each
    /// undoes a part of the ones behind it.
    fn dress(&mut self, found: &Found, handle: Handle<'_>) {
        let mut is_owner = (found.uid == self.euid, found.gid == self.egid);
        if self.euid == 0 {
            match handle.chown(found.uid, found.gid) {
                Ok(()) => is_owner = (true, true),
                Err(error) => self.problem(&found.path, "give it its owner", error),
            }
        }
        for xattr in found.xattrs.iter() {
            if let Err(error) = handle.set_xattr(xattr) {
                let what = format!("set its attribute {}", printable(&xattr.name));
                self.problem(&found.path, &what, error);
            }
        }
        let mode = match found.kind {
            FoundKind::File { .. } => mode_without_rights(found.mode, is_owner),
            _ => found.mode,
        };
        if mode != found.mode {
            self.problem(&found.path, "keep its setuid or setgid bit", Errno::PERM);
        }
        if !matches!(found.kind, FoundKind::Symlink(_))
            && let Err(error) = handle.chmod(mode)
        {
            self.problem(&found.path, "set its mode", error);
        }
        if let Err(error) = handle.set_times(Times { atime: found.atime, mtime: found.mtime }) {
            self.problem(&found.path, "set its times", error);
        }
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
                let first = open_parent(&self.root, first);
                first
                    .and_then(|(above, first)| linkat(above, first, parent, name, AtFlags::empty()))
            }
            FoundKind::File { .. } => Err(Errno::INVAL),
        })
    }
}

fn file_type(kind: &FoundKind) -> FileType {
    match kind {
        FoundKind::Symlink(_) => FileType::Symlink,
        FoundKind::Fifo => FileType::Fifo,
        FoundKind::CharDevice(_) => FileType::CharacterDevice,
        FoundKind::BlockDevice(_) => FileType::BlockDevice,
        FoundKind::Directory => FileType::Directory,
        FoundKind::File { .. } | FoundKind::HardLink(_) => FileType::RegularFile,
    }
}

impl Target for Extraction<'_> {
    fn begin(&mut self, _is_ordered: bool) {}

    fn entry(&mut self, found: &Found) -> Result<(), ArchiveError> {
        let made = self.make(found)?;
        match (&found.kind, made) {
            (FoundKind::Directory, Ok(())) => {
                // Told of more than once, the last word counts.
                let kept = Found { path: Vec::new(), ..found.clone() };
                let before = self.directories.insert(found.path.clone(), kept);
                self.path_bytes += if before.is_some() { 0 } else { found.path.len() };
                if self.path_bytes > PATH_BYTES_MAX {
                    let most = crate::base::format::bytes(PATH_BYTES_MAX as u64);
                    let archive = "The archive".to_owned();
                    let detail = format!("the paths of its directories have more than {most}");
                    return Err(ArchiveError::Unsafe { archive, detail });
                }
                Ok(())
            }
            (FoundKind::HardLink(_), Ok(())) => Ok(()),
            (kind, Ok(())) => {
                let place = self.place(found, file_type(kind))?;
                self.dress(found, Handle::place(&place));
                Ok(())
            }
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
        self.dress(&found, Handle::File(file.as_fd()));
        Ok(())
    }
}
