//! Reading files, and seeking the data and the holes in them.

use fuser::Errno;

use super::Tree;
use crate::dag::{Content, Kind};
use crate::fuse::nodes::What;
use crate::view::FileBytes;

/// `whence` of lseek.
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

impl Tree {
    pub(crate) fn read(&self, id: u64, offset: u64, size: u32) -> Result<FileBytes, Errno> {
        self.with_content(id, |content| {
            let length = usize::try_from(size).unwrap_or(usize::MAX);
            self.view.read(content, offset, length).map_err(|error| self.fail(id, &error))
        })
    }

    pub(crate) fn seek(&self, id: u64, offset: i64, whence: i32) -> Result<i64, Errno> {
        let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
        let found = self.with_content(id, |content| {
            let found = match whence {
                SEEK_DATA => self.view.seek_data(content, offset),
                SEEK_HOLE => self.view.seek_hole(content, offset),
                _ => return Err(Errno::EINVAL),
            };
            found.map_err(|error| self.fail(id, &error))
        })?;
        found.and_then(|position| i64::try_from(position).ok()).ok_or(Errno::ENXIO)
    }

    fn with_content<T>(
        &self,
        id: u64,
        use_content: impl FnOnce(&Content) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let node = self.node(id)?;
        // Its directory may be forgotten, if it was found by a file handle.
        self.touch_all(id, node.usage.as_slice())?;
        let item = match &node.what {
            What::Item(item) => item,
            What::Report(report) => return use_content(self.content_of(id, report)?),
            _ => return Err(Errno::EISDIR),
        };
        match item.get().map(|entry| &entry.node.kind) {
            Some(Kind::File(content)) => use_content(content),
            _ => Err(Errno::EINVAL),
        }
    }
}
