//! What looking costs in a large repository: two snapshots of a tree of many
//! files, ten of which changed.
//!
//! `ICECORE_SCALE=N` makes it a tree of N files instead of a small one, and with
//! `--nocapture` the table of `docs/performance.md` is printed.

use std::ffi::OsString;
use std::path::Path;

use crate::support::args;
use crate::support::generate::{directory, file};
use crate::support::measure::{Measured, measured};
use crate::support::repo::Repo;
use crate::support::scratch::Scratch;

/// Files of the tree, unless more are asked for.
const FILES: u64 = 10_000;
/// Files in a directory.
const DIRECTORY_FILES: u64 = 1_000;
const CHANGED: u64 = 10;

fn files() -> u64 {
    std::env::var("ICECORE_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(FILES)
}

fn path_of(source: &Path, place: u64) -> std::path::PathBuf {
    let (outer, inner) = (place / DIRECTORY_FILES, place % DIRECTORY_FILES);
    source.join(format!("directory-{outer:04}/inner/file-{inner:04}"))
}

/// Makes a tree of files that differ from each other, each of one chunk.
fn grow(source: &Path, files: u64) {
    for place in 0..files {
        let path = path_of(source, place);
        if place % DIRECTORY_FILES == 0 {
            directory(path.parent().expect("it is below the source"));
        }
        file(&path, format!("{place} ").repeat(40).as_bytes());
    }
}

/// What a command may take: CPU seconds and memory, each with a part for each
/// million of files.
struct Bound {
    cpu_seconds: (f64, f64),
    peak_mib: (f64, f64),
}

/// Independent of the size of the tree.
const FLAT: Bound = Bound { cpu_seconds: (0.5, 0.0), peak_mib: (64.0, 0.0) };
/// Every entry is looked at, in bounded memory.
const WALK: Bound = Bound { cpu_seconds: (0.5, 10.0), peak_mib: (64.0, 0.0) };
/// Each of two objects for a file is remembered, in slots of twelve bytes.
const COUNT: Bound = Bound { cpu_seconds: (0.5, 10.0), peak_mib: (64.0, 200.0) };

fn judge(what: &str, files: u64, bound: &Bound, taken: Measured) {
    let millions = files as f64 / 1e6;
    let peak_mib = taken.peak_bytes as f64 / f64::from(1 << 20);
    let Measured { seconds, cpu_seconds, .. } = taken;
    eprintln!("| `{what}` | {seconds:.3} | {cpu_seconds:.2} | {peak_mib:.0} |");
    let at_most = |(fixed, each): (f64, f64)| fixed + each * millions;
    assert!(cpu_seconds <= at_most(bound.cpu_seconds), "{what}: {cpu_seconds} CPU seconds");
    assert!(peak_mib <= at_most(bound.peak_mib), "{what}: {peak_mib} MiB");
}

#[test]
fn comparing_costs_what_changed_and_finding_and_counting_what_there_is() {
    let files = files();
    let (scratch, repo) = (Scratch::new(), Repo::new());
    let source = scratch.mkdir("source");
    grow(&source, files);
    repo.create(&source);
    for index in 0..CHANGED {
        file(&path_of(&source, index * files / CHANGED), format!("changed {index}").as_bytes());
    }
    repo.create(&source);
    let lines = repo.ok(["diff", "--name-only", "latest~1", "latest"]).text();
    assert_eq!(lines.lines().count() as u64, CHANGED, "{lines}");
    let moved = scratch.join("moved");
    std::fs::rename(&source, &moved).expect("it can be moved");
    let mut stored = OsString::from("latest:");
    stored.push(&source);
    let one = path_of(&source, 0);
    eprintln!("{files} files\n\n| | seconds | CPU seconds | peak MiB |\n|---|---|---|---|");
    for (bound, arguments) in [
        (FLAT, args!["diff", "latest~1", "latest"].to_vec()),
        (FLAT, args!["diff", "latest", "latest"].to_vec()),
        (FLAT, args!["find", "--size", "+1M"].to_vec()),
        (FLAT, args!["find", "/nowhere/file-0001"].to_vec()),
        (FLAT, args!["versions", &one].to_vec()),
        (WALK, args!["find", "file-0001"].to_vec()),
        (WALK, args!["find", "*"].to_vec()),
        (WALK, args!["ls", "-lR", "latest"].to_vec()),
        (WALK, args!["tree", "latest"].to_vec()),
        (WALK, args!["manifest", "latest"].to_vec()),
        (COUNT, args!["stats"].to_vec()),
        (COUNT, args!["stats", "--unique"].to_vec()),
        (COUNT, args!["stats", "--growth"].to_vec()),
        (WALK, args!["diff", &stored, &moved].to_vec()),
    ] {
        let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
        let path = scratch.path().display().to_string();
        let what = words.join(" ").replace(&path, "");
        // The first run fills the kernel's cache.
        measured(&repo, &arguments);
        judge(&what, files, &bound, measured(&repo, &arguments));
    }
}
