//! A target that is right already: what it costs, and what is mended all the same.

use std::process::Command;

use super::place::{Place, leftovers, stamps};
use crate::support::args;
use crate::support::command::{run, try_tool};
use crate::support::fixture::{Fixture, plain_tree};
use crate::support::generate::{file, link, mtime, symlink};
use crate::support::repo::count_of;

/// Files and symlinks of a tree.
const FILES: u64 = 1200;

fn tree(files: u64) -> Place {
    Place::new(Fixture::built(|source| {
        plain_tree(source, 11, files as usize / 2, 300);
        for index in 0..files / 4 {
            symlink(&source.join(format!("link-{index}")), b"somewhere");
            link(&source.join("directory-0/file-0"), &source.join(format!("hard-{index}")));
        }
    }))
}

/// How often a restore of what is right already calls `statx`.
fn looks(place: &Place, options: &[&str]) -> u64 {
    let counts = place.fixture.scratch.join("counts");
    let command = place.command(options);
    let mut strace = Command::new("strace");
    strace.args(args!["-f", "-c", "-e", "trace=statx", "-o", &counts]);
    strace.arg(command.get_program()).args(command.get_args());
    strace.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.current_dir(command.get_current_dir().expect("it has one"));
    run(&mut strace).expect(0);
    let text = std::fs::read_to_string(&counts).expect("strace counts");
    let line = text.lines().find(|line| line.ends_with("statx"));
    let calls = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    calls.unwrap_or_else(|| panic!("no statx in {text}"))
}

#[test]
fn each_item_is_looked_at_once_and_nothing_is_written() {
    if try_tool("strace", ["-V"]).code != 0 {
        eprintln!("SKIPPED: there is no strace");
        return;
    }
    let (few, many) = (tree(8), tree(FILES));
    for place in [&few, &many] {
        place.summary(&[], 0);
    }
    let before = stamps(&many.target);
    let items = (before.len() - stamps(&few.target).len()) as u64;
    for options in [&[][..], &["--yes"], &["--overwrite", "if-newer"], &["--rollback-to", "undo"]] {
        // What a restore of any size costs is in both.
        let calls = looks(&many, options) - looks(&few, options);
        let near = items - items / 100..=items + items / 100;
        assert!(near.contains(&calls), "{options:?}: {calls} for {items} more items");
    }
    assert_eq!(stamps(&many.target), before);
    assert!(!many.fixture.scratch.join("undo").exists());
}

#[test]
fn what_a_killed_run_left_goes_and_the_time_of_a_directory_waits_to_be_told() {
    let place = Place::of(&["file", "dir/in/file"]);
    place.summary(&[], 0);
    let left = || {
        // Of a process that cannot be.
        file(&place.at("dir/in/.icecore-restore-7ffffffe-0"), b"half");
    };
    left();
    let summary = place.summary(&[], 0);
    assert_eq!(count_of(&summary, "files_unchanged"), 2, "{summary}");
    assert_eq!(leftovers(&place.target), Vec::<std::path::PathBuf>::new());
    place.compare();
    // A time alone waits until somebody says so.
    mtime(&place.at("dir"), 5, 5);
    place.summary(&[], 0);
    assert_eq!(stamps(&place.at("dir"))[0].2, 5);
    place.summary(&["--yes"], 0);
    place.compare();
    // Nothing is written by a plan.
    left();
    let before = stamps(&place.target);
    place.restore(&["--dry-run"]).expect(0);
    assert_eq!(stamps(&place.target), before);
}

#[test]
fn a_second_restore_in_place_has_nothing_to_take_back() {
    let place = Place::of(&["file", "dir/file"]);
    let root = place.fixture.scratch.mkdir("sysroot");
    let restore = || {
        let command = args!["restore", &place.fixture.id, "--in-place", &root, "--json"];
        place.fixture.repo.ok(command).last_json_line()
    };
    let (first, second) = (restore(), restore());
    assert!(first["rollback_record"].is_string(), "{first}");
    assert!(second["rollback_record"].is_null(), "{second}");
    assert_eq!(count_of(&second, "files_unchanged"), 2, "{second}");
    let events = place.fixture.repo.ok(["log", "--type", "snapshot.restored", "--json"]);
    assert_eq!(events.text().lines().count(), 2, "{}", events.text());
}
