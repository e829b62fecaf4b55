//! A directory in many snapshots at once, as one.
//!
//! Each distinct form of the directory is a lane, shared by the snapshots that
//! have it. Small directories are one page: their entries are merged at once and
//! only distinct ones are kept. Large ones go page by page: all lanes advance to
//! the same name, and a page that several of them come to is read once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::base::hash::{Digest256, tagged};
use crate::base::id::TreeId;
use crate::base::name::EntryName;
use crate::base::sequences::SequenceSet;
use crate::dag::{Branch, Entry, Node, Tree, TreeRef};
use crate::repository::{Repository, RepositoryError};

const TAG: &[u8] = b"icecore version in a directory 1\0";

/// What some snapshots hold at one path.
#[derive(Clone, Debug)]
pub struct Version {
    /// The file.
    pub node: Node,
    /// The places of the snapshots among those that are searched.
    pub snapshots: SequenceSet,
    meaning: Option<Digest256>,
}

/// A part of a directory that cannot be read.
#[derive(Debug)]
pub struct Damage {
    /// The path of the directory.
    pub path: Vec<u8>,
    /// The snapshots that have it there.
    pub snapshots: SequenceSet,
    /// What is wrong.
    pub error: RepositoryError,
}

/// Distinct versions by name.
type Entries = BTreeMap<EntryName, Vec<Version>>;

/// A directory in many snapshots.
pub(crate) struct UnionDirectory<'a> {
    repository: &'a Repository,
    lanes: Vec<Lane>,
    /// Of directories of one page.
    small: Entries,
    /// Of the pages up to the last name that all lanes have come to.
    ready: Entries,
    /// Pages that were read.
    pub(crate) pages: u64,
    /// What could not be read since that was last asked.
    damaged: Vec<(SequenceSet, RepositoryError)>,
}

/// One form of a large directory.
struct Lane {
    snapshots: SequenceSet,
    /// The index pages on the way down, each with the next page in it.
    above: Vec<Index>,
    /// The page that was begun.
    rest: Option<Rest>,
    /// The last name behind the position.
    behind: Option<EntryName>,
}

#[derive(Clone)]
struct Index {
    level: u8,
    branches: Arc<[Branch]>,
    next: usize,
}

/// The entries of a page from one on.
#[derive(Clone)]
struct Rest {
    id: TreeId,
    entries: Arc<[Entry]>,
    next: usize,
}

impl Version {
    pub(crate) fn new(node: Node, snapshots: SequenceSet) -> Self {
        Self { node, snapshots, meaning: None }
    }

    /// A hash that two versions share just if they are the same.
    fn meaning(&mut self) -> Digest256 {
        *self.meaning.get_or_insert_with(|| tagged(TAG, &self.node.meaning()))
    }

    /// Adds a version to distinct ones.
    pub(crate) fn add(mut self, versions: &mut Vec<Self>) {
        // Mostly it is the one of the snapshot before.
        if let Some(last) = versions.last_mut().filter(|last| last.node == self.node) {
            return last.snapshots.union(&self.snapshots);
        }
        if !versions.is_empty() {
            let meaning = self.meaning();
            for known in versions.iter_mut() {
                if known.meaning() == meaning {
                    return known.snapshots.union(&self.snapshots);
                }
            }
        }
        versions.push(self);
    }
}

impl<'a> UnionDirectory<'a> {
    /// Opens distinct directories, each of some snapshots.
    pub(crate) fn open(
        repository: &'a Repository,
        trees: Vec<(TreeRef, SequenceSet)>,
    ) -> Result<Self, RepositoryError> {
        let mut union = Self {
            repository,
            lanes: Vec::new(),
            small: Entries::new(),
            ready: Entries::new(),
            pages: 0,
            damaged: Vec::new(),
        };
        for (tree, snapshots) in trees {
            let Some(page) = union.load(&tree, None, None, &snapshots)? else { continue };
            match page {
                Tree::Leaf(entries) => {
                    for entry in entries {
                        add(&mut union.small, entry, &snapshots);
                    }
                }
                Tree::Index { level, branches } => union.lanes.push(Lane {
                    snapshots,
                    above: vec![Index { level, branches: branches.into(), next: 0 }],
                    rest: None,
                    behind: None,
                }),
            }
        }
        Ok(union)
    }

    /// The next name with its versions.
    pub(crate) fn next(&mut self) -> Result<Option<(EntryName, Vec<Version>)>, RepositoryError> {
        while self.ready.is_empty() {
            if !self.fill()? {
                return Ok(None);
            }
        }
        Ok(self.ready.pop_first())
    }

    /// Takes what could not be read.
    pub(crate) fn take_damaged(&mut self) -> Vec<(SequenceSet, RepositoryError)> {
        std::mem::take(&mut self.damaged)
    }

    /// Makes the next entries ready, up to the name at which the first page of a
    /// lane ends.
    fn fill(&mut self) -> Result<bool, RepositoryError> {
        self.descend()?;
        self.end_lanes();
        let Some(end) = self.lanes.iter().filter_map(Lane::end).min().cloned() else {
            self.ready = std::mem::take(&mut self.small);
            return Ok(!self.ready.is_empty());
        };
        let above = self.small.split_off(&end);
        self.ready = std::mem::replace(&mut self.small, above);
        if let Some((name, versions)) = self.small.remove_entry(&end) {
            self.ready.insert(name, versions);
        }
        // Lanes at the same position are one.
        let mut positions: BTreeMap<(TreeId, usize), Vec<usize>> = BTreeMap::new();
        for (place, lane) in self.lanes.iter().enumerate() {
            if let Some(position) = lane.position(&end) {
                positions.entry(position).or_default().push(place);
            }
        }
        for places in positions.into_values() {
            self.take(&places, &end)?;
        }
        Ok(true)
    }

    /// Takes away the lanes that are at their end, and those whose index pages do
    /// not rise, which would never end.
    fn end_lanes(&mut self) {
        let damaged = &mut self.damaged;
        self.lanes.retain(|lane| {
            let rises = lane.end().is_some_and(|end| lane.behind.as_ref() < Some(end));
            if let (false, Some(branch)) = (rises, lane.branch()) {
                let (kind, id) = ("tree", branch.tree.id.to_string());
                let detail = "its names come after others that are greater".to_owned();
                let error = RepositoryError::Damaged { kind, id, detail };
                damaged.push((lane.snapshots.clone(), error));
            }
            rises
        });
    }

    /// Makes the entries of lanes at one position ready, up to a name.
    fn take(&mut self, places: &[usize], end: &EntryName) -> Result<(), RepositoryError> {
        let mut snapshots = SequenceSet::default();
        let lanes = || places.iter().filter_map(|place| self.lanes.get(*place));
        lanes().for_each(|lane| snapshots.union(&lane.snapshots));
        let Some(first) = lanes().next() else { return Ok(()) };
        let mut rest = first.rest.clone();
        if rest.is_none()
            && let Some(branch) = first.branch()
        {
            let behind = lanes().filter_map(|lane| lane.behind.clone()).max();
            let (tree, last) = (branch.tree, branch.last.clone());
            if let Some(Tree::Leaf(entries)) =
                self.load(&tree, Some((0, &last)), behind.as_ref(), &snapshots)?
            {
                rest = Some(Rest { id: tree.id, entries: entries.into(), next: 0 });
            }
        }
        if let Some(rest) = &mut rest {
            while let Some(entry) = rest.entries.get(rest.next).filter(|it| it.name <= *end) {
                add(&mut self.ready, entry.clone(), &snapshots);
                rest.next += 1;
            }
        }
        let rest = rest.filter(|rest| rest.next < rest.entries.len());
        for place in places {
            if let Some(lane) = self.lanes.get_mut(*place) {
                lane.go_on(rest.clone());
            }
        }
        Ok(())
    }

    /// Lets every lane that ended a page come to its next leaf page.
    fn descend(&mut self) -> Result<(), RepositoryError> {
        let mut known: HashMap<TreeId, Option<Index>> = HashMap::new();
        let mut lanes = std::mem::take(&mut self.lanes);
        for lane in &mut lanes {
            while lane.rest.is_none() {
                while lane.above.pop_if(|index| index.next >= index.branches.len()).is_some() {}
                let Some(index) = lane.above.last_mut().filter(|index| index.level > 1) else {
                    break;
                };
                let level = index.level - 1;
                let Some(branch) = index.branches.get(index.next).cloned() else { break };
                index.next += 1;
                let below = match known.get(&branch.tree.id) {
                    Some(below) => below.clone(),
                    None => {
                        let expected = Some((level, &branch.last));
                        let page = self.load(&branch.tree, expected, None, &lane.snapshots)?;
                        let below = page.and_then(|page| match page {
                            Tree::Index { level, branches } => {
                                Some(Index { level, branches: branches.into(), next: 0 })
                            }
                            Tree::Leaf(_) => None,
                        });
                        known.insert(branch.tree.id, below.clone());
                        below
                    }
                };
                lane.above.extend(below);
            }
        }
        self.lanes = lanes;
        Ok(())
    }

    /// Reads a page, of an expected level and last name, whose names come after
    /// those behind. Nothing if it is damaged, which is noted.
    fn load(
        &mut self,
        tree: &TreeRef,
        expected: Option<(u8, &EntryName)>,
        behind: Option<&EntryName>,
        snapshots: &SequenceSet,
    ) -> Result<Option<Tree>, RepositoryError> {
        self.pages += 1;
        let page = self.repository.tree(tree).and_then(|page| {
            check(tree, &page, expected, behind)?;
            Ok(page)
        });
        match page {
            Ok(page) => Ok(Some(page)),
            Err(error) if error.is_loss() => {
                self.damaged.push((snapshots.clone(), error));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Lane {
    /// The next page, a leaf.
    fn branch(&self) -> Option<&Branch> {
        self.above.last().and_then(|index| index.branches.get(index.next))
    }

    /// The last name of the page at the position.
    fn end(&self) -> Option<&EntryName> {
        match &self.rest {
            Some(rest) => rest.entries.last().map(|entry| &entry.name),
            None => self.branch().map(|branch| &branch.last),
        }
    }

    /// The page at the position, if it may have names up to `end`.
    fn position(&self, end: &EntryName) -> Option<(TreeId, usize)> {
        match &self.rest {
            Some(rest) => Some((rest.id, rest.next)),
            None if self.behind.as_ref() >= Some(end) => None,
            None => self.branch().map(|branch| (branch.tree.id, 0)),
        }
    }

    /// Goes behind what was taken of a page.
    fn go_on(&mut self, rest: Option<Rest>) {
        if rest.is_none() {
            self.behind = self.end().cloned().or_else(|| self.behind.take());
        }
        if self.rest.is_none()
            && let Some(index) = self.above.last_mut()
        {
            index.next += 1;
        }
        self.rest = rest;
    }
}

fn add(entries: &mut Entries, entry: Entry, snapshots: &SequenceSet) {
    let version = Version::new(entry.node, snapshots.clone());
    version.add(entries.entry(entry.name).or_default());
}

/// Checks a page against what refers to it.
fn check(
    tree: &TreeRef,
    page: &Tree,
    expected: Option<(u8, &EntryName)>,
    behind: Option<&EntryName>,
) -> Result<(), RepositoryError> {
    let (level, first, last) = match page {
        Tree::Leaf(entries) => (0, entries.first(), entries.last().map(|entry| &entry.name)),
        Tree::Index { level, branches } => {
            (*level, None, branches.last().map(|branch| &branch.last))
        }
    };
    let contradiction = |detail: &str| {
        let (kind, id, detail) = ("tree", tree.id.to_string(), detail.to_owned());
        Err(RepositoryError::Damaged { kind, id, detail })
    };
    if expected.is_some_and(|(expected, _)| expected != level) {
        return contradiction("it is of the wrong level");
    }
    if expected.is_some_and(|(_, name)| last != Some(name))
        || first.is_some_and(|entry| Some(&entry.name) <= behind)
    {
        return contradiction("its names are not those that the page above tells");
    }
    match page {
        Tree::Leaf(entries) if entries.len() as u64 != tree.totals.entries => {
            contradiction("it has not as many entries as it should")
        }
        _ => Ok(()),
    }
}
