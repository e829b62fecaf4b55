//! Manifests: what a snapshot is, and the root of its tree.

use std::sync::Arc;

use crate::base::codec::DecodeError;
use crate::base::id::{IdScheme, SnapshotId};
use crate::base::limits::{LABEL_BYTES_MAX, MANIFEST_LIST_MAX, MANIFEST_TEXT_BYTES_MAX};
use crate::base::time::Timestamp;
use crate::dag::node::{Kind, Node, Owner, decode_time};
use crate::dag::record::{DagError, Record, RecordDecoder, RecordEncoder, split_stored};
use crate::dag::tree::TreeRef;

const VERSION: u8 = 1;
const OBJECT: &str = "manifest";

/// A snapshot: when, where and of what it was taken, and its tree. Its id is the
/// hash of all of it, so that nothing of it can be altered unseen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// When the snapshot was begun.
    pub time: Timestamp,
    /// When it was committed.
    pub finished: Timestamp,
    /// The host that took it.
    pub host: String,
    /// The user who took it.
    pub user: String,
    /// What was named on the command line, as bytes.
    pub sources: Vec<Vec<u8>>,
    /// A text of the user's.
    pub description: String,
    /// Labels of the user's.
    pub tags: Vec<String>,
    /// The snapshot that this one was compared with.
    pub parent: Option<SnapshotId>,
    /// The patterns that kept items out.
    pub excludes: Vec<String>,
    /// The program that wrote it, with its version.
    pub program: String,
    /// What was counted while it was taken.
    pub counters: Counters,
    /// Messages about source items that could not be read whole: the first of
    /// them, `counters.errors` in all.
    pub errors: Vec<String>,
    /// The root directory, with its own metadata.
    pub root: Node,
}

/// What was counted while a snapshot was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Files of any kind but directories.
    pub files: u64,
    /// Directories, the root not counted.
    pub dirs: u64,
    /// Bytes of the regular files, holes included.
    pub bytes: u64,
    /// Plain bytes of the chunks and trees that were new to the repository.
    pub added_bytes: u64,
    /// Bytes that those took on disk.
    pub stored_bytes: u64,
    /// Source items that could not be read whole.
    pub errors: u64,
}

impl Manifest {
    /// The root tree.
    ///
    /// # Errors
    /// Fails if the root is no directory, which `decode` refuses.
    #[must_use]
    pub fn tree(&self) -> Option<&TreeRef> {
        match &self.root.kind {
            Kind::Directory(tree) => Some(tree),
            _ => None,
        }
    }

    /// The time of a copy that a repair makes: just before the original, so that
    /// this stays the newest of the two under every rule.
    #[must_use]
    pub fn time_of_repaired_copy(&self) -> Timestamp {
        self.time.before().unwrap_or(self.time)
    }

    /// Whether this is a copy that a repair made of another one, whose manifest
    /// `find` returns.
    pub fn is_repaired_copy<'a>(&self, find: impl FnOnce(&SnapshotId) -> Option<&'a Self>) -> bool {
        let original = self.parent.as_ref().and_then(find);
        original.is_some_and(|original| original.time_of_repaired_copy() == self.time)
    }

    /// Returns the record to store; the snapshot's id is that of its canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Record {
        let mut encoder = RecordEncoder::default();
        let body = &mut encoder.body;
        body.byte(VERSION);
        for time in [self.time, self.finished] {
            body.signed(time.seconds());
            body.number(u64::from(time.nanoseconds()));
        }
        body.bytes(self.host.as_bytes());
        body.bytes(self.user.as_bytes());
        encode_list(body, self.sources.iter().map(Vec::as_slice));
        body.bytes(self.description.as_bytes());
        encode_list(body, self.tags.iter().map(String::as_bytes));
        encode_list(body, self.parent.iter().map(|id| &id.as_bytes()[..]));
        encode_list(body, self.excludes.iter().map(String::as_bytes));
        body.bytes(self.program.as_bytes());
        for number in self.counters.to_numbers() {
            body.number(number);
        }
        encode_list(body, self.errors.iter().map(String::as_bytes));
        self.root.owner.encode(&mut encoder);
        self.root.encode(0, &mut encoder);
        encoder.finish()
    }

    /// Decodes and checks the record stored under `id`.
    ///
    /// # Errors
    /// Fails if the bytes do not hash to the id or are no canonical encoding.
    pub fn decode(ids: &IdScheme, id: &SnapshotId, stored: &[u8]) -> Result<Self, DagError> {
        let (canonical, hints) = split_stored(OBJECT, stored)?;
        if ids.snapshot(canonical) != *id {
            return Err(DagError::WrongHash { object: OBJECT, id: id.to_string() });
        }
        let mut decoder = RecordDecoder::new(canonical, hints);
        let manifest = decode_body(&mut decoder).map_err(DagError::malformed(OBJECT))?;
        decoder.body.finish().map_err(DagError::malformed(OBJECT))?;
        Ok(manifest)
    }
}

impl Counters {
    const fn to_numbers(self) -> [u64; 6] {
        let Self { files, dirs, bytes, added_bytes, stored_bytes, errors } = self;
        [files, dirs, bytes, added_bytes, stored_bytes, errors]
    }

    fn decode(decoder: &mut RecordDecoder<'_>) -> Result<Self, DecodeError> {
        let body = &mut decoder.body;
        Ok(Self {
            files: body.number()?,
            dirs: body.number()?,
            bytes: body.number()?,
            added_bytes: body.number()?,
            stored_bytes: body.number()?,
            errors: body.number()?,
        })
    }
}

fn encode_list<'a>(
    body: &mut crate::base::codec::Encoder,
    items: impl ExactSizeIterator<Item = &'a [u8]>,
) {
    body.number(items.len() as u64);
    for item in items {
        body.bytes(item);
    }
}

fn decode_body(decoder: &mut RecordDecoder<'_>) -> Result<Manifest, DecodeError> {
    if decoder.body.byte()? != VERSION {
        return Err(decoder.body.error("the manifest is of an unknown version"));
    }
    let time = decode_time(decoder)?;
    let finished = decode_time(decoder)?;
    let host = decoder.body.text(LABEL_BYTES_MAX, "the host")?.to_owned();
    let user = decoder.body.text(LABEL_BYTES_MAX, "the user")?.to_owned();
    let sources = decode_list(decoder, "a source")?;
    let description = decoder.body.text(MANIFEST_TEXT_BYTES_MAX, "the description")?.to_owned();
    let tags = decode_texts(decoder, "a tag")?;
    let parent = decode_parent(decoder)?;
    let excludes = decode_texts(decoder, "an exclusion")?;
    let program = decoder.body.text(LABEL_BYTES_MAX, "the program")?.to_owned();
    let counters = Counters::decode(decoder)?;
    let errors = decode_texts(decoder, "an error")?;
    let owner = Arc::new(Owner::decode(decoder)?);
    let root = Node::decode(&[owner], decoder)?;
    if !matches!(root.kind, Kind::Directory(_)) {
        return Err(decoder.body.error("the root is no directory"));
    }
    Ok(Manifest {
        time,
        finished,
        host,
        user,
        sources,
        description,
        tags,
        parent,
        excludes,
        program,
        counters,
        errors,
        root,
    })
}

fn decode_parent(decoder: &mut RecordDecoder<'_>) -> Result<Option<SnapshotId>, DecodeError> {
    let parents = decode_list(decoder, "the parent")?;
    match parents.as_slice() {
        [] => Ok(None),
        [parent] => match SnapshotId::from_slice(parent) {
            Some(parent) => Ok(Some(parent)),
            None => Err(decoder.body.error("the parent is no snapshot id")),
        },
        _ => Err(decoder.body.error("there are several parents")),
    }
}

fn decode_list(decoder: &mut RecordDecoder<'_>, what: &str) -> Result<Vec<Vec<u8>>, DecodeError> {
    let count = decoder.body.count(MANIFEST_LIST_MAX, "a list's length")?;
    (0..count)
        .map(|_| decoder.body.bytes(MANIFEST_TEXT_BYTES_MAX, what).map(<[u8]>::to_vec))
        .collect()
}

fn decode_texts(decoder: &mut RecordDecoder<'_>, what: &str) -> Result<Vec<String>, DecodeError> {
    let count = decoder.body.count(MANIFEST_LIST_MAX, "a list's length")?;
    (0..count)
        .map(|_| decoder.body.text(MANIFEST_TEXT_BYTES_MAX, what).map(str::to_owned))
        .collect()
}
