//! What is read of a store's own files without the engine.

use std::ops::ControlFlow;

use crate::store::rocks::decoders::{KEY_BYTES_MAX, visit_blocks};

/// A table, block after block, as what is left of a damaged store is read.
pub(super) fn blocks(input: &[u8]) {
    let found = read(input);
    // What is cut off takes nothing away from what is before it.
    let part = read(input.split_at(input.len() / 2).0);
    assert!(found.starts_with(&part), "a cut changes what is before it");
}

fn read(input: &[u8]) -> Vec<(Vec<u8>, usize)> {
    let mut found: Vec<(Vec<u8>, usize)> = Vec::new();
    let mut value_bytes = 0;
    let visited = visit_blocks(input, &mut |key, value| {
        assert!(key.len() <= KEY_BYTES_MAX, "a key without a bound");
        assert!(found.last().is_none_or(|(last, _)| last.as_slice() < key), "keys do not rise");
        value_bytes += value.len();
        found.push((key.to_vec(), value.len()));
        ControlFlow::Continue(())
    });
    assert!(visited.is_ok(), "{visited:?}");
    assert!(value_bytes <= input.len(), "more than there is");
    found
}
