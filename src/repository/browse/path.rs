//! A node by its path.

use crate::dag::{Kind, Node};
use crate::repository::error::RepositoryError;
use crate::repository::objects::Repository;
use crate::repository::select::SnapshotName;

impl Repository {
    /// Returns the node that a name with a path means. Symlinks are not followed;
    /// empty names and `.` are passed over.
    ///
    /// # Errors
    /// Fails if there is none, the path leads through something that is no
    /// directory, or a tree cannot be read.
    pub fn resolve(&self, named: &SnapshotName) -> Result<Node, RepositoryError> {
        let mut node = named.manifest.root.clone();
        let mut walked = Vec::new();
        let names = named.path.split(|byte| *byte == b'/');
        for name in names.filter(|name| !name.is_empty() && *name != b".") {
            let Kind::Directory(tree) = &node.kind else {
                let snapshot = named.id.short();
                return Err(RepositoryError::NotADirectory { path: walked, snapshot });
            };
            let mut directory = self.open_directory(tree);
            let Some(entry) = directory.seek(name)? else {
                let (path, snapshot) = (named.path.clone(), named.id.short());
                return Err(RepositoryError::NoSuchPath { path, snapshot });
            };
            node = entry.node.clone();
            if !walked.is_empty() {
                walked.push(b'/');
            }
            walked.extend_from_slice(name);
        }
        Ok(node)
    }
}
