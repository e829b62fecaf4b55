//! What a disk holds, and what it still holds after a power cut.
//!
//! The strictest file system that POSIX allows: the content of a file is durable
//! up to its last fsync, the names in a directory up to the directory's own. A
//! cut takes the rest, all of it or a random part. Calls can be made to fail,
//! and syncs to do nothing, which is how a rig shows that it can fail itself.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

use fuser::Errno;

use super::rng::Rng;

/// The top directory.
pub(super) const TOP: u64 = 1;
/// What a disk writes whole or not at all.
const PAGE: usize = 4096;

/// Names in a directory with the numbers of what they name.
pub(super) type Names = BTreeMap<OsString, u64>;

/// Kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Content is read, or a directory listed.
    Read,
    /// Content is written, or a file cut to a length.
    Write,
    /// A name is made, changed or removed.
    Name,
    /// A file or a directory is synced.
    Sync,
}

/// Calls that fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// Of which kind.
    pub(crate) call: Call,
    /// How many of them work before.
    pub(crate) after: u64,
    /// How many of them fail.
    pub(crate) count: u64,
    /// How.
    pub(crate) errno: Errno,
}

/// A place of a file that the disk does not give any more.
#[derive(Clone, Debug)]
pub(crate) struct BadPlace {
    /// The file's number.
    pub(super) node: u64,
    /// Its bytes.
    pub(super) bytes: std::ops::Range<u64>,
}

/// What the disk says it did and did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing.
    None,
    /// It synced a file.
    Files,
    /// It synced a directory.
    Directories,
}

/// What of all that was not synced is lost in a cut.
pub(crate) enum Lost {
    /// All of it.
    All,
    /// Pages of files, and the latest changes of directories, as chance has it.
    Some(Rng),
}

#[derive(Clone)]
pub(super) enum Content {
    File {
        now: Vec<u8>,
        synced: Vec<u8>,
    },
    /// `before` holds what was durable, then each state that it had until now.
    Directory {
        now: Names,
        before: Vec<Names>,
    },
}

#[derive(Clone)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) mode: u32,
    pub(super) links: u32,
    pub(super) changed: SystemTime,
    /// A sync of it failed. The system has then dropped what was to be written, and
    /// forgotten that: later syncs work and keep nothing of it.
    pub(super) is_dropped: bool,
}

/// The disk.
#[derive(Clone)]
pub(super) struct Frail {
    pub(super) nodes: BTreeMap<u64, Node>,
    pub(super) next: u64,
    /// Calls that would change the disk, so far.
    pub(super) changes: u64,
    /// Calls of each kind, so far.
    pub(super) counts: [u64; 4],
    /// The change before which the power goes.
    pub(super) cut_at: u64,
    pub(super) is_off: bool,
    pub(super) fault: Option<Fault>,
    pub(super) bad: Option<BadPlace>,
    pub(super) lie: Lie,
}

impl Node {
    fn new(content: Content, mode: u32) -> Self {
        Self { content, mode, links: 1, changed: SystemTime::now(), is_dropped: false }
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.content, Content::Directory { .. })
    }
}

impl Frail {
    pub(super) fn new() -> Self {
        let content = Content::Directory { now: Names::new(), before: vec![Names::new()] };
        let nodes = BTreeMap::from([(TOP, Node::new(content, 0o700))]);
        let (cut_at, lie) = (u64::MAX, Lie::None);
        Self {
            nodes,
            next: TOP + 1,
            changes: 0,
            counts: [0; 4],
            cut_at,
            is_off: false,
            fault: None,
            bad: None,
            lie,
        }
    }

    /// How many of `size` bytes at an offset of a file can be read: those before a bad
    /// place.
    pub(super) fn readable(&self, number: u64, offset: u64, size: u64) -> Result<u64, Errno> {
        let end = offset.saturating_add(size);
        match &self.bad {
            Some(bad) if bad.node == number && offset < bad.bytes.end && end > bad.bytes.start => {
                let before = bad.bytes.start.saturating_sub(offset);
                if before == 0 { Err(Errno::EIO) } else { Ok(before) }
            }
            _ => Ok(size),
        }
    }

    /// The number of the file at a path.
    pub(super) fn find(&self, path: &std::path::Path) -> Result<u64, Errno> {
        path.iter().try_fold(TOP, |at, name| self.look_up(at, name))
    }

    /// Counts a call. Fails if it is planned to, or the power is off.
    pub(super) fn admit(&mut self, call: Call) -> Result<(), Errno> {
        if call != Call::Read && self.changes >= self.cut_at {
            self.is_off = true;
        }
        if self.is_off {
            return Err(Errno::EIO);
        }
        self.changes += u64::from(call != Call::Read);
        let count = &mut self.counts[call as usize];
        *count += 1;
        match self.fault {
            Some(fault) if fault.call == call => {
                let failing = fault.after + 1..=fault.after.saturating_add(fault.count);
                if failing.contains(count) { Err(fault.errno) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// Calls of a kind since the last [`Self::count_anew`].
    pub(super) fn count(&self, call: Call) -> u64 {
        self.counts[call as usize]
    }

    pub(super) fn count_anew(&mut self) {
        (self.changes, self.counts) = (0, [0; 4]);
    }

    pub(super) fn node(&self, number: u64) -> Result<&Node, Errno> {
        self.nodes.get(&number).ok_or(Errno::ESTALE)
    }

    pub(super) fn node_mut(&mut self, number: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&number).ok_or(Errno::ESTALE)
    }

    pub(super) fn names(&self, number: u64) -> Result<&Names, Errno> {
        match &self.node(number)?.content {
            Content::Directory { now, .. } => Ok(now),
            Content::File { .. } => Err(Errno::ENOTDIR),
        }
    }

    pub(super) fn bytes(&self, number: u64) -> Result<&[u8], Errno> {
        match &self.node(number)?.content {
            Content::File { now, .. } => Ok(now),
            Content::Directory { .. } => Err(Errno::EISDIR),
        }
    }

    /// Changes a file's content.
    pub(super) fn change(
        &mut self,
        number: u64,
        change: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Errno> {
        let node = self.node_mut(number)?;
        node.changed = SystemTime::now();
        match &mut node.content {
            Content::File { now, .. } => change(now),
            Content::Directory { .. } => return Err(Errno::EISDIR),
        }
        Ok(())
    }

    /// Changes the names of a directory.
    fn rename_in(&mut self, number: u64, change: impl FnOnce(&mut Names)) -> Result<(), Errno> {
        let node = self.node_mut(number)?;
        node.changed = SystemTime::now();
        let Content::Directory { now, before } = &mut node.content else {
            return Err(Errno::ENOTDIR);
        };
        let was = now.clone();
        change(now);
        // The first state is the durable one, whatever the present one was.
        if before.last() != Some(&was) {
            before.push(was);
        }
        Ok(())
    }

    pub(super) fn look_up(&self, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        self.names(parent)?.get(name).copied().ok_or(Errno::ENOENT)
    }

    pub(super) fn make(
        &mut self,
        parent: u64,
        name: &OsStr,
        mode: u32,
        is_directory: bool,
    ) -> Result<u64, Errno> {
        if self.names(parent)?.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let content = if is_directory {
            Content::Directory { now: Names::new(), before: vec![Names::new()] }
        } else {
            Content::File { now: Vec::new(), synced: Vec::new() }
        };
        let number = self.next;
        self.next += 1;
        self.nodes.insert(number, Node::new(content, mode & 0o7777));
        self.rename_in(parent, |names| {
            names.insert(name.to_owned(), number);
        })?;
        Ok(number)
    }

    pub(super) fn link(&mut self, number: u64, parent: u64, name: &OsStr) -> Result<(), Errno> {
        if self.names(parent)?.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        self.node_mut(number)?.links += 1;
        self.rename_in(parent, |names| {
            names.insert(name.to_owned(), number);
        })
    }

    pub(super) fn remove(&mut self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        let number = self.look_up(parent, name)?;
        if self.names(number).is_ok_and(|names| !names.is_empty()) {
            return Err(Errno::ENOTEMPTY);
        }
        let links = &mut self.node_mut(number)?.links;
        *links = links.saturating_sub(1);
        self.rename_in(parent, |names| {
            names.remove(name);
        })
    }

    pub(super) fn rename(
        &mut self,
        (parent, name): (u64, &OsStr),
        (to, new): (u64, &OsStr),
    ) -> Result<(), Errno> {
        let number = self.look_up(parent, name)?;
        if parent == to {
            return self.rename_in(parent, |names| {
                names.remove(name);
                names.insert(new.to_owned(), number);
            });
        }
        self.rename_in(to, |names| {
            names.insert(new.to_owned(), number);
        })?;
        self.rename_in(parent, |names| {
            names.remove(name);
        })
    }

    pub(super) fn sync(&mut self, number: u64) -> Result<(), Errno> {
        let lie = self.lie;
        let node = self.node_mut(number)?;
        if node.is_dropped {
            return Ok(());
        }
        match &mut node.content {
            Content::File { now, synced } if lie != Lie::Files => synced.clone_from(now),
            Content::Directory { now, before } if lie != Lie::Directories => {
                *before = vec![now.clone()];
            }
            _ => {}
        }
        Ok(())
    }

    /// Makes all durable, as `sync` does.
    pub(super) fn settle(&mut self) {
        let (lie, numbers) = (self.lie, self.nodes.keys().copied().collect::<Vec<_>>());
        self.lie = Lie::None;
        for number in numbers {
            let _known = self.sync(number);
        }
        self.lie = lie;
    }

    /// Loses what is not durable, and comes back.
    pub(super) fn restart(&mut self, lost: &mut Lost) {
        for node in self.nodes.values_mut() {
            node.is_dropped = false;
            match &mut node.content {
                Content::File { now, synced } => {
                    *now = surviving_bytes(now, synced, lost);
                    synced.clone_from(now);
                }
                Content::Directory { now, before } => {
                    let mut states = std::mem::take(before);
                    if let Lost::Some(rng) = lost {
                        states.push(std::mem::take(now));
                        let index = rng.below(states.len() as u64);
                        *now = states.swap_remove(usize::try_from(index).expect("it is small"));
                    } else {
                        *now = states.swap_remove(0);
                    }
                    *before = vec![now.clone()];
                }
            }
        }
        self.forget_unreachable();
        (self.cut_at, self.is_off, self.fault) = (u64::MAX, false, None);
    }

    fn forget_unreachable(&mut self) {
        let mut links = BTreeMap::from([(TOP, 1)]);
        let mut open = vec![TOP];
        while let Some(number) = open.pop() {
            let Ok(names) = self.names(number) else { continue };
            for below in names.values() {
                *links.entry(*below).or_insert(0) += 1;
                open.push(*below);
            }
        }
        self.nodes.retain(|number, _| links.contains_key(number));
        for (number, node) in &mut self.nodes {
            node.links = links.get(number).copied().unwrap_or(1);
        }
    }
}

/// What is left of a file.
fn surviving_bytes(now: &[u8], synced: &[u8], lost: &mut Lost) -> Vec<u8> {
    let Lost::Some(rng) = lost else { return synced.to_vec() };
    match rng.below(3) {
        0 => synced.to_vec(),
        1 => now.to_vec(),
        _ => {
            let (least, most) = (now.len().min(synced.len()), now.len().max(synced.len()));
            let length = least as u64 + rng.below((most - least) as u64 + 1);
            let mut bytes = vec![0; usize::try_from(length).expect("it is in memory")];
            for start in (0..bytes.len()).step_by(PAGE) {
                let source = if rng.below(2) == 0 { now } else { synced };
                let end = (start + PAGE).min(bytes.len()).min(source.len());
                if start < end {
                    bytes[start..end].copy_from_slice(&source[start..end]);
                }
            }
            bytes
        }
    }
}
