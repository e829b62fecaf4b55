//! What the tar format promises, to ourselves and for hostile archives.

use std::io::Write as _;
use std::sync::Arc;

use proptest::prelude::*;

use super::acl;
use super::header::{Header, NAME, SIZE};
use super::pax::{Records, parse_time, time_text, xattr_keyword, xattr_name};
use super::reader::{TarError, TarReader};
use super::sparse::{Extent, encode};
use super::writer::TarWriter;
use crate::archive::entry::{Entry, FormatWriter as _, Found, FoundKind};
use crate::base::time::Timestamp;
use crate::dag::{Body, Content, Device, Kind, LinkGroup, Node, Owner, Xattr};

fn node(kind: Kind) -> Node {
    Node {
        kind,
        mode: 0o4755,
        owner: Arc::new(Owner { uid: 7, gid: 8, user: "u".into(), group: "g".into() }),
        mtime: Timestamp::new(1_700_000_000, 123_456_789).unwrap(),
        atime: None,
        changed_while_read: false,
        links: None,
        xattrs: Vec::new(),
    }
}

fn file(size: u64) -> Kind {
    Kind::File(Content { size, sha256: None, body: Body::Inline(Box::default()) })
}

fn write(path: &[u8], node: &Node, extents: Option<&[Extent]>, data: &[u8]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    writer.begin(&Entry { path, node, link: None }, extents).unwrap();
    writer.data(data).unwrap();
    writer.end().unwrap();
    writer.finish().unwrap()
}

fn read_all(bytes: &[u8]) -> Result<Vec<(Found, Vec<u8>)>, TarError> {
    let mut reader = TarReader::new(bytes);
    let mut all = Vec::new();
    while let Some(found) = reader.next()? {
        let mut data = Vec::new();
        let mut buffer = [0; 700];
        if matches!(found.kind, FoundKind::File { .. }) {
            loop {
                let read = reader.read(&mut buffer)?;
                data.extend_from_slice(&buffer[..read]);
                if read == 0 {
                    break;
                }
            }
        }
        all.push((found, data));
    }
    Ok(all)
}

fn only(bytes: &[u8]) -> (Found, Vec<u8>) {
    let mut all = read_all(bytes).unwrap();
    assert_eq!(all.len(), 1);
    all.pop().unwrap()
}

#[test]
fn all_metadata_comes_back_whatever_its_size() {
    let owner = |uid, name: &str| Owner { uid, gid: uid, user: name.into(), group: name.into() };
    let xattr = |name: &[u8], value: &[u8]| Xattr { name: name.into(), value: value.into() };
    let entry = |tag: u16, bits: u16, id: u32| {
        [&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let none = u32::MAX;
    let entries = [(1, 6, none), (2, 7, 12345), (4, 4, none), (16, 7, none), (32, 4, none)];
    let entries = entries.map(|(tag, bits, id)| entry(tag, bits, id)).concat();
    let acl = [&2_u32.to_le_bytes()[..], &entries].concat();
    for (seconds, nanoseconds) in [(0, 0), (0, 1), (-2, 500_000_001), (-7, 0), (1 << 40, 9)] {
        for (uid, name) in [(0, ""), (u32::MAX - 1, "a-very-long-name-of-more-than-31-bytes")] {
            let mut node = node(Kind::Fifo);
            node.mtime = Timestamp::new(seconds, nanoseconds).unwrap();
            node.atime = Some(node.mtime);
            node.owner = Arc::new(owner(uid, name));
            node.links = Some(LinkGroup { count: 3, group: [0xa5; 16] });
            node.changed_while_read = true;
            node.xattrs = vec![
                xattr(b"system.posix_acl_access", &acl),
                xattr(b"user.50%=x", b"\0\n\xff="),
                xattr(b"user.empty", b""),
            ];
            let path = [b"d/".repeat(300).as_slice(), b"\xff\n"].concat();
            let (found, _) = only(&write(&path, &node, None, b""));
            assert_eq!(found.path, path);
            assert_eq!((found.uid, found.gid), (uid, uid));
            assert_eq!((found.user.as_slice(), found.mtime), (name.as_bytes(), node.mtime));
            assert_eq!((found.atime, found.links), (node.atime, node.links));
            assert_eq!((found.mode, found.changed_while_read), (0o4755, true));
            assert_eq!(&*found.xattrs, node.xattrs.as_slice());
        }
    }
}

#[test]
fn a_mode_with_the_groups_own_bits_gets_those_of_the_mask() {
    let text = b"user::rw-,user:12345:rwx,group::r--,mask::rwx,other::r--";
    let value = acl::from_text(text).unwrap();
    for (written, meant) in [(0o4644, 0o4674), (0o674, 0o674), (0o604, 0o604)] {
        let mut node = node(Kind::Fifo);
        node.mode = written;
        node.xattrs = vec![Xattr { name: (*acl::ACCESS).into(), value: value.clone().into() }];
        assert_eq!(only(&write(b"x", &node, None, b"")).0.mode, meant);
    }
}

#[test]
fn every_kind_comes_back() {
    let device = Device { major: 4095, minor: 1_048_575 };
    let huge = Device { major: u32::MAX, minor: u32::MAX };
    for (kind, expected) in [
        (Kind::Symlink(vec![b'x'; 4095].into()), FoundKind::Symlink(vec![b'x'; 4095])),
        (Kind::CharDevice(device), FoundKind::CharDevice(device)),
        (Kind::BlockDevice(huge), FoundKind::BlockDevice(huge)),
        (Kind::Fifo, FoundKind::Fifo),
    ] {
        assert_eq!(only(&write(b"a", &node(kind), None, b"")).0.kind, expected);
    }
}

#[test]
fn sizes_beyond_eight_gibibytes_are_kept() {
    let size = (8 << 30) + 512;
    let node = node(file(size));
    let mut writer = TarWriter::new(Vec::new());
    writer.begin(&Entry { path: b"a", node: &node, link: None }, None).unwrap();
    writer.data(b"x").unwrap();
    assert!(writer.end().is_err(), "a member is not whole");
    let mut bytes = writer.finish().unwrap();
    bytes.truncate(bytes.len() - 1024);
    let mut reader = TarReader::new(bytes.as_slice());
    let found = reader.next().unwrap().unwrap();
    assert_eq!(found.kind, FoundKind::File { size, extents: None });
}

#[test]
fn holes_come_back_where_they_were() {
    let extents = [Extent { offset: 10, bytes: 3 }, Extent { offset: 1 << 40, bytes: 4 }];
    for (extents, size) in [(&extents[..], (1 << 40) + 4), (&extents[..1], 20), (&[][..], 1 << 50)]
    {
        let data = b"abcdefg".get(..extents.iter().map(|it| it.bytes as usize).sum()).unwrap();
        let (found, read) = only(&write(b"d/sparse", &node(file(size)), Some(extents), data));
        assert_eq!((found.path.as_slice(), read.as_slice()), (&b"d/sparse"[..], data));
        let FoundKind::File { size: there, extents: Some(found) } = found.kind else { panic!() };
        // One of no bytes may say the size.
        let found: Vec<_> = found.into_iter().filter(|extent| extent.bytes > 0).collect();
        assert_eq!((there, found.as_slice()), (size, extents));
    }
}

/// A member with records of its own choosing.
fn odd(records: &[(&str, &str)], kind: u8, size: u64, body: &[u8]) -> Vec<u8> {
    let mut extended = Records::default();
    for (keyword, value) in records {
        extended.push(*keyword, *value);
    }
    let blocks = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    };
    let header = |kind, name: &[u8], size| {
        let mut header = Header::new(kind);
        header.put(NAME, name);
        header.put_number(SIZE, size);
        header.sealed().to_vec()
    };
    let text = extended.encode();
    let mut bytes = Vec::new();
    if !records.is_empty() {
        bytes.extend(header(b'x', b"x", text.len() as u64));
        bytes.extend(blocks(&text));
    }
    bytes.extend(header(kind, b"name", size));
    bytes.extend(blocks(body));
    bytes.extend([0; 1024]);
    bytes
}

#[test]
fn what_would_lead_out_is_refused() {
    for path in ["/etc/passwd", "../x", "a/../../x", "a/..", "..", "a/\0b"] {
        let read = read_all(&odd(&[("path", path)], b'0', 0, b""));
        assert!(matches!(read, Err(TarError::Unsafe(_))), "{path:?}: {read:?}");
        let read = read_all(&odd(&[("linkpath", path)], b'1', 0, b""));
        assert!(matches!(read, Err(TarError::Unsafe(_))), "{path:?}: {read:?}");
    }
    let long = "n".repeat(256);
    assert!(matches!(read_all(&odd(&[("path", &long)], b'0', 0, b"")), Err(TarError::Unsafe(_))));
    for (path, clean) in [("./a//b/./c", "a/b/c"), ("./", ""), ("a/", "a")] {
        assert_eq!(only(&odd(&[("path", path)], b'0', 0, b"")).0.path, clean.as_bytes());
    }
}

#[test]
fn maps_of_holes_that_make_no_sense_are_damage() {
    let map = encode(&[Extent { offset: 5, bytes: 5 }, Extent { offset: 4, bytes: 1 }], 20);
    let form = |map: &[u8], size: &str| {
        let body = [map, b"123456"].concat();
        let records =
            [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", size)];
        read_all(&odd(&records, b'0', body.len() as u64, &body))
    };
    let good = encode(&[Extent { offset: 5, bytes: 6 }], 20);
    assert!(form(&good, "20").is_ok());
    for (map, size) in [(&map, "20"), (&good, "7"), (&good, "x"), (&b"9\n".to_vec(), "20")] {
        assert!(matches!(form(map, size), Err(TarError::Malformed(_))), "{size}");
    }
    let old = [("GNU.sparse.size", "9"), ("GNU.sparse.map", "0,1,5,2")];
    assert_eq!(only(&odd(&old, b'0', 3, b"abc")).1, b"abc");
    assert!(read_all(&odd(&old, b'0', 2, b"ab")).is_err());
}

#[test]
fn an_archive_without_its_end_is_damaged_wherever_it_was_cut() {
    let node = node(file(1300));
    let whole = write(&b"d/e".repeat(200), &node, None, &[b'x'; 1300]);
    assert!(read_all(&whole).is_ok());
    for end in 0..whole.len() {
        assert!(read_all(&whole[..end]).is_err(), "cut at {end} of {}", whole.len());
    }
}

#[test]
fn extended_headers_are_bounded() {
    let mut header = Header::new(b'x');
    header.put_number(SIZE, 1 << 32);
    assert!(matches!(read_all(&header.sealed()), Err(TarError::Malformed(_))));
}

/// A header of these records, and no member.
fn extended(kind: u8, records: &[(String, usize)]) -> Vec<u8> {
    let mut all = Records::default();
    for (keyword, bytes) in records {
        all.push(keyword.as_str(), vec![b'x'; *bytes]);
    }
    let text = all.encode();
    let mut header = Header::new(kind);
    header.put_number(SIZE, text.len() as u64);
    let mut bytes = [&header.sealed()[..], &text].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn attribute(number: u32) -> String {
    format!("SCHILY.xattr.user.{number}")
}

/// Fails unless reading ends with such a complaint.
#[track_caller]
fn is_damaged(bytes: &[u8], said: &str) {
    let read = read_all(bytes);
    let Err(TarError::Malformed(detail)) = &read else { panic!("{said}: {read:?}") };
    assert!(detail.contains(said), "{said}: {detail}");
}

#[test]
fn headers_before_one_member_are_bounded_together() {
    let member = odd(&[], b'0', 0, b"");
    for kind in [b'x', b'L', b'K'] {
        let half = extended(kind, &[("unknown".to_owned(), 1500 << 10)]);
        // As a name it would be too long in any case.
        let read = read_all(&[half.repeat(2), member.clone()].concat());
        assert!(read.is_ok() || matches!(read, Err(TarError::Unsafe(_)) if kind == b'L'));
        is_damaged(&half.repeat(3), "too large");
    }
    // What comes again for each member is no more than before.
    let one = [extended(b'x', &[("unknown".to_owned(), 3 << 20)]), member].concat();
    let one = &one[..one.len() - 1024];
    assert_eq!(read_all(&[one, one, one, &[0; 1024]].concat()).unwrap().len(), 3);
}

#[test]
fn global_headers_hold_the_last_word_and_little_of_it() {
    let member = odd(&[], b'0', 0, b"");
    let global = |records: &[(String, usize)]| extended(b'g', records);
    let name = |bytes| ("uname".to_owned(), bytes);
    let (found, _) = only(&[global(&[name(7)]), global(&[name(9)]), member.clone()].concat());
    assert_eq!(found.user, b"xxxxxxxxx");
    let many = global(&[("comment".to_owned(), 3 << 20), ("path".to_owned(), 200)]).repeat(50);
    assert!(read_all(&[many, member.clone()].concat()).is_ok());
    is_damaged(&global(&[("linkpath".to_owned(), 70_000)]), "global headers are too large");
    let few: Vec<_> = (0..20).map(|number| (attribute(number), 100)).collect();
    assert_eq!(only(&[global(&few), member].concat()).0.xattrs.len(), 20);
    let growing: Vec<u8> = (0..50).flat_map(|number| global(&[(attribute(number), 100)])).collect();
    is_damaged(&growing, "global headers are too large");
}

#[test]
fn a_member_has_no_more_attributes_than_linux_tells_of() {
    let member = odd(&[], b'0', 0, b"");
    let of = |count| {
        let records: Vec<_> = (0..count).map(|number| (attribute(number), 0)).collect();
        [extended(b'x', &records), member.clone()].concat()
    };
    assert_eq!(only(&of(6000)).0.xattrs.len(), 6000);
    is_damaged(&of(7000), "extended attributes are too large");
    // Each takes as long as its bytes, not as their square.
    let begun = std::time::Instant::now();
    is_damaged(&of(100_000), "extended attributes are too large");
    let escaped = format!("SCHILY.xattr.user.{}", "%3D".repeat(1_000_000));
    is_damaged(
        &extended(b'x', &[(escaped, 0)]).into_iter().chain(member).collect::<Vec<_>>(),
        "extended attributes are too large",
    );
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    let acl = "user:1:r,".repeat(9000);
    is_damaged(&odd(&[("SCHILY.acl.access", &acl)], b'0', 0, b""), "ACL makes no sense");
}

#[test]
fn digits_have_no_sign() {
    for (group, is_taken) in
        [("0f".repeat(16), true), ("+f".repeat(16), false), (format!("+{}", "1".repeat(31)), false)]
    {
        let comment = format!("icecore links=2 group={group}");
        let (found, _) = only(&odd(&[("comment", &comment)], b'0', 0, b""));
        assert_eq!(found.links.is_some(), is_taken, "{group}");
    }
    let text =
        |hex: &str| crate::archive::manifest::ByteText::Bytes { hex: hex.to_owned() }.bytes();
    assert_eq!(text("0f"), Some(vec![15]));
    assert_eq!((text("+f"), text("f")), (None, None));
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let _ = read_all(&bytes);
        let _ = (Records::parse(&bytes), acl::from_text(&bytes), acl::to_text(&bytes));
    }

    #[test]
    fn a_changed_header_never_panics(place in 0_usize..512, byte: u8) {
        let mut bytes = odd(&[], b'S', 512, &[7; 512]);
        bytes[place] = byte;
        let mut block = [0; 512];
        block.copy_from_slice(&bytes[..512]);
        // Its checksum mended.
        let mut sum = 0_u32;
        for (index, byte) in block.iter().enumerate() {
            sum += u32::from(if (148..156).contains(&index) { b' ' } else { *byte });
        }
        (&mut bytes[148..156]).write_all(format!("{sum:06o}\0 ").as_bytes()).unwrap();
        let _ = read_all(&bytes);
    }

    #[test]
    fn times_and_names_are_kept_as_text(
        seconds in -(1_i64 << 50)..1 << 50,
        nanoseconds in 0..1_000_000_000_u32,
        name in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let time = Timestamp::new(seconds, nanoseconds).unwrap();
        prop_assert_eq!(parse_time(time_text(time).as_bytes()), Some(time));
        prop_assert_eq!(xattr_name(&xattr_keyword(&name)), Some(name));
    }
}
