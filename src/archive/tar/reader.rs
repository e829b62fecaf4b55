//! Reading members, one after another, of every form that is about.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::archive::entry::{Found, FoundKind};
use crate::archive::tar::header::{
    GID, GROUP, Header, LINK, MAJOR, MINOR, MODE, MTIME, SIZE, UID, USER,
};
use crate::archive::tar::pax::{ACL_ACCESS, ACL_DEFAULT, Records, parse_time, xattr_name};
use crate::archive::tar::sparse::SparseMap;
use crate::archive::tar::{
    BLOCK, GLOBAL_BYTES_MAX, GLOBAL_XATTR_BYTES_MAX, PAX_BYTES_MAX, acl, padding,
};
use crate::base::id::parse_hex_bytes;
use crate::base::limits::{
    LABEL_BYTES_MAX, SYMLINK_BYTES_MAX, XATTR_LIST_BYTES_MAX, XATTR_NAME_BYTES_MAX,
    XATTR_TOTAL_BYTES_MAX, XATTR_VALUE_BYTES_MAX,
};
use crate::base::time::Timestamp;
use crate::dag::node::MODE_MASK;
use crate::dag::{Device, LinkGroup, Xattr};

/// Why an archive cannot be read on.
#[derive(Debug)]
pub(crate) enum TarError {
    /// It cannot be read, or cannot be unpacked.
    Io(io::Error),
    /// It makes no sense; this does not.
    Malformed(String),
    /// It holds something that no tree can.
    Unsafe(String),
}

impl From<io::Error> for TarError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn malformed<T>(detail: impl Into<String>) -> Result<T, TarError> {
    Err(TarError::Malformed(detail.into()))
}

/// Reads a tar archive.
pub(crate) struct TarReader<R> {
    input: Counted<R>,
    /// Bytes of the present member that were not read, and what fills up its
    /// last block.
    left: u64,
    padding: usize,
    /// The records that hold for all members.
    global: Records,
    comment: Option<String>,
}

/// Counts what was read.
struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

/// What precedes a member: its extended header, and the long names of GNU tar.
#[derive(Default)]
struct Before {
    records: Records,
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    /// Bytes of all of them that were read.
    bytes: u64,
    is_any: bool,
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(input: R) -> Self {
        let input = Counted { inner: input, bytes: 0 };
        let global = Records::default();
        Self { input, left: 0, padding: 0, global, comment: None }
    }

    /// Bytes of the unpacked archive that were read.
    pub(crate) const fn position(&self) -> u64 {
        self.input.bytes
    }

    /// What the archive says of itself, once a member was read.
    pub(crate) fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    /// What lies behind the archive.
    pub(crate) fn into_inner(self) -> R {
        self.input.inner
    }

    /// Reads up to the next member, past what is left of the present one.
    pub(crate) fn next(&mut self) -> Result<Option<Found>, TarError> {
        let mut before = Before::default();
        loop {
            self.pass_rest()?;
            let Some(header) = self.header(before.is_any)? else { return Ok(None) };
            match header.kind() {
                b'x' | b'X' => {
                    let records = self.records(&header, &mut before.bytes)?;
                    before.records.extend(records);
                }
                b'g' => {
                    let records = self.records(&header, &mut 0)?;
                    self.take_global(records)?;
                    continue;
                }
                b'L' => before.name = Some(self.long_name(&header, &mut before.bytes)?),
                b'K' => before.target = Some(self.long_name(&header, &mut before.bytes)?),
                // The name of the medium.
                b'V' => self.left = 0,
                _ => return self.member(&header, before).map(Some),
            }
            before.is_any = true;
        }
    }

    /// Reads bytes of the member's content as it is stored: 0 at its end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        // Decoders take it ill to be asked for nothing.
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.input.read(buffer.get_mut(..wanted).unwrap_or_default())?;
        if read == 0 {
            return Err(cut_off());
        }
        self.left -= read as u64;
        Ok(read)
    }

    fn pass_rest(&mut self) -> Result<(), TarError> {
        let rest = self.left.saturating_add(std::mem::take(&mut self.padding) as u64);
        self.left = 0;
        let passed = io::copy(&mut self.input.by_ref().take(rest), &mut io::sink())?;
        if passed < rest { Err(cut_off()) } else { Ok(()) }
    }

    /// The next header, or nothing at the end, which two blocks of zeros mark.
    fn header(&mut self, is_owed: bool) -> Result<Option<Header>, TarError> {
        let block = self.block()?;
        if block != [0; BLOCK] {
            return match Header::parse(block) {
                Some(header) => Ok(Some(header)),
                None if self.input.bytes == BLOCK as u64 => {
                    malformed("it is no tar archive, or its first header was changed")
                }
                None => malformed("the checksum of a header is wrong"),
            };
        }
        if is_owed {
            return malformed("a header belongs to no member");
        }
        if self.block()? != [0; BLOCK] {
            return malformed("a block of zeros stands where a header belongs");
        }
        Ok(None)
    }

    fn block(&mut self) -> Result<[u8; BLOCK], TarError> {
        let mut block = [0; BLOCK];
        match self.input.read_exact(&mut block) {
            Ok(()) => Ok(block),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(cut_off()),
            Err(error) => Err(error.into()),
        }
    }

    /// The content of a header that has some, added to what was read `before`.
    fn body(&mut self, header: &Header, before: &mut u64) -> Result<Vec<u8>, TarError> {
        let room = PAX_BYTES_MAX.saturating_sub(*before);
        let size = header.number(SIZE).filter(|size| *size <= room);
        let Some(size) = size else { return malformed("its extended headers are too large") };
        *before += size;
        let mut body = Vec::new();
        self.input.by_ref().take(size).read_to_end(&mut body)?;
        if (body.len() as u64) < size {
            return Err(cut_off());
        }
        self.padding = padding(size);
        Ok(body)
    }

    fn records(&mut self, header: &Header, before: &mut u64) -> Result<Records, TarError> {
        let body = self.body(header, before)?;
        Records::parse(&body).map_or_else(|| malformed("an extended header makes no sense"), Ok)
    }

    /// Takes records that hold from now on. They count for every member, so there may
    /// not be many; the comment is of the archive.
    fn take_global(&mut self, mut records: Records) -> Result<(), TarError> {
        let comment = records.get("comment").map(|text| String::from_utf8_lossy(text).into());
        self.comment = comment.or_else(|| self.comment.take());
        while records.remove("comment").is_some() {}
        self.global.replace(records);
        let (bytes, xattrs) = self.global.bytes();
        if bytes > GLOBAL_BYTES_MAX || xattrs > GLOBAL_XATTR_BYTES_MAX {
            return malformed("its global headers are too large");
        }
        Ok(())
    }

    fn long_name(&mut self, header: &Header, before: &mut u64) -> Result<Vec<u8>, TarError> {
        let mut name = self.body(header, before)?;
        name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
        Ok(name)
    }

    fn member(&mut self, header: &Header, before: Before) -> Result<Found, TarError> {
        let mut records = self.global.clone();
        records.extend(before.records);
        let stored = match records.number("size") {
            Some(size) => size.map_err(|()| TarError::Malformed("`size` is no number".into()))?,
            None => number(header, SIZE, "size")?,
        };
        let map = SparseMap::read(header, &records, stored, &mut self.input);
        let map = match map {
            Ok(Some(None)) => return malformed("the map of its holes makes no sense"),
            Ok(map) => map.flatten(),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(cut_off()),
            Err(error) => return Err(error.into()),
        };
        let map_bytes = map.as_ref().map_or(0, |map| map.map_bytes);
        let path = map.as_ref().and_then(|map| map.name.clone());
        let path = path.or_else(|| records.get("path").map(<[u8]>::to_vec)).or(before.name);
        let path = path.unwrap_or_else(|| header.name());
        let target = records.get("linkpath").map(<[u8]>::to_vec).or(before.target);
        let target = target.unwrap_or_else(|| header.text(LINK).to_vec());
        let is_directory = path.ends_with(b"/");
        let size = map.as_ref().map_or(stored, |map| map.size);
        let extents = map.map(|map| map.extents);
        let kind = match header.kind() {
            0 | b'0' | b'7' | b'S' if !is_directory => FoundKind::File { size, extents },
            0 | b'0' | b'5' | b'D' => FoundKind::Directory,
            b'1' => FoundKind::HardLink(clean(&target)?),
            b'2' => FoundKind::Symlink(target),
            b'3' => FoundKind::CharDevice(device(header)?),
            b'4' => FoundKind::BlockDevice(device(header)?),
            b'6' => FoundKind::Fifo,
            other => {
                let (path, kind) = (crate::base::name::shown(&path), other.escape_ascii());
                return malformed(format!("{path} is of an unknown kind {kind:?}"));
            }
        };
        // Of what has no content the size is only told; but programs differ on links,
        // so that one could hide members from another.
        if matches!(kind, FoundKind::HardLink(_)) && stored > 0 {
            return malformed("a hard link has content of its own");
        }
        let has_content = matches!(header.kind(), 0 | b'0' | b'7' | b'S' | b'D');
        let stored = if has_content { stored } else { 0 };
        (self.left, self.padding) = (stored.saturating_sub(map_bytes), padding(stored));
        let path = clean(&path)?;
        check_target(&path, &kind)?;
        found(header, &records, path, kind)
    }
}

fn cut_off() -> TarError {
    TarError::Malformed("it ends before its end: it was cut off".to_owned())
}

fn number(
    header: &Header,
    field: crate::archive::tar::header::Field,
    name: &str,
) -> Result<u64, TarError> {
    header.number(field).map_or_else(|| malformed(format!("the {name} is no number")), Ok)
}

fn device(header: &Header) -> Result<Device, TarError> {
    let half = |field, name| {
        let number = number(header, field, name)?;
        u32::try_from(number).map_or_else(|_| malformed(format!("the {name} is too large")), Ok)
    };
    Ok(Device { major: half(MAJOR, "major number")?, minor: half(MINOR, "minor number")? })
}

/// A path without `.` and empty names.
fn clean(path: &[u8]) -> Result<Vec<u8>, TarError> {
    let shown = || crate::base::name::shown(path);
    if path.starts_with(b"/") {
        return Err(TarError::Unsafe(format!("the name {} is absolute", shown())));
    }
    let mut names = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => return Err(TarError::Unsafe(format!("the name {} leads out", shown()))),
            name => match crate::base::name::EntryName::check(name) {
                Ok(()) => names.push(name),
                Err(error) => return Err(TarError::Unsafe(format!("{}: {error}", shown()))),
            },
        }
    }
    Ok(names.join(&b'/'))
}

fn check_target(path: &[u8], kind: &FoundKind) -> Result<(), TarError> {
    let FoundKind::Symlink(target) = kind else { return Ok(()) };
    let is_sound = !target.is_empty() && target.len() <= SYMLINK_BYTES_MAX && !target.contains(&0);
    let shown = crate::base::name::shown(path);
    if is_sound { Ok(()) } else { malformed(format!("{shown} is a link that leads nowhere")) }
}

fn found(
    header: &Header,
    records: &Records,
    path: Vec<u8>,
    kind: FoundKind,
) -> Result<Found, TarError> {
    let id = |keyword, field, name| {
        let number = match records.number(keyword) {
            Some(number) => number.ok(),
            None => header.number(field),
        };
        let id = number.and_then(|number| u32::try_from(number).ok());
        id.map_or_else(|| malformed(format!("the {name} is no number")), Ok)
    };
    let text = |keyword, field| {
        let name = records.get(keyword).unwrap_or_else(|| header.text(field));
        // Nobody's name is as long; nor could it be kept.
        if name.len() > LABEL_BYTES_MAX { Vec::new() } else { name.to_vec() }
    };
    let time = |keyword| {
        let parsed = records.get(keyword).map(parse_time);
        if parsed == Some(None) {
            return malformed(format!("`{keyword}` is no time"));
        }
        Ok(parsed.flatten())
    };
    let mtime = match time("mtime")? {
        Some(mtime) => mtime,
        None => header
            .seconds(MTIME)
            .and_then(|seconds| Timestamp::new(seconds, 0))
            .map_or_else(|| malformed("the time is no number"), Ok)?,
    };
    let mode = number(header, MODE, "mode")? & u64::from(MODE_MASK);
    let mode = u16::try_from(mode).unwrap_or_default();
    let xattrs = xattrs(records)?;
    let access = xattrs.iter().find(|xattr| *xattr.name == *acl::ACCESS);
    let own = records.get("comment").and_then(|text| std::str::from_utf8(text).ok());
    let own = own.and_then(|text| text.strip_prefix("icecore ")).unwrap_or_default();
    let word = |name| own.split(' ').find_map(|word| word.strip_prefix(name));
    let group = word("group=").and_then(parse_hex16);
    let count = word("links=").and_then(|number| number.parse().ok());
    let links = count.zip(group).map(|(count, group)| LinkGroup { count, group });
    Ok(Found {
        path,
        kind,
        mode: access.map_or(mode, |xattr| acl::with_mask(mode, &xattr.value)),
        uid: id("uid", UID, "user's number")?,
        gid: id("gid", GID, "group's number")?,
        user: text("uname", USER),
        group: text("gname", GROUP),
        mtime,
        atime: time("atime")?,
        xattrs: xattrs.into(),
        links,
        changed_while_read: word("changed").is_some(),
    })
}

fn parse_hex16(digits: &str) -> Option<[u8; 16]> {
    parse_hex_bytes(digits)?.try_into().ok()
}

fn xattrs(records: &Records) -> Result<Vec<Xattr>, TarError> {
    let mut xattrs: BTreeMap<Vec<u8>, Cow<'_, [u8]>> = BTreeMap::new();
    for (keyword, value) in records.all() {
        if let Some(name) = xattr_name(keyword) {
            xattrs.insert(name, value.into());
        }
    }
    for (keyword, name) in [(ACL_ACCESS, acl::ACCESS), (ACL_DEFAULT, acl::DEFAULT)] {
        let Some(text) = records.get(keyword) else { continue };
        match acl::from_text(text) {
            Some(value) => drop(xattrs.insert(name.to_vec(), value.into())),
            None => return malformed("an ACL makes no sense, or names somebody unknown here"),
        }
    }
    let names: usize = xattrs.keys().map(Vec::len).sum();
    let values: usize = xattrs.values().map(|value| value.len()).sum();
    let list = names + xattrs.len();
    let is_sound = |(name, value): (&Vec<u8>, &Cow<'_, [u8]>)| {
        (1..=XATTR_NAME_BYTES_MAX).contains(&name.len())
            && !name.contains(&0)
            && value.len() <= XATTR_VALUE_BYTES_MAX
    };
    let is_bounded = list <= XATTR_LIST_BYTES_MAX && names + values <= XATTR_TOTAL_BYTES_MAX;
    if !is_bounded || !xattrs.iter().all(is_sound) {
        return malformed("extended attributes are too large");
    }
    let xattr = |(name, value): (Vec<u8>, Cow<'_, [u8]>)| Xattr {
        name: name.into(),
        value: value.into_owned().into(),
    };
    Ok(xattrs.into_iter().map(xattr).collect())
}
