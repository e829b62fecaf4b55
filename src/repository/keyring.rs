//! The key files of an encrypted repository, in `keys/`: which there are, opening
//! one of them, adding and removing them.
//!
//! Invariants:
//! - A wrong password costs the work of all key files, whichever is meant, and that is
//!   bounded for all of them together.
//! - A key file that opens counts only if its master key is that of the repository, as
//!   far as there is anything to tell it by.
//! - The last key file that can be used is never removed.
//! - A key file is durable under its name before another one goes.
//! - Nothing is read, written or locked through a symlink.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::base::files::{open_own, replace_own};
use crate::base::id::hex;
use crate::base::time::Timestamp;
use crate::crypto::{
    Credential, KEY_FILE_BYTES_MAX, KdfCost, KeyFile, KeyFileError, KeyKind, MasterKey,
    WORK_KIB_MAX, random,
};
use crate::repository::config::{Config, TEMPORARY_KEY, sync_directory};
use crate::repository::error::RepositoryError;
use crate::repository::key_proof::Proof;
use crate::repository::layout::Layout;

/// Key files of one repository at most: each costs a wrong password its work.
const KEY_FILES_MAX: usize = 32;
/// Files that are looked at: some more, since others may leave theirs beside them.
const FILES_READ_MAX: usize = 64;
/// Bytes of the random name of a key file.
const NAME_BYTES: usize = 4;
/// Most memory times passes, in KiB, of all key files together: some ninety seconds of a
/// processor for a wrong password.
pub(crate) const ALL_WORK_KIB_MAX: u64 = 4 * WORK_KIB_MAX;

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
    /// Whether that is the master key of this repository for sure: false if nothing is
    /// left to check it against.
    pub is_proven: bool,
}

impl Keyring {
    /// Reads the key files of the repository at `layout`. There may be none.
    ///
    /// # Errors
    /// Fails if the directory is elsewhere, cannot be read, or holds far too many files.
    pub fn read(layout: &Layout) -> Result<Self, RepositoryError> {
        layout.check_keys()?;
        let mut ring = Self { layout: layout.clone(), files: Vec::new(), damaged: Vec::new() };
        let directory = layout.keys();
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(ring),
            Err(error) => return Err(RepositoryError::io("list", directory)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(RepositoryError::io("list", &directory))?;
            if entry.file_name().as_encoded_bytes().ends_with(TEMPORARY_KEY) {
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            if ring.files.len() + ring.damaged.len() >= FILES_READ_MAX {
                let detail = format!(
                    "there are more than {FILES_READ_MAX} files in it; move those that are no keys \
                     away"
                );
                return Err(RepositoryError::KeyFile { path: directory, detail });
            }
            match read_file(entry.path()) {
                Ok(file) => ring.files.push((name, file)),
                Err(error) => ring.damaged.push(error),
            }
        }
        ring.files.sort_by_key(|(name, file)| (work_kib(file), name.clone()));
        ring.leave_out_costly();
        Ok(ring)
    }

    /// Leaves out those that make a wrong password cost too much in all.
    fn leave_out_costly(&mut self) {
        let mut work = 0;
        let count = self.files.iter().take_while(|(_, file)| {
            work += work_kib(file);
            work <= ALL_WORK_KIB_MAX
        });
        let count = count.count();
        for (name, _) in self.files.split_off(count) {
            let path = self.layout.keys().join(name);
            self.damaged.push(RepositoryError::KeyFile { path, detail: too_costly() });
        }
    }

    /// Whether such a credential opens any of them.
    #[must_use]
    pub fn takes(&self, kind: KeyKind) -> bool {
        self.files.iter().any(|(_, file)| file.kind == kind)
    }

    /// Opens the first key file that the credential fits and that holds the master key of
    /// this repository.
    ///
    /// # Errors
    /// Fails if it fits none; then all of them were tried. Those of another repository
    /// count for nothing.
    pub fn unlock(&self, credential: &Credential) -> Result<Unlocked, RepositoryError> {
        let path = self.layout.root().to_owned();
        if self.files.is_empty() && self.damaged.is_empty() {
            return Err(RepositoryError::NoKeys { path });
        }
        let proof = Proof::of(&self.layout)?;
        let (mut unproven, mut foreign, mut failed) = (None::<Unlocked>, None, None);
        for (name, file) in self.files.iter().filter(|(_, file)| file.kind == credential.kind()) {
            let master = match file.unwrap(credential) {
                Ok(master) => master,
                Err(KeyFileError::Wrong) => continue,
                Err(error) => {
                    failed = Some((name, error));
                    continue;
                }
            };
            match proof.check(&self.layout, &master) {
                Ok(true) => return Ok(Unlocked { master, name: name.clone(), is_proven: true }),
                // Nothing but the others can tell.
                Ok(false) => match &unproven {
                    Some(other) if !is_same(&other.master, &master) => {
                        let detail = format!(
                            "it opens as {} does and holds another master key; one of them is of \
                             another repository, and has to be moved away",
                            other.name
                        );
                        let path = self.layout.keys().join(name);
                        return Err(RepositoryError::KeyFile { path, detail });
                    }
                    Some(_) => {}
                    None => {
                        unproven = Some(Unlocked { master, name: name.clone(), is_proven: false });
                    }
                },
                Err(error) => foreign = Some(error),
            }
        }
        if let Some(unlocked) = unproven {
            return Ok(unlocked);
        }
        self.refusal(credential, failed, foreign)
    }

    /// Says why no key file opened.
    fn refusal(
        &self,
        credential: &Credential,
        failed: Option<(&String, KeyFileError)>,
        foreign: Option<RepositoryError>,
    ) -> Result<Unlocked, RepositoryError> {
        if let Some((name, error)) = failed {
            let (path, detail) = (self.layout.keys().join(name), error.to_string());
            return Err(RepositoryError::KeyFile { path, detail });
        }
        if let Some(foreign) = foreign {
            return Err(foreign);
        }
        // Where none could be tried, that is what is wrong.
        if let Some(RepositoryError::KeyFile { path, detail }) = self.damaged.first()
            && !self.takes(credential.kind())
        {
            let (path, detail) = (path.clone(), detail.clone());
            return Err(RepositoryError::KeyFile { path, detail });
        }
        let (path, untried) = (self.layout.root().to_owned(), self.damaged.len());
        Err(RepositoryError::WrongPassword { path, what: credential.kind().name(), untried })
    }

    /// Returns whether a master key is that of this repository for sure: false if nothing
    /// is left to check it against.
    ///
    /// # Errors
    /// Fails if it is another one's.
    pub fn check(&self, master: &MasterKey) -> Result<bool, RepositoryError> {
        Proof::of(&self.layout)?.check(&self.layout, master)
    }

    /// Adds a key file and returns its name.
    ///
    /// # Errors
    /// Fails if it cannot be made or written, or the key is another repository's.
    pub fn add(
        &self,
        master: &MasterKey,
        credential: &Credential,
        cost: KdfCost,
        label: &str,
    ) -> Result<String, RepositoryError> {
        let _lock = self.lock()?;
        self.write(master, credential, cost, label, None)
    }

    /// Writes a key file, after which that `instead` of which it is there will go.
    fn write(
        &self,
        master: &MasterKey,
        credential: &Credential,
        cost: KdfCost,
        label: &str,
        instead: Option<&str>,
    ) -> Result<String, RepositoryError> {
        let directory = self.layout.keys();
        let unusable = |error: KeyFileError| RepositoryError::KeyFile {
            path: directory.clone(),
            detail: error.to_string(),
        };
        self.check(master)?;
        self.remove_leftovers();
        let now = Self::read(&self.layout)?;
        let others = || now.files.iter().filter(|(name, _)| Some(&**name) != instead);
        let refused = |detail| Err(RepositoryError::KeyFile { path: directory.clone(), detail });
        if others().count() + now.damaged.len() >= KEY_FILES_MAX {
            let damaged = now.damaged.len();
            return refused(format!(
                "there are {KEY_FILES_MAX} files already, {damaged} of them damaged; remove one \
                 first"
            ));
        }
        let work: u64 = others().map(|(_, file)| work_kib(file)).sum();
        let costs = credential.kind() == KeyKind::Password;
        if costs && work.saturating_add(cost.work_kib()) > ALL_WORK_KIB_MAX {
            return refused(too_costly());
        }
        let created = Timestamp::now().to_rfc3339();
        let file = KeyFile::wrap(master, credential, cost, label, &created).map_err(unusable)?;
        let text = file.to_text().map_err(unusable)?;
        let mut name = String::new();
        // No other one is ever replaced.
        while name.is_empty() || directory.join(&name).symlink_metadata().is_ok() {
            name = hex(&random::<NAME_BYTES>().map_err(RepositoryError::seal)?);
        }
        let path = directory.join(&name);
        replace_own(&path, text.as_bytes()).map_err(RepositoryError::io("write", &path))?;
        sync_directory(&directory)?;
        Ok(name)
    }

    /// Removes what was left of key files whose making was cut short. The lock is held,
    /// so nobody is making one.
    fn remove_leftovers(&self) {
        for entry in fs::read_dir(self.layout.keys()).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().ends_with(TEMPORARY_KEY) {
                // One that stays is in nobody's way.
                let _ = fs::remove_file(entry.path());
            }
        }
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
        // Another process may have removed or changed it since it opened: whoever was
        // shut out meanwhile must not come back by a new one.
        if !Self::read(&self.layout)?.files.iter().any(|(name, _)| *name == unlocked.name) {
            return Err(RepositoryError::NoSuchKey { name: unlocked.name.clone() });
        }
        let instead = Some(&*unlocked.name);
        let name = self.write(&unlocked.master, credential, cost, label, instead)?;
        if let Err(error) = self.delete(&unlocked.name) {
            let _ = self.delete(&name);
            return Err(error);
        }
        Ok(name)
    }

    /// Removes a key file, named by any unique prefix of its name, for somebody who can
    /// read the repository.
    ///
    /// # Errors
    /// Fails if there is none, it is the one by which who asks has opened the repository, or
    /// that one was removed meanwhile: of no other does anybody know that it opens it.
    pub fn remove(&self, by: &Unlocked, prefix: &str) -> Result<String, RepositoryError> {
        let _lock = self.lock()?;
        self.check(&by.master)?;
        let now = Self::read(&self.layout)?;
        let name = now.removable(by, prefix)?;
        if !now.files.iter().any(|(other, _)| *other == by.name) {
            return Err(RepositoryError::NoSuchKey { name: by.name.clone() });
        }
        self.delete(&name)?;
        Ok(name)
    }

    /// The name of the one key file that is called or begins so, damaged ones included, if
    /// it may be removed by who opened the repository as `by`.
    ///
    /// # Errors
    /// Fails unless there is just one, and another one than `by`.
    pub fn removable(&self, by: &Unlocked, prefix: &str) -> Result<String, RepositoryError> {
        let name = self.find(prefix)?;
        match name == by.name {
            false => Ok(name),
            true if self.files.len() < 2 => Err(RepositoryError::LastKey),
            true => Err(RepositoryError::KeyInUse { name }),
        }
    }

    fn find(&self, prefix: &str) -> Result<String, RepositoryError> {
        let damaged = self.damaged.iter().filter_map(|error| match error {
            RepositoryError::KeyFile { path, .. } => {
                path.file_name().map(|name| name.to_string_lossy().into_owned())
            }
            _ => None,
        });
        let names = self.files.iter().map(|(name, _)| name.clone()).chain(damaged);
        let is_meant = |name: &String| !prefix.is_empty() && name.starts_with(prefix);
        let found: Vec<_> = names.filter(is_meant).collect();
        match found.as_slice() {
            [name] => Ok(name.clone()),
            several if several.iter().any(|name| name == prefix) => Ok(prefix.to_owned()),
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
        self.layout.check_keys()?;
        let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed();
        let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(&directory);
        let file = file.map_err(RepositoryError::io("open", &directory))?;
        let locked = flock(&file, FlockOperation::LockExclusive);
        locked.map_err(|error| RepositoryError::io("lock", &directory)(error.into()))?;
        Ok(file)
    }
}

/// Whether the repository at `layout` is encrypted: as its configuration says, or
/// if that is lost, as the key files do.
///
/// # Errors
/// Fails if there is no repository, or its key files are elsewhere.
pub fn is_encrypted(layout: &Layout) -> Result<bool, RepositoryError> {
    layout.check_keys()?;
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

/// What trying a password on a key file costs, in KiB times passes; a key costs nothing.
fn work_kib(file: &KeyFile) -> u64 {
    file.cost().map_or(0, |cost| cost.work_kib())
}

fn too_costly() -> String {
    let gib = ALL_WORK_KIB_MAX >> 20;
    format!(
        "trying a password on it and all others would take more than {gib} GiB times passes; \
         lower --kdf-memory or --kdf-passes, or remove others"
    )
}

fn is_same(one: &MasterKey, other: &MasterKey) -> bool {
    one.secret().as_bytes() == other.secret().as_bytes()
}

fn read_file(path: PathBuf) -> Result<KeyFile, RepositoryError> {
    let mut text = String::new();
    let unusable = |detail: String| RepositoryError::KeyFile { path: path.clone(), detail };
    let file = open_own(fs::OpenOptions::new().read(true), &path);
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

    #[test]
    fn what_all_key_files_cost_together_is_bounded() {
        let place = tempfile::tempdir().unwrap();
        let layout = Layout::new(place.path());
        let master = MasterKey::generate().unwrap();
        let ring = Keyring::read(&layout).unwrap();
        let name = ring.add(&master, &password(b"right"), COST, "").unwrap();
        let text = fs::read_to_string(layout.keys().join(&name)).unwrap();
        // Each costs what one may.
        let costly = text.replace("memory_kib = 1024", "memory_kib = 262144");
        let costly = costly.replace("passes = 2", "passes = 64");
        for number in 0..5 {
            fs::write(layout.keys().join(format!("costly{number}")), &costly).unwrap();
        }
        let ring = Keyring::read(&layout).unwrap();
        let work: u64 = ring.files.iter().map(|(_, file)| work_kib(file)).sum();
        assert_eq!((ring.files.len(), ring.damaged.len(), work), (4, 2, 3 * WORK_KIB_MAX + WORK));
        let told = ring.damaged[0].to_string();
        assert!(told.contains("costly3") && told.contains("64 GiB"), "{told}");
        // What would make it too much is not added, and nothing is displaced.
        let most = KdfCost { memory_kib: 1 << 20, passes: 16, lanes: 4 };
        assert_eq!(most.work_kib(), WORK_KIB_MAX);
        work::take();
        let told = ring.add(&master, &password(b"more"), most, "").unwrap_err().to_string();
        assert!(told.contains("64 GiB"), "{told}");
        assert_eq!(work::take(), 0, "it is refused before it is paid");
        let by = Unlocked { master, name, is_proven: false };
        assert!(ring.remove(&by, "costly4").is_ok());
    }

    #[test]
    fn a_key_that_was_removed_meanwhile_is_not_changed_into_a_new_one() {
        let place = tempfile::tempdir().unwrap();
        let layout = Layout::new(place.path());
        let master = MasterKey::generate().unwrap();
        let ring = Keyring::read(&layout).unwrap();
        for text in ["one", "other"] {
            ring.add(&master, &password(text.as_bytes()), COST, text).unwrap();
        }
        let ring = Keyring::read(&layout).unwrap();
        let unlocked = ring.unlock(&password(b"one")).unwrap();
        let outcome = ring.remove(&unlocked, &unlocked.name);
        assert!(matches!(outcome, Err(RepositoryError::KeyInUse { .. })), "{outcome:?}");
        let other = ring.unlock(&password(b"other")).unwrap();
        ring.remove(&other, &unlocked.name).unwrap();
        let outcome = ring.remove(&unlocked, &other.name);
        assert!(matches!(outcome, Err(RepositoryError::NoSuchKey { .. })), "{outcome:?}");
        let outcome = ring.replace(&unlocked, &password(b"new"), COST, "");
        assert!(matches!(outcome, Err(RepositoryError::NoSuchKey { .. })), "{outcome:?}");
        let ring = Keyring::read(&layout).unwrap();
        assert_eq!(ring.files.len(), 1);
        assert!(ring.unlock(&password(b"new")).is_err());
    }

    #[test]
    fn a_directory_with_as_many_files_as_there_may_be_can_be_read_changed_and_cleaned() {
        let place = tempfile::tempdir().unwrap();
        let layout = Layout::new(place.path());
        let master = MasterKey::generate().unwrap();
        let ring = Keyring::read(&layout).unwrap();
        ring.add(&master, &password(b"right"), COST, "").unwrap();
        for number in 1..KEY_FILES_MAX {
            fs::write(layout.keys().join(format!("notes{number}~")), "no key file").unwrap();
        }
        let ring = Keyring::read(&layout).unwrap();
        let told = ring.add(&master, &password(b"more"), COST, "").unwrap_err().to_string();
        assert!(told.contains("31 of them damaged"), "{told}");
        let unlocked = ring.unlock(&password(b"right")).unwrap();
        ring.replace(&unlocked, &password(b"new"), COST, "").unwrap();
        let unlocked = Keyring::read(&layout).unwrap().unlock(&password(b"new")).unwrap();
        ring.remove(&unlocked, "notes1~").unwrap();
        ring.add(&master, &password(b"more"), COST, "").unwrap();
        assert!(Keyring::read(&layout).unwrap().unlock(&password(b"more")).is_ok());
    }
}
