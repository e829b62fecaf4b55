//! `find`: what find(1) finds, over many snapshots at once.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::command::{Outcome, finish, run_tool};
use crate::support::encrypt::is_encrypted;
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file, mode, wide};
use crate::support::need::require_fuse;
use crate::support::repo::{Repo, count_of, signal};
use crate::support::scratch::Scratch;
use crate::support::tree::Shape;

/// The paths that `find -0` printed, without the snapshot before each.
fn paths(outcome: &Outcome) -> BTreeSet<Vec<u8>> {
    let records = outcome.stdout.split(|byte| *byte == 0).filter(|record| !record.is_empty());
    records.map(|record| record[13..].to_vec()).collect()
}

fn lines(repo: &Repo, arguments: &[&str]) -> Vec<Value> {
    let outcome = repo.ok(["find", "--json"].iter().chain(arguments));
    outcome.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn it_finds_what_find_finds_on_the_mount() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::generated(Shape::TOOLS);
    let mount = fixture.mount();
    let top = mount.snapshot(&fixture.id);
    let cases: [(&[&str], &[&str]); 12] = [
        (&["*1*"], &["-name", "*1*"]),
        (&["prose-*", "random-1"], &["(", "-name", "prose-*", "-o", "-name", "random-1", ")"]),
        (&["-i", "TWIN*"], &["-iname", "TWIN*"]),
        (&["**/contents/prose*"], &["-path", "*/contents/prose*"]),
        (&["--type", "l"], &["-type", "l"]),
        (&["--type", "d,p"], &["(", "-type", "d", "-o", "-type", "p", ")"]),
        (&["--size", "+100K"], &["-type", "f", "-size", "+100k"]),
        (&["--size", "-1M", "--size", "+9"], &["-type", "f", "-size", "-1048576c", "-size", "+9c"]),
        (&["--size", "257"], &["-type", "f", "-size", "257c"]),
        (&["--newer", "2020-01-01T00:00"], &["-newermt", "2020-01-01"]),
        (&["--owner", "12345"], &["-uid", "12345"]),
        (&["--group", "54321", "*w*"], &["-gid", "54321", "-name", "*w*"]),
    ];
    for (own, theirs) in cases {
        let found = paths(&fixture.repo.ok(["find", "-0"].iter().chain(own)));
        let top = top.to_str().expect("a text");
        let before = [top, "-mindepth", "1"];
        let after = ["-printf", r"%P\0"];
        let tool = run_tool("find", before.iter().chain(theirs).chain(&after));
        let expected: BTreeSet<Vec<u8>> = tool
            .stdout
            .split(|byte| *byte == 0)
            .filter(|path| !path.is_empty())
            .map(<[u8]>::to_vec)
            .collect();
        let name = |path: &&Vec<u8>| String::from_utf8_lossy(path).into_owned();
        let differ: Vec<_> =
            found.symmetric_difference(&expected).map(|path| name(&path)).collect();
        assert!(differ.is_empty(), "{own:?}: {differ:?}");
        let is_root_only = theirs[0] == "-uid" || theirs[0] == "-gid";
        assert!(!found.is_empty() || is_root_only, "{own:?} finds nothing: the test is void");
    }
    mount.unmount();
}

/// Three snapshots: `a` changes in the second and comes back in the third, `b`
/// is there in the first two.
fn history() -> (Scratch, Repo, Vec<String>) {
    let scratch = Scratch::new();
    let source = scratch.mkdir("source");
    let repo = Repo::new();
    let write = |name: &str, content: &str, seconds| {
        file(&source.join(name), content.as_bytes());
        crate::support::generate::mtime(&source.join(name), seconds, 0);
    };
    let mut ids = Vec::new();
    write("a", "one", 1_700_000_000);
    write("b", "two", 1_700_000_000);
    let mut take = |tag: &str| {
        let arguments = ["--tag", tag, source.to_str().expect("a text")];
        ids.push(crate::support::repo::id_of(&repo.create_json(arguments, 0)));
    };
    take("first");
    write("a", "other", 1_700_000_001);
    take("second");
    write("a", "one", 1_700_000_000);
    std::fs::remove_file(source.join("b")).expect("it is there");
    take("third");
    (scratch, repo, ids)
}

#[test]
fn each_version_is_told_once_with_its_snapshots() {
    let (_scratch, repo, ids) = history();
    let found = lines(&repo, &["a", "b", "--type", "f"]);
    let told: Vec<_> = found
        .iter()
        .map(|one| {
            let path = one["path"].as_str().expect("a path");
            let name = path.rsplit('/').next().expect("a name").to_owned();
            let place = |field: &str| ids.iter().position(|id| one[field] == id.as_str());
            (name, place("first"), place("last"), count_of(one, "snapshots"))
        })
        .collect();
    let expected = [
        ("a".to_owned(), Some(0), Some(2), 2),
        ("a".to_owned(), Some(1), Some(1), 1),
        ("b".to_owned(), Some(0), Some(1), 2),
    ];
    assert_eq!(told, expected, "{found:?}");
    let text = repo.ok(["find", "b"]).text();
    assert_eq!(text.lines().count(), 1, "{text}");
    let range = format!("{}..{}", &ids[0][..12], &ids[1][..12]);
    assert!(text.starts_with(&range) && text.trim_end().ends_with("/source/b"), "{text}");
    let long = repo.ok(["find", "-l", "b"]).text();
    assert!(long.contains(" -rw"), "{long}");
}

#[test]
fn snapshots_are_chosen_by_name_tag_and_number() {
    let (_scratch, repo, ids) = history();
    let count = |arguments: &[&str]| lines(&repo, &[&["b"], arguments].concat()).len();
    assert_eq!(count(&[]), 1);
    assert_eq!(count(&["--latest", "1"]), 0);
    assert_eq!(count(&["--tag", "second"]), 1);
    assert_eq!(count(&["--tag", "third"]), 0);
    assert_eq!(count(&["--snapshot", &ids[2][..12], "--snapshot", "first"]), 1);
    assert_eq!(count(&["--snapshot", "latest"]), 0);
    assert_eq!(count(&["--host", "nowhere"]), 0);
    assert_eq!(count(&["--since", "2099-01-01"]), 0);
    repo.run(["find", "b", "--snapshot", "nonsense"]).fails(1, &["nonsense"]);
    assert!(repo.ok(["find", "nothing-here"]).error().contains("Nothing was found"));
}

#[test]
fn content_is_found_by_its_hash_and_by_a_chunk() {
    let fixture = Fixture::built(|source| {
        file(&directory(&source.join("inner")).join("copy"), &[7; 5000]);
        file(&source.join("original"), &[7; 5000]);
        file(&source.join("other"), &[8; 5000]);
    });
    let sum = run_tool("sha256sum", [fixture.source.join("original")]).text();
    let sum = sum.split(' ').next().expect("a sum");
    // With a key, the id of a chunk is not the digest of its content.
    let is_id = !is_encrypted(fixture.repo.path());
    for option in ["--content-hash", "--chunk"].into_iter().take(1 + usize::from(is_id)) {
        let found = lines(&fixture.repo, &[option, sum]);
        let names: Vec<_> = found.iter().map(|one| one["path"].as_str().expect("a path")).collect();
        assert_eq!(names.len(), 2, "{option}: {names:?}");
        assert!(names[0].ends_with("/copy") && names[1].ends_with("/original"), "{names:?}");
    }
    fixture.repo.run(["find", "--chunk", "abc"]).expect(2);
}

#[test]
fn what_it_prints_for_xargs_cat_prints() {
    let (_scratch, repo, _) = history();
    let records = repo.ok(["find", "-0", "a"]).stdout;
    let names: Vec<_> = records
        .split(|byte| *byte == 0)
        .filter(|record| !record.is_empty())
        .map(|record| String::from_utf8(record.to_vec()).expect("a text"))
        .collect();
    let mut arguments = vec!["cat".to_owned()];
    arguments.extend(names);
    assert_eq!(repo.ok(&arguments).text(), "oneother");
}

#[test]
fn wrong_criteria_are_refused_with_usage() {
    let repo = Repo::new();
    for wrong in [
        &["["][..],
        &["x", "--size", "many"],
        &["x", "--type", "q"],
        &["x", "--newer", "soon"],
        &["x", "--latest", "0"],
        &["x", "-0", "--json"],
    ] {
        let outcome = repo.run(["find"].iter().chain(wrong));
        assert_eq!(outcome.code, 2, "{wrong:?}: {}", outcome.error());
    }
}

/// Runs a command whose output nobody reads until a signal was sent.
fn interrupted(repo: &Repo, arguments: &[&str]) -> Outcome {
    let mut command = repo.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("icecore starts");
    let reads = |_: &Path| {
        let stat = std::fs::read_to_string(format!("/proc/{}/wchan", child.id()));
        stat.is_ok_and(|wchan| wchan.contains("pipe"))
    };
    let status = format!("/proc/{}/status", child.id());
    crate::support::wait_until("the pipe is full", 60, || {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        reads(Path::new("")) || status.contains("State:\tS")
    });
    // Asleep for good: in the write, not on its way there.
    std::thread::sleep(std::time::Duration::from_millis(300));
    signal(&child, Signal::INT);
    finish(child, "the interrupted command")
}

#[test]
fn a_signal_ends_what_goes_through_many_files() {
    let fixture = Fixture::built(|source| wide(source, 20_000));
    for arguments in [&["find", "*"][..], &["ls", "-lR"], &["tree"]] {
        let outcome = interrupted(&fixture.repo, arguments);
        assert_eq!(outcome.code, 130, "{arguments:?}: {}", outcome.error());
        let lines = outcome.text().lines().count();
        assert!(lines > 100 && lines < 19_000, "{arguments:?}: {lines} lines");
    }
}

#[test]
fn a_reader_that_has_enough_ends_it_without_a_complaint() {
    let fixture = Fixture::built(|source| wide(source, 20_000));
    for arguments in [&["find", "*"][..], &["find", "--json"], &["tree"], &["ls", "-lR"]] {
        let mut command = fixture.repo.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("icecore starts");
        drop(child.stdout.take());
        let outcome = finish(child, "a command without a reader");
        assert!([0, 141].contains(&outcome.code), "{arguments:?}: code {}", outcome.code);
        assert_eq!(outcome.error(), "", "{arguments:?}");
    }
}

#[test]
fn a_user_without_rights_to_a_file_finds_its_name_as_the_repository_keeps_it() {
    let fixture = Fixture::built(|source| {
        file(&directory(source).join("secret"), b"x");
        mode(&source.join("secret"), 0o4711);
    });
    let long = fixture.repo.ok(["find", "-l", "secret"]).text();
    assert!(long.contains("-rws--x--x"), "{long}");
}
