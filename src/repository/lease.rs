//! Leases: how a reader keeps what it shows from being collected.
//!
//! A reader holds one file in `leases/` under `flock` and lists in it the
//! snapshots that it serves, with their root trees. `gc` takes what live leases
//! name as roots; a lease whose lock can be taken belongs to a dead process and
//! is removed. No clock and no refreshing decides anything, so a reader may
//! sleep for a month.
//!
//! Why that is safe: a lease is written under the shared gate, and only then
//! does the reader look (caught up) whether the snapshot still exists. `gc`
//! reads leases under the exclusive gate. Either `gc` sees the lease, or it had
//! passed the gate before, with the snapshot among its roots or already deleted;
//! in the last case the reader's look finds it gone and gives up.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};

use crate::base::codec::{DecodeError, Decoder, Encoder};
use crate::base::files::open_own;
use crate::base::id::{SnapshotId, TreeId};
use crate::base::limits::LEASE_BYTES_MAX;
use crate::repository::error::RepositoryError;
use crate::repository::layout::Layout;

const GATE: &str = "gate";
const SUFFIX: &str = "lease";
/// Lease files have a multiple of this size. What is leased is written over
/// what is there, so that a disk that fills up later does not keep a reader from
/// leasing (on file systems that overwrite in place).
const BLOCK_BYTES: usize = 4096;

/// The lease file of this process.
#[derive(Debug)]
pub(crate) struct LeaseFile {
    layout: Layout,
    path: PathBuf,
    state: Mutex<LeaseState>,
}

#[derive(Debug)]
struct LeaseState {
    file: File,
    /// Blocks that the file has.
    blocks: usize,
    /// Each leased snapshot with its root and the number of guards on it.
    held: BTreeMap<SnapshotId, (TreeId, usize)>,
}

/// Keeps one snapshot from being collected until it is dropped.
#[derive(Debug)]
pub struct LeaseGuard {
    lease: Option<Arc<LeaseFile>>,
    snapshot: SnapshotId,
}

impl LeaseFile {
    /// Makes the lease file of this process, with nothing leased yet.
    pub(crate) fn create(layout: &Layout) -> Result<Self, RepositoryError> {
        let _gate = gate(layout, FlockOperation::LockShared)?;
        let mut number = 0_u32;
        loop {
            let name = format!("{}-{number}.{SUFFIX}", std::process::id());
            let path = layout.leases().join(name);
            let mut options = OpenOptions::new();
            let options = options.read(true).write(true).create_new(true);
            match open_own(options, &path) {
                Ok(file) => {
                    flock(&file, FlockOperation::NonBlockingLockExclusive)
                        .map_err(|error| RepositoryError::io("lock", &path)(error.into()))?;
                    let state = LeaseState { file, blocks: 0, held: BTreeMap::new() };
                    let lease = Self { layout: layout.clone(), path, state: Mutex::new(state) };
                    // Nobody looks at it before the gate is released.
                    lease.write_through(&mut lease.lock())?;
                    return Ok(lease);
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(RepositoryError::io("create", &path)(error)),
            }
        }
    }

    /// Adds a snapshot to the lease. The caller must look afterwards whether
    /// the snapshot still exists.
    pub(crate) fn hold(
        self: &Arc<Self>,
        snapshot: SnapshotId,
        root: TreeId,
    ) -> Result<LeaseGuard, RepositoryError> {
        self.add(&[(snapshot, root)])?;
        Ok(LeaseGuard { lease: Some(self.clone()), snapshot })
    }

    /// Adds many snapshots to the lease, as [`Self::hold`] does each.
    pub(crate) fn hold_all(
        self: &Arc<Self>,
        snapshots: &[(SnapshotId, TreeId)],
    ) -> Result<Vec<LeaseGuard>, RepositoryError> {
        self.add(snapshots)?;
        let guard = |(snapshot, _): &(SnapshotId, TreeId)| LeaseGuard {
            lease: Some(self.clone()),
            snapshot: *snapshot,
        };
        Ok(snapshots.iter().map(guard).collect())
    }

    /// Counts a guard more on each of them. If what is new cannot be written,
    /// all is as before: on disk too, since nothing was written over it.
    fn add(&self, snapshots: &[(SnapshotId, TreeId)]) -> Result<(), RepositoryError> {
        let mut state = self.lock();
        let mut is_new = false;
        for (snapshot, root) in snapshots {
            let (_, guards) = state.held.entry(*snapshot).or_insert((*root, 0));
            *guards += 1;
            is_new |= *guards == 1;
        }
        let written = if is_new { self.write(&mut state) } else { Ok(()) };
        if written.is_err() {
            for (snapshot, _) in snapshots {
                forget(&mut state, *snapshot);
            }
        }
        written
    }

    fn release(&self, snapshot: SnapshotId) {
        let mut state = self.lock();
        if forget(&mut state, snapshot) {
            // A lease that could not be shortened only delays a collection.
            let _ = self.write(&mut state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, LeaseState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, state: &mut LeaseState) -> Result<(), RepositoryError> {
        let _gate = gate(&self.layout, FlockOperation::LockShared)?;
        self.write_through(state)
    }

    /// Writes what is held. Needs the gate.
    fn write_through(&self, state: &mut LeaseState) -> Result<(), RepositoryError> {
        let mut encoder = Encoder::new();
        encoder.number(state.held.len() as u64);
        for (snapshot, (root, _)) in &state.held {
            encoder.raw(snapshot.as_bytes());
            encoder.raw(root.as_bytes());
        }
        let mut bytes = encoder.finish();
        let blocks = bytes.len().div_ceil(BLOCK_BYTES).max(state.blocks);
        bytes.resize(blocks * BLOCK_BYTES, 0);
        let LeaseState { file, blocks: had, .. } = state;
        // The new end first: if there is no space for it, what is there stays.
        let (over, behind) = bytes.split_at(*had * BLOCK_BYTES);
        let written =
            file.write_all_at(behind, over.len() as u64).and_then(|()| file.write_all_at(over, 0));
        written.map_err(RepositoryError::io("write", &self.path))?;
        *had = blocks;
        Ok(())
    }
}

/// Counts a guard less; returns whether that was the last one.
fn forget(state: &mut LeaseState, snapshot: SnapshotId) -> bool {
    match state.held.get_mut(&snapshot) {
        Some((_, guards)) if *guards > 1 => {
            *guards -= 1;
            false
        }
        Some(_) => state.held.remove(&snapshot).is_some(),
        None => false,
    }
}

impl Drop for LeaseFile {
    fn drop(&mut self) {
        // If it stays, the next collection finds it unlocked and removes it.
        let _ = fs::remove_file(&self.path);
    }
}

impl LeaseGuard {
    /// Returns a guard that holds nothing, for a reader that takes no leases.
    pub(crate) const fn none(snapshot: SnapshotId) -> Self {
        Self { lease: None, snapshot }
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        if let Some(lease) = &self.lease {
            lease.release(self.snapshot);
        }
    }
}

/// What live leases name.
#[derive(Debug, Default)]
pub struct LiveLeases {
    /// Each leased snapshot with its root.
    pub roots: Vec<(SnapshotId, TreeId)>,
    /// How many processes hold a lease.
    pub holders: usize,
}

impl LiveLeases {
    /// Reads every live lease and removes the dead ones. New leases wait until
    /// this returns.
    ///
    /// # Errors
    /// Fails if the directory or a live lease cannot be read: then nothing may
    /// be collected.
    pub fn read(layout: &Layout) -> Result<Self, RepositoryError> {
        let _gate = gate(layout, FlockOperation::LockExclusive)?;
        let directory = layout.leases();
        let mut live = Self::default();
        let entries = fs::read_dir(&directory).map_err(RepositoryError::io("list", &directory))?;
        for entry in entries {
            let path = entry.map_err(RepositoryError::io("list", &directory))?.path();
            if path.extension().is_some_and(|extension| extension == SUFFIX) {
                live.add(&path)?;
            }
        }
        Ok(live)
    }

    fn add(&mut self, path: &Path) -> Result<(), RepositoryError> {
        let file = match open_own(OpenOptions::new().read(true), path) {
            Ok(file) => file,
            // Its owner ended between the listing and now.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(RepositoryError::io("open", path)(error)),
        };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return match fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(RepositoryError::io("remove", path)(error))
                }
                _ => Ok(()),
            };
        }
        let mut bytes = Vec::new();
        file.take(LEASE_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(RepositoryError::io("read", path))?;
        let roots = decode(&bytes).map_err(|error| RepositoryError::Damaged {
            kind: "lease",
            id: path.display().to_string(),
            detail: error.to_string(),
        })?;
        self.roots.extend(roots);
        self.holders += 1;
        Ok(())
    }
}

fn decode(bytes: &[u8]) -> Result<Vec<(SnapshotId, TreeId)>, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    if decoder.is_done() {
        // Made, but nothing leased yet.
        return Ok(Vec::new());
    }
    let count = decoder.count(bytes.len() / 64, "the number of leased snapshots")?;
    let mut roots = Vec::with_capacity(count);
    for _ in 0..count {
        let snapshot = SnapshotId::from_digest(decoder.array()?);
        roots.push((snapshot, TreeId::from_digest(decoder.array()?)));
    }
    // What is behind fills a block, or is the rest of a lease that did not fit.
    Ok(roots)
}

/// Makes the gate, so that a reader need not.
pub(crate) fn create_gate(layout: &Layout) -> Result<(), RepositoryError> {
    gate(layout, FlockOperation::LockShared).map(drop)
}

/// Takes the gate that orders new leases against a collection reading them.
fn gate(layout: &Layout, operation: FlockOperation) -> Result<File, RepositoryError> {
    let path = layout.leases().join(GATE);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let opened = open_own(&mut options, &path).or_else(|error| {
        if error.kind() != std::io::ErrorKind::NotFound {
            return Err(error);
        }
        // Copies of repositories may come without empty directories.
        DirBuilder::new().mode(0o700).create(layout.leases())?;
        open_own(&mut options, &path)
    });
    let file = opened.map_err(RepositoryError::io("open", &path))?;
    loop {
        match flock(&file, operation) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(RepositoryError::io("lock", &path)(error.into())),
        }
    }
}

/// Decodes the bytes of a lease; returns how many snapshots it names.
pub(crate) fn count_leased(bytes: &[u8]) -> usize {
    decode(bytes).map_or(0, |roots| roots.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(layout: &Layout) -> Vec<SnapshotId> {
        LiveLeases::read(layout).unwrap().roots.into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn a_lease_that_cannot_grow_keeps_what_it_held_and_grows_later() {
        let scratch = tempfile::tempdir().unwrap();
        let layout = Layout::new(scratch.path());
        let lease = Arc::new(LeaseFile::create(&layout).unwrap());
        let ids: Vec<_> = (0..200_u8).map(|n| SnapshotId::from_digest([n; 32])).collect();
        let root = TreeId::from_digest([1; 32]);
        let _few: Vec<_> = ids[..3].iter().map(|id| lease.hold(*id, root).unwrap()).collect();
        let size = || fs::metadata(&lease.path).unwrap().len();
        assert_eq!((roots(&layout), size()), (ids[..3].to_vec(), BLOCK_BYTES as u64));

        // No write to this file finds space.
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let file = std::mem::replace(&mut lease.lock().file, full);
        let all: Vec<_> = ids.iter().map(|id| (*id, root)).collect();
        lease.hold(ids[3], root).unwrap_err();
        lease.hold_all(&all).unwrap_err();
        lease.lock().file = file;
        assert_eq!(roots(&layout), ids[..3]);

        // Neither was counted as held, so both are written now.
        let one = lease.hold(ids[3], root).unwrap();
        assert_eq!(roots(&layout), ids[..4]);
        let guards = lease.hold_all(&all).unwrap();
        assert_eq!(roots(&layout), ids);
        drop((one, guards));
        assert_eq!(roots(&layout), ids[..3]);
    }
}
