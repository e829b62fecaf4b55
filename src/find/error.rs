//! What can go wrong in finding.

use crate::patterns::PatternError;
use crate::repository::RepositoryError;

/// A failure that ends a search.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// The repository cannot be read.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A pattern makes no sense.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// Whoever watches asked to stop.
    #[error("Cancelled; what was found so far is all that was told")]
    Cancelled,
}
