//! Inode numbers: derived, so that an unchanged file or directory has the same
//! number in every snapshot, and tools that compare numbers (GNU `diff -r`) skip
//! what is equal.
//!
//! A number is a keyed hash of the path inside the snapshot and of everything
//! that is kept about the file. The key is the repository's random id, so that
//! whoever chooses the content cannot make two files collide. Two of ten million
//! files collide with a probability of about one in 90,000.

use crate::base::hash::{Digest256, short};
use crate::base::id::SnapshotId;
use crate::dag::{Entry, Kind};

/// Numbers of files that are no directories have this bit.
const FILE_BIT: u64 = 1 << 62;
/// Numbers of directories have this bit, and not the other.
const DIRECTORY_BIT: u64 = 1 << 61;

/// Names a directory's path inside its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathKey(u64);

impl PathKey {
    /// The root of any snapshot.
    pub const ROOT: Self = Self(0);
}

/// Derives inode numbers.
#[derive(Clone, Debug)]
pub struct InodeNumbers {
    key: Digest256,
}

impl InodeNumbers {
    /// Makes numbers under the random id of a repository.
    #[must_use]
    pub const fn new(key: Digest256) -> Self {
        Self { key }
    }

    /// Returns the key of a directory in a directory.
    #[must_use]
    pub fn child(&self, parent: PathKey, name: &[u8]) -> PathKey {
        PathKey(short(b"icecore path 1\0", &[&self.key, &parent.0.to_le_bytes(), name]))
    }

    /// The number of a snapshot's root: distinct for each snapshot.
    #[must_use]
    pub fn snapshot(&self, id: &SnapshotId) -> u64 {
        directory_number(short(b"icecore snapshot inode 1\0", &[&self.key, id.as_bytes()]))
    }

    /// The number of an entry of the directory at `parent`. All links of one
    /// file have the same one.
    #[must_use]
    pub fn entry(&self, parent: PathKey, entry: &Entry) -> u64 {
        let meaning = entry.node.meaning();
        let place = parent.0.to_le_bytes();
        let parts: [&[u8]; 4] = match &entry.node.links {
            Some(links) => [&self.key, b"link", &links.group, &meaning],
            None => [&self.key, &place, entry.name.as_bytes(), &meaning],
        };
        let hash = short(b"icecore inode 1\0", &parts);
        match entry.node.kind {
            Kind::Directory(_) => directory_number(hash),
            _ => hash >> 2 | FILE_BIT,
        }
    }
}

const fn directory_number(hash: u64) -> u64 {
    hash >> 3 | DIRECTORY_BIT
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::base::name::EntryName;
    use crate::base::time::Timestamp;
    use crate::dag::{Content, LinkGroup, Node, Owner};

    fn entry(name: &str) -> Entry {
        let node = Node {
            kind: Kind::File(Content::empty()),
            mode: 0o644,
            owner: Arc::new(Owner::default()),
            mtime: Timestamp::default(),
            atime: None,
            changed_while_read: false,
            links: None,
            xattrs: vec![],
        };
        Entry { name: EntryName::new(name.as_bytes()).unwrap(), node }
    }

    #[test]
    fn equal_files_at_equal_paths_share_a_number_and_others_do_not() {
        let numbers = InodeNumbers::new([1; 32]);
        let place = numbers.child(PathKey::ROOT, b"etc");
        let number = numbers.entry(place, &entry("a"));
        assert_eq!(number, numbers.entry(place, &entry("a")));
        assert_ne!(number, numbers.entry(place, &entry("b")));
        assert_ne!(number, numbers.entry(PathKey::ROOT, &entry("a")));
        let mut changed = entry("a");
        changed.node.mode = 0o600;
        assert_ne!(number, numbers.entry(place, &changed));
        assert_ne!(number, InodeNumbers::new([2; 32]).entry(place, &entry("a")));
    }

    #[test]
    fn links_of_one_file_share_a_number_whatever_their_names() {
        let numbers = InodeNumbers::new([1; 32]);
        let link = |name| {
            let mut entry = entry(name);
            entry.node.links = Some(LinkGroup { count: 2, group: [7; 16] });
            entry
        };
        let place = numbers.child(PathKey::ROOT, b"d");
        assert_eq!(numbers.entry(place, &link("a")), numbers.entry(PathKey::ROOT, &link("b")));
    }

    #[test]
    fn numbers_of_directories_and_files_never_meet() {
        let numbers = InodeNumbers::new([1; 32]);
        let file = numbers.entry(PathKey::ROOT, &entry("a"));
        let root = numbers.snapshot(&SnapshotId::of(b"x"));
        assert_eq!(file & (FILE_BIT | 1 << 63), FILE_BIT);
        assert_eq!(root & (FILE_BIT | 1 << 63 | DIRECTORY_BIT), DIRECTORY_BIT);
    }
}
