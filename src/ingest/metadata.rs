//! Metadata of a source item, as the DAG keeps it.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{Stat, fgetxattr, flistxattr, lgetxattr, llistxattr};
use rustix::io::Errno;

use crate::base::limits::{
    LABEL_BYTES_MAX, XATTR_NAME_BYTES_MAX, XATTR_TOTAL_BYTES_MAX, XATTR_VALUE_BYTES_MAX,
};
use crate::base::name::EntryName;
use crate::base::time::Timestamp;
use crate::dag::node::MODE_MASK;
use crate::dag::{Kind, LinkGroup, Node, Owner, Xattr};

/// Everything about an item but its kind.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    pub(crate) mode: u16,
    pub(crate) owner: Arc<Owner>,
    pub(crate) mtime: Timestamp,
    pub(crate) links: Option<LinkGroup>,
    pub(crate) xattrs: Vec<Xattr>,
}

impl Metadata {
    /// Makes a node of it.
    pub(crate) fn into_node(self, kind: Kind) -> Node {
        let Self { mode, owner, mtime, links, xattrs } = self;
        Node { kind, mode, owner, mtime, links, xattrs }
    }
}

/// Turns what `stat` says into metadata; remembers the names of owners.
#[derive(Debug, Default)]
pub(crate) struct MetadataReader {
    owners: HashMap<(u32, u32), Arc<Owner>>,
}

impl MetadataReader {
    pub(crate) fn metadata(
        &mut self,
        stat: &Stat,
        links: Option<LinkGroup>,
        xattrs: Vec<Xattr>,
    ) -> Metadata {
        let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        Metadata {
            mode: u16::try_from(stat.st_mode & u32::from(MODE_MASK)).unwrap_or(0),
            owner: self.owner(stat.st_uid, stat.st_gid),
            mtime: Timestamp::new(stat.st_mtime, nanoseconds).unwrap_or_default(),
            links,
            xattrs,
        }
    }

    fn owner(&mut self, uid: u32, gid: u32) -> Arc<Owner> {
        let made = self.owners.entry((uid, gid)).or_insert_with(|| {
            let user = uzers::get_user_by_uid(uid).map(|user| label(user.name().as_bytes()));
            let group = uzers::get_group_by_gid(gid).map(|group| label(group.name().as_bytes()));
            let (user, group) = (user.unwrap_or_default(), group.unwrap_or_default());
            Arc::new(Owner { uid, gid, user, group })
        });
        made.clone()
    }
}

/// A name of a user or group; one that is no short text is left out, the number
/// is kept anyway.
fn label(name: &[u8]) -> Box<str> {
    let text = std::str::from_utf8(name).unwrap_or_default();
    if text.len() <= LABEL_BYTES_MAX { text.into() } else { "".into() }
}

/// Where the extended attributes of an item are read from.
pub(crate) enum XattrSource<'a> {
    /// An open file.
    File(&'a OwnedFd),
    /// A name in an open directory: a symlink or another item that is not to be
    /// opened. Reached through `/proc`, since its path may be too long.
    Name(BorrowedFd<'a>, &'a EntryName),
    /// A path of a named source's parent.
    Path(PathBuf),
}

impl<'a> XattrSource<'a> {
    /// Reads all attributes, sorted by name. One that vanishes meanwhile is
    /// left out.
    pub(crate) fn read(self) -> io::Result<Vec<Xattr>> {
        let place = self.resolve();
        let names = match place.list() {
            Ok(names) => names,
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut xattrs = Vec::new();
        let mut total = 0;
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let value = match place.get(name) {
                Ok(value) => value,
                Err(Errno::NODATA | Errno::OPNOTSUPP) => continue,
                Err(error) => return Err(error.into()),
            };
            total += name.len() + value.len();
            if name.len() > XATTR_NAME_BYTES_MAX || total > XATTR_TOTAL_BYTES_MAX {
                return Err(io::Error::other("its extended attributes are too large"));
            }
            xattrs.push(Xattr { name: name.into(), value: value.into() });
        }
        xattrs.sort_unstable();
        xattrs.dedup_by(|a, b| a.name == b.name);
        Ok(xattrs)
    }

    fn resolve(self) -> XattrPlace<'a> {
        match self {
            Self::File(file) => XattrPlace::File(file),
            Self::Name(directory, name) => {
                let number = directory.as_raw_fd();
                let mut path = PathBuf::from(format!("/proc/self/fd/{number}"));
                path.push(name.as_os_str());
                XattrPlace::Path(path)
            }
            Self::Path(path) => XattrPlace::Path(path),
        }
    }
}

enum XattrPlace<'a> {
    File(&'a OwnedFd),
    Path(PathBuf),
}

impl XattrPlace<'_> {
    fn list(&self) -> Result<Vec<u8>, Errno> {
        filled(|buffer| match self {
            Self::File(file) => flistxattr(file, buffer),
            Self::Path(path) => llistxattr(path, buffer),
        })
    }

    fn get(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        filled(|buffer| match self {
            Self::File(file) => fgetxattr(file, name, buffer),
            Self::Path(path) => lgetxattr(path, name, buffer),
        })
    }
}

/// Reads into a buffer that suits nearly all, and into the largest one there
/// can be if it did not suffice.
fn filled(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0_u8; 512];
    match read(&mut small) {
        Ok(length) => Ok(small.get(..length).unwrap_or_default().to_vec()),
        Err(Errno::RANGE) => {
            let mut large = vec![0_u8; XATTR_VALUE_BYTES_MAX];
            let length = read(&mut large)?;
            large.truncate(length);
            Ok(large)
        }
        Err(error) => Err(error),
    }
}
