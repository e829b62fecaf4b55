//! Groups of hard links whose names say different things.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use crate::support::args;
use crate::support::command::run_tool;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::id_of;
use crate::support::scratch::Scratch;

use super::forge::{Forge, Item, encoded};
use super::verbs::{Case, survives_before_writing};

/// What a name of one group holds.
fn linked(name: &[u8], tag: u8, mode: u64, behind: &[u8], adds: super::forge::Totals) -> Item {
    let body = encoded(|body| {
        body.number(9);
        body.raw(&[7; 16]);
        body.raw(behind);
    });
    Item::raw(name, 0x10 | tag, mode, &body, adds)
}

fn file(name: &[u8], mode: u64, content: &[u8]) -> Item {
    let behind = encoded(|body| {
        body.byte(0);
        body.bytes(content);
    });
    linked(name, 0, mode, &behind, [1, 0, 1, 0, content.len() as u64, 0])
}

fn directory(forge: &mut Forge, name: &[u8]) -> Item {
    let tree = forge.directory(&[Item::inline(b"inner", b"x")]);
    let behind = encoded(|body| {
        body.raw(&tree.id);
        tree.totals.iter().for_each(|number| body.number(*number));
    });
    linked(name, 1, 0o755, &behind, [1, 1, 1, 1, 1, 0])
}

/// Each name holds what the snapshot says, and those are links of one file that are so by
/// all that is said of them.
fn is_what_was_forged(top: &Path, what: &str) {
    let contents = [("a", "one"), ("b", "one"), ("c", "two"), ("d", "one"), ("e", "two")];
    for (name, content) in contents {
        let read = fs::read_to_string(top.join(name)).expect("it can be read");
        assert_eq!(read, content, "{name} in {what}");
    }
    let of = |name: &str| fs::symlink_metadata(top.join(name)).expect("it is there");
    assert_eq!(of("d").permissions().mode() & 0o777, 0o600, "{what}");
    assert_eq!(of("a").permissions().mode() & 0o777, 0o644, "{what}");
    assert_eq!(fs::read_link(top.join("link")).expect("a symlink").to_str(), Some("elsewhere"));
    for directory in ["x", "y"] {
        let inner = top.join(directory).join("inner");
        assert_eq!(fs::read_to_string(inner).expect("it is there"), "x", "{what}");
    }
    let number = |name: &str| of(name).ino();
    assert_eq!(number("a"), number("b"), "{what}");
    assert_eq!(number("c"), number("e"), "{what}");
    assert!(number("a") != number("c") && number("a") != number("d"), "{what}");
}

#[test]
fn names_of_one_group_that_differ_are_different_files_wherever_they_are_written() {
    let build = |forge: &mut Forge| {
        let [x, y] = [b"x", b"y"].map(|name| directory(forge, name));
        let target = encoded(|body| body.bytes(b"elsewhere"));
        let items = [
            file(b"a", 0o644, b"one"),
            file(b"b", 0o644, b"one"),
            file(b"c", 0o644, b"two"),
            file(b"d", 0o600, b"one"),
            file(b"e", 0o644, b"two"),
            linked(b"link", 2, 0o777, &target, [1, 0, 1, 0, 0, 0]),
            x,
            y,
        ];
        Case { path: "c", walk: None, ..Case::new(forge.of_items(&items), 0) }
    };
    survives_before_writing(build, |forge, case| {
        let (repo, scratch) = (&forge.repo, Scratch::new());
        let target = scratch.join("restored");
        repo.ok(args!["restore", "--verify", &case.id, &target]);
        is_what_was_forged(&target, "a restore");
        // All the same file before: each gets its own content again.
        for name in ["c", "d", "e"] {
            fs::remove_file(target.join(name)).expect("it was there");
            fs::hard_link(target.join("a"), target.join(name)).expect("it can be linked");
        }
        repo.ok(args!["restore", "--verify", "--yes", "--checksum", &case.id, &target]);
        is_what_was_forged(&target, "a restore over it");

        let archive = scratch.join("dump.tar");
        repo.ok(args!["dump", "--archive", "tar", &case.id, "--output", &archive]);
        let unpacked = scratch.mkdir("unpacked");
        run_tool("tar", args!["-xpf", &archive, "-C", &unpacked]);
        is_what_was_forged(&unpacked, "an archive");

        let exported = scratch.mkdir("exported");
        let facts = repo.ok(args!["export", "--json", &case.id, &exported]).last_json_line();
        let archive = facts["archive"].as_str().expect("a path").to_owned();
        let imported = id_of(&repo.ok(args!["import", "--json", archive]).last_json_line());
        let again = scratch.join("again");
        repo.ok(args!["restore", "--verify", imported, &again]);
        is_what_was_forged(&again, "an archive that was imported");

        if require_fuse() {
            let mount = Mount::foreground(repo);
            is_what_was_forged(&mount.snapshot(&case.id), "a mount");
            mount.unmount();
        }
    });
}
