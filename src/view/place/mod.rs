//! Directories that exist only in the mount: what they hold, by name and in
//! order. They lead to the snapshots' own directories by symlinks, so that a
//! walk from the root meets every file once.

mod find;
mod list;

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::base::id::SnapshotId;
use crate::base::time::Timestamp;
use crate::dag::{Kind, Node};
use crate::view::changes::{Comparison, Part};
use crate::view::directory::EntryHandle;
use crate::view::names::Grouping;
use crate::view::snapshots::Snapshot;
use crate::view::versions::Version;

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
    /// What the newest snapshot that has the path holds there.
    newest: Option<EntryHandle>,
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

    /// What tells it from others of its name: what guards it may change.
    #[must_use]
    pub fn meaning(&self) -> Vec<u8> {
        self.guard().map(Node::meaning).unwrap_or_default()
    }

    /// The directory whose permissions guard this one, if one does: without
    /// them, nobody shall learn here which files there are.
    #[must_use]
    pub fn guard(&self) -> Option<&Node> {
        let Self::Versions(versions) = self else { return None };
        let newest = &versions.newest.as_ref()?.get()?.node;
        matches!(newest.kind, Kind::Directory(_)).then_some(newest)
    }

    fn link(&self, snapshot: &Snapshot) -> Shown {
        let target = format!("{}{}", "../".repeat(self.depth()), snapshot.id);
        Shown::Link(Link { target: target.into_bytes(), time: snapshot.time })
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
