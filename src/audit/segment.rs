//! Segments: the files that hold the events, one event a line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crate::audit::error::AuditError;
use crate::base::files::open_own;
use crate::base::limits::EVENT_BYTES_MAX;

const PREFIX: &str = "segment-";
const SUFFIX: &str = ".json";
/// Digits of a segment's number: at least, and at most.
const DIGITS: (usize, usize) = (6, 15);

/// One file of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its number: 1 for the first one of a repository.
    pub(super) number: u64,
    pub(super) path: PathBuf,
}

impl Segment {
    /// Names a segment, whether it is there or not.
    pub(super) fn new(directory: &Path, number: u64) -> Self {
        Self { number, path: directory.join(format!("{PREFIX}{number:06}{SUFFIX}")) }
    }

    /// Its file name.
    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Opens it for reading.
    pub(super) fn open(&self) -> Result<File, AuditError> {
        open_own(OpenOptions::new().read(true), &self.path)
            .map_err(AuditError::io("open", &self.path))
    }

    /// Its lines, from a place that begins one.
    pub(super) fn lines(&self, offset: u64) -> Result<Lines, AuditError> {
        let mut file = self.open()?;
        file.seek(SeekFrom::Start(offset)).map_err(AuditError::io("read", &self.path))?;
        Ok(Lines { reader: BufReader::new(file), path: self.path.clone() })
    }

    /// The same, or nothing if it was removed meanwhile.
    pub(super) fn lines_if_there(&self, offset: u64) -> Result<Option<Lines>, AuditError> {
        match self.lines(offset) {
            Ok(lines) => Ok(Some(lines)),
            Err(AuditError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Returns the segments in a log's directory by their numbers; none if there is
/// no such directory.
pub(super) fn list(directory: &Path) -> Result<Vec<Segment>, AuditError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(AuditError::io("list", directory)(error)),
    };
    let mut segments = Vec::new();
    for entry in entries {
        let entry = entry.map_err(AuditError::io("list", directory))?;
        if let Some(number) = number_in(&entry.file_name().to_string_lossy()) {
            segments.push(Segment { number, path: entry.path() });
        }
    }
    segments.sort_by_key(|segment| segment.number);
    Ok(segments)
}

fn number_in(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let fits = (DIGITS.0..=DIGITS.1).contains(&digits.len());
    digits.parse().ok().filter(|_| plain && fits)
}

/// One line of a segment.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Its bytes without the newline; cut if they are more than any event has.
    pub(super) bytes: Vec<u8>,
    /// Bytes of the segment that it takes, newline included.
    pub(super) length: u64,
    /// Whether a newline ends it.
    pub(super) is_ended: bool,
}

impl Line {
    /// Whether it has more bytes than any event.
    pub(super) const fn is_cut(&self) -> bool {
        self.bytes.len() > EVENT_BYTES_MAX
    }
}

/// Reads lines, holding each to a bound.
pub(super) struct Lines {
    reader: BufReader<File>,
    path: PathBuf,
}

impl Lines {
    /// The next line, or nothing at the end.
    pub(super) fn next(&mut self) -> Result<Option<Line>, AuditError> {
        let mut line = Line::default();
        loop {
            let room = (EVENT_BYTES_MAX + 2).saturating_sub(line.bytes.len());
            let mut more = Vec::new();
            let mut bounded = self.reader.by_ref().take(if room > 0 { room as u64 } else { 4096 });
            let read = bounded.read_until(b'\n', &mut more);
            let read = read.map_err(AuditError::io("read", &self.path))?;
            line.length += read as u64;
            line.is_ended = more.last() == Some(&b'\n');
            more.truncate(room.min(more.len() - usize::from(line.is_ended)));
            line.bytes.append(&mut more);
            if line.is_ended || read == 0 {
                return Ok((line.length > 0).then_some(line));
            }
        }
    }
}
