//! The control directory of a mount: what it does, as files.
//!
//! It is in the root, found and not listed. What its files say changes all the
//! time, while the kernel opens and caches files of this mount without asking.
//! So each lookup makes a node of its own, which says what is so at that moment
//! for as long as it is open, and no name of one is kept. `stat` always tells
//! the same number: a tool that looks twice must not see another file.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use fuser::{Errno, FileAttr, FileType};

use super::listing::{AddFound, DOTS};
use super::report::{self, Document};
use super::{FOREVER, Found, Tree};
use crate::base::id::SnapshotId;
use crate::dag::{Body, Content};
use crate::fuse::attributes;
use crate::fuse::nodes::{Key, What};

/// The name of the control directory.
pub(super) const CONTROL: &[u8] = b".icecore";
const SNAPSHOTS: &[u8] = b"snapshots";
const JSON: &str = ".json";
/// The number of the directory; those of what is in it follow. Others are taken
/// at random from 64 bits.
const FIRST_NUMBER: u64 = u64::MAX - 16;
const BLOCK_BYTES: u64 = 512;

/// A directory of the control directory, or that itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ControlDirectory {
    Top,
    Snapshots,
}

/// A file in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ControlFile {
    Document(Document),
    Snapshot(SnapshotId),
}

/// A file in it, and what it says to those who found it.
#[derive(Debug)]
pub(crate) struct Report {
    file: ControlFile,
    said: OnceLock<(Content, SystemTime)>,
}

impl ControlDirectory {
    const fn number(self) -> u64 {
        match self {
            Self::Top => FIRST_NUMBER,
            Self::Snapshots => FIRST_NUMBER + 1,
        }
    }
}

impl ControlFile {
    fn number(self) -> u64 {
        match self {
            Self::Document(document) => FIRST_NUMBER + 2 + document as u64,
            // As good as random.
            Self::Snapshot(id) => {
                let first = id.as_bytes().first_chunk().copied().unwrap_or_default();
                u64::from_be_bytes(first) | 1
            }
        }
    }
}

impl Tree {
    /// Finds the control directory in the root.
    pub(super) fn control_directory(&self, parent: u64) -> Result<Found, Errno> {
        self.control_directory_node(parent, CONTROL, ControlDirectory::Top)
    }

    pub(super) fn look_up_in_control(
        &self,
        parent: u64,
        directory: ControlDirectory,
        name: &[u8],
    ) -> Result<Option<Found>, Errno> {
        let file = match directory {
            ControlDirectory::Top if name == SNAPSHOTS => {
                let inner = ControlDirectory::Snapshots;
                return self.control_directory_node(parent, name, inner).map(Some);
            }
            ControlDirectory::Top => Document::named(name).map(ControlFile::Document),
            ControlDirectory::Snapshots => self.find_snapshot_file(parent, name)?,
        };
        let Some(file) = file else { return Ok(None) };
        let report = Report { file, said: OnceLock::new() };
        // Said now, so that the size that is told lasts.
        self.content_of(parent, &report)?;
        Ok(Some(self.report_node(parent, name, report)))
    }

    fn find_snapshot_file(&self, at: u64, name: &[u8]) -> Result<Option<ControlFile>, Errno> {
        let text = std::str::from_utf8(name).ok().and_then(|name| name.strip_suffix(JSON));
        let Some(text) = text else { return Ok(None) };
        let list = self.view.snapshots().map_err(|error| self.fail(at, &error))?;
        let snapshot = list.by_prefix(text).filter(|snapshot| snapshot.id.to_string() == text);
        Ok(snapshot.map(|snapshot| ControlFile::Snapshot(snapshot.id)))
    }

    /// Lists a directory behind the first `passed` entries. What the files say
    /// is not made for that.
    pub(super) fn list_control(
        &self,
        id: u64,
        directory: ControlDirectory,
        passed: u64,
        add: &mut AddFound<'_>,
    ) -> Result<(), Errno> {
        let first = usize::try_from(passed).unwrap_or(usize::MAX);
        let mut next = passed + DOTS;
        let mut show = |name: &[u8], found: Found| {
            next += 1;
            let full = add(next, name, &found);
            if full {
                self.nodes.forget(found.attributes.ino.0, 1);
            }
            full
        };
        let file =
            |name: &[u8], file| self.report_node(id, name, Report { file, said: OnceLock::new() });
        match directory {
            ControlDirectory::Top => {
                for document in Document::ALL.into_iter().skip(first) {
                    let name = document.name().as_bytes();
                    if show(name, file(name, ControlFile::Document(document))) {
                        return Ok(());
                    }
                }
                if first <= Document::ALL.len() {
                    let inner = ControlDirectory::Snapshots;
                    show(SNAPSHOTS, self.control_directory_node(id, SNAPSHOTS, inner)?);
                }
            }
            ControlDirectory::Snapshots => {
                let list = self.view.snapshots().map_err(|error| self.fail(id, &error))?;
                for snapshot in list.iter().skip(first) {
                    let name = format!("{}{JSON}", snapshot.id);
                    let name = name.as_bytes();
                    if show(name, file(name, ControlFile::Snapshot(snapshot.id))) {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn control_directory_node(
        &self,
        parent: u64,
        name: &[u8],
        directory: ControlDirectory,
    ) -> Result<Found, Errno> {
        let key = Key::Shown(parent, name.to_vec(), Vec::new());
        let make = || What::ControlDirectory(directory);
        let id = self.nodes.look_up_place(parent, key, None, make);
        let attributes = self.control_attributes(directory)?;
        let attributes = FileAttr { ino: fuser::INodeNo(id), ..attributes };
        // The number is another one than `stat` is to report.
        Ok(Found { attributes, lasting: FOREVER, attributes_lasting: Duration::ZERO })
    }

    fn report_node(&self, parent: u64, name: &[u8], report: Report) -> Found {
        let serial = self.statistics.next_serial().to_be_bytes().to_vec();
        let key = Key::Shown(parent, name.to_vec(), serial);
        let attributes = self.report_attributes(&report);
        let id = self.nodes.look_up_place(parent, key, None, || What::Report(Arc::new(report)));
        let attributes = FileAttr { ino: fuser::INodeNo(id), ..attributes };
        Found::new(attributes, Duration::ZERO)
    }

    /// The attributes of a directory, with the number that `stat` tells. Paths
    /// in it are those of damaged files, which are not for everybody.
    pub(super) fn control_attributes(
        &self,
        directory: ControlDirectory,
    ) -> Result<FileAttr, Errno> {
        let failed = |error| self.fail(super::ROOT, &error);
        let changed = self.view.snapshots().map_err(failed)?.changed();
        let links = if directory == ControlDirectory::Top { 3 } else { 2 };
        let (number, kind) = (directory.number(), FileType::Directory);
        let own = attributes::of_mount(number, kind, 4096, links, changed, self.owner);
        Ok(FileAttr { perm: 0o700, ..own })
    }

    /// The attributes of a file, with the number that `stat` tells.
    pub(super) fn report_attributes(&self, report: &Report) -> FileAttr {
        let said = report.said.get();
        let size = said.map_or(0, |(content, _)| content.size);
        let time = said.map_or(SystemTime::UNIX_EPOCH, |(_, time)| *time);
        let (number, kind) = (report.file.number(), FileType::RegularFile);
        let own = attributes::of_mount(number, kind, size, 1, time, self.owner);
        FileAttr { perm: 0o400, blocks: size.div_ceil(BLOCK_BYTES), ..own }
    }

    /// What a file says, made when it is asked for first.
    pub(super) fn content_of<'a>(&self, at: u64, report: &'a Report) -> Result<&'a Content, Errno> {
        if let Some((content, _)) = report.said.get() {
            return Ok(content);
        }
        let text = match report.file {
            ControlFile::Document(document) => self.document(at, document)?,
            ControlFile::Snapshot(id) => {
                let described = (self.describe)(self.view.reader(), &id);
                described.map_err(|error| self.fail(at, &error.into()))?
            }
        };
        let size = text.len() as u64;
        let content = Content { size, sha256: None, body: Body::Inline(text.into_bytes().into()) };
        Ok(&report.said.get_or_init(|| (content, SystemTime::now())).0)
    }

    fn document(&self, at: u64, document: Document) -> Result<String, Errno> {
        let list = self.view.snapshots().map_err(|error| self.fail(at, &error))?;
        let facts = report::Facts {
            statistics: &self.statistics,
            caches: self.view.cache_facts(),
            snapshots: list.len(),
            leased_snapshots: self.usages.leased(),
            nodes: self.nodes.len(),
            damaged_snapshots: list.damaged(),
        };
        Ok(facts.document(document))
    }
}
