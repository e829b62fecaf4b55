//! Writing members, one after another.

use std::io::{self, Write};

use crate::archive::entry::{Entry, FormatWriter};
use crate::archive::tar::header::{
    GID, GROUP, Header, LINK, MAJOR, MINOR, MODE, MTIME, NAME, SIZE, UID, USER,
};
use crate::archive::tar::pax::{ACL_ACCESS, ACL_DEFAULT, Records, time_text, xattr_keyword};
use crate::archive::tar::{BLOCK, Extent, acl, padding, sparse};
use crate::base::id::hex;
use crate::base::time::Timestamp;
use crate::dag::{Device, Kind, Node};

/// Writes a tar archive.
pub(crate) struct TarWriter<W: Write> {
    output: W,
    /// Bytes of the present member that are still to come.
    left: u64,
    /// Bytes that fill up its last block.
    padding: usize,
    is_sparse: bool,
}

impl<W: Write> TarWriter<W> {
    pub(crate) const fn new(output: W) -> Self {
        Self { output, left: 0, padding: 0, is_sparse: false }
    }

    /// Says of the whole archive what other programs pass over.
    pub(crate) fn comment(&mut self, text: &str) -> io::Result<()> {
        let mut records = Records::default();
        records.push("comment", text);
        self.extended(b'g', b"pax_global_header", &records)
    }

    /// Begins a plain file of our own, which the caller writes.
    pub(crate) fn own_file(&mut self, name: &str, bytes: u64, time: Timestamp) -> io::Result<()> {
        let mut records = Records::default();
        let mut header = Header::new(b'0');
        header.put(NAME, name.as_bytes());
        header.put_number(MODE, 0o600);
        put_size(&mut header, bytes, &mut records);
        header.put_number(MTIME, u64::try_from(time.seconds()).unwrap_or(0));
        self.member(header, name.as_bytes(), records, bytes)
    }

    /// Puts in a directory of our own.
    pub(crate) fn own_directory(&mut self, name: &str, time: Timestamp) -> io::Result<()> {
        let mut header = Header::new(b'5');
        header.put(NAME, format!("{name}/").as_bytes());
        header.put_number(MODE, 0o700);
        header.put_number(SIZE, 0);
        header.put_number(MTIME, u64::try_from(time.seconds()).unwrap_or(0));
        self.member(header, name.as_bytes(), Records::default(), 0)
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.output.write_all(&[0; 2 * BLOCK])?;
        Ok(self.output)
    }

    fn extended(&mut self, kind: u8, name: &[u8], records: &Records) -> io::Result<()> {
        let body = records.encode();
        let mut header = Header::new(kind);
        header.put(NAME, name);
        header.put_number(MODE, 0o600);
        header.put_number(SIZE, body.len() as u64);
        self.output.write_all(&header.sealed())?;
        self.output.write_all(&body)?;
        self.pad(padding(body.len() as u64))
    }

    fn member(
        &mut self,
        header: Header,
        path: &[u8],
        mut records: Records,
        stored: u64,
    ) -> io::Result<()> {
        records.declare_charset();
        if !records.is_empty() {
            let name = [b"PaxHeaders/", path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)];
            self.extended(b'x', &name.concat(), &records)?;
        }
        (self.left, self.padding) = (stored, padding(stored));
        self.output.write_all(&header.sealed())
    }

    fn pad(&mut self, bytes: usize) -> io::Result<()> {
        self.output.write_all([0; BLOCK].get(..bytes).unwrap_or_default())
    }
}

impl<W: Write> FormatWriter for TarWriter<W> {
    fn begin(&mut self, entry: &Entry<'_>, extents: Option<&[Extent]>) -> io::Result<()> {
        let (node, mut records) = (entry.node, Records::default());
        let kind = if entry.link.is_some() { b'1' } else { kind(&node.kind) };
        let mut header = Header::new(kind);
        put_metadata(&mut header, node, &mut records);
        let mut path = entry.path.to_vec();
        if kind == b'5' {
            path.push(b'/');
        }
        let target = match (&node.kind, entry.link) {
            (_, Some(first)) => first,
            (Kind::Symlink(target), None) => target,
            _ => b"",
        };
        if !header.put(LINK, target) {
            records.push("linkpath", target);
        }
        if let Kind::BlockDevice(device) | Kind::CharDevice(device) = &node.kind {
            put_device(&mut header, *device);
        }
        let size = if kind == b'0' { node.size() } else { 0 };
        let map = extents.filter(|_| kind == b'0').map(|it| (sparse::encode(it, size), it));
        self.is_sparse = map.is_some();
        let Some((map, extents)) = map else {
            if !header.put(NAME, &path) {
                records.push("path", path.clone());
            }
            put_size(&mut header, size, &mut records);
            return self.member(header, &path, records, size);
        };
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(&path);
        header.put(NAME, &[b"GNUSparseFile.0/", name].concat());
        records.push("GNU.sparse.major", "1");
        records.push("GNU.sparse.minor", "0");
        records.push("GNU.sparse.name", path.clone());
        records.push("GNU.sparse.realsize", size.to_string());
        let data: u64 = extents.iter().map(|extent| extent.bytes).sum();
        let stored = data + map.len() as u64;
        put_size(&mut header, stored, &mut records);
        self.member(header, &path, records, stored)?;
        self.data(&map)
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(too_long)?;
        self.output.write_all(bytes)
    }

    fn hole(&mut self, bytes: u64) -> io::Result<()> {
        if self.is_sparse {
            return Ok(());
        }
        self.left = self.left.checked_sub(bytes).ok_or_else(too_long)?;
        io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut self.output).map(drop)
    }

    fn end(&mut self) -> io::Result<()> {
        if self.left > 0 {
            return Err(io::Error::other("a file has less content than it should"));
        }
        let padding = std::mem::take(&mut self.padding);
        self.pad(padding)
    }
}

fn too_long() -> io::Error {
    io::Error::other("a file has more content than it should")
}

const fn kind(kind: &Kind) -> u8 {
    match kind {
        Kind::File(_) | Kind::Socket => b'0',
        Kind::Symlink(_) => b'2',
        Kind::CharDevice(_) => b'3',
        Kind::BlockDevice(_) => b'4',
        Kind::Directory(_) => b'5',
        Kind::Fifo => b'6',
    }
}

fn put_size(header: &mut Header, size: u64, records: &mut Records) {
    if !header.put_number(SIZE, size) {
        records.push("size", size.to_string());
    }
}

fn put_device(header: &mut Header, device: Device) {
    header.put_device(MAJOR, device.major);
    header.put_device(MINOR, device.minor);
}

fn put_metadata(header: &mut Header, node: &Node, records: &mut Records) {
    header.put_number(MODE, u64::from(node.mode));
    let owner = &node.owner;
    for (field, keyword, number) in [(UID, "uid", owner.uid), (GID, "gid", owner.gid)] {
        if !header.put_number(field, u64::from(number)) {
            records.push(keyword, number.to_string());
        }
    }
    for (field, keyword, name) in [(USER, "uname", &owner.user), (GROUP, "gname", &owner.group)] {
        // The last byte of the field is a NUL.
        if name.len() > 31 {
            records.push(keyword, name.as_bytes());
        } else {
            header.put(field, name.as_bytes());
        }
    }
    let seconds = u64::try_from(node.mtime.seconds()).unwrap_or(0);
    let is_whole = node.mtime.nanoseconds() == 0 && node.mtime.seconds() >= 0;
    if !header.put_number(MTIME, seconds) || !is_whole {
        records.push("mtime", time_text(node.mtime));
    }
    if let Some(atime) = node.atime {
        records.push("atime", time_text(atime));
    }
    for xattr in &node.xattrs {
        let keyword = match &*xattr.name {
            acl::ACCESS => Some(ACL_ACCESS),
            acl::DEFAULT => Some(ACL_DEFAULT),
            _ => None,
        };
        match keyword.and_then(|keyword| Some((keyword, acl::to_text(&xattr.value)?))) {
            Some((keyword, text)) => records.push(keyword, text),
            None => records.push(xattr_keyword(&xattr.name), &*xattr.value),
        }
    }
    // What tar has no field for stands where every program looks past it.
    let links = node.links;
    let links = links.map(|it| format!(" links={} group={}", it.count, hex(&it.group)));
    let changed = node.changed_while_read.then_some(" changed");
    if links.is_some() || changed.is_some() {
        let (links, changed) = (links.unwrap_or_default(), changed.unwrap_or_default());
        records.push("comment", format!("icecore{links}{changed}"));
    }
}
