//! The target as a whole: opening or making it, and what it holds before.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::base::files::with_inherited_umask;
use crate::dag::Node;
use crate::local::Status;
use crate::repository::Repository;
use crate::restore::directory::Directory;
use crate::restore::error::{RestoreError, shown};
use crate::restore::marker::{self, Found, MARKER};
use crate::restore::publish::is_temporary;
use crate::restore::remove::names;
use crate::restore::request::RestoreRequest;

/// Directories above a target that are looked at; a path has fewer.
const DEPTH_MAX: usize = 4096;

/// What a target holds before anything is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// It is not there.
    Missing,
    /// It holds nothing.
    Empty,
    /// It was empty when this same restore began, which was cut short.
    Unfinished,
    /// It holds something.
    Occupied,
}

/// Says what the target of a request holds.
///
/// # Errors
/// Fails if it is no directory or cannot be read, or lies in the repository.
pub fn target_state(
    repository: &Repository,
    request: &RestoreRequest,
) -> Result<TargetState, RestoreError> {
    Ok(Target::open(request, repository)?.state)
}

/// An open target.
pub(super) struct Target {
    /// None if it is not there.
    root: Option<OwnedFd>,
    state: TargetState,
    path: Vec<u8>,
    /// Whether this run made it.
    is_made: bool,
    /// Whether its own metadata may be set by who runs this.
    is_own: bool,
}

impl Target {
    /// Opens the target, if it is there.
    pub(super) fn open(
        request: &RestoreRequest,
        repository: &Repository,
    ) -> Result<Self, RestoreError> {
        let path = request.target.as_os_str().as_encoded_bytes().to_vec();
        let failed = || RestoreError::target("open", &path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = match openat(CWD, &request.target, flags, Mode::empty()) {
            Ok(root) => root,
            Err(Errno::NOENT) => {
                let state = TargetState::Missing;
                refuse_within(&request.target, repository)?;
                return Ok(Self { root: None, state, path, is_made: false, is_own: true });
            }
            Err(Errno::NOTDIR) => {
                let text = format!("{} is no directory; name one to restore into", shown(&path));
                return Err(RestoreError::Refused(text));
            }
            Err(error) => return Err(failed()(error)),
        };
        refuse_inside(&root, repository, &path)?;
        let euid = rustix::process::geteuid();
        let status = Status::of_file(&root).map_err(failed())?;
        let is_own = euid.is_root() || status.uid == euid.as_raw();
        let (id, inner) = (request.source.id, &request.source.path);
        let found = marker::find(&root, id, inner, euid.as_raw());
        let state = match found {
            Ok(Found::Same) => TargetState::Unfinished,
            _ if holds_nothing(&root).map_err(failed())? => TargetState::Empty,
            _ => TargetState::Occupied,
        };
        Ok(Self { root: Some(root), state, path, is_made: false, is_own })
    }

    /// Opens the target, or makes it with the directories above it.
    pub(super) fn open_or_make(
        request: &RestoreRequest,
        repository: &Repository,
    ) -> Result<Self, RestoreError> {
        let target = Self::open(request, repository)?;
        if target.state != TargetState::Missing {
            return Ok(target);
        }
        let made = with_inherited_umask(|| fs::create_dir_all(&request.target));
        made.map_err(|error| {
            let code = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
            RestoreError::target("make", &target.path)(code)
        })?;
        let target = Self::open(request, repository)?;
        Ok(Self { is_made: true, ..target })
    }

    /// Whether all that it holds in the end will be this restore's.
    pub(super) fn was_fresh(&self) -> bool {
        self.state != TargetState::Occupied
    }

    /// Another handle of it.
    pub(super) fn handle(&self) -> Result<OwnedFd, RestoreError> {
        let failed = || RestoreError::target("open", &self.path);
        self.try_handle()?.ok_or_else(|| failed()(Errno::NOENT))
    }

    /// Another handle of it, if it is there.
    pub(super) fn try_handle(&self) -> Result<Option<OwnedFd>, RestoreError> {
        let failed = RestoreError::target("open", &self.path);
        self.root.as_ref().map(OwnedFd::try_clone).transpose().map_err(|_| failed(Errno::MFILE))
    }

    /// The directory to restore into. It gets metadata if somebody may set it.
    pub(super) fn into_directory(self, wanted: Option<Node>) -> Directory {
        let wanted = wanted.filter(|_| self.is_own);
        let before = (self.is_made || self.root.is_none(), self.was_fresh());
        Directory::root(self.root, before, wanted)
    }
}

fn holds_nothing(root: &OwnedFd) -> Result<bool, Errno> {
    let is_own = |name: &Vec<u8>| is_temporary(name) || name == MARKER.as_bytes();
    Ok(names(root)?.iter().all(|name| is_own(name) || name == b"lost+found"))
}

/// Refuses a target that is the repository or lies in it.
fn refuse_inside(root: &OwnedFd, repository: &Repository, path: &[u8]) -> Result<(), RestoreError> {
    let failed = || RestoreError::target("look at", path);
    let Ok(own) = Status::of_name(CWD, repository.path()) else { return Ok(()) };
    let mut directory = root.try_clone().map_err(|_| failed()(Errno::MFILE))?;
    let mut below = None;
    for _ in 0..DEPTH_MAX {
        let Ok(status) = Status::of_file(&directory) else { return Ok(()) };
        let identity = status.identity();
        if identity == own.identity() {
            let text = format!("{} is in the repository; restore elsewhere", shown(path));
            return Err(RestoreError::Refused(text));
        }
        if below == Some(identity) {
            break;
        }
        below = Some(identity);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(above) = openat(&directory, c"..", flags, Mode::empty()) else { break };
        directory = above;
    }
    Ok(())
}

/// The same for a target that is not there: what counts is the first directory
/// above it that is.
fn refuse_within(target: &Path, repository: &Repository) -> Result<(), RestoreError> {
    let absolute = std::path::absolute(target).unwrap_or_else(|_| target.to_owned());
    for above in absolute.ancestors().skip(1) {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if let Ok(directory) = openat(CWD, above, flags, Mode::empty()) {
            return refuse_inside(&directory, repository, target.as_os_str().as_encoded_bytes());
        }
    }
    Ok(())
}
