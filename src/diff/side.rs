//! Two directories side by side: one level of a comparison.

use std::cmp::Ordering;
use std::os::fd::AsFd as _;

use rustix::io::Errno;

use crate::diff::change::Item;
use crate::diff::comparison::Found;
use crate::diff::live::{self, LiveDirectory};
use crate::repository::{DirectoryCursor, RepositoryError};

/// A directory of one side.
pub(super) enum Side<'a> {
    /// There is none.
    Nothing,
    /// Of a snapshot.
    Stored(DirectoryCursor<'a>),
    /// On a live file system.
    Live(LiveDirectory),
}

/// The items of one name.
pub(super) struct Met {
    pub(super) name: Vec<u8>,
    pub(super) before: Result<Option<Found>, Errno>,
    pub(super) after: Result<Option<Found>, Errno>,
}

/// The directories of one path.
pub(super) struct Level<'a> {
    before: Side<'a>,
    after: Side<'a>,
    /// Bytes of the path of the directories.
    pub(super) path_bytes: usize,
    name: Vec<u8>,
    /// What was put back, under the last name.
    later: Option<Found>,
}

impl<'a> Level<'a> {
    pub(super) const fn new(before: Side<'a>, after: Side<'a>, path_bytes: usize) -> Self {
        Self { before, after, path_bytes, name: Vec::new(), later: None }
    }

    /// The live directory, if there is one.
    pub(super) const fn live(&self) -> Option<&LiveDirectory> {
        match (&self.before, &self.after) {
            (Side::Live(directory), _) | (_, Side::Live(directory)) => Some(directory),
            _ => None,
        }
    }

    /// Whether only one side has this directory.
    pub(super) const fn is_one_sided(&self) -> bool {
        matches!((&self.before, &self.after), (Side::Nothing, _) | (_, Side::Nothing))
    }

    /// Makes the next step tell that item of the second side again, alone.
    pub(super) fn put_back(&mut self, found: Found) {
        self.later = Some(found);
    }

    /// Goes on to the next name at which the directories may differ.
    pub(super) fn next(&mut self) -> Result<Option<Met>, RepositoryError> {
        if let Some(later) = self.later.take() {
            let name = self.name.clone();
            return Ok(Some(Met { name, before: Ok(None), after: Ok(Some(later)) }));
        }
        self.skip_equal()?;
        let order = match (self.before.peek()?, self.after.peek()?) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(before), Some(after)) => before.cmp(after),
        };
        let first = if order.is_le() { &mut self.before } else { &mut self.after };
        self.name.clear();
        self.name.extend_from_slice(first.peek()?.unwrap_or_default());
        let mut met = Met { name: self.name.clone(), before: Ok(None), after: Ok(None) };
        if order.is_le() {
            met.before = self.before.take()?;
        }
        if order.is_ge() {
            met.after = self.after.take()?;
        }
        Ok(Some(met))
    }

    /// Goes behind pages and entries that two directories of snapshots have in
    /// common. Entries are equal with their hints, or looked at more closely.
    fn skip_equal(&mut self) -> Result<(), RepositoryError> {
        let (Side::Stored(before), Side::Stored(after)) = (&mut self.before, &mut self.after)
        else {
            return Ok(());
        };
        loop {
            before.skip_equal_pages(after)?;
            let entries = (before.entry()?, after.entry()?);
            if !matches!(entries, (Some(one), Some(other)) if one == other) {
                return Ok(());
            }
            before.advance();
            after.advance();
        }
    }
}

impl Side<'_> {
    fn peek(&mut self) -> Result<Option<&[u8]>, RepositoryError> {
        Ok(match self {
            Self::Nothing => None,
            Self::Stored(cursor) => cursor.entry()?.map(|entry| entry.name.as_bytes()),
            Self::Live(directory) => directory.peek(),
        })
    }

    /// Looks at the item here and goes behind it. A live one may be gone.
    fn take(&mut self) -> Result<Result<Option<Found>, Errno>, RepositoryError> {
        Ok(match self {
            Self::Nothing => Ok(None),
            Self::Stored(cursor) => {
                let item = cursor.entry()?.map(|entry| Item::from(&entry.node));
                cursor.advance();
                Ok(item.map(|item| Found { item, live: None }))
            }
            Self::Live(directory) => {
                let name = directory.peek().unwrap_or_default();
                let item = live::item(directory.as_fd(), name);
                directory.advance();
                item.map(|item| item.map(Found::from))
            }
        })
    }
}
