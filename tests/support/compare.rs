//! Compares two trees in everything that a file system keeps of them.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Stat};
use rustix::io::{Errno, pread};

use super::walk::{BLOCK, Cursor, data_extents};

/// Differences after which a comparison stops listing.
const DIFFERENCES_MAX: usize = 100;
const BUFFER: usize = 1 << 20;

/// What is compared.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// The two roots themselves, not only what is in them.
    pub(crate) root: bool,
    /// Content and holes of regular files.
    pub(crate) content: bool,
    /// Whether sockets must be on both sides: `tar` keeps none.
    pub(crate) sockets: bool,
    /// Whether `st_blocks` on the right must tell the truth.
    pub(crate) blocks: bool,
}

impl Rules {
    /// Everything.
    pub(crate) const ALL: Self = Self { root: true, content: true, sockets: true, blocks: true };
    /// All but the content of files.
    pub(crate) const QUICK: Self = Self { root: true, content: false, sockets: true, blocks: true };
}

/// Fails with a list unless the trees are equal.
#[track_caller]
pub(crate) fn assert_same(left: &Path, right: &Path, rules: Rules) {
    let found = differences(left, right, rules);
    assert!(
        found.is_empty(),
        "{} differences between {} and {}:\n{}",
        found.len(),
        left.display(),
        right.display(),
        found.iter().take(30).map(String::as_str).collect::<Vec<_>>().join("\n"),
    );
}

/// Compares two trees, the right one being the copy that must be true.
pub(crate) fn differences(left: &Path, right: &Path, rules: Rules) -> Vec<String> {
    let (left, right) = match (Cursor::open(left), Cursor::open(right)) {
        (Ok(left), Ok(right)) => (left, right),
        (Err(error), _) => return vec![format!("{}: {error}", left.display())],
        (_, Err(error)) => return vec![format!("{}: {error}", right.display())],
    };
    let mut comparison = Comparison {
        left,
        right,
        rules,
        path: Vec::new(),
        found: Vec::new(),
        links: Links::default(),
        buffers: (vec![0; BUFFER], vec![0; BUFFER]),
    };
    comparison.walk();
    comparison.links.check_counts(&mut comparison.found);
    comparison.found
}

struct Comparison {
    left: Cursor,
    right: Cursor,
    rules: Rules,
    path: Vec<CString>,
    found: Vec<String>,
    links: Links,
    buffers: (Vec<u8>, Vec<u8>),
}

impl Comparison {
    fn walk(&mut self) {
        if self.rules.root {
            self.entry(c".");
        }
        let mut levels = vec![self.directory()];
        while let Some(level) = levels.last_mut() {
            if self.found.len() >= DIFFERENCES_MAX {
                return;
            }
            let Some(name) = level.pop() else {
                levels.pop();
                if self.path.pop().is_some() {
                    self.left.leave().expect("the left side can be left upwards");
                    self.right.leave().expect("the right side can be left upwards");
                }
                continue;
            };
            match (self.left.enter(&name), self.right.enter(&name)) {
                (Ok(()), Ok(())) => {
                    self.path.push(name);
                    levels.push(self.directory());
                }
                (Err(left), Err(right)) if left == right => {}
                (left, right) => {
                    let (entered_left, entered_right) = (left.is_ok(), right.is_ok());
                    self.report(&name, "entering", &format!("{left:?}"), &format!("{right:?}"));
                    if entered_left {
                        self.left.leave().expect("the left side can be left upwards");
                    }
                    if entered_right {
                        self.right.leave().expect("the right side can be left upwards");
                    }
                }
            }
        }
    }

    /// Compares what is in the current directory; returns the directories.
    fn directory(&mut self) -> Vec<CString> {
        let (left, right) = match (self.left.names(), self.right.names()) {
            (Ok(left), Ok(right)) => (left, right),
            (left, right) => {
                let texts = (format!("{:?}", left.err()), format!("{:?}", right.err()));
                self.report(c".", "listing", &texts.0, &texts.1);
                return Vec::new();
            }
        };
        let mut directories = Vec::new();
        let (mut l, mut r) = (left.iter().peekable(), right.iter().peekable());
        loop {
            let order = match (l.peek(), r.peek()) {
                (None, None) => return directories,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(a), Some(b)) => a.cmp(b),
            };
            match order {
                std::cmp::Ordering::Less => {
                    let name = l.next().expect("it was peeked");
                    self.alone(name, true);
                }
                std::cmp::Ordering::Greater => {
                    let name = r.next().expect("it was peeked");
                    self.alone(name, false);
                }
                std::cmp::Ordering::Equal => {
                    let name = l.next().expect("it was peeked");
                    r.next();
                    if self.entry(name) {
                        directories.push(name.clone());
                    }
                }
            }
        }
    }

    fn alone(&mut self, name: &CStr, on_left: bool) {
        let side = if on_left { &self.left } else { &self.right };
        let kind = side.stat(name).map(|stat| kind_of(&stat));
        if self.rules.sockets || kind != Ok(FileType::Socket) {
            let there = |there| if there { "there" } else { "missing" };
            self.report(name, "name", there(on_left), there(!on_left));
        }
    }

    /// Compares one name; true if it is a directory on both sides.
    fn entry(&mut self, name: &CStr) -> bool {
        let (left, right) = match (self.left.stat(name), self.right.stat(name)) {
            (Ok(left), Ok(right)) => (left, right),
            (left, right) => {
                let texts = (format!("{:?}", left.err()), format!("{:?}", right.err()));
                self.report(name, "lstat", &texts.0, &texts.1);
                return false;
            }
        };
        self.fields(name, &left, &right);
        if kind_of(&left) != kind_of(&right) {
            return false;
        }
        self.attributes(name);
        self.joined(name, &left, &right);
        match kind_of(&left) {
            FileType::Directory => return true,
            FileType::Symlink => {
                let targets = (self.left.target(name), self.right.target(name));
                if targets.0 != targets.1 {
                    self.report(name, "target", &say(&targets.0), &say(&targets.1));
                }
            }
            FileType::RegularFile if self.rules.content => self.regular(name, &left, &right),
            _ => {}
        }
        false
    }

    fn fields(&mut self, name: &CStr, left: &Stat, right: &Stat) {
        let directory = kind_of(left) == FileType::Directory;
        let mut check = |what: &str, left: String, right: String| {
            if left != right {
                self.report(name, what, &left, &right);
            }
        };
        check("mode", format!("{:o}", left.st_mode), format!("{:o}", right.st_mode));
        check("owner", left.st_uid.to_string(), right.st_uid.to_string());
        check("group", left.st_gid.to_string(), right.st_gid.to_string());
        check("mtime", time(left), time(right));
        if !directory {
            check("size", left.st_size.to_string(), right.st_size.to_string());
            check("rdev", format!("{:x}", left.st_rdev), format!("{:x}", right.st_rdev));
        }
        if right.st_ino == 0 {
            self.report(name, "inode number", "any", "0");
        }
    }

    fn attributes(&mut self, name: &CStr) {
        match (self.left.xattrs(name), self.right.xattrs(name)) {
            (Ok(left), Ok(right)) => {
                for (key, value) in &left {
                    let other = right.get(key);
                    if other != Some(value) {
                        let what = format!("xattr {}", key.escape_ascii());
                        self.report(name, &what, &show(Some(value)), &show(other));
                    }
                }
                for (key, value) in right.iter().filter(|(key, _)| !left.contains_key(*key)) {
                    let what = format!("xattr {}", key.escape_ascii());
                    self.report(name, &what, &show(None), &show(Some(value)));
                }
            }
            (left, right) => {
                let texts = (format!("{:?}", left.err()), format!("{:?}", right.err()));
                self.report(name, "xattrs", &texts.0, &texts.1);
            }
        }
    }

    fn joined(&mut self, name: &CStr, left: &Stat, right: &Stat) {
        let path = self.show_path(name);
        let directory = kind_of(left) == FileType::Directory;
        if directory && name != c"." {
            let subdirectories = self.right.enter(name).ok().map(|()| {
                let names = self.right.names().unwrap_or_default();
                let stats = names.iter().filter_map(|name| self.right.stat(name).ok());
                let count = stats.filter(|stat| kind_of(stat) == FileType::Directory).count();
                self.right.leave().expect("the right side can be left upwards");
                count as u64
            });
            let honest = subdirectories.is_none_or(|count| right.st_nlink == count + 2);
            if !honest && right.st_nlink != 1 {
                let expected = format!("1 or {}", subdirectories.unwrap_or(0) + 2);
                self.report(name, "links", &expected, &right.st_nlink.to_string());
            }
        }
        if let Some(difference) = self.links.join(path, left, right, directory) {
            self.found.push(difference);
        }
    }

    fn regular(&mut self, name: &CStr, left: &Stat, right: &Stat) {
        let files = match (self.left.file(name), self.right.file(name)) {
            (Ok(left), Ok(right)) => (left, right),
            (Err(Errno::ACCESS), Err(Errno::ACCESS)) => return,
            (left, right) => {
                let texts = (format!("{:?}", left.err()), format!("{:?}", right.err()));
                return self.report(name, "opening", &texts.0, &texts.1);
            }
        };
        let size = u64::try_from(left.st_size.min(right.st_size)).expect("sizes are not negative");
        let maps = match (data_extents(&files.0, size), data_extents(&files.1, size)) {
            (Ok(left), Ok(right)) => (left, right),
            (left, right) => {
                let texts = (format!("{:?}", left.err()), format!("{:?}", right.err()));
                return self.report(name, "SEEK_DATA", &texts.0, &texts.1);
            }
        };
        if maps.0 != maps.1 {
            self.report(name, "holes", &extents(&maps.0), &extents(&maps.1));
        }
        if self.rules.blocks {
            self.blocks(name, right, &maps.1);
        }
        for (start, end) in union(&maps.0, &maps.1) {
            if let Some((left, right)) = self.range(&files, start, end.min(size)) {
                return self.report(name, "content", &left, &right);
            }
        }
    }

    /// `st_blocks` must be what the data takes, give or take a block for the
    /// attributes and the tail, and a little for the map of the extents.
    fn blocks(&mut self, name: &CStr, right: &Stat, map: &[(u64, u64)]) {
        let data: u64 = map.iter().map(|(start, end)| end - start).sum();
        let told = u64::try_from(right.st_blocks).expect("blocks are not negative") * 512;
        let most = data + 2 * BLOCK + map.len() as u64 * 64;
        let data = data.min(u64::try_from(right.st_size).expect("sizes are not negative"));
        if told > most || told + BLOCK <= data || (told == 0) != (data == 0) && data > 0 {
            self.report(name, "blocks", &format!("{data} bytes of data"), &format!("{told}"));
        }
    }

    fn range(
        &mut self,
        files: &(OwnedFd, OwnedFd),
        start: u64,
        end: u64,
    ) -> Option<(String, String)> {
        let mut at = start;
        while at < end {
            let want = (end - at).min(BUFFER as u64) as usize;
            let left = fill(&files.0, &mut self.buffers.0[..want], at);
            let right = fill(&files.1, &mut self.buffers.1[..want], at);
            if left != Ok(want) || right != Ok(want) {
                return Some((format!("{left:?} at {at}"), format!("{right:?} at {at}")));
            }
            let (left, right) = (&self.buffers.0[..want], &self.buffers.1[..want]);
            if left != right {
                let index = left.iter().zip(right).position(|(a, b)| a != b).expect("they differ");
                let byte = at + index as u64;
                let texts = (left[index], right[index]);
                return Some((format!("{} at {byte}", texts.0), format!("{}", texts.1)));
            }
            at += want as u64;
        }
        None
    }

    fn report(&mut self, name: &CStr, what: &str, left: &str, right: &str) {
        self.found.push(format!("{}: {what}: {left} | {right}", self.show_path(name)));
    }

    fn show_path(&self, name: &CStr) -> String {
        let mut text = String::new();
        let skipped = self.path.len().saturating_sub(20);
        if skipped > 0 {
            text = format!("[{skipped} levels]/");
        }
        for part in &self.path[skipped..] {
            text += &format!("{}/", part.to_bytes().escape_ascii());
        }
        text + &name.to_bytes().escape_ascii().to_string()
    }
}

type Inode = (u64, u64);

/// Which inode of one side is which of the other.
#[derive(Default)]
struct Links {
    to_right: HashMap<Inode, Group>,
    to_left: HashMap<Inode, (Inode, String)>,
}

struct Group {
    right: Inode,
    first: String,
    names: u64,
    counts: Option<(u64, u64)>,
}

impl Links {
    fn join(&mut self, path: String, left: &Stat, right: &Stat, directory: bool) -> Option<String> {
        let (l, r) = ((left.st_dev, left.st_ino), (right.st_dev, right.st_ino));
        let (_, earlier) = &*self.to_left.entry(r).or_insert_with(|| (l, path.clone()));
        let earlier = earlier.clone();
        let same_left = self.to_left[&r].0 == l;
        let counts = (!directory).then_some((left.st_nlink, right.st_nlink));
        let group = self.to_right.entry(l).or_insert_with(|| Group {
            right: r,
            first: path.clone(),
            names: 0,
            counts,
        });
        group.names += 1;
        if group.right != r {
            return Some(format!("{path}: inode: one with {} | another", group.first));
        }
        (!same_left).then(|| format!("{path}: inode: another than {earlier} | the same"))
    }

    fn check_counts(&self, found: &mut Vec<String>) {
        for group in self.to_right.values() {
            let Some((left, right)) = group.counts else { continue };
            // A group that reaches out of the tree may count all names or its own.
            if right != left && right != group.names {
                let Group { first, names, .. } = group;
                found.push(format!("{first}: links: {left} | {right} ({names} names)"));
            }
        }
    }
}

fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn time(stat: &Stat) -> String {
    format!("{}+{}ns", stat.st_mtime, stat.st_mtime_nsec)
}

fn say(target: &Result<Vec<u8>, Errno>) -> String {
    match target {
        Ok(bytes) => bytes.escape_ascii().to_string(),
        Err(error) => error.to_string(),
    }
}

fn show(value: Option<&Vec<u8>>) -> String {
    value.map_or("none".to_owned(), |value| {
        let head = value[..value.len().min(40)].escape_ascii();
        format!("{} bytes {head}", value.len())
    })
}

fn extents(map: &[(u64, u64)]) -> String {
    format!("{} extents {:?}", map.len(), &map[..map.len().min(6)])
}

fn union(left: &[(u64, u64)], right: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut all: Vec<_> = left.iter().chain(right).copied().collect();
    all.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (start, end) in all {
        match merged.last_mut() {
            Some(last) if last.1 >= start => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

fn fill(file: &OwnedFd, buffer: &mut [u8], at: u64) -> Result<usize, Errno> {
    let mut done = 0;
    while done < buffer.len() {
        match pread(file, &mut buffer[done..], at + done as u64)? {
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}
