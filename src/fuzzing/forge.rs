//! Whole repositories out of the bytes of an input, with hashes that are right
//! and records that may hold anything.

use std::sync::Arc;

use crate::base::codec::Encoder;
use crate::base::id::{ChunkId, ListId, SnapshotId, TreeId};
use crate::compression::Compression;
use crate::fuzzing::source::Source;
use crate::repository::{Locator, ObjectKind, envelope, sequence_key};
use crate::store::memory::MemoryStore;
use crate::store::{Batch, Durability, Family, Store};

/// Objects at most: an input is a small world.
const OBJECTS_MAX: usize = 24;

/// A store under construction.
pub(super) struct Forge<'a> {
    source: Source<'a>,
    batch: Batch,
    next: [u64; 2],
    chunks: Vec<([u8; 32], u64)>,
    lists: Vec<([u8; 32], u64, u64)>,
    trees: Vec<([u8; 32], [u64; 6])>,
}

impl<'a> Forge<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        let source = Source::new(input);
        let (chunks, lists, trees) = (Vec::new(), Vec::new(), Vec::new());
        Self { source, batch: Batch::new(), next: [0; 2], chunks, lists, trees }
    }

    /// Fills a store, and returns it with what is left of the input.
    pub(super) fn build(mut self) -> (Arc<dyn Store>, Source<'a>) {
        for _ in 0..self.source.below(OBJECTS_MAX) {
            match self.source.below(8) {
                0 | 1 => self.chunk(),
                2 | 3 => self.list(),
                _ => self.tree(),
            }
        }
        for _ in 0..1 + self.source.below(4) {
            self.snapshot();
        }
        for (family, next) in [Family::Data, Family::Trees].into_iter().zip(self.next) {
            let key = format!("next/{}", family.name());
            self.batch.put(Family::Meta, key.into_bytes(), next.to_be_bytes());
        }
        let store = MemoryStore::new();
        // A store in memory takes every batch.
        let _ = store.write(&self.batch, Durability::Synced);
        (Arc::new(store), self.source)
    }

    fn store(&mut self, kind: ObjectKind, id: [u8; 32], plain: &[u8]) {
        let place = usize::from(kind != ObjectKind::Chunk);
        let sealed = envelope::seal(plain, Compression::Lz4);
        let lies = self.source.below(40) == 1;
        let sequence = if lies { self.source.number() } else { self.next[place] };
        let plain_bytes = u32::try_from(plain.len()).unwrap_or(0);
        let stored_bytes = u32::try_from(sealed.len()).unwrap_or(0);
        let locator = Locator { kind, sequence, plain_bytes, stored_bytes };
        self.batch.put(Family::Index, id, locator.encode());
        self.batch.put(kind.family(), sequence_key(self.next[place]), sealed);
        self.next[place] += 1;
    }

    fn record(&mut self, kind: ObjectKind, id: [u8; 32], canonical: &[u8]) {
        let mut record = Encoder::new();
        record.bytes(canonical);
        record.raw(self.source.take(0));
        self.store(kind, id, &record.finish());
    }

    fn chunk(&mut self) {
        let length = usize::from(self.source.byte());
        let bytes = self.source.take(length).to_vec();
        let id = *ChunkId::of(&bytes).as_bytes();
        self.store(ObjectKind::Chunk, id, &bytes);
        self.chunks.push((id, bytes.len() as u64));
    }

    fn segments(&mut self, encoder: &mut Encoder) -> (u64, u64) {
        let count = self.source.below(5);
        let (mut bytes, mut data_bytes) = (0_u64, 0_u64);
        encoder.number(count as u64);
        for _ in 0..count {
            let chosen = self.source.below(self.chunks.len() + 1);
            let (mut length, id) = match self.chunks.get(chosen) {
                Some((id, length)) => (*length, Some(*id)),
                None => (self.source.number() >> 1, None),
            };
            if self.source.below(30) == 1 {
                length = self.source.number() >> 1;
            }
            encoder.number(length << 1 | u64::from(id.is_none()));
            id.iter().for_each(|id| encoder.raw(id));
            bytes = bytes.saturating_add(length);
            data_bytes = data_bytes.saturating_add(if id.is_some() { length } else { 0 });
        }
        (bytes, data_bytes)
    }

    fn list(&mut self) {
        let mut page = Encoder::new();
        let (bytes, data_bytes) = if self.lists.is_empty() || self.source.below(2) == 0 {
            page.byte(1);
            self.segments(&mut page)
        } else {
            page.raw(&[2, self.source.byte() % 10]);
            let count = self.source.below(4);
            page.number(count as u64);
            let mut sums = (0_u64, 0_u64);
            for _ in 0..count {
                let below = self.listed(&mut page);
                sums = (sums.0.saturating_add(below.0), sums.1.saturating_add(below.1));
            }
            sums
        };
        let canonical = page.finish();
        let id = *ListId::of(&canonical).as_bytes();
        self.record(ObjectKind::ChunkList, id, &canonical);
        self.lists.push((id, bytes, data_bytes));
    }

    /// Appends a reference to a chunk list, and returns the sizes that it tells.
    fn listed(&mut self, encoder: &mut Encoder) -> (u64, u64) {
        let chosen = self.source.below(self.lists.len());
        let (id, mut bytes, data_bytes) =
            self.lists.get(chosen).copied().unwrap_or(([9; 32], 1, 1));
        if self.source.below(20) == 1 {
            bytes = self.source.number();
        }
        encoder.raw(&id);
        encoder.number(bytes);
        encoder.number(data_bytes);
        (bytes, data_bytes)
    }

    fn tree(&mut self) {
        let mut page = Encoder::new();
        let mut totals = [0_u64; 6];
        let count = self.source.below(6);
        let is_index = count > 1 && self.trees.len() > 1 && self.source.below(3) == 0;
        if is_index {
            page.raw(&[2, self.source.byte() % 10]);
        } else {
            page.raw(&[1, u8::from(count > 0)]);
            if count > 0 {
                page.raw(&[0, 0, 0, 0]);
            }
        }
        page.number(count as u64);
        for number in 0..count {
            // Names that rise, unless the input wants others.
            let name = match self.source.below(20) {
                1 => self.source.take(3).to_vec(),
                _ => vec![b'a' + u8::try_from(number).unwrap_or(0)],
            };
            page.bytes(&name);
            let adds = if is_index { self.referred(&mut page) } else { self.node(&mut page) };
            for (total, more) in totals.iter_mut().zip(adds) {
                *total = total.saturating_add(more);
            }
        }
        let canonical = page.finish();
        let id = *TreeId::of(&canonical).as_bytes();
        self.record(ObjectKind::Tree, id, &canonical);
        self.trees.push((id, totals));
    }

    /// Appends a reference to a tree, and returns the totals that it tells.
    fn referred(&mut self, encoder: &mut Encoder) -> [u64; 6] {
        let chosen = self.source.below(self.trees.len());
        let (id, mut totals) = self.trees.get(chosen).copied().unwrap_or(([8; 32], [0; 6]));
        totals[5] &= 7;
        if self.source.below(20) == 1 {
            let place = self.source.below(5);
            totals[place] = self.source.number();
        }
        encoder.raw(&id);
        totals.iter().for_each(|number| encoder.number(*number));
        totals
    }

    fn node(&mut self, encoder: &mut Encoder) -> [u64; 6] {
        let tag = self.source.below(8);
        encoder.byte(u8::try_from(tag).unwrap_or(0));
        encoder.number(self.source.number() & 0o7777);
        encoder.number(0);
        encoder.signed(self.source.number().cast_signed());
        encoder.number(self.source.number() % 1_000_000_000);
        match tag {
            1 => {
                let [_, _, files, directories, bytes, classes] = self.referred(encoder);
                return [1, 1, files, directories.saturating_add(1), bytes, classes];
            }
            2 => encoder.bytes(self.source.take(5)),
            5 | 6 => {
                encoder.number(self.source.number() & 0xffff_ffff);
                encoder.number(self.source.number() & 0xffff_ffff);
            }
            0 | 7 => {
                let form = self.source.below(3);
                encoder.byte(u8::try_from(form).unwrap_or(0));
                let bytes = match form {
                    0 => {
                        let content = self.source.take(7);
                        encoder.bytes(content);
                        content.len() as u64
                    }
                    1 => self.segments(encoder).0,
                    _ => self.listed(encoder).0,
                };
                return [1, 0, 1, 0, bytes, 0];
            }
            _ => {}
        }
        [1, 0, 1, 0, 0, 0]
    }

    fn snapshot(&mut self) {
        let mut manifest = Encoder::new();
        manifest.byte(1);
        for _ in ["begun", "committed"] {
            manifest.signed(self.source.number().cast_signed());
            manifest.number(0);
        }
        let texts = [self.source.take(3), self.source.take(3)];
        texts.iter().for_each(|text| manifest.bytes(text));
        manifest.number(0);
        manifest.bytes(b"");
        manifest.number(1);
        manifest.bytes(self.source.take(2));
        manifest.raw(&[0, 0]);
        manifest.bytes(b"");
        let mut root = Encoder::new();
        let [_, _, files, directories, bytes, _] = self.referred(&mut root);
        let lies = self.source.below(8) == 1;
        for number in [files, directories, bytes, 0, 0, 0] {
            manifest.number(if lies { self.source.number() } else { number });
        }
        manifest.raw(&[0, 0, 0, 0, 0]);
        manifest.raw(&[1, 0, 0, 0, 0]);
        manifest.raw(&root.finish());
        let canonical = manifest.finish();
        let mut record = Encoder::new();
        record.bytes(&canonical);
        self.batch.put(Family::Snapshots, *SnapshotId::of(&canonical).as_bytes(), record.finish());
    }
}
