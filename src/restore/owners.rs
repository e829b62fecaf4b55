//! Which owner an item is to have on this system.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::dag::Owner;
use crate::restore::request::OwnerPolicy;

/// Owners by number or by name, each looked up once.
pub(super) struct Owners {
    policy: OwnerPolicy,
    known: Mutex<HashMap<Arc<Owner>, (u32, u32)>>,
}

impl Owners {
    pub(super) fn new(policy: OwnerPolicy) -> Self {
        Self { policy, known: Mutex::default() }
    }

    /// The user and the group that an item is given, if it is given any.
    pub(super) fn wanted(&self, owner: &Arc<Owner>) -> Option<(u32, u32)> {
        (self.policy != OwnerPolicy::Nobody).then(|| self.meant(owner))
    }

    /// The user and the group that are meant, given or not. As in rsync, number
    /// 0 is never looked up.
    pub(super) fn meant(&self, owner: &Arc<Owner>) -> (u32, u32) {
        if self.policy == OwnerPolicy::Numbers {
            return (owner.uid, owner.gid);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ids) = known.get(owner) {
            return *ids;
        }
        let user = |name: &str| uzers::get_user_by_name(name).map(|user| user.uid());
        let group = |name: &str| uzers::get_group_by_name(name).map(|group| group.gid());
        let ids = (id(owner.uid, &owner.user, user), id(owner.gid, &owner.group, group));
        known.insert(owner.clone(), ids);
        ids
    }
}

fn id(number: u32, name: &str, look_up: impl FnOnce(&str) -> Option<u32>) -> u32 {
    if number == 0 || name.is_empty() || name.contains('\0') {
        return number;
    }
    look_up(name).unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_the_numbers_of_this_system_and_unknown_ones_to_their_own() {
        let owner = |uid, user: &str| {
            Arc::new(Owner { uid, gid: 7, user: user.into(), group: "no such group".into() })
        };
        let root = owner(12345, "root");
        assert_eq!(Owners::new(OwnerPolicy::Names).wanted(&root), Some((0, 7)));
        assert_eq!(Owners::new(OwnerPolicy::Numbers).wanted(&root), Some((12345, 7)));
        assert_eq!(Owners::new(OwnerPolicy::Nobody).wanted(&root), None);
        let nobody = owner(0, "nobody");
        assert_eq!(Owners::new(OwnerPolicy::Names).wanted(&nobody), Some((0, 7)));
        let strange = owner(4321, "no such user\0");
        assert_eq!(Owners::new(OwnerPolicy::Names).wanted(&strange), Some((4321, 7)));
    }
}
