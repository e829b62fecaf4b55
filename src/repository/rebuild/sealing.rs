//! Whether a repair would take all that there is for damage, since the configuration or
//! the key is not that of what is stored.
//!
//! Whoever takes the encryption out of `config`, or puts another repository's keys there,
//! makes every record one that does not open. Damage does that to a few of them.
//!
//! Imports: `base`, `store`, and the envelopes of this layer.

use std::ops::ControlFlow;

use crate::base::limits::TREE_BYTES_MAX;
use crate::repository::envelope::{Envelopes, is_sealed};
use crate::repository::error::RepositoryError;
use crate::repository::layout::Layout;
use crate::repository::protection::Protection;
use crate::store::rocks::RocksStore;
use crate::store::{Family, Store};

/// Records of a family that are looked at: any of them may be damaged, and not all of
/// many are.
const RECORDS_MAX: usize = 256;

/// Refuses a configuration or a key that is not that of what is stored, as far as that
/// can be read.
///
/// # Errors
/// Fails if nothing that is stored opens with the key, or what is stored is encrypted and
/// the configuration says that it is not.
pub(super) fn refuse_foreign(
    layout: &Layout,
    protection: &Protection,
) -> Result<(), RepositoryError> {
    let is_there = layout.db().is_dir();
    let db = if is_there { layout.db() } else { layout.rebuilt() };
    let Ok(store) = RocksStore::open_reader(&db) else { return Ok(()) };
    let Seen { sealed, opened } = look(&store, &protection.envelopes);
    let detail = match protection.envelopes {
        Envelopes::Plain if sealed > opened => {
            "what is stored is encrypted, and its `config` says that it is not; put `config` and \
             `keys` back as they were"
        }
        Envelopes::Sealed(_) if sealed > 0 && opened == 0 => {
            "nothing of what is stored opens with this key, which must be another repository's; \
             put `config` and `keys` back as they were, or empty `keys` and say `icecore key \
             import`"
        }
        _ => return Ok(()),
    };
    Err(RepositoryError::NotRepaired { path: layout.root().to_owned(), detail })
}

/// What was found among the first records.
#[derive(Default)]
struct Seen {
    /// Those that are encrypted.
    sealed: usize,
    /// Those that open, encrypted or not as all should be.
    opened: usize,
}

fn look(store: &dyn Store, envelopes: &Envelopes) -> Seen {
    let mut seen = Seen::default();
    for family in [Family::Snapshots, Family::Trees, Family::Data] {
        let mut left = RECORDS_MAX;
        // What cannot be read tells nothing.
        let _ = store.scan(family, &[], &mut |key, value| {
            seen.sealed += usize::from(is_sealed(family, key, value));
            seen.opened += usize::from(envelopes.open_any(value, TREE_BYTES_MAX).is_ok());
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        // Content tells no more than the rest.
        if seen.sealed + seen.opened > 0 && family != Family::Snapshots {
            break;
        }
    }
    seen
}
