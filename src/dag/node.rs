//! What a tree says of one file: its kind, metadata and content.

use std::sync::Arc;

use crate::base::codec::DecodeError;
use crate::base::hash::{Digest256, tagged};
use crate::base::limits::{
    LABEL_BYTES_MAX, SYMLINK_BYTES_MAX, XATTR_LIST_BYTES_MAX, XATTR_NAME_BYTES_MAX,
    XATTR_TOTAL_BYTES_MAX, XATTR_VALUE_BYTES_MAX,
};
use crate::base::name::EntryName;
use crate::base::time::Timestamp;
use crate::dag::content::Content;
use crate::dag::record::{RecordDecoder, RecordEncoder};
use crate::dag::tree::TreeRef;

/// The permission bits of a mode: `rwx` thrice, setuid, setgid and sticky.
pub const MODE_MASK: u16 = 0o7777;

/// A name in a directory and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, unique in its directory.
    pub name: EntryName,
    /// What it stands for.
    pub node: Node,
}

/// One file of any kind, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its kind, with what only that kind has.
    pub kind: Kind,
    /// Its permission bits, within [`MODE_MASK`].
    pub mode: u16,
    /// Its owner and group.
    pub owner: Arc<Owner>,
    /// When its content last changed.
    pub mtime: Timestamp,
    /// When it was last read, if that was asked for.
    pub atime: Option<Timestamp>,
    /// Whether it changed while it was being read, so that its content may mix
    /// several moments.
    pub changed_while_read: bool,
    /// The group of hard links that it belongs to, if it has any.
    pub links: Option<LinkGroup>,
    /// Its extended attributes, ACLs and capabilities included, by rising name.
    pub xattrs: Vec<Xattr>,
}

/// The kind of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File(Content),
    /// A directory.
    Directory(TreeRef),
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

/// The numbers of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// The major number.
    pub major: u32,
    /// The minor number.
    pub minor: u32,
}

/// Owner and group, by number and, where known, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The user's name, empty if the number had none.
    pub user: Box<str>,
    /// The group's name, empty if the number had none.
    pub group: Box<str>,
}

/// Membership in a group of hard links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkGroup {
    /// The links that the file had, in and out of the snapshot.
    pub count: u32,
    /// Names the group within a snapshot: derived from its first path.
    pub group: [u8; 16],
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// The name with its namespace, such as `user.comment`.
    pub name: Box<[u8]>,
    /// The value.
    pub value: Box<[u8]>,
}

const FILE: u8 = 0;
const DIRECTORY: u8 = 1;
const SYMLINK: u8 = 2;
const FIFO: u8 = 3;
const SOCKET: u8 = 4;
const BLOCK_DEVICE: u8 = 5;
const CHAR_DEVICE: u8 = 6;
const KIND_MASK: u8 = 0x0f;
const HAS_LINKS: u8 = 0x10;
const HAS_XATTRS: u8 = 0x20;
const CHANGED_WHILE_READ: u8 = 0x40;
const HAS_ATIME: u8 = 0x80;

impl Kind {
    const fn tag(&self) -> u8 {
        match self {
            Self::File(_) => FILE,
            Self::Directory(_) => DIRECTORY,
            Self::Symlink(_) => SYMLINK,
            Self::Fifo => FIFO,
            Self::Socket => SOCKET,
            Self::BlockDevice(_) => BLOCK_DEVICE,
            Self::CharDevice(_) => CHAR_DEVICE,
        }
    }
}

impl Node {
    /// The size that `stat` reports, in bytes. A directory has 4096: what it
    /// takes on its own file system is no part of its meaning.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.kind {
            Kind::File(content) => content.size,
            Kind::Symlink(target) => target.len() as u64,
            Kind::Directory(_) => 4096,
            Kind::Fifo | Kind::Socket | Kind::BlockDevice(_) | Kind::CharDevice(_) => 0,
        }
    }

    /// The links that `stat` reports; never 0.
    #[must_use]
    pub fn link_count(&self) -> u32 {
        match (&self.kind, &self.links) {
            (Kind::Directory(tree), _) => {
                u32::try_from(tree.totals.subdirectories).unwrap_or(u32::MAX).saturating_add(2)
            }
            (_, Some(links)) => links.count.max(1),
            (_, None) => 1,
        }
    }

    /// The extended attribute of that name.
    #[must_use]
    pub fn xattr(&self, name: &[u8]) -> Option<&[u8]> {
        let index = self.xattrs.binary_search_by(|xattr| (*xattr.name).cmp(name)).ok()?;
        self.xattrs.get(index).map(|xattr| &*xattr.value)
    }

    /// Returns bytes that are equal for two nodes just if all that is hashed of
    /// them is equal: owner and node, without hints.
    #[must_use]
    pub fn meaning(&self) -> Vec<u8> {
        let mut encoder = RecordEncoder::default();
        self.owner.encode(&mut encoder);
        self.encode(0, &mut encoder);
        encoder.finish().canonical
    }

    /// Names the file that this is one of several names of, within a snapshot; nothing if
    /// it has no other, or is a directory. Names of one group that say different things of
    /// what they hold, of whom it belongs to and who may read it are those of different
    /// files: such a group was forged, or its file changed while it was saved.
    #[must_use]
    pub fn shared_file(&self) -> Option<Digest256> {
        let group = self.links.filter(|_| !matches!(self.kind, Kind::Directory(_)))?.group;
        // These may change between two looks at one file.
        let (links, atime, changed_while_read) = (None, None, false);
        let mtime = Timestamp::default();
        let same = Self { links, atime, mtime, changed_while_read, ..self.clone() };
        Some(tagged(&group, &same.meaning()))
    }

    /// Appends the node; `owner` is its place in the record's table of owners.
    pub(crate) fn encode(&self, owner: usize, encoder: &mut RecordEncoder) {
        let body = &mut encoder.body;
        let mut tag = self.kind.tag();
        tag |= if self.links.is_some() { HAS_LINKS } else { 0 };
        tag |= if self.xattrs.is_empty() { 0 } else { HAS_XATTRS };
        tag |= if self.changed_while_read { CHANGED_WHILE_READ } else { 0 };
        tag |= if self.atime.is_some() { HAS_ATIME } else { 0 };
        body.byte(tag);
        body.number(u64::from(self.mode & MODE_MASK));
        body.number(owner as u64);
        for time in [Some(self.mtime), self.atime].into_iter().flatten() {
            body.signed(time.seconds());
            body.number(u64::from(time.nanoseconds()));
        }
        if let Some(links) = &self.links {
            body.number(u64::from(links.count));
            body.raw(&links.group);
        }
        if !self.xattrs.is_empty() {
            body.number(self.xattrs.len() as u64);
            for xattr in &self.xattrs {
                body.bytes(&xattr.name);
                body.bytes(&xattr.value);
            }
        }
        match &self.kind {
            Kind::File(content) => content.encode(encoder),
            Kind::Directory(tree) => tree.encode(encoder),
            Kind::Symlink(target) => body.bytes(target),
            Kind::Fifo | Kind::Socket => {}
            Kind::BlockDevice(device) | Kind::CharDevice(device) => {
                body.number(u64::from(device.major));
                body.number(u64::from(device.minor));
            }
        }
    }

    /// Takes a node.
    pub(crate) fn decode(
        owners: &[Arc<Owner>],
        decoder: &mut RecordDecoder<'_>,
    ) -> Result<Self, DecodeError> {
        let body = &mut decoder.body;
        let tag = body.byte()?;
        let mode = body.bounded(u64::from(MODE_MASK), "the mode")?;
        let owner = body.number()?;
        let owner = usize::try_from(owner).ok().and_then(|index| owners.get(index)).cloned();
        let owner = owner.ok_or_else(|| body.error("a file names an owner not in the table"))?;
        let mtime = decode_time(decoder)?;
        let atime = if tag & HAS_ATIME == 0 { None } else { Some(decode_time(decoder)?) };
        let changed_while_read = tag & CHANGED_WHILE_READ != 0;
        let links = if tag & HAS_LINKS == 0 { None } else { Some(LinkGroup::decode(decoder)?) };
        let xattrs = if tag & HAS_XATTRS == 0 { Vec::new() } else { decode_xattrs(decoder)? };
        let kind = Kind::decode(tag & KIND_MASK, decoder)?;
        let mode = u16::try_from(mode).unwrap_or_default();
        Ok(Self { kind, mode, owner, mtime, atime, changed_while_read, links, xattrs })
    }
}

impl Kind {
    fn decode(tag: u8, decoder: &mut RecordDecoder<'_>) -> Result<Self, DecodeError> {
        Ok(match tag {
            FILE => Self::File(Content::decode(decoder)?),
            DIRECTORY => Self::Directory(TreeRef::decode(decoder)?),
            SYMLINK => {
                let target = decoder.body.bytes(SYMLINK_BYTES_MAX, "a symlink's target")?;
                if target.is_empty() || target.contains(&0) {
                    return Err(decoder.body.error("a symlink's target is empty or holds a NUL"));
                }
                Self::Symlink(target.into())
            }
            FIFO => Self::Fifo,
            SOCKET => Self::Socket,
            BLOCK_DEVICE => Self::BlockDevice(Device::decode(decoder)?),
            CHAR_DEVICE => Self::CharDevice(Device::decode(decoder)?),
            _ => return Err(decoder.body.error("a file is of an unknown kind")),
        })
    }
}

impl Device {
    fn decode(decoder: &mut RecordDecoder<'_>) -> Result<Self, DecodeError> {
        let major = decoder.body.number32("a device's major number")?;
        let minor = decoder.body.number32("a device's minor number")?;
        Ok(Self { major, minor })
    }
}

impl LinkGroup {
    fn decode(decoder: &mut RecordDecoder<'_>) -> Result<Self, DecodeError> {
        let count = decoder.body.number32("a link count")?;
        Ok(Self { count, group: decoder.body.array()? })
    }
}

impl Owner {
    pub(crate) fn encode(&self, encoder: &mut RecordEncoder) {
        encoder.body.number(u64::from(self.uid));
        encoder.body.number(u64::from(self.gid));
        encoder.body.bytes(self.user.as_bytes());
        encoder.body.bytes(self.group.as_bytes());
    }

    pub(crate) fn decode(decoder: &mut RecordDecoder<'_>) -> Result<Self, DecodeError> {
        let uid = decoder.body.number32("a user's number")?;
        let gid = decoder.body.number32("a group's number")?;
        let user = decoder.body.text(LABEL_BYTES_MAX, "a user's name")?.into();
        let group = decoder.body.text(LABEL_BYTES_MAX, "a group's name")?.into();
        Ok(Self { uid, gid, user, group })
    }
}

pub(crate) fn decode_time(decoder: &mut RecordDecoder<'_>) -> Result<Timestamp, DecodeError> {
    let seconds = decoder.body.signed()?;
    let nanoseconds = decoder.body.number32("nanoseconds")?;
    Timestamp::new(seconds, nanoseconds)
        .ok_or_else(|| decoder.body.error("nanoseconds exceed a second"))
}

fn decode_xattrs(decoder: &mut RecordDecoder<'_>) -> Result<Vec<Xattr>, DecodeError> {
    let body = &mut decoder.body;
    let count = body.count(XATTR_TOTAL_BYTES_MAX / 2, "the number of attributes")?;
    if count == 0 {
        return Err(body.error("an empty list of attributes is marked as present"));
    }
    let mut xattrs: Vec<Xattr> = Vec::new();
    let (mut list, mut total) = (0, 0);
    for _ in 0..count {
        let name = body.bytes(XATTR_NAME_BYTES_MAX, "an attribute's name")?;
        let value = body.bytes(XATTR_VALUE_BYTES_MAX, "an attribute's value")?;
        list += name.len() + 1;
        total += name.len() + value.len();
        if list > XATTR_LIST_BYTES_MAX || total > XATTR_TOTAL_BYTES_MAX {
            return Err(body.error("the attributes of a file are too large"));
        }
        if name.is_empty() || name.contains(&0) {
            return Err(body.error("an attribute's name is empty or holds a NUL"));
        }
        if xattrs.last().is_some_and(|last| *last.name >= *name) {
            return Err(body.error("attributes are not in rising order"));
        }
        xattrs.push(Xattr { name: name.into(), value: value.into() });
    }
    Ok(xattrs)
}
