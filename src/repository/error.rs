//! What can go wrong on the repository's side.

use std::io;
use std::path::{Path, PathBuf};

use crate::base::name::printable;
use crate::crypto::RandomnessError;
use crate::dag::DagError;
use crate::store::StoreError;

/// A failure of the repository. Failures of a source have a type of their own,
/// so that a full repository disk is never mistaken for an unreadable file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// There is no repository at the path.
    #[error("{}", not_found(path, *has_store))]
    NotFound {
        /// Where one was looked for.
        path: PathBuf,
        /// Whether all that is missing is the configuration.
        has_store: bool,
    },
    /// `init` on a repository or on other people's files.
    #[error("{path:?} already {what}; nothing was changed")]
    Occupied {
        /// Where.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// The repository was written by a newer icecore.
    #[error("The repository at {path:?} needs a newer icecore: {detail}")]
    Newer {
        /// Which repository.
        path: PathBuf,
        /// What is not understood.
        detail: String,
    },
    /// Something in the place of the repository's files leads elsewhere.
    #[error(
        "The repository at {path:?} is not used: {place:?} is {what}, which may lead elsewhere; \
         put the file itself there, or use `--repo` with the place where the repository really is"
    )]
    Unsafe {
        /// Which repository.
        path: PathBuf,
        /// What is strange in it.
        place: PathBuf,
        /// What that is.
        what: &'static str,
    },
    /// The configuration cannot be understood.
    #[error("The configuration {path:?} is not valid: {detail}")]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// Another process writes.
    #[error("The repository at {path:?} is busy: {holder}; waited {waited}")]
    Busy {
        /// Which repository.
        path: PathBuf,
        /// Who holds the lock, as far as is known.
        holder: String,
        /// How long.
        waited: String,
    },
    /// Waiting for another process was cancelled.
    #[error("Cancelled while waiting for the repository at {path:?}")]
    Cancelled {
        /// Which repository.
        path: PathBuf,
    },
    /// Building a store anew was cancelled.
    #[error("Cancelled; the store at {path:?} is as it was, and `icecore repair` begins anew")]
    RebuildCancelled {
        /// Which repository.
        path: PathBuf,
    },
    /// A file of the repository cannot be used.
    #[error("Cannot {action} {path:?}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing can be named or encrypted.
    #[error("Cannot go on: {0}")]
    Randomness(#[from] RandomnessError),
    /// An object is not in the store.
    #[error("Damage: {kind} {id} is missing from the repository")]
    Missing {
        /// The kind of object.
        kind: &'static str,
        /// Its id.
        id: String,
    },
    /// An object's bytes are not what they were.
    #[error("Damage: {kind} {id} cannot be read back: {detail}")]
    Damaged {
        /// The kind of object.
        kind: &'static str,
        /// Its id.
        id: String,
        /// What is wrong.
        detail: String,
    },
    /// The disk does not give an object's bytes.
    #[error(
        "The disk failed: {kind} {id} cannot be read ({detail}); copy what it still gives to a \
         sound one, with ddrescue say, and go on with the copy"
    )]
    Unreadable {
        /// The kind of object.
        kind: &'static str,
        /// Its id.
        id: String,
        /// The engine's words; they name the file.
        detail: String,
    },
    /// No snapshot has that name.
    #[error("No snapshot is named {name:?}; `icecore list` shows what there is")]
    NoSuchSnapshot {
        /// The name given.
        name: String,
    },
    /// Several snapshots have that prefix.
    #[error("{name:?} could be any of {candidates}; give more digits")]
    AmbiguousSnapshot {
        /// The name given.
        name: String,
        /// Short ids of some of them.
        candidates: String,
    },
    /// Nothing in a snapshot has that path.
    #[error(
        "There is no {} in snapshot {snapshot}; `icecore ls {snapshot}` shows what there is",
        printable(path)
    )]
    NoSuchPath {
        /// The path inside the snapshot.
        path: Vec<u8>,
        /// The snapshot's short id.
        snapshot: String,
    },
    /// A path leads through something that is no directory.
    #[error("{} in snapshot {snapshot} is no directory", printable(path))]
    NotADirectory {
        /// The path inside the snapshot, up to there.
        path: Vec<u8>,
        /// The snapshot's short id.
        snapshot: String,
    },
    /// No snapshot that was deleted and is not forgotten has that name.
    #[error(
        "No deleted snapshot is named {name:?}; `icecore list --deleted` shows those that can \
         still be had back"
    )]
    NoSuchDeleted {
        /// The name given.
        name: String,
    },
    /// More or longer tags than a record may hold.
    #[error("A snapshot has at most {max} tags, of 64 KiB at most; nothing was changed")]
    TooManyTags {
        /// How many it may have.
        max: usize,
    },
    /// A value exceeds what a record may hold.
    #[error("{0}")]
    TooLarge(DagError),
    /// The repository is encrypted, and no password or key was given.
    #[error(
        "The repository at {path:?} is encrypted; give its password by --password-file, \
         --password-command or ICECORE_PASSWORD, or its key by --key-file"
    )]
    Locked {
        /// Which repository.
        path: PathBuf,
    },
    /// No key file opens with the password or key that was given.
    #[error("Wrong {what} for the repository at {path:?}{}", untried_keys(*untried))]
    WrongPassword {
        /// Which repository.
        path: PathBuf,
        /// `password` or `key`.
        what: &'static str,
        /// How many key files are damaged or too costly.
        untried: usize,
    },
    /// A key was given for a repository that is not encrypted.
    #[error(
        "The repository at {path:?} is not encrypted, although a password or key is given for \
         it. Leave that out if it should not be; if it should be, its `config` was changed"
    )]
    NotEncrypted {
        /// Which repository.
        path: PathBuf,
    },
    /// The master key is not the one that the configuration was made with.
    #[error(
        "The key is not that of the repository at {path:?}, or its `config` was changed since it \
         was made"
    )]
    ForeignKey {
        /// Which repository.
        path: PathBuf,
    },
    /// A key file is not what it should be.
    #[error("The key file {path:?} cannot be used: {detail}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// There is no key file with that id.
    #[error("No key, or more than one, is named {name:?}; `icecore key list` shows all of them")]
    NoSuchKey {
        /// The name given.
        name: String,
    },
    /// The last key cannot be removed.
    #[error("That is the last key that can be used; without it nobody could read the repository")]
    LastKey,
    /// The key that opened the repository would be removed.
    #[error(
        "{name:?} is the key that was given, and of no other is it known that it opens the \
         repository; give another one to remove this"
    )]
    KeyInUse {
        /// Its name.
        name: String,
    },
    /// All key files are lost.
    #[error(
        "The repository at {path:?} is encrypted, and its directory `keys` holds no key file; \
         `icecore key import` makes one from the key on paper"
    )]
    NoKeys {
        /// Which repository.
        path: PathBuf,
    },
    /// A repair would take all that there is for damage.
    #[error("The repository at {path:?} is not repaired: {detail}; nothing was changed")]
    NotRepaired {
        /// Which repository.
        path: PathBuf,
        /// Why.
        detail: &'static str,
    },
    /// Something cannot be encrypted.
    #[error("Cannot encrypt: {0}")]
    Seal(String),
    /// A manifest that could not be read back.
    #[error("The snapshot's manifest cannot be stored: {0}")]
    Manifest(String),
}

fn untried_keys(count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!("; {count} of its key files cannot be tried, see `icecore key list`"),
    }
}

fn not_found(path: &Path, has_store: bool) -> String {
    if has_store {
        format!(
            "The repository at {path:?} has no `config`: `icecore repair` makes one if it was \
             lost, `icecore init` if that was cut short"
        )
    } else {
        format!("There is no repository at {path:?}; `icecore init` makes one")
    }
}

impl RepositoryError {
    /// Wraps an I/O error with what was being done to which file.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// Wraps why something cannot be encrypted.
    pub(crate) fn seal(error: impl std::fmt::Display) -> Self {
        Self::Seal(error.to_string())
    }

    /// The kind and the id of the object that cannot be had, if one is concerned.
    #[must_use]
    pub fn object(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Missing { kind, id }
            | Self::Damaged { kind, id, .. }
            | Self::Unreadable { kind, id, .. } => Some((*kind, id.clone())),
            _ => None,
        }
    }

    /// What is wrong with an object, where its kind and id are said beside it.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Missing { .. } => "it is missing".to_owned(),
            Self::Damaged { detail, .. } => detail.clone(),
            Self::Unreadable { detail, .. } => format!("the disk failed: {detail}"),
            error => error.to_string(),
        }
    }

    /// Whether stored bytes cannot be had: damaged, or on a place that the disk does not
    /// give. What only reads goes on with the rest. What would remove them must not: the
    /// disk may think better of it, see [`Self::is_damage`].
    #[must_use]
    pub const fn is_loss(&self) -> bool {
        match self {
            Self::Unreadable { .. } => true,
            Self::Store(error) => error.is_loss(),
            error => error.is_damage(),
        }
    }

    /// Whether stored bytes are missing or wrong, as opposed to a failure that
    /// may pass.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. } | Self::Damaged { .. } | Self::Store(StoreError::Damaged { .. })
        )
    }
}
