//! A second `create` after changes of kinds, names and links, compared through
//! the mount.

use rustix::fs::FileType;

use super::place::{Place, rest};
use crate::support::args;
use crate::support::command::run_tool;
use crate::support::fixture::SEED;
use crate::support::generate::{
    directory, file, link, mode, mtime, owner, sparse, special, symlink, xattr,
};
use crate::support::need::{is_root, require_fuse};
use crate::support::repo::{count_of, id_of};
use crate::support::rng::Rng;
use crate::support::tree::{Shape, generate};

/// Three files of one directory that share an inode, two pairs that reach out
/// of theirs, and plain neighbours.
fn linked() -> Place {
    let place = Place::with(&["plain", "group/plain", "pairs/plain"]);
    let mut rng = Rng::new(21);
    place.file("group/one", &rng.bytes(40_000));
    link(&place.at("group/one"), &place.at("group/two"));
    link(&place.at("group/one"), &place.at("group/three"));
    place.file("pairs/left", &rng.bytes(30_000));
    link(&place.at("pairs/left"), &place.at("right"));
    symlink(&place.at("pairs/symlink"), b"left");
    link(&place.at("pairs/symlink"), &place.at("symlink"));
    rest();
    place
}

/// Compares after a first create, after `change`, and once more unchanged.
fn equal_throughout(place: &Place, change: impl FnOnce()) {
    place.compare(&place.create(&[]));
    change();
    place.compare(&place.create(&[]));
    rest();
    place.compare(&place.create(&[]));
    let settled = place.create(&[]);
    assert_eq!(count_of(&settled, "bytes_read"), 0, "{settled}");
    place.compare(&settled);
    place.compare(&place.create(&args!["--force"]));
}

#[test]
fn a_file_a_directory_and_a_symlink_may_take_each_others_place() {
    if !require_fuse() {
        return;
    }
    let tree = ["f-to-d", "f-to-l", "d-to-f/in", "d-to-l/in/deep", "same/x"];
    let place = Place::with(&tree);
    symlink(&place.at("l-to-f"), b"same");
    symlink(&place.at("l-to-d"), b"same");
    equal_throughout(&place, || {
        for name in ["f-to-d", "f-to-l", "l-to-f", "l-to-d"] {
            std::fs::remove_file(place.at(name)).expect("it is there");
        }
        for name in ["d-to-f", "d-to-l"] {
            std::fs::remove_dir_all(place.at(name)).expect("it is there");
        }
        place.file("f-to-d/inside", b"now below");
        symlink(&place.at("f-to-l"), b"same/x");
        file(&place.at("d-to-f"), b"now a file");
        symlink(&place.at("d-to-l"), b"nowhere");
        file(&place.at("l-to-f"), b"now a file too");
        file(&directory(&place.at("l-to-d")).join("x"), b"not what same/x is");
    });
}

#[test]
fn a_renamed_directory_keeps_its_content_and_adds_none() {
    if !require_fuse() {
        return;
    }
    let place = Place::with(&["one/a", "one/b/c", "one/b/d", "two/a", "zero"]);
    rest();
    place.create(&[]);
    std::fs::rename(place.at("one"), place.at("renamed")).expect("it can be renamed");
    let summary = place.create(&[]);
    let found = ["files_new", "files_unmodified", "added_chunks"].map(|f| count_of(&summary, f));
    assert_eq!(found, [3, 2, 0], "{summary}");
    place.compare(&summary);
    // The places of two directories are exchanged: all names are known, and
    // what is in them is another's.
    let aside = place.at("aside");
    for (from, to) in [("renamed", "aside"), ("two", "renamed"), ("aside", "two")] {
        std::fs::rename(place.at(from), place.at(to)).expect("it can be renamed");
    }
    assert!(!aside.exists());
    place.compare(&place.create(&[]));
}

#[test]
fn two_files_that_exchange_their_names_exchange_their_content() {
    if !require_fuse() {
        return;
    }
    let place = Place::with(&["aa", "bb", "dir/aa", "dir/bb"]);
    for name in ["aa", "bb", "dir/aa", "dir/bb"] {
        mtime(&place.at(name), 1_500_000_000, 0);
    }
    rest();
    equal_throughout(&place, || {
        for (from, to) in [("aa", "tmp"), ("bb", "aa"), ("tmp", "bb")] {
            std::fs::rename(place.at(from), place.at(to)).expect("it can be renamed");
        }
    });
    assert_eq!(place.cat("aa"), b"bb");
}

#[test]
fn every_change_of_what_is_kept_about_a_file_is_seen() {
    if !require_fuse() {
        return;
    }
    let place = Place::with(&["attribute", "acl", "owner", "sticky/x", "dir-time/x", "hole"]);
    symlink(&place.at("symlink"), b"here");
    special(&place.at("fifo"), FileType::Fifo, (0, 0));
    equal_throughout(&place, || {
        xattr(&place.at("attribute"), "user.new", b"value");
        run_tool("setfacl", args!["-m", "u:12345:r--", place.at("acl")]);
        mode(&place.at("sticky"), 0o1777);
        mtime(&place.at("dir-time"), 1_000_000, 1);
        xattr(&place.at("dir-time"), "user.of-a-directory", b"x");
        std::fs::remove_file(place.at("symlink")).expect("it is there");
        symlink(&place.at("symlink"), b"away");
        mode(&place.at("fifo"), 0o600);
        sparse(&place.at("hole"), 4 << 20, &[(1 << 20, b"data")]);
        if is_root() {
            owner(&place.at("owner"), 12345, 54321);
            owner(&place.at("symlink"), 12345, 54321);
        }
    });
}

#[test]
fn a_tree_of_every_kind_is_right_although_nothing_is_read_again() {
    if !require_fuse() {
        return;
    }
    let place = Place::new();
    generate(&place.at("tree"), SEED, Shape::SMALL);
    rest();
    place.compare(&place.create(&[]));
    let again = place.create(&[]);
    let found = ["files_changed", "bytes_read", "added_bytes"].map(|f| count_of(&again, f));
    assert_eq!(found, [0, 0, 0], "{again}");
    place.compare(&again);
}

#[test]
fn a_big_file_that_is_not_read_again_is_whole_even_after_gc() {
    if !require_fuse() {
        return;
    }
    let place = Place::with(&["small"]);
    place.file("big", &Rng::new(41).bytes((70 << 20) + 5));
    rest();
    let first = place.create(&[]);
    let again = place.create(&[]);
    assert_eq!(count_of(&again, "bytes_read"), 0, "{again}");
    place.repo.ok(["delete", "--yes", &id_of(&first)]);
    place.repo.gc();
    place.compare(&again);
    place.file("small", b"other");
    let third = place.create(&[]);
    assert_eq!(count_of(&third, "bytes_read"), 5, "{third}");
    place.compare(&third);
}

#[test]
fn unchanged_hard_links_are_not_read_again() {
    if !require_fuse() {
        return;
    }
    let place = linked();
    place.compare(&place.create(&[]));
    let again = place.create(&[]);
    let found = ["files_read", "added_chunks", "files_changed"].map(|f| count_of(&again, f));
    assert_eq!(found, [0, 0, 0], "{again}");
    place.compare(&again);
}

#[test]
fn a_hard_link_that_is_added_is_kept_as_one() {
    if !require_fuse() {
        return;
    }
    let place = linked();
    equal_throughout(&place, || {
        link(&place.at("group/one"), &place.at("pairs/four"));
        link(&place.at("plain"), &place.at("group/plain-too"));
        link(&place.at("right"), &place.at("0-first"));
    });
}

#[test]
fn a_hard_link_that_is_removed_leaves_the_others() {
    if !require_fuse() {
        return;
    }
    let place = linked();
    equal_throughout(&place, || {
        for name in ["group/one", "pairs/left", "symlink"] {
            std::fs::remove_file(place.at(name)).expect("it is there");
        }
    });
}

#[test]
fn a_link_that_becomes_a_copy_is_a_file_of_its_own() {
    if !require_fuse() {
        return;
    }
    let place = linked();
    equal_throughout(&place, || {
        let content = std::fs::read(place.at("group/two")).expect("it can be read");
        std::fs::remove_file(place.at("group/two")).expect("it is there");
        file(&place.at("group/two"), &content);
    });
}

#[test]
fn a_copy_that_becomes_a_link_is_one() {
    if !require_fuse() {
        return;
    }
    let place = linked();
    equal_throughout(&place, || {
        std::fs::remove_file(place.at("plain")).expect("it is there");
        link(&place.at("group/plain"), &place.at("plain"));
    });
}

#[test]
fn content_written_through_one_link_is_seen_in_all() {
    if !require_fuse() {
        return;
    }
    let place = linked();
    equal_throughout(&place, || {
        file(&place.at("group/three"), b"all three of them");
        file(&place.at("right"), b"and its pair");
    });
    assert_eq!(place.cat("group/one"), b"all three of them");
}

#[test]
fn a_directory_of_linked_files_may_be_renamed() {
    if !require_fuse() {
        return;
    }
    let place = linked();
    equal_throughout(&place, || {
        std::fs::rename(place.at("group"), place.at("a-group")).expect("it can be renamed");
        std::fs::rename(place.at("pairs"), place.at("z-pairs")).expect("it can be renamed");
    });
}

#[test]
fn a_link_whose_other_names_are_left_out_is_still_whole() {
    if !require_fuse() {
        return;
    }
    let place = linked();
    place.create(&[]);
    let before = std::fs::read(place.at("group/two")).expect("it can be read");
    for pattern in ["/group/one", "group/t*", "/right"] {
        place.create(&args!["-e", pattern]);
        let kept = if pattern == "group/t*" { "group/one" } else { "group/two" };
        assert!(place.cat(kept) == before, "{pattern}");
    }
    place.compare(&place.create(&[]));
}

#[test]
fn what_gc_took_is_read_and_stored_again() {
    if !require_fuse() {
        return;
    }
    let place = linked();
    for round in 0..2 {
        let first = place.create(&[]);
        place.repo.ok(["delete", "--yes", &id_of(&first)]);
        place.repo.gc();
        place.file("plain", format!("of round {round}").as_bytes());
        let second = place.create(&[]);
        place.compare(&second);
        place.repo.ok(["delete", "--yes", &id_of(&second)]);
        assert_eq!(place.repo.ids(), [""; 0]);
    }
}

#[test]
fn a_collection_between_two_creates_costs_the_second_nothing() {
    if !require_fuse() {
        return;
    }
    let place = linked();
    let first = place.create(&[]);
    file(&place.at("plain"), &Rng::new(5).bytes(200_000));
    let second = place.create(&[]);
    place.repo.ok(["delete", "--yes", &id_of(&second)]);
    place.repo.gc();
    // What only the deleted one had is gone, although its file is unchanged.
    rest();
    let third = place.create(&[]);
    place.compare(&third);
    place.repo.ok(["delete", "--yes", &id_of(&first)]);
    place.repo.gc();
    place.compare(&third);
    place.compare(&place.create(&[]));
}

#[test]
fn after_a_delete_without_gc_the_next_create_is_right() {
    if !require_fuse() {
        return;
    }
    let place = linked();
    let first = place.create(&[]);
    place.repo.ok(["delete", "--yes", &id_of(&first)]);
    let second = place.create(&[]);
    place.repo.gc();
    place.compare(&second);
    let third = place.create(&[]);
    assert_eq!(count_of(&third, "added_chunks"), 0, "{third}");
    place.compare(&third);
}
