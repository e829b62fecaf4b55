//! Storing chunks and building trees, in the order of the walk.

mod directory;
mod file;
mod previous;
mod remembered;

use std::collections::HashMap;

use crossbeam_channel::Receiver;

use crate::base::name::EntryName;
use crate::dag::{Content, Entry, Kind, Node, TreeRef};
use crate::ingest::build::directory::{Directory, SeenEntry, Site};
use crate::ingest::build::file::{StreamedFile, store_pieces};
use crate::ingest::error::{IngestError, SourceErrors};
use crate::ingest::item::{ItemBody, ItemJob, ItemOutcome, ItemRead, ItemReader, WHOLE_BYTES_MAX};
use crate::ingest::metadata::Metadata;
use crate::ingest::pipeline::{Budget, DirectoryMetadata, EndedFile, Event};
use crate::local::Identity;
use crate::repository::{Fingerprint, ScanDetail, Session};

/// What was counted while trees were built.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) files_new: u64,
    pub(crate) files_changed: u64,
    pub(crate) dirs_new: u64,
    pub(crate) dirs_changed: u64,
    pub(crate) files_read: u64,
    pub(crate) bytes_read: u64,
}

impl Tally {
    /// Counts a node beside what was there before.
    fn judge(&mut self, node: &Node, before: Option<&Node>) {
        let (new, changed) = match node.kind {
            Kind::Directory(_) => (&mut self.dirs_new, &mut self.dirs_changed),
            _ => (&mut self.files_new, &mut self.files_changed),
        };
        match before {
            None => *new += 1,
            Some(before) if before == node || before.meaning() == node.meaning() => {}
            Some(_) => *changed += 1,
        }
    }
}

/// Builds the trees of a snapshot from the walker's events.
pub(crate) struct Builder<'a, 'session> {
    pub(crate) session: &'a mut Session<'session>,
    pub(crate) reader: &'a ItemReader<'a>,
    pub(crate) budget: &'a Budget,
    pub(crate) errors: &'a SourceErrors,
    /// The root's tree in the snapshot before.
    pub(crate) previous: Option<TreeRef>,
    state: State,
}

#[derive(Default)]
struct State {
    directories: Vec<Directory>,
    file: Option<StreamedFile>,
    linked: HashMap<Identity, Linked>,
    tally: Tally,
    root: Option<Node>,
}

/// A file that has more links.
#[derive(Clone)]
struct Linked {
    metadata: Metadata,
    content: Content,
    fingerprint: Fingerprint,
}

impl<'a, 'session> Builder<'a, 'session> {
    pub(crate) fn new(
        session: &'a mut Session<'session>,
        reader: &'a ItemReader<'a>,
        budget: &'a Budget,
        errors: &'a SourceErrors,
        previous: Option<TreeRef>,
    ) -> Self {
        Self { session, reader, budget, errors, previous, state: State::default() }
    }

    /// Takes events until the walker is done, and returns the root if it came
    /// to its end.
    pub(crate) fn run(
        mut self,
        events: &Receiver<Event>,
    ) -> Result<(Option<Node>, Tally), IngestError> {
        for event in events {
            self.take(event)?;
        }
        Ok((self.state.root, self.state.tally))
    }

    fn take(&mut self, event: Event) -> Result<(), IngestError> {
        match event {
            Event::Enter(entered) => {
                let repository = self.reader.repository;
                let previous = match self.state.directories.last_mut() {
                    Some(parent) => parent.previous_tree(repository, &entered),
                    None => self.previous.take(),
                };
                self.state.directories.push(Directory::new(*entered, previous));
                Ok(())
            }
            Event::Page { page, is_first } => self.with_directory(|directory, _| {
                directory.begin_page(page, is_first);
                Ok(())
            }),
            Event::Same(items) => self.with_directory(|d, site| d.same(site, items)),
            Event::Accessed(item, atime) => {
                self.with_directory(|directory, site| directory.accessed(site, item, atime))
            }
            Event::EndPage => self.with_directory(Directory::end_page),
            Event::Leave => self.leave(),
            Event::Item { name, recorded, ticket } => {
                let outcome = ticket.wait(self.budget)?;
                self.item(name, recorded, outcome, ticket.identity)
            }
            Event::Begin(name, recorded) => {
                self.state.file = Some(StreamedFile::new(name, recorded));
                Ok(())
            }
            Event::Hole(bytes) => Ok(file(&mut self.state.file)?.hole(self.session, bytes)?),
            Event::Chunk(ticket, is_only) => {
                let prepared = ticket.wait(self.budget)?;
                self.reader.monitor.advance(0, ticket.bytes as u64);
                Ok(file(&mut self.state.file)?.chunk(self.session, prepared, is_only)?)
            }
            Event::Restart => {
                let file = file(&mut self.state.file)?;
                *file = StreamedFile::new(file.name.clone(), file.recorded);
                Ok(())
            }
            Event::End(ended) => self.end_file(*ended),
            Event::Failed => {
                self.state.file = None;
                Ok(())
            }
            Event::Link { name, recorded, job } => self.link(name, recorded, &job),
        }
    }

    /// Lets the innermost directory do something.
    fn with_directory(
        &mut self,
        act: impl FnOnce(&mut Directory, &mut Site<'_, 'session>) -> Result<(), IngestError>,
    ) -> Result<(), IngestError> {
        let State { directories, tally, .. } = &mut self.state;
        let directory =
            directories.last_mut().ok_or(IngestError::Internal("an item has no directory"))?;
        let repository = self.reader.repository;
        act(directory, &mut Site { session: &mut *self.session, repository, tally })
    }

    fn leave(&mut self) -> Result<(), IngestError> {
        let directory = self.state.directories.pop();
        let directory = directory.ok_or(IngestError::Internal("a directory ends twice"))?;
        let repository = self.reader.repository;
        let tally = &mut self.state.tally;
        let mut site = Site { session: &mut *self.session, repository, tally };
        let done = directory.finish(&mut site)?;
        if done.entered.name.is_some() {
            return self.with_directory(|parent, site| parent.subdirectory(site, done));
        }
        done.check(repository)?;
        let DirectoryMetadata::Read(metadata) = done.entered.metadata else {
            return Err(IngestError::Internal("the root has no metadata"));
        };
        self.state.root = Some(metadata.into_node(Kind::Directory(done.tree)));
        Ok(())
    }

    fn item(
        &mut self,
        name: EntryName,
        recorded: Option<usize>,
        outcome: ItemOutcome,
        identity: Option<Identity>,
    ) -> Result<(), IngestError> {
        let read = match outcome {
            ItemOutcome::Read(read) => *read,
            ItemOutcome::Failed(problem) => {
                self.problems(&name, &[problem]);
                return Ok(());
            }
        };
        let ItemRead { metadata, body, fingerprint, problems } = read;
        self.problems(&name, &problems);
        let kind = match body {
            ItemBody::Done(kind) => kind,
            ItemBody::Pieces { pieces, sha256 } => {
                Kind::File(store_pieces(self.session, pieces, sha256)?)
            }
        };
        if let Kind::File(content) = &kind {
            self.count_read(content.data_bytes());
            self.reader.monitor.advance(1, content.size);
            if let Some(identity) = identity {
                let (metadata, content) = (metadata.clone(), content.clone());
                self.state.linked.insert(identity, Linked { metadata, content, fingerprint });
            }
        } else {
            self.reader.monitor.advance(1, 0);
        }
        self.add(name, recorded, metadata.into_node(kind), fingerprint)
    }

    fn end_file(&mut self, ended: EndedFile) -> Result<(), IngestError> {
        let EndedFile { metadata, fingerprint, identity, problems } = ended;
        let file = self.state.file.take();
        let file = file.ok_or(IngestError::Internal("a file ends twice"))?;
        let (name, recorded) = (file.name.clone(), file.recorded);
        self.problems(&name, &problems);
        self.count_read(file.data_bytes);
        let hole_bytes = file.hole_bytes();
        let content = file.finish(self.session)?;
        self.reader.monitor.advance(1, hole_bytes);
        if let Some(identity) = identity {
            let (metadata, content) = (metadata.clone(), content.clone());
            self.state.linked.insert(identity, Linked { metadata, content, fingerprint });
        }
        self.add(name, recorded, metadata.into_node(Kind::File(content)), fingerprint)
    }

    fn link(
        &mut self,
        name: EntryName,
        recorded: Option<usize>,
        job: &ItemJob,
    ) -> Result<(), IngestError> {
        let identity = job.status.identity();
        if let Some(linked) = self.state.linked.get(&identity) {
            let Linked { metadata, content, fingerprint } = linked.clone();
            self.reader.monitor.advance(1, content.size);
            return self.add(name, recorded, metadata.into_node(Kind::File(content)), fingerprint);
        }
        let outcome = if job.status.size > WHOLE_BYTES_MAX {
            ItemOutcome::Failed("could not be read under the first of its names".to_owned())
        } else {
            self.reader.read(job)?
        };
        self.item(name, recorded, outcome, Some(identity))
    }

    fn add(
        &mut self,
        name: EntryName,
        recorded: Option<usize>,
        node: Node,
        fingerprint: Fingerprint,
    ) -> Result<(), IngestError> {
        let detail = node.links.map_or(ScanDetail::None, |links| ScanDetail::Links(links.group));
        let entry = Entry { name, node };
        let seen = SeenEntry { entry, recorded, fingerprint, detail };
        self.with_directory(|directory, site| directory.entry(site, seen))
    }

    fn count_read(&mut self, bytes: u64) {
        self.state.tally.files_read += 1;
        self.state.tally.bytes_read += bytes;
    }

    fn problems(&self, name: &EntryName, problems: &[String]) {
        for problem in problems {
            let directory = self.state.directories.last();
            let mut path = directory.map(|d| d.entered.path.clone()).unwrap_or_default();
            crate::ingest::walk::push_name(&mut path, name.as_bytes());
            self.errors.add(&path, problem, self.reader.monitor);
        }
    }
}

fn file(file: &mut Option<StreamedFile>) -> Result<&mut StreamedFile, IngestError> {
    file.as_mut().ok_or(IngestError::Internal("a piece has no file"))
}
