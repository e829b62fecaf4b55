//! The kernel's table of mounts, as `/proc/PID/mountinfo` shows it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// The file system type of our mounts.
pub(crate) const FILE_SYSTEM: &str = "fuse.icecore";
/// The table of this process.
const OWN: &str = "/proc/self/mountinfo";

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// The device numbers, as text.
    pub(crate) device: Vec<u8>,
    /// What of the file system is mounted: `/`, or less by a bind mount.
    pub(crate) root: PathBuf,
    /// Where.
    pub place: PathBuf,
    /// The type of file system.
    pub(crate) kind: Vec<u8>,
    /// What is mounted.
    pub source: OsString,
    /// The options of the file system.
    pub(crate) options: Vec<u8>,
}

impl MountEntry {
    /// Whether it is an icecore mount.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.kind == FILE_SYSTEM.as_bytes()
    }
}

/// Returns what is mounted at exactly that path, if it is an icecore mount and
/// nothing lies over it. The table is read rather than the path, which would
/// hang if the server does.
#[must_use]
pub fn find_mount(path: &Path) -> Option<MountEntry> {
    let table = read(Path::new(OWN));
    // The last one at a path is the one on top.
    table.into_iter().rfind(|entry| entry.place == path).filter(MountEntry::is_ours)
}

/// Reads a table; an empty one if it cannot be read, as when its process ended.
pub(crate) fn read(table: &Path) -> Vec<MountEntry> {
    parse(&fs::read(table).unwrap_or_default())
}

fn parse(table: &[u8]) -> Vec<MountEntry> {
    table.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// `ID PARENT DEVICE ROOT PLACE OPTIONS [FIELDS...] - TYPE SOURCE OPTIONS`.
fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let separator = fields.iter().position(|field| *field == b"-")?;
    let text = |index: usize| fields.get(index).map(|field| unescape(field));
    let path = |index: usize| text(index).map(|bytes| PathBuf::from(OsString::from_vec(bytes)));
    Some(MountEntry {
        device: text(2)?,
        root: path(3)?,
        place: path(4)?,
        kind: text(separator + 1)?,
        source: OsString::from_vec(text(separator + 2)?),
        options: text(separator + 3)?,
    })
}

/// Undoes the table's escapes of blanks and backslashes: `\040` and the like.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (first, code) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

/// The directories that an overlay was made of: it holds them without showing
/// them as mounts.
pub(crate) fn lower_directories(entry: &MountEntry) -> Vec<PathBuf> {
    if entry.kind != b"overlay" {
        return Vec::new();
    }
    let options = entry.options.split(|byte| *byte == b',');
    let lists = options.filter_map(|option| {
        option.strip_prefix(b"lowerdir=").or_else(|| option.strip_prefix(b"lowerdir+="))
    });
    let paths = lists.flat_map(|list| list.split(|byte| *byte == b':'));
    paths.map(|path| PathBuf::from(std::ffi::OsStr::from_bytes(path))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
22 1 0:20 / /proc rw shared:5 - proc proc rw
94 22 0:45 / /a\\040b\\134 ro,nosuid shared:7 master:1 - fuse.icecore /re\\040po:latest ro,user_id=0
95 22 0:45 /abc/etc /elsewhere ro - fuse.icecore /re\\040po:latest ro
96 22 0:46 / /over rw - overlay none rw,lowerdir=/m/one:/m/two,upperdir=/u
no line at all
";

    #[test]
    fn a_table_is_read_with_its_escapes_and_fields_that_come_and_go() {
        let table = parse(TABLE);
        assert_eq!(table.len(), 4);
        assert_eq!(table[1].place, Path::new("/a b\\"));
        assert_eq!(table[1].source, "/re po:latest");
        assert!(table[1].is_ours() && !table[0].is_ours());
        assert_eq!(
            (table[1].device.clone(), table[2].root.clone()),
            (b"0:45".into(), "/abc/etc".into())
        );
        assert_eq!(lower_directories(&table[3]), [Path::new("/m/one"), Path::new("/m/two")]);
        assert!(lower_directories(&table[1]).is_empty());
    }

    #[test]
    fn octal_escapes_of_the_table_are_undone_and_nothing_else() {
        assert_eq!(unescape(b"/a\\040b\\134c"), b"/a b\\c");
        assert_eq!(unescape(b"/a\\04"), b"/a\\04");
        assert_eq!(unescape(b"\\999"), b"\\999");
    }
}
