//! Directories of the running system that were moved.
//!
//! No id tells that one is the same as a directory of a snapshot. So each
//! directory that only one side has gets a shape: the names, kinds, sizes and
//! targets of all below it. Only where the shapes of two agree are the metadata
//! of all below compared, and only where these agree is content read. One that
//! was not seen whole has no shape.

use std::collections::HashSet;

use crate::base::hash::{Digest256, StreamHash};
use crate::diff::change::{Difference, ItemKind};
use crate::diff::content_keys::ContentKeys;
use crate::diff::error::DiffError;
use crate::diff::pairs::{Pairing, name, side};

/// Makes renames of added and removed directories in which all is the same.
/// `unseen` are paths of directories in which something was not looked at.
pub(super) fn pair(
    pairing: &mut Pairing<'_, '_>,
    unseen: &[Vec<u8>],
    contents: &mut ContentKeys,
) -> Result<(), DiffError> {
    if !pairing.comparison.has_live_side() {
        return Ok(());
    }
    let mut keys = shapes(pairing, &with_those_above(unseen));
    for place in pairing.places() {
        // One without entries is like any other one.
        if pairing.inside(place).is_empty() {
            keys.get_mut(place).map(Option::take);
        }
    }
    pairing
        .pair_if(&keys, &mut |pairing, removed, added| is_same(pairing, removed, added, contents))
}

/// Paths, and those of the directories above them.
fn with_those_above(paths: &[Vec<u8>]) -> HashSet<&[u8]> {
    let mut all = HashSet::new();
    for mut path in paths.iter().map(Vec::as_slice) {
        while all.insert(path) && !path.is_empty() {
            let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            path = path.get(..slash).unwrap_or_default();
        }
    }
    all
}

/// For each directory that one side has and that was seen whole, what two with
/// the same entries have in common.
fn shapes(pairing: &Pairing<'_, '_>, unseen: &HashSet<&[u8]>) -> Vec<Option<Digest256>> {
    let mut shapes = vec![None; pairing.places().len()];
    // What lies below comes behind.
    for place in pairing.places().rev() {
        let directory = pairing.at(place).filter(|it| {
            let is_known = !it.is_whole() && !unseen.contains(it.path.as_slice());
            side(it).is_some() && it.item().is_directory() && is_known
        });
        let shape = directory.and_then(|_| shape(pairing, place, &shapes));
        if let Some(slot) = shapes.get_mut(place) {
            *slot = shape;
        }
    }
    shapes
}

fn shape(
    pairing: &Pairing<'_, '_>,
    directory: usize,
    shapes: &[Option<Digest256>],
) -> Option<Digest256> {
    let mut hash = StreamHash::default();
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    let mut inside = pairing.inside(directory);
    while let Some(place) = inside.next() {
        let difference = pairing.at(place).filter(|it| side(it).is_some())?;
        let item = difference.item();
        part(name(&difference.path));
        part(item.kind_name().as_bytes());
        match &item.kind {
            ItemKind::File(_) => part(&item.size().to_le_bytes()),
            ItemKind::Directory(_) => part(&shapes.get(place).copied().flatten()?),
            ItemKind::Symlink(target) => part(target),
            ItemKind::BlockDevice(device) | ItemKind::CharDevice(device) => {
                part(&device.major.to_le_bytes());
                part(&device.minor.to_le_bytes());
            }
            ItemKind::Fifo | ItemKind::Socket => {}
        }
        inside.start = inside.start.max(pairing.inside(place).end);
    }
    Some(hash.finish())
}

/// Whether metadata and content agree of all below two directories of one shape.
fn is_same(
    pairing: &Pairing<'_, '_>,
    removed: usize,
    added: usize,
    contents: &mut ContentKeys,
) -> Result<bool, DiffError> {
    let pairs = || pairing.inside(removed).zip(pairing.inside(added));
    let item = |place: usize| pairing.at(place).map(Difference::item);
    let agree = |(one, other): (usize, usize)| {
        let items = item(one).zip(item(other));
        items.is_some_and(|(one, other)| pairing.comparison.metadata(one, other).is_empty())
    };
    if pairing.inside(removed).len() != pairing.inside(added).len() || !pairs().all(agree) {
        return Ok(false);
    }
    let is_file = |place| {
        let item = item(place).filter(|item| item.size() > 0);
        item.is_some_and(|item| matches!(item.kind, ItemKind::File(_)))
    };
    for (one, other) in pairs().filter(|(one, _)| is_file(*one)) {
        if !contents.agree(pairing, one, other)? {
            return Ok(false);
        }
    }
    Ok(true)
}
