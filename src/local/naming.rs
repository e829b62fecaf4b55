//! Giving names to what is whole.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, CWD, RenameFlags, linkat, renameat_with, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::local::through_proc;

/// Gives a file without a name (`O_TMPFILE`) one that is free.
///
/// # Errors
/// `EXIST` if the name is taken; else as the system says.
pub(crate) fn link_file(
    file: impl AsFd,
    directory: impl AsFd,
    name: impl Arg,
) -> Result<(), Errno> {
    let path = through_proc(file.as_fd());
    linkat(CWD, path, directory, name, AtFlags::SYMLINK_FOLLOW)
}

/// Renames what is in a directory to another name in it, if that one is free.
///
/// # Errors
/// `EXIST` if the name is taken; else as the system says.
pub(crate) fn rename_to_free(
    directory: impl AsFd,
    from: impl Arg + Copy,
    to: impl Arg + Copy,
) -> Result<(), Errno> {
    let renamed = renameat_with(&directory, from, &directory, to, RenameFlags::NOREPLACE);
    match renamed {
        // Some file systems know no flags, such as NFS.
        Err(Errno::INVAL | Errno::NOSYS) => {
            linkat(&directory, from, &directory, to, AtFlags::empty())?;
            unlinkat(&directory, from, AtFlags::empty())
        }
        renamed => renamed,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn a_name_that_is_taken_stays_with_who_has_it() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = File::open(scratch.path()).unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::write(at("mine"), b"mine").unwrap();
        fs::write(at("yours"), b"yours").unwrap();
        assert_eq!(rename_to_free(&directory, "mine", "yours"), Err(Errno::EXIST));
        assert_eq!(fs::read(at("yours")).unwrap(), b"yours");
        assert_eq!(rename_to_free(&directory, "mine", "free"), Ok(()));
        assert!(!at("mine").exists() && at("free").exists());
        let open = File::open(at("free")).unwrap();
        assert_eq!(link_file(&open, &directory, "yours"), Err(Errno::EXIST));
        fs::remove_file(at("yours")).unwrap();
        assert_eq!(link_file(&open, &directory, "yours"), Ok(()));
        assert_eq!(fs::read(at("yours")).unwrap(), b"mine");
    }
}
