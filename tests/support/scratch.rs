//! A temporary directory that also removes what `remove_dir_all` cannot:
//! trees deeper than the bound on open files, and paths beyond `PATH_MAX`.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, unlinkat};
use rustix::io::Errno;

/// A directory of its own for one test.
pub(crate) struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    /// Makes one below `TMPDIR`, open to other users' searching.
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("icecore-test-").tempdir();
        let directory = directory.expect("a temporary directory can be made");
        let mode = Mode::from_raw_mode(0o755);
        rustix::fs::chmod(directory.path(), mode).expect("its mode can be set");
        Self { directory }
    }

    /// Its path, with symlinks resolved.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().canonicalize().expect("the directory exists")
    }

    /// A path in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Makes a directory in it.
    pub(crate) fn mkdir(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        std::fs::create_dir_all(&path).expect("a directory can be made");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = empty(self.directory.path()) {
            eprintln!("{}: not emptied: {error}", self.directory.path().display());
        }
    }
}

struct Level {
    names: Vec<(CString, bool)>,
    below: Option<CString>,
}

/// Removes what is in a directory, level by level through descriptors, never
/// onto another file system.
pub(crate) fn empty(root: &Path) -> Result<(), Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut current = openat(CWD, root, flags, Mode::empty())?;
    let device = fstat(&current)?.st_dev;
    let mut levels = vec![Level { names: names(&current)?, below: None }];
    while let Some(level) = levels.last_mut() {
        let Some((name, directory)) = level.names.pop() else {
            let done = levels.pop().and_then(|level| level.below);
            if let Some(name) = done {
                current = openat(&current, c"..", flags, Mode::empty())?;
                let _kept = unlinkat(&current, &name, AtFlags::REMOVEDIR);
            }
            continue;
        };
        if !directory {
            let _kept = unlinkat(&current, &name, AtFlags::empty());
            continue;
        }
        let Ok(inner) = openat(&current, &name, flags, Mode::empty()) else { continue };
        if fstat(&inner)?.st_dev != device {
            continue;
        }
        let _as_it_is = rustix::fs::fchmod(&inner, Mode::from_raw_mode(0o700));
        levels.push(Level { names: names(&inner)?, below: Some(name) });
        current = inner;
    }
    Ok(())
}

fn names(directory: &OwnedFd) -> Result<Vec<(CString, bool)>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            names.push((name, entry.file_type() == FileType::Directory));
        }
    }
    Ok(names)
}
