//! Reading extended attributes.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{fgetxattr, flistxattr, getxattr, lgetxattr, listxattr, llistxattr};
use rustix::io::Errno;

use crate::base::limits::{XATTR_NAME_BYTES_MAX, XATTR_TOTAL_BYTES_MAX, XATTR_VALUE_BYTES_MAX};
use crate::dag::Xattr;
use crate::local::{path_of, through_proc};

/// Bytes that suffice for nearly all lists and values.
const USUAL_BYTES: usize = 512;

/// Reads all attributes of an open file, by rising name.
///
/// # Errors
/// As the system says; `TOOBIG` if they are more than a snapshot can keep.
pub(crate) fn of_file(file: impl AsFd) -> Result<Vec<Xattr>, Errno> {
    read(|buffer| flistxattr(&file, buffer), |name, buffer| fgetxattr(&file, name, buffer))
}

/// Reads those of what is open as a mere place (`O_PATH`).
///
/// # Errors
/// As [`of_file`].
pub(crate) fn of_place(place: BorrowedFd<'_>) -> Result<Vec<Xattr>, Errno> {
    let path = &*through_proc(place);
    read(|buffer| listxattr(path, buffer), |name, buffer| getxattr(path, name, buffer))
}

/// Reads those of a name in an open directory.
///
/// # Errors
/// As [`of_file`].
pub(crate) fn of_name(directory: impl AsFd, name: &[u8]) -> Result<Vec<Xattr>, Errno> {
    of_path(&path_of(directory, name))
}

/// Reads those at a path, whose last name is not followed.
///
/// # Errors
/// As [`of_file`].
pub(crate) fn of_path(path: &Path) -> Result<Vec<Xattr>, Errno> {
    read(|buffer| llistxattr(path, buffer), |name, buffer| lgetxattr(path, name, buffer))
}

/// Whether a name in an open directory has none, as far as can be told.
pub(crate) fn are_none(directory: impl AsFd, name: &[u8]) -> bool {
    let path = path_of(directory, name);
    matches!(llistxattr(&path, &mut [0_u8; 1]), Ok(0) | Err(Errno::OPNOTSUPP))
}

/// The names of those that an open file has.
///
/// # Errors
/// As the system says.
pub(crate) fn names_of_file(file: impl AsFd) -> Result<Vec<Vec<u8>>, Errno> {
    names(|buffer| flistxattr(&file, buffer))
}

/// The names of those that a mere place has.
///
/// # Errors
/// As the system says.
pub(crate) fn names_of_place(place: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    names(|buffer| listxattr(&*through_proc(place), buffer))
}

fn names(list: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<Vec<u8>>, Errno> {
    let list = match filled(list) {
        // Not every file system knows attributes.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
        list => list?,
    };
    let names = list.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(<[u8]>::to_vec).collect())
}

/// Reads what a list names. One that vanishes meanwhile is left out.
fn read(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
) -> Result<Vec<Xattr>, Errno> {
    let mut xattrs = Vec::new();
    let mut total = 0;
    for name in names(list)? {
        let value = match filled(|buffer| get(&name, buffer)) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => continue,
            value => value?,
        };
        total += name.len() + value.len();
        if name.len() > XATTR_NAME_BYTES_MAX || total > XATTR_TOTAL_BYTES_MAX {
            return Err(Errno::TOOBIG);
        }
        xattrs.push(Xattr { name: name.into(), value: value.into() });
    }
    xattrs.sort_unstable();
    xattrs.dedup_by(|a, b| a.name == b.name);
    Ok(xattrs)
}

/// Reads into a buffer that suits nearly all, and into the largest one there
/// can be if it did not suffice.
fn filled(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0_u8; USUAL_BYTES];
    match read(&mut small) {
        Ok(length) => Ok(small.get(..length).unwrap_or_default().to_vec()),
        Err(Errno::RANGE) => {
            let mut large = vec![0_u8; XATTR_VALUE_BYTES_MAX];
            let length = read(&mut large)?;
            large.truncate(length);
            Ok(large)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_reads_the_same_and_by_rising_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"").unwrap();
        let large = vec![7; 2 * USUAL_BYTES];
        let own: [(&[u8], &[u8]); 3] = [(b"user.b", b""), (b"user.a", &large), (b"user.c", b"3")];
        for (name, value) in own {
            let flags = rustix::fs::XattrFlags::empty();
            // Some file systems keep none; nothing can be shown there.
            if rustix::fs::lsetxattr(&path, name, value, flags) == Err(Errno::OPNOTSUPP) {
                return;
            }
        }
        let above = std::fs::File::open(directory.path()).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let found = of_file(&file).unwrap();
        // The system may have given it some more.
        let is_own = |xattr: &&Xattr| xattr.name.starts_with(b"user.");
        let names: Vec<_> = found.iter().filter(is_own).map(|xattr| &*xattr.name).collect();
        assert_eq!(names, [b"user.a", b"user.b", b"user.c"]);
        assert!(found.iter().any(|xattr| *xattr.value == *large));
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        let place = rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).unwrap();
        assert_eq!(of_place(place.as_fd()).unwrap(), found);
        assert_eq!(of_name(&above, b"file").unwrap(), found);
        assert_eq!(of_path(&path).unwrap(), found);
        assert_eq!(names_of_file(&file).unwrap().len(), found.len());
        assert_eq!(names_of_place(place.as_fd()).unwrap().len(), found.len());
        assert!(!are_none(&above, b"file"));
    }
}
