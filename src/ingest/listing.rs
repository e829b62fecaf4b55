//! The names in a directory, in the order in which they are walked.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::local::names;

/// Names by rising bytes, kept one behind another: a directory of a million
/// costs some bytes for each.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// The names, each with a NUL behind it.
    bytes: Vec<u8>,
    /// Where each begins.
    starts: Vec<usize>,
    next: usize,
}

impl Names {
    /// Appends a name.
    pub(crate) fn push(&mut self, name: &[u8]) {
        self.starts.push(self.bytes.len());
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
    }

    /// Appends the names in a directory. What was read before a failure stays.
    pub(crate) fn read(&mut self, directory: &OwnedFd) -> Result<(), Errno> {
        names(directory, &mut |name| self.push(name))
    }

    /// Whether a name is there; before `sort`.
    pub(crate) fn contains(&self, name: &[u8]) -> bool {
        self.starts.iter().any(|start| self.at(*start).to_bytes() == name)
    }

    /// Forgets all names.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Puts the names in order, each once.
    pub(crate) fn sort(&mut self) {
        let mut starts = std::mem::take(&mut self.starts);
        starts.sort_unstable_by(|a, b| self.at(*a).to_bytes().cmp(self.at(*b).to_bytes()));
        starts.dedup_by(|a, b| self.at(*a) == self.at(*b));
        self.starts = starts;
    }

    /// The names as they were appended, each with a NUL behind it.
    pub(crate) fn joined(&self) -> &[u8] {
        &self.bytes
    }

    /// Copies the next name into `name`; returns whether there was one.
    pub(crate) fn next_into(&mut self, name: &mut Vec<u8>) -> bool {
        name.clear();
        let Some(start) = self.starts.get(self.next) else { return false };
        name.extend_from_slice(self.at(*start).to_bytes());
        self.next += 1;
        true
    }

    fn at(&self, start: usize) -> &CStr {
        let rest = self.bytes.get(start..).unwrap_or_default();
        CStr::from_bytes_until_nul(rest).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_in_byte_order_each_once() {
        let mut names = Names::default();
        for name in [&b"b"[..], b"a", b"\xff", b"b", b"a.b", b"A"] {
            names.push(name);
        }
        assert!(names.contains(b"\xff") && !names.contains(b"c"));
        names.sort();
        let (mut name, mut found) = (Vec::new(), Vec::new());
        while names.next_into(&mut name) {
            found.push(name.clone());
        }
        assert_eq!(found, [&b"A"[..], b"a", b"a.b", b"b", b"\xff"]);
    }
}
