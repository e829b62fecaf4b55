//! Who may look into a directory that shows what is in directories of several
//! snapshots: those alone who may look into each of these.

use crate::dag::{Kind, Node, Xattr, XattrClasses};

/// Everything to the owner, and nothing to anybody else.
const OWNER_ALONE: u16 = 0o700;

/// The permissions of a directory that exists only in the mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Its permission bits.
    pub mode: u16,
    /// Its owner and group by number; none where it is whoever has mounted.
    pub owner: Option<(u32, u32)>,
    /// Its ACLs.
    pub acls: Vec<Xattr>,
}

impl Guard {
    /// The permissions of a directory; none of anything else.
    #[must_use]
    pub fn of(node: &Node) -> Option<Self> {
        let is_acl = |xattr: &&Xattr| XattrClasses::of_name(&xattr.name) == XattrClasses::ACL;
        matches!(node.kind, Kind::Directory(_)).then(|| Self {
            mode: node.mode,
            owner: Some((node.owner.uid, node.owner.gid)),
            acls: node.xattrs.iter().filter(is_acl).cloned().collect(),
        })
    }

    /// Permissions that give nobody what one of the two refuses, but to whoever has
    /// mounted, who has the repository.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == other {
            return self;
        }
        let has_acls = !self.acls.is_empty() || !other.acls.is_empty();
        if self.owner == other.owner && !has_acls {
            return Self { mode: self.mode & other.mode, ..self };
        }
        // Somebody may be of one class here and of another one there.
        let everybody = self.everybody() & other.everybody();
        Self { mode: OWNER_ALONE | everybody << 3 | everybody, owner: None, acls: Vec::new() }
    }

    /// What nobody is refused, as the bits of one class.
    fn everybody(&self) -> u16 {
        // Whom an ACL names may have less than any class.
        if self.acls.is_empty() { self.mode & self.mode >> 3 & self.mode >> 6 & 0o7 } else { 0 }
    }

    /// The value of an ACL.
    #[must_use]
    pub fn acl(&self, name: &[u8]) -> Option<&[u8]> {
        self.acls.iter().find(|acl| *acl.name == *name).map(|acl| &*acl.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(mode: u16, uid: u32, acls: &[&str]) -> Guard {
        let acl = |value: &&str| Xattr { name: (*b"a").into(), value: value.as_bytes().into() };
        Guard { mode, owner: Some((uid, 1)), acls: acls.iter().map(acl).collect() }
    }

    #[test]
    fn nobody_is_given_what_one_of_two_refuses() {
        let shared = |mode| Guard { mode, owner: None, acls: Vec::new() };
        for (one, other, both) in [
            (guard(0o750, 1, &[]), guard(0o705, 1, &[]), guard(0o700, 1, &[])),
            (guard(0o755, 1, &["x"]), guard(0o755, 1, &["x"]), guard(0o755, 1, &["x"])),
            (guard(0o755, 1, &[]), guard(0o755, 2, &[]), shared(0o755)),
            // The owner of one is refused by it, and is another one's group or other.
            (guard(0o055, 1, &[]), guard(0o755, 2, &[]), shared(0o700)),
            (guard(0o750, 1, &[]), guard(0o755, 2, &[]), shared(0o700)),
            (guard(0o751, 1, &[]), guard(0o715, 2, &[]), shared(0o711)),
            (guard(0o755, 1, &["x"]), guard(0o755, 1, &["y"]), shared(0o700)),
            (guard(0o755, 1, &["x"]), guard(0o755, 1, &[]), shared(0o700)),
            (shared(0o755), guard(0o755, 2, &[]), shared(0o755)),
            (shared(0o700), guard(0o755, 2, &[]), shared(0o700)),
        ] {
            assert_eq!(one.clone().and(other.clone()), both, "{one:?} {other:?}");
            assert_eq!(other.clone().and(one.clone()), both, "{other:?} {one:?}");
        }
    }
}
