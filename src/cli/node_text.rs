//! A file as `ls -l` shows it and as programs read it.

use serde::Serialize;

use crate::base::format;
use crate::base::id::hex;
use crate::base::name::printable;
use crate::dag::{Kind, Node};
use crate::find::kind_letter;
use crate::repository::RepositoryError;

/// The fields of a file in JSON; others may rely on their names.
#[derive(Serialize)]
pub(crate) struct NodeFacts {
    path: String,
    kind: &'static str,
    mode: String,
    uid: u32,
    gid: u32,
    user: String,
    group: String,
    size: u64,
    mtime: String,
    links: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// Of a directory: files, directories and bytes, all the way down.
    #[serde(skip_serializing_if = "Option::is_none")]
    below: Option<Below>,
}

#[derive(Serialize)]
struct Below {
    files: u64,
    dirs: u64,
    bytes: u64,
}

impl NodeFacts {
    pub(crate) fn new(path: &[u8], node: &Node) -> Self {
        let (mut target, mut below) = (None, None);
        match &node.kind {
            Kind::Symlink(to) => target = Some(printable(to)),
            Kind::Directory(tree) => {
                let totals = tree.totals;
                let (files, dirs, bytes) = (totals.files, totals.directories, totals.bytes);
                below = Some(Below { files, dirs, bytes });
            }
            _ => {}
        }
        Self {
            path: printable(path),
            kind: kind_name(&node.kind),
            mode: format!("{:04o}", node.mode),
            uid: node.owner.uid,
            gid: node.owner.gid,
            user: node.owner.user.to_string(),
            group: node.owner.group.to_string(),
            size: node.size(),
            mtime: node.mtime.to_rfc3339(),
            links: node.link_count(),
            target,
            sha256: sha256(node),
            below,
        }
    }
}

/// The SHA-256 of a file's content in hexadecimal, where it is known.
pub(crate) fn sha256(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::File(content) => content.known_sha256().map(|digest| hex(&digest)),
        _ => None,
    }
}

/// The word for a kind.
pub(crate) const fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::File(_) => "file",
        Kind::Directory(_) => "directory",
        Kind::Symlink(_) => "symlink",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
        Kind::BlockDevice(_) => "block device",
        Kind::CharDevice(_) => "character device",
    }
}

/// The owner and the group, by name where there is one.
pub(crate) fn owner_texts(node: &Node) -> (String, String) {
    let text = |name: &str, number: u32| match name {
        "" => number.to_string(),
        name => printable(name.as_bytes()),
    };
    let owner = &node.owner;
    (text(&owner.user, owner.uid), text(&owner.group, owner.gid))
}

/// The column of sizes of `ls -l`: bytes, or IEC units, or the numbers of a
/// device.
pub(crate) fn size_text(node: &Node, is_for_people: bool) -> String {
    match &node.kind {
        Kind::BlockDevice(device) | Kind::CharDevice(device) => {
            format!("{}, {}", device.major, device.minor)
        }
        _ if is_for_people => format::bytes(node.size()),
        _ => node.size().to_string(),
    }
}

/// The bytes of a regular file or of all files below a directory, in IEC units.
pub(crate) fn weight_text(node: &Node) -> String {
    match &node.kind {
        Kind::File(content) => format::bytes(content.size),
        Kind::Directory(tree) => format::bytes(tree.totals.bytes),
        _ => "-".to_owned(),
    }
}

/// The ten characters of `ls -l`.
pub(crate) fn mode_text(node: &Node) -> String {
    let mut text = String::with_capacity(10);
    text.push(match kind_letter(&node.kind) {
        'f' => '-',
        letter => letter,
    });
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = node.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, node.mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// What is said of a directory of which a part cannot be read.
pub(crate) fn not_seen_whole(path: &[u8], error: &RepositoryError) -> String {
    let path = if path.is_empty() { "/".to_owned() } else { printable(path) };
    let what = match error {
        RepositoryError::Missing { .. } | RepositoryError::Damaged { .. } => error.to_string(),
        error => format!("Damage: {error}"),
    };
    format!("{what}; so {path} was not seen whole")
}
