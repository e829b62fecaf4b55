//! A tree with every kind of file and every corner that icecore promises to
//! keep, the same for the same seed.

use std::path::Path;

use rustix::fs::FileType;

use super::args;
use super::command::run_tool;
use super::generate::{
    chain, directory, file, link, mode, mtime, named, owner, sparse, special, symlink, wide, xattr,
};
use super::need::is_root;
use super::rng::Rng;

/// How much of each dimension a tree has.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// A file whose list of chunks has more than one level.
    pub(crate) dense: bool,
    /// Holes of gigabytes, and zeros beside holes: tools read or lose them.
    pub(crate) giant: bool,
    /// Entries of the widest directory.
    pub(crate) wide: usize,
    /// Levels of the deepest directory.
    pub(crate) deep: usize,
}

impl Shape {
    /// Everything.
    pub(crate) const FULL: Self = Self { dense: true, giant: true, wide: 5_000, deep: 1_000 };
    /// Every kind, in sizes that tools read through quickly.
    pub(crate) const TOOLS: Self = Self { dense: false, giant: false, wide: 1_500, deep: 1_000 };
    /// Every kind, as little of it as there can be.
    pub(crate) const SMALL: Self = Self { dense: false, giant: false, wide: 40, deep: 20 };
}

/// Builds the tree at `root`, which must not exist.
pub(crate) fn generate(root: &Path, seed: u64, shape: Shape) {
    eprintln!("tree at {} from seed {seed}", root.display());
    let mut rng = Rng::new(seed);
    directory(root);
    contents(&root.join("contents"), &mut rng, shape);
    directories(&root.join("directories"), shape);
    symlinks(&root.join("symlinks"));
    links(&root.join("links"), &root.with_file_name("outside"), &mut rng);
    specials(&root.join("specials"));
    modes(&root.join("modes"));
    holes(&root.join("sparse"), &mut rng, shape);
    attributes(&root.join("attributes"), &mut rng);
    acls(&root.join("acls"));
    names(&root.join("names"));
    times(&root.join("times"));
    mtime(root, 1_234_567_890, 123_456_789);
}

fn contents(top: &Path, rng: &mut Rng, shape: Shape) {
    directory(top);
    let mut sizes = vec![0, 1, 255, 256, 257];
    for edge in [16 << 10, 64 << 10, 256 << 10] {
        sizes.extend([edge - 1, edge, edge + 1]);
    }
    for size in sizes {
        file(&top.join(format!("random-{size}")), &rng.bytes(size));
        file(&top.join(format!("prose-{size}")), &rng.prose(size));
    }
    file(&top.join("random-3M"), &rng.bytes((3 << 20) + 77));
    file(&top.join("prose-4M"), &rng.prose((4 << 20) + 5));
    let twin = rng.bytes(100_000);
    file(&top.join("twin-1"), &twin);
    file(&top.join("twin-2"), &twin);
    mode(&top.join("twin-2"), 0o600);
    file(&top.join("zeros-without-holes"), &vec![0; 300 << 10]);
    if shape.dense {
        file(&top.join("random-70M"), &rng.bytes((70 << 20) + 13));
    }
}

fn directories(top: &Path, shape: Shape) {
    directory(&top.join("empty"));
    directory(&top.join("nested/in/several/levels/empty"));
    file(&top.join("nested/in/file"), b"between");
    wide(&top.join("wide"), shape.wide);
    chain(&top.join("deep"), c"d", shape.deep);
    directory(&top.join("twins/1/same/below"));
    directory(&top.join("twins/2/same/below"));
    mtime(&top.join("empty"), 3, 4);
}

fn symlinks(top: &Path) {
    file(&directory(top).join("file"), b"what some point at");
    symlink(&top.join("relative"), b"file");
    symlink(&top.join("upwards"), b"../contents/random-1");
    symlink(&top.join("absolute"), b"/etc/passwd");
    symlink(&top.join("dangling"), b"nothing/here");
    symlink(&top.join("directory"), b"../directories");
    symlink(&top.join("loop"), b"loop");
    symlink(&top.join("ping"), b"pong");
    symlink(&top.join("pong"), b"ping");
    symlink(&top.join("any-bytes"), b"a \x1b[0m\xff\n target");
    symlink(&top.join("longest"), &[b'x'; 4095]);
    mtime(&top.join("relative"), 86_400, 1);
    if is_root() {
        symlink(&top.join("owned"), b"file");
        owner(&top.join("owned"), 12345, 54321);
        symlink(&top.join("attributed"), b"file");
        xattr(&top.join("attributed"), "trusted.of-the-link", b"not of the file");
    }
}

fn links(top: &Path, outside: &Path, rng: &mut Rng) {
    directory(&top.join("a"));
    directory(&top.join("b/c"));
    file(&top.join("pair-1"), &rng.bytes(5_000));
    link(&top.join("pair-1"), &top.join("pair-2"));
    file(&top.join("a/five-1"), &rng.prose(70_000));
    for name in ["a/five-2", "b/five-3", "b/c/five-4", "five-5"] {
        link(&top.join("a/five-1"), &top.join(name));
    }
    file(&top.join("a/same-bytes-no-link"), b"equal");
    file(&top.join("b/same-bytes-no-link"), b"equal");
    file(&top.join("a/empty-1"), b"");
    link(&top.join("a/empty-1"), &top.join("b/empty-2"));
    symlink(&top.join("a/symlink-1"), b"pair-1");
    link(&top.join("a/symlink-1"), &top.join("b/symlink-2"));
    special(&top.join("a/fifo-1"), FileType::Fifo, (0, 0));
    link(&top.join("a/fifo-1"), &top.join("b/c/fifo-2"));
    file(&top.join("reaches-out"), b"with a name outside of the tree");
    link(&top.join("reaches-out"), outside);
}

fn specials(top: &Path) {
    special(&directory(top).join("fifo"), FileType::Fifo, (0, 0));
    special(&top.join("socket"), FileType::Socket, (0, 0));
    if is_root() {
        special(&top.join("char-small"), FileType::CharacterDevice, (1, 3));
        special(&top.join("char-big"), FileType::CharacterDevice, (4095, 1_048_575));
        special(&top.join("block-small"), FileType::BlockDevice, (7, 0));
        special(&top.join("block-big"), FileType::BlockDevice, (259, 1_000_000));
        special(&top.join("char-zero"), FileType::CharacterDevice, (0, 0));
    }
}

fn modes(top: &Path) {
    directory(top);
    let some = [0o400, 0o644, 0o755, 0o777, 0o4755, 0o2755, 0o1644, 0o7777, 0o6711];
    for bits in some {
        let path = top.join(format!("file-{bits:o}"));
        file(&path, b"#!/bin/true\n");
        mode(&path, bits);
    }
    for bits in [0o700, 0o1777, 0o2775, 0o7755] {
        mode(directory(&top.join(format!("directory-{bits:o}"))), bits);
    }
    if !is_root() {
        return;
    }
    for (name, uid, gid) in [("odd", 12345, 54321), ("last", 4_294_967_294, 4_294_967_294)] {
        file(&top.join(name), b"of somebody");
        owner(&top.join(name), uid, gid);
        owner(directory(&top.join(format!("directory-{name}"))), uid, gid);
    }
    file(&top.join("setuid-of-somebody"), b"x");
    owner(&top.join("setuid-of-somebody"), 65534, 65534);
    mode(&top.join("setuid-of-somebody"), 0o6755);
    file(&top.join("file-0000"), b"nobody may");
    mode(&top.join("file-0000"), 0);
    file(&directory(&top.join("directory-0000")).join("inside"), b"still kept");
    mode(&top.join("directory-0000"), 0);
}

fn holes(top: &Path, rng: &mut Rng, shape: Shape) {
    const M: u64 = 1 << 20;
    directory(top);
    let data = rng.bytes(200_000);
    sparse(&top.join("at-start"), 2 * M + 200_000, &[(2 * M, &data)]);
    sparse(&top.join("in-middle"), 3 * M + 200_000, &[(0, &data), (3 * M, &data)]);
    sparse(&top.join("at-end"), 4 * M + 1, &[(0, &data)]);
    sparse(&top.join("all-hole"), 64 * M, &[]);
    sparse(&top.join("all-hole-odd-size"), 12_345, &[]);
    sparse(&top.join("unaligned"), 5 * M + 3, &[(M + 5, &data[..100]), (4 * M - 7, b"across")]);
    let many: Vec<_> = (0..300).map(|index| (index * (64 << 10), &data[..4096])).collect();
    sparse(&top.join("many-extents"), 300 * (64 << 10) + 9, &many);
    if shape.giant {
        // `cp` takes zeros for holes once a file has one.
        sparse(&top.join("zeros-beside-holes"), 3 * M, &[(M, &vec![0; 128 << 10])]);
        sparse(&top.join("all-hole-5G"), 5 << 30, &[]);
        sparse(&top.join("tail-at-1T"), (1 << 40) + 4, &[(1 << 40, b"tail")]);
    }
}

fn attributes(top: &Path, rng: &mut Rng) {
    directory(top);
    xattr(top, "user.of-a-directory", b"yes");
    for (name, value) in [
        ("text", b"value".to_vec()),
        ("empty", Vec::new()),
        ("large", rng.bytes(3_900)),
        ("zeros", vec![0; 64]),
        ("any-bytes", b"\0\xff\n\x1b".to_vec()),
    ] {
        file(&top.join(name), name.as_bytes());
        xattr(&top.join(name), &format!("user.{name}"), &value);
    }
    let several = top.join("several");
    file(&several, b"");
    for index in 0..20 {
        xattr(&several, &format!("user.number-{index}"), index.to_string().as_bytes());
    }
    let long = top.join("long-name");
    file(&long, b"");
    xattr(&long, &format!("user.{}", "n".repeat(250)), b"a name of 255 bytes");
    if !is_root() {
        return;
    }
    let all = top.join("of-all-namespaces");
    file(&all, b"x");
    for name in ["user.a", "trusted.b", "security.c"] {
        xattr(&all, name, name.as_bytes());
    }
    special(&top.join("fifo"), FileType::Fifo, (0, 0));
    xattr(&top.join("fifo"), "trusted.of-a-fifo", b"1");
    file(&top.join("capable"), b"#!/bin/true\n");
    mode(&top.join("capable"), 0o755);
    run_tool("setcap", args!["cap_net_raw,cap_net_bind_service+ep", top.join("capable")]);
}

fn acls(top: &Path) {
    directory(top);
    file(&top.join("file"), b"of several");
    run_tool("setfacl", args!["-m", "u:12345:rwx,g:54321:r--,m::rx", top.join("file")]);
    let heir = top.join("directory");
    directory(&heir);
    run_tool("setfacl", args!["-m", "u:12345:r-x", "-m", "d:u:12345:rwx,d:g:7:---", &heir]);
    file(&heir.join("inherits"), b"x");
    directory(&heir.join("inherits-too"));
    let many: Vec<_> = (0..40).map(|index| format!("u:{}:r--", 20_000 + index)).collect();
    file(&top.join("many"), b"x");
    run_tool("setfacl", args!["-m", many.join(","), top.join("many")]);
}

fn names(top: &Path) {
    directory(top);
    let some: [&[u8]; 16] = [
        b"...",
        b"-rf",
        b"--",
        b" both ends ",
        b"tab\there",
        b"line\nbreak",
        b"\x1b[31mred\x1b[0m",
        b"back\\slash",
        b"quote'\"`$(x)",
        b"*?[a]",
        b"\xff\xfe\x80",
        b"cut\xc3",
        "\u{e9}".as_bytes(),
        "e\u{301}".as_bytes(),
        "\u{202e}txt.exe".as_bytes(),
        b"CON:|<>",
    ];
    for name in some {
        file(&named(top, name), name);
    }
    file(&named(top, &[b'n'; 255]), b"longest");
    file(&named(top, &[0xc3; 255]), b"longest and no text");
    directory(&named(top, b"directory\n\xff"));
    let bytes = directory(&top.join("each-byte")).to_owned();
    for byte in (1..=255).filter(|byte| !b"/.".contains(byte)) {
        file(&named(&bytes, &[byte]), &[byte]);
    }
}

fn times(top: &Path) {
    directory(top);
    let some = [
        ("epoch", 0, 0),
        ("one-nanosecond", 0, 1),
        ("before-1970", -2, 500_000_001),
        ("in-1905", -2_051_222_400, 999_999_999),
        ("in-2038", 2_147_483_648, 5),
        ("in-2200", 7_258_118_400, 123_456_789),
    ];
    for (name, seconds, nanoseconds) in some {
        let path = top.join(name);
        file(&path, b"");
        mtime(&path, seconds, nanoseconds);
        let path = top.join(format!("directory-{name}"));
        mtime(directory(&path), seconds, nanoseconds);
        let path = top.join(format!("symlink-{name}"));
        symlink(&path, b"epoch");
        mtime(&path, seconds, nanoseconds);
    }
    mtime(top, -86_400, 7);
}
