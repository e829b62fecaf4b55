//! The comparator tested: each property changed once must be found.

use std::path::{Path, PathBuf};

use super::compare::{Rules, assert_same, differences};
use super::generate::{directory, file, link, mode, mtime, owner, sparse, special, symlink, xattr};
use super::need::require_root;
use super::scratch::Scratch;
use super::tree::{Shape, generate};
use super::{args, command::run_tool};
use rustix::fs::FileType;

/// Fails unless `change` to one of two equal trees gives exactly differences
/// that hold `words`. The time of the directory is set back.
fn finds(words: &[&str], change: impl Fn(&Path)) {
    let scratch = Scratch::new();
    let sides = ["left", "right"].map(|name| scratch.mkdir(name));
    for side in &sides {
        build(side);
    }
    assert_same(&sides[0], &sides[1], Rules::ALL);
    change(&sides[1]);
    settle(&sides[1]);
    let found = differences(&sides[0], &sides[1], Rules::ALL);
    assert!(!found.is_empty(), "not found: {words:?}");
    for word in words {
        assert!(found.iter().any(|line| line.contains(word)), "{word:?} not in {found:?}");
    }
    for line in &found {
        assert!(words.iter().any(|word| line.contains(word)), "{line:?} beside {words:?}");
    }
}

fn build(top: &Path) {
    file(&top.join("file"), &vec![b'a'; 200_000]);
    file(&top.join("other"), b"other");
    file(&top.join("pair-1"), b"pair");
    link(&top.join("pair-1"), &top.join("pair-2"));
    file(&top.join("alone-1"), b"pair");
    file(&top.join("alone-2"), b"pair");
    symlink(&top.join("symlink"), b"file");
    special(&top.join("fifo"), FileType::Fifo, (0, 0));
    sparse(&top.join("sparse"), 1 << 20, &[(512 << 10, &[b'x'; 4096])]);
    xattr(&top.join("file"), "user.kept", b"value");
    file(&directory(&top.join("inner")).join("below"), b"below");
    settle(top);
}

fn settle(top: &Path) {
    for name in ["file", "pair-1", "alone-1", "alone-2", "symlink", "fifo", "sparse", "inner"] {
        if top.join(name).symlink_metadata().is_ok() {
            mtime(&top.join(name), 1_000, 1);
        }
    }
    for name in ["inner/below", "pair-2", ".", "inner"] {
        mtime(&top.join(name), 1_000, 1);
    }
    if std::fs::metadata(top.join("other")).expect("it is there").len() == 5 {
        let now = std::fs::read(top.join("other")).expect("it is there");
        let nanoseconds = if now == b"times" { 2 } else { 1 };
        mtime(&top.join("other"), 1_000, nanoseconds);
    }
}

fn replace(path: PathBuf, make: impl Fn(&Path)) {
    std::fs::remove_file(&path).expect("it is there");
    make(&path);
}

#[test]
fn the_comparator_finds_each_change_of_content_and_names() {
    finds(&["file: content"], |top| {
        let mut bytes = vec![b'a'; 200_000];
        bytes[199_999] = b'b';
        file(&top.join("file"), &bytes);
    });
    finds(&["below: size"], |top| file(&top.join("inner/below"), b"below and more"));
    finds(&["symlink: target", "symlink: size"], |top| {
        replace(top.join("symlink"), |path| symlink(path, b"elsewhere"));
    });
    finds(&["new: name: missing"], |top| file(&top.join("new"), b""));
    finds(&["fifo: name: there"], |top| {
        std::fs::remove_file(top.join("fifo")).expect("it is there");
    });
    finds(&["fifo: mode"], |top| {
        replace(top.join("fifo"), |path| special(path, FileType::Socket, (0, 0)));
    });
}

#[test]
fn the_comparator_finds_each_change_of_metadata() {
    finds(&["file: mode"], |top| mode(&top.join("file"), 0o4644));
    finds(&["inner: mode"], |top| mode(&top.join("inner"), 0o1755));
    finds(&[".: mode"], |top| mode(top, 0o700));
    finds(&["other: mtime", "other: content"], |top| file(&top.join("other"), b"times"));
    finds(&["file: xattr user.kept"], |top| xattr(&top.join("file"), "user.kept", b"changed"));
    finds(&["file: xattr user.more: none"], |top| xattr(&top.join("file"), "user.more", b""));
    finds(&["inner: xattr system.posix_acl_default"], |top| {
        run_tool("setfacl", args!["-d", "-m", "u:5:r", top.join("inner")]);
    });
    finds(&["other: xattr system.posix_acl_access", "other: mode"], |top| {
        run_tool("setfacl", args!["-m", "u:5:rwx", top.join("other")]);
    });
}

#[test]
fn the_comparator_finds_changed_links_and_holes() {
    finds(&["pair-2: inode", "pair-1: links"], |top| {
        replace(top.join("pair-2"), |path| file(path, b"pair"));
    });
    finds(&["alone-2: inode", "alone-1: links", "alone-2: links"], |top| {
        replace(top.join("alone-2"), |path| link(&top.join("alone-1"), path));
    });
    finds(&["sparse: holes"], |top| {
        sparse(&top.join("sparse"), 1 << 20, &[(0, &[0; 4096]), (512 << 10, &[b'x'; 4096])]);
    });
    finds(&["sparse: holes"], |top| {
        let mut dense = vec![0; 1 << 20];
        dense[512 << 10..][..4096].fill(b'x');
        file(&top.join("sparse"), &dense);
    });
}

#[test]
fn the_comparator_finds_what_only_root_can_change() {
    if !require_root("changing owners, devices and trusted attributes") {
        return;
    }
    finds(&["file: owner"], |top| owner(&top.join("file"), 12345, 0));
    finds(&["inner: group"], |top| owner(&top.join("inner"), 0, 4_294_967_294));
    finds(&["symlink: owner"], |top| owner(&top.join("symlink"), 12345, 0));
    finds(&["file: xattr trusted.t"], |top| xattr(&top.join("file"), "trusted.t", b"1"));
    finds(&["symlink: xattr trusted.t"], |top| xattr(&top.join("symlink"), "trusted.t", b"1"));
    finds(&["other: xattr security.capability"], |top| {
        run_tool("setcap", args!["cap_net_raw+ep", top.join("other")]);
    });
    let scratch = Scratch::new();
    let sides = ["left", "right"].map(|name| scratch.mkdir(name));
    special(&sides[0].join("device"), FileType::CharacterDevice, (4095, 1));
    special(&sides[1].join("device"), FileType::CharacterDevice, (4095, 2));
    let found = differences(&sides[0], &sides[1], Rules::ALL);
    assert!(found.iter().any(|line| line.starts_with("device: rdev")), "{found:?}");
}

#[test]
fn a_copy_by_cp_equals_a_generated_tree_in_everything() {
    let scratch = Scratch::new();
    let (tree, copy) = (scratch.join("tree"), scratch.join("copy"));
    generate(&tree, 42, Shape { giant: false, ..Shape::FULL });
    run_tool("cp", args!["-a", &tree, &copy]);
    assert_same(&tree, &copy, Rules { blocks: false, ..Rules::ALL });
}
