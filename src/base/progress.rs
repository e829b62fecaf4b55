//! How long work tells whoever watches where it stands.

use std::path::Path;

/// Receives the progress of a command. Every method has a default that does
/// nothing, and may be called from several threads.
pub trait Monitor: Send + Sync {
    /// A file or directory is about to be read.
    fn path(&self, _path: &Path) {}

    /// So many more items and bytes are done.
    fn advance(&self, _items: u64, _bytes: u64) {}

    /// Something was left out or went wrong that does not end the work.
    fn warn(&self, _message: &str) {}

    /// The work moved on to another phase.
    fn phase(&self, _name: &str) {}

    /// Whether the work should stop as soon as it can do so cleanly.
    fn cancelled(&self) -> bool {
        false
    }
}

/// A monitor that shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Monitor for Silent {}
