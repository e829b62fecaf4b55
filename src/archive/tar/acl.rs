//! ACLs: as the kernel keeps them in an extended attribute, and as text, which
//! is what tar exchanges.
//!
//! Source: `acl(5)` and the kernel's `posix_acl_xattr.h`: a version of 4 bytes,
//! then entries of a tag and permissions (2 bytes each) and an id (4 bytes), all
//! little-endian, sorted by tag and id.

use crate::base::limits::XATTR_VALUE_BYTES_MAX;

/// The attributes that hold ACLs.
pub(super) const ACCESS: &[u8] = b"system.posix_acl_access";
pub(super) const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: u32 = 2;
const NOBODY: u32 = u32::MAX;
const USER_OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OWNER: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
/// Entries of an ACL at most: what an attribute of 64 KiB holds (`XATTR_SIZE_MAX`).
const ENTRIES_MAX: usize = (XATTR_VALUE_BYTES_MAX - 4) / 8;

/// The text of an attribute, with numbers for users and groups. Nothing if the
/// text would not lead back to the same attribute.
pub(super) fn to_text(value: &[u8]) -> Option<String> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION {
        return None;
    }
    let mut parts = Vec::new();
    for entry in entries.chunks(8) {
        let [a, b, c, d, id @ ..] = <[u8; 8]>::try_from(entry).ok()?;
        let (tag, bits) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        let id = u32::from_le_bytes(id);
        let name = match tag {
            USER_OWNER => "user:".to_owned(),
            USER => format!("user:{id}"),
            GROUP_OWNER => "group:".to_owned(),
            GROUP => format!("group:{id}"),
            MASK => "mask:".to_owned(),
            OTHER => "other:".to_owned(),
            _ => return None,
        };
        let bit = |mask, letter| if bits & mask == 0 { '-' } else { letter };
        parts.push(format!("{name}:{}{}{}", bit(4, 'r'), bit(2, 'w'), bit(1, 'x')));
    }
    let text = parts.join(",");
    (from_text(text.as_bytes()).as_deref() == Some(value)).then_some(text)
}

/// The attribute that a text means: entries between commas or newlines, long or
/// short tags, users and groups by number or by a name of this machine.
pub(super) fn from_text(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut entries = Vec::new();
    for part in text.split([',', '\n']) {
        let part = part.split('#').next().unwrap_or_default().trim();
        if part.is_empty() {
            continue;
        }
        let fields: Vec<&str> = part.split(':').collect();
        // star writes the number behind the permissions too.
        let (kind, name, bits, number) = match *fields.as_slice() {
            [kind, bits] => (kind, "", bits, None),
            [kind, name, bits] => (kind, name, bits, None),
            [kind, name, bits, number] => (kind, name, bits, number.parse().ok()),
            _ => return None,
        };
        let (tag, id) = match (kind, name) {
            ("user" | "u", "") => (USER_OWNER, NOBODY),
            ("user" | "u", name) => (USER, number.or_else(|| user(name))?),
            ("group" | "g", "") => (GROUP_OWNER, NOBODY),
            ("group" | "g", name) => (GROUP, number.or_else(|| group(name))?),
            ("mask" | "m", _) => (MASK, NOBODY),
            ("other" | "o", _) => (OTHER, NOBODY),
            _ => return None,
        };
        entries.push((tag, id, permissions(bits)?));
        if entries.len() > ENTRIES_MAX {
            return None;
        }
    }
    entries.sort_unstable();
    let mut value = VERSION.to_le_bytes().to_vec();
    for (tag, id, bits) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&bits.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    Some(value)
}

/// The mode of a file that has such an attribute: the bits of its group are those of
/// the mask. libarchive writes the group's own bits in their place.
pub(super) fn with_mask(mode: u16, value: &[u8]) -> u16 {
    let bits = |wanted: u16| {
        value.get(4..)?.chunks(8).find_map(|entry| {
            let [a, b, c, d, ..] = <[u8; 8]>::try_from(entry).ok()?;
            (u16::from_le_bytes([a, b]) == wanted).then(|| (u16::from_le_bytes([c, d]) & 7) << 3)
        })
    };
    match (bits(GROUP_OWNER), bits(MASK)) {
        (Some(group), Some(mask)) if mode & 0o070 == group => mode & !0o070 | mask,
        _ => mode,
    }
}

fn permissions(text: &str) -> Option<u16> {
    text.chars().try_fold(0, |bits, letter| match letter {
        'r' => Some(bits | 4),
        'w' => Some(bits | 2),
        'x' => Some(bits | 1),
        '-' => Some(bits),
        _ => None,
    })
}

fn user(name: &str) -> Option<u32> {
    let known = || uzers::get_user_by_name(name).map(|user| user.uid());
    name.parse().ok().or_else(known)
}

fn group(name: &str) -> Option<u32> {
    let known = || uzers::get_group_by_name(name).map(|group| group.gid());
    name.parse().ok().or_else(known)
}
