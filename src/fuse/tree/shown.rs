//! Nodes of what exists only in the mount: the root, the views in it, and the
//! symlinks that these hold.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use fuser::{Errno, FileAttr, FileType};

use super::control::CONTROL;
use super::listing::{AddFound, DOTS};
use super::{FOREVER, Found, MOMENT, Tree};
use crate::base::time::Timestamp;
use crate::dag::Kind;
use crate::fuse::attributes;
use crate::fuse::nodes::{DirectoryNode, DirectorySource, Key, ROOT, What};
use crate::view::{Link, PathKey, Place, Shown, Snapshot};

/// How long the kernel may find a snapshot by name after it was deleted. A path
/// that begins with a snapshot's name costs a request each time otherwise.
pub(crate) const BRIEFLY: Duration = Duration::from_secs(1);
/// The size of directories that exist only in the mount.
const DIRECTORY_BYTES: u64 = 4096;

impl Tree {
    /// Finds a name in a directory that exists only in the mount.
    pub(super) fn look_up_in_place(
        &self,
        parent: u64,
        place: &Place,
        name: &[u8],
    ) -> Result<Option<Found>, Errno> {
        if matches!(place, Place::Root) && name == CONTROL {
            return self.control_directory(parent).map(Some);
        }
        let shown = self.view.find_shown(place, name, Timestamp::now());
        let shown = shown.map_err(|error| self.fail(parent, &error))?;
        if let Some(Shown::Snapshot(snapshot)) = &shown {
            // All that is told of it is in memory: nothing is read in it yet.
            self.usages.note_lookup(&self.usages.of(snapshot.id));
        }
        shown.map(|shown| self.shown_node(parent, name, &shown)).transpose()
    }

    /// Shows what a directory that exists only in the mount holds, behind the
    /// first `passed` entries.
    pub(super) fn list_place(
        &self,
        id: u64,
        place: &Place,
        passed: u64,
        add: &mut AddFound<'_>,
    ) -> Result<(), Errno> {
        let mut failure = None;
        let listed = self.view.list_shown(place, passed, &mut |next, name, shown| {
            let found = match self.shown_node(id, name, &shown) {
                Ok(found) => found,
                Err(errno) => {
                    failure = Some(errno);
                    return ControlFlow::Break(());
                }
            };
            if add(next + DOTS, name, &found) {
                self.nodes.forget(found.attributes.ino.0, 1);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        listed.map_err(|error| self.fail(id, &error))?;
        failure.map_or(Ok(()), Err)
    }

    /// Counts a lookup of what a name in such a directory stands for.
    fn shown_node(&self, parent: u64, name: &[u8], shown: &Shown) -> Result<Found, Errno> {
        let key = |meaning: &[u8]| Key::Shown(parent, name.to_vec(), meaning.to_vec());
        match shown {
            Shown::Link(link) => {
                let make = || What::Link(Arc::new(link.clone()));
                let id = self.nodes.look_up_place(parent, key(&link.target), None, make);
                Ok(Found::new(self.link_attributes(id, link), MOMENT))
            }
            Shown::Place(place) => {
                let make = || What::Place(place.clone());
                let id = self.nodes.look_up_place(parent, key(b""), None, make);
                Ok(Found {
                    attributes: self.place_attributes(id, place)?,
                    lasting: BRIEFLY,
                    attributes_lasting: MOMENT,
                })
            }
            Shown::Part(part, comparison) => {
                let node = self.part_root(*part, comparison).ok_or(Errno::EIO)?;
                let root = comparison.sides(*part).0.root.clone();
                let guard = node.guard.clone();
                let make = || What::Difference(Arc::new(node));
                let id = self.nodes.look_up_place(parent, key(b""), None, make);
                Ok(Found::new(self.difference_attributes(id, &root, &guard), FOREVER))
            }
            Shown::Snapshot(snapshot) => {
                let node = self.snapshot_directory(snapshot).ok_or(Errno::EIO)?;
                let number = node.number;
                let make = || What::Directory(Arc::new(node));
                let key = key(snapshot.id.as_bytes());
                let id = self.nodes.look_up_place(parent, key, Some(number), make);
                Ok(Found::directory(attributes::of_node(id, &snapshot.root), BRIEFLY, number))
            }
        }
    }

    pub(super) fn snapshot_directory(&self, snapshot: &Snapshot) -> Option<DirectoryNode> {
        // Another kind was refused when the manifest was decoded.
        let Kind::Directory(tree) = &snapshot.root.kind else { return None };
        Some(DirectoryNode {
            tree: *tree,
            path: PathKey::ROOT,
            number: self.view.inode_numbers().snapshot(&snapshot.id),
            usage: self.usages.of(snapshot.id),
            source: DirectorySource::Root(snapshot.root.clone()),
        })
    }

    /// Its time is that of the last change of the list of snapshots: by it the
    /// kernel sees whether a listing that it has cached is still good.
    pub(super) fn place_attributes(&self, id: u64, place: &Place) -> Result<FileAttr, Errno> {
        let failed = |error| self.fail(ROOT, &error);
        let changed = self.view.snapshots().map_err(failed)?.changed();
        let inner = self.view.shown_directories(place).map_err(failed)?;
        let links = u32::try_from(inner).unwrap_or(u32::MAX).saturating_add(2);
        let kind = FileType::Directory;
        let own = attributes::of_mount(id, kind, DIRECTORY_BYTES, links, changed, self.owner);
        Ok(match self.view.guard(place).map_err(failed)? {
            Some(guard) => attributes::guarded(own, &guard, self.owner),
            None => own,
        })
    }

    pub(super) fn link_attributes(&self, id: u64, link: &Link) -> FileAttr {
        let (taken, bytes) = (link.time.to_system_time(), link.target.len() as u64);
        attributes::of_mount(id, FileType::Symlink, bytes, 1, taken, self.owner)
    }
}
