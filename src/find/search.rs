//! The search through many snapshots.

use std::collections::{HashMap, HashSet};

use crate::base::id::{SnapshotId, TreeId};
use crate::base::limits::DIRECTORY_DEPTH_MAX;
use crate::base::progress::Monitor;
use crate::base::sequences::SequenceSet;
use crate::dag::{Kind, Manifest, Node, Totals, TreeRef};
use crate::find::criteria::Criteria;
use crate::find::error::FindError;
use crate::find::union::{Damage, UnionDirectory, Version};
use crate::repository::{Repository, RepositoryError};

/// Names between two looks at whether to stop.
const CANCEL_INTERVAL: u64 = 256;
/// Trees that are remembered for holding nothing that fits: 3 MiB.
const BARREN_TREES_MAX: usize = 50_000;

/// A version of a file that fits.
#[derive(Debug)]
pub struct Found<'a> {
    /// Its path inside the snapshots.
    pub path: &'a [u8],
    /// The file. Of a directory, the one of the first of the snapshots: what is
    /// in it makes no version of its own.
    pub node: &'a Node,
    /// The places of the snapshots that hold it, in the order that was given.
    pub snapshots: &'a SequenceSet,
}

/// What a search cost and could not see.
#[derive(Debug, Default)]
pub struct Report {
    /// Versions that fit.
    pub found: u64,
    /// Pages of directories that were read.
    pub pages: u64,
    /// Directories, or parts of them, that cannot be read.
    pub damaged: Vec<Damage>,
}

/// Called with each version that fits.
type Visit<'a, E> = dyn FnMut(&Found<'_>) -> Result<(), E> + 'a;

/// Looks for files in snapshots, and tells each distinct version at each path
/// once, in the order of paths: names by their bytes, a directory before what it
/// holds, of one path the version of the first snapshot first.
///
/// # Errors
/// Fails if the repository cannot be read, `monitor` says to stop, or with what
/// `visit` says. Damage does not end it.
pub fn search<E: From<FindError>>(
    repository: &Repository,
    snapshots: &[(SnapshotId, Manifest)],
    criteria: &Criteria,
    monitor: &dyn Monitor,
    visit: &mut Visit<'_, E>,
) -> Result<Report, E> {
    let mut roots = Trees::default();
    for (place, (_, manifest)) in snapshots.iter().enumerate() {
        let mut snapshot = SequenceSet::default();
        snapshot.insert(place as u64);
        if let Some(tree) = manifest.tree() {
            roots.add(tree, &snapshot);
        }
    }
    let mut search = Search {
        repository,
        criteria,
        levels: Vec::new(),
        path: Vec::new(),
        barren: HashSet::new(),
        report: Report::default(),
    };
    search.enter(roots).map_err(FindError::from)?;
    let mut names = 0_u64;
    while !search.levels.is_empty() {
        names += 1;
        if names.is_multiple_of(CANCEL_INTERVAL) && monitor.cancelled() {
            return Err(FindError::Cancelled.into());
        }
        search.step(visit)?;
    }
    Ok(search.report)
}

struct Search<'a> {
    repository: &'a Repository,
    criteria: &'a Criteria,
    levels: Vec<Level<'a>>,
    path: Vec<u8>,
    /// Trees below which nothing fits, wherever they are.
    barren: HashSet<TreeId>,
    report: Report,
}

/// A directory that is gone through.
struct Level<'a> {
    directory: UnionDirectory<'a>,
    trees: Vec<TreeId>,
    /// The length of its path.
    path_bytes: usize,
    /// What had been found, and lost, before.
    found_before: u64,
    damaged_before: usize,
}

impl<'a> Search<'a> {
    /// Takes one name of the directory that is gone through, or leaves it.
    fn step<E: From<FindError>>(&mut self, visit: &mut Visit<'_, E>) -> Result<(), E> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        let next = level.directory.next().map_err(FindError::from)?;
        let path_bytes = level.path_bytes;
        self.path.truncate(path_bytes);
        self.note_damage();
        let Some((name, versions)) = next else {
            self.leave();
            return Ok(());
        };
        if path_bytes > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name.as_bytes());
        let below = self.below(&versions);
        self.tell(versions, visit)?;
        Ok(self.enter(below).map_err(FindError::from)?)
    }

    /// Tells the versions of a path that fit.
    fn tell<E: From<FindError>>(
        &mut self,
        versions: Vec<Version>,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        let mut fitting: Vec<Version> = Vec::new();
        let mut shells: HashMap<Vec<u8>, usize> = HashMap::new();
        for version in versions {
            match self.criteria.fit(self.repository, &self.path, &version.node) {
                Ok(true) => {
                    let own = fitting.len();
                    let known = shell(&version.node).map(|it| *shells.entry(it).or_insert(own));
                    match known.and_then(|known| fitting.get_mut(known)) {
                        Some(known) => known.snapshots.union(&version.snapshots),
                        None => fitting.push(version),
                    }
                }
                Ok(false) => {}
                Err(error) if error.is_loss() => {
                    let (path, snapshots) = (self.path.clone(), version.snapshots);
                    self.report.damaged.push(Damage { path, snapshots, error });
                }
                Err(error) => return Err(FindError::from(error).into()),
            }
        }
        fitting.sort_by_key(|version| version.snapshots.first());
        for version in &fitting {
            self.report.found += 1;
            let Version { node, snapshots, .. } = version;
            visit(&Found { path: &self.path, node, snapshots })?;
        }
        Ok(())
    }

    /// The distinct directories among versions in which something may fit.
    fn below(&self, versions: &[Version]) -> Trees {
        let mut trees = Trees::default();
        for version in versions {
            let Kind::Directory(tree) = &version.node.kind else { continue };
            if self.criteria.may_fit_below(&tree.totals) && !self.barren.contains(&tree.id) {
                trees.add(tree, &version.snapshots);
            }
        }
        if trees.distinct.is_empty() || self.criteria.patterns.reach_below(&self.path) {
            return trees;
        }
        Trees::default()
    }

    fn enter(&mut self, trees: Trees) -> Result<(), RepositoryError> {
        let Some((first, snapshots)) = trees.distinct.first() else { return Ok(()) };
        if self.levels.len() >= DIRECTORY_DEPTH_MAX {
            let (kind, id) = ("tree", first.id.to_string());
            let detail = "it lies deeper than any path can say".to_owned();
            let (path, snapshots) = (self.path.clone(), snapshots.clone());
            let error = RepositoryError::Damaged { kind, id, detail };
            self.report.damaged.push(Damage { path, snapshots, error });
            return Ok(());
        }
        self.levels.push(Level {
            trees: trees.distinct.iter().map(|(tree, _)| tree.id).collect(),
            directory: UnionDirectory::open(self.repository, trees.distinct)?,
            path_bytes: self.path.len(),
            found_before: self.report.found,
            damaged_before: self.report.damaged.len(),
        });
        self.note_damage();
        Ok(())
    }

    fn leave(&mut self) {
        let Some(level) = self.levels.pop() else { return };
        self.report.pages += level.directory.pages;
        let is_barren = level.found_before == self.report.found
            && level.damaged_before == self.report.damaged.len();
        if is_barren && self.criteria.ignore_places() && self.barren.len() < BARREN_TREES_MAX {
            self.barren.extend(level.trees);
        }
    }

    /// Notes what could not be read of the directory that is gone through.
    fn note_damage(&mut self) {
        let Some(level) = self.levels.last_mut() else { return };
        for (snapshots, error) in level.directory.take_damaged() {
            let path = self.path.clone();
            self.report.damaged.push(Damage { path, snapshots, error });
        }
    }
}

/// Distinct directories with their snapshots.
#[derive(Default)]
struct Trees {
    distinct: Vec<(TreeRef, SequenceSet)>,
    places: HashMap<TreeId, usize>,
}

impl Trees {
    fn add(&mut self, tree: &TreeRef, snapshots: &SequenceSet) {
        let place = *self.places.entry(tree.id).or_insert(self.distinct.len());
        match self.distinct.get_mut(place) {
            Some((_, all)) => all.union(snapshots),
            None => self.distinct.push((*tree, snapshots.clone())),
        }
    }
}

/// What makes a directory a version of its own: all but what is in it. Nothing
/// for other files.
fn shell(node: &Node) -> Option<Vec<u8>> {
    let Kind::Directory(_) = &node.kind else { return None };
    let (id, totals) = (TreeId::from_digest([0; 32]), Totals::default());
    let kind = Kind::Directory(TreeRef { id, hint: None, totals });
    Some(Node { kind, ..node.clone() }.meaning())
}
