//! Storing chunks and building trees, in the order of the walk.

use std::collections::HashMap;

use crossbeam_channel::Receiver;

use crate::base::hash::StreamHash;
use crate::base::name::EntryName;
use crate::base::progress::Monitor;
use crate::dag::{
    Body, ChunkListBuilder, Content, Counters, DirectoryBuilder, Entry, Kind, Node, Segment,
};
use crate::ingest::error::IngestError;
use crate::ingest::metadata::Metadata;
use crate::ingest::pipeline::{Budget, Event, Identity, Ticket};
use crate::repository::{RepositoryError, Session};

/// Builds the trees of a snapshot from the walker's events.
pub(crate) struct Builder<'a, 'session> {
    session: &'a mut Session<'session>,
    budget: &'a Budget,
    monitor: &'a dyn Monitor,
    directories: Vec<Directory>,
    file: Option<File>,
    linked: HashMap<Identity, Content>,
    counters: Counters,
    root: Option<Node>,
}

/// A directory whose entries are coming.
struct Directory {
    name: Option<EntryName>,
    metadata: Metadata,
    builder: DirectoryBuilder,
}

/// A file whose segments are coming.
struct File {
    name: EntryName,
    metadata: Metadata,
    identity: Option<Identity>,
    segments: ChunkListBuilder,
    size: u64,
    chunks: u64,
    has_holes: bool,
    /// The first chunk, kept until it is known whether there is a second one:
    /// a file of one chunk needs no other hash.
    first: Vec<u8>,
    hash: StreamHash,
}

impl<'a, 'session> Builder<'a, 'session> {
    pub(crate) fn new(
        session: &'a mut Session<'session>,
        budget: &'a Budget,
        monitor: &'a dyn Monitor,
    ) -> Self {
        Self {
            session,
            budget,
            monitor,
            directories: Vec::new(),
            file: None,
            linked: HashMap::new(),
            counters: Counters::default(),
            root: None,
        }
    }

    /// Takes events until the walker is done, and returns the root if it came
    /// to its end.
    pub(crate) fn run(
        mut self,
        events: &Receiver<Event>,
    ) -> Result<Option<(Node, Counters)>, IngestError> {
        for event in events {
            self.take(event)?;
        }
        let counters = self.counters;
        Ok(self.root.map(|root| (root, counters)))
    }

    fn take(&mut self, event: Event) -> Result<(), IngestError> {
        match event {
            Event::Enter(name, metadata) => {
                let builder = DirectoryBuilder::new();
                self.directories.push(Directory { name, metadata, builder });
                Ok(())
            }
            Event::Leave => self.leave(),
            Event::Item(name, node) => {
                if let Kind::File(content) = &node.kind {
                    self.counters.bytes += content.size;
                }
                self.add(Entry { name, node })
            }
            Event::FileStart(name, metadata, identity) => {
                self.file = Some(File::new(name, metadata, identity));
                Ok(())
            }
            Event::Hole(bytes) => self.hole(bytes),
            Event::Chunk(ticket) => self.chunk(ticket),
            Event::FileEnd => self.end_file(),
            Event::FileFailed => {
                self.file = None;
                Ok(())
            }
            Event::Link(name, metadata, identity) => {
                let content = self.linked.get(&identity).cloned();
                let content = content.ok_or(IngestError::Internal("a link came too early"))?;
                self.counters.bytes += content.size;
                self.add(Entry { name, node: metadata.into_node(Kind::File(content)) })
            }
        }
    }

    fn add(&mut self, entry: Entry) -> Result<(), IngestError> {
        match &entry.node.kind {
            Kind::Directory(_) => self.counters.dirs += 1,
            _ => self.counters.files += 1,
        }
        let session = &mut *self.session;
        let parent = self.directories.last_mut();
        let parent = parent.ok_or(IngestError::Internal("an entry has no directory"))?;
        parent.builder.push(entry, &mut |id, record| session.put_tree(id, record))?;
        Ok(())
    }

    fn leave(&mut self) -> Result<(), IngestError> {
        let directory = self.directories.pop();
        let directory = directory.ok_or(IngestError::Internal("a directory ends twice"))?;
        let session = &mut *self.session;
        let tree = directory.builder.finish(&mut |id, record| session.put_tree(id, record))?;
        let node = directory.metadata.into_node(Kind::Directory(tree));
        match directory.name {
            Some(name) => self.add(Entry { name, node })?,
            None => self.root = Some(node),
        }
        self.monitor.advance(1, 0);
        Ok(())
    }

    fn hole(&mut self, bytes: u64) -> Result<(), IngestError> {
        let file = self.file.as_mut().ok_or(IngestError::Internal("a hole has no file"))?;
        file.has_holes = true;
        file.push(self.session, Segment::Hole { bytes })?;
        Ok(())
    }

    fn chunk(&mut self, ticket: Ticket) -> Result<(), IngestError> {
        let result = ticket.result.recv();
        let result = result.map_err(|_| IngestError::Internal("a worker ended early"))?;
        self.budget.give(ticket.bytes);
        let prepared = result?;
        let file = self.file.as_mut().ok_or(IngestError::Internal("a chunk has no file"))?;
        let segment = self.session.put_chunk(prepared.chunk)?;
        file.hash(prepared.plain);
        file.push(self.session, segment)?;
        self.monitor.advance(0, ticket.bytes as u64);
        Ok(())
    }

    fn end_file(&mut self) -> Result<(), IngestError> {
        let file = self.file.take().ok_or(IngestError::Internal("a file ends twice"))?;
        let (name, metadata, identity) = (file.name.clone(), file.metadata.clone(), file.identity);
        let content = file.finish(self.session)?;
        self.counters.bytes += content.size;
        if let Some(identity) = identity {
            self.linked.insert(identity, content.clone());
        }
        self.monitor.advance(1, 0);
        self.add(Entry { name, node: metadata.into_node(Kind::File(content)) })
    }
}

impl File {
    fn new(name: EntryName, metadata: Metadata, identity: Option<Identity>) -> Self {
        Self {
            name,
            metadata,
            identity,
            segments: ChunkListBuilder::new(),
            size: 0,
            chunks: 0,
            has_holes: false,
            first: Vec::new(),
            hash: StreamHash::default(),
        }
    }

    /// Adds a chunk to the hash of the whole file.
    fn hash(&mut self, plain: Vec<u8>) {
        self.chunks += 1;
        match self.chunks {
            _ if self.has_holes => {}
            1 => self.first = plain,
            2 => {
                self.hash.update(&std::mem::take(&mut self.first));
                self.hash.update(&plain);
            }
            _ => self.hash.update(&plain),
        }
    }

    fn push(&mut self, session: &mut Session<'_>, segment: Segment) -> Result<(), RepositoryError> {
        self.size += segment.bytes();
        self.segments.push(segment, &mut |id, record| session.put_list(id, record))
    }

    fn finish(self, session: &mut Session<'_>) -> Result<Content, RepositoryError> {
        let whole = self.chunks > 1 && !self.has_holes;
        let sha256 = whole.then(|| self.hash.finish());
        let body: Body = self.segments.finish(&mut |id, record| session.put_list(id, record))?;
        Ok(Content { size: self.size, sha256, body })
    }
}
