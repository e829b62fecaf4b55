//! The items of a directory, in the order in which they are walked.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::RawDir;
use rustix::io::Errno;

use crate::base::name::EntryName;
use crate::ingest::source::Place;

/// Bytes of names asked of the system at once.
const LIST_BYTES: usize = 64 << 10;

/// An item still to be looked at.
pub(crate) struct Item {
    /// Its name; the root has none.
    pub(crate) name: Option<EntryName>,
    /// What the plan says of it, if it does.
    pub(crate) place: Option<Place>,
}

impl Item {
    /// The items of a directory that only leads to sources.
    pub(crate) fn places(children: BTreeMap<EntryName, Place>) -> Vec<Self> {
        let item = |(name, place)| Self { name: Some(name), place: Some(place) };
        children.into_iter().map(item).collect()
    }

    /// The items of a directory: what it holds, and what the plan puts there
    /// instead or besides.
    pub(crate) fn merge(
        mut names: Vec<EntryName>,
        mut children: BTreeMap<EntryName, Place>,
    ) -> Vec<Self> {
        names.extend(children.keys().cloned());
        names.sort_unstable();
        names.dedup();
        let item = |name: EntryName| {
            let place = children.remove(&name);
            Self { name: Some(name), place }
        };
        names.into_iter().map(item).collect()
    }
}

/// Appends the names in a directory. What was read before a failure stays.
pub(crate) fn list(directory: &OwnedFd, names: &mut Vec<EntryName>) -> Result<(), Errno> {
    let mut buffer = [MaybeUninit::uninit(); LIST_BYTES];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        // Only `.` and `..` are refused: the kernel gives no other bad names.
        names.extend(EntryName::new(entry.file_name().to_bytes()));
    }
    Ok(())
}
