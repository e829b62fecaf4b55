//! Sizes and counts: of all that is stored, of what snapshots hold, and of what
//! each holds alone.
//!
//! Purpose: [`totals`] sums up the index. [`Inventory`] also keeps what it says
//! of each object, so that [`usage`] can walk the trees of many snapshots
//! without asking the index for each object again; [`growth`] makes a history of
//! that.
//!
//! Invariants:
//! - A tree is read twice at most, however many snapshots hold it.
//! - A hint is believed only if the object there has the right id.
//! - Memory is 12 bytes for each object that the repository holds.
//!
//! Imports: `base`, `dag`, `repository`, `store`.

mod growth;
mod inventory;
mod usage;

#[cfg(test)]
mod tests;

use crate::repository::RepositoryError;

pub use growth::{GrowthPoint, growth};
pub use inventory::{Inventory, Totals, totals};
pub use usage::{Share, Usage, usage};

/// A failure that ends the counting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatisticsError {
    /// The repository cannot be read.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// Whoever watches asked to stop.
    #[error("Cancelled; nothing was counted")]
    Cancelled,
}
