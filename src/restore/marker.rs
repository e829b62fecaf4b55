//! A file in the target that is there while a restore is under way.
//!
//! It tells people that what they see is not all, keeps two restores from
//! working in the same target, and lets one that was cut short go on: a target that
//! was empty when it began holds nothing of anybody else's.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, openat, unlinkat};
use rustix::io::Errno;

use crate::base::id::SnapshotId;
use crate::local::Status;
use crate::restore::error::RestoreError;

/// Its name.
pub(super) const MARKER: &str = ".icecore-restore-unfinished";
/// Its first words where the target was empty before.
const FRESH: &str = "into an empty directory";
const OCCUPIED: &str = "into a directory with other files";
const BYTES_MAX: u64 = 64 << 10;

/// The marker of one target.
#[derive(Debug)]
pub(super) struct Marker {
    text: String,
    held: Mutex<Option<OwnedFd>>,
}

/// What a marker says of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There is none.
    Nothing,
    /// An earlier restore of something else, or among other files.
    Another,
    /// An earlier restore of the same into what was empty.
    Same,
}

fn text(id: SnapshotId, path: &[u8], is_fresh: bool) -> String {
    let what = if is_fresh { FRESH } else { OCCUPIED };
    let path = crate::base::name::printable(path);
    format!(
        "An icecore restore {what} is under way, or was cut short; run it again to finish it.\n\
         {id}:{path}\n"
    )
}

/// Looks for a marker that this user left.
pub(super) fn find(
    target: &OwnedFd,
    id: SnapshotId,
    path: &[u8],
    euid: u32,
) -> Result<Found, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(target, MARKER, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Found::Nothing),
        opened => opened?,
    };
    if Status::of_file(&file)?.uid != euid {
        return Ok(Found::Another);
    }
    let mut found = String::new();
    let read = std::fs::File::from(file).take(BYTES_MAX).read_to_string(&mut found);
    let is_same = read.is_ok() && found == text(id, path, true);
    Ok(if is_same { Found::Same } else { Found::Another })
}

impl Marker {
    pub(super) fn new(id: SnapshotId, path: &[u8], is_fresh: bool) -> Self {
        Self { text: text(id, path, is_fresh), held: Mutex::default() }
    }

    /// Makes it, if this run has not yet.
    pub(super) fn raise(&self, target: &OwnedFd, path: &[u8]) -> Result<(), RestoreError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_some() {
            return Ok(());
        }
        let failed = || RestoreError::target("write to", path);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let full = || RestoreError::Full { path: super::error::shown(path) };
        let file = match openat(target, MARKER, flags, Mode::RUSR | Mode::WUSR) {
            Err(Errno::NOSPC | Errno::DQUOT) => return Err(full()),
            opened => opened.map_err(failed())?,
        };
        if flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            return Err(RestoreError::Busy { path: super::error::shown(path) });
        }
        // Whoever had it between the two did its work, and took it away.
        if !is_in_place(target, &file) {
            return Err(RestoreError::Busy { path: super::error::shown(path) });
        }
        let copy = file.try_clone().map_err(|_| failed()(Errno::MFILE))?;
        let mut writer = std::fs::File::from(copy);
        let written = writer.set_len(0).and_then(|()| writer.write_all(self.text.as_bytes()));
        if let Err(error) = written {
            let code = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
            let is_full = matches!(code, Errno::NOSPC | Errno::DQUOT);
            return Err(if is_full { full() } else { failed()(code) });
        }
        *held = Some(file);
        Ok(())
    }

    /// Takes it away, since all is done. One that an earlier run left goes too.
    pub(super) fn lower(&self, target: &OwnedFd) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        if held.is_some() {
            // Should it stay, it says too little, never too much.
            let _ = unlinkat(target, MARKER, AtFlags::empty());
        }
    }
}

/// Whether a marker is the one that is there.
fn is_in_place(target: &OwnedFd, marker: &OwnedFd) -> bool {
    let (own, there) = (Status::of_file(marker), Status::of_name(target, MARKER));
    own.is_ok_and(|own| there.is_ok_and(|there| own.identity() == there.identity()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_that_another_restore_took_away_or_made_anew_is_not_held() {
        let scratch = tempfile::tempdir().unwrap();
        let target = OwnedFd::from(std::fs::File::open(scratch.path()).unwrap());
        let path = scratch.path().join(MARKER);
        std::fs::write(&path, b"").unwrap();
        let marker = OwnedFd::from(std::fs::File::open(&path).unwrap());
        assert!(is_in_place(&target, &marker));
        std::fs::remove_file(&path).unwrap();
        assert!(!is_in_place(&target, &marker));
        std::fs::write(&path, b"").unwrap();
        assert!(!is_in_place(&target, &marker));
    }
}
