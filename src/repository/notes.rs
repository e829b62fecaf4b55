//! Notes: what was said of a snapshot after it was taken. The manifest stays as
//! it is, since its hash is the id; a note is a record beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use crate::base::codec::{DecodeError, Decoder, Encoder};
use crate::base::id::SnapshotId;
use crate::base::limits::{MANIFEST_LIST_MAX, MANIFEST_TEXT_BYTES_MAX};
use crate::base::time::Timestamp;
use crate::dag::Manifest;
use crate::repository::envelope::RecordKind;
use crate::repository::error::RepositoryError;
use crate::repository::objects::Repository;
use crate::repository::writer::Writer;
use crate::store::{Batch, Durability, Family};

pub(crate) const PREFIX: &str = "note/";
const VERSION: u8 = 1;

/// What keeps a snapshot from every policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Until somebody takes the pin away.
    Forever,
    /// Up to and including that time.
    Until(Timestamp),
}

impl Pin {
    /// Whether it still holds.
    #[must_use]
    pub fn holds(self, now: Timestamp) -> bool {
        match self {
            Self::Forever => true,
            Self::Until(end) => now <= end,
        }
    }
}

/// What was said of a snapshot after it was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// The tags that it has now, if they are not those it was taken with.
    pub tags: Option<Vec<String>>,
    /// Whether and how long it is pinned.
    pub pin: Option<Pin>,
}

/// How a note is to change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoteChange {
    /// Tags in the place of all others.
    pub set: Option<Vec<String>>,
    /// More tags.
    pub add: Vec<String>,
    /// Tags to take away.
    pub remove: Vec<String>,
    /// The new pin, or that there is none.
    pub pin: Option<Option<Pin>>,
}

/// Stands for a note that cannot be read: no policy removes the snapshot.
const UNKNOWN: Note = Note { tags: None, pin: Some(Pin::Forever) };

/// The notes of a repository.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) by_id: BTreeMap<SnapshotId, Note>,
    pub(crate) damaged: Vec<RepositoryError>,
}

impl Note {
    fn is_empty(&self) -> bool {
        self.tags.is_none() && self.pin.is_none()
    }

    fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.byte(VERSION);
        encoder.byte(u8::from(self.tags.is_some()));
        if let Some(tags) = &self.tags {
            encoder.number(tags.len() as u64);
            tags.iter().for_each(|tag| encoder.bytes(tag.as_bytes()));
        }
        match self.pin {
            None => encoder.byte(0),
            Some(Pin::Forever) => encoder.byte(1),
            Some(Pin::Until(end)) => {
                encoder.byte(2);
                encode_time(&mut encoder, end);
            }
        }
        encoder.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        if decoder.byte()? != VERSION {
            return Err(decoder.error("the note is of an unknown version"));
        }
        let tags = match decoder.byte()? {
            0 => None,
            1 => {
                let count = decoder.count(MANIFEST_LIST_MAX, "the number of tags")?;
                let tag = |_| decoder.text(MANIFEST_TEXT_BYTES_MAX, "a tag").map(str::to_owned);
                Some((0..count).map(tag).collect::<Result<_, _>>()?)
            }
            _ => return Err(decoder.error("the note says nothing sensible of tags")),
        };
        let pin = match decoder.byte()? {
            0 => None,
            1 => Some(Pin::Forever),
            2 => Some(Pin::Until(decode_time(&mut decoder)?)),
            _ => return Err(decoder.error("the pin is of an unknown kind")),
        };
        decoder.finish()?;
        Ok(Self { tags, pin })
    }
}

pub(crate) fn encode_time(encoder: &mut Encoder, time: Timestamp) {
    encoder.signed(time.seconds());
    encoder.number(u64::from(time.nanoseconds()));
}

pub(crate) fn decode_time(decoder: &mut Decoder<'_>) -> Result<Timestamp, DecodeError> {
    let seconds = decoder.signed()?;
    let nanoseconds = decoder.number32("the nanoseconds")?;
    Timestamp::new(seconds, nanoseconds)
        .ok_or_else(|| decoder.error("the nanoseconds are no fraction of a second"))
}

/// The key of the record about a snapshot.
pub(crate) fn key(prefix: &str, id: &SnapshotId) -> Vec<u8> {
    [prefix.as_bytes(), id.as_bytes()].concat()
}

/// Visits the records of `meta` under a prefix with the ids in their keys.
pub(crate) fn scan(
    repository: &Repository,
    prefix: &str,
    visit: &mut dyn FnMut(SnapshotId, &[u8]),
) -> Result<(), RepositoryError> {
    repository.store.scan(Family::Meta, prefix.as_bytes(), &mut |key, value| {
        let Some(id) = key.strip_prefix(prefix.as_bytes()) else { return ControlFlow::Break(()) };
        if let Some(id) = SnapshotId::from_slice(id) {
            visit(id, value);
        }
        ControlFlow::Continue(())
    })?;
    Ok(())
}

impl Repository {
    /// Returns what was said of a snapshot.
    ///
    /// # Errors
    /// Fails if the store cannot be read or the note is damaged.
    pub fn note(&self, id: &SnapshotId) -> Result<Note, RepositoryError> {
        let value = self.store.get(Family::Meta, &key(PREFIX, id))?;
        value.map_or(Ok(Note::default()), |value| self.decode_note(id, &value))
    }

    /// Returns a snapshot's manifest with the tags that it has now.
    pub(crate) fn noted_manifest(
        &self,
        id: &SnapshotId,
    ) -> Result<Option<Manifest>, RepositoryError> {
        let Some(mut manifest) = self.manifest(id)? else { return Ok(None) };
        match self.note(id) {
            Ok(note) => manifest.tags = note.tags.unwrap_or(manifest.tags),
            // A damaged note makes no snapshot unreadable.
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(error),
        }
        Ok(Some(manifest))
    }

    /// Returns all notes. What a damaged one said is unknown, so its snapshot
    /// counts as pinned.
    pub(crate) fn notes(&self) -> Result<Notes, RepositoryError> {
        let mut notes = Notes::default();
        scan(self, PREFIX, &mut |id, value| {
            let note = self.decode_note(&id, value).unwrap_or_else(|error| {
                notes.damaged.push(error);
                UNKNOWN
            });
            notes.by_id.insert(id, note);
        })?;
        Ok(notes)
    }

    /// Changes notes, in one synced batch.
    pub(crate) fn write_notes(
        &self,
        ids: &BTreeSet<SnapshotId>,
        change: &NoteChange,
    ) -> Result<(), RepositoryError> {
        let mut batch = Batch::new();
        for id in ids {
            let gone = || RepositoryError::NoSuchSnapshot { name: id.to_string() };
            let manifest = self.manifest(id)?.ok_or_else(gone)?;
            let note = match self.note(id) {
                // Setting everything anew is how a damaged note is mended.
                Err(error) if error.is_damage() && change.set.is_some() && change.pin.is_some() => {
                    Note::default()
                }
                note => note?,
            };
            let note = change.apply(&manifest.tags, note)?;
            if note.is_empty() {
                Self::forget_note(&mut batch, id);
            } else {
                let envelopes = &self.protection.envelopes;
                let stored = envelopes.wrap(RecordKind::Note, id.as_bytes(), note.encode());
                batch.put(Family::Meta, key(PREFIX, id), stored.map_err(RepositoryError::seal)?);
            }
        }
        Ok(self.store.write(&batch, Durability::Synced)?)
    }

    /// Returns the record of a note that is not known.
    pub(crate) fn unknown_note(&self, id: &SnapshotId) -> Result<Vec<u8>, RepositoryError> {
        let envelopes = &self.protection.envelopes;
        let wrapped = envelopes.wrap(RecordKind::Note, id.as_bytes(), UNKNOWN.encode());
        wrapped.map_err(RepositoryError::seal)
    }

    pub(crate) fn decode_note(
        &self,
        id: &SnapshotId,
        value: &[u8],
    ) -> Result<Note, RepositoryError> {
        let damaged = |detail: String| RepositoryError::Damaged {
            kind: "note on snapshot",
            id: id.to_string(),
            detail,
        };
        let note = self.protection.envelopes.unwrap(RecordKind::Note, id.as_bytes(), value);
        let note = note.map_err(|error| damaged(error.to_string()))?;
        Note::decode(&note).map_err(|error| damaged(error.to_string()))
    }

    /// Adds to a batch that what was said of a snapshot is forgotten.
    pub(crate) fn forget_note(batch: &mut Batch, id: &SnapshotId) {
        batch.delete(Family::Meta, key(PREFIX, id));
    }
}

impl Writer {
    /// Changes tags and pins of snapshots, all or none.
    ///
    /// # Errors
    /// Fails if a snapshot is not there, if it would have more tags than a
    /// record may hold, or if the store cannot be read or written.
    pub fn change_notes(
        &self,
        ids: &BTreeSet<SnapshotId>,
        change: &NoteChange,
    ) -> Result<(), RepositoryError> {
        self.write_notes(ids, change)?;
        self.close()
    }
}

impl NoteChange {
    fn apply(&self, taken_with: &[String], note: Note) -> Result<Note, RepositoryError> {
        let before = note.tags.unwrap_or_else(|| taken_with.to_vec());
        let mut tags = self.set.clone().unwrap_or(before);
        for tag in &self.add {
            if !tags.contains(tag) {
                tags.push(tag.clone());
            }
        }
        tags.retain(|tag| !self.remove.contains(tag));
        let longest = tags.iter().map(String::len).max().unwrap_or(0);
        if tags.len() > MANIFEST_LIST_MAX || longest > MANIFEST_TEXT_BYTES_MAX {
            return Err(RepositoryError::TooManyTags { max: MANIFEST_LIST_MAX });
        }
        let tags = (tags != taken_with).then_some(tags);
        Ok(Note { tags, pin: self.pin.unwrap_or(note.pin) })
    }
}

/// Decodes a note, and encodes what it says again.
pub(crate) fn decode_and_encode(bytes: &[u8]) -> Option<Vec<u8>> {
    Note::decode(bytes).ok().map(|note| note.encode())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_note_survives_and_any_bytes_decode_or_fail(
            tags in proptest::option::of(proptest::collection::vec(".{0,20}", 0..5)),
            seconds: i64, kind in 0..3_u8, bytes: Vec<u8>
        ) {
            let end = Timestamp::new(seconds, 5).unwrap();
            let pin = [None, Some(Pin::Forever), Some(Pin::Until(end))][usize::from(kind)];
            let note = Note { tags, pin };
            let encoded = note.encode();
            prop_assert_eq!(Note::decode(&encoded).unwrap(), note);
            prop_assert!(Note::decode(&encoded[..encoded.len() - 1]).is_err());
            let _ = Note::decode(&bytes);
        }
    }

    #[test]
    fn tags_are_added_removed_and_set_and_what_equals_the_manifest_is_not_kept() {
        let taken = ["a".to_owned(), "b".to_owned()];
        let list = |text: &str| text.split_terminator(',').map(str::to_owned).collect::<Vec<_>>();
        let apply = |change: NoteChange, before: Option<&str>| {
            let note = Note { tags: before.map(list), pin: Some(Pin::Forever) };
            change.apply(&taken, note).unwrap()
        };
        let add = NoteChange { add: list("b,c"), remove: list("a"), ..NoteChange::default() };
        assert_eq!(apply(add.clone(), None).tags, Some(list("b,c")));
        assert_eq!(apply(add, Some("x")).tags, Some(list("x,b,c")));
        let none = NoteChange { set: Some(vec![]), pin: Some(None), ..NoteChange::default() };
        assert_eq!(apply(none, None), Note { tags: Some(vec![]), pin: None });
        let back = NoteChange { set: Some(taken.to_vec()), ..NoteChange::default() };
        assert_eq!(apply(back, Some("x")), Note { tags: None, pin: Some(Pin::Forever) });
        let many = (0..=MANIFEST_LIST_MAX).map(|number| number.to_string()).collect();
        let many = NoteChange { add: many, ..NoteChange::default() };
        assert!(many.apply(&taken, Note::default()).is_err());
    }
}
