//! What must be read from a frozen repository.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// What was saved, by the description of the snapshot.
pub(super) struct Expected(BTreeMap<String, Vec<Line>>);

/// One item of a snapshot.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) path: Vec<u8>,
    pub(super) kind: String,
    pub(super) mode: u32,
    /// Nanoseconds since the epoch.
    pub(super) mtime: i128,
    pub(super) size: u64,
    pub(super) sha256: String,
    pub(super) target: Option<Vec<u8>>,
    /// The first path of a group of hard links.
    pub(super) linked: Option<String>,
    pub(super) xattrs: BTreeMap<String, Vec<u8>>,
}

impl Expected {
    pub(super) fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).expect("the list is there");
        let mut by_snapshot: BTreeMap<String, Vec<Line>> = BTreeMap::new();
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).expect("each line is JSON");
            let snapshot = text_of(&value, "snapshot").expect("each line names its snapshot");
            by_snapshot.entry(snapshot).or_default().push(Line::new(&value));
        }
        Self(by_snapshot)
    }

    /// What a snapshot holds, by rising paths.
    pub(super) fn lines(&self, snapshot: &str) -> &[Line] {
        self.0.get(snapshot).unwrap_or_else(|| panic!("the list has no snapshot {snapshot:?}"))
    }

    /// The snapshots that are listed.
    pub(super) fn snapshots(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl Line {
    fn new(value: &Value) -> Self {
        let raw = |name: &str| text_of(value, name).map(|text| unescape(&text));
        let mode = text_of(value, "mode").expect("a mode");
        let xattrs = value["xattrs"].as_object().into_iter().flatten();
        let xattr = |(name, value): (&String, &Value)| {
            (name.clone(), unescape(value.as_str().expect("a value")))
        };
        Self {
            path: raw("path").expect("a path"),
            kind: text_of(value, "kind").expect("a kind"),
            mode: u32::from_str_radix(&mode, 8).expect("an octal number"),
            mtime: i128::from(value["mtime"].as_i64().expect("nanoseconds")),
            size: value["size"].as_u64().unwrap_or(0),
            sha256: text_of(value, "sha256").unwrap_or_default(),
            target: raw("target"),
            linked: text_of(value, "linked"),
            xattrs: xattrs.map(xattr).collect(),
        }
    }

    /// The path as the file system takes it.
    pub(super) fn path(&self) -> PathBuf {
        OsString::from_vec(self.path.clone()).into()
    }

    /// How commands name it.
    pub(super) fn in_snapshot(&self, id: &str) -> OsString {
        OsString::from_vec([id.as_bytes(), b":", &self.path].concat())
    }
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text_of(value: &Value, name: &str) -> Option<String> {
    value[name].as_str().map(str::to_owned)
}

/// Undoes `%XX`.
fn unescape(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(code, 16).expect("two hexadecimal digits"));
        bytes.extend(rest.as_bytes());
    }
    bytes
}
