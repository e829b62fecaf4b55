//! What tests of several modules do with directories: request snapshots of them,
//! say what they and their snapshots hold, and change them at random.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use crate::base::id::SnapshotId;
use crate::base::progress::Silent;
use crate::base::time::Timestamp;
use crate::chunking::ChunkerConfig;
use crate::dag::{Body, ChunkListRef, Content, Kind, Node, Segment, Tree, TreeRef};
use crate::ingest::*;
use crate::repository::{Repository, Writer};

/// A repository that is written to, and a directory beside it.
pub(crate) struct Scene {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) writer: Writer,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("repo");
        Writer::init(&root, ChunkerConfig::default()).unwrap();
        let writer = Writer::open(&root, None, "test", Duration::ZERO, &Silent).unwrap();
        fs::create_dir(directory.path().join("source")).unwrap();
        Self { directory, writer }
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.directory.path().join("source")
    }
}

/// Longer than the step of the clock in which a change might hide.
pub(crate) const SETTLE: Duration = Duration::from_millis(130);

/// A request for a snapshot of a directory, its content at the top.
pub(crate) fn request(source: &Path) -> CreateRequest {
    CreateRequest {
        input: Input::Files {
            sources: vec![PathBuf::from(".")],
            working_directory: source.to_owned(),
        },
        source_names: vec![b".".to_vec()],
        selection: SelectionOptions::default(),
        detection: Detection::default(),
        host: "host".to_owned(),
        user: "user".to_owned(),
        description: String::new(),
        tags: Vec::new(),
        time: Timestamp::now(),
        program: "test".to_owned(),
        parent: None,
        with_atime: false,
        read_concurrency: 3,
        bytes_per_second: None,
        compression: Default::default(),
    }
}

/// What a file is, on either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) kind: String,
    pub(crate) mode: u32,
    pub(crate) mtime: (i64, i64),
    pub(crate) content: Vec<u8>,
    /// The first path of its group of hard links.
    pub(crate) linked_to: Option<PathBuf>,
}

pub(crate) fn source_facts(
    source: &Path,
    excluded: &dyn Fn(&Path, bool) -> bool,
) -> BTreeMap<PathBuf, Fact> {
    let mut facts = BTreeMap::new();
    let mut groups: HashMap<u64, PathBuf> = HashMap::new();
    let mut work = vec![PathBuf::new()];
    while let Some(directory) = work.pop() {
        for entry in fs::read_dir(source.join(&directory)).unwrap() {
            let path = directory.join(entry.unwrap().file_name());
            let real = source.join(&path);
            let metadata = fs::symlink_metadata(&real).unwrap();
            if excluded(&path, metadata.is_dir()) {
                continue;
            }
            let (kind, content) = if metadata.is_dir() {
                work.push(path.clone());
                ("directory", Vec::new())
            } else if metadata.is_symlink() {
                ("symlink", fs::read_link(&real).unwrap().into_os_string().into_encoded_bytes())
            } else {
                ("file", fs::read(&real).unwrap())
            };
            let is_linked = !metadata.is_dir() && metadata.nlink() > 1;
            if is_linked {
                let first = groups.entry(metadata.ino()).or_insert_with(|| path.clone());
                *first = path.clone().min(first.clone());
            }
            let fact = Fact {
                kind: kind.to_owned(),
                mode: metadata.mode() & 0o7777,
                mtime: (metadata.mtime(), metadata.mtime_nsec()),
                content,
                linked_to: is_linked.then(|| PathBuf::from(metadata.ino().to_string())),
            };
            facts.insert(path, fact);
        }
    }
    for fact in facts.values_mut() {
        let inode = fact.linked_to.as_ref().map(|inode| inode.to_str().unwrap().parse().unwrap());
        fact.linked_to = inode.map(|inode: u64| groups[&inode].clone());
    }
    facts
}

/// What a snapshot holds, every byte of it read.
pub(crate) fn snapshot_facts(repository: &Repository, id: SnapshotId) -> BTreeMap<PathBuf, Fact> {
    let manifest = repository.manifest(&id).unwrap().unwrap();
    tree_facts(repository, manifest.tree().unwrap())
}

/// What is below a directory, every byte of it read.
pub(crate) fn tree_facts(repository: &Repository, root: &TreeRef) -> BTreeMap<PathBuf, Fact> {
    let mut facts = BTreeMap::new();
    let mut groups: HashMap<[u8; 16], PathBuf> = HashMap::new();
    let mut work = vec![(PathBuf::new(), *root)];
    while let Some((directory, tree)) = work.pop() {
        for (name, node) in entries(repository, &tree) {
            let path = directory.join(name);
            let (kind, content) = match &node.kind {
                Kind::Directory(tree) => {
                    work.push((path.clone(), *tree));
                    ("directory", Vec::new())
                }
                Kind::Symlink(target) => ("symlink", target.to_vec()),
                Kind::File(content) => ("file", bytes_of(repository, content)),
                other => panic!("{other:?}"),
            };
            if let Some(links) = &node.links {
                let first = groups.entry(links.group).or_insert_with(|| path.clone());
                *first = path.clone().min(first.clone());
            }
            let group = node.links.map(|links| crate::base::id::hex(&links.group));
            let fact = Fact {
                kind: kind.to_owned(),
                mode: node.mode.into(),
                mtime: (node.mtime.seconds(), node.mtime.nanoseconds().into()),
                content,
                linked_to: group.map(PathBuf::from),
            };
            facts.insert(path, fact);
        }
    }
    let groups: HashMap<_, _> = groups
        .into_iter()
        .map(|(group, path)| (PathBuf::from(crate::base::id::hex(&group)), path))
        .collect();
    for fact in facts.values_mut() {
        fact.linked_to = fact.linked_to.as_ref().map(|group| groups[group].clone());
    }
    facts
}

pub(crate) fn entries(repository: &Repository, tree: &TreeRef) -> Vec<(PathBuf, Node)> {
    match repository.tree(tree).unwrap() {
        Tree::Leaf(entries) => {
            entries.into_iter().map(|e| (PathBuf::from(e.name.as_os_str()), e.node)).collect()
        }
        Tree::Index { branches, .. } => {
            branches.iter().flat_map(|branch| entries(repository, &branch.tree)).collect()
        }
    }
}

pub(crate) fn bytes_of(repository: &Repository, content: &Content) -> Vec<u8> {
    let bytes = match &content.body {
        Body::Inline(bytes) => bytes.to_vec(),
        Body::Segments(segments) => segments.iter().flat_map(|s| segment(repository, s)).collect(),
        Body::List(list) => list_bytes(repository, list),
    };
    assert_eq!(bytes.len() as u64, content.size);
    if let Some(hash) = content.known_sha256() {
        assert_eq!(crate::base::hash::sha256(&bytes), hash);
    }
    bytes
}

pub(crate) fn list_bytes(repository: &Repository, list: &ChunkListRef) -> Vec<u8> {
    match repository.chunk_list(list).unwrap() {
        crate::dag::ChunkList::Leaf(segments) => {
            segments.iter().flat_map(|s| segment(repository, s)).collect()
        }
        crate::dag::ChunkList::Index { pages, .. } => {
            pages.iter().flat_map(|page| list_bytes(repository, page)).collect()
        }
    }
}

pub(crate) fn segment(repository: &Repository, segment: &Segment) -> Vec<u8> {
    match segment {
        Segment::Chunk { id, bytes, hint } => repository.chunk(id, *bytes, *hint).unwrap(),
        Segment::Hole { bytes } => vec![0; usize::try_from(*bytes).unwrap()],
    }
}

/// A change of the source; numbers choose among what is there.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Write { place: u8, name: u8, size: u16, byte: u8 },
    Directory { place: u8, name: u8 },
    OverwriteSecretly { which: u8, byte: u8 },
    Remove { which: u8 },
    Rename { which: u8, place: u8, name: u8 },
    Mode { which: u8, mode: u16 },
    Symlink { place: u8, name: u8 },
    Link { which: u8, place: u8, name: u8 },
}

pub(crate) fn any_edit() -> impl Strategy<Value = Edit> {
    let numbers = (any::<u8>(), any::<u8>(), any::<u8>());
    prop_oneof![
        4 => (any::<u8>(), any::<u8>(), any::<u16>(), any::<u8>())
            .prop_map(|(place, name, size, byte)| Edit::Write { place, name, size, byte }),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(place, name)| Edit::Directory { place, name }),
        2 => (any::<u8>(), any::<u8>())
            .prop_map(|(which, byte)| Edit::OverwriteSecretly { which, byte }),
        2 => any::<u8>().prop_map(|which| Edit::Remove { which }),
        2 => numbers.prop_map(|(which, place, name)| Edit::Rename { which, place, name }),
        1 => (any::<u8>(), 0_u16..8).prop_map(|(which, mode)| Edit::Mode { which, mode }),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(place, name)| Edit::Symlink { place, name }),
        2 => numbers.prop_map(|(which, place, name)| Edit::Link { which, place, name }),
    ]
}

/// Names that the selection of the test has an opinion on are among them.
pub(crate) fn name(number: u8) -> String {
    match number % 12 {
        0 => "b.skip".to_owned(),
        1 => "skipped".to_owned(),
        2 => "top".to_owned(),
        3 => "B.SKIP".to_owned(),
        other => format!("name-{other}"),
    }
}

pub(crate) fn apply(source: &Path, edit: &Edit) -> std::io::Result<()> {
    let all: Vec<_> = source_facts(source, &|_, _| false).into_iter().collect();
    let directories: Vec<_> = std::iter::once(PathBuf::new())
        .chain(all.iter().filter(|(_, f)| f.kind == "directory").map(|(path, _)| path.clone()))
        .collect();
    let new = |place: u8, number: u8| {
        source.join(&directories[usize::from(place) % directories.len()]).join(name(number))
    };
    let old = |which: u8| {
        let chosen = (!all.is_empty()).then(|| &all[usize::from(which) % all.len()]);
        let none = || std::io::Error::other("nothing is there");
        chosen.map(|(path, fact)| (source.join(path), fact)).ok_or_else(none)
    };
    match edit {
        Edit::Write { place, name, size, byte } => {
            // From nothing through inline content to several chunks.
            let size = usize::from(*size) * if size % 7 == 0 { 12 } else { 1 } / 2;
            let content: Vec<u8> =
                (0..size).map(|i| byte.wrapping_mul(i as u8 | 1) ^ (i >> 8) as u8).collect();
            fs::write(new(*place, *name), content)
        }
        Edit::Directory { place, name } => fs::create_dir(new(*place, *name)),
        Edit::OverwriteSecretly { which, byte } => {
            let (path, fact) = old(*which)?;
            if fact.kind != "file" {
                return Ok(());
            }
            let modified = fs::metadata(&path)?.modified()?;
            fs::write(&path, vec![*byte; fact.content.len()])?;
            fs::File::options().write(true).open(&path)?.set_modified(modified)
        }
        Edit::Remove { which } => {
            let (path, fact) = old(*which)?;
            if fact.kind == "directory" { fs::remove_dir_all(path) } else { fs::remove_file(path) }
        }
        Edit::Rename { which, place, name } => fs::rename(old(*which)?.0, new(*place, *name)),
        Edit::Mode { which, mode } => {
            let (path, fact) = old(*which)?;
            let mode = fs::Permissions::from_mode(0o700 | u32::from(*mode));
            if fact.kind == "symlink" { Ok(()) } else { fs::set_permissions(path, mode) }
        }
        Edit::Symlink { place, name } => symlink("name-5", new(*place, *name)),
        Edit::Link { which, place, name } => fs::hard_link(old(*which)?.0, new(*place, *name)),
    }
}
