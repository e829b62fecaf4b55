//! Nodes of the difference of two snapshots. Files and whole directories in it
//! are the snapshots' own; directories that both snapshots have are made here.

use std::ops::ControlFlow;
use std::sync::Arc;

use fuser::{Errno, FileAttr};

use super::listing::{AddFound, DOTS};
use super::{FOREVER, Found, Home, Tree};
use crate::dag::Node;
use crate::fuse::attributes;
use crate::fuse::nodes::{DifferenceNode, DirectorySource, Key, What};
use crate::view::{Change, Comparison, Guard, Inner, Part, PathKey};

impl Tree {
    /// What the root of a part of a comparison is.
    pub(super) fn part_root(&self, part: Part, comparison: &Comparison) -> Option<DifferenceNode> {
        let (shown, other) = comparison.sides(part);
        let Inner { pair, guard } = comparison.roots(part)?;
        Some(DifferenceNode {
            pair,
            path: PathKey::ROOT,
            usages: [self.usages.of(shown.id), self.usages.of(other.id)],
            source: DirectorySource::Root(shown.root.clone()),
            guard,
        })
    }

    pub(super) fn look_up_in_difference(
        &self,
        parent: u64,
        difference: &DifferenceNode,
        name: &[u8],
    ) -> Result<Option<Found>, Errno> {
        let change = self.view.find_change(&difference.pair, name);
        let change = change.map_err(|error| self.fail(parent, &error))?;
        change.map(|change| self.change_node(parent, difference, change)).transpose()
    }

    /// Lists a directory of a difference from an ordinal of the snapshot's
    /// directory on; cookies are made of these, so they rise with gaps.
    pub(super) fn list_difference(
        &self,
        id: u64,
        difference: &DifferenceNode,
        first: u64,
        add: &mut AddFound<'_>,
    ) -> Result<(), Errno> {
        let mut failure = None;
        let listed = self.view.changes(&difference.pair, first, &mut |change| {
            let (ordinal, entry) = (change.ordinal, change.entry.clone());
            let name = entry.get().map(|entry| entry.name.as_bytes()).unwrap_or_default();
            Ok(match self.change_node(id, difference, change) {
                Ok(found) if add(ordinal + DOTS + 1, name, &found) => {
                    self.nodes.forget(found.attributes.ino.0, 1);
                    ControlFlow::Break(())
                }
                Ok(_) => ControlFlow::Continue(()),
                Err(errno) => {
                    failure = Some(errno);
                    ControlFlow::Break(())
                }
            })
        });
        listed.map_err(|error| self.fail(id, &error))?;
        failure.map_or(Ok(()), Err)
    }

    fn change_node(
        &self,
        parent: u64,
        difference: &DifferenceNode,
        change: Change,
    ) -> Result<Found, Errno> {
        let Change { ordinal, entry, inner } = change;
        let Some(Inner { pair, guard }) = inner else {
            let home = Home { path: difference.path, usage: &difference.usages[0] };
            return self.entry_node(parent, home, ordinal, entry);
        };
        let shown = entry.get().ok_or(Errno::EIO)?;
        let make = || {
            What::Difference(Arc::new(DifferenceNode {
                pair,
                path: self.view.inode_numbers().child(difference.path, shown.name.as_bytes()),
                usages: difference.usages.clone(),
                source: DirectorySource::Entry(self.nodes.to_keep(entry.clone())),
                guard: guard.clone(),
            }))
        };
        let key = Key::Entry(parent, ordinal, difference.usages[0].id);
        let id = self.nodes.look_up_place(parent, key, None, make);
        Ok(Found::new(self.difference_attributes(id, &shown.node, &guard), FOREVER))
    }

    /// Mode and owner are the directory's own where both snapshots agree, since they
    /// guard what is in it. Its number is not: it does not hold the same. A link count
    /// of 1 tells tools that it is no count of subdirectories.
    pub(super) fn difference_attributes(&self, id: u64, node: &Node, guard: &Guard) -> FileAttr {
        let own = FileAttr { nlink: 1, ..attributes::of_node(id, node) };
        attributes::guarded(own, guard, self.owner)
    }
}
