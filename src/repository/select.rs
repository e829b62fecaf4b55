//! Finding the snapshot that a person means.

use crate::base::id::SnapshotId;
use crate::base::time::{Timestamp, parse_expression};
use crate::dag::Manifest;
use crate::repository::catalog::Catalog;
use crate::repository::error::RepositoryError;
use crate::repository::objects::Repository;

/// Candidates named in the message about an ambiguous prefix.
const CANDIDATES_SHOWN: usize = 4;

/// A snapshot found by a name, and the path given behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotName {
    /// The snapshot.
    pub id: SnapshotId,
    /// Its manifest, with the tags that it has now.
    pub manifest: Manifest,
    /// The path behind the colon, without slashes around it; empty for the root.
    pub path: Vec<u8>,
}

impl Catalog {
    /// Returns the snapshot that `name` means, as [`Repository::find_snapshot`]
    /// does, and by its id or a prefix of it also one that cannot be read.
    ///
    /// # Errors
    /// Fails if no snapshot or more than one fits.
    pub fn select(&self, name: &str, now: Timestamp) -> Result<SnapshotId, RepositoryError> {
        let readable = || self.snapshots.iter().map(|(id, _)| *id);
        if is_prefix(name) && self.damaged_ids().any(|id| begins(&id, name)) {
            let ids: Vec<_> = readable().chain(self.damaged_ids()).collect();
            let found = by_prefix(ids.iter(), name)?.and_then(|place| ids.get(place));
            return found.copied().ok_or_else(|| no_such(name));
        }
        let place = select_snapshot(&self.snapshots, name, now)?;
        place.and_then(|place| readable().nth(place)).ok_or_else(|| no_such(name))
    }
}

fn no_such(name: &str) -> RepositoryError {
    RepositoryError::NoSuchSnapshot { name: name.to_owned() }
}

impl Repository {
    /// Returns the snapshot that `name` means, with the tags that it has now: a
    /// full id, `latest`, `latest~N`, a unique prefix of an id, a tag (its newest
    /// snapshot), or a time expression (the newest snapshot not younger than
    /// that), in this order.
    ///
    /// # Errors
    /// Fails if no snapshot or more than one fits, or the store fails.
    pub fn find_snapshot(
        &self,
        name: &str,
        now: Timestamp,
    ) -> Result<(SnapshotId, Manifest), RepositoryError> {
        if let Ok(id) = name.parse::<SnapshotId>()
            && let Some(manifest) = self.noted_manifest(&id)?
        {
            return Ok((id, manifest));
        }
        let Catalog { snapshots, damaged, .. } = self.catalog()?;
        let index = select_snapshot(&snapshots, name, now)?;
        if let Some(found) = index.and_then(|index| snapshots.into_iter().nth(index)) {
            return Ok(found);
        }
        // It may be one of those that cannot be read.
        let damage = damaged.into_iter().next();
        Err(damage.unwrap_or_else(|| no_such(name)))
    }

    /// Splits `NAME[:PATH]` and finds the snapshot. Times hold colons too, so
    /// the longest name that fits is taken.
    ///
    /// # Errors
    /// As [`Self::find_snapshot`].
    pub fn find_snapshot_path(
        &self,
        text: &[u8],
        now: Timestamp,
    ) -> Result<SnapshotName, RepositoryError> {
        let colons = text.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(i, _)| i);
        let ends: Vec<usize> = colons.chain([text.len()]).collect();
        let mut unknown = None;
        for end in ends.into_iter().rev() {
            let (name, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
            let name = String::from_utf8_lossy(name);
            match self.find_snapshot(&name, now) {
                Ok((id, manifest)) => {
                    let path = rest.strip_prefix(b":").unwrap_or(rest);
                    return Ok(SnapshotName { id, manifest, path: trim_slashes(path).to_vec() });
                }
                Err(error @ RepositoryError::NoSuchSnapshot { .. }) => {
                    unknown = unknown.filter(RepositoryError::is_damage).or(Some(error));
                }
                // It may be one of those that cannot be read; a shorter name may
                // be that of one that can.
                Err(error) if error.is_damage() => unknown = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(unknown.unwrap_or_else(|| RepositoryError::NoSuchSnapshot {
            name: crate::base::name::printable(text),
        }))
    }
}

fn trim_slashes(mut path: &[u8]) -> &[u8] {
    while let Some(rest) = path.strip_prefix(b"/") {
        path = rest;
    }
    while let Some(rest) = path.strip_suffix(b"/") {
        path = rest;
    }
    path
}

/// What a snapshot can be named by.
pub trait Selectable {
    /// Its id.
    fn id(&self) -> &SnapshotId;
    /// When it was taken.
    fn time(&self) -> Timestamp;
    /// Whether it has that tag.
    fn has_tag(&self, tag: &str) -> bool;
}

impl Selectable for (SnapshotId, Manifest) {
    fn id(&self) -> &SnapshotId {
        &self.0
    }

    fn time(&self) -> Timestamp {
        self.1.time
    }

    fn has_tag(&self, tag: &str) -> bool {
        self.1.tags.iter().any(|own| own == tag)
    }
}

/// Returns the place of the snapshot that `name` means, as
/// [`Repository::find_snapshot`] does, among snapshots that are sorted oldest
/// first.
///
/// # Errors
/// Fails if `name` is a prefix of several ids.
pub fn select_snapshot(
    snapshots: &[impl Selectable],
    name: &str,
    now: Timestamp,
) -> Result<Option<usize>, RepositoryError> {
    if let Some(back) = parse_latest(name) {
        return Ok(snapshots.len().checked_sub(back.saturating_add(1)));
    }
    if let Some(found) = by_prefix(snapshots.iter().map(Selectable::id), name)? {
        return Ok(Some(found));
    }
    let tagged = snapshots.iter().rposition(|snapshot| snapshot.has_tag(name));
    Ok(tagged.or_else(|| select_by_time(snapshots, name, now)))
}

/// Returns the place of the newest snapshot that is not younger than a time
/// expression says, among snapshots that are sorted oldest first.
#[must_use]
pub fn select_by_time(
    snapshots: &[impl Selectable],
    expression: &str,
    now: Timestamp,
) -> Option<usize> {
    let time = parse_expression(expression, now)?;
    snapshots.iter().rposition(|snapshot| snapshot.time() <= time)
}

/// Returns how many snapshots back from the newest `latest` or `latest~N` is.
fn parse_latest(name: &str) -> Option<usize> {
    match name.strip_prefix("latest")? {
        "" => Some(0),
        back => back.strip_prefix('~')?.parse().ok(),
    }
}

fn is_prefix(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn begins(id: &SnapshotId, prefix: &str) -> bool {
    id.to_string().starts_with(&prefix.to_ascii_lowercase())
}

fn by_prefix<'a>(
    ids: impl Iterator<Item = &'a SnapshotId>,
    name: &str,
) -> Result<Option<usize>, RepositoryError> {
    if !is_prefix(name) {
        return Ok(None);
    }
    let mut found = ids.enumerate().filter(|(_, id)| begins(id, name));
    let Some((index, first)) = found.next() else { return Ok(None) };
    let others: Vec<_> = found.map(|(_, id)| id.short()).collect();
    if others.is_empty() {
        return Ok(Some(index));
    }
    let mut candidates = vec![first.short()];
    candidates.extend(others.iter().take(CANDIDATES_SHOWN - 1).cloned());
    if others.len() >= CANDIDATES_SHOWN {
        candidates.push("...".to_owned());
    }
    Err(RepositoryError::AmbiguousSnapshot {
        name: name.to_owned(),
        candidates: candidates.join(", "),
    })
}
