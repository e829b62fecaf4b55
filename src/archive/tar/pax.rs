//! Extended headers: records of a length, a keyword and a value of any bytes.

use std::collections::BTreeMap;

use crate::base::time::{NANOS_PER_SECOND, Timestamp};

/// Before the name of an extended attribute.
pub(super) const XATTR: &str = "SCHILY.xattr.";
/// ACLs as text.
pub(super) const ACL_ACCESS: &str = "SCHILY.acl.access";
pub(super) const ACL_DEFAULT: &str = "SCHILY.acl.default";

/// Records whose values are names of files.
const NAMES: [&str; 3] = ["path", "linkpath", "GNU.sparse.name"];

/// The other keywords that mean something here, besides attributes and ACLs.
const KEYWORDS: [&str; 17] = [
    "path",
    "linkpath",
    "size",
    "uid",
    "gid",
    "uname",
    "gname",
    "mtime",
    "atime",
    "comment",
    "GNU.sparse.major",
    "GNU.sparse.minor",
    "GNU.sparse.name",
    "GNU.sparse.size",
    "GNU.sparse.realsize",
    "GNU.sparse.map",
    "GNU.sparse.numblocks",
];
/// Those of them that come many times in one header.
const REPEATED: [&str; 2] = ["GNU.sparse.offset", "GNU.sparse.numbytes"];

fn is_known(keyword: &[u8]) -> bool {
    let mut words = KEYWORDS.iter().chain(&REPEATED).chain([&ACL_ACCESS, &ACL_DEFAULT]);
    is_xattr(keyword) || words.any(|word| word.as_bytes() == keyword)
}

fn is_xattr(keyword: &[u8]) -> bool {
    keyword.starts_with(XATTR.as_bytes())
}

/// The records of one extended header, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Records(Vec<(Vec<u8>, Vec<u8>)>);

impl Records {
    /// Takes an extended header apart. What means nothing here is left out.
    pub(super) fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut records = Vec::new();
        while !bytes.is_empty() {
            // Some programs fill the block up with NULs.
            if bytes.iter().all(|byte| *byte == 0) {
                break;
            }
            let blank = bytes.iter().take(20).position(|byte| *byte == b' ')?;
            let length: usize = std::str::from_utf8(bytes.get(..blank)?).ok()?.parse().ok()?;
            let record = bytes.get(blank + 1..length)?.strip_suffix(b"\n")?;
            let equals = record.iter().position(|byte| *byte == b'=')?;
            let (keyword, value) = (record.get(..equals)?, record.get(equals + 1..)?);
            if is_known(keyword) {
                records.push((keyword.to_vec(), value.to_vec()));
            }
            bytes = bytes.get(length..)?;
        }
        Some(Self(records))
    }

    /// Appends a record.
    pub(super) fn push(&mut self, keyword: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.0.push((keyword.into(), value.into()));
    }

    /// Appends the records of another header, which count for more.
    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Puts the records of another header in the place of those with the same keyword.
    pub(super) fn replace(&mut self, other: Self) {
        let records = std::mem::take(&mut self.0).into_iter().chain(other.0);
        self.0 = records.collect::<BTreeMap<_, _>>().into_iter().collect();
    }

    /// Bytes of all records, and of the attributes among them.
    pub(super) fn bytes(&self) -> (usize, usize) {
        self.0.iter().fold((0, 0), |(all, xattrs), (keyword, value)| {
            let bytes = keyword.len() + value.len();
            (all + bytes, xattrs + if is_xattr(keyword) { bytes } else { 0 })
        })
    }

    /// Takes out the last value of a keyword.
    pub(super) fn remove(&mut self, keyword: &str) -> Option<Vec<u8>> {
        let at = self.0.iter().rposition(|(word, _)| word == keyword.as_bytes())?;
        Some(self.0.swap_remove(at).1)
    }

    /// Says that names are any bytes, if one of them is no text: else they are UTF-8.
    pub(super) fn declare_charset(&mut self) {
        let is_text = |(keyword, value): &(Vec<u8>, Vec<u8>)| {
            !NAMES.iter().any(|name| name.as_bytes() == keyword)
                || std::str::from_utf8(value).is_ok()
        };
        if !self.0.iter().all(is_text) {
            self.0.insert(0, (b"hdrcharset".to_vec(), b"BINARY".to_vec()));
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The last value of a keyword; an empty one takes an earlier one back.
    pub(super) fn get(&self, keyword: &str) -> Option<&[u8]> {
        let found = self.0.iter().rfind(|(word, _)| word == keyword.as_bytes());
        found.map(|(_, value)| value.as_slice()).filter(|value| !value.is_empty())
    }

    /// The same as a number.
    pub(super) fn number(&self, keyword: &str) -> Option<Result<u64, ()>> {
        let text = self.get(keyword)?;
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        Some(number.ok_or(()))
    }

    /// All records, in order.
    pub(super) fn all(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(keyword, value)| (keyword.as_slice(), value.as_slice()))
    }

    /// The extended header.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (keyword, value) in &self.0 {
            // A blank, an equals sign and a newline; the length counts its own digits.
            let plain = keyword.len() + value.len() + 3;
            let mut length = plain + 1;
            while plain + length.to_string().len() != length {
                length = plain + length.to_string().len();
            }
            bytes.extend_from_slice(length.to_string().as_bytes());
            bytes.push(b' ');
            bytes.extend_from_slice(keyword);
            bytes.push(b'=');
            bytes.extend_from_slice(value);
            bytes.push(b'\n');
        }
        bytes
    }
}

/// A keyword cannot hold an equals sign: it and the percent sign are escaped, as
/// GNU tar does.
pub(super) fn xattr_keyword(name: &[u8]) -> Vec<u8> {
    let mut keyword = XATTR.as_bytes().to_vec();
    for byte in name {
        match byte {
            b'%' => keyword.extend_from_slice(b"%25"),
            b'=' => keyword.extend_from_slice(b"%3D"),
            byte => keyword.push(*byte),
        }
    }
    keyword
}

/// The name of the attribute that a keyword means.
pub(super) fn xattr_name(keyword: &[u8]) -> Option<Vec<u8>> {
    let mut rest = keyword.strip_prefix(XATTR.as_bytes())?;
    let mut name = Vec::with_capacity(rest.len());
    while let Some((byte, behind)) = rest.split_first() {
        let (meant, behind) = match (rest.strip_prefix(b"%3D"), rest.strip_prefix(b"%25")) {
            (Some(behind), _) => (b'=', behind),
            (_, Some(behind)) => (b'%', behind),
            _ => (*byte, behind),
        };
        name.push(meant);
        rest = behind;
    }
    Some(name)
}

/// A time in seconds with a fraction.
pub(super) fn time_text(time: Timestamp) -> String {
    let (seconds, nanoseconds) = (time.seconds(), time.nanoseconds());
    if nanoseconds == 0 {
        return seconds.to_string();
    }
    if seconds >= 0 {
        return format!("{seconds}.{nanoseconds:09}");
    }
    // Before the epoch the fraction leads away from it.
    let (whole, fraction) = ((seconds + 1).unsigned_abs(), NANOS_PER_SECOND - nanoseconds);
    format!("-{whole}.{fraction:09}")
}

/// The time that such a text means.
pub(super) fn parse_time(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let (seconds, nanoseconds): (i64, u32) = (whole.parse().ok()?, digits.parse().ok()?);
    match (is_negative, nanoseconds) {
        (false, _) => Timestamp::new(seconds, nanoseconds),
        (true, 0) => Timestamp::new(seconds.checked_neg()?, 0),
        (true, _) => Timestamp::new(seconds.checked_neg()? - 1, NANOS_PER_SECOND - nanoseconds),
    }
}
