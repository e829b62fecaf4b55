//! What files hold that may be renames of each other.

use std::collections::HashMap;

use crate::base::hash::{Digest256, tagged};
use crate::dag::{Body, Content, Segment};
use crate::diff::change::{Difference, FileContent, ItemKind};
use crate::diff::comparison::Comparison;
use crate::diff::error::DiffError;
use crate::diff::live_content::{self, ReadError};
use crate::diff::pairs::Pairing;

/// What files hold, by the places of their differences; none is hashed twice.
#[derive(Default)]
pub(super) struct ContentKeys(HashMap<usize, Option<Digest256>>);

impl ContentKeys {
    /// What two equal files have in common.
    pub(super) fn at(
        &mut self,
        pairing: &Pairing<'_, '_>,
        place: usize,
    ) -> Result<Option<Digest256>, DiffError> {
        if let Some(known) = self.0.get(&place) {
            return Ok(*known);
        }
        let Some(difference) = pairing.at(place) else { return Ok(None) };
        let key = pairing.comparison.content_key(difference)?;
        self.0.insert(place, key);
        Ok(key)
    }

    /// Whether two files hold the same.
    pub(super) fn agree(
        &mut self,
        pairing: &Pairing<'_, '_>,
        one: usize,
        other: usize,
    ) -> Result<bool, DiffError> {
        let with_holes = |stored, live| {
            let stored = pairing.at(stored).and_then(unhashed);
            stored.zip(pairing.at(live).filter(|it| is_live(it)))
        };
        if let Some((stored, live)) = with_holes(one, other).or_else(|| with_holes(other, one)) {
            return pairing.comparison.holds(live, stored);
        }
        let keys = (self.at(pairing, one)?, self.at(pairing, other)?);
        Ok(keys.0.is_some() && keys.0 == keys.1)
    }
}

/// The content of a file of a snapshot if its hash is not known.
pub(super) fn unhashed(difference: &Difference) -> Option<&Content> {
    match &difference.item().kind {
        ItemKind::File(FileContent::Stored(content)) => {
            content.known_sha256().is_none().then_some(content)
        }
        _ => None,
    }
}

fn is_live(difference: &Difference) -> bool {
    matches!(difference.item().kind, ItemKind::File(FileContent::Live(_)))
}

impl Comparison<'_> {
    /// What two equal files have in common, if that can be told: live ones are
    /// hashed, but nobody reads a terabyte of holes of a snapshot for that.
    fn content_key(&self, difference: &Difference) -> Result<Option<Digest256>, DiffError> {
        match &difference.item().kind {
            ItemKind::File(FileContent::Stored(content)) => {
                let known = content.known_sha256();
                Ok(known.or_else(|| (!self.has_live_side()).then(|| segments_key(content))))
            }
            ItemKind::File(FileContent::Live(_)) => {
                self.go_on()?;
                let cancelled = || self.monitor.cancelled();
                // One that cannot be read is not renamed, as far as is known.
                let file = self.open_live(&difference.path).ok();
                Ok(file.and_then(|file| live_content::sha256(&file, &cancelled).ok()))
            }
            _ => Ok(None),
        }
    }

    /// Whether a live file holds what a file of a snapshot does. What cannot be
    /// read holds something else, as far as is known.
    fn holds(&self, live: &Difference, stored: &Content) -> Result<bool, DiffError> {
        self.go_on()?;
        let cancelled = || self.monitor.cancelled();
        let opened = self.open_live(&live.path).map_err(ReadError::Live);
        let compared = opened
            .and_then(|file| live_content::is_same(self.repository, stored, &file, &cancelled));
        match compared {
            Ok(same) => Ok(same),
            Err(ReadError::Cancelled) => Err(DiffError::Cancelled),
            Err(ReadError::Repository(error)) if !error.is_damage() => Err(error.into()),
            Err(ReadError::Repository(_) | ReadError::Live(_)) => Ok(false),
        }
    }
}

/// A digest that two contents of one repository share just if they are the same,
/// of those whose hash is not known.
fn segments_key(content: &Content) -> Digest256 {
    let mut bytes = Vec::new();
    match &content.body {
        Body::Inline(inline) => bytes.extend_from_slice(inline),
        Body::List(list) => bytes.extend_from_slice(list.id.as_bytes()),
        Body::Segments(segments) => {
            for segment in segments {
                bytes.extend_from_slice(&segment.bytes().to_le_bytes());
                if let Segment::Chunk { id, .. } = segment {
                    bytes.extend_from_slice(id.as_bytes());
                }
            }
        }
    }
    tagged(b"icecore diff segments 1\0", &bytes)
}
