//! What other tools copy out of the mount, and what they say of it.

use std::os::unix::fs::MetadataExt;

use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, sparse};
use crate::support::need::require_fuse;
use crate::support::tools::{cp_copy, diff_prints_nothing, rsync_sees_no_difference, tar_copy};
use crate::support::tree::Shape;
use crate::support::{args, command::run_tool};

/// A copy on a real file system, whose `st_blocks` are its own affair.
const COPY: Rules = Rules { blocks: false, ..Rules::ALL };

#[test]
fn a_copy_back_by_cp_equals_the_source() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::generated(Shape::TOOLS);
    let mount = fixture.mount();
    let copy = fixture.scratch.join("copy");
    cp_copy(&fixture.in_mount(&mount), &copy);
    assert_same(&fixture.source, &copy, COPY);
    mount.unmount();
}

#[test]
fn rsync_and_diff_see_no_difference_between_source_and_mount() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::generated(Shape::TOOLS);
    let mount = fixture.mount();
    let shown = fixture.in_mount(&mount);
    rsync_sees_no_difference(&fixture.source, &shown);
    diff_prints_nothing(&fixture.source, &shown);
    mount.unmount();
}

#[test]
fn rsync_copies_the_mount_back_without_a_difference() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::generated(Shape::TOOLS);
    let mount = fixture.mount();
    let (shown, copy) = (fixture.in_mount(&mount), fixture.scratch.mkdir("copy"));
    run_tool("rsync", args!["-aHAXS", shown.join(""), copy.join("")]);
    rsync_sees_no_difference(&fixture.source, &copy);
    mount.unmount();
}

#[test]
fn tar_of_source_and_mount_extract_equal() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::generated(Shape::TOOLS);
    let mount = fixture.mount();
    let shown = fixture.in_mount(&mount);
    let extracts = ["of-source", "of-mount"].map(|name| fixture.scratch.join(name));
    tar_copy(&fixture.source, &extracts[0]);
    tar_copy(&shown, &extracts[1]);
    assert_same(&extracts[0], &extracts[1], Rules { sockets: false, ..COPY });
    mount.unmount();
}

#[test]
fn cp_keeps_holes_and_reads_none_of_them() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::built(|source| {
        directory(source);
        sparse(&source.join("all-hole-5G"), 5 << 30, &[]);
        sparse(&source.join("tail-at-1T"), (1 << 40) + 4, &[(1 << 40, b"tail")]);
        sparse(&source.join("middle"), 40 << 20, &[(0, b"head"), (30 << 20, &[7; 200_000])]);
    });
    let mount = fixture.mount();
    let shown = fixture.in_mount(&mount);
    let copy = fixture.scratch.join("auto");
    cp_copy(&shown, &copy);
    assert_same(&fixture.source, &copy, COPY);
    let copy = fixture.scratch.join("always");
    run_tool("cp", args!["--sparse=always", shown.join("middle"), &copy]);
    assert!(std::fs::read(&copy).ok() == std::fs::read(fixture.source.join("middle")).ok());
    let blocks = std::fs::metadata(&copy).expect("it was copied").blocks();
    assert!(blocks * 512 < 1 << 20, "{blocks} blocks");
    mount.unmount();
}

#[test]
fn tools_print_the_same_attributes_for_source_and_mount() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::generated(Shape::SMALL);
    let mount = fixture.mount();
    let shown = fixture.in_mount(&mount);
    let programs = [
        "find attributes acls -print0 | sort -z | \
             xargs -0 getfattr --dump --match=- --encoding=hex --no-dereference",
        "find acls -print0 | sort -z | xargs -0 getfacl --numeric --physical",
        "PATH=$PATH:/usr/sbin:/sbin getcap -r attributes | sort",
        "stat --printf '%N %f %u %g %s %t %T %.Y\\n' specials/* modes/* times/* symlinks/*",
        "find contents sparse -type f -size -20M -exec sha256sum {} + | sort",
    ];
    for program in programs {
        let print = |at| {
            let script = format!("cd \"$1\" && {program}");
            run_tool("bash", args!["-c", script, "bash", at]).text()
        };
        let expected = print(&fixture.source);
        assert!(!expected.is_empty() || program.contains("getcap"), "{program}");
        assert_eq!(print(&shown), expected, "{program}");
    }
    mount.unmount();
}
