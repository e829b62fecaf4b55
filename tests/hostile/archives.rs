//! Archives that are small and unpack to much, or are large and hold little.

use std::fs;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::archive::hostile::header;
use crate::support::repo::Repo;

use super::ground::Ground;
use super::run::{Ends, bounded};
use super::texts::STEERING;

/// The ways to import one.
const COMMANDS: [&str; 4] = [
    "import -n {archive}",
    "import --json -n {archive}",
    "import {archive}",
    "import {archive} --to {out}/to",
];

/// Puts an archive through every way to import it, each of which has to end with one
/// of these codes, within its bounds, and without a trace elsewhere.
#[track_caller]
fn survives(bytes: &[u8], codes: &[i32], words: &[&str]) {
    let repo = Repo::new();
    for command in COMMANDS {
        let ground = Ground::new(command.contains("{out}"));
        if command.contains("{out}") && !ground.has_disk() {
            continue;
        }
        let place = match ground.has_disk() {
            true => ground.path().join("disk/a.tar"),
            false => ground.path().join("disk").join("a.tar"),
        };
        fs::write(&place, bytes).expect("it can be written");
        let out = ground.out();
        let fill = |word: &str| -> std::ffi::OsString {
            let word = word.replace("{archive}", place.to_str().expect("a text"));
            word.replace("{out}", out.to_str().expect("a text")).into()
        };
        let words_of: Vec<_> = command.split(' ').map(fill).collect();
        let is_json = command.contains("--json");
        let outcome = bounded(&repo, &words_of, Ends::ByItself, is_json, &ground.path());
        ground.is_untouched(command);
        let error = outcome.error();
        let is_full = outcome.code == 1 && error.contains("o space left");
        assert!(codes.contains(&outcome.code) || is_full, "{command}: {} {error}", outcome.code);
        let text = error.to_lowercase();
        let says = outcome.code == 0 || is_full || words.iter().all(|word| text.contains(word));
        assert!(says, "{command}: {error}");
        assert!(error.len() < 20_000, "{command}: {} bytes of messages", error.len());
    }
    assert_eq!(repo.ok(["check", "--read-data"]).code, 0);
}

/// A member with content, padded to whole blocks.
fn member(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut member = header(name, kind, "", content.len() as u64);
    member.extend_from_slice(content);
    member.resize(member.len().next_multiple_of(512), 0);
    member
}

/// A record of an extended header, with its own length before it.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// A tar of one file behind an extended header.
fn extended(records: &[(&str, &[u8])]) -> Vec<u8> {
    let records: Vec<_> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
    [member("header", b'x', &records), member("file", b'0', b"content"), vec![0; 1024]].concat()
}

/// What is packed piece by piece, without ever being there as a whole.
fn packed(pieces: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut packed = zstd::Encoder::new(Vec::new(), 1).expect("it packs");
    pieces.for_each(|piece| std::io::Write::write_all(&mut packed, &piece).expect("it packs"));
    packed.finish().expect("it packs")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).expect("it compresses")
}

/// Packs a header and so many zeros, without ever having them all.
fn zeros(into: &mut impl std::io::Write, mebibytes: u64) {
    into.write_all(&header("zeros", b'0', "", mebibytes << 20)).expect("it packs");
    let zeros = vec![0; 1 << 20];
    (0..mebibytes).for_each(|_| into.write_all(&zeros).expect("it packs"));
    into.write_all(&[0; 1024]).expect("it packs");
}

#[test]
fn a_packed_gibibyte_of_zeros_is_imported_in_bounded_memory() {
    let mut packed = zstd::Encoder::new(Vec::new(), 1).expect("it packs");
    zeros(&mut packed, 1024);
    survives(&packed.finish().expect("it packs"), &[0], &[]);
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    zeros(&mut packed, 200);
    survives(&packed.finish().expect("it packs"), &[0], &[]);
}

#[test]
fn packings_that_lie_are_damage() {
    // Windows of 2 GiB and more, sizes of 2^64, and endless nothing.
    survives(&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00], &[4], &["damaged"]);
    survives(&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00], &[4], &["damaged"]);
    let sized = [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &[0xff; 8], &[1, 0, 0]].concat();
    survives(&sized, &[4], &["damaged"]);
    let empty = zstd(b"");
    survives(&empty.repeat(300_000), &[4], &["damaged"]);
    let member = GzEncoder::new(Vec::new(), Compression::fast()).finish().expect("it packs");
    survives(&member.repeat(300_000), &[4], &["damaged"]);
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18][..], &u32::MAX.to_le_bytes()].concat();
    survives(&[empty, skipped].concat(), &[4], &["damaged"]);
}

#[test]
fn extended_headers_of_any_content_end_in_one_line() {
    let long = vec![b'x'; 3 << 20];
    let many = "1,".repeat(500_000) + "1";
    let refused = [4, 14];
    // Directories of which no entry tells, their paths 80 MB and 2 GB together.
    let deep = [&b"d".repeat(9)[..], b"/"].concat().repeat(4000);
    let vast = [&b"d".repeat(250)[..], b"/"].concat().repeat(4000);
    for (key, value, codes) in [
        ("path", &long[..], &refused[..]),
        ("path", &deep, &[0, 3, 4, 14]),
        ("path", &vast, &refused),
        ("path", &b"a/".repeat(100_000), &refused),
        ("path", b"\0", &refused),
        ("path", STEERING.as_bytes(), &[0, 4, 14]),
        ("linkpath", &long, &[0, 4, 14]),
        ("size", b"18446744073709551615", &refused),
        ("size", b"-1", &refused),
        ("size", b"99999999999999999999999", &refused),
        ("uid", b"18446744073709551615", &[0, 3, 4, 14]),
        ("uname", &long, &[0, 3, 4, 14]),
        ("uname", STEERING.as_bytes(), &[0, 3]),
        ("mtime", b"99999999999999999999.999999999999", &[0, 3, 4, 14]),
        ("mtime", b"-9223372036854775808.5", &[0, 3, 4, 14]),
        ("SCHILY.xattr.user.x", &long, &refused),
        ("SCHILY.xattr.", b"x", &refused),
        ("SCHILY.xattr.user.\x1b[2J", b"x", &[0, 3, 4]),
        ("SCHILY.acl.access", STEERING.as_bytes(), &[0, 3, 4, 14]),
        ("GNU.sparse.map", many.as_bytes(), &refused),
        ("GNU.sparse.realsize", b"18446744073709551615", &[0, 3, 4, 14]),
        ("GNU.sparse.name", b"../../victim/keep", &[0, 4, 14]),
        ("comment", STEERING.as_bytes(), &[0]),
        (STEERING, STEERING.as_bytes(), &[0, 4]),
    ] {
        survives(&extended(&[(key, value)]), codes, &[]);
    }
}

#[test]
fn headers_without_end_are_read_in_bounded_memory() {
    let large = record("comment", &vec![b'x'; 3 << 20]);
    for kind in [b'x', b'g', b'L', b'K'] {
        let headers = member("header", kind, &large).repeat(60);
        survives(&zstd(&headers), &[0, 4, 14], &[]);
    }
    // Three times what any command may take, were each of them kept.
    for kind in [b'x', b'g'] {
        let named =
            |number: u32| record(&format!("SCHILY.xattr.user.{number}"), &vec![b'x'; 2 << 20]);
        let headers = packed((0..480).map(|number| member("header", kind, &named(number))));
        survives(&headers, &[4], &["too large"]);
    }
    // Each of them adds to what holds for all that follow.
    let growing: Vec<u8> = (0..40)
        .flat_map(|number| {
            let key = format!("SCHILY.xattr.user.{number}");
            member("header", b'g', &record(&key, &vec![b'x'; 60_000]))
        })
        .collect();
    let tar = [growing, member("file", b'0', b"content"), vec![0; 1024]].concat();
    survives(&zstd(&tar), &[0, 3, 4, 14], &[]);
}

/// Sixteen records of attributes, 900 KB in all, the first one of its own.
fn attributes(number: u32) -> Vec<u8> {
    let record = |at: u32| record(&format!("SCHILY.xattr.user.{at}"), &vec![b'x'; 60_000]);
    [record(number + 16), (0..15).flat_map(record).collect()].concat()
}

#[test]
fn attributes_of_many_entries_take_bounded_memory() {
    let end = || [vec![0; 1024]].into_iter();
    // Of a global header, for every entry.
    let files = (0..1500).map(|number| member(&format!("{number}"), b'0', b""));
    let global = member("header", b'g', &attributes(0));
    survives(&packed([global].into_iter().chain(files).chain(end())), &[4], &["too large"]);
    // Different ones of each, which would be held to the end.
    let directory = |number: u32| {
        let header = member("header", b'x', &attributes(number));
        [header, member(&format!("{number}"), b'5', b"")].concat()
    };
    survives(&packed((0..1000).map(directory).chain(end())), &[14], &["attributes"]);
    // Long targets of symlinks.
    let link = |number: u32| {
        let target = record("linkpath", &[b't'; 4000]);
        [member("header", b'x', &target), header(&format!("{number}"), b'2', "", 0)].concat()
    };
    survives(&packed((0..200_000).map(link).chain(end())), &[14], &["symlinks"]);
}

#[test]
fn attributes_without_end_are_refused_in_time() {
    let tiny = |number: u32| record(&format!("SCHILY.xattr.u.{number}"), b"");
    let many: Vec<u8> = (0..30_000).flat_map(tiny).collect();
    let files = (0..2000).map(|number| header(&format!("{number}"), b'0', "", 0));
    let tar = [member("header", b'g', &many)].into_iter().chain(files);
    survives(&packed(tar.chain([vec![0; 1024]])), &[4], &["too large"]);
    let escaped = record(&format!("SCHILY.xattr.u.{}", "%3D".repeat(1_000_000)), b"");
    let tar = [member("header", b'x', &escaped), header("file", b'0', "", 0), vec![0; 1024]];
    survives(&packed(tar.into_iter()), &[4], &["too large"]);
}

#[test]
fn a_quarter_of_a_million_entries_take_bounded_memory() {
    let entries: Vec<u8> =
        (0..250_000).flat_map(|number| header(&format!("{number:x}"), b'0', "", 0)).collect();
    survives(&zstd(&[entries, vec![0; 1024]].concat()), &[0], &[]);
}

#[test]
fn sparse_maps_that_overlap_or_overflow_are_damage() {
    let old = |map: &str| {
        extended(&[
            ("GNU.sparse.major", b"0"),
            ("GNU.sparse.minor", b"1"),
            ("GNU.sparse.size", b"9223372036854775807"),
            ("GNU.sparse.map", map.as_bytes()),
        ])
    };
    for map in [
        "0,7,3,7",
        "18446744073709551615,1",
        "18446744073709551615,18446744073709551615",
        "9223372036854775807,7",
        "5,1,4,6",
        "0",
        "0,-1",
        "",
    ] {
        survives(&old(map), &[4, 14], &[]);
    }
    // A hole of 2^62 bytes is presented and never made.
    survives(&old("4611686018427387904,7"), &[0, 1, 3, 4, 14], &[]);
}
