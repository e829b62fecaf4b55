//! Metadata of an item of the target: whether it differs, and setting it.
//!
//! The order is that which leaves all of it standing: the owner first, since
//! giving a file away clears capabilities and setuid bits; then attributes and
//! ACLs, then the mode, times last. A setuid or setgid bit is worth nothing without
//! the owner that it stands for, so it is set only on a file of that owner.

use rustix::io::Errno;

use crate::base::format::system_words;
use crate::dag::{Kind, Node, Xattr};
use crate::local::{Handle, Status, Times, mode_without_rights};
use crate::restore::error::ItemError;
use crate::restore::run::Run;

/// Attributes that the system gives to files by itself, so that one too many is
/// no difference.
const OF_THE_SYSTEM: [&[u8]; 3] = [b"security.selinux", b"security.ima", b"security.evm"];
/// Attributes of one file that are named at most if they cannot be set.
const NAMED_XATTRS_MAX: usize = 10;
const SETUID: u16 = 0o4000;
const SETGID: u16 = 0o2000;

/// The times that a snapshot keeps of a node.
pub(super) fn times(node: &Node) -> Times {
    Times { atime: node.atime, mtime: node.mtime }
}

impl Run<'_> {
    /// Whether an attribute is restored: some are for root alone.
    fn may_set(&self, name: &[u8]) -> bool {
        self.is_root || name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_")
    }

    /// The mode that an item is given if it belongs to `uid` and `gid`.
    fn mode_for(&self, node: &Node, uid: u32, gid: u32) -> u16 {
        if !matches!(node.kind, Kind::File(_)) || node.mode & (SETUID | SETGID) == 0 {
            return node.mode;
        }
        let meant = self.owners.meant(&node.owner);
        mode_without_rights(node.mode, (uid == meant.0, gid == meant.1))
    }

    /// What of the metadata differs, the time only if nothing else does.
    pub(super) fn differs(
        &self,
        node: &Node,
        status: &Status,
        xattrs: impl FnOnce() -> Result<Vec<Xattr>, Errno>,
    ) -> Result<Option<&'static str>, ItemError> {
        let (uid, gid) = self.owners.wanted(&node.owner).unwrap_or((status.uid, status.gid));
        if (uid, gid) != (status.uid, status.gid) {
            return Ok(Some("owner"));
        }
        let is_symlink = matches!(node.kind, Kind::Symlink(_));
        if !is_symlink && self.mode_for(node, uid, gid) != status.mode {
            return Ok(Some("mode"));
        }
        match xattrs() {
            Ok(xattrs) if self.same_xattrs(&node.xattrs, &xattrs) => {}
            // More than any snapshot keeps.
            Ok(_) | Err(Errno::TOOBIG) => return Ok(Some("attributes")),
            Err(error) => return Err(ItemError::target("read the attributes of it")(error)),
        }
        Ok((node.mtime != status.mtime).then_some("time"))
    }

    fn same_xattrs(&self, wanted: &[Xattr], found: &[Xattr]) -> bool {
        let restored = |xattr: &&Xattr| self.may_set(&xattr.name);
        let own = |xattr: &&Xattr| {
            let is_wanted = || wanted.iter().any(|other| other.name == xattr.name);
            restored(xattr) && (!OF_THE_SYSTEM.contains(&&*xattr.name) || is_wanted())
        };
        wanted.iter().filter(restored).eq(found.iter().filter(own))
    }

    /// Sets all metadata that differs. What cannot be set is listed, and the rest
    /// set all the same.
    pub(super) fn set_metadata(
        &self,
        path: &[u8],
        handle: Handle<'_>,
        node: &Node,
        status: &Status,
        may_have_xattrs: bool,
    ) -> Result<(), ItemError> {
        let is_symlink = matches!(node.kind, Kind::Symlink(_));
        let (mut uid, mut gid) = (status.uid, status.gid);
        let mut mode = status.mode;
        if let Some(wanted) = self.owners.wanted(&node.owner).filter(|ids| *ids != (uid, gid)) {
            match handle.chown(wanted.0, wanted.1) {
                Ok(()) => (uid, gid) = wanted,
                Err(error) => self.soft(path, "give it its owner", error),
            }
            mode &= !(SETUID | SETGID);
        }
        if may_have_xattrs || !node.xattrs.is_empty() {
            self.set_xattrs(path, handle, node, may_have_xattrs)?;
            // An ACL sets the mode as well.
            mode = u16::MAX;
        }
        let wanted = self.mode_for(node, uid, gid);
        if !is_symlink && wanted != mode {
            handle.chmod(wanted).map_err(ItemError::target("set the mode of it"))?;
        }
        if wanted != node.mode && !is_symlink {
            let problem = "it lost its setuid or setgid bit, which would give away the rights of \
                           another owner";
            self.problem(path, problem);
        }
        handle.set_times(times(node)).map_err(ItemError::target("set the times of it"))
    }

    fn set_xattrs(
        &self,
        path: &[u8],
        handle: Handle<'_>,
        node: &Node,
        may_have_xattrs: bool,
    ) -> Result<(), ItemError> {
        if may_have_xattrs {
            let read = ItemError::target("read the attributes of it");
            for old in handle.xattr_names().map_err(read)? {
                let goes = node.xattrs.iter().all(|xattr| *xattr.name != *old)
                    && self.may_set(&old)
                    && !OF_THE_SYSTEM.contains(&&*old);
                if goes && let Err(error) = handle.remove_xattr(&old) {
                    self.soft(path, "remove an attribute of it", error);
                }
            }
        }
        let mut failed = 0_usize;
        for xattr in &node.xattrs {
            if !self.may_set(&xattr.name) {
                self.note_privileged_xattr();
            } else if let Err(error) = handle.set_xattr(xattr) {
                failed += 1;
                if failed <= NAMED_XATTRS_MAX {
                    let name = crate::base::name::printable(&xattr.name);
                    let error = system_words(&error.into());
                    self.problem(path, &format!("cannot set its attribute {name}: {error}"));
                }
            }
        }
        if let Some(more @ 1..) = failed.checked_sub(NAMED_XATTRS_MAX) {
            self.problem(path, &format!("cannot set {more} more of its attributes"));
        }
        Ok(())
    }

    fn soft(&self, path: &[u8], action: &'static str, source: Errno) {
        self.problem(path, &ItemError::Target { action, source }.text());
    }

    /// Removes the ACLs that a new item inherited from its directory.
    pub(super) fn disinherit(&self, handle: Handle<'_>) -> Result<(), ItemError> {
        handle.remove_acls().map_err(ItemError::target("remove the inherited ACL of it"))
    }
}
