//! What tests of several modules build repositories from.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::base::id::SnapshotId;
use crate::base::name::EntryName;
use crate::base::progress::Silent;
use crate::base::time::Timestamp;
use crate::chunking::ChunkerConfig;
use crate::dag::{Counters, DirectoryBuilder, Entry, Kind, Manifest, Node, Owner, Record, TreeRef};
use crate::repository::session::Session;
use crate::repository::{Reader, Writer};

/// A node with nothing special about it.
pub(crate) fn node(kind: Kind) -> Node {
    let owner = Arc::new(Owner::default());
    Node {
        kind,
        mode: 0o755,
        owner,
        mtime: Timestamp::default(),
        atime: None,
        changed_while_read: false,
        links: None,
        xattrs: vec![],
    }
}

/// A snapshot of a tree, taken so many seconds after the epoch.
pub(crate) fn manifest(root: TreeRef, seconds: i64) -> Manifest {
    Manifest {
        time: Timestamp::new(seconds, 0).unwrap(),
        finished: Timestamp::default(),
        host: "host".into(),
        user: "user".into(),
        sources: vec![b"/etc".to_vec()],
        description: String::new(),
        tags: vec![],
        parent: None,
        excludes: vec![],
        program: "test".into(),
        counters: Counters::default(),
        errors: vec![],
        root: node(Kind::Directory(root)),
    }
}

/// A repository of snapshots, a second apart each.
pub(crate) struct Series {
    directory: tempfile::TempDir,
    seconds: i64,
}

impl Series {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let series = Self { directory, seconds: 0 };
        Writer::init(&series.path(), ChunkerConfig::default()).unwrap();
        series
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("repo")
    }

    /// Takes a snapshot of what is built.
    pub(crate) fn take(&mut self, build: impl FnOnce(&mut Session<'_>) -> TreeRef) -> SnapshotId {
        let writer = Writer::open(&self.path(), None, "test", Duration::ZERO, &Silent).unwrap();
        let mut session = writer.begin().unwrap();
        let root = build(&mut session);
        self.seconds += 1;
        session.commit(&manifest(root, self.seconds)).unwrap()
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader::open(&self.path()).unwrap()
    }
}

/// Stores a directory with files of any depth, whose paths are seen from it.
pub(crate) fn directory_of(session: &mut Session<'_>, files: &[(&str, Node)]) -> TreeRef {
    let mut below: BTreeMap<&str, Vec<(&str, Node)>> = BTreeMap::new();
    let mut entries: BTreeMap<&str, Node> = BTreeMap::new();
    for (path, file) in files {
        match path.split_once('/') {
            Some((name, rest)) => below.entry(name).or_default().push((rest, file.clone())),
            None => drop(entries.insert(path, file.clone())),
        }
    }
    for (name, files) in below {
        let tree = directory_of(session, &files);
        entries.insert(name, node(Kind::Directory(tree)));
    }
    let mut builder = DirectoryBuilder::new();
    let mut put = |record: &Record| session.put_tree(record);
    for (name, node) in entries {
        let name = EntryName::new(name.as_bytes()).unwrap();
        builder.push(Entry { name, node }, &mut put).unwrap();
    }
    builder.finish(&mut put).unwrap()
}
