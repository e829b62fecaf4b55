//! A place in a tree, held by a descriptor: steps down by name and up by `..`,
//! so that neither the depth nor the length of a path is bounded.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, SeekFrom, Stat, fstat, openat, seek, statat};
use rustix::io::Errno;

/// The unit to which extents of data are rounded.
pub(crate) const BLOCK: u64 = 4096;
const XATTR_MAX: usize = 64 << 10;
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Extended attributes by name.
pub(crate) type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// A directory of a tree that is being walked.
pub(crate) struct Cursor {
    directory: OwnedFd,
    /// Device and inode of every directory above this one.
    above: Vec<(u64, u64)>,
}

impl Cursor {
    /// Starts at a directory.
    pub(crate) fn open(root: &Path) -> Result<Self, Errno> {
        let directory = openat(CWD, root, DIRECTORY, Mode::empty())?;
        Ok(Self { directory, above: Vec::new() })
    }

    /// Steps into a directory.
    pub(crate) fn enter(&mut self, name: &CStr) -> Result<(), Errno> {
        let inner = openat(&self.directory, name, DIRECTORY, Mode::empty())?;
        let stat = fstat(&self.directory)?;
        self.above.push((stat.st_dev, stat.st_ino));
        self.directory = inner;
        Ok(())
    }

    /// Steps back up, and fails unless `..` is where it came from.
    pub(crate) fn leave(&mut self) -> Result<(), Errno> {
        let outer = openat(&self.directory, c"..", DIRECTORY, Mode::empty())?;
        let stat = fstat(&outer)?;
        let known = self.above.pop().expect("each leave has its enter");
        assert_eq!(known, (stat.st_dev, stat.st_ino), "`..` leads to another directory");
        self.directory = outer;
        Ok(())
    }

    /// The names in the directory, sorted. A name twice is kept twice.
    pub(crate) fn names(&self) -> Result<Vec<CString>, Errno> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.directory)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The `lstat` of a name.
    pub(crate) fn stat(&self, name: &CStr) -> Result<Stat, Errno> {
        statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// The target of a symlink.
    pub(crate) fn target(&self, name: &CStr) -> Result<Vec<u8>, Errno> {
        Ok(rustix::fs::readlinkat(&self.directory, name, Vec::new())?.into_bytes())
    }

    /// Opens a regular file to read.
    pub(crate) fn file(&self, name: &CStr) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        openat(&self.directory, name, flags, Mode::empty())
    }

    /// All extended attributes of a name, ACLs and capabilities included.
    pub(crate) fn xattrs(&self, name: &CStr) -> Result<Xattrs, Errno> {
        let path = self.reachable(name);
        let mut list = vec![0_u8; XATTR_MAX];
        let size = match rustix::fs::llistxattr(&path, list.as_mut_slice()) {
            Err(Errno::OPNOTSUPP) => 0,
            other => other?,
        };
        let mut found = Xattrs::new();
        let mut value = if size > 0 { vec![0_u8; XATTR_MAX] } else { Vec::new() };
        for key in list[..size].split_inclusive(|byte| *byte == 0) {
            let key = CStr::from_bytes_with_nul(key).expect("names end with NUL");
            let size = rustix::fs::lgetxattr(&path, key, value.as_mut_slice())?;
            found.insert(key.to_bytes().to_vec(), value[..size].to_vec());
        }
        Ok(found)
    }

    /// A path to a name that is short however deep the directory is. Valid
    /// until the next step.
    pub(crate) fn reachable(&self, name: &CStr) -> PathBuf {
        let mut path = format!("/proc/self/fd/{}/", self.directory.as_raw_fd()).into_bytes();
        path.extend_from_slice(name.to_bytes());
        PathBuf::from(OsString::from_vec(path))
    }
}

/// Where a file holds data, in whole blocks: start and end of each extent.
pub(crate) fn data_extents(file: &OwnedFd, size: u64) -> Result<Vec<(u64, u64)>, Errno> {
    let mut extents: Vec<(u64, u64)> = Vec::new();
    let mut from = 0;
    while from < size {
        let start = match seek(file, SeekFrom::Data(from)) {
            Err(Errno::NXIO) => break,
            other => other?,
        };
        let end = seek(file, SeekFrom::Hole(start))?;
        assert!(end > start, "SEEK_HOLE at {start} answered {end}");
        let (start, rounded) = (start / BLOCK * BLOCK, end.next_multiple_of(BLOCK));
        match extents.last_mut() {
            Some(last) if last.1 >= start => last.1 = rounded,
            _ => extents.push((start, rounded)),
        }
        from = end;
    }
    Ok(extents)
}
