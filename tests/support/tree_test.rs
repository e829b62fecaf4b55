//! The generator tested: what it promises is in the tree.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::compare::{Rules, differences};
use super::scratch::{Scratch, empty};
use super::tree::{Shape, generate};
use super::{args, command::run_tool, generate::chain};

#[test]
fn equal_seeds_generate_equal_trees_and_others_do_not() {
    let scratch = Scratch::new();
    let paths = ["one/tree", "two/tree", "three/tree"].map(|name| scratch.join(name));
    for (path, seed) in paths.iter().zip([7, 7, 8]) {
        generate(path, seed, Shape::SMALL);
        for line in run_tool("find", args![path, "-print0"]).text().split_terminator('\0') {
            assert!(line.starts_with(path.to_str().expect("a text")), "{line}");
        }
    }
    let same = differences(&paths[0], &paths[1], Rules::ALL);
    let same: Vec<_> = same.iter().filter(|line| !line.contains(": mtime: ")).collect();
    assert_eq!(same, [""; 0], "apart from the times of making");
    let other = differences(&paths[0], &paths[2], Rules::ALL);
    assert!(other.iter().any(|line| line.contains(": content: ")), "{other:?}");
}

#[test]
fn a_generated_tree_has_every_kind_of_file() {
    let scratch = Scratch::new();
    let root = scratch.join("tree");
    generate(&root, 1, Shape::SMALL);
    let at = |name: &str| std::fs::symlink_metadata(root.join(name)).expect(name);
    assert!(at("specials/fifo").file_type().is_fifo());
    assert!(at("specials/socket").file_type().is_socket());
    assert_eq!(at("links/a/five-1").nlink(), 5);
    assert_eq!(at("symlinks/longest").len(), 4095);
    assert!(at("sparse/all-hole").blocks() < 64, "the file system keeps holes");
    assert!(at("contents/zeros-without-holes").blocks() >= 600);
    assert_eq!(at("times/before-1970").mtime(), -2);
    let mut deepest = root.join("directories/deep");
    deepest.extend(vec!["d"; 20]);
    assert!(deepest.join("bottom").is_file());
}

#[test]
fn trees_deeper_than_any_path_are_removed_again() {
    let scratch = Scratch::new();
    let top = scratch.join("top");
    chain(&top, c"a-long-name-for-a-level", 3_000);
    empty(&scratch.path()).expect("it can be emptied");
    assert!(!top.exists());
}
