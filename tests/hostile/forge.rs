//! Forges repositories: an attacker's program that writes records byte by byte,
//! with hashes that are right, and puts whatever it likes beside them.
//!
//! Nothing here uses the encoders of the program, since those refuse to write
//! what these tests are about. The layout is that of `docs/format.md`. In an encrypted
//! run the attacker has the key: he made the repository and hands over the password.

use std::time::Duration;

use icecore::base::codec::Encoder;
use icecore::base::id::IdScheme;
use icecore::base::progress::Silent;
use icecore::crypto::{MasterKey, SealingKey};
use icecore::repository::Writer;
use icecore::store::{Batch, Durability, Family};

use crate::support::encrypt::key_of;
use crate::support::generate::file;
use crate::support::repo::Repo;
use crate::support::scratch::Scratch;

/// Changes that are written at once.
const BATCH_CHANGES: usize = 40_000;
/// What the file `good` of the honest snapshot holds.
pub(super) const GOOD: &str = "good content";

/// The kinds of objects as locators number them.
#[derive(Clone, Copy)]
pub(super) enum Object {
    Chunk,
    Tree,
    List,
}

/// The numbers of two more kinds of records, by which they are sealed.
pub(super) const SNAPSHOT: u8 = 3;
pub(super) const NOTE: u8 = 4;

/// What a directory holds: entries, subdirectories, files, directories, bytes
/// and classes of attributes.
pub(super) type Totals = [u64; 6];

/// A directory that was stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tree {
    pub(super) id: [u8; 32],
    pub(super) totals: Totals,
}

/// A page of a chunk list that was stored, with the sizes that are claimed.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    pub(super) id: [u8; 32],
    pub(super) bytes: u64,
    pub(super) data_bytes: u64,
}

/// An entry of a directory, encoded, with what it adds to the totals.
#[derive(Clone, Debug)]
pub(super) struct Item {
    name: Vec<u8>,
    node: Vec<u8>,
    adds: Totals,
}

/// Encodes by a closure.
pub(super) fn encoded(build: impl FnOnce(&mut Encoder)) -> Vec<u8> {
    let mut encoder = Encoder::new();
    build(&mut encoder);
    encoder.finish()
}

impl Item {
    /// Its name.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// An entry with any tag, mode and bytes behind its times.
    pub(super) fn raw(name: &[u8], tag: u8, mode: u64, body: &[u8], adds: Totals) -> Self {
        let node = encoded(|node| {
            node.byte(tag);
            node.number(mode);
            node.number(0);
            node.signed(1_700_000_000);
            node.number(0);
            node.raw(body);
        });
        Self { name: name.to_vec(), node, adds }
    }

    /// An entry with any time.
    pub(super) fn at(name: &[u8], seconds: i64, nanoseconds: u64) -> Self {
        let node = encoded(|node| {
            node.raw(&[0, 0]);
            node.number(0);
            node.signed(seconds);
            node.number(nanoseconds);
            node.raw(&[0, 0]);
        });
        Self { name: name.to_vec(), node, adds: [1, 0, 1, 0, 0, 0] }
    }

    /// A file with a few bytes inside its entry.
    pub(super) fn inline(name: &[u8], bytes: &[u8]) -> Self {
        let body = encoded(|body| {
            body.byte(0);
            body.bytes(bytes);
        });
        Self::raw(name, 0, 0o644, &body, [1, 0, 1, 0, bytes.len() as u64, 0])
    }

    /// A file of segments: a chunk and its length, or the length of a hole.
    pub(super) fn segments(name: &[u8], segments: &[(Option<[u8; 32]>, u64)]) -> Self {
        let body = encoded(|body| {
            body.byte(1);
            encode_segments(body, segments);
        });
        let bytes = segments.iter().fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes));
        Self::raw(name, 0, 0o644, &body, [1, 0, 1, 0, bytes, 0])
    }

    /// A file with a chunk list.
    pub(super) fn listed(name: &[u8], list: List) -> Self {
        let body = encoded(|body| {
            body.byte(2);
            encode_list(body, list);
        });
        Self::raw(name, 0, 0o644, &body, [1, 0, 1, 0, list.bytes, 0])
    }

    /// A directory.
    pub(super) fn directory(name: &[u8], tree: Tree) -> Self {
        let [_, _, files, directories, bytes, classes] = tree.totals;
        let adds = [1, 1, files, directories.saturating_add(1), bytes, classes];
        Self::raw(name, 1, 0o755, &encoded(|body| encode_tree(body, tree)), adds)
    }

    /// A symlink.
    pub(super) fn symlink(name: &[u8], target: &[u8]) -> Self {
        let body = encoded(|body| body.bytes(target));
        Self::raw(name, 2, 0o777, &body, [1, 0, 1, 0, 0, 0])
    }
}

fn encode_tree(encoder: &mut Encoder, tree: Tree) {
    encoder.raw(&tree.id);
    tree.totals.iter().for_each(|number| encoder.number(*number));
}

fn encode_list(encoder: &mut Encoder, list: List) {
    encoder.raw(&list.id);
    encoder.number(list.bytes);
    encoder.number(list.data_bytes);
}

fn encode_segments(encoder: &mut Encoder, segments: &[(Option<[u8; 32]>, u64)]) {
    encoder.number(segments.len() as u64);
    for (chunk, bytes) in segments {
        encoder.number(bytes << 1 | u64::from(chunk.is_none()));
        chunk.iter().for_each(|id| encoder.raw(id));
    }
}

fn sum(parts: impl Iterator<Item = Totals>) -> Totals {
    let mut totals = [0; 6];
    for part in parts {
        let classes = totals[5] | part[5];
        for (total, more) in totals.iter_mut().zip(part) {
            *total = u64::saturating_add(*total, more);
        }
        totals[5] = classes;
    }
    totals
}

/// What a forged snapshot says of itself.
#[derive(Clone, Debug)]
pub(super) struct Labels {
    pub(super) time: i64,
    pub(super) host: String,
    pub(super) user: String,
    pub(super) source: Vec<u8>,
    pub(super) description: String,
    pub(super) tags: Vec<String>,
    pub(super) exclude: String,
    pub(super) program: String,
    pub(super) errors: Vec<String>,
    /// Files, directories, bytes, added, stored and errors; those of the tree if
    /// there are none.
    pub(super) counters: Option<[u64; 6]>,
}

impl Default for Labels {
    fn default() -> Self {
        let text = || "forged".to_owned();
        Self {
            time: 1_600_000_000,
            host: text(),
            user: text(),
            source: b"/forged".to_vec(),
            description: String::new(),
            tags: Vec::new(),
            exclude: String::new(),
            program: text(),
            errors: Vec::new(),
            counters: None,
        }
    }
}

/// A repository with one honest snapshot, and a writer that keeps no rules.
pub(super) struct Forge {
    pub(super) repo: Repo,
    /// The honest snapshot.
    pub(super) good: String,
    key: Option<MasterKey>,
    ids: IdScheme,
    sealing: Option<SealingKey>,
    writer: Option<Writer>,
    batch: Batch,
    next: [u64; 2],
}

impl Forge {
    pub(super) fn new() -> Self {
        let scratch = Scratch::new();
        let source = scratch.mkdir("source");
        file(&source.join("good"), GOOD.as_bytes());
        file(&source.join("large"), &vec![b'l'; 400_000]);
        let repo = Repo::new();
        let mut create = repo.command(["create", "--json", "."]);
        let outcome = crate::support::command::run(create.current_dir(&source)).expect(0);
        let good = crate::support::repo::id_of(&outcome.last_json_line());
        let key = key_of(repo.path());
        let keys = key.as_ref().map(MasterKey::keys);
        let (ids, sealing) = keys.map_or((IdScheme::Plain, None), |keys| {
            (IdScheme::Keyed(keys.ids), Some(keys.sealing))
        });
        let (writer, batch, next) = (None, Batch::new(), [0; 2]);
        let mut forge = Self { repo, good, key, ids, sealing, writer, batch, next };
        forge.open();
        for family in [Family::Data, Family::Trees] {
            let key = format!("next/{}", family.name());
            let value = forge.store().get(Family::Meta, key.as_bytes()).expect("it can be read");
            let value = value.expect("there is a counter");
            forge.next[usize::from(family == Family::Trees)] =
                u64::from_be_bytes(value.try_into().expect("eight bytes"));
        }
        forge
    }

    fn open(&mut self) {
        let (path, key) = (self.repo.path(), self.key.as_ref());
        let opened = Writer::open(path, key, "forge", Duration::from_secs(10), &Silent);
        self.writer = Some(opened.expect("it can be opened"));
    }

    fn store(&self) -> &dyn icecore::store::Store {
        self.writer.as_ref().expect("it is open").store()
    }

    /// Puts any bytes anywhere.
    pub(super) fn put(&mut self, family: Family, key: &[u8], value: &[u8]) {
        self.batch.put(family, key, value);
        if self.batch.len() >= BATCH_CHANGES {
            self.write();
        }
    }

    fn write(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.store().write(&batch, Durability::Buffered).expect("it can be written");
    }

    /// What lies in the store of an envelope of any bytes: if the repository is encrypted,
    /// all of it but the byte that says that it is not, under the key.
    fn stored(&self, kind: u8, id: &[u8; 32], envelope: &[u8]) -> Vec<u8> {
        let Some(key) = &self.sealing else { return envelope.to_vec() };
        let mut stored = [&[255, 1, kind], &id[..]].concat();
        let bound = stored.clone();
        let sealed = key.seal(&bound, &mut stored, |inner| {
            inner.extend(envelope.iter().take(1).chain(envelope.iter().skip(2)));
        });
        sealed.expect("there is randomness");
        stored
    }

    /// Puts a record that has no envelope unless it is sealed.
    pub(super) fn wrapped(
        &mut self,
        family: Family,
        key: &[u8],
        kind: u8,
        id: &[u8; 32],
        record: &[u8],
    ) {
        let stored = match self.sealing {
            Some(_) => self.stored(kind, id, &envelope(0, record.len(), record)),
            None => record.to_vec(),
        };
        self.put(family, key, &stored);
    }

    /// Bytes that an object takes in the store if it is not packed.
    pub(super) fn stored_bytes(&self, plain_bytes: usize) -> u64 {
        let plain = envelope(0, plain_bytes, &vec![0; plain_bytes]);
        self.stored(0, &[0; 32], &plain).len() as u64
    }

    /// The id of a chunk of these bytes.
    pub(super) fn chunk_id(&self, bytes: &[u8]) -> [u8; 32] {
        *self.ids.chunk(bytes).as_bytes()
    }

    /// The id of a tree of these canonical bytes.
    pub(super) fn tree_id(&self, canonical: &[u8]) -> [u8; 32] {
        *self.ids.tree(canonical).as_bytes()
    }

    /// Stores an object under any id in an envelope of any bytes. Returns its
    /// sequence number.
    pub(super) fn sealed(
        &mut self,
        object: Object,
        id: [u8; 32],
        plain_bytes: u64,
        envelope: &[u8],
    ) -> u64 {
        let (family, place) = match object {
            Object::Chunk => (Family::Data, 0),
            Object::Tree | Object::List => (Family::Trees, 1),
        };
        let sequence = self.next[place];
        self.next[place] += 1;
        let stored = self.stored(object as u8, &id, envelope);
        self.put(family, &sequence.to_be_bytes(), &stored);
        self.locate(object, id, sequence, plain_bytes, stored.len() as u64);
        sequence
    }

    /// Writes an entry of the index.
    pub(super) fn locate(
        &mut self,
        object: Object,
        id: [u8; 32],
        sequence: u64,
        plain_bytes: u64,
        stored_bytes: u64,
    ) {
        let locator = encoded(|locator| {
            locator.byte(object as u8);
            locator.number(sequence);
            locator.number(plain_bytes);
            locator.number(stored_bytes);
        });
        self.put(Family::Index, &id, &locator);
    }

    /// Stores plain bytes under any id.
    pub(super) fn object(&mut self, object: Object, id: [u8; 32], plain: &[u8]) -> u64 {
        self.sealed(object, id, plain.len() as u64, &envelope(0, plain.len(), plain))
    }

    /// Stores a record, with no hints, under any id.
    pub(super) fn record(&mut self, object: Object, id: [u8; 32], canonical: &[u8]) -> u64 {
        let stored = encoded(|record| record.bytes(canonical));
        self.object(object, id, &stored)
    }

    /// Stores a chunk.
    pub(super) fn chunk(&mut self, bytes: &[u8]) -> [u8; 32] {
        let id = self.chunk_id(bytes);
        self.object(Object::Chunk, id, bytes);
        id
    }

    /// Stores the canonical bytes of a tree under their hash.
    pub(super) fn tree(&mut self, canonical: &[u8], totals: Totals) -> Tree {
        let id = self.tree_id(canonical);
        self.record(Object::Tree, id, canonical);
        Tree { id, totals }
    }

    /// Stores a directory of one page, its entries as they are given.
    pub(super) fn directory(&mut self, items: &[Item]) -> Tree {
        let totals = sum(items.iter().map(|item| item.adds));
        self.tree(&leaf(items), totals)
    }

    /// Stores an index page over pages with their last names.
    pub(super) fn index(&mut self, level: u8, pages: &[(Vec<u8>, Tree)]) -> Tree {
        let canonical = encoded(|page| {
            page.raw(&[2, level]);
            page.number(pages.len() as u64);
            for (last, tree) in pages {
                page.bytes(last);
                encode_tree(page, *tree);
            }
        });
        self.tree(&canonical, sum(pages.iter().map(|(_, tree)| tree.totals)))
    }

    /// Stores a page of a chunk list that holds segments.
    pub(super) fn list_leaf(&mut self, segments: &[(Option<[u8; 32]>, u64)]) -> List {
        let canonical = encoded(|page| {
            page.byte(1);
            encode_segments(page, segments);
        });
        let all = |wanted: &dyn Fn(&Option<[u8; 32]>) -> bool| {
            let sizes = segments.iter().filter(|(chunk, _)| wanted(chunk));
            sizes.fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes))
        };
        self.list(&canonical, all(&|_| true), all(&Option::is_some))
    }

    /// Stores an index page of a chunk list.
    pub(super) fn list_index(&mut self, level: u8, pages: &[List]) -> List {
        let canonical = encoded(|page| {
            page.raw(&[2, level]);
            page.number(pages.len() as u64);
            pages.iter().for_each(|list| encode_list(page, *list));
        });
        let all = |size: &dyn Fn(&List) -> u64| {
            pages.iter().fold(0, |sum: u64, page| sum.saturating_add(size(page)))
        };
        self.list(&canonical, all(&|page| page.bytes), all(&|page| page.data_bytes))
    }

    fn list(&mut self, canonical: &[u8], bytes: u64, data_bytes: u64) -> List {
        let id = *self.ids.list(canonical).as_bytes();
        self.record(Object::List, id, canonical);
        List { id, bytes, data_bytes }
    }

    /// Commits a snapshot of a tree. Returns its id.
    pub(super) fn snapshot(&mut self, root: Tree, labels: &Labels) -> String {
        let canonical = manifest(root, labels);
        let id = self.ids.snapshot(&canonical);
        let record = encoded(|record| record.bytes(&canonical));
        self.wrapped(Family::Snapshots, id.as_bytes(), SNAPSHOT, id.as_bytes(), &record);
        id.to_string()
    }

    /// Commits a snapshot of a directory with these entries.
    pub(super) fn of_items(&mut self, items: &[Item]) -> String {
        let root = self.directory(items);
        self.snapshot(root, &Labels::default())
    }

    /// Makes it all durable and lets go of the repository.
    pub(super) fn finish(&mut self) {
        self.write();
        for (family, next) in [Family::Data, Family::Trees].into_iter().zip(self.next) {
            let key = format!("next/{}", family.name());
            if self.store().get(Family::Meta, key.as_bytes()).is_ok_and(|value| {
                value.is_none_or(|value| value.as_slice() < next.to_be_bytes().as_slice())
            }) {
                self.put(Family::Meta, key.as_bytes(), &next.to_be_bytes());
            }
        }
        self.write();
        let writer = self.writer.take().expect("it is open");
        writer.close().expect("it can be closed");
    }
}

/// An envelope with any codec and any claim of its plain length.
pub(super) fn envelope(codec: u8, plain_bytes: usize, payload: &[u8]) -> Vec<u8> {
    let claim = u32::try_from(plain_bytes).unwrap_or(u32::MAX);
    [&[codec, 0], &claim.to_le_bytes()[..], payload].concat()
}

/// The canonical bytes of a page of entries, in the order in which they come.
pub(super) fn leaf(items: &[Item]) -> Vec<u8> {
    encoded(|page| {
        page.byte(1);
        let owners = u64::from(!items.is_empty());
        page.number(owners);
        if owners == 1 {
            encode_owner(page);
        }
        page.number(items.len() as u64);
        for item in items {
            page.bytes(&item.name);
            page.raw(&item.node);
        }
    })
}

fn encode_owner(encoder: &mut Encoder) {
    encoder.number(0);
    encoder.number(0);
    encoder.bytes(b"root");
    encoder.bytes(b"root");
}

fn manifest(root: Tree, labels: &Labels) -> Vec<u8> {
    let [_, _, files, directories, bytes, _] = root.totals;
    let counted = [files, directories, bytes, 0, 0, labels.errors.len() as u64];
    encoded(|manifest| {
        let texts = |manifest: &mut Encoder, texts: &[String]| {
            manifest.number(texts.len() as u64);
            texts.iter().for_each(|text| manifest.bytes(text.as_bytes()));
        };
        manifest.byte(1);
        for _ in ["begun", "committed"] {
            manifest.signed(labels.time);
            manifest.number(0);
        }
        manifest.bytes(labels.host.as_bytes());
        manifest.bytes(labels.user.as_bytes());
        manifest.number(1);
        manifest.bytes(&labels.source);
        manifest.bytes(labels.description.as_bytes());
        texts(manifest, &labels.tags);
        manifest.number(0);
        texts(manifest, std::slice::from_ref(&labels.exclude));
        manifest.bytes(labels.program.as_bytes());
        labels.counters.unwrap_or(counted).iter().for_each(|number| manifest.number(*number));
        texts(manifest, &labels.errors);
        encode_owner(manifest);
        manifest.raw(&Item::directory(b"", root).node);
    })
}
