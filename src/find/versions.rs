//! The versions of one path.

use crate::base::id::SnapshotId;
use crate::base::progress::Monitor;
use crate::base::sequences::SequenceSet;
use crate::dag::{Manifest, Node};
use crate::find::error::FindError;
use crate::find::union::{Damage, Version};
use crate::repository::{Held, PathTrail, Repository};

/// Snapshots between two looks at whether to stop.
const CANCEL_INTERVAL: usize = 64;

/// What snapshots hold at one path.
#[derive(Debug, Default)]
pub struct History {
    /// Each distinct version, the one of the first snapshot first.
    pub versions: Vec<Version>,
    /// What could not be read along the path.
    pub damaged: Vec<Damage>,
}

/// Returns the distinct versions of a path in snapshots. Versions differ if
/// anything that is kept of them does; of a directory, what is in it too.
///
/// # Errors
/// Fails if the repository cannot be read or `monitor` says to stop. Damage does
/// not end it.
pub fn versions(
    repository: &Repository,
    snapshots: &[(SnapshotId, Manifest)],
    path: &[u8],
    monitor: &dyn Monitor,
) -> Result<History, FindError> {
    let mut trail: PathTrail<'_, Node> = PathTrail::new(path);
    let mut history = History::default();
    for (place, (_, manifest)) in snapshots.iter().enumerate() {
        if place.is_multiple_of(CANCEL_INTERVAL) && monitor.cancelled() {
            return Err(FindError::Cancelled);
        }
        let mut snapshot = SequenceSet::default();
        snapshot.insert(place as u64);
        let node = match trail.follow_in(repository, &manifest.root) {
            Ok(Held::Nothing) => continue,
            Ok(Held::Root) => manifest.root.clone(),
            Ok(Held::Entry(node)) => node,
            Err(error) if error.is_loss() => {
                history.damaged.push(Damage { path: path.to_vec(), snapshots: snapshot, error });
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        Version::new(node, snapshot).add(&mut history.versions);
    }
    history.versions.sort_by_key(|version| version.snapshots.first());
    Ok(history)
}
