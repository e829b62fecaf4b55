//! A file that appears under its name only when it is whole and durable.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, rename};
use rustix::io::Errno;

use crate::archive::error::ArchiveError;
use crate::base::name::printable;
use crate::local::{link_file, rename_to_free};

/// A file under construction. Dropped before [`Self::publish`] it is gone; a
/// killed process leaves nothing either where the file system can make files
/// without names (`O_TMPFILE`).
pub struct NewFile {
    file: File,
    path: PathBuf,
    /// Its name until then, where it needs one.
    temporary: Option<PathBuf>,
}

impl NewFile {
    /// Begins a file that only its owner may read.
    ///
    /// # Errors
    /// Fails if there is no such directory or it cannot be written to.
    pub fn create(path: &Path) -> Result<Self, ArchiveError> {
        let directory = directory_of(path);
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        let mut nameless = options.clone();
        nameless.custom_flags(OFlags::TMPFILE.bits().cast_signed());
        match nameless.open(directory) {
            Ok(file) => return Ok(Self { file, path: path.to_owned(), temporary: None }),
            Err(error) if is_unsupported(&error) => {}
            Err(error) => return Err(ArchiveError::io("write to", directory)(error)),
        }
        let temporary = temporary_name(path);
        let file = options.create_new(true).open(&temporary);
        let file = file.map_err(ArchiveError::io("create", &temporary))?;
        Ok(Self { file, path: path.to_owned(), temporary: Some(temporary) })
    }

    /// The file, to read back what was written.
    pub(super) const fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Makes it durable and gives it its name. What has that name already is
    /// replaced only if that `is_wanted`.
    ///
    /// # Errors
    /// Fails if the disk does, or something has the name that may not be replaced.
    pub fn publish(mut self, is_wanted: bool) -> Result<(), ArchiveError> {
        self.file.sync_all().map_err(ArchiveError::io("write", &self.path))?;
        if self.temporary.is_none() {
            match self.link(&self.path) {
                Err(Errno::EXIST) if is_wanted => {
                    let temporary = temporary_name(&self.path);
                    let linked = self.link(&temporary).map_err(io::Error::from);
                    linked.map_err(ArchiveError::io("create", &temporary))?;
                    self.temporary = Some(temporary);
                }
                Err(Errno::EXIST) => return Err(self.occupied()),
                Err(error) => {
                    return Err(ArchiveError::io("create", &self.path)(error.into()));
                }
                Ok(()) => {}
            }
        }
        if let Some(temporary) = &self.temporary {
            let renamed = match is_wanted {
                true => rename(temporary, &self.path),
                false => rename_to_free(CWD, temporary, &self.path),
            };
            match renamed {
                Err(Errno::EXIST) => return Err(self.occupied()),
                Err(error) => return Err(ArchiveError::io("create", &self.path)(error.into())),
                Ok(()) => {}
            }
            self.temporary = None;
        }
        sync_directory(directory_of(&self.path))
    }

    fn link(&self, path: &Path) -> Result<(), Errno> {
        link_file(&self.file, CWD, path)
    }

    fn occupied(&self) -> ArchiveError {
        ArchiveError::Occupied { path: printable(self.path.as_os_str().as_encoded_bytes()) }
    }
}

impl Write for NewFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.file.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // It is of no use to anybody; if it stays its name tells so.
            let _ = fs::remove_file(temporary);
        }
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    let codes = [Errno::OPNOTSUPP, Errno::ISDIR, Errno::INVAL, Errno::NOSYS];
    codes.iter().any(|code| error.raw_os_error() == Some(code.raw_os_error()))
}

fn temporary_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.partial", std::process::id()))
}

/// The directory that a file lies in.
pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> Result<(), ArchiveError> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(ArchiveError::io("write", directory))
}
