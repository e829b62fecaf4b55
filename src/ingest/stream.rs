//! Saving a stream of bytes as a file: standard input, or what a command
//! prints.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read};
use rustix::process::{Pid, Signal, kill_process};

use crate::base::files::with_inherited_umask;
use crate::base::format::system_words;
use crate::base::name::{EntryName, printable};
use crate::base::progress::Monitor;
use crate::dag::Owner;
use crate::ingest::content::{ContentSink as _, Cutter};
use crate::ingest::error::IngestError;
use crate::ingest::item::ItemReader;
use crate::ingest::metadata::Metadata;
use crate::ingest::pipeline::{
    DirectoryMetadata, Emitter, EndedFile, EnteredDirectory, Event, Stopped,
};
use crate::repository::Fingerprint;

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;
/// How often a stream that says nothing is left to look for a cancellation.
const PATIENCE: Duration = Duration::from_millis(100);

/// Where a stream comes from.
#[derive(Clone, Debug)]
pub enum StreamSource {
    /// This open file.
    File(Arc<File>),
    /// The standard output of this command: its program and its arguments.
    /// Unless it ends with success there is no snapshot.
    Command(Vec<OsString>),
}

/// A stream to save, and the path of the file that it becomes.
#[derive(Clone, Debug)]
pub struct StreamRequest {
    /// Where it comes from.
    pub source: StreamSource,
    /// The path of the file in the snapshot, relative.
    pub path: PathBuf,
}

/// The stream, open.
struct Stream {
    file: Arc<File>,
    child: Option<RunningChild>,
}

/// A command that is killed unless it was waited for.
struct RunningChild {
    child: Child,
    name: String,
    is_done: bool,
}

/// Reads a stream and passes it on as the only file of a snapshot.
pub(crate) fn produce(
    request: &StreamRequest,
    reader: &ItemReader<'_>,
    emitter: Emitter<'_>,
) -> Result<(), IngestError> {
    let names = names(&request.path)?;
    let (name, directories) = names.split_last().ok_or_else(|| no_path(&request.path))?;
    let mut stream = Stream::open(&request.source)?;
    let stopped = |Stopped| IngestError::Internal("the stream ended early");
    let owner = process_owner(reader);
    enter(None, reader, &owner, &emitter).map_err(stopped)?;
    for directory in directories {
        enter(Some(directory.clone()), reader, &owner, &emitter).map_err(stopped)?;
    }
    emitter.event(Event::Begin(name.clone(), None)).map_err(stopped)?;
    stream.pass_on(reader, &emitter)?;
    stream.finish()?;
    let metadata = metadata(0o600, &owner, reader);
    let (identity, problems) = (None, Vec::new());
    let ended = EndedFile { metadata, fingerprint: Fingerprint::NONE, identity, problems };
    emitter.event(Event::End(Box::new(ended))).map_err(stopped)?;
    for _ in 0..=directories.len() {
        emitter.event(Event::Leave).map_err(stopped)?;
    }
    Ok(())
}

fn no_path(path: &Path) -> IngestError {
    let shown = printable(path.as_os_str().as_encoded_bytes());
    IngestError::NoSource(format!("{shown} cannot be the path of a file in a snapshot"))
}

/// The names of a relative path.
fn names(path: &Path) -> Result<Vec<EntryName>, IngestError> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => {
                let name = EntryName::new(name.as_encoded_bytes());
                names.push(name.map_err(|_| no_path(path))?);
            }
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(no_path(path)),
        }
    }
    Ok(names)
}

/// Whoever runs this owns what a stream becomes.
fn process_owner(reader: &ItemReader<'_>) -> Arc<Owner> {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    reader.owners.of_ids(uid, gid)
}

fn metadata(mode: u16, owner: &Arc<Owner>, reader: &ItemReader<'_>) -> Metadata {
    let now = reader.fingerprinter.now;
    Metadata {
        mode,
        owner: owner.clone(),
        mtime: now,
        atime: reader.fingerprinter.with_atime.then_some(now),
        links: None,
        xattrs: Vec::new(),
        changed_while_read: false,
    }
}

fn enter(
    name: Option<EntryName>,
    reader: &ItemReader<'_>,
    owner: &Arc<Owner>,
    emitter: &Emitter<'_>,
) -> Result<(), Stopped> {
    emitter.event(Event::Enter(Box::new(EnteredDirectory {
        path: name.as_ref().map(|name| name.as_bytes().to_vec()).unwrap_or_default(),
        name,
        recorded: None,
        metadata: DirectoryMetadata::Read(metadata(0o700, owner, reader)),
        fingerprint: Fingerprint::NONE,
        key: None,
    })))
}

impl Stream {
    fn open(source: &StreamSource) -> Result<Self, IngestError> {
        match source {
            StreamSource::File(file) => Ok(Self { file: file.clone(), child: None }),
            StreamSource::Command(words) => {
                let mut child = RunningChild::start(words)?;
                let output = child.child.stdout.take();
                let output = output.ok_or(IngestError::Internal("a command has no output"))?;
                let file = Arc::new(File::from(std::os::fd::OwnedFd::from(output)));
                Ok(Self { file, child: Some(child) })
            }
        }
    }

    fn pass_on(
        &mut self,
        reader: &ItemReader<'_>,
        mut emitter: &Emitter<'_>,
    ) -> Result<(), IngestError> {
        let stopped = |Stopped| IngestError::Cancelled;
        let chunker = &reader.chunker;
        let mut cutter = Cutter::new(chunker, READ_BYTES + chunker.max_bytes());
        loop {
            if !self.wait(reader.monitor)? {
                return Err(IngestError::Cancelled);
            }
            let read = match read(&*self.file, spare_capacity(&mut cutter.buffer)) {
                Ok(read) => read,
                Err(Errno::INTR | Errno::AGAIN) => continue,
                Err(error) => return Err(unreadable(error)),
            };
            emitter.before_read(read).map_err(stopped)?;
            let at_end = read == 0;
            cutter.cut(at_end, true, &mut emitter).map_err(stopped)?;
            if at_end {
                return Ok(());
            }
        }
    }

    /// Waits for bytes or the end; returns whether the work goes on.
    fn wait(&self, monitor: &dyn Monitor) -> Result<bool, IngestError> {
        let patience = Timespec::try_from(PATIENCE).ok();
        while !monitor.cancelled() {
            let mut files = [PollFd::from_borrowed_fd(self.file.as_fd(), PollFlags::IN)];
            match poll(&mut files, patience.as_ref()) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(unreadable(error)),
            }
        }
        Ok(false)
    }

    /// Makes sure that the stream came to a good end.
    fn finish(&mut self) -> Result<(), IngestError> {
        let Some(child) = &mut self.child else { return Ok(()) };
        let status = child.child.wait().map_err(|error| {
            IngestError::Stream(format!("{} cannot be waited for: {error}", child.name))
        })?;
        child.is_done = true;
        if status.success() {
            return Ok(());
        }
        Err(IngestError::Stream(format!("{} failed ({})", child.name, status)))
    }
}

fn unreadable(error: Errno) -> IngestError {
    IngestError::Stream(format!("The stream cannot be read: {}", system_words(&error.into())))
}

impl RunningChild {
    fn start(words: &[OsString]) -> Result<Self, IngestError> {
        let Some((program, arguments)) = words.split_first() else {
            return Err(IngestError::Stream("There is no command to run".to_owned()));
        };
        let name = printable(program.as_encoded_bytes());
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        // The password of the repository is none of its business.
        command.env_remove("ICECORE_PASSWORD");
        let child = with_inherited_umask(|| command.spawn()).map_err(|error| {
            IngestError::Stream(format!("{name} cannot be run: {}", system_words(&error)))
        })?;
        Ok(Self { child, name, is_done: false })
    }
}

impl Drop for RunningChild {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        // It is asked to end, and given the end of its output by ours closing.
        if let Ok(Some(pid)) = i32::try_from(self.child.id()).map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        for _ in 0..20 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(PATIENCE / 2);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_becomes_a_file_below_the_root_and_never_above() {
        let found = names(Path::new("/a/./b.sql")).unwrap();
        assert_eq!(
            found.iter().map(EntryName::as_bytes).collect::<Vec<_>>(),
            [&b"a"[..], b"b.sql"]
        );
        assert!(names(Path::new("../b")).is_err());
        assert!(names(Path::new("/")).unwrap().is_empty());
    }
}
