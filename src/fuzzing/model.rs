//! Honest repositories of random trees, and the trees themselves as the model:
//! whatever the view shows of them must be what the model holds.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use crate::base::id::{ChunkId, ListId, SnapshotId, TreeId};
use crate::base::name::EntryName;
use crate::base::time::Timestamp;
use crate::compression::Compression;
use crate::dag::{
    Body, ChunkListBuilder, Content, Counters, DirectoryBuilder, Entry, Hint, Kind, Manifest, Node,
    Owner, Record, Segment, Totals,
};
use crate::fuzzing::source::Source;
use crate::repository::{Locator, ObjectKind, envelope, sequence_key};
use crate::store::memory::MemoryStore;
use crate::store::{Batch, Durability, Family, Store};

/// Levels of directories, and entries of most directories, at most.
const DEPTH_MAX: usize = 4;
const ENTRIES_MAX: usize = 7;
/// Entries of a wide directory: some pages.
const WIDE_ENTRIES: usize = 1500;
/// Runs of a file with a chunk list, whose pages end by chance from the 512th on.
const LONG_RUNS: usize = 1300;
/// Snapshots of one repository at most, and edits between two of them.
const SNAPSHOTS_MAX: usize = 4;
const EDITS_MAX: usize = 4;
/// When the first snapshot was taken, in seconds.
const FIRST_TIME: i64 = 1_700_000_000;

/// A directory of the model.
pub(super) type Names = BTreeMap<Vec<u8>, Item>;

/// A file of the model.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) mode: u16,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    File(Vec<Run>),
    Directory(Names),
    Symlink(Vec<u8>),
    Fifo,
}

/// A run of a file: never empty.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Run {
    Data(Vec<u8>),
    Hole(u64),
}

impl Run {
    fn bytes(&self) -> u64 {
        match self {
            Self::Data(bytes) => bytes.len() as u64,
            Self::Hole(bytes) => *bytes,
        }
    }
}

impl Item {
    pub(super) fn directory(&self) -> Option<&Names> {
        if let What::Directory(names) = &self.what { Some(names) } else { None }
    }

    /// What the file holds at an offset, up to some length.
    pub(super) fn read(runs: &[Run], offset: u64, length: usize) -> Vec<u8> {
        let end = offset.saturating_add(length as u64);
        let (mut found, mut start) = (Vec::new(), 0_u64);
        for run in runs {
            let (from, to) = (start.max(offset), (start + run.bytes()).min(end));
            if from < to {
                let to_index = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX);
                match run {
                    Run::Data(bytes) => found
                        .extend(bytes.get(to_index(from)..to_index(to)).iter().copied().flatten()),
                    Run::Hole(_) => found.resize(found.len() + to_index(to) - to_index(from), 0),
                }
            }
            start += run.bytes();
        }
        found
    }

    /// The next offset from `offset` on that is data, or that is a hole.
    pub(super) fn seek(runs: &[Run], offset: u64, for_data: bool) -> Option<u64> {
        let mut start = 0_u64;
        for run in runs {
            let end = start + run.bytes();
            if end > offset && matches!(run, Run::Data(_)) == for_data {
                return Some(start.max(offset));
            }
            start = end;
        }
        (!for_data && offset < start).then_some(start)
    }

    pub(super) fn size(runs: &[Run]) -> u64 {
        runs.iter().map(Run::bytes).sum()
    }
}

/// Makes up trees.
struct Inventor<'a, 'b> {
    source: &'b mut Source<'a>,
    /// There is at most one of each in a tree, so that an input stays quick.
    has_wide: bool,
    has_long: bool,
}

impl Inventor<'_, '_> {
    fn name(&mut self) -> Vec<u8> {
        match self.source.below(12) {
            0 => vec![b'x'; 255],
            1 => b"\xff\xfe\n\x1b".to_vec(),
            2 => vec![b'a' + u8::try_from(self.source.below(3)).unwrap_or(0); 2],
            _ => vec![b'a' + u8::try_from(self.source.below(12)).unwrap_or(0)],
        }
    }

    fn runs(&mut self) -> Vec<Run> {
        let count = match self.source.below(16) {
            15 if !self.has_long => {
                self.has_long = true;
                LONG_RUNS
            }
            14 => 20,
            count => count % 4,
        };
        let seed = self.source.byte();
        (0..count)
            .map(|number| match self.source.below(4) {
                0 => Run::Hole(1 + (self.source.number() >> 24)),
                1 => Run::Data(vec![seed; 1 + self.source.below(250)]),
                // Different content each time, the length from nothing.
                _ => Run::Data([&[seed][..], &number.to_le_bytes()].concat()),
            })
            .collect()
    }

    fn item(&mut self, depth: usize) -> Item {
        let mode = [0o644, 0o755, 0o4755, 0o000][self.source.below(4)];
        let what = match self.source.below(8) {
            0 => What::Fifo,
            1 => What::Symlink(b"../target".to_vec()),
            2..=4 => What::File(self.runs()),
            _ if depth >= DEPTH_MAX => What::File(Vec::new()),
            _ => What::Directory(self.names(depth + 1)),
        };
        Item { mode, what }
    }

    fn names(&mut self, depth: usize) -> Names {
        if !self.has_wide && self.source.below(24) == 23 {
            self.has_wide = true;
            let file = |number: usize| Item {
                mode: 0o600,
                what: What::File(vec![Run::Data(number.to_be_bytes().to_vec())]),
            };
            return (0..WIDE_ENTRIES)
                .map(|number| (format!("{number:04}").into_bytes(), file(number)))
                .collect();
        }
        let count = self.source.below(ENTRIES_MAX);
        (0..count).map(|_| (self.name(), self.item(depth))).collect()
    }

    /// Changes a directory, or one below it, in one place.
    fn edit(&mut self, names: &mut Names, depth: usize) {
        let chosen = self.source.below(names.len() + 1);
        let name = names.keys().nth(chosen).cloned();
        let Some(name) = name else {
            let name = self.name();
            let item = self.item(depth);
            names.insert(name, item);
            return;
        };
        match (self.source.below(4), names.get_mut(&name)) {
            (0, _) => drop(names.remove(&name)),
            (1, Some(item)) => item.mode ^= 0o111,
            (_, Some(Item { what: What::Directory(inner), .. })) => self.edit(inner, depth + 1),
            (_, Some(item)) => *item = self.item(depth),
            (_, None) => {}
        }
    }
}

/// A store under construction, by the encoders of the program.
struct Sink {
    batch: Batch,
    next: [u64; 2],
}

impl Sink {
    fn store(&mut self, kind: ObjectKind, id: [u8; 32], plain: &[u8]) -> Hint {
        let place = usize::from(kind != ObjectKind::Chunk);
        let sequence = self.next[place];
        self.next[place] += 1;
        let sealed = envelope::seal(plain, Compression::Lz4);
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let (plain_bytes, stored_bytes) = (length(plain), length(&sealed));
        let locator = Locator { kind, sequence, plain_bytes, stored_bytes };
        self.batch.put(Family::Index, id, locator.encode());
        self.batch.put(kind.family(), sequence_key(sequence), sealed);
        Some(sequence)
    }

    fn segment(&mut self, run: &Run) -> Segment {
        match run {
            Run::Hole(bytes) => Segment::Hole { bytes: *bytes },
            Run::Data(data) => {
                let id = ChunkId::of(data);
                let hint = self.store(ObjectKind::Chunk, *id.as_bytes(), data);
                Segment::Chunk { id, bytes: u32::try_from(data.len()).unwrap_or(0), hint }
            }
        }
    }

    fn content(&mut self, runs: &[Run]) -> Content {
        let size = Item::size(runs);
        // A few bytes are kept in the entry.
        if let [Run::Data(data)] = runs
            && data.len() < 100
        {
            return Content { size, sha256: None, body: Body::Inline(data.as_slice().into()) };
        }
        let segments: Vec<_> = runs.iter().map(|run| self.segment(run)).collect();
        let mut keep = |record: &Record| {
            let id = ListId::of(&record.canonical);
            let hint = self.store(ObjectKind::ChunkList, *id.as_bytes(), &record.to_stored());
            Ok::<_, Infallible>((id, hint))
        };
        let mut builder = ChunkListBuilder::new();
        for segment in segments {
            let Ok(()) = builder.push(segment, &mut keep);
        }
        let Ok(body) = builder.finish(&mut keep);
        Content { size, sha256: None, body }
    }

    fn node(&mut self, item: &Item) -> Node {
        let kind = match &item.what {
            What::Fifo => Kind::Fifo,
            What::Symlink(target) => Kind::Symlink(target.as_slice().into()),
            What::File(runs) => Kind::File(self.content(runs)),
            What::Directory(names) => self.directory(names),
        };
        Node {
            kind,
            mode: item.mode,
            owner: Arc::new(Owner::default()),
            mtime: Timestamp::new(FIRST_TIME, 0).unwrap_or_default(),
            atime: None,
            changed_while_read: false,
            links: None,
            xattrs: Vec::new(),
        }
    }

    fn directory(&mut self, names: &Names) -> Kind {
        let entries: Vec<_> = names
            .iter()
            .filter_map(|(name, item)| Some((EntryName::new(name).ok()?, self.node(item))))
            .collect();
        let mut keep = |record: &Record| {
            let id = TreeId::of(&record.canonical);
            let hint = self.store(ObjectKind::Tree, *id.as_bytes(), &record.to_stored());
            Ok::<_, Infallible>((id, hint))
        };
        let mut builder = DirectoryBuilder::new();
        for (name, node) in entries {
            let Ok(_) = builder.push(Entry { name, node }, &mut keep);
        }
        let Ok(tree) = builder.finish(&mut keep);
        Kind::Directory(tree)
    }

    fn snapshot(&mut self, root: &Item, number: usize) -> SnapshotId {
        let time = FIRST_TIME.saturating_add(i64::try_from(number).unwrap_or(0));
        let time = Timestamp::new(time, 0).unwrap_or_default();
        let root = self.node(root);
        let totals =
            if let Kind::Directory(tree) = &root.kind { tree.totals } else { Totals::default() };
        let counters = Counters {
            files: totals.files,
            dirs: totals.directories,
            bytes: totals.bytes,
            ..Counters::default()
        };
        let manifest = Manifest {
            time,
            finished: time,
            host: format!("host{}", number % 2),
            user: String::new(),
            sources: vec![b"/".to_vec()],
            description: String::new(),
            tags: vec![format!("tag{number}"), "all".to_owned()],
            parent: None,
            excludes: Vec::new(),
            program: String::new(),
            counters,
            errors: Vec::new(),
            root,
        };
        let record = manifest.encode();
        let id = SnapshotId::of(&record.canonical);
        self.batch.put(Family::Snapshots, *id.as_bytes(), record.to_stored());
        id
    }
}

/// Each snapshot with its tree, the oldest first.
pub(super) type Snapshots = Vec<(SnapshotId, Item)>;

/// Makes up a repository of a few snapshots, each an edited copy of the one before.
pub(super) fn invent(source: &mut Source<'_>) -> (Arc<dyn Store>, Snapshots) {
    let mut sink = Sink { batch: Batch::new(), next: [0; 2] };
    let mut inventor = Inventor { source, has_wide: false, has_long: false };
    let mut names = inventor.names(0);
    let mut snapshots: Snapshots = Vec::new();
    for number in 0..1 + inventor.source.below(SNAPSHOTS_MAX) {
        if number > 0 {
            for _ in 0..inventor.source.below(EDITS_MAX) {
                inventor.edit(&mut names, 0);
            }
        }
        let root = Item { mode: 0o755, what: What::Directory(names.clone()) };
        snapshots.push((sink.snapshot(&root, number), root));
    }
    for (family, next) in [Family::Data, Family::Trees].into_iter().zip(sink.next) {
        let key = format!("next/{}", family.name());
        sink.batch.put(Family::Meta, key.into_bytes(), next.to_be_bytes());
    }
    let store = MemoryStore::new();
    // A store in memory takes every batch.
    let _ = store.write(&sink.batch, Durability::Synced);
    (Arc::new(store), snapshots)
}
