//! How long work tells whoever watches where it stands.

use std::path::Path;

/// Receives the progress of a command. Every method has a default that does
/// nothing, and may be called from several threads.
pub trait Monitor: Send + Sync {
    /// A file or directory is about to be read.
    fn path(&self, _path: &Path) {}

    /// So many more items and bytes are done.
    fn advance(&self, _items: u64, _bytes: u64) {}

    /// So many bytes of sources were read; told before what was made of them is done.
    fn read(&self, _bytes: u64) {}

    /// All there is to do, as far as is known: items and bytes.
    fn total(&self, _items: u64, _bytes: u64) {}

    /// Whether it is worth finding out how much there is to do.
    fn wants_total(&self) -> bool {
        false
    }

    /// Something was left out or went wrong that does not end the work.
    fn warn(&self, _message: &str) {}

    /// The same, of an item of the sources that is not saved whole.
    fn problem(&self, message: &str) {
        self.warn(message);
    }

    /// The work moved on to another phase.
    fn phase(&self, _name: &str) {}

    /// The work moved on to another phase, and counts from nothing again: in it,
    /// there is so much to do, items and bytes.
    fn begin(&self, name: &str, items: u64, bytes: u64) {
        self.phase(name);
        self.total(items, bytes);
    }

    /// Whether the work should stop as soon as it can do so cleanly.
    fn cancelled(&self) -> bool {
        false
    }
}

/// A monitor that shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Monitor for Silent {}
