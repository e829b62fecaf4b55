//! Listing directories.

use std::time::Duration;

use fuser::{Errno, FileAttr, FileType, INodeNo};

use super::{Found, Home, Tree};
use crate::fuse::nodes::{DirectoryNode, What};

/// Entries `.` and `..` come before all others.
pub(super) const DOTS: u64 = 2;

/// Called with the cookie behind an entry, its name, number and kind; returns
/// whether there was no room for it.
type AddEntry<'a> = dyn FnMut(u64, &[u8], u64, FileType) -> bool + 'a;
/// Called with the cookie behind an entry, its name and what was found.
pub(super) type AddFound<'a> = dyn FnMut(u64, &[u8], &Found) -> bool + 'a;

impl Tree {
    /// Lists a directory from a cookie on.
    pub(crate) fn list(&self, id: u64, offset: u64, add: &mut AddEntry<'_>) -> Result<(), Errno> {
        self.list_with_attributes(id, offset, &mut |next, name, found| {
            let full = add(next, name, found.attributes.ino.0, found.attributes.kind);
            // No lookup is counted by a plain listing.
            if !full && !is_dot(name) {
                self.nodes.forget(found.attributes.ino.0, 1);
            }
            full
        })
    }

    /// Lists a directory from a cookie on, and counts a lookup of each entry
    /// that was taken. Cookies count the entries passed, `.` and `..` first.
    pub(crate) fn list_with_attributes(
        &self,
        id: u64,
        offset: u64,
        add: &mut AddFound<'_>,
    ) -> Result<(), Errno> {
        let node = self.node(id)?;
        self.touch(id, &node.what)?;
        for (cookie, name) in [(0, &b"."[..]), (1, b"..")] {
            let number = if cookie == 0 { id } else { node.parent };
            let attributes = FileAttr { ino: INodeNo(number), ..self.root_attributes() };
            if cookie >= offset && add(cookie + 1, name, &Found::new(attributes, Duration::ZERO)) {
                return Ok(());
            }
        }
        let first = offset.saturating_sub(DOTS);
        match &node.what {
            What::Place(place) => self.list_place(id, place, first, add),
            What::Directory(directory) => self.list_directory(id, directory, first, add),
            What::Difference(difference) => self.list_difference(id, difference, first, add),
            What::ControlDirectory(directory) => self.list_control(id, *directory, first, add),
            What::Link(_) | What::Item(_) | What::Report(_) => Err(Errno::ENOTDIR),
        }
    }

    fn list_directory(
        &self,
        id: u64,
        directory: &DirectoryNode,
        first: u64,
        add: &mut AddFound<'_>,
    ) -> Result<(), Errno> {
        let listing = self.listing(id, &directory.tree)?;
        for ordinal in first..listing.len() {
            let handle = self.view.entry(&listing, ordinal);
            let handle = handle.map_err(|error| self.fail(id, &error))?.ok_or(Errno::EIO)?;
            let entry = handle.clone();
            let found = self.entry_node(id, Home::of(directory), ordinal, handle)?;
            let name = entry.get().map(|entry| entry.name.as_bytes()).unwrap_or_default();
            if add(ordinal + DOTS + 1, name, &found) {
                self.nodes.forget(found.attributes.ino.0, 1);
                break;
            }
        }
        Ok(())
    }
}

fn is_dot(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}
