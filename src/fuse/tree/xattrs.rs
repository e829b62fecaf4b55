//! Extended attributes: those that were kept, and some of our own.

use fuser::Errno;

use super::{Tree, dag_node};
use crate::base::id::hex;
use crate::dag::{Kind, XattrClasses};
use crate::fuse::nodes::{Node, ROOT, What};

/// Attributes that are answered and not listed.
const XATTR_PID: &[u8] = b"user.icecore.pid";
const XATTR_CHANGED: &[u8] = b"user.icecore.changed";
const XATTR_SHA256: &[u8] = b"user.icecore.sha256";
const XATTR_SNAPSHOT: &[u8] = b"user.icecore.snapshot";
const XATTR_TREE: &[u8] = b"user.icecore.tree";

/// Namespaces that root alone is shown: the kernel guards them, if at all, by
/// privileges in the machine that they were set on.
const FOR_ROOT: [&[u8]; 2] = [b"security.", b"trusted."];

/// Who asks for an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    Root,
    /// Whose mount it is.
    Owner,
    Other,
}

impl Asker {
    fn may_see(self, name: &[u8]) -> bool {
        match self {
            Self::Root => true,
            // The id of a tree tells whoever guesses what is below it, files that he may
            // not read included, that he has guessed right.
            Self::Other if name == XATTR_TREE => false,
            Self::Owner | Self::Other => {
                !FOR_ROOT.iter().any(|namespace| name.starts_with(namespace))
            }
        }
    }
}

impl Tree {
    /// The one with that user id.
    pub(crate) const fn asker(&self, uid: u32) -> Asker {
        match uid {
            0 => Asker::Root,
            uid if uid == self.owner.uid => Asker::Owner,
            _ => Asker::Other,
        }
    }

    /// The value of an extended attribute.
    pub(crate) fn xattr(&self, id: u64, name: &[u8], asker: Asker) -> Result<Vec<u8>, Errno> {
        let node = self.node(id)?;
        if let Some(value) = self.own_xattr(id, &node, name).filter(|_| asker.may_see(name)) {
            return Ok(value);
        }
        let is_acl = XattrClasses::of_name(name) == XattrClasses::ACL;
        let value = match &node.what {
            // ACLs are enforced with the mode.
            What::Place(place) if is_acl => {
                let guard = self.view.guard(place).map_err(|error| self.fail(id, &error))?;
                guard.and_then(|guard| guard.acl(name).map(<[u8]>::to_vec))
            }
            What::Difference(difference) if is_acl => {
                difference.guard.acl(name).map(<[u8]>::to_vec)
            }
            what => dag_node(what).and_then(|node| node.xattr(name)).map(<[u8]>::to_vec),
        };
        match value.filter(|_| asker.may_see(name)) {
            Some(value) => Ok(value),
            None if self.is_unsupported(id, name)? => Err(Errno::EOPNOTSUPP),
            None => Err(Errno::ENODATA),
        }
    }

    /// Whether an attribute is of a kind that no snapshot has: a label, or an
    /// ACL unless the kernel looks after these. Tools that hear this stop asking
    /// for every file of the mount.
    fn is_unsupported(&self, id: u64, name: &[u8]) -> Result<bool, Errno> {
        let class = XattrClasses::of_name(name);
        let may_be = class == XattrClasses::LABEL || class == XattrClasses::ACL && !self.kernel_acl;
        if !may_be {
            return Ok(false);
        }
        let list = self.view.snapshots().map_err(|error| self.fail(id, &error))?;
        Ok(!list.xattrs().has(class))
    }

    /// The names of a node's extended attributes, each ended by a NUL.
    pub(crate) fn xattr_names(&self, id: u64, asker: Asker) -> Result<Vec<u8>, Errno> {
        let node = self.node(id)?;
        let mut names = Vec::new();
        let kept = dag_node(&node.what).map(|node| &*node.xattrs).unwrap_or_default();
        let is_shown = |name: &[u8]| match &node.what {
            What::Difference(difference) if XattrClasses::of_name(name) == XattrClasses::ACL => {
                difference.guard.acl(name).is_some()
            }
            _ => asker.may_see(name),
        };
        for xattr in kept.iter().filter(|xattr| is_shown(&xattr.name)) {
            names.extend_from_slice(&xattr.name);
            names.push(0);
        }
        Ok(names)
    }

    /// Attributes of our own.
    fn own_xattr(&self, id: u64, node: &Node, name: &[u8]) -> Option<Vec<u8>> {
        if !name.starts_with(b"user.icecore.") {
            return None;
        }
        let text = match (name, &node.what) {
            (XATTR_PID, _) if id == ROOT => std::process::id().to_string(),
            (XATTR_TREE, What::Directory(directory)) => directory.tree.id.to_string(),
            (XATTR_SNAPSHOT, _) => self.snapshot_of(node)?.to_string(),
            (XATTR_CHANGED, What::Item(item)) if item.get()?.node.changed_while_read => {
                "while it was read".to_owned()
            }
            (XATTR_SHA256, What::Item(item)) => match &item.get()?.node.kind {
                Kind::File(content) => hex(&content.known_sha256()?),
                _ => return None,
            },
            _ => return None,
        };
        Some(text.into_bytes())
    }
}
