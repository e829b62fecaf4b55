//! One path in many snapshots.

use crate::base::id::TreeId;
use crate::dag::{Kind, Node, TreeRef};
use crate::repository::error::RepositoryError;
use crate::repository::objects::Repository;

/// Something that was found in a directory.
pub trait Met: Clone {
    /// What it is.
    fn node(&self) -> Option<&Node>;
}

impl Met for Node {
    fn node(&self) -> Option<&Node> {
        Some(self)
    }
}

/// What a snapshot holds at a path.
#[derive(Clone, Debug)]
pub enum Held<E> {
    /// Nothing.
    Nothing,
    /// Its root: the path is empty.
    Root,
    /// This.
    Entry(E),
}

/// Follows one path in many snapshots, and keeps what it met at each level.
/// Where the next snapshot has the same tree, nothing below is read again: an
/// old repository costs what changed along the path, not what is there.
#[derive(Clone, Debug)]
pub struct PathTrail<'a, E> {
    names: Vec<&'a [u8]>,
    /// The directory met last at each level, and what had the name in it.
    levels: Vec<(TreeId, Option<E>)>,
}

/// Looks up a name in a directory.
type Find<'a, E, F> = dyn FnMut(&TreeRef, &[u8]) -> Result<Option<E>, F> + 'a;

impl<'a, E: Met> PathTrail<'a, E> {
    /// Begins with a path; empty names and `.` are passed over.
    #[must_use]
    pub fn new(path: &'a [u8]) -> Self {
        let names = path.split(|byte| *byte == b'/');
        let names = names.filter(|name| !name.is_empty() && *name != b".").collect();
        Self { names, levels: Vec::new() }
    }

    /// Returns what lies at the path below a root.
    ///
    /// # Errors
    /// Fails with what `find` says.
    pub fn follow<F>(&mut self, root: &Node, find: &mut Find<'_, E, F>) -> Result<Held<E>, F> {
        let Kind::Directory(root) = &root.kind else { return Ok(Held::Nothing) };
        let mut tree = *root;
        let mut held: Held<E> = Held::Root;
        for (level, name) in self.names.iter().enumerate() {
            if let Held::Entry(entry) = &held {
                match entry.node().map(|node| &node.kind) {
                    Some(Kind::Directory(inner)) => tree = *inner,
                    _ => return Ok(Held::Nothing),
                }
            }
            let known = self.levels.get(level).filter(|(id, _)| *id == tree.id);
            let found = match known {
                Some((_, found)) => found.clone(),
                None => {
                    let found = find(&tree, name)?;
                    self.levels.truncate(level);
                    self.levels.push((tree.id, found.clone()));
                    found
                }
            };
            match found {
                Some(entry) => held = Held::Entry(entry),
                None => return Ok(Held::Nothing),
            }
        }
        Ok(held)
    }
}

impl PathTrail<'_, Node> {
    /// The same, read without caches.
    ///
    /// # Errors
    /// Fails if a directory along the path cannot be read.
    pub fn follow_in(
        &mut self,
        repository: &Repository,
        root: &Node,
    ) -> Result<Held<Node>, RepositoryError> {
        self.follow(root, &mut |tree, name| {
            let mut directory = repository.open_directory(tree);
            Ok(directory.seek(name)?.map(|entry| entry.node.clone()))
        })
    }
}
