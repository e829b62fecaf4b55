//! What the walk meets, compared with what was seen the last time: what did not
//! change is only named, the rest is read.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FileType, OFlags};

use crate::base::hash::sha256;
use crate::base::mounts::PseudoFileSystems;
use crate::base::name::EntryName;
use crate::dag::LinkGroup;
use crate::ingest::content::{ReadFailure, read_content};
use crate::ingest::error::{SourceErrors, problem};
use crate::ingest::item::{CHANGED, ItemJob, ItemReader, REPLACED, REREADS_MAX, WHOLE_BYTES_MAX};
use crate::ingest::metadata::XattrSource;
use crate::ingest::pipeline::{
    DirectoryMetadata, Emitter, EndedFile, EnteredDirectory, Event, Stopped,
};
use crate::ingest::walk::{Items, Met, Visitor};
use crate::local::{Identity, Status};
use crate::repository::{Fingerprint, RepositoryError, ScanDetail, ScanKey, ScanPage};

/// Bytes above which a file that changed while it was read is not read again.
const REREAD_BYTES_MAX: u64 = 64 << 20;

/// Names a group of hard links within a snapshot.
type Group = [u8; 16];

/// Passes on what the walk meets.
pub(crate) struct Recorder<'a> {
    emitter: Emitter<'a>,
    reader: &'a ItemReader<'a>,
    errors: &'a SourceErrors,
    pseudo: &'a PseudoFileSystems,
    /// Sets the keys of one way of looking apart from those of others.
    context: Vec<u8>,
    directories: Vec<SeenDirectory>,
    links: Links,
    /// Why the repository could not be asked, which ends the walk.
    failure: Option<RepositoryError>,
}

/// A directory whose items are being compared.
#[derive(Default)]
struct SeenDirectory {
    key: Option<ScanKey>,
    page: Option<Arc<ScanPage>>,
    /// The next item of the page to compare with.
    next: usize,
    /// Items of the page that did not change and were not passed on yet.
    same: Range<usize>,
    same_bytes: u64,
}

/// Groups of hard links.
#[derive(Default)]
struct Links {
    groups: HashMap<Identity, Group>,
    taken: HashMap<Group, Identity>,
    /// Files whose content was read.
    read: HashSet<Identity>,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(
        emitter: Emitter<'a>,
        reader: &'a ItemReader<'a>,
        errors: &'a SourceErrors,
        pseudo: &'a PseudoFileSystems,
        context: Vec<u8>,
    ) -> Self {
        Self {
            emitter,
            reader,
            errors,
            pseudo,
            context,
            directories: Vec::new(),
            links: Links::default(),
            failure: None,
        }
    }

    /// Why the walk was stopped, if it was from here.
    pub(crate) fn into_failure(self) -> Option<RepositoryError> {
        self.failure
    }

    /// Finds the item of that name in what was seen the last time. Names must
    /// rise.
    fn find(&mut self, name: &[u8]) -> Result<Option<usize>, Stopped> {
        loop {
            let Some(seen) = self.directories.last_mut() else { return Ok(None) };
            let Some(page) = &seen.page else { return Ok(None) };
            let ended = page.last_name().is_some_and(|last| name > last.as_bytes());
            if ended && !page.is_last {
                self.next_page()?;
                continue;
            }
            let rest = page.entries.get(seen.next..).unwrap_or_default();
            let skipped = rest.iter().take_while(|entry| entry.name.as_bytes() < name).count();
            seen.next += skipped;
            let found = rest.get(skipped).is_some_and(|entry| entry.name.as_bytes() == name);
            return Ok(found.then_some(seen.next));
        }
    }

    fn begin_page(&mut self, page: ScanPage, is_first: bool) -> Result<(), Stopped> {
        let page = Arc::new(page);
        if let Some(seen) = self.directories.last_mut() {
            seen.page = Some(page.clone());
            (seen.next, seen.same) = (0, 0..0);
        }
        self.emitter.event(Event::Page { page, is_first })
    }

    fn next_page(&mut self) -> Result<(), Stopped> {
        let Some(page) = self.end_page()? else { return Ok(()) };
        let key = self.directories.last().and_then(|seen| seen.key);
        let (Some(key), Some(last)) = (key, page.last_name()) else { return Ok(()) };
        let next = self.reader.repository.next_scan_page(key, last);
        match self.ask(next)? {
            Some(page) => self.begin_page(page, false),
            None => Ok(()),
        }
    }

    fn end_page(&mut self) -> Result<Option<Arc<ScanPage>>, Stopped> {
        self.pass_same()?;
        let page = self.directories.last_mut().and_then(|seen| seen.page.take());
        if page.is_some() {
            self.emitter.event(Event::EndPage)?;
        }
        Ok(page)
    }

    /// An item of the page did not change.
    fn same(&mut self, index: usize, bytes: u64) -> Result<(), Stopped> {
        if self.directories.last().is_some_and(|seen| seen.same.end != index) {
            self.pass_same()?;
        }
        if let Some(seen) = self.directories.last_mut() {
            if seen.same.is_empty() {
                seen.same = index..index;
            }
            seen.same.end = index + 1;
            seen.same_bytes += bytes;
        }
        Ok(())
    }

    /// Passes on what did not change so far.
    fn pass_same(&mut self) -> Result<(), Stopped> {
        let Some(seen) = self.directories.last_mut() else { return Ok(()) };
        let same = std::mem::replace(&mut seen.same, 0..0);
        if same.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut seen.same_bytes);
        self.reader.monitor.advance(same.len() as u64, bytes);
        self.emitter.event(Event::Same(same))
    }

    fn ask<T>(&mut self, answer: Result<T, RepositoryError>) -> Result<T, Stopped> {
        answer.map_err(|error| {
            self.failure = Some(error);
            Stopped
        })
    }

    /// Whether an item is what the page says of it. A group of hard links must
    /// also be called what it was called, and by nobody else.
    fn is_same(&mut self, index: usize, status: &Status) -> bool {
        let owner = self.reader.owners.of(status);
        let fingerprint = self.reader.fingerprinter.of(status, &owner);
        let seen = self.directories.last().and_then(|seen| seen.page.as_ref());
        let Some(entry) = seen.and_then(|page| page.entries.get(index)) else { return false };
        entry.fingerprint == fingerprint
            && match entry.detail {
                ScanDetail::Links(group) => self.links.claim(status.identity(), group),
                ScanDetail::None | ScanDetail::Directory(_) => true,
            }
    }

    /// Whether the access time of an item is kept and has changed.
    fn was_accessed(&self, index: usize, status: &Status) -> bool {
        if !self.reader.fingerprinter.with_atime {
            return false;
        }
        let seen = self.directories.last().and_then(|seen| seen.page.as_ref());
        let atime = seen.and_then(|page| page.entries.get(index)).and_then(|entry| entry.atime);
        atime != Some(status.atime)
    }

    fn problem(&self, met: &Met<'_>, problem: &str) {
        self.errors.add(met.real, problem, self.reader.monitor);
    }

    /// Has an item that is new or may have changed read.
    fn read(&mut self, met: &Met<'_>, recorded: Option<usize>) -> Result<(), Stopped> {
        self.pass_same()?;
        let name = match EntryName::new(met.name) {
            Ok(name) => name,
            Err(error) => {
                self.problem(met, &error.to_string());
                return Ok(());
            }
        };
        let links = (met.status.links > 1).then(|| LinkGroup {
            count: met.status.links,
            group: self.links.group(met.status.identity(), met.path),
        });
        let job = ItemJob { location: met.location(), status: met.status, links };
        if !met.status.is(FileType::RegularFile) {
            return self.emitter.item(name, recorded, job);
        }
        if links.is_some() && !self.links.read.insert(met.status.identity()) {
            let job = Box::new(job);
            return self.emitter.event(Event::Link { name, recorded, job });
        }
        // Files of the kernel do not say how long they are.
        let is_endless =
            self.pseudo.type_of(met.status.device.major, met.status.device.minor).is_some();
        if met.status.size <= WHOLE_BYTES_MAX && !is_endless {
            return self.emitter.item(name, recorded, job);
        }
        self.stream(met, name, recorded, &job)
    }

    /// Reads a large file and passes its content on.
    fn stream(
        &mut self,
        met: &Met<'_>,
        name: EntryName,
        recorded: Option<usize>,
        job: &ItemJob,
    ) -> Result<(), Stopped> {
        let opened = job.location.open(OFlags::empty());
        let opened = opened.and_then(|file| Ok((Status::of_file(&file)?, file)));
        let (status, file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.problem(met, &problem("open it", &error.into()));
                return Ok(());
            }
        };
        if !status.is(FileType::RegularFile) || status.identity() != job.status.identity() {
            self.problem(met, REPLACED);
            return Ok(());
        }
        self.emitter.event(Event::Begin(name, recorded))?;
        match self.stream_whole(&file, status, job) {
            Ok(ended) => self.emitter.event(Event::End(Box::new(ended))),
            Err(ReadFailure::Sink(stopped)) => Err(stopped),
            Err(ReadFailure::Source(error)) => {
                self.problem(met, &problem("read it", &error));
                self.emitter.event(Event::Failed)
            }
        }
    }

    fn stream_whole(
        &self,
        file: &OwnedFd,
        mut status: Status,
        job: &ItemJob,
    ) -> Result<EndedFile, ReadFailure<Stopped>> {
        let mut rereads = 0;
        loop {
            let mut problems = Vec::new();
            let source = XattrSource::File(file);
            let mut metadata = self.reader.metadata(&status, job.links, source, &mut problems);
            let fingerprinter = &self.reader.fingerprinter;
            let mut fingerprint = fingerprinter.remembered(&status, &metadata.owner);
            let is_sizeless = status.size == 0;
            let size = if is_sizeless { u64::MAX >> 1 } else { status.size };
            let has_holes = !is_sizeless && status.allocated < size;
            read_content(file, size, has_holes, &self.reader.chunker, &mut &self.emitter)?;
            let after = Status::of_file(file)?;
            if after.stamp() != status.stamp() {
                if rereads < REREADS_MAX && after.size <= REREAD_BYTES_MAX {
                    rereads += 1;
                    status = after;
                    self.emitter.event(Event::Restart)?;
                    continue;
                }
                metadata.changed_while_read = true;
                fingerprint = Fingerprint::NONE;
                problems.push(CHANGED.to_owned());
            }
            let identity = job.links.is_some().then(|| status.identity());
            return Ok(EndedFile { metadata, fingerprint, identity, problems });
        }
    }

    /// The metadata of a directory, unless it is what the page says.
    fn directory_metadata(
        &mut self,
        met: &Met<'_>,
        recorded: Option<usize>,
    ) -> (DirectoryMetadata, Fingerprint) {
        let owner = self.reader.owners.of(&met.status);
        let fingerprint = self.reader.fingerprinter.remembered(&met.status, &owner);
        if recorded.is_some_and(|index| self.is_same(index, &met.status)) {
            return (DirectoryMetadata::Unchanged, fingerprint);
        }
        let source = match met.opened {
            Some(opened) => XattrSource::File(opened),
            // `.` at its end follows a symlink that leads to a source.
            None if met.leads_on => XattrSource::Path(real_path(met).join(".")),
            None => XattrSource::Nowhere,
        };
        let mut problems = Vec::new();
        let metadata = self.reader.metadata(&met.status, None, source, &mut problems);
        for problem in problems {
            self.problem(met, &problem);
        }
        (DirectoryMetadata::Read(metadata), fingerprint)
    }
}

fn real_path<'a>(met: &Met<'a>) -> &'a Path {
    Path::new(OsStr::from_bytes(met.real))
}

impl Visitor for Recorder<'_> {
    fn enter(&mut self, met: &Met<'_>, items: &Items) -> Result<(), Stopped> {
        let recorded = self.find(met.name)?;
        let (metadata, fingerprint) = self.directory_metadata(met, recorded);
        self.pass_same()?;
        let name = (!self.directories.is_empty()).then(|| EntryName::new(met.name));
        let name = match name.transpose() {
            Ok(name) => name,
            Err(error) => {
                self.problem(met, &error.to_string());
                return Err(Stopped);
            }
        };
        let repository = self.reader.repository;
        let key = match items {
            Items::Listed => Some(repository.scan_key(&self.context, met.real)),
            // Other sources lead through other items of the same directory.
            Items::Leading(names) => Some(
                repository.scan_key(&[&self.context[..], b"leads to", names].concat(), met.real),
            ),
            Items::Closed => None,
        };
        self.emitter.event(Event::Enter(Box::new(EnteredDirectory {
            name,
            recorded,
            metadata,
            fingerprint,
            key,
            path: met.real.to_vec(),
        })))?;
        self.directories.push(SeenDirectory { key, ..SeenDirectory::default() });
        let Some(key) = key.filter(|_| !self.reader.fingerprinter.detection.force) else {
            return Ok(());
        };
        let page = self.reader.repository.first_scan_page(key);
        match self.ask(page)? {
            Some(page) => self.begin_page(page, true),
            None => Ok(()),
        }
    }

    fn leave(&mut self) -> Result<(), Stopped> {
        self.end_page()?;
        self.directories.pop();
        self.emitter.event(Event::Leave)?;
        self.reader.monitor.advance(1, 0);
        Ok(())
    }

    fn item(&mut self, met: &Met<'_>) -> Result<(), Stopped> {
        let recorded = self.find(met.name)?;
        match recorded {
            Some(index) if self.is_same(index, &met.status) => {
                if self.was_accessed(index, &met.status) {
                    self.pass_same()?;
                    return self.emitter.event(Event::Accessed(index, met.status.atime));
                }
                self.same(index, met.status.size)
            }
            _ => self.read(met, recorded),
        }
    }
}

impl Links {
    /// Takes the name that a file's group had, unless the group has another one
    /// by now or the name is another group's.
    fn claim(&mut self, identity: Identity, group: Group) -> bool {
        match (self.groups.get(&identity), self.taken.get(&group)) {
            (Some(known), _) => *known == group,
            (None, Some(_)) => false,
            (None, None) => {
                self.groups.insert(identity, group);
                self.taken.insert(group, identity);
                true
            }
        }
    }

    /// The name of a file's group: after the first path under which it was met,
    /// unless an unchanged link still has that name for another file.
    fn group(&mut self, identity: Identity, path: &[u8]) -> Group {
        if let Some(group) = self.groups.get(&identity) {
            return *group;
        }
        let mut name = path.to_vec();
        loop {
            let mut group = Group::default();
            group.copy_from_slice(&sha256(&name)[..16]);
            if self.claim(identity, group) {
                return group;
            }
            name.push(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dag::Device;

    #[test]
    fn groups_of_links_never_share_a_name() {
        let file = |inode| (Device { major: 8, minor: 1 }, inode);
        let mut links = Links::default();
        let first = links.group(file(1), b"a/x");
        assert_eq!(links.group(file(1), b"b/x"), first);
        let second = links.group(file(2), b"a/x");
        assert_ne!(first, second);
        // An unchanged link keeps its group's name only if it is still free.
        assert!(links.claim(file(1), first) && !links.claim(file(3), first));
        assert!(!links.claim(file(1), second) && links.claim(file(4), [9; 16]));
    }
}
