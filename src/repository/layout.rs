//! Where the parts of a repository lie.

use std::fs;
use std::path::{Path, PathBuf};

use crate::base::files::{strange, strange_entry};
use crate::repository::error::RepositoryError;

/// The paths inside a repository's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Returns the layout of the repository at `root`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The repository's directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The configuration: what makes a directory a repository.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("config")
    }

    /// The store.
    #[must_use]
    pub fn db(&self) -> PathBuf {
        self.root.join("db")
    }

    /// A store that a repair made, before it takes the place of the other.
    #[must_use]
    pub fn rebuilt(&self) -> PathBuf {
        self.root.join("db.rebuilt")
    }

    /// Bulk loads under way; cleared by the next writer.
    #[must_use]
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// The key files of an encrypted repository.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// One locked file for each process that reads.
    #[must_use]
    pub fn leases(&self) -> PathBuf {
        self.root.join("leases")
    }

    /// The audit log: no part of the store, and nothing depends on it.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Where the last check of a part of the content ended.
    #[must_use]
    pub fn check_position(&self) -> PathBuf {
        self.root.join("check-position")
    }

    /// Space that is given back when the disk is full.
    #[must_use]
    pub fn reserve(&self) -> PathBuf {
        self.root.join("reserve")
    }

    /// What restores in place are taken back by.
    #[must_use]
    pub fn rollbacks(&self) -> PathBuf {
        self.root.join("rollbacks")
    }

    /// The lock of the one writer.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Refuses a repository some of whose directories are elsewhere, or whose
    /// store has files that are: opening them would write there, and clearing them
    /// remove there.
    ///
    /// # Errors
    /// Fails if there is any such thing, or the store cannot be listed.
    pub(crate) fn check_places(&self) -> Result<(), RepositoryError> {
        self.check_keys()?;
        for place in [self.tmp(), self.leases(), self.log(), self.rollbacks()] {
            self.check_place(place)?;
        }
        // A repair goes on with the second one if the first is not there.
        [self.db(), self.rebuilt()].into_iter().try_for_each(|store| self.check_store(store))
    }

    fn check_store(&self, store: PathBuf) -> Result<(), RepositoryError> {
        self.check_place(store.clone())?;
        match strange_entry(&store) {
            Ok(Some((place, what))) => {
                Err(RepositoryError::Unsafe { path: self.root.clone(), place, what })
            }
            // What opens it says whether there has to be one.
            Ok(None) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(RepositoryError::io("list", store)(error)),
        }
    }

    /// The same for the key files alone, before a repository is opened.
    ///
    /// # Errors
    /// Fails if their directory is elsewhere.
    pub(crate) fn check_keys(&self) -> Result<(), RepositoryError> {
        self.check_place(self.keys())
    }

    fn check_place(&self, place: PathBuf) -> Result<(), RepositoryError> {
        let kind = fs::symlink_metadata(&place).ok().map(|metadata| metadata.file_type());
        match kind.and_then(strange) {
            Some(what) => Err(RepositoryError::Unsafe { path: self.root.clone(), place, what }),
            None => Ok(()),
        }
    }
}
