//! Everything below a directory, in the order of paths.

use crate::base::limits::TREE_DEPTH_MAX;
use crate::base::name::EntryName;
use crate::dag::{Kind, Node, TreeRef};
use crate::repository::browse::cursor::DirectoryCursor;
use crate::repository::error::RepositoryError;
use crate::repository::locator::ObjectKind;
use crate::repository::objects::Repository;

/// A walk over everything below a directory: depth first, names in the order of
/// their bytes, a directory before what it holds. Trees may be deep, so it does
/// not recurse.
pub struct TreeWalk<'a> {
    repository: &'a Repository,
    levels: Vec<DirectoryCursor<'a>>,
    /// The path of the last step, relative to where the walk began.
    path: Vec<u8>,
    /// The directory of the last step, which is entered next.
    below: Option<TreeRef>,
    /// Whether the path ends with what the last step told, not with the
    /// directory that is gone through.
    is_told: bool,
}

/// A step of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one at a time; a box would be one more allocation")]
pub enum Step {
    /// To an entry.
    Entry(Node),
    /// Out of a directory, whose entries have all been told.
    Leave,
}

impl Repository {
    /// Walks everything below a directory, itself not told.
    #[must_use]
    pub fn walk(&self, tree: &TreeRef) -> TreeWalk<'_> {
        let levels = vec![self.open_directory(tree)];
        TreeWalk { repository: self, levels, path: Vec::new(), below: None, is_told: false }
    }
}

impl TreeWalk<'_> {
    /// Takes a step, or returns nothing at the end.
    ///
    /// # Errors
    /// Fails if a page of a directory cannot be read; [`Self::path`] is the path
    /// of the directory, and the next step goes on behind the page.
    pub fn step(&mut self) -> Result<Option<Step>, RepositoryError> {
        match self.below.take() {
            Some(tree) => {
                if self.levels.len() >= TREE_DEPTH_MAX {
                    let (kind, id) = (ObjectKind::Tree.name(), tree.id.to_string());
                    let detail = "it lies deeper than any path can say".to_owned();
                    return Err(RepositoryError::Damaged { kind, id, detail });
                }
                self.levels.push(self.repository.open_directory(&tree));
            }
            None if self.is_told => self.rise(),
            None => {}
        }
        self.is_told = false;
        let Some(level) = self.levels.last_mut() else { return Ok(None) };
        let entry = level.entry()?;
        self.is_told = true;
        let Some(entry) = entry else {
            self.levels.pop();
            return Ok((!self.levels.is_empty()).then_some(Step::Leave));
        };
        let node = entry.node.clone();
        push(&mut self.path, &entry.name);
        level.advance();
        if let Kind::Directory(tree) = &node.kind {
            self.below = Some(*tree);
        }
        Ok(Some(Step::Entry(node)))
    }

    /// The path of the last step, relative to where the walk began.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Does not enter the directory of the last step, nor leave it.
    pub fn skip(&mut self) {
        self.below = None;
    }

    /// Takes the name of what the last step told off the path.
    fn rise(&mut self) {
        let end = self.path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        self.path.truncate(end);
    }
}

fn push(path: &mut Vec<u8>, name: &EntryName) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name.as_bytes());
}
