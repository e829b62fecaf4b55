//! What is left out for what it is: marked directories, large files, files with
//! the nodump flag, other file systems.

use std::path::PathBuf;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::place::Place;
use crate::support::args;
use crate::support::command::{run, try_tool};
use crate::support::generate::{directory, file, sparse, symlink};
use crate::support::need::require_root;
use crate::support::repo::count_of;

const SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

#[test]
fn a_directory_with_a_marker_is_kept_empty_but_for_the_marker() {
    let place = Place::with(&["a/.nobackup", "a/b/c", "a/d", "e/f", "e/g/.nobackup", "e/g/h/i"]);
    let summary = place.create(&args!["--exclude-if-present", ".nobackup"]);
    assert_eq!(place.names(), ["a", "a/.nobackup", "e", "e/f", "e/g", "e/g/.nobackup"]);
    assert_eq!(place.cat("a/.nobackup"), b"a/.nobackup");
    assert!(count_of(&summary, "excluded") > 0, "{summary}");
    place.create(&[]);
    assert_eq!(place.cat("e/g/h/i"), b"e/g/h/i");
}

#[test]
fn a_marker_with_a_header_must_begin_with_it() {
    let place = Place::new();
    for (name, content) in [
        ("exact", &b"TAG: v1"[..]),
        ("longer", b"TAG: v1 and more\n"),
        ("other", b"TAG: v2"),
        ("shorter", b"TAG: v"),
        ("empty", b""),
        ("later", b" TAG: v1"),
    ] {
        place.file(&format!("{name}/.mark"), content);
        place.file(&format!("{name}/inside"), b"x");
    }
    place.create(&args!["--exclude-if-present", ".mark:TAG: v1"]);
    let kept: Vec<_> = place.names().into_iter().filter(|name| name.ends_with("inside")).collect();
    assert_eq!(kept, ["empty/inside", "later/inside", "other/inside", "shorter/inside"]);
    assert_eq!(place.cat("exact/.mark"), b"TAG: v1");
    place.create(&args!["--exclude-if-present", ".mark"]);
    assert!(!place.names().iter().any(|name| name.ends_with("inside")), "{:?}", place.names());
}

#[test]
fn several_markers_count_each() {
    let place = Place::with(&["a/.one", "a/x", "b/.two", "b/x", "c/x"]);
    place.create(&args!["--exclude-if-present", ".one", "--exclude-if-present", ".two"]);
    assert_eq!(place.names(), ["a", "a/.one", "b", "b/.two", "c", "c/x"]);
}

#[test]
fn exclude_caches_leaves_out_what_a_right_cachedir_tag_marks() {
    let place = Place::with(&["right/x/y", "wrong/x", "named/CACHEDIR.TAG/x", "none/x"]);
    place.file("right/CACHEDIR.TAG", &[SIGNATURE, b"\n# a comment\n"].concat());
    place.file("wrong/CACHEDIR.TAG", b"Signature: 0000");
    place.create(&args!["--exclude-caches"]);
    let gone: Vec<_> = place.names().into_iter().filter(|name| name.starts_with("right")).collect();
    assert_eq!(gone, ["right", "right/CACHEDIR.TAG"]);
    for path in ["wrong/x", "named/CACHEDIR.TAG/x", "none/x"] {
        assert_eq!(place.cat(path), path.as_bytes());
    }
    place.create(&[]);
    assert_eq!(place.cat("right/x/y"), b"right/x/y");
}

#[test]
fn exclude_larger_than_takes_files_up_to_the_size_itself() {
    let place = Place::new();
    for size in [0, 4095, 4096, 4097, 20_000] {
        place.file(&format!("of-{size}"), &vec![b'x'; size]);
    }
    sparse(&place.at("sparse"), 20 << 20, &[]);
    symlink(&place.at("link"), b"of-20000");
    place.create(&args!["--exclude-larger-than", "4KiB"]);
    assert_eq!(place.names(), ["link", "of-0", "of-4095", "of-4096"]);
    place.create(&args!["--exclude-larger-than", "10M"]);
    assert_eq!(place.names(), ["link", "of-0", "of-20000", "of-4095", "of-4096", "of-4097"]);
    place.create(&args!["--exclude-larger-than", "4GiB"]);
    assert_eq!(place.names().len(), 7);
}

#[test]
fn exclude_nodump_leaves_out_what_chattr_marked() {
    let place = Place::with(&["dumped", "marked", "directory/inside", "other/inside"]);
    for name in ["marked", "directory"] {
        let marked = try_tool("chattr", args!["+d", place.at(name)]);
        if marked.code != 0 {
            return eprintln!("SKIPPED: no nodump flag here: {}", marked.error());
        }
    }
    place.create(&args!["--exclude-nodump"]);
    assert_eq!(place.names(), ["dumped", "other", "other/inside"]);
    place.create(&[]);
    let all = ["directory", "directory/inside", "dumped", "marked", "other", "other/inside"];
    assert_eq!(place.names(), all);
}

/// A tmpfs that is unmounted at the end.
struct Mounted(PathBuf);

impl Mounted {
    fn at(point: PathBuf) -> Self {
        directory(&point);
        let made = mount("icecore-test", &point, "tmpfs", MountFlags::empty(), c"size=1m");
        made.expect("a tmpfs can be mounted");
        Self(point)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.0, UnmountFlags::DETACH) {
            eprintln!("{}: not unmounted: {error}", self.0.display());
        }
    }
}

#[test]
fn one_file_system_keeps_other_ones_as_empty_directories() {
    if !require_root("mounting a tmpfs") {
        return;
    }
    let place = Place::with(&["here/file", "top"]);
    let outer = Mounted::at(place.at("here/mounted"));
    file(&directory(&outer.0.join("inner")).join("file"), b"elsewhere");
    for option in ["-x", "--one-file-system"] {
        let summary = place.create(&args![option]);
        assert_eq!(place.names(), ["here", "here/file", "here/mounted", "top"]);
        assert_eq!(count_of(&summary, "errors"), 0, "{summary}");
    }
    place.create(&[]);
    assert_eq!(place.cat("here/mounted/inner/file"), b"elsewhere");
}

#[test]
fn one_file_system_means_that_of_each_source() {
    if !require_root("mounting a tmpfs") {
        return;
    }
    let place = Place::with(&["here/file"]);
    let outer = Mounted::at(place.at("here/mounted"));
    file(&outer.0.join("file"), b"elsewhere");
    let inner = Mounted::at(outer.0.join("inner"));
    file(&inner.0.join("file"), b"further");
    run(place.command(&args!["-x"]).arg("here/mounted")).expect(0);
    let below = ["here", "here/mounted", "here/mounted/file", "here/mounted/inner"];
    assert_eq!(place.names(), below);
    run(place.command(&args!["-x"]).args(["here/file", "here/mounted/inner"])).expect(0);
    assert_eq!(place.cat("here/mounted/inner/file"), b"further");
    assert_eq!(place.cat("here/file"), b"here/file");
}
