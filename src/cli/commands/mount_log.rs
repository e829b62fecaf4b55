//! Where a mount logs: standard error, or a file that is opened again on demand,
//! so that whoever rotates logs may have moved it away.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::time::Timestamp;
use crate::cli::args::MountArguments;
use crate::cli::context::{Context, user_directory};
use crate::cli::exit::CommandError;
use crate::cli::output::path_text;

/// Takes lines about trouble.
pub(super) enum MountLog {
    StandardError,
    File { path: PathBuf, file: Mutex<File> },
    Nothing,
}

impl MountLog {
    /// Opens the file that is given, or the default one if the process is
    /// detached from its terminal; else it is standard error.
    pub(super) fn open(
        context: &Context,
        arguments: &MountArguments,
    ) -> Result<Arc<Self>, CommandError> {
        let given = arguments.log_file.as_deref().map(std::path::absolute).transpose();
        let given = given.map_err(CommandError::io("find the log"))?;
        let default = || if arguments.announce { default_log() } else { None };
        let Some(path) = given.or_else(default) else {
            let log = if arguments.announce { Self::Nothing } else { Self::StandardError };
            return Ok(Arc::new(log));
        };
        match open(&path) {
            Ok(file) => Ok(Arc::new(Self::File { path, file: Mutex::new(file) })),
            Err(error) if arguments.log_file.is_none() => {
                context.note(&format!("Cannot log to {}: {error}", path_text(&path)));
                Ok(Arc::new(Self::Nothing))
            }
            Err(error) => Err(CommandError::io(format!("log to {}", path_text(&path)))(error)),
        }
    }

    /// Logs one line.
    pub(super) fn line(&self, line: &str) {
        // A full disk must not stop the mount from serving.
        let _ = match self {
            Self::StandardError => writeln!(io::stderr(), "icecore: {line}"),
            Self::File { file, .. } => {
                let (time, process) = (Timestamp::now().to_rfc3339_local(), std::process::id());
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                writeln!(file, "{time} icecore[{process}]: {line}")
            }
            Self::Nothing => Ok(()),
        };
    }

    /// Logs one line, and prints it unless that is the same.
    pub(super) fn tell(&self, context: &Context, line: &str) {
        if !matches!(self, Self::StandardError) {
            context.note(line);
        }
        self.line(line);
    }

    /// Opens the file again. If that fails, the old one goes on.
    pub(super) fn reopen(&self) {
        let Self::File { path, file } = self else { return };
        match open(path) {
            Ok(new) => *file.lock().unwrap_or_else(PoisonError::into_inner) = new,
            Err(error) => self.line(&format!("Cannot open {} again: {error}", path_text(path))),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    OpenOptions::new().append(true).create(true).open(path)
}

fn default_log() -> Option<PathBuf> {
    let directory = if rustix::process::geteuid().is_root() {
        Some(PathBuf::from("/var/log/icecore"))
    } else {
        user_directory("XDG_STATE_HOME", ".local/state")
    };
    directory.map(|directory| directory.join(OsString::from("mount.log")))
}
