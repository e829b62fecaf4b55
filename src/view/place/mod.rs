//! Directories that exist only in the mount: what they hold, by name and in
//! order. They lead to the snapshots' own directories by symlinks, so that a
//! walk from the root meets every file once.

mod find;
mod list;

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::base::id::SnapshotId;
use crate::base::time::Timestamp;
use crate::view::changes::{Comparison, Part};
use crate::view::guard::Guard;
use crate::view::names::Grouping;
use crate::view::snapshots::Snapshot;
use crate::view::versions::Version;
use crate::view::{View, ViewError};

/// The symlink to the newest snapshot.
const LATEST: &str = "latest";
/// The name of the view of differences.
pub const CHANGES: &str = "changes";
/// How many views there are at the root.
const VIEWS: usize = 6;

/// The views at the root.
fn views() -> [(&'static str, Place); VIEWS] {
    [
        ("at", Place::At),
        ("by-host", Place::Groups(Grouping::Host)),
        ("by-tag", Place::Groups(Grouping::Tag)),
        ("by-time", Place::ByTime),
        (CHANGES, Place::Changes),
        ("versions", Place::Versions(PathVersions::default())),
    ]
}

/// A directory that exists only in the mount.
#[derive(Clone, Debug)]
pub enum Place {
    /// Where all begins: the views, and the snapshots by id.
    Root,
    /// All snapshots by time.
    ByTime,
    /// The tags, or the hosts.
    Groups(Grouping),
    /// The snapshots of one of these by time.
    Group(Grouping, Arc<str>),
    /// Time expressions; none is listed.
    At,
    /// The versions of one path. Paths below it are found, not listed.
    Versions(PathVersions),
    /// Comparisons; none is listed.
    Changes,
    /// The parts of one comparison.
    Comparison(Arc<Comparison>),
}

/// The versions of a path that some snapshot has.
#[derive(Clone, Debug, Default)]
pub struct PathVersions {
    /// Without slashes around it; empty for the roots.
    path: Arc<[u8]>,
}

impl Place {
    /// How many directories it is below the root.
    fn depth(&self) -> usize {
        match self {
            Self::Root => 0,
            Self::ByTime | Self::Groups(_) | Self::At | Self::Changes => 1,
            Self::Group(..) | Self::Comparison(_) => 2,
            Self::Versions(versions) if versions.path.is_empty() => 1,
            Self::Versions(versions) => 2 + versions.path.iter().filter(|b| **b == b'/').count(),
        }
    }

    fn link(&self, snapshot: &Snapshot) -> Shown {
        let target = format!("{}{}", "../".repeat(self.depth()), snapshot.id);
        Shown::Link(Link { target: target.into_bytes(), time: snapshot.time })
    }
}

impl View {
    /// The permissions that guard a place, if any do: whoever may not look into a
    /// directory, in whichever snapshot, shall not learn here which files are in it.
    ///
    /// # Errors
    /// Fails if the snapshots cannot be listed or read.
    pub fn guard(&self, place: &Place) -> Result<Option<Guard>, ViewError> {
        let Place::Versions(versions) = place else { return Ok(None) };
        let mut guard = self.history(&*self.snapshots()?, &versions.path)?.guard.clone();
        if let Some(guard) = guard.as_mut().filter(|_| versions.path.is_empty()) {
            // It lies beside other directories of the mount, and looks as they do.
            guard.mode &= 0o555;
        }
        Ok(guard)
    }
}

impl PathVersions {
    fn target(&self, depth: usize, id: &SnapshotId) -> Vec<u8> {
        let mut target = format!("{}{id}", "../".repeat(depth)).into_bytes();
        if !self.path.is_empty() {
            target.push(b'/');
            target.extend_from_slice(&self.path);
        }
        target
    }

    fn link(&self, place: &Place, version: &Version) -> Link {
        Link { target: self.target(place.depth(), &version.id), time: version.time }
    }
}

/// A symlink that exists only in the mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it leads.
    pub target: Vec<u8>,
    /// When the snapshot that it leads to was taken.
    pub time: Timestamp,
}

/// What a name in such a directory stands for.
#[derive(Clone, Debug)]
pub enum Shown {
    /// Another one of them.
    Place(Place),
    /// A symlink.
    Link(Link),
    /// A snapshot's own root directory.
    Snapshot(Snapshot),
    /// The root of a part of a comparison.
    Part(Part, Arc<Comparison>),
}

/// Called with how many entries were passed, a name and what it stands for.
pub type VisitShown<'a> = dyn FnMut(u64, &[u8], Shown) -> ControlFlow<()> + 'a;
