//! How two items differ, as far as it can be told without reading content. Pure.

use crate::dag::{Body, Content, LinkGroup, Owner, Segment};
use crate::diff::change::{DirectoryContent, Field, FileContent, Item, ItemKind, Links};

/// What is known of two contents without reading them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sameness {
    Same,
    Different,
    /// One of them has to be read.
    Unknown,
}

/// The fields of metadata that differ, in their order. Those that only one side
/// can know are not compared.
pub(super) fn metadata(before: &Item, after: &Item) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut tell = |differs: bool, field| {
        if differs {
            fields.push(field);
        }
    };
    tell(before.mode != after.mode, Field::Mode);
    tell(owner_differs(before, after), Field::Owner);
    tell(before.mtime != after.mtime, Field::Mtime);
    let is_live = is_live(before) || is_live(after);
    tell(!is_live && before.atime != after.atime, Field::Atime);
    let is_directory = before.is_directory() || after.is_directory();
    tell(!is_directory && links_differ(&before.links, &after.links), Field::Links);
    tell(before.xattrs != after.xattrs, Field::Xattrs);
    let marks_differ = before.changed_while_read != after.changed_while_read;
    tell(!is_live && marks_differ, Field::ChangedWhileRead);
    fields
}

/// What differs of what only their kind has, content left aside.
pub(super) fn kind(before: &Item, after: &Item) -> Option<Field> {
    match (&before.kind, &after.kind) {
        (ItemKind::File(_), ItemKind::File(_))
        | (ItemKind::Directory(_), ItemKind::Directory(_))
        | (ItemKind::Fifo, ItemKind::Fifo)
        | (ItemKind::Socket, ItemKind::Socket) => None,
        (ItemKind::Symlink(before), ItemKind::Symlink(after)) => {
            (before != after).then_some(Field::Target)
        }
        (ItemKind::BlockDevice(before), ItemKind::BlockDevice(after))
        | (ItemKind::CharDevice(before), ItemKind::CharDevice(after)) => {
            (before != after).then_some(Field::Device)
        }
        _ => Some(Field::Type),
    }
}

/// Compares two contents as far as that costs nothing.
pub(super) fn content(before: &FileContent, after: &FileContent) -> Sameness {
    let size = |content: &FileContent| match content {
        FileContent::Stored(content) => content.size,
        FileContent::Live(size) => *size,
    };
    if size(before) != size(after) {
        return Sameness::Different;
    }
    match (before, after) {
        (FileContent::Stored(before), FileContent::Stored(after)) => {
            if is_same_content(before, after) { Sameness::Same } else { Sameness::Different }
        }
        _ if size(before) == 0 => Sameness::Same,
        _ => Sameness::Unknown,
    }
}

/// Whether two contents of one repository are the same bytes with the same
/// holes. Hints do not count, nor whether bytes lie in the tree itself.
fn is_same_content(before: &Content, after: &Content) -> bool {
    let is_same_body = match (&before.body, &after.body) {
        (Body::Inline(before), Body::Inline(after)) => before == after,
        (Body::Segments(before), Body::Segments(after)) => {
            before.len() == after.len()
                && before.iter().zip(after).all(|(before, after)| is_same_segment(before, after))
        }
        (Body::List(before), Body::List(after)) => before.id == after.id,
        _ => false,
    };
    let hashes = before.known_sha256().zip(after.known_sha256());
    before.size == after.size && (is_same_body || hashes.is_some_and(|(one, other)| one == other))
}

fn is_same_segment(before: &Segment, after: &Segment) -> bool {
    match (before, after) {
        (Segment::Chunk { id, .. }, Segment::Chunk { id: other, .. }) => id == other,
        (Segment::Hole { bytes }, Segment::Hole { bytes: other }) => bytes == other,
        _ => false,
    }
}

fn is_live(item: &Item) -> bool {
    matches!(item.links, Links::Live(_))
        || matches!(item.kind, ItemKind::Directory(DirectoryContent::Live))
}

/// A live item has numbers alone: what they are called may differ between hosts.
fn owner_differs(before: &Item, after: &Item) -> bool {
    let numbers = |owner: &Owner| (owner.uid, owner.gid);
    if is_live(before) || is_live(after) {
        return numbers(&before.owner) != numbers(&after.owner);
    }
    before.owner != after.owner
}

fn links_differ(before: &Links, after: &Links) -> bool {
    let count = |links: &Links| match links {
        Links::Stored(links) => links.map_or(1, |links: LinkGroup| links.count.max(1)),
        Links::Live(count) => (*count).max(1),
    };
    match (before, after) {
        (Links::Stored(before), Links::Stored(after)) => before != after,
        _ => count(before) != count(after),
    }
}
