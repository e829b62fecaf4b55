//! The key files of an encrypted repository, in `keys/`: which there are, opening
//! one of them, adding and removing them.
//!
//! Invariants:
//! - A wrong password costs the work of all key files, whichever is meant.
//! - The last key file that can be used is never removed.
//! - A key file is durable under its name before another one goes.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};

use crate::base::id::hex;
use crate::base::time::Timestamp;
use crate::crypto::{
    Credential, KEY_FILE_BYTES_MAX, KdfCost, KeyFile, KeyFileError, KeyKind, MasterKey, random,
};
use crate::repository::config::{Config, sync_directory};
use crate::repository::error::RepositoryError;
use crate::repository::layout::Layout;

/// Key files of one repository at most: each costs a wrong password its work.
const KEY_FILES_MAX: usize = 32;
/// Bytes of the random name of a key file.
const NAME_BYTES: usize = 4;
const TEMPORARY: &str = ".new";

/// The key files of a repository.
#[derive(Debug)]
pub struct Keyring {
    layout: Layout,
    /// Those that can be used, by their names, the cheapest to try first.
    pub files: Vec<(String, KeyFile)>,
    /// What is wrong with each of the others.
    pub damaged: Vec<RepositoryError>,
}

/// A key file that opened.
#[derive(Debug)]
pub struct Unlocked {
    /// The master key.
    pub master: MasterKey,
    /// The name of the key file.
    pub name: String,
}

impl Keyring {
    /// Reads the key files of the repository at `layout`. There may be none.
    ///
    /// # Errors
    /// Fails if the directory cannot be read, or holds far too many files.
    pub fn read(layout: &Layout) -> Result<Self, RepositoryError> {
        let mut ring = Self { layout: layout.clone(), files: Vec::new(), damaged: Vec::new() };
        let directory = layout.keys();
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(ring),
            Err(error) => return Err(RepositoryError::io("list", directory)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(RepositoryError::io("list", &directory))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(TEMPORARY) {
                continue;
            }
            if ring.files.len() + ring.damaged.len() >= KEY_FILES_MAX {
                let detail = format!("there are more than {KEY_FILES_MAX} of them");
                return Err(RepositoryError::KeyFile { path: directory, detail });
            }
            match read_file(entry.path()) {
                Ok(file) => ring.files.push((name, file)),
                Err(error) => ring.damaged.push(error),
            }
        }
        ring.files.sort_by_key(|(name, file)| {
            let work =
                file.cost().map_or(0, |cost| u64::from(cost.memory_kib) * u64::from(cost.passes));
            (work, name.clone())
        });
        Ok(ring)
    }

    /// Whether such a credential opens any of them.
    #[must_use]
    pub fn takes(&self, kind: KeyKind) -> bool {
        self.files.iter().any(|(_, file)| file.kind == kind)
    }

    /// Opens the first key file that the credential fits.
    ///
    /// # Errors
    /// Fails if it fits none; then all of them were tried.
    pub fn unlock(&self, credential: &Credential) -> Result<Unlocked, RepositoryError> {
        let path = self.layout.root().to_owned();
        if self.files.is_empty() && self.damaged.is_empty() {
            return Err(RepositoryError::NoKeys { path });
        }
        let mut failed = None;
        for (name, file) in self.files.iter().filter(|(_, file)| file.kind == credential.kind()) {
            match file.unwrap(credential) {
                Ok(master) => return Ok(Unlocked { master, name: name.clone() }),
                Err(KeyFileError::Wrong) => {}
                Err(error) => failed = Some((name, error)),
            }
        }
        if let Some((name, error)) = failed {
            let (path, detail) = (self.layout.keys().join(name), error.to_string());
            return Err(RepositoryError::KeyFile { path, detail });
        }
        // Where none could be tried, that is what is wrong.
        if let Some(RepositoryError::KeyFile { path, detail }) = self.damaged.first()
            && !self.takes(credential.kind())
        {
            let (path, detail) = (path.clone(), detail.clone());
            return Err(RepositoryError::KeyFile { path, detail });
        }
        Err(RepositoryError::WrongPassword { path, what: credential.kind().name() })
    }

    /// Adds a key file and returns its name.
    ///
    /// # Errors
    /// Fails if it cannot be made or written.
    pub fn add(
        &self,
        master: &MasterKey,
        credential: &Credential,
        cost: KdfCost,
        label: &str,
    ) -> Result<String, RepositoryError> {
        let _lock = self.lock()?;
        self.write(master, credential, cost, label)
    }

    fn write(
        &self,
        master: &MasterKey,
        credential: &Credential,
        cost: KdfCost,
        label: &str,
    ) -> Result<String, RepositoryError> {
        let directory = self.layout.keys();
        let unusable = |error: KeyFileError| RepositoryError::KeyFile {
            path: directory.clone(),
            detail: error.to_string(),
        };
        if Self::read(&self.layout)?.files.len() >= KEY_FILES_MAX {
            return Err(unusable(KeyFileError::Form(format!(
                "there are {KEY_FILES_MAX} already; remove one first"
            ))));
        }
        let created = Timestamp::now().to_rfc3339();
        let file = KeyFile::wrap(master, credential, cost, label, &created).map_err(unusable)?;
        let text = file.to_text().map_err(unusable)?;
        let name = hex(&random::<NAME_BYTES>().map_err(RepositoryError::seal)?);
        let temporary = directory.join(format!("{name}{TEMPORARY}"));
        let failed = |action| RepositoryError::io(action, temporary.clone());
        let mut options = fs::OpenOptions::new();
        let opened = options.write(true).create_new(true).mode(0o600).open(&temporary);
        let mut output = opened.map_err(failed("create"))?;
        output.write_all(text.as_bytes()).map_err(failed("write"))?;
        output.sync_all().map_err(failed("sync"))?;
        let path = directory.join(&name);
        fs::rename(&temporary, &path).map_err(RepositoryError::io("create", &path))?;
        sync_directory(&directory)?;
        Ok(name)
    }

    /// Puts a new key file into the place of another one, and returns its name.
    ///
    /// # Errors
    /// As [`Self::add`]; then the other one is still there.
    pub fn replace(
        &self,
        unlocked: &Unlocked,
        credential: &Credential,
        cost: KdfCost,
        label: &str,
    ) -> Result<String, RepositoryError> {
        let _lock = self.lock()?;
        let name = self.write(&unlocked.master, credential, cost, label)?;
        self.delete(&unlocked.name)?;
        Ok(name)
    }

    /// Removes a key file, named by any unique prefix of its name.
    ///
    /// # Errors
    /// Fails if there is none, or it is the last one that can be used.
    pub fn remove(&self, prefix: &str) -> Result<String, RepositoryError> {
        let _lock = self.lock()?;
        let now = Self::read(&self.layout)?;
        let name = now.find(prefix)?;
        if now.files.iter().all(|(other, _)| *other == name) {
            return Err(RepositoryError::LastKey);
        }
        self.delete(&name)?;
        Ok(name)
    }

    /// The name of the one key file that begins so, damaged ones included.
    fn find(&self, prefix: &str) -> Result<String, RepositoryError> {
        let damaged = self.damaged.iter().filter_map(|error| match error {
            RepositoryError::KeyFile { path, .. } => {
                path.file_name().map(|name| name.to_string_lossy().into_owned())
            }
            _ => None,
        });
        let names = self.files.iter().map(|(name, _)| name.clone()).chain(damaged);
        let mut found = names.filter(|name| !prefix.is_empty() && name.starts_with(prefix));
        match (found.next(), found.next()) {
            (Some(name), None) => Ok(name),
            _ => Err(RepositoryError::NoSuchKey { name: prefix.to_owned() }),
        }
    }

    fn delete(&self, name: &str) -> Result<(), RepositoryError> {
        let path = self.layout.keys().join(name);
        fs::remove_file(&path).map_err(RepositoryError::io("remove", &path))?;
        sync_directory(&self.layout.keys())
    }

    /// Keeps other processes from changing key files until it is dropped.
    fn lock(&self) -> Result<fs::File, RepositoryError> {
        let directory = self.layout.keys();
        create_directory(&self.layout)?;
        let file = fs::File::open(&directory).map_err(RepositoryError::io("open", &directory))?;
        let locked = flock(&file, FlockOperation::LockExclusive);
        locked.map_err(|error| RepositoryError::io("lock", &directory)(error.into()))?;
        Ok(file)
    }
}

/// Whether the repository at `layout` is encrypted: as its configuration says, or
/// if that is lost, as the key files do.
///
/// # Errors
/// Fails if there is no repository.
pub fn is_encrypted(layout: &Layout) -> Result<bool, RepositoryError> {
    match Config::read(layout) {
        Ok(config) => Ok(config.encryption.is_some()),
        Err(error) if crate::repository::config::has_keys(layout) => match error {
            RepositoryError::NotFound { .. } | RepositoryError::Config { .. } => Ok(true),
            error => Err(error),
        },
        Err(error) => Err(error),
    }
}

pub(crate) fn create_directory(layout: &Layout) -> Result<(), RepositoryError> {
    let directory = layout.keys();
    match fs::DirBuilder::new().mode(0o700).create(&directory) {
        Ok(()) => sync_directory(layout.root()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(RepositoryError::io("create", directory)(error)),
    }
}

fn read_file(path: PathBuf) -> Result<KeyFile, RepositoryError> {
    let mut text = String::new();
    let unusable = |detail: String| RepositoryError::KeyFile { path: path.clone(), detail };
    let options = rustix::fs::OFlags::NONBLOCK.bits();
    let flags = i32::try_from(options).unwrap_or(0);
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(&path);
    let read = file.and_then(|file| file.take(KEY_FILE_BYTES_MAX + 1).read_to_string(&mut text));
    read.map_err(|error| unusable(error.to_string()))?;
    if text.len() as u64 > KEY_FILE_BYTES_MAX {
        return Err(unusable("it is far too large".to_owned()));
    }
    KeyFile::from_text(&text).map_err(|error| unusable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Secret, work};

    const COST: KdfCost = KdfCost { memory_kib: 1024, passes: 2, lanes: 4 };
    /// Memory in KiB times passes.
    const WORK: u64 = 2048;

    fn password(text: &[u8]) -> Credential {
        Credential::Password(text.to_vec().into())
    }

    #[test]
    fn a_wrong_password_costs_the_same_work_however_near_it_is_to_any_right_one() {
        let place = tempfile::tempdir().unwrap();
        let layout = Layout::new(place.path());
        let master = MasterKey::generate().unwrap();
        let ring = Keyring::read(&layout).unwrap();
        for right in ["correct", "horse", "battery staple"] {
            ring.add(&master, &password(right.as_bytes()), COST, right).unwrap();
        }
        ring.add(&master, &Credential::Key(Secret::take(&mut [7; 32])), COST, "machine").unwrap();
        let ring = Keyring::read(&layout).unwrap();
        work::take();
        let long = [b'x'; 10_000];
        for wrong in [&b""[..], b"c", b"correc", b"correct ", b"Correct", b"horsf", &long] {
            let outcome = ring.unlock(&password(wrong));
            assert!(matches!(outcome, Err(RepositoryError::WrongPassword { .. })), "{outcome:?}");
            assert_eq!(work::take(), 3 * WORK, "{wrong:?}");
        }
        assert!(ring.unlock(&password(b"horse")).is_ok());
        assert!((1..=3).contains(&(work::take() / WORK)));
        // A key of 32 bytes is not guessed, so it need not be slow.
        for byte in [7, 8] {
            let outcome = ring.unlock(&Credential::Key(Secret::take(&mut [byte; 32])));
            assert_eq!(outcome.is_ok(), byte == 7);
            assert_eq!(work::take(), 0);
        }
    }
}
