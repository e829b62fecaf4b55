//! Sources that are named by lists.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::place::Place;
use crate::support::args;
use crate::support::command::{run, run_fed};
use crate::support::compare::{Rules, assert_same};
use crate::support::generate::{directory, file, named};
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::id_of;

#[test]
fn files_from_names_sources_verbatim_and_skips_empty_lines() {
    let odd = ["*.o", "# no comment", " blanks ", "!not", "\\back", "a b", "-e"];
    let place = Place::with(&odd);
    for path in ["a.o", "dir/inside/file", "dir/other", "not", "twin/one", "twin/two"] {
        place.file(path, path.as_bytes());
    }
    let list = place.scratch.join("list");
    let lines = [&odd[..], &["", "dir/inside", "", "twin/two"]].concat();
    file(&list, lines.join("\n").as_bytes());
    run(&mut place.command(&args!["--files-from", &list])).expect(0);
    let mut expected: Vec<_> = odd.to_vec();
    expected.extend(["dir", "dir/inside", "dir/inside/file", "twin", "twin/two"]);
    expected.sort_unstable();
    let mut names = place.names();
    // People see one of the names with its backslash doubled, or as it is.
    for name in &mut names {
        *name = name.replace("\\\\", "\\");
    }
    assert_eq!(names, expected);
    for path in odd {
        assert_eq!(place.cat(path), path.as_bytes());
    }
}

#[test]
fn files_from0_takes_any_name() {
    if !require_fuse() {
        return;
    }
    let place = Place::with(&["not-listed"]);
    let listed: [&[u8]; 5] = [b"line\nbreak", b"\xff\xfe", b"\x1b[31m", b" ", b"deep/\n/x"];
    for name in listed {
        let path = named(&place.source, name);
        file(&directory(path.parent().expect("it is below")).join(&path), name);
    }
    let list = place.scratch.join("list");
    for end in [&b"\0"[..], b"", b"\0\0"] {
        file(&list, &[&listed.join(&0)[..], end].concat());
        let command = &mut place.command(&args!["--json", "--files-from0", &list]);
        let summary = run(command).expect(0).last_json_line();
        std::fs::rename(place.at("not-listed"), place.scratch.join("aside")).expect("it is there");
        place.compare(&summary);
        std::fs::rename(place.scratch.join("aside"), place.at("not-listed")).expect("it is there");
    }
}

#[test]
fn a_dash_reads_the_list_from_standard_input() {
    let place = Place::with(&["a", "b c", "d", "e/f"]);
    let mut command = place.command(&args!["--files-from", "-"]);
    run_fed(&mut command, b"b c\n\ne/f\n").expect(0);
    assert_eq!(place.names(), ["b c", "e", "e/f"]);
    let mut command = place.command(&args!["--files-from0", "-"]);
    run_fed(&mut command, b"a\0b c\0").expect(0);
    assert_eq!(place.names(), ["a", "b c"]);
}

#[test]
fn lists_and_arguments_are_joined() {
    let place = Place::with(&["a", "b", "c", "d", "e/x.o", "e/y"]);
    let lists = ["one", "two", "three"].map(|name| place.scratch.join(name));
    for (list, content) in lists.iter().zip([&b"a"[..], b"b\n", b"c\0"]) {
        file(list, content);
    }
    let mut command = place.command(&args!["--files-from", &lists[0], "--files-from", &lists[1]]);
    command.args(args!["--files-from0", &lists[2], "-e", "*.o", "e"]);
    run(&mut command).expect(0);
    assert_eq!(place.names(), ["a", "b", "c", "e", "e/y"]);
}

#[test]
fn a_listed_absolute_path_is_kept_absolute() {
    if !require_fuse() {
        return;
    }
    let place = Place::with(&["dir/file", "other"]);
    let absolute = place.at("dir");
    let list = [absolute.as_os_str(), OsStr::from_bytes(b"\n")].map(OsStr::as_bytes).concat();
    let mut command = place.command(&args!["--json", "--files-from", "-"]);
    let summary = run_fed(&mut command, &list).expect(0).last_json_line();
    let mount = Mount::new(&place.repo);
    assert_same(&absolute, &mount.source(&id_of(&summary), &absolute), Rules::ALL);
    mount.unmount();
}

#[test]
fn a_list_that_is_missing_or_empty_is_said_in_one_line() {
    let place = Place::with(&["a"]);
    let list = place.scratch.join("the-list");
    for option in ["--files-from", "--files-from0"] {
        let outcome = run(&mut place.command(&args![option, &list]));
        assert!([1, 2].contains(&outcome.code), "code {}", outcome.code);
        let code = outcome.code;
        outcome.fails(code, &["the-list"]);
    }
    file(&list, b"\n\n");
    let outcome = run(&mut place.command(&args!["--files-from", &list]));
    assert!([1, 2].contains(&outcome.code), "code {}: {}", outcome.code, outcome.error());
    assert_eq!(place.repo.ids(), [""; 0]);
}

#[test]
fn a_listed_name_that_is_missing_is_reported_and_the_others_are_saved() {
    let place = Place::with(&["a"]);
    let mut command = place.command(&args!["--files-from", "-"]);
    let outcome = run_fed(&mut command, b"not-there\na\n").expect(3);
    assert!(outcome.error().contains("not-there"), "{}", outcome.error());
    assert_eq!(place.names(), ["a"]);
}
