//! Every file of the store, hurt in every way.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::args;
use crate::support::command::run_tool;
use crate::support::fixture::{Fixture, SEED, plain_tree};
use crate::support::generate::file;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::{Repo, id_of};

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Blow {
    Delete,
    Truncate,
    Flip,
    /// Another file of the store in its place.
    Swap,
}

const BLOWS: [Blow; 4] = [Blow::Delete, Blow::Truncate, Blow::Flip, Blow::Swap];

/// Two snapshots, the second one of what the first one holds and more.
fn fixture() -> Fixture {
    let fixture = Fixture::built(|source| plain_tree(source, SEED, 8, 20_000));
    file(&fixture.source.join("one-more"), &[b'x'; 5000]);
    fixture.repo.create(&fixture.source);
    fixture
}

fn store_files(repo: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(repo.join("db")).expect("it can be listed").flatten();
    let counts = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name == "CURRENT" || name.starts_with("MANIFEST-") || name.ends_with(".sst")
    };
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(counts).collect();
    files.sort();
    files
}

fn strike(victim: &Path, blow: Blow, others: &[PathBuf]) {
    let bytes = fs::read(victim).expect("it can be read");
    match blow {
        Blow::Delete => fs::remove_file(victim).expect("it can be removed"),
        Blow::Truncate => file(victim, &bytes[..bytes.len() / 2]),
        Blow::Flip => {
            let mut bytes = bytes;
            let middle = bytes.len() / 3;
            bytes[middle] ^= 0x10;
            file(victim, &bytes);
        }
        Blow::Swap => {
            let other = others.iter().find(|path| path.as_path() != victim).expect("another one");
            let size = fs::metadata(other).expect("it is there").len();
            file(victim, &fs::read(other).expect("it can be read"));
            assert_ne!(size, bytes.len() as u64, "two files of one size");
        }
    }
}

/// The files of a snapshot that `check` does not name read back as they were, in a
/// mount and by `cat`; what it names does too or is an error.
fn what_is_not_named_reads_back(repo: &Repo, report: &Value, ids: &[&str], fixture: &Fixture) {
    if ids.is_empty() || !require_fuse() {
        return;
    }
    let (first, source) = (fixture.id.as_str(), fixture.source.as_path());
    let damages = report["damages"].as_array().expect("a list");
    let files = || damages.iter().flat_map(|damage| damage["files"].as_array().expect("a list"));
    let mount = Mount::new(repo);
    for id in ids {
        let of_it =
            |file: &&Value| file["snapshots"].as_array().expect("ids").iter().any(|one| one == *id);
        let hurt: Vec<_> =
            files().filter(of_it).map(|file| file["path"].as_str().expect("a path")).collect();
        for (number, path) in walk(source).into_iter().enumerate() {
            let name = path.to_str().expect("a text");
            if name.ends_with("one-more") && *id == first {
                continue;
            }
            let expected = fs::read(&path).expect("it can be read");
            let below =
                |top: &&str| *top == "/" || name == *top || name.starts_with(&format!("{top}/"));
            let is_hurt = hurt.iter().any(below);
            match fs::read(mount.source(id, &path)) {
                Ok(read) => assert!(read == expected, "other bytes in {name} of {id}"),
                Err(error) => {
                    assert!(is_hurt, "{name} of {id}: {error}");
                    assert_eq!(error.raw_os_error(), Some(5), "{name} of {id}: {error}");
                }
            }
            if !is_hurt && number % 5 == 0 {
                let shown = repo.run(["cat", &format!("{id}:{name}")]).expect(0);
                assert!(shown.stdout == expected, "{name} of {id}");
            }
        }
    }
    mount.unmount();
}

fn walk(top: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(top).expect("it can be listed").flatten() {
        if entry.path().is_dir() {
            files.extend(walk(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}

#[test]
fn whatever_happens_to_a_file_of_the_store_is_found_and_repaired_and_healed() {
    let fixture = fixture();
    fixture.repo.ok(["check", "--read-data"]);
    let files = store_files(fixture.repo.path());
    assert!(files.len() >= 10, "{files:?}");
    let mut found = 0;
    for victim in &files {
        for blow in BLOWS {
            let case = format!("{blow:?} {}", victim.display());
            let home = fixture.scratch.join("copy");
            let _ = fs::remove_dir_all(&home);
            fs::create_dir(&home).expect("it can be made");
            let copy = Repo::copy_of(&fixture.repo, &home.join("repo"));
            let hurt = copy.path().join("db").join(victim.file_name().expect("a name"));
            let others = store_files(copy.path());
            strike(&hurt, blow, &others);
            found += usize::from(one(&fixture, &copy, blow != Blow::Flip, &case));
        }
    }
    // The canary: had nothing been found, nothing would have been damaged.
    assert!(found >= files.len() * 3, "{found} of {}", files.len() * 4);
}

/// Looks at a damaged copy, repairs it and heals it. Returns whether `check` found
/// something, as it must for some.
pub(super) fn one(fixture: &Fixture, copy: &Repo, must_be_found: bool, case: &str) -> bool {
    let checked = copy.run(["check", "--read-data", "--json"]);
    assert!(matches!(checked.code, 0 | 4), "{case}: check ended with {}", checked.code);
    let is_found = checked.code == 4;
    assert!(is_found || !must_be_found, "{case}: check found nothing");
    // Whatever of the snapshots is listed can be mounted; what is named is EIO.
    let before = fixture.repo.ids();
    let listed = copy.run(["list", "--json"]);
    if listed.code == 0 {
        let ids: Vec<_> = listed.json().as_array().expect("a list").iter().map(id_of).collect();
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        what_is_not_named_reads_back(copy, &checked.last_json_line(), &ids, fixture);
    }
    // Nothing crashes, whatever it can show.
    for command in [vec!["list"], vec!["ls", "-R", "latest"], vec!["show", "latest"]] {
        let code = copy.run(&command).code;
        assert!(matches!(code, 0 | 1 | 4), "{case}: {command:?} ended with {code}");
    }
    let dry = copy.run(["repair", "--dry-run"]);
    assert!(matches!(dry.code, 0 | 4), "{case}: {}", dry.error());
    let repaired = copy.run(["repair", "--yes", "--json"]);
    assert!(matches!(repaired.code, 0 | 4), "{case}: {} {}", repaired.text(), repaired.error());
    let report = copy.run(["check", "--read-data", "--json"]);
    assert!(matches!(report.code, 0 | 4), "{case}: {}", report.error());
    let report = report.last_json_line();
    let left = copy.ids();
    let left: Vec<_> = left.iter().filter(|id| before.contains(id)).map(String::as_str).collect();
    what_is_not_named_reads_back(copy, &report, &left, fixture);
    let healed = copy.create(&fixture.source);
    let report = copy.run(["check", "--read-data", "--json"]).last_json_line();
    let still: Vec<_> = report["damaged_snapshots"].as_array().expect("ids").iter().collect();
    assert!(!still.iter().any(|id| **id == healed.as_str()), "{case}: {report}");
    // All content of both snapshots is there; at most an old tree is not.
    let damages = report["damages"].as_array().expect("a list");
    assert!(damages.iter().all(|damage| damage["kind"] == "tree"), "{case}: {report}");
    what_is_not_named_reads_back(copy, &report, &[&healed], fixture);
    run_tool("rm", args!["-rf", copy.path()]);
    is_found
}
