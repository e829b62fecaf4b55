//! Random edits of a tree of every kind of file: what is told to differ is what
//! rsync finds between the two snapshots in a mount.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use super::inside;
use crate::support::args;
use crate::support::command::run_tool;
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file, mode, mtime, symlink, xattr};
use crate::support::need::require_fuse;
use crate::support::repo::Repo;
use crate::support::rng::Rng;
use crate::support::tree::Shape;

const ROUNDS: usize = 5;
const EDITS: usize = 20;

/// All paths below a directory.
fn below(top: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut work = vec![top.to_owned()];
    while let Some(path) = work.pop() {
        for entry in fs::read_dir(&path).expect("it can be listed").flatten() {
            all.push(entry.path());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                work.push(entry.path());
            }
        }
    }
    all.sort();
    all
}

fn remove(path: &Path) {
    let kind = fs::symlink_metadata(path).expect("it is there").file_type();
    let removed = if kind.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.expect("it can be removed");
}

/// Changes something below a directory, and says what.
fn edit(top: &Path, number: usize, rng: &mut Rng) -> String {
    let all = below(top);
    let path = &all[rng.below(all.len() as u64) as usize];
    let meta = fs::symlink_metadata(path).expect("it is there");
    let new = path.with_file_name(format!("new-{number}"));
    let what = match rng.below(10) {
        0 => {
            remove(path);
            "removed"
        }
        1 => {
            remove(path);
            file(path, &rng.bytes(300));
            "a file in its place"
        }
        2 => {
            remove(path);
            file(&directory(path).join("inner"), b"inside");
            "a directory in its place"
        }
        3 => {
            remove(path);
            symlink(path, b"elsewhere");
            "a symlink in its place"
        }
        4 if !meta.is_symlink() => {
            mode(path, 0o700 + rng.below(0o100) as u32);
            "another mode"
        }
        5 if !meta.is_dir() => {
            mtime(path, 1_500_000_000, rng.below(1_000_000_000) as u32);
            "another time"
        }
        6 => {
            fs::rename(path, &new).expect("it can be moved");
            "moved"
        }
        7 if meta.is_file() => {
            let opened = OpenOptions::new().append(true).open(path);
            opened.and_then(|mut file| file.write_all(b"more")).expect("it can be written");
            "longer"
        }
        8 if meta.is_dir() || meta.is_file() => {
            xattr(path, "user.edited", &rng.bytes(20));
            "another attribute"
        }
        _ => {
            file(&new, &rng.bytes(40));
            "a new one beside it"
        }
    };
    format!("{}: {what}", path.display())
}

type Paths = BTreeSet<PathBuf>;

fn told(repo: &Repo, operands: &[OsString]) -> Paths {
    let words = args!["diff", "--no-renames", "--name-only", "-z", "--ignore", "links"];
    let outcome = repo.ok(words.iter().chain(operands));
    let paths = outcome.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty());
    paths.map(|path| PathBuf::from(OsString::from_vec(path.to_vec()))).collect()
}

/// What rsync would change to make `before` into `after`.
fn by_rsync(before: &Path, after: &Path) -> Paths {
    let options = ["-aAXcOn", "--delete", "--modify-window=-1", "--out-format=%i %n"];
    let mut command = args![after.join(""), before.join("")].to_vec();
    command.splice(0..0, options.map(Into::into));
    let outcome = run_tool("rsync", command);
    let lines = outcome.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let path = |line: &[u8]| {
        // Eleven letters and a blank.
        let name = unescaped(&line[12..]);
        PathBuf::from(OsString::from_vec(name.strip_suffix(b"/").unwrap_or(&name).to_vec()))
    };
    lines.map(path).collect()
}

/// Takes back the octal form in which rsync prints bytes that no terminal shows.
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = name;
    while let Some((byte, behind)) = rest.split_first() {
        let octal = rest.strip_prefix(b"\\#").and_then(|digits| digits.get(..3));
        let text = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match text.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &rest[5..];
            }
            None => {
                bytes.push(*byte);
                rest = behind;
            }
        }
    }
    bytes
}

#[test]
fn rsync_finds_the_same_between_two_mounted_snapshots_after_random_edits() {
    if !require_fuse() {
        return;
    }
    let mut rng = Rng::printed("random edits");
    let fixture = Fixture::generated(Shape::SMALL);
    let (repo, source) = (&fixture.repo, &fixture.source);
    let mount = fixture.mount();
    let mut before = fixture.id.clone();
    for round in 0..ROUNDS {
        let edits: Vec<String> = (0..EDITS)
            .map(|edit_number| edit(source, round * EDITS + edit_number, &mut rng))
            .collect();
        let now = told(repo, &args![inside(&before, source), source]);
        let after = repo.create(source);
        let found = told(repo, &args![inside(&before, source), inside(&after, source)]);
        let expected = by_rsync(&mount.source(&before, source), &mount.source(&after, source));
        let differ: Vec<_> = found.symmetric_difference(&expected).collect();
        assert!(differ.is_empty(), "round {round}: {differ:?}\n{}", edits.join("\n"));
        assert_eq!(now, found, "round {round}: the running system, before it was saved");
        before = after;
    }
    mount.unmount();
}
