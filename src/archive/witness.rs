//! A target that keeps nothing and believes nothing: what the reader of an archive
//! promises to every target, said again in the simplest way. For fuzzers and tests.

use std::collections::HashMap;

use crate::archive::entry::{Found, FoundKind};
use crate::archive::error::ArchiveError;
use crate::archive::unpack::{Target, unpack};
use crate::base::name::{EntryName, join_paths};
use crate::base::progress::Monitor;

/// What was passed on.
#[derive(Default)]
struct Witness {
    is_begun: bool,
    /// Whether each path is a directory.
    met: HashMap<Vec<u8>, bool>,
    /// Bytes that are left of the file at hand.
    left: Option<u64>,
}

/// Reads an archive to its end.
///
/// # Errors
/// Fails if it is no whole archive, or was cancelled.
///
/// # Panics
/// If anything is passed on that no target may be asked to make.
pub(crate) fn witness(input: &[u8], monitor: &dyn Monitor) -> Result<(), ArchiveError> {
    let mut witness = Witness::default();
    unpack(input, "an archive", &mut witness, monitor)?;
    assert_eq!(witness.left, None, "a file without its end");
    assert_eq!(witness.met.get(&b""[..]), Some(&true), "an archive without its top");
    Ok(())
}

impl Witness {
    fn meet(&mut self, found: &Found) {
        assert!(self.is_begun && self.left.is_none(), "an entry in the midst of a file");
        let is_directory = found.kind == FoundKind::Directory;
        assert!(is_directory || !found.path.is_empty(), "the top is no directory");
        let mut above = Vec::new();
        let names = found.path.split(|byte| *byte == b'/').filter(|_| !found.path.is_empty());
        for name in names {
            assert!(EntryName::check(name).is_ok(), "a name that leads elsewhere");
            assert_eq!(self.met.get(&above), Some(&true), "below what is no directory yet");
            above = join_paths(&above, name);
        }
        let before = self.met.insert(above, is_directory);
        assert!(before.is_none_or(|before| before && is_directory), "a name that comes twice");
    }

    fn pass(&mut self, bytes: u64) {
        let left = self.left.and_then(|left| left.checked_sub(bytes));
        assert!(left.is_some(), "more content than the file has, or none at hand");
        self.left = left;
    }
}

impl Target for Witness {
    fn begin(&mut self, _is_ordered: bool) {
        assert!(!self.is_begun, "begun twice");
        self.is_begun = true;
    }

    fn entry(&mut self, found: &Found) -> Result<(), ArchiveError> {
        if let FoundKind::HardLink(first) = &found.kind {
            assert_eq!(self.met.get(first), Some(&false), "a link of what is not there");
        }
        assert!(!matches!(found.kind, FoundKind::File { .. }), "a file without content");
        self.meet(found);
        Ok(())
    }

    fn begin_file(&mut self, found: &Found) -> Result<(), ArchiveError> {
        let size = match &found.kind {
            FoundKind::File { size, .. } => Some(*size),
            _ => None,
        };
        assert!(size.is_some(), "content of what is no file");
        self.meet(found);
        self.left = size;
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.pass(bytes.len() as u64);
        Ok(())
    }

    fn hole(&mut self, bytes: u64) -> Result<(), ArchiveError> {
        self.pass(bytes);
        Ok(())
    }

    fn end_file(&mut self) -> Result<(), ArchiveError> {
        assert_eq!(self.left, Some(0), "a file that is not whole");
        self.left = None;
        Ok(())
    }
}
