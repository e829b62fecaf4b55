//! What the last `create` saw in a source directory, so that the next one reads
//! only what changed.
//!
//! A record stands for one leaf page of the directory's tree: the names in it,
//! a fingerprint of each one's metadata, and the page itself. The first page of
//! a directory lies under the directory's key, each other one under that key
//! and the last name in it.
//!
//! Invariants:
//! - The records may vanish at any moment with no loss but time.
//! - A record names a tree that is in the repository, with all that the tree
//!   names: it is written once the tree is stored, and `gc` drops the records of
//!   trees that it finds unreachable before it removes anything.
//!
//! In an encrypted repository records are sealed, and keys hold hashes under a key
//! in the place of names. Such keys tell no order, so the order of a directory's
//! pages is read from the records when the second one is asked for.
//!
//! ```text
//! record = 1 | tree id (32 bytes) | sequence number | totals (5 numbers) | is last
//!        | count, (name, fingerprint (16 bytes), 0 or 1 atime,
//!                  0 | 1 tree id | 2 link group)...
//! ```

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::PoisonError;

use crate::base::codec::{DecodeError, Decoder, Encoder};
use crate::base::hash::sha256;
use crate::base::id::TreeId;
use crate::base::limits::{NAME_BYTES_MAX, TREE_PAGE_ITEMS_MAX};
use crate::base::name::EntryName;
use crate::base::time::Timestamp;
use crate::dag::{Branch, Totals, TreeRef};
use crate::repository::envelope::RecordKind;
use crate::repository::error::RepositoryError;
use crate::repository::objects::Repository;
use crate::repository::protection::Protection;
use crate::store::{Batch, Durability, Family};

const VERSION: u8 = 1;
const KEY_BYTES: usize = 16;
/// Changes in one batch.
const BATCH_CHANGES: usize = 10_000;

/// Names a source directory, and the way in which it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ScanKey([u8; KEY_BYTES]);

impl ScanKey {
    /// Returns the key of the directory at `path`, looked at in the way that
    /// `context` tells.
    #[must_use]
    pub fn new(context: &[u8], path: &[u8]) -> Self {
        let mut encoder = Encoder::new();
        encoder.bytes(context);
        encoder.bytes(path);
        Self(leading(&sha256(&encoder.finish())))
    }

    fn page(self, protection: &Protection, last: Option<&EntryName>) -> Vec<u8> {
        let last = last.map_or(&[][..], EntryName::as_bytes);
        match protection.name(b"icecore scan name 1\0", last) {
            Some(hidden) if !last.is_empty() => [self.0, leading(&hidden)].concat(),
            _ => [&self.0, last].concat(),
        }
    }
}

fn leading(digest: &[u8; 32]) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key.copy_from_slice(&digest[..KEY_BYTES]);
    key
}

/// Stands for the metadata of a source item: the leading bytes of a hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint([u8; KEY_BYTES]);

impl Fingerprint {
    /// Of an item that is to be looked at again in any case.
    pub const NONE: Self = Self([0; KEY_BYTES]);

    /// Returns the fingerprint of encoded metadata.
    #[must_use]
    pub fn of(metadata: &[u8]) -> Self {
        Self(leading(&sha256(metadata)))
    }
}

/// What was seen of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanEntry {
    /// Its name.
    pub name: EntryName,
    /// Its metadata.
    pub fingerprint: Fingerprint,
    /// When it was last read, where that is kept and not in the fingerprint.
    pub atime: Option<Timestamp>,
    /// What its metadata does not tell.
    pub detail: ScanDetail,
}

/// What the metadata of an item does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanDetail {
    /// Nothing.
    None,
    /// The tree of a directory.
    Directory(TreeId),
    /// The group of hard links that it belongs to in the snapshot.
    Links([u8; 16]),
}

/// What was seen of the items of one leaf page of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanPage {
    /// The page that they became.
    pub tree: TreeRef,
    /// Whether the directory ends with it.
    pub is_last: bool,
    /// The items by rising name, one for each entry of the page.
    pub entries: Vec<ScanEntry>,
}

impl ScanPage {
    /// The page as a branch of its directory.
    #[must_use]
    pub fn branch(&self) -> Option<Branch> {
        let last = self.last_name().cloned().or_else(|| EntryName::new(b"-").ok())?;
        Some(Branch { last, tree: self.tree })
    }

    /// The last name in it.
    #[must_use]
    pub fn last_name(&self) -> Option<&EntryName> {
        self.entries.last().map(|entry| &entry.name)
    }

    /// Returns the bytes to store, or nothing if the page's place is unknown.
    #[must_use]
    fn encode(&self) -> Option<Vec<u8>> {
        let mut encoder = Encoder::new();
        encoder.byte(VERSION);
        encoder.raw(self.tree.id.as_bytes());
        encoder.number(self.tree.hint?);
        self.tree.totals.encode(&mut encoder);
        encoder.byte(u8::from(self.is_last));
        encoder.number(self.entries.len() as u64);
        for entry in &self.entries {
            encoder.bytes(entry.name.as_bytes());
            encoder.raw(&entry.fingerprint.0);
            encoder.byte(u8::from(entry.atime.is_some()));
            if let Some(atime) = entry.atime {
                encoder.signed(atime.seconds());
                encoder.number(u64::from(atime.nanoseconds()));
            }
            match &entry.detail {
                ScanDetail::None => encoder.byte(0),
                ScanDetail::Directory(tree) => {
                    encoder.byte(1);
                    encoder.raw(tree.as_bytes());
                }
                ScanDetail::Links(group) => {
                    encoder.byte(2);
                    encoder.raw(group);
                }
            }
        }
        Some(encoder.finish())
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let tree = decode_tree(&mut decoder)?;
        let is_last = decoder.byte()? == 1;
        let count = decoder.count(TREE_PAGE_ITEMS_MAX, "the number of items")?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            entries.push(ScanEntry::decode(&mut decoder)?);
        }
        decoder.finish()?;
        Ok(Self { tree, is_last, entries })
    }
}

/// Takes the tree that a record names, at the front of the record.
fn decode_tree(decoder: &mut Decoder<'_>) -> Result<TreeRef, DecodeError> {
    if decoder.byte()? != VERSION {
        return Err(decoder.error("the record is of an unknown version"));
    }
    let id = TreeId::from_digest(decoder.array()?);
    let hint = Some(decoder.number()?);
    let totals = Totals::decode(decoder)?;
    Ok(TreeRef { id, hint, totals })
}

impl ScanEntry {
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let name = decoder.bytes(NAME_BYTES_MAX, "a name")?;
        let name = EntryName::new(name).map_err(|error| decoder.error(error.to_string()))?;
        let fingerprint = Fingerprint(decoder.array()?);
        let atime = if decoder.byte()? == 0 {
            None
        } else {
            Timestamp::new(decoder.signed()?, decoder.number32("nanoseconds")?)
        };
        let detail = match decoder.byte()? {
            0 => ScanDetail::None,
            1 => ScanDetail::Directory(TreeId::from_digest(decoder.array()?)),
            2 => ScanDetail::Links(decoder.array()?),
            _ => return Err(decoder.error("an item has an unknown detail")),
        };
        Ok(Self { name, fingerprint, atime, detail })
    }
}

/// The pages of one directory but the first, by their last names: what the keys of
/// an encrypted repository do not tell.
#[derive(Debug)]
pub(crate) struct ScanOrder {
    directory: ScanKey,
    pages: BTreeMap<EntryName, Vec<u8>>,
}

impl Repository {
    /// Returns the key of the directory at `path`, looked at in the way that
    /// `context` tells.
    #[must_use]
    pub fn scan_key(&self, context: &[u8], path: &[u8]) -> ScanKey {
        let key = ScanKey::new(context, path);
        let hidden = self.protection.name(b"icecore scan directory 1\0", &key.0);
        hidden.map_or(key, |hidden| ScanKey(leading(&hidden)))
    }

    fn decode_scan_page(&self, key: &[u8], value: &[u8]) -> Option<ScanPage> {
        let envelopes = &self.protection.envelopes;
        let record = envelopes.unwrap(RecordKind::ScanPage, &sha256(key), value).ok()?;
        ScanPage::decode(&record).ok()
    }

    fn next_hidden_page(
        &self,
        directory: ScanKey,
        last: &EntryName,
    ) -> Result<Option<ScanPage>, RepositoryError> {
        let mut order = self.scan_order.lock().unwrap_or_else(PoisonError::into_inner);
        if order.as_ref().is_none_or(|order| order.directory != directory) {
            let mut pages = BTreeMap::new();
            self.store.scan(Family::Scan, &directory.0, &mut |found, value| {
                if !found.starts_with(&directory.0) {
                    return ControlFlow::Break(());
                }
                let page = self.decode_scan_page(found, value);
                if let Some(name) = page.as_ref().and_then(ScanPage::last_name)
                    && found.len() > KEY_BYTES
                {
                    pages.insert(name.clone(), found.to_vec());
                }
                ControlFlow::Continue(())
            })?;
            *order = Some(ScanOrder { directory, pages });
        }
        let Some(order) = order.as_ref() else { return Ok(None) };
        for key in order
            .pages
            .range::<EntryName, _>((Bound::Excluded(last), Bound::Unbounded))
            .map(|(_, key)| key)
        {
            let value = self.store.get(Family::Scan, key)?;
            let page = value.and_then(|value| self.decode_scan_page(key, &value));
            let follows = |page: &ScanPage| page.entries.first().is_some_and(|e| e.name > *last);
            if let Some(page) = page.filter(follows) {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    /// Returns the first record of a directory, if there is one that makes
    /// sense.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn first_scan_page(&self, key: ScanKey) -> Result<Option<ScanPage>, RepositoryError> {
        let mut page = None;
        self.store.read(Family::Scan, &key.0, &mut |value| {
            page = self.decode_scan_page(&key.0, value);
        })?;
        Ok(page)
    }

    /// Returns the record behind the one that ends with `last`. Those that do not
    /// begin behind `last`, left by an older `create`, are passed over.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub fn next_scan_page(
        &self,
        key: ScanKey,
        last: &EntryName,
    ) -> Result<Option<ScanPage>, RepositoryError> {
        if self.is_encrypted() {
            return self.next_hidden_page(key, last);
        }
        let mut page = None;
        let mut first = key.page(&self.protection, Some(last));
        first.push(0);
        self.store.scan(Family::Scan, &first, &mut |found, value| {
            if !found.starts_with(&key.0) {
                return ControlFlow::Break(());
            }
            let follows = |page: &ScanPage| page.entries.first().is_some_and(|e| e.name > *last);
            page = self.decode_scan_page(found, value).filter(follows);
            if page.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(page)
    }

    /// Drops every record, or those whose tree does not lie under a sequence
    /// number that `is_live`. Durable before this returns.
    ///
    /// # Errors
    /// Fails if the store cannot be read or written.
    pub fn drop_scan_pages(&self, is_live: &dyn Fn(u64) -> bool) -> Result<(), RepositoryError> {
        let mut batch = Batch::new();
        let mut outcome = Ok(());
        self.store.scan(Family::Scan, &[], &mut |key, value| {
            let envelopes = &self.protection.envelopes;
            let record = envelopes.unwrap(RecordKind::ScanPage, &sha256(key), value).ok();
            let tree = record.and_then(|record| decode_tree(&mut Decoder::new(&record)).ok());
            if !tree.is_some_and(|tree| tree.hint.is_some_and(is_live)) {
                batch.delete(Family::Scan, key);
            }
            if batch.len() >= BATCH_CHANGES {
                let batch = std::mem::take(&mut batch);
                outcome = self.store.write(&batch, Durability::Buffered);
            }
            if outcome.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        outcome?;
        Ok(self.store.write(&batch, Durability::Synced)?)
    }
}

/// Changes of records on their way to the store.
#[derive(Debug, Default)]
pub(crate) struct ScanChanges {
    batch: Batch,
    bytes: usize,
}

impl ScanChanges {
    /// Keeps a record, the first one of its directory or another.
    pub(crate) fn put(
        &mut self,
        protection: &Protection,
        key: ScanKey,
        is_first: bool,
        page: &ScanPage,
    ) -> Result<(), RepositoryError> {
        let last = page.last_name().filter(|_| !is_first);
        let Some(record) = page.encode() else { return Ok(()) };
        let key = key.page(protection, last);
        let wrapped = protection.envelopes.wrap(RecordKind::ScanPage, &sha256(&key), record);
        let stored = wrapped.map_err(RepositoryError::seal)?;
        self.bytes += stored.len();
        self.batch.put(Family::Scan, key, stored);
        Ok(())
    }

    /// Forgets a record that is not the first one of its directory.
    pub(crate) fn forget(&mut self, protection: &Protection, key: ScanKey, last: &EntryName) {
        self.bytes += KEY_BYTES;
        self.batch.delete(Family::Scan, key.page(protection, Some(last)));
    }

    /// The bytes that wait.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes what waits.
    pub(crate) fn take(&mut self) -> Batch {
        self.bytes = 0;
        std::mem::take(&mut self.batch)
    }
}

/// Decodes a record of a source, whatever it is.
pub(crate) fn decode_any(bytes: &[u8]) {
    let _ = ScanPage::decode(bytes).map(|page| page.entries.len());
}

/// Seals any bytes as the first record of a directory, for fuzzers. Returns its key and
/// what to store.
pub(crate) fn forge_scan_page(
    repository: &Repository,
    key: ScanKey,
    record: Vec<u8>,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let key = key.page(&repository.protection, None);
    let envelopes = &repository.protection.envelopes;
    let stored = envelopes.wrap(RecordKind::ScanPage, &sha256(&key), record).ok()?;
    Some((key, stored))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> ScanPage {
        let entry = |name: &str, detail| ScanEntry {
            name: EntryName::new(name.as_bytes()).unwrap(),
            fingerprint: Fingerprint::of(name.as_bytes()),
            atime: (name == "a").then(|| Timestamp::new(-3, 7).unwrap()),
            detail,
        };
        let id = TreeId::from_digest([7; 32]);
        ScanPage {
            tree: TreeRef { id, hint: Some(9), totals: Totals { files: 3, ..Totals::default() } },
            is_last: true,
            entries: vec![
                entry("a", ScanDetail::None),
                entry("b", ScanDetail::Directory(id)),
                entry("c", ScanDetail::Links([1; 16])),
            ],
        }
    }

    #[test]
    fn a_record_survives_its_encoding_and_no_cut_one_is_taken_for_whole() {
        let page = page();
        let bytes = page.encode().unwrap();
        assert_eq!(ScanPage::decode(&bytes), Ok(page.clone()));
        for end in 0..bytes.len() {
            assert!(ScanPage::decode(&bytes[..end]).is_err(), "{end}");
        }
        let unknown = TreeRef { hint: None, ..page.tree };
        assert_eq!(ScanPage { tree: unknown, ..page }.encode(), None);
    }

    #[test]
    fn directories_and_ways_to_look_at_them_have_keys_of_their_own() {
        let keys = [(b"a", b"/x"), (b"b", b"/x"), (b"a", b"/y")];
        let keys = keys.map(|(context, path)| ScanKey::new(context, path));
        assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[1] != keys[2]);
        assert_ne!(ScanKey::new(b"ab", b"c"), ScanKey::new(b"a", b"bc"));
    }
}
