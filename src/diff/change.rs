//! What a comparison tells: items, how they differ, and sums of that.

use std::sync::Arc;

use crate::base::time::Timestamp;
use crate::dag::{Content, Device, Kind, LinkGroup, Node, Owner, Totals, TreeRef, Xattr};

/// A file of any kind, in a snapshot or on a live file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its kind, with what only that kind has.
    pub kind: ItemKind,
    /// Its permission bits.
    pub mode: u16,
    /// Its owner; a live one without names.
    pub owner: Arc<Owner>,
    /// When its content last changed.
    pub mtime: Timestamp,
    /// When it was last read, where a snapshot keeps that.
    pub atime: Option<Timestamp>,
    /// Its hard links.
    pub links: Links,
    /// Its extended attributes by rising name.
    pub xattrs: Vec<Xattr>,
    /// Whether it changed while it was being saved.
    pub changed_while_read: bool,
}

/// The kind of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// A regular file.
    File(FileContent),
    /// A directory.
    Directory(DirectoryContent),
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A block device.
    BlockDevice(Device),
    /// A character device.
    CharDevice(Device),
}

/// The content of a regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileContent {
    /// Of a snapshot.
    Stored(Content),
    /// On a live file system, with so many bytes.
    Live(u64),
}

/// The content of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectoryContent {
    /// Of a snapshot.
    Stored(TreeRef),
    /// On a live file system.
    Live,
}

/// The hard links of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// In a snapshot: the group, if it has any.
    Stored(Option<LinkGroup>),
    /// On a live file system: how many there are.
    Live(u32),
}

impl From<&Node> for Item {
    fn from(node: &Node) -> Self {
        let kind = match &node.kind {
            Kind::File(content) => ItemKind::File(FileContent::Stored(content.clone())),
            Kind::Directory(tree) => ItemKind::Directory(DirectoryContent::Stored(*tree)),
            Kind::Symlink(target) => ItemKind::Symlink(target.clone()),
            Kind::Fifo => ItemKind::Fifo,
            Kind::Socket => ItemKind::Socket,
            Kind::BlockDevice(device) => ItemKind::BlockDevice(*device),
            Kind::CharDevice(device) => ItemKind::CharDevice(*device),
        };
        Self {
            kind,
            mode: node.mode,
            owner: node.owner.clone(),
            mtime: node.mtime,
            atime: node.atime,
            links: Links::Stored(node.links),
            xattrs: node.xattrs.clone(),
            changed_while_read: node.changed_while_read,
        }
    }
}

impl Item {
    /// Whether it is a directory.
    #[must_use]
    pub const fn is_directory(&self) -> bool {
        matches!(self.kind, ItemKind::Directory(_))
    }

    /// The bytes of a regular file, else 0.
    #[must_use]
    pub const fn size(&self) -> u64 {
        match &self.kind {
            ItemKind::File(FileContent::Stored(content)) => content.size,
            ItemKind::File(FileContent::Live(size)) => *size,
            _ => 0,
        }
    }

    /// The tree of a directory of a snapshot.
    #[must_use]
    pub const fn tree(&self) -> Option<&TreeRef> {
        match &self.kind {
            ItemKind::Directory(DirectoryContent::Stored(tree)) => Some(tree),
            _ => None,
        }
    }

    /// The name of its kind.
    #[must_use]
    pub const fn kind_name(&self) -> &'static str {
        match &self.kind {
            ItemKind::File(_) => "file",
            ItemKind::Directory(_) => "directory",
            ItemKind::Symlink(_) => "symlink",
            ItemKind::Fifo => "fifo",
            ItemKind::Socket => "socket",
            ItemKind::BlockDevice(_) => "block device",
            ItemKind::CharDevice(_) => "character device",
        }
    }
}

/// What can differ between two items of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// The kind.
    Type,
    /// The bytes of a regular file.
    Content,
    /// The target of a symlink.
    Target,
    /// The numbers of a device.
    Device,
    /// The permission bits.
    Mode,
    /// User or group.
    Owner,
    /// When the content last changed.
    Mtime,
    /// When it was last read.
    Atime,
    /// The hard links: how many, or which.
    Links,
    /// The extended attributes, ACLs and capabilities included.
    Xattrs,
    /// Whether it changed while it was being saved.
    ChangedWhileRead,
}

impl Field {
    /// Those that are metadata, and can be left out of a comparison.
    pub const METADATA: [Self; 7] = [
        Self::Mode,
        Self::Owner,
        Self::Mtime,
        Self::Atime,
        Self::Links,
        Self::Xattrs,
        Self::ChangedWhileRead,
    ];

    /// Its name, for people and programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Content => "content",
            Self::Target => "target",
            Self::Device => "device",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Mtime => "mtime",
            Self::Atime => "atime",
            Self::Links => "links",
            Self::Xattrs => "xattrs",
            Self::ChangedWhileRead => "changed-while-read",
        }
    }
}

/// How an item differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only the second side has it.
    Added(Item),
    /// Only the first side has it.
    Removed(Item),
    /// Both have it, and these fields differ, in their order.
    Modified {
        /// As the first side has it.
        before: Item,
        /// As the second side has it.
        after: Item,
        /// What differs.
        fields: Vec<Field>,
    },
    /// It has the content of an item that only the first side has.
    Renamed {
        /// The path on the first side.
        from: Vec<u8>,
        /// As the first side has it.
        before: Item,
        /// As the second side has it.
        after: Item,
        /// What differs of the metadata.
        fields: Vec<Field>,
    },
}

/// The names of changes, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeClass {
    /// Only the second side has it.
    Added,
    /// Only the first side has it.
    Removed,
    /// The content differs.
    Modified,
    /// Only metadata differ.
    Metadata,
    /// It is of another kind.
    Type,
    /// It has another path.
    Renamed,
}

impl ChangeClass {
    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Modified => "modified",
            Self::Metadata => "metadata",
            Self::Type => "type",
            Self::Renamed => "renamed",
        }
    }

    /// The one letter that stands for it.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Added => '+',
            Self::Removed => '-',
            Self::Modified => 'M',
            Self::Metadata => 'U',
            Self::Type => 'T',
            Self::Renamed => 'R',
        }
    }
}

/// A difference at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The path, seen from what is compared; empty for that itself.
    pub path: Vec<u8>,
    /// How it differs.
    pub change: Change,
    /// What is below the directory, if it stands for all of that too.
    pub below: Option<Tally>,
}

impl Difference {
    /// Whether it stands for all that is below the directory too.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.below.is_some()
    }

    /// The class of the change.
    #[must_use]
    pub fn class(&self) -> ChangeClass {
        match &self.change {
            Change::Added(_) => ChangeClass::Added,
            Change::Removed(_) => ChangeClass::Removed,
            Change::Renamed { .. } => ChangeClass::Renamed,
            Change::Modified { fields, .. } => match fields.first() {
                Some(Field::Type) => ChangeClass::Type,
                Some(Field::Content | Field::Target | Field::Device) => ChangeClass::Modified,
                _ => ChangeClass::Metadata,
            },
        }
    }

    /// The item as it is now, or was before it was removed.
    #[must_use]
    pub const fn item(&self) -> &Item {
        match &self.change {
            Change::Added(item) | Change::Removed(item) => item,
            Change::Modified { after, .. } | Change::Renamed { after, .. } => after,
        }
    }
}

/// Sums of changes of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Items of any kind but directories.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Bytes of regular files, as they are now or were before they were removed.
    pub bytes: u64,
}

impl Tally {
    /// Counts a difference, and what it stands for.
    pub fn add(&mut self, difference: &Difference) {
        let below = difference.below.unwrap_or_default();
        let item = difference.item();
        let (file, directory) = if item.is_directory() { (0, 1) } else { (1, 0) };
        self.files = self.files.saturating_add(file).saturating_add(below.files);
        self.directories =
            self.directories.saturating_add(directory).saturating_add(below.directories);
        self.bytes = self.bytes.saturating_add(item.size()).saturating_add(below.bytes);
    }
}

impl From<&Totals> for Tally {
    fn from(totals: &Totals) -> Self {
        Self { files: totals.files, directories: totals.directories, bytes: totals.bytes }
    }
}

/// Sums of a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// What was added.
    pub added: Tally,
    /// What was removed.
    pub removed: Tally,
    /// What has other content.
    pub modified: Tally,
    /// What has other metadata only.
    pub metadata: Tally,
    /// What is of another kind.
    pub retyped: Tally,
    /// What has another path.
    pub renamed: Tally,
}

impl Summary {
    /// Counts a difference.
    pub fn add(&mut self, difference: &Difference) {
        let tally = match difference.class() {
            ChangeClass::Added => &mut self.added,
            ChangeClass::Removed => &mut self.removed,
            ChangeClass::Modified => &mut self.modified,
            ChangeClass::Metadata => &mut self.metadata,
            ChangeClass::Type => &mut self.retyped,
            ChangeClass::Renamed => &mut self.renamed,
        };
        tally.add(difference);
    }

    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
