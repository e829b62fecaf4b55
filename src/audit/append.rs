//! Appending events.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::audit::AuditLog;
use crate::audit::anchor::Anchor;
use crate::audit::error::AuditError;
use crate::audit::event::{Actor, Event, Link, Record};
use crate::audit::segment::{self, Segment};
use crate::audit::tail::{TORN_MARK, Tail, declare, is_torn};
use crate::base::files::open_own;
use crate::base::time::Timestamp;

/// Pause between two tries to get the lock.
const RETRY: Duration = Duration::from_millis(5);
/// How long an append waits for others, which take milliseconds each.
const LOCK_SECONDS: u64 = 10;
/// The mode of a segment that is never written again.
const SEALED: u32 = 0o400;

/// When a segment is full. It is then sealed, and a new one begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// At this many bytes.
    pub bytes: u64,
    /// At this many events.
    pub events: u64,
    /// When its first event is this old, so that old events can be removed
    /// where little happens.
    pub age: Duration,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { bytes: 4 << 20, events: 10_000, age: Duration::from_secs(31 * 86_400) }
    }
}

/// The log's lock, held until it is dropped.
pub(super) struct Lock {
    _file: File,
}

/// Where the next event goes.
struct Place {
    segment: Segment,
    /// The segment has to be made.
    is_new: bool,
    length: u64,
    before: Link,
    /// What ends a torn line, or an event whose newline is missing.
    heal: Vec<u8>,
    /// The torn bytes with their mark.
    torn: Option<Vec<u8>>,
}

impl AuditLog {
    /// Appends what a record says, durably, and returns the events.
    ///
    /// # Errors
    /// Fails if there is no repository, the log cannot be written, or another
    /// process holds it for several seconds. What was there before stays.
    pub fn append(&self, actor: &Actor, record: &Record) -> Result<Vec<Event>, AuditError> {
        let lock = self.lock()?;
        self.append_locked(&lock, actor, record)
    }

    /// Takes the lock, making the log's directory if it is missing.
    pub(super) fn lock(&self) -> Result<Lock, AuditError> {
        let config = self.layout.config();
        // A disk that fails is not one without a repository.
        if !config.try_exists().map_err(AuditError::io("look for", &config))? {
            return Err(AuditError::NoRepository { path: self.layout.root().to_owned() });
        }
        let mut builder = DirBuilder::new();
        match builder.mode(0o700).create(&self.directory) {
            Ok(()) => sync_directory(self.layout.root())?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(AuditError::io("create", &self.directory)(error)),
        }
        // Events go there and segments are removed there, so it must be the one.
        if fs::symlink_metadata(&self.directory).is_ok_and(|there| there.is_symlink()) {
            let elsewhere = io::Error::new(io::ErrorKind::InvalidInput, "it is a symbolic link");
            return Err(AuditError::io("use", &self.directory)(elsewhere));
        }
        let path = self.directory.join("lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = open_own(&mut options, &path).map_err(AuditError::io("open", &path))?;
        let start = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(error) => return Err(AuditError::io("lock", &path)(error.into())),
            }
            if start.elapsed().as_secs() >= LOCK_SECONDS {
                return Err(AuditError::Busy { path, seconds: LOCK_SECONDS });
            }
            sleep(RETRY);
        }
    }

    pub(super) fn append_locked(
        &self,
        _lock: &Lock,
        actor: &Actor,
        record: &Record,
    ) -> Result<Vec<Event>, AuditError> {
        let now = Timestamp::now();
        let place = self.place(now)?;
        let torn = place.torn.as_deref().map(declare);
        let events = Event::make(record, actor, now, place.before, torn)?;
        let mut bytes = place.heal.clone();
        for event in &events {
            bytes.extend_from_slice(event.line().as_bytes());
            bytes.push(b'\n');
        }
        self.write(&place, &bytes)?;
        Ok(events)
    }

    /// Finds the end of the chain, and seals a segment that is full.
    fn place(&self, now: Timestamp) -> Result<Place, AuditError> {
        let mut segments = segment::list(&self.directory)?;
        let Some(last) = segments.pop() else {
            let (number, before) = self.removed()?;
            return Ok(self.begin(number + 1, before));
        };
        let tail = Tail::read(&last)?;
        let unended = tail.unended();
        let before = match unended.as_ref().or(tail.last.as_ref()) {
            Some(event) => event.link(),
            None => match last_link(&segments)? {
                Some(link) => link,
                None => self.removed()?.1,
            },
        };
        let is_clean = tail.rest.is_empty();
        let sealed = is_sealed(&last)?;
        if sealed || (is_clean && self.is_full(&last, &tail, now)?) {
            if !sealed {
                seal(&last)?;
            }
            return Ok(self.begin(last.number + 1, before));
        }
        let is_whole = unended.is_some();
        let mut place =
            Place { is_new: false, length: tail.length, ..self.begin(last.number, before) };
        if is_whole {
            place.heal = b"\n".to_vec();
        } else if is_torn(&tail.rest) {
            let mut torn = tail.rest;
            if torn.last() == Some(&b'\n') {
                torn.pop();
            } else {
                torn.extend_from_slice(TORN_MARK);
                place.heal = [TORN_MARK, b"\n"].concat();
            }
            place.torn = Some(torn);
        } else if !is_clean && tail.rest.last() != Some(&b'\n') {
            // Far too much to be torn: `verify` shall name it.
            place.heal = b"\n".to_vec();
        }
        Ok(place)
    }

    /// The last segment and event that were removed.
    fn removed(&self) -> Result<(u64, Link), AuditError> {
        let anchor = Anchor::read(&self.directory)?;
        Ok(anchor.map_or((0, Link::default()), |anchor| (anchor.segment, anchor.link())))
    }

    fn begin(&self, number: u64, before: Link) -> Place {
        let segment = Segment::new(&self.directory, number);
        Place { segment, is_new: true, length: 0, before, heal: Vec::new(), torn: None }
    }

    fn is_full(&self, segment: &Segment, tail: &Tail, now: Timestamp) -> Result<bool, AuditError> {
        if tail.length >= self.rotation.bytes {
            return Ok(true);
        }
        let first = segment.lines(0)?.next()?;
        let first = first.and_then(|line| Event::parse(&line.bytes).ok());
        let (Some(first), Some(last)) = (first, &tail.last) else { return Ok(false) };
        let events = last.sequence().saturating_sub(first.sequence()).saturating_add(1);
        let age = first.time().map_or(0, |time| now.seconds().saturating_sub(time.seconds()));
        let is_old = u64::try_from(age).is_ok_and(|age| age >= self.rotation.age.as_secs());
        Ok(events >= self.rotation.events || is_old)
    }

    fn write(&self, place: &Place, bytes: &[u8]) -> Result<(), AuditError> {
        let path = &place.segment.path;
        let mut options = OpenOptions::new();
        options.append(true).create_new(place.is_new);
        let mut file = open_own(&mut options, path).map_err(AuditError::io("open", path))?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        if let Err(error) = written {
            // Half an event is of no use. If it stays, the next append says so.
            let _ = file.set_len(place.length);
            return Err(AuditError::io("write", path)(error));
        }
        if place.is_new { sync_directory(&self.directory) } else { Ok(()) }
    }
}

/// The last event of the latest segment that has any.
fn last_link(segments: &[Segment]) -> Result<Option<Link>, AuditError> {
    for segment in segments.iter().rev() {
        if let Some(event) = Tail::read(segment)?.last {
            return Ok(Some(event.link()));
        }
    }
    Ok(None)
}

fn is_sealed(segment: &Segment) -> Result<bool, AuditError> {
    let metadata = fs::metadata(&segment.path).map_err(AuditError::io("look at", &segment.path))?;
    Ok(metadata.permissions().mode() & 0o222 == 0)
}

/// Makes a segment immutable, as far as a mode can.
pub(super) fn seal(segment: &Segment) -> Result<(), AuditError> {
    let path = &segment.path;
    fs::set_permissions(path, Permissions::from_mode(SEALED))
        .map_err(AuditError::io("protect", path))
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), AuditError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(AuditError::io("sync", path))
}
