//! A mount that shows one directory tree alone.

use std::sync::Arc;

use super::{Tree, shedding};
use crate::base::id::SnapshotId;
use crate::dag::{Kind, Totals};
use crate::fuse::nodes::{DirectoryNode, DirectorySource, Nodes, ROOT, What};
use crate::view::{Snapshot, ViewError};

/// A directory of a snapshot that is mounted without all the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SingleTree {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The directory's path in it; empty for its root.
    pub path: Vec<u8>,
}

impl Tree {
    /// Shows that directory as the mount's root, and leases its snapshot. All
    /// numbers of files are those of a mount of all snapshots.
    pub(crate) fn show_only(&mut self, single: &SingleTree) -> Result<(), ViewError> {
        let list = self.view.snapshots()?;
        let gone =
            || ViewError::NotFound { path: single.path.clone(), snapshot: single.snapshot.short() };
        let snapshot = list.get(&single.snapshot).ok_or_else(gone)?;
        let root = self.directory_at(snapshot, &single.path)?;
        self.usages.touch(self.view.reader(), &root.usage)?;
        let kept_bytes_max = shedding::kept_bytes_max(self.nodes_max);
        self.nodes = Nodes::new(What::Directory(Arc::new(root)), kept_bytes_max);
        Ok(())
    }

    fn directory_at(&self, snapshot: &Snapshot, path: &[u8]) -> Result<DirectoryNode, ViewError> {
        let short = snapshot.id.short();
        let not_found = || ViewError::NotFound { path: path.to_vec(), snapshot: short.clone() };
        let mut directory = self.snapshot_directory(snapshot).ok_or_else(not_found)?;
        let numbers = self.view.inode_numbers();
        for name in path.split(|byte| *byte == b'/') {
            if name.is_empty() || name == b"." {
                continue;
            }
            let listing = self.view.directory(&directory.tree)?;
            let found = self.view.find(&listing, name)?;
            let (_, handle) = found.ok_or_else(not_found)?;
            let entry = handle.get().ok_or_else(not_found)?;
            let Kind::Directory(tree) = &entry.node.kind else {
                return Err(ViewError::NotADirectory { path: path.to_vec(), snapshot: short });
            };
            directory = DirectoryNode {
                tree: *tree,
                path: numbers.child(directory.path, name),
                number: numbers.entry(directory.path, entry),
                usage: directory.usage,
                source: DirectorySource::Entry(handle.clone()),
            };
        }
        Ok(directory)
    }

    /// What is in the directory that is shown alone, if one is.
    pub(crate) fn single_totals(&self) -> Option<Totals> {
        match self.nodes.get(ROOT)?.what {
            What::Directory(root) => Some(root.tree.totals),
            _ => None,
        }
    }
}
