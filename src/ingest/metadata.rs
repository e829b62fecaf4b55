//! Metadata of a source item, as the DAG keeps it.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

use crate::base::limits::LABEL_BYTES_MAX;
use crate::base::time::Timestamp;
use crate::dag::{Kind, LinkGroup, Node, Owner, Xattr};
use crate::ingest::location::Location;
use crate::local::{Status, xattrs};

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
    /// An item that is not to be opened, such as a symlink.
    Location(&'a Location),
    /// A path.
    Path(PathBuf),
    /// They are not kept.
    Nowhere,
}

impl XattrSource<'_> {
    /// Reads all attributes, sorted by name. One that vanishes meanwhile is
    /// left out.
    pub(crate) fn read(self) -> io::Result<Vec<Xattr>> {
        let read = match self {
            Self::Nowhere => Ok(Vec::new()),
            Self::File(file) => xattrs::of_file(file),
            Self::Path(path) => xattrs::of_path(&path),
            Self::Location(location) => match location.directory() {
                Some(directory) => xattrs::of_name(directory, location.path().as_bytes()),
                None => xattrs::of_path(Path::new(location.path())),
            },
        };
        read.map_err(|error| match error {
            Errno::TOOBIG => io::Error::other("its extended attributes are too large"),
            error => error.into(),
        })
    }
}
