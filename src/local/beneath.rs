//! Reaching what lies below an open directory, and nothing else.

use std::ffi::OsString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, RawDir, ResolveFlags, openat2};
use rustix::io::Errno;

/// Bytes of names asked of the system at once.
const LIST_BYTES: usize = 64 << 10;
/// Bytes of a path that are opened at once; the system takes less than 4096.
const STRIDE_BYTES: usize = 2048;

/// The path by which the kernel leads to an open file, whatever its own path.
pub(crate) fn through_proc(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// The path by which the kernel leads to a name in an open directory, for calls that
/// know no directories: their own paths may be too long, or lead elsewhere by now.
pub(crate) fn path_of(directory: impl AsFd, name: &[u8]) -> PathBuf {
    let mut path = through_proc(directory.as_fd()).into_bytes();
    path.push(b'/');
    path.extend_from_slice(name);
    PathBuf::from(OsString::from_vec(path))
}

/// Opens the directory at a path below another one as a mere place. No symlink
/// and no `..` leads out; an empty path is the directory itself.
///
/// # Errors
/// `LOOP` if there is a symlink in the path, `XDEV` if it leads out; else as the
/// system says.
pub(crate) fn open_beneath(root: impl AsFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let mut directory = root.as_fd().try_clone_to_owned().map_err(|_| Errno::MFILE)?;
    let mut rest = path;
    while !rest.is_empty() {
        let end = match rest.get(..STRIDE_BYTES) {
            Some(stride) => stride.iter().rposition(|byte| *byte == b'/').unwrap_or(rest.len()),
            None => rest.len(),
        };
        let (above, below) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        directory = openat2(&directory, above, flags, Mode::empty(), resolve)?;
        rest = below.strip_prefix(b"/").unwrap_or(below);
    }
    Ok(directory)
}

/// Opens the directory that the last name of a path is in, and returns it with that
/// name.
///
/// # Errors
/// As [`open_beneath`], and on `.` and `..` in the place of that name.
pub(crate) fn open_parent(root: impl AsFd, path: &[u8]) -> Result<(OwnedFd, &[u8]), Errno> {
    let (above, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => path.split_at_checked(slash).unwrap_or((path, &[])),
        None => (&[][..], path),
    };
    let name = name.strip_prefix(b"/").unwrap_or(name);
    // What is done to such a name would be done above it.
    if matches!(name, b"." | b"..") {
        return Err(Errno::INVAL);
    }
    Ok((open_beneath(root, above)?, name))
}

/// Tells of each name in an open directory, from where it was read to before: all of
/// them if it was not yet. They come in no order.
///
/// # Errors
/// As the system says; what was told before is true.
pub(crate) fn names(directory: impl AsFd, told: &mut dyn FnMut(&[u8])) -> Result<(), Errno> {
    let mut buffer = [MaybeUninit::uninit(); LIST_BYTES];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"" | b"." | b"..") {
            told(name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_leads_out_of_a_directory_and_no_path_is_too_deep() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(scratch.path().join("outside")).unwrap();
        symlink("../outside", root.join("out")).unwrap();
        symlink("a", root.join("in")).unwrap();
        let root = File::open(&root).unwrap();
        assert!(open_beneath(&root, b"").is_ok() && open_beneath(&root, b"a/b").is_ok());
        assert_eq!(open_parent(&root, b"a/b/c").unwrap().1, b"c");
        assert_eq!(open_parent(&root, b"c").unwrap().1, b"c");
        for (path, error) in [
            (&b"out"[..], Errno::LOOP),
            (b"in/b", Errno::LOOP),
            (b"a/../..", Errno::XDEV),
            (b"/tmp", Errno::XDEV),
            (b"none", Errno::NOENT),
        ] {
            assert_eq!(open_beneath(&root, path).err(), Some(error), "{path:?}");
        }
        let mut deep = Vec::new();
        let mut below = root.try_clone().unwrap();
        for _ in 0..30 {
            let name = "n".repeat(200);
            rustix::fs::mkdirat(&below, &name, Mode::RWXU).unwrap();
            below = File::from(open_beneath(&below, name.as_bytes()).unwrap());
            deep.extend_from_slice(name.as_bytes());
            deep.push(b'/');
        }
        deep.pop();
        assert!(deep.len() > 4096 && open_beneath(&root, &deep).is_ok());
    }

    #[test]
    fn every_name_is_told_of_once() {
        let scratch = tempfile::tempdir().unwrap();
        let mut wanted: Vec<_> = (0..3000).map(|index| format!("a name of {index}")).collect();
        for name in &wanted {
            File::create(scratch.path().join(name)).unwrap();
        }
        let directory = File::open(scratch.path()).unwrap();
        let mut found = Vec::new();
        names(&directory, &mut |name| found.push(String::from_utf8(name.to_vec()).unwrap()))
            .unwrap();
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted);
    }
}
