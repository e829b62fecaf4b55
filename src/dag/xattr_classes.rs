//! Which kinds of extended attributes occur in a tree, so that a reader who is
//! asked for one can tell that there is none anywhere without looking.

use crate::base::codec::{DecodeError, Decoder};
use crate::dag::node::Node;

/// The label of SELinux.
const LABEL: &[u8] = b"security.selinux";
/// POSIX ACLs, of access and by default.
const ACL: &[u8] = b"system.posix_acl_";

/// A set of kinds of extended attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XattrClasses(u8);

impl XattrClasses {
    /// POSIX ACLs.
    pub const ACL: Self = Self(1);
    /// Labels of SELinux.
    pub const LABEL: Self = Self(2);
    /// All others.
    pub const OTHER: Self = Self(4);
    const ALL: u8 = 7;

    /// The class of an attribute.
    #[must_use]
    pub fn of_name(name: &[u8]) -> Self {
        match name {
            LABEL => Self::LABEL,
            name if name.starts_with(ACL) => Self::ACL,
            _ => Self::OTHER,
        }
    }

    /// The classes of a node's own attributes.
    #[must_use]
    pub fn of_node(node: &Node) -> Self {
        node.xattrs.iter().fold(Self::default(), |sum, xattr| sum.and(Self::of_name(&xattr.name)))
    }

    /// The classes in either set.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a class is in the set.
    #[must_use]
    pub const fn has(self, class: Self) -> bool {
        self.0 & class.0 != 0
    }

    /// The set as a number.
    #[must_use]
    pub const fn to_number(self) -> u64 {
        self.0 as u64
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let number = decoder.number()?;
        match u8::try_from(number) {
            Ok(classes) if classes <= Self::ALL => Ok(Self(classes)),
            _ => Err(decoder.error("a class of extended attributes is unknown")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_its_class() {
        for (name, class) in [
            ("security.selinux", XattrClasses::LABEL),
            ("security.selinux2", XattrClasses::OTHER),
            ("system.posix_acl_access", XattrClasses::ACL),
            ("system.posix_acl_default", XattrClasses::ACL),
            ("security.capability", XattrClasses::OTHER),
            ("user.anything", XattrClasses::OTHER),
        ] {
            assert_eq!(XattrClasses::of_name(name.as_bytes()), class, "{name}");
        }
    }
}
