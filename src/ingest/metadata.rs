//! Metadata of a source item, as the DAG keeps it.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{fgetxattr, flistxattr, lgetxattr, llistxattr};
use rustix::io::Errno;

use crate::base::limits::{
    LABEL_BYTES_MAX, XATTR_NAME_BYTES_MAX, XATTR_TOTAL_BYTES_MAX, XATTR_VALUE_BYTES_MAX,
};
use crate::base::time::Timestamp;
use crate::dag::{Kind, LinkGroup, Node, Owner, Xattr};
use crate::ingest::location::Location;
use crate::ingest::status::Status;

/// Everything about an item but its kind.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    pub(crate) mode: u16,
    pub(crate) owner: Arc<Owner>,
    pub(crate) mtime: Timestamp,
    pub(crate) atime: Option<Timestamp>,
    pub(crate) links: Option<LinkGroup>,
    pub(crate) xattrs: Vec<Xattr>,
    pub(crate) changed_while_read: bool,
}

impl Metadata {
    /// Makes metadata of what the system says.
    pub(crate) fn new(
        status: &Status,
        owner: Arc<Owner>,
        with_atime: bool,
        xattrs: Vec<Xattr>,
    ) -> Self {
        Self {
            mode: status.mode,
            owner,
            mtime: status.mtime,
            atime: with_atime.then_some(status.atime),
            links: None,
            xattrs,
            changed_while_read: false,
        }
    }

    /// Makes a node of it.
    pub(crate) fn into_node(self, kind: Kind) -> Node {
        let Self { mode, owner, mtime, atime, links, xattrs, changed_while_read } = self;
        Node { kind, mode, owner, mtime, atime, changed_while_read, links, xattrs }
    }
}

/// Owners with their names, each asked for once.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    known: Mutex<HashMap<(u32, u32), Arc<Owner>>>,
}

impl Owners {
    /// Returns the owner of an item.
    pub(crate) fn of(&self, status: &Status) -> Arc<Owner> {
        self.of_ids(status.uid, status.gid)
    }

    /// Returns an owner by its numbers.
    pub(crate) fn of_ids(&self, uid: u32, gid: u32) -> Arc<Owner> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = known.entry((uid, gid)).or_insert_with(|| {
            let user = uzers::get_user_by_uid(uid).map(|user| label(user.name().as_bytes()));
            let group = uzers::get_group_by_gid(gid).map(|group| label(group.name().as_bytes()));
            let (user, group) = (user.unwrap_or_default(), group.unwrap_or_default());
            Arc::new(Owner { uid, gid, user, group })
        });
        owner.clone()
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
    /// An item that is not to be opened, such as a symlink. In a directory it is
    /// reached through `/proc`, since its path may be too long.
    Location(&'a Location),
    /// A path.
    Path(PathBuf),
    /// They are not kept.
    Nowhere,
}

impl<'a> XattrSource<'a> {
    /// Reads all attributes, sorted by name. One that vanishes meanwhile is
    /// left out.
    pub(crate) fn read(self) -> io::Result<Vec<Xattr>> {
        let Some(place) = self.resolve() else { return Ok(Vec::new()) };
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

    fn resolve(self) -> Option<XattrPlace<'a>> {
        Some(match self {
            Self::Nowhere => return None,
            Self::File(file) => XattrPlace::File(file),
            Self::Location(location) => {
                let mut path = PathBuf::new();
                if let Some(directory) = location.directory() {
                    path.push(format!("/proc/self/fd/{}", directory.as_raw_fd()));
                }
                path.push(location.path());
                XattrPlace::Path(path)
            }
            Self::Path(path) => XattrPlace::Path(path),
        })
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
