//! The manifest of an archive: what it holds, of what it was made, and the
//! SHA-256 of each file. It lies beside the archive and is its last member.
//!
//! It is one JSON document with one line for each file, so that it can be
//! written and checked without holding it: `docs/archive.md` has the fields.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::base::format::one_line;
use crate::base::hash::Digest256;
use crate::base::id::{hex, parse_hex, parse_hex_bytes};

/// Where files lie in the archive, and the manifest.
pub(super) const DATA: &str = "data";
pub(super) const MANIFEST: &str = "manifest.json";
/// What an archive of ours says of itself at its beginning.
pub(super) const COMMENT: &str = "icecore archive 1";
const FORMAT: &str = "icecore archive";
const VERSION: u32 = 1;
/// Bytes of a line at most: the lists of a snapshot's manifest, escaped.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// Bytes as a text where they are one, else in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ByteText {
    /// A text.
    Text(String),
    /// Other bytes.
    Bytes {
        /// In hexadecimal digits.
        hex: String,
    },
}

impl ByteText {
    pub(super) fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes { hex: hex(bytes) },
        }
    }

    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.as_bytes().to_vec()),
            Self::Bytes { hex } => parse_hex_bytes(hex),
        }
    }
}

/// What an archive was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArchiveKind {
    /// A snapshot.
    Snapshot,
    /// An event log.
    EventLog,
}

/// The head of a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManifestHead {
    /// Always `icecore archive`.
    pub format: String,
    /// The version of the format.
    pub version: u32,
    /// What it was made of.
    pub kind: ArchiveKind,
    /// When it was written, in RFC 3339.
    pub created_at: String,
    /// The program that wrote it.
    pub program: String,
    /// Where it comes from.
    pub source: ArchiveSource,
    /// The snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotSummary>,
    /// The state of the audit log's chain when the archive was written, or of the
    /// chain that it holds.
    pub chain: ChainState,
}

/// Where an archive comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveSource {
    /// The repository's directory or the event log's.
    pub path: String,
    /// The machine that wrote the archive.
    pub host: String,
}

/// A snapshot, as far as its tree does not say it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotSummary {
    /// Its id.
    pub id: String,
    /// When it was begun, in RFC 3339.
    pub time: String,
    /// When it was committed, in RFC 3339.
    pub finished: String,
    /// The host that took it.
    pub host: String,
    /// The user who took it.
    pub user: String,
    /// What was named on the command line.
    pub sources: Vec<ByteText>,
    /// A text of the user's.
    pub description: String,
    /// Labels of the user's.
    pub tags: Vec<String>,
    /// The patterns that kept items out.
    pub excludes: Vec<String>,
    /// The program that took it.
    pub program: String,
    /// The id of its root tree.
    pub root: String,
    /// Files of any kind but directories.
    pub files: u64,
    /// Directories, the root not counted.
    pub dirs: u64,
    /// Bytes of the regular files.
    pub bytes: u64,
    /// Source items that could not be read whole.
    pub errors: u64,
    /// Messages about them.
    pub error_messages: Vec<String>,
}

/// The state of a chain of events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainState {
    /// Whether each event follows the one before it.
    pub valid: bool,
    /// Whether each event's own hash was computed again: the rule is known for
    /// logs of icecore only.
    pub recomputed: bool,
    /// Segments.
    pub segments: u64,
    /// Events.
    pub events: u64,
    /// The first event's id.
    pub first_id: Option<String>,
    /// The last event's id.
    pub last_id: Option<String>,
    /// The last event's hash.
    pub last_hash: Option<String>,
    /// The first thing that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileLine {
    pub(super) path: ByteText,
    pub(super) size: u64,
    /// None of files with holes that nobody can read to their end.
    pub(super) sha256: Option<String>,
}

/// What all files are together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Totals {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Tail {
    files: Vec<FileLine>,
    totals: Totals,
}

impl ManifestHead {
    pub(super) fn new(
        kind: ArchiveKind,
        created_at: String,
        program: String,
        source: ArchiveSource,
        chain: ChainState,
    ) -> Self {
        let format = FORMAT.to_owned();
        let snapshot = None;
        Self { format, version: VERSION, kind, created_at, program, source, snapshot, chain }
    }
}

/// Writes a manifest line by line.
pub(super) struct ManifestWriter<W: Write> {
    output: W,
    totals: Totals,
}

impl<W: Write> ManifestWriter<W> {
    pub(super) fn begin(mut output: W, head: &ManifestHead) -> io::Result<Self> {
        let text = serde_json::to_string(head)?;
        let open = text.strip_suffix('}').unwrap_or(&text);
        write!(output, "{open},\"files\":[")?;
        Ok(Self { output, totals: Totals::default() })
    }

    pub(super) fn file(
        &mut self,
        path: &[u8],
        size: u64,
        sha256: Option<&Digest256>,
    ) -> io::Result<()> {
        let separator = if self.totals.files == 0 { "\n" } else { ",\n" };
        self.totals.files += 1;
        self.totals.bytes = self.totals.bytes.saturating_add(size);
        let sha256 = sha256.map(|digest| hex(digest));
        let line = FileLine { path: ByteText::new(path), size, sha256 };
        write!(self.output, "{separator}{}", serde_json::to_string(&line)?)
    }

    /// Ends it and returns what it was written to.
    pub(super) fn finish(mut self) -> io::Result<W> {
        let totals = serde_json::to_string(&self.totals)?;
        writeln!(self.output, "\n],\"totals\":{totals}}}")?;
        self.output.flush()?;
        Ok(self.output)
    }
}

/// Takes the path, the size and the SHA-256 of a file, or says what is wrong with it.
pub(super) type TakeFile<'a> = dyn FnMut(&[u8], u64, Option<Digest256>) -> Result<(), String> + 'a;

/// Reads a manifest line by line; `file` is told of each file. Fails with what is
/// wrong with it.
pub(super) fn read(
    mut input: impl BufRead,
    file: &mut TakeFile<'_>,
) -> Result<ManifestHead, String> {
    let head = line(&mut input)?;
    let head = head.strip_suffix("\"files\":[").and_then(|head| head.strip_suffix(','));
    let head = head.ok_or("its first line does not end in a list of files")?;
    let head: ManifestHead = serde_json::from_str(&format!("{head}}}"))
        .map_err(|error| one_line(&format!("its head makes no sense: {error}")))?;
    if head.format != FORMAT || head.version != VERSION {
        let (format, version) = (&head.format, head.version);
        return Err(one_line(&format!(
            "version {version} of {format:?} is none that this icecore can read"
        )));
    }
    let mut totals = Totals::default();
    loop {
        let text = line(&mut input)?;
        if text.starts_with(']') {
            let tail: Tail = serde_json::from_str(&format!("{{\"files\":[{text}"))
                .map_err(|error| one_line(&format!("its end makes no sense: {error}")))?;
            let same = tail.totals == totals;
            let has_more = !input.fill_buf().map_err(|error| error.to_string())?.is_empty();
            return match (same, has_more) {
                (true, false) => Ok(head),
                (false, _) => Err("it has not as many files as it says".to_owned()),
                (true, true) => Err("something follows its end".to_owned()),
            };
        }
        let text = text.strip_suffix(',').unwrap_or(&text);
        let entry: FileLine = serde_json::from_str(text)
            .map_err(|error| one_line(&format!("a file makes no sense: {error}")))?;
        let path = entry.path.bytes().ok_or("a path makes no sense")?;
        let digest = match &entry.sha256 {
            Some(digits) => Some(parse_hex(digits).ok_or("a checksum makes no sense")?),
            None => None,
        };
        totals.files += 1;
        totals.bytes = totals.bytes.saturating_add(entry.size);
        file(&path, entry.size, digest)?;
    }
}

fn line(input: &mut impl BufRead) -> Result<String, String> {
    let mut text = String::new();
    let mut bounded = io::Read::take(input, LINE_BYTES_MAX);
    bounded.read_line(&mut text).map_err(|error| error.to_string())?;
    match text.strip_suffix('\n') {
        Some(text) => Ok(text.to_owned()),
        None => Err("a line has no end".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> ManifestHead {
        let source = ArchiveSource { path: "/r".to_owned(), host: "h".to_owned() };
        let (time, program) = ("2026-11-21T00:00:00Z".to_owned(), "icecore".to_owned());
        ManifestHead::new(ArchiveKind::Snapshot, time, program, source, ChainState::default())
    }

    fn write(files: &[(&[u8], u64, Option<Digest256>)]) -> Vec<u8> {
        let mut writer = ManifestWriter::begin(Vec::new(), &head()).unwrap();
        for (path, size, digest) in files {
            writer.file(path, *size, digest.as_ref()).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn a_manifest_is_one_document_and_is_read_back_line_by_line() {
        let files: [(&[u8], u64, Option<Digest256>); 3] = [
            (b"a/b", 3, Some([7; 32])),
            (b"\xff\n\"", 0, Some([9; 32])),
            (b"holes", 1 << 50, None),
        ];
        for count in 0..=files.len() {
            let text = write(&files[..count]);
            let whole: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(whole["files"].as_array().unwrap().len(), count);
            let mut found = Vec::new();
            let read = read(text.as_slice(), &mut |path, size, digest| {
                found.push((path.to_vec(), size, digest));
                Ok(())
            });
            assert_eq!(read.unwrap(), head());
            let wanted =
                files[..count].iter().map(|(path, size, digest)| (path.to_vec(), *size, *digest));
            assert_eq!(found, wanted.collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_manifest_that_was_cut_or_lacks_a_file_is_refused() {
        let text = write(&[(b"a", 1, None), (b"b", 2, None)]);
        for end in 0..text.len() {
            assert!(read(&text[..end], &mut |_, _, _| Ok(())).is_err(), "cut at {end}");
        }
        let lines: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let fewer = [lines[0], lines[1], lines[3]].concat();
        assert!(read(fewer.as_slice(), &mut |_, _, _| Ok(())).is_err());
        assert!(read([&text[..], b"x\n"].concat().as_slice(), &mut |_, _, _| Ok(())).is_err());
    }
}
