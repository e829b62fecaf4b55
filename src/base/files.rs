//! Opening the files that this program keeps for itself.
//!
//! A repository may lie where somebody else can write, or come from somebody
//! else as a whole. What stands in the place of its files must neither lead to
//! others, as a symlink does, nor hold up the command, as a named pipe does.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};
use rustix::process::umask;

/// The mode of a file that is made.
pub const FILE_MODE: u32 = 0o600;
/// What others may never do with a file that is made.
const PRIVATE: Mode = Mode::from_raw_mode(0o077);

static INHERITED_UMASK: OnceLock<Mode> = OnceLock::new();

/// Opens a file at `path` itself: no symlink is followed, and what is no regular
/// file is refused without waiting for it. One that is made has [`FILE_MODE`].
///
/// # Errors
/// Fails as opening does, and on anything that is no regular file.
pub fn open_own(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let options = options.custom_flags(flags.bits().cast_signed()).mode(FILE_MODE);
    let file = options.open(path).map_err(|error| {
        if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            return refused("it is a symbolic link");
        }
        error
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(refused("it is no regular file")) }
}

/// Writes a whole file that nobody else has open, or replaces it: into a new file
/// beside it, which is made durable and renamed.
///
/// # Errors
/// Fails if the directory cannot be written; then the old file is as it was.
pub fn replace_own(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    // What a process of that number left, or somebody laid there.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = open_own(OpenOptions::new().write(true).create_new(true), &temporary)
        .and_then(|mut file| {
            io::Write::write_all(&mut file, bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    written.inspect_err(|_| drop(fs::remove_file(&temporary)))
}

/// What leads out of a directory or may hold up who opens it, if there is any in
/// it: a symlink, a named pipe, a socket or a device. Nothing is followed.
///
/// # Errors
/// Fails if the directory cannot be listed.
pub fn strange_entry(directory: &Path) -> io::Result<Option<(std::path::PathBuf, &'static str)>> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // What vanished meanwhile leads nowhere.
        let kind = match entry.file_type() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            kind => kind?,
        };
        if let Some(what) = strange(kind) {
            return Ok(Some((entry.path(), what)));
        }
    }
    Ok(None)
}

/// The word for a kind of file that no program keeps for itself.
#[must_use]
pub fn strange(kind: fs::FileType) -> Option<&'static str> {
    match kind {
        kind if kind.is_symlink() => Some("a symbolic link"),
        kind if kind.is_fifo() => Some("a named pipe"),
        kind if kind.is_socket() => Some("a socket"),
        kind if kind.is_block_device() || kind.is_char_device() => Some("a device"),
        _ => None,
    }
}

/// Makes every file that this process makes from now on private, those of its
/// libraries too. Once, before there are threads.
pub fn keep_files_private() {
    let inherited = umask(PRIVATE);
    let _ = INHERITED_UMASK.set(inherited);
    umask(inherited | PRIVATE);
}

/// Starts a program of the user's, or makes what the user asked for elsewhere, with
/// the umask that this process was given.
pub fn with_inherited_umask<T>(start: impl FnOnce() -> T) -> T {
    let Some(inherited) = INHERITED_UMASK.get().copied() else { return start() };
    let private = umask(inherited);
    let started = start();
    umask(private);
    started
}

fn refused(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn neither_symlinks_nor_pipes_are_opened_and_what_is_made_is_private() {
        let scratch = tempfile::tempdir().unwrap();
        let [file, link, pipe] = ["file", "link", "pipe"].map(|name| scratch.path().join(name));
        fs::write(&file, "content").unwrap();
        symlink(&file, &link).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        open_own(OpenOptions::new().read(true), &file).unwrap();
        for (path, word) in [(&link, "symbolic"), (&pipe, "regular")] {
            for options in
                [OpenOptions::new().read(true), OpenOptions::new().read(true).write(true)]
            {
                let error = open_own(options, path).unwrap_err();
                assert!(error.to_string().contains(word), "{error}");
            }
        }
        assert!(strange_entry(scratch.path()).unwrap().is_some());
        replace_own(&link, b"new").unwrap();
        assert_eq!(
            (fs::read(&file).unwrap(), fs::read(&link).unwrap()),
            (b"content".into(), b"new".into())
        );
        assert_eq!(fs::symlink_metadata(&link).unwrap().permissions().mode() & 0o777, FILE_MODE);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 3);
    }
}
