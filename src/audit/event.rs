//! Events: what is recorded of an operation, its line in a segment, its hash.
//!
//! The hash covers the bytes of the line as they stand there, without the hash
//! itself: what `"hash"` follows, closed by a brace. So any edit shows, and lines
//! with fields of later versions can be checked by this one.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::audit::details::{self, Details};
use crate::audit::error::AuditError;
use crate::base::format::one_line;
use crate::base::hash::{Digest256, StreamHash};
use crate::base::id::{SnapshotId, hex, parse_hex};
use crate::base::limits::EVENT_BYTES_MAX;
use crate::base::time::{Timestamp, parse_expression};
use crate::crypto::{SealingKey, random};

/// Precedes what is hashed.
const TAG: &[u8] = b"icecore event 1\0";
/// What stands between an event and its hash, and behind the hash.
const HASH_FIELD: &str = ",\"hash\":\"";
const HASH_END: &str = "\"}";
/// Snapshots that one event names; of more, further events tell.
const SNAPSHOTS_MAX: usize = 1000;
/// Paths that one event names; of more, their number.
const PATHS_MAX: usize = 100;
/// Bytes of a text in an event; longer ones are cut.
const TEXT_BYTES_MAX: usize = 4096;

/// What can happen to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// `init` made it.
    RepositoryCreated,
    /// `repair` changed it.
    RepositoryRepaired,
    /// A snapshot was taken.
    SnapshotCreated,
    /// Named snapshots were deleted.
    SnapshotDeleted,
    /// Deleted snapshots were brought back.
    SnapshotUndeleted,
    /// A policy deleted snapshots.
    SnapshotPruned,
    /// Tags or pins of snapshots changed.
    SnapshotTagged,
    /// Files were restored from a snapshot.
    SnapshotRestored,
    /// Snapshots became readable at a mountpoint.
    SnapshotMounted,
    /// They no longer are.
    SnapshotUnmounted,
    /// Content was read out.
    SnapshotRead,
    /// A snapshot was written as an archive.
    SnapshotExported,
    /// A snapshot was made of an archive.
    SnapshotImported,
    /// Space of what nothing needs was returned.
    GarbageCollected,
    /// A check found no damage.
    ValidationSucceeded,
    /// A check found damage.
    ValidationFailed,
    /// A password or key was tried that is none of the repository's.
    PasswordRefused,
    /// A key file was added.
    KeyAdded,
    /// A key file was removed.
    KeyRemoved,
    /// A key file took the place of another one.
    KeyChanged,
    /// The master key was shown, to be kept on paper.
    KeyExported,
    /// Old segments of this log were removed.
    LogPruned,
    /// This log was written as an archive.
    LogExported,
    /// An operation failed.
    OperationFailed,
}

impl EventKind {
    /// The event's type as it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RepositoryCreated => "backup.repository.created",
            Self::RepositoryRepaired => "backup.repository.repaired",
            Self::SnapshotCreated => "backup.snapshot.created",
            Self::SnapshotDeleted => "backup.snapshot.deleted",
            Self::SnapshotUndeleted => "backup.snapshot.undeleted",
            Self::SnapshotPruned => "backup.snapshot.pruned",
            Self::SnapshotTagged => "backup.snapshot.tagged",
            Self::SnapshotRestored => "backup.snapshot.restored",
            Self::SnapshotMounted => "backup.snapshot.mounted",
            Self::SnapshotUnmounted => "backup.snapshot.unmounted",
            Self::SnapshotRead => "backup.snapshot.read",
            Self::SnapshotExported => "backup.snapshot.exported",
            Self::SnapshotImported => "backup.snapshot.imported",
            Self::GarbageCollected => "backup.garbage.collected",
            Self::ValidationSucceeded => "backup.validation.succeeded",
            Self::ValidationFailed => "backup.validation.failed",
            Self::PasswordRefused => "backup.password.refused",
            Self::KeyAdded => "backup.key.added",
            Self::KeyRemoved => "backup.key.removed",
            Self::KeyChanged => "backup.key.changed",
            Self::KeyExported => "backup.key.exported",
            Self::LogPruned => "backup.log.pruned",
            Self::LogExported => "backup.log.exported",
            Self::OperationFailed => "backup.operation.failed",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The user's name, or the number.
    pub user: String,
    /// The user's number.
    pub uid: u32,
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// The program and its version.
    pub program: String,
}

/// What it was done to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// Ids of snapshots.
    pub snapshots: Vec<String>,
    /// Paths, as printable text.
    pub paths: Vec<String>,
    /// How many more paths there were.
    #[serde(skip_serializing_if = "is_zero")]
    pub paths_omitted: u64,
}

/// What an append that was cut off left before an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Torn {
    /// Bytes between the event before and the line of this one.
    pub bytes: u64,
    /// SHA-256 of these bytes without the newline at their end.
    pub sha256: String,
}

/// What is to be recorded of an operation.
#[derive(Clone, Debug)]
pub struct Record {
    kind: EventKind,
    snapshots: Vec<SnapshotId>,
    paths: Vec<String>,
    payload: Map<String, Value>,
    details: Details,
}

impl Record {
    /// Begins a record.
    #[must_use]
    pub fn new(kind: EventKind) -> Self {
        Self {
            kind,
            snapshots: Vec::new(),
            paths: Vec::new(),
            payload: Map::new(),
            details: Details::Clear,
        }
    }

    /// Says how its paths and facts are written. Those of [`EventKind::LogPruned`]
    /// are part of the chain, tell nothing of content, and stay as they are.
    #[must_use]
    pub fn with_details(mut self, details: Details) -> Self {
        if self.kind != EventKind::LogPruned {
            self.details = details;
        }
        self
    }

    /// Names snapshots that it is about.
    #[must_use]
    pub fn snapshots(mut self, ids: impl IntoIterator<Item = SnapshotId>) -> Self {
        self.snapshots.extend(ids);
        self
    }

    /// Names a path, as printable text.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// Adds a counter.
    #[must_use]
    pub fn count(self, name: &str, value: u64) -> Self {
        self.fact(name, value.into())
    }

    /// Adds a text; one line of a few thousand bytes at most is kept.
    #[must_use]
    pub fn text(self, name: &str, value: &str) -> Self {
        self.fact(name, cut(value).into())
    }

    fn fact(mut self, name: &str, value: Value) -> Self {
        self.payload.insert(name.to_owned(), value);
        self
    }

    /// The events that it takes, first their subjects.
    fn subjects(&self) -> Vec<Subject> {
        let ids: Vec<String> = self.snapshots.iter().map(ToString::to_string).collect();
        let mut parts: Vec<Subject> = ids
            .chunks(SNAPSHOTS_MAX)
            .map(|ids| Subject { snapshots: ids.to_vec(), ..Subject::default() })
            .collect();
        if parts.is_empty() {
            parts.push(Subject::default());
        }
        for part in &mut parts {
            part.paths = self.paths.iter().take(PATHS_MAX).map(|path| cut(path)).collect();
            part.paths_omitted = self.paths.len().saturating_sub(PATHS_MAX) as u64;
        }
        parts
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// The fields of an event without its hash, in the order of a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Body {
    sequence: u64,
    pub(super) id: String,
    time: String,
    pub(super) r#type: String,
    actor: Actor,
    pub(super) subject: Subject,
    pub(super) payload: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    torn: Option<Torn>,
    previous: String,
}

/// An event's place in the chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    /// The event's number; 0 before the first one.
    pub(super) sequence: u64,
    /// The event's hash; zeros before the first one.
    pub(super) hash: Digest256,
}

/// An event of the log.
#[derive(Clone, Debug)]
pub struct Event {
    body: Body,
    previous: Digest256,
    link: Link,
    line: String,
}

impl Event {
    /// Makes the events of a record that follow `before`, the first of them
    /// declaring `torn`.
    pub(super) fn make(
        record: &Record,
        actor: &Actor,
        time: Timestamp,
        before: Link,
        mut torn: Option<Torn>,
    ) -> Result<Vec<Self>, AuditError> {
        let mut events: Vec<Self> = Vec::new();
        for subject in record.subjects() {
            let last = events.last().map_or(before, |event| event.link);
            let body = Body {
                sequence: last.sequence.saturating_add(1),
                id: random_id()?,
                time: time.to_rfc3339(),
                r#type: record.kind.name().to_owned(),
                actor: actor.clone(),
                subject,
                payload: record.payload.clone(),
                torn: torn.take(),
                previous: hex(&last.hash),
            };
            let body = record.details.apply(body)?;
            events.push(Self::seal(body, last.hash)?);
        }
        Ok(events)
    }

    fn seal(body: Body, previous: Digest256) -> Result<Self, AuditError> {
        let text = serde_json::to_string(&body).map_err(|error| AuditError::Io {
            action: "write an event for",
            path: "log".into(),
            source: error.into(),
        })?;
        let hash = digest(&previous, text.as_bytes());
        let open = text.strip_suffix('}').unwrap_or(&text);
        let line = format!("{open}{HASH_FIELD}{}{HASH_END}", hex(&hash));
        if line.len() > EVENT_BYTES_MAX {
            return Err(AuditError::TooLarge { bytes: line.len() });
        }
        let link = Link { sequence: body.sequence, hash };
        Ok(Self { body, previous, link, line })
    }

    /// Understands a line without its newline, or says why it is no event. The
    /// hash is taken as it is; see [`Self::computed`].
    pub(super) fn parse(line: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(line).map_err(|_| "it is not text".to_owned())?;
        let (hashed, hash) = split(text).ok_or("it does not end in a hash")?;
        let body: Body = serde_json::from_str(&hashed)
            .map_err(|error| one_line(&format!("it is no event: {error}")))?;
        let previous = lower_hex(&body.previous).ok_or("its `previous` is no hash")?;
        let link = Link { sequence: body.sequence, hash };
        Ok(Self { body, previous, link, line: text.to_owned() })
    }

    /// The hash that the line should have.
    pub(super) fn computed(&self) -> Digest256 {
        let (hashed, _) = split(&self.line).unwrap_or_default();
        digest(&self.previous, hashed.as_bytes())
    }

    pub(super) const fn link(&self) -> Link {
        self.link
    }

    /// The hash of the event before it.
    #[must_use]
    pub const fn previous(&self) -> Digest256 {
        self.previous
    }

    /// Its hash as written in its line.
    #[must_use]
    pub const fn hash(&self) -> Digest256 {
        self.link.hash
    }

    /// Its number: 1 for the first event of a repository.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.link.sequence
    }

    /// A name that no other event has.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.body.id
    }

    /// When the clock of its machine said it happened, if that is a time.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        parse_expression(&self.body.time, Timestamp::default())
    }

    /// The same as it is written.
    #[must_use]
    pub fn time_text(&self) -> &str {
        &self.body.time
    }

    /// What happened: the name of an [`EventKind`], or of one that a later
    /// version knows.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.body.r#type
    }

    /// Who did it.
    #[must_use]
    pub const fn actor(&self) -> &Actor {
        &self.body.actor
    }

    /// What it was done to.
    #[must_use]
    pub const fn subject(&self) -> &Subject {
        &self.body.subject
    }

    /// Counters and other facts.
    #[must_use]
    pub const fn payload(&self) -> &Map<String, Value> {
        &self.body.payload
    }

    /// The same event with its details in the clear, if they are sealed with this
    /// key. Its line then shows them; its hash is still that of the line in the log.
    #[must_use]
    pub fn unsealed(&self, key: &SealingKey) -> Option<Self> {
        let body = details::open(&self.body, key)?;
        let text = serde_json::to_string(&body).ok()?;
        let open = text.strip_suffix('}')?;
        let line = format!("{open}{HASH_FIELD}{}{HASH_END}", hex(&self.link.hash));
        Some(Self { body, line, ..self.clone() })
    }

    /// What a torn append left before it.
    #[must_use]
    pub const fn torn(&self) -> Option<&Torn> {
        self.body.torn.as_ref()
    }

    /// Its line as it stands in the segment, without the newline.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }
}

/// Splits a line into what is hashed and the hash that it holds.
fn split(line: &str) -> Option<(String, Digest256)> {
    let (open, digits) = line.strip_suffix(HASH_END)?.rsplit_once(HASH_FIELD)?;
    Some((format!("{open}}}"), lower_hex(digits)?))
}

/// A digest has one text only, else an edited line could keep its hash.
fn lower_hex(digits: &str) -> Option<Digest256> {
    parse_hex(digits).filter(|digest| hex(digest) == digits)
}

fn digest(previous: &Digest256, text: &[u8]) -> Digest256 {
    let mut hash = StreamHash::default();
    for part in [TAG, previous, text] {
        hash.update(part);
    }
    hash.finish()
}

fn random_id() -> Result<String, AuditError> {
    Ok(hex(&random::<16>()?))
}
