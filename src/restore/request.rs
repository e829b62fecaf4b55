//! What is to be restored, and what became of it.

use std::path::PathBuf;
use std::time::Duration;

use crate::base::time::Timestamp;
use crate::dag::Xattr;
use crate::patterns::PathPatterns;
use crate::repository::SnapshotName;

/// What to restore, where to, and how.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    /// The snapshot, and the path in it.
    pub source: SnapshotName,
    /// The directory that receives it.
    pub target: PathBuf,
    /// Whether each item goes to its own place below the target, instead of the
    /// content of the path into the target.
    pub in_place: bool,
    /// Names of the beginning of each path that are dropped.
    pub strip_components: usize,
    /// If there are any, only what they fit is restored.
    pub includes: PathPatterns,
    /// What they fit is neither restored nor deleted.
    pub excludes: PathPatterns,
    /// What becomes of an item of the target that differs.
    pub overwrite: Overwrite,
    /// What counts as different.
    pub comparison: Comparison,
    /// Whether, and which, items go that the snapshot does not have.
    pub delete: Option<Deletion>,
    /// How owners are restored.
    pub owners: OwnerPolicy,
    /// Whether blocks of zeros become holes.
    pub sparse: bool,
    /// Whether everything is read back and compared afterwards.
    pub verify: bool,
    /// Files that are written at once.
    pub workers: usize,
}

/// What becomes of an item of the target that differs from the snapshot's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// It is replaced, and so is one that does not differ.
    Always,
    /// It is replaced.
    IfChanged,
    /// It is replaced if the snapshot's was modified later.
    IfNewer,
    /// It stays.
    Never,
}

/// What counts as different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Another kind, size, time of modification, mode, owner or attribute.
    Metadata,
    /// The same, and other content.
    Content,
}

/// Which items go that the snapshot does not have.
#[derive(Clone, Debug)]
pub struct Deletion {
    /// Those on other file systems too.
    pub across_mounts: bool,
    /// What they fit is spared.
    pub spared: PathPatterns,
}

/// How owners are restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerPolicy {
    /// Not at all.
    Nobody,
    /// By number.
    Numbers,
    /// By name, where this system knows it, else by number.
    Names,
}

/// What is done to an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is not there and is made.
    Create,
    /// It differs and is replaced.
    Replace,
    /// Its metadata differs and is set.
    Update,
    /// It does not differ.
    Unchanged,
    /// It differs and stays.
    Keep,
    /// The snapshot does not have it; it goes, with what is in it.
    Delete,
}

impl Action {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Update => "update",
            Self::Unchanged => "unchanged",
            Self::Keep => "keep",
            Self::Delete => "delete",
        }
    }
}

/// What a plan says of an item.
#[derive(Clone, Debug)]
pub struct Planned<'a> {
    /// What is to be done.
    pub action: Action,
    /// The path below the target.
    pub path: &'a [u8],
    /// The kind of what is, or of what goes: `file`, `directory` and so on.
    pub kind: &'static str,
    /// The bytes that are to be written, or freed.
    pub bytes: u64,
    /// When it was modified, once it is restored.
    pub mtime: Timestamp,
}

/// The metadata of a directory of the target, before anything is changed in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryState {
    /// The path below the target.
    pub path: Vec<u8>,
    /// Its permission bits.
    pub mode: u16,
    /// Its owner's number.
    pub uid: u32,
    /// Its group's number.
    pub gid: u32,
    /// When it was modified.
    pub mtime: Timestamp,
    /// Its extended attributes.
    pub xattrs: Vec<Xattr>,
}

/// Receives a plan, in the order of paths.
pub trait Observer: Sync {
    /// An item is looked at.
    fn item(&self, _planned: &Planned<'_>) {}

    /// A directory of the target will be changed, or something in it will.
    fn directory(&self, _state: DirectoryState) {}

    /// Whether [`Self::directory`] is worth calling.
    fn wants_directories(&self) -> bool {
        false
    }
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deaf;

impl Observer for Deaf {}

/// What was done, or is to be done, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files of any kind but directories that were not there.
    pub files_created: u64,
    /// Files that were replaced.
    pub files_replaced: u64,
    /// Files of which metadata was set.
    pub files_updated: u64,
    /// Files that do not differ.
    pub files_unchanged: u64,
    /// Files that differ and stayed.
    pub files_kept: u64,
    /// Directories that were not there.
    pub dirs_created: u64,
    /// Directories of which metadata was set.
    pub dirs_updated: u64,
    /// Directories that do not differ.
    pub dirs_unchanged: u64,
    /// Items that went, with what was in them.
    pub deleted: u64,
    /// Bytes of regular files that went.
    pub deleted_bytes: u64,
    /// Bytes of the regular files that were made or replaced, holes included.
    pub bytes: u64,
    /// Files that were read back and are as they should be.
    pub files_verified: u64,
}

impl Counts {
    /// Items of the target that change or go.
    #[must_use]
    pub const fn conflicts(&self) -> u64 {
        self.files_replaced + self.files_updated + self.dirs_updated + self.deleted
    }

    /// Whether anything at all changes.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.conflicts() + self.files_created + self.dirs_created == 0
    }
}

/// What became of a restore, or what a plan of one found.
#[derive(Clone, Debug, Default)]
pub struct RestoreReport {
    /// What was done.
    pub counts: Counts,
    /// Items that could not be restored whole.
    pub problems: u64,
    /// Messages about them, the first of them.
    pub messages: Vec<String>,
    /// Those among them that are damaged in the repository, or were read back
    /// wrong.
    pub damaged: u64,
    /// Of a plan: whether nothing at all is to be done, so that this report is that
    /// of the restore as well.
    pub is_settled: bool,
    /// What was left out on purpose.
    pub notes: Vec<String>,
    /// How long it took.
    pub duration: Duration,
}
