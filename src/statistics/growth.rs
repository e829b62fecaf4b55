//! How snapshots and what is stored for them grew.

use std::collections::BTreeMap;

use crate::base::id::SnapshotId;
use crate::base::time::Timestamp;
use crate::dag::Manifest;
use crate::retention::{GroupKey, Grouping};
use crate::statistics::usage::{Share, Usage};

/// How much there was when a snapshot was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrowthPoint {
    /// The snapshot.
    pub id: SnapshotId,
    /// When it was taken.
    pub time: Timestamp,
    /// Bytes of files in the newest snapshots of all hosts and sources.
    pub logical_bytes: u64,
    /// Bytes stored for all snapshots up to it, of those that there are now.
    pub stored_bytes: u64,
}

/// Makes a history of snapshots, oldest first, each of which was a holder of its
/// own.
#[must_use]
pub fn growth(snapshots: &[(SnapshotId, Manifest)], usage: &Usage) -> Vec<GrowthPoint> {
    let mut newest: BTreeMap<GroupKey, u64> = BTreeMap::new();
    let (mut logical_bytes, mut stored_bytes) = (0_u64, 0_u64);
    let point = |((id, manifest), share): (&(SnapshotId, Manifest), &Share)| {
        let Manifest { host, sources, tags, time, .. } = manifest;
        let key = GroupKey::new(Grouping::default(), host, sources, tags);
        let bytes = manifest.tree().map_or(0, |tree| tree.totals.bytes);
        let before = newest.insert(key, bytes).unwrap_or(0);
        logical_bytes = logical_bytes.saturating_sub(before).saturating_add(bytes);
        stored_bytes = stored_bytes.saturating_add(share.stored_bytes());
        GrowthPoint { id: *id, time: *time, logical_bytes, stored_bytes }
    };
    snapshots.iter().zip(&usage.first).map(point).collect()
}
