//! Where a long list is cut into pages.
//!
//! Boundaries are content-defined, as in a chunker: whether a page ends behind
//! an item depends on that item's hash, so that an insertion moves no boundary
//! but its own, and one change in a directory of a million rewrites one page
//! and the spine above it. The fewest and the most items bound a page; a byte
//! limit closes pages of unusually large items early.

use crate::base::limits::{
    TREE_PAGE_BYTES_SOFT, TREE_PAGE_ITEMS_MAX, TREE_PAGE_ITEMS_MIN, TREE_PAGE_ITEMS_SPREAD,
};

/// Whether a page of `items` items and `bytes` encoded bytes ends behind an item
/// whose hash is `boundary`.
#[must_use]
pub fn page_ends(items: usize, bytes: usize, boundary: impl FnOnce() -> u64) -> bool {
    if items >= TREE_PAGE_ITEMS_MAX || bytes >= TREE_PAGE_BYTES_SOFT {
        return true;
    }
    items >= TREE_PAGE_ITEMS_MIN && boundary().is_multiple_of(TREE_PAGE_ITEMS_SPREAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_at_a_boundary_only_between_its_bounds() {
        assert!(!page_ends(TREE_PAGE_ITEMS_MIN - 1, 0, || 0));
        assert!(page_ends(TREE_PAGE_ITEMS_MIN, 0, || 0));
        assert!(!page_ends(TREE_PAGE_ITEMS_MIN, 0, || 1));
        assert!(page_ends(TREE_PAGE_ITEMS_MAX, 0, || 1));
        assert!(page_ends(1, TREE_PAGE_BYTES_SOFT, || 1));
    }
}
