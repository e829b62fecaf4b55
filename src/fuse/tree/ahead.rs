//! Carrying out what was planned to be sent before it is asked for.

use fuser::{INodeNo, Notifier};

use super::Tree;
use crate::dag::Kind;
use crate::fuse::ahead::{Ahead, NumberOrder, Task};
use crate::fuse::nodes::What;
use crate::view::{EntryHandle, PathKey};

impl Tree {
    /// Notes that a file is being read from its beginning, and sends those that
    /// will be read next.
    pub(crate) fn note_read(&self, ahead: &Ahead, id: u64, kernel: &Notifier) {
        let Some(What::Item(file)) = self.nodes.get(id).map(|node| node.what) else { return };
        match ahead.note(&file) {
            None => {}
            Some(Task::Send(indexes)) => {
                ahead.send(|| self.send_files(id, &file, indexes, kernel));
            }
            Some(Task::Sort) => {
                let Some(path) = self.directory_path(id) else { return };
                let numbers = self.view.inode_numbers();
                let entries = file.page_entries().iter();
                let numbers: Vec<u64> = entries.map(|entry| numbers.entry(path, entry)).collect();
                ahead.sorted(&file, NumberOrder::new(&numbers));
            }
        }
    }

    /// Sends files of the page of a file that the kernel knows as `id`.
    fn send_files(&self, id: u64, file: &EntryHandle, indexes: Vec<usize>, kernel: &Notifier) {
        // The place of a page's entries follows from any one of them.
        let Some(path) = self.directory_path(id) else { return };
        for file in indexes.into_iter().filter_map(|index| file.neighbour(index)) {
            self.send_file(path, id, &file, kernel);
        }
    }

    /// The path of the directory through which a node was reached last.
    fn directory_path(&self, id: u64) -> Option<PathKey> {
        let parent = self.nodes.get(id)?.parent;
        match self.nodes.get(parent)?.what {
            What::Directory(directory) => Some(directory.path),
            What::Difference(difference) => Some(difference.path),
            _ => None,
        }
    }

    /// Sends a file, unless it is another name of the one that is being read: the kernel
    /// holds the page of that one until it has the answer, and would wait for ever.
    fn send_file(&self, path: PathKey, read: u64, file: &EntryHandle, kernel: &Notifier) {
        let Some(entry) = file.get() else { return };
        let Kind::File(content) = &entry.node.kind else { return };
        let number = self.view.inode_numbers().entry(path, entry);
        // The kernel takes it only for a file that it knows.
        let Some(id) = self.nodes.find_item(number, file).filter(|id| *id != read) else { return };
        let length = usize::try_from(content.size).unwrap_or(usize::MAX);
        let Ok(bytes) = self.view.read(content, 0, length) else { return };
        let _ = kernel.store(INodeNo(id), 0, bytes.as_slice());
    }
}
