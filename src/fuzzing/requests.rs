//! Requests as the kernel might send them to the mount of a random repository, and
//! some that it would not.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::name::EntryName;
use crate::fuse::decoders::Tree;
use crate::fuzzing::forge::Forge;
use crate::fuzzing::source::Source;
use crate::fuzzing::views;
use crate::view::{View, ViewOptions};

/// Requests to one mount, entries that one listing takes, and bytes of one read.
const REQUESTS_MAX: usize = 60;
const TAKEN_MAX: usize = 40;
const READ_BYTES_MAX: u32 = 1 << 20;
/// The node id of the mount's root.
const ROOT: u64 = 1;
/// A user who is neither root nor the mount's owner.
const STRANGER: u32 = u32::MAX - 1;
/// Names that mean something in a mount, and some that mean nothing.
const NAMES: [&[u8]; 10] = [
    b".",
    b"..",
    b"latest",
    b".icecore",
    b"snapshots",
    b"status.json",
    b"a",
    b"b",
    b"by-time",
    b"",
];
const XATTRS: [&[u8]; 7] = [
    b"user.icecore.pid",
    b"user.icecore.snapshot",
    b"user.icecore.tree",
    b"user.icecore.sha256",
    b"system.posix_acl_access",
    b"security.selinux",
    b"trusted.x",
];

/// What the kernel knows of a mount.
struct Kernel<'a> {
    tree: Tree,
    source: Source<'a>,
    /// How often each node was looked up and not forgotten.
    lookups: BTreeMap<u64, u64>,
    /// Names that were listed.
    names: Vec<Vec<u8>>,
}

/// Random requests; what the kernel knows stays known, and nothing else does.
pub(super) fn mount_requests(input: &[u8]) {
    let (store, source) = Forge::new(input).build();
    let Some(reader) = views::open(store) else { return };
    let options = ViewOptions { cache_bytes: 1 << 20, ..ViewOptions::default() };
    let Ok(view) = View::new(reader, options) else { return };
    let describe = Arc::new(|_: &_, _: &_| Ok("{}".to_owned()));
    let tree = Tree::new(view, input.len().is_multiple_of(2), describe, Arc::new(|_: &str| ()));
    let (lookups, names) = (BTreeMap::from([(ROOT, 1)]), Vec::new());
    let mut kernel = Kernel { tree, source, lookups, names };
    for _ in 0..REQUESTS_MAX {
        if kernel.source.is_empty() {
            break;
        }
        kernel.request();
    }
    kernel.forget_all();
}

impl Kernel<'_> {
    fn request(&mut self) {
        let id = self.node();
        match self.source.below(10) {
            0 | 1 => self.look_up(id),
            2 | 3 => self.list(id),
            4 => self.read(id),
            5 => self.xattrs(id),
            6 => self.forget(id),
            7 => {
                if let Ok(target) = self.tree.link_target(id) {
                    assert!(!target.contains(&0), "a target with a NUL");
                }
            }
            8 => {
                let _ = self.tree.totals();
            }
            _ => {
                if let Ok(found) = self.tree.attributes(id) {
                    assert!(self.lookups.contains_key(&id), "a node that nobody looked up");
                    assert!(found.attributes.ino.0 != 0, "a number that means absence");
                }
            }
        }
    }

    /// A node that the kernel knows, or at times any number.
    fn node(&mut self) -> u64 {
        let place = self.source.below(self.lookups.len() + 1);
        self.lookups.keys().nth(place).copied().unwrap_or_else(|| self.source.number())
    }

    fn name(&mut self) -> Vec<u8> {
        match self.source.below(4) {
            0 => self.source.take(2).to_vec(),
            1 => NAMES.get(self.source.below(NAMES.len())).copied().unwrap_or_default().to_vec(),
            2 => vec![b'a'; self.source.below(256) * 2],
            _ => {
                let place = self.source.below(self.names.len().max(1));
                self.names.get(place).cloned().unwrap_or_default()
            }
        }
    }

    fn look_up(&mut self, parent: u64) {
        let name = self.name();
        let is_known = self.lookups.contains_key(&parent);
        if let Ok(Some(found)) = self.tree.look_up(parent, &name) {
            assert!(is_known, "a name in a node that nobody looked up");
            *self.lookups.entry(found.attributes.ino.0).or_default() += 1;
        }
        let _ = self.tree.may_grow(parent);
    }

    /// Lists a directory, with attributes, which counts lookups, or without.
    fn list(&mut self, id: u64) {
        let offset = self.source.number();
        let with_attributes = self.source.below(2) == 0;
        let room = self.source.below(TAKEN_MAX);
        let (mut last, mut taken) = (offset, Vec::new());
        let mut add = |next: u64, name: &[u8], number: u64| {
            assert!(next > last, "a cookie that does not rise");
            last = next;
            let is_dot = matches!(name, b"." | b"..");
            assert!(is_dot || EntryName::check(name).is_ok(), "a name that leads elsewhere");
            let is_full = taken.len() >= room;
            if !is_full {
                taken.push((name.to_vec(), if is_dot { None } else { Some(number) }));
            }
            is_full
        };
        if with_attributes {
            let _ = self.tree.list_with_attributes(id, offset, &mut |next, name, found| {
                add(next, name, found.attributes.ino.0)
            });
        } else {
            let _ =
                self.tree.list(id, offset, &mut |next, name, number, _| add(next, name, number));
        }
        for (name, number) in taken {
            self.names.push(name);
            if let Some(number) = number.filter(|_| with_attributes) {
                *self.lookups.entry(number).or_default() += 1;
            }
        }
        self.names.truncate(2 * TAKEN_MAX);
    }

    fn read(&mut self, id: u64) {
        let offset = self.source.number();
        let size = u32::try_from(self.source.number()).unwrap_or(0) % (READ_BYTES_MAX + 1);
        if let Ok(bytes) = self.tree.read(id, offset, size) {
            let length = bytes.as_slice().len();
            assert!(length <= usize::try_from(size).unwrap_or(0), "more than was asked for");
        }
        let (from, whence) = (offset.cast_signed(), i32::from(self.source.byte() % 6));
        if let Ok(found) = self.tree.seek(id, from, whence) {
            assert!(found >= from, "a seek that goes back");
        }
    }

    fn xattrs(&mut self, id: u64) {
        let uid = if self.source.below(2) == 0 { 0 } else { STRANGER };
        let known = XATTRS.get(self.source.below(XATTRS.len() + 1)).copied();
        let name = known.unwrap_or_else(|| self.source.take(4));
        let others_may_not = [&b"security."[..], b"trusted.", b"user.icecore.tree"];
        let is_hidden = others_may_not.iter().any(|hidden| name.starts_with(hidden));
        let value = self.tree.xattr(id, name, self.tree.asker(uid));
        assert!(value.is_err() || uid != STRANGER || !is_hidden, "not for strangers");
        let _ = self.tree.xattr_names(id, self.tree.asker(uid));
    }

    /// Forgets some lookups of a node; of one that is not known, any number.
    fn forget(&mut self, id: u64) {
        if id == ROOT {
            return;
        }
        let Some(known) = self.lookups.get_mut(&id) else {
            return self.tree.forget(id, self.source.number());
        };
        let count = self.source.number().min(*known);
        *known -= count;
        if *known == 0 {
            self.lookups.remove(&id);
        }
        self.tree.forget(id, count);
    }

    /// Unmounts: nothing stays known but the root.
    fn forget_all(mut self) {
        let known = std::mem::take(&mut self.lookups);
        for (id, lookups) in known.into_iter().filter(|(id, _)| *id != ROOT) {
            self.tree.forget(id, lookups);
            assert!(self.tree.attributes(id).is_err(), "a node that was forgotten");
        }
        assert!(!self.tree.is_crowded());
    }
}
