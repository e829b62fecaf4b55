//! What tells the master key of a repository from that of another one: the mark in its
//! configuration, or if that is lost, its records.
//!
//! A key file that opens proves nothing: whoever writes to the repository can put one of
//! another repository there that has the same password.
//!
//! Imports: `crypto`, `store`, and the configuration and envelopes of this layer.

use std::ops::ControlFlow;

use crate::crypto::MasterKey;
use crate::repository::config::Config;
use crate::repository::envelope::{EnvelopeError, Envelopes, is_sealed};
use crate::repository::error::RepositoryError;
use crate::repository::layout::Layout;
use crate::store::rocks::RocksStore;
use crate::store::{Family, Store as _};

/// Records of a family that are tried at most: any of them may be damaged, and not all
/// of many are.
const RECORDS_MAX: usize = 256;

/// What a master key is checked against.
pub(super) enum Proof {
    /// The configuration, which is whole.
    Mark(Config),
    /// The records of the store, since the configuration is lost.
    Records(RocksStore),
    /// Nothing: the store cannot be read either.
    Nothing,
}

impl Proof {
    /// Finds it in the repository at `layout`.
    ///
    /// # Errors
    /// Fails if a newer program made the repository, or parts of it lie elsewhere.
    pub(super) fn of(layout: &Layout) -> Result<Self, RepositoryError> {
        match Config::read(layout) {
            Ok(config) => Ok(Self::Mark(config)),
            Err(RepositoryError::NotFound { .. } | RepositoryError::Config { .. }) => {
                layout.check_places()?;
                let store = RocksStore::open_reader(&layout.db());
                Ok(store.map_or(Self::Nothing, Self::Records))
            }
            Err(error) => Err(error),
        }
    }

    /// Returns whether that is the master key of the repository at `layout`; false if
    /// there is nothing to tell it by.
    ///
    /// # Errors
    /// Fails if it is another one's, or the repository is not encrypted.
    pub(super) fn check(
        &self,
        layout: &Layout,
        master: &MasterKey,
    ) -> Result<bool, RepositoryError> {
        match self {
            Self::Mark(config) => config.check_key(layout, master).map(|()| true),
            Self::Nothing => Ok(false),
            Self::Records(store) => match opens_records(store, master) {
                Some(false) => Err(RepositoryError::ForeignKey { path: layout.root().to_owned() }),
                known => Ok(known.is_some()),
            },
        }
    }
}

/// Whether a master key opens any record; unknown if none was found that is sealed.
fn opens_records(store: &RocksStore, master: &MasterKey) -> Option<bool> {
    let envelopes = Envelopes::Sealed(master.keys().sealing);
    let mut opens = None;
    for family in [Family::Snapshots, Family::Trees, Family::Data] {
        let mut left = RECORDS_MAX;
        // What cannot be read tells nothing.
        let _ = store.scan(family, &[], &mut |key, value| {
            if is_sealed(family, key, value) {
                let opened = envelopes.open_any(value, value.len());
                // Whatever is wrong with the rest, it was sealed under this key.
                let is_ours =
                    !matches!(opened, Err(EnvelopeError::Seal(_) | EnvelopeError::NotEncrypted));
                opens = Some(opens.unwrap_or_default() || is_ours);
            }
            left -= 1;
            match opens == Some(true) || left == 0 {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
    }
    opens
}
