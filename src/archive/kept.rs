//! What of an archive may have to be held until its end, names apart: bounded
//! together, and equal lists of attributes held once.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::archive::entry::{Found, FoundKind};
use crate::base::hash::sha256;
use crate::dag::Xattr;

/// Bytes of attributes, targets of symlinks and names of owners, at most: as much
/// for all together, and some more for each entry, which takes about as much itself.
const BYTES_MAX: usize = 128 << 20;
const ENTRY_BYTES: usize = 256;
/// Bytes that an attribute takes beside its name and value.
const XATTR_BYTES: usize = 64;

/// Counts what is held.
#[derive(Default)]
pub(super) struct Kept {
    entries: usize,
    bytes: usize,
    lists: BTreeSet<Arc<[Xattr]>>,
    /// Short digests of the owners' names.
    owners: HashSet<[u8; 8]>,
}

impl Kept {
    /// Takes an entry that may be held, and gives it the list of attributes that
    /// another one has already; or says why it cannot be held.
    pub(super) fn take(&mut self, found: &mut Found) -> Result<(), String> {
        self.entries += 1;
        if let FoundKind::Symlink(target) = &found.kind {
            self.bytes += target.len();
        }
        if !(found.user.is_empty() && found.group.is_empty()) {
            let names = [&found.user[..], b"\0", &found.group].concat();
            let digest = sha256(&names).first_chunk().copied().unwrap_or_default();
            if self.owners.insert(digest) {
                self.bytes += names.len();
            }
        }
        if let Some(known) = self.lists.get(&found.xattrs) {
            found.xattrs = known.clone();
        } else if !found.xattrs.is_empty() {
            let bytes = |xattr: &Xattr| XATTR_BYTES + xattr.name.len() + xattr.value.len();
            self.bytes += found.xattrs.iter().map(bytes).sum::<usize>();
            self.lists.insert(found.xattrs.clone());
        }
        if self.bytes > BYTES_MAX + self.entries * ENTRY_BYTES {
            return Err(format!(
                "the attributes, symlinks and owners of its first {} entries take more than {}",
                self.entries,
                crate::base::format::bytes(BYTES_MAX as u64)
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Timestamp;

    fn found(xattrs: Vec<Xattr>, kind: FoundKind) -> Found {
        Found {
            path: Vec::new(),
            kind,
            mode: 0,
            uid: 0,
            gid: 0,
            user: b"user".to_vec(),
            group: Vec::new(),
            mtime: Timestamp::default(),
            atime: None,
            xattrs: xattrs.into(),
            links: None,
            changed_while_read: false,
        }
    }

    fn xattr(value: &[u8]) -> Xattr {
        Xattr { name: b"user.x"[..].into(), value: value.into() }
    }

    #[test]
    fn equal_lists_are_held_once_and_others_only_up_to_a_bound() {
        let mut kept = Kept::default();
        let mut first = found(vec![xattr(&[7; 60_000])], FoundKind::Fifo);
        kept.take(&mut first).unwrap();
        for _ in 0..10_000 {
            let mut same = found(vec![xattr(&[7; 60_000])], FoundKind::Fifo);
            kept.take(&mut same).unwrap();
            assert!(Arc::ptr_eq(&same.xattrs, &first.xattrs));
        }
        let mut other = |number: u32| {
            let value = [&number.to_le_bytes()[..], &[0; 60_000]].concat();
            kept.take(&mut found(vec![xattr(&value)], FoundKind::Fifo))
        };
        let taken = (0..4000).find_map(|number| Some((number, other(number).err()?)));
        let (number, wrong) = taken.unwrap();
        assert!((2200..2400).contains(&number) && wrong.contains("128.0 MiB"), "{number}: {wrong}");
    }

    #[test]
    fn what_entries_take_in_any_case_is_not_counted_against_them() {
        let mut kept = Kept::default();
        for number in 0..1_000_000_u32 {
            let mut it = found(vec![xattr(&number.to_le_bytes())], FoundKind::Fifo);
            kept.take(&mut it).unwrap();
        }
        let mut kept = Kept::default();
        let mut link = || kept.take(&mut found(Vec::new(), FoundKind::Symlink(vec![b'x'; 4095])));
        assert!((0..100_000).any(|_| link().is_err()));
    }
}
