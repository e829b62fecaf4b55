//! What a file must be to be found.

use std::ops::{ControlFlow, RangeInclusive};

use crate::base::hash::Digest256;
use crate::base::id::ChunkId;
use crate::base::time::Timestamp;
use crate::dag::{Content, Kind, Node, Segment, Totals};
use crate::find::pattern::FilePatterns;
use crate::repository::{Repository, RepositoryError};

/// What a file must be to be found: all of it. An empty list asks for nothing.
#[derive(Clone, Debug)]
pub struct Criteria {
    /// Its name or path.
    pub patterns: FilePatterns,
    /// Its size, within each of these; only regular files have one.
    pub sizes: Vec<SizeRange>,
    /// Modified after that time.
    pub newer: Option<Timestamp>,
    /// Modified before that time.
    pub older: Option<Timestamp>,
    /// Its kind, one of these letters; see [`kind_letter`].
    pub kinds: Vec<char>,
    /// Its owner, one of these.
    pub owners: Vec<OwnerName>,
    /// Its group, one of these.
    pub groups: Vec<OwnerName>,
    /// The SHA-256 of its content, one of these.
    pub hashes: Vec<Digest256>,
    /// A chunk that it holds, one of these.
    pub chunks: Vec<ChunkId>,
}

/// Sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeRange(pub RangeInclusive<u64>);

/// An owner or group, by name or number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerName(pub String);

impl OwnerName {
    fn is(&self, name: &str, number: u32) -> bool {
        self.0 == name || self.0.parse() == Ok(number)
    }
}

/// The letter of a kind, as `find -type` has it.
#[must_use]
pub const fn kind_letter(kind: &Kind) -> char {
    match kind {
        Kind::File(_) => 'f',
        Kind::Directory(_) => 'd',
        Kind::Symlink(_) => 'l',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
        Kind::BlockDevice(_) => 'b',
        Kind::CharDevice(_) => 'c',
    }
}

impl Criteria {
    /// Those that only look at names and paths.
    #[must_use]
    pub const fn of(patterns: FilePatterns) -> Self {
        Self {
            patterns,
            sizes: Vec::new(),
            newer: None,
            older: None,
            kinds: Vec::new(),
            owners: Vec::new(),
            groups: Vec::new(),
            hashes: Vec::new(),
            chunks: Vec::new(),
        }
    }

    /// Whether a file is found. Reads the chunk list of a large file, if a chunk
    /// is looked for.
    ///
    /// # Errors
    /// Fails if the chunk list cannot be read.
    pub fn fit(
        &self,
        repository: &Repository,
        path: &[u8],
        node: &Node,
    ) -> Result<bool, RepositoryError> {
        let is_directory = matches!(node.kind, Kind::Directory(_));
        let fits = self.fit_metadata(node) && self.patterns.fit(path, is_directory);
        Ok(fits && self.fit_content(repository, node)?)
    }

    fn fit_metadata(&self, node: &Node) -> bool {
        let owner = &node.owner;
        let one_of = |names: &[OwnerName], name: &str, number: u32| {
            names.is_empty() || names.iter().any(|own| own.is(name, number))
        };
        (self.kinds.is_empty() || self.kinds.contains(&kind_letter(&node.kind)))
            && self.newer.is_none_or(|time| node.mtime > time)
            && self.older.is_none_or(|time| node.mtime < time)
            && one_of(&self.owners, &owner.user, owner.uid)
            && one_of(&self.groups, &owner.group, owner.gid)
    }

    fn fit_content(&self, repository: &Repository, node: &Node) -> Result<bool, RepositoryError> {
        if !self.ask_for_content() {
            return Ok(true);
        }
        let Kind::File(content) = &node.kind else { return Ok(false) };
        let is_hash = |hash: Digest256| self.hashes.contains(&hash);
        if !self.sizes.iter().all(|range| range.0.contains(&content.size))
            || !self.hashes.is_empty() && !content.known_sha256().is_some_and(is_hash)
        {
            return Ok(false);
        }
        Ok(self.chunks.is_empty() || self.holds_chunk(repository, content)?)
    }

    const fn ask_for_content(&self) -> bool {
        !self.sizes.is_empty() || !self.hashes.is_empty() || !self.chunks.is_empty()
    }

    fn holds_chunk(
        &self,
        repository: &Repository,
        content: &Content,
    ) -> Result<bool, RepositoryError> {
        let mut holds = false;
        repository.segments::<RepositoryError>(content, &mut |segment, _| {
            holds = matches!(segment, Segment::Chunk { id, .. } if self.chunks.contains(id));
            Ok(if holds { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(holds)
    }

    /// Whether something below a directory can be found, by what the directory
    /// says of all below it.
    #[must_use]
    pub fn may_fit_below(&self, totals: &Totals) -> bool {
        let least = self.sizes.iter().map(|range| *range.0.start()).max().unwrap_or(0);
        let wants_files = self.ask_for_content();
        let wants = |letter| self.kinds.is_empty() || self.kinds.contains(&letter);
        let has_files = totals.files > 0 && self.kinds != ['d'];
        let has_directories = totals.directories > 0 && wants('d') && !wants_files;
        totals.bytes >= least && (has_files || has_directories)
    }

    /// Whether where a file is does not count.
    #[must_use]
    pub const fn ignore_places(&self) -> bool {
        self.patterns.are_names()
    }
}
