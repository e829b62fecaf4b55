//! Programs that people run in a mount.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::support::args;
use crate::support::command::{Outcome, run_tool, try_tool};
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::{Fixture, plain_tree};
use crate::support::generate::{directory, file, link, sparse, symlink};
use crate::support::need::require_fuse;
use crate::support::rng::Rng;

/// A tree whose sizes mean the same on every file system.
fn fixture() -> Fixture {
    Fixture::built(|source| {
        plain_tree(source, 41, 60, 9_000);
        let data = Rng::new(42).bytes(500_000);
        file(&source.join("large"), &data);
        sparse(&source.join("sparse"), 30 << 20, &[(10 << 20, &data)]);
        link(&source.join("large"), &source.join("directory-1/of-large"));
        symlink(&source.join("symlink"), b"large");
    })
}

fn lines(outcome: &Outcome) -> BTreeSet<String> {
    outcome.text().lines().map(str::to_owned).collect()
}

/// What a shell prints in a directory.
fn print(place: &Path, script: &str) -> BTreeSet<String> {
    let script = format!("cd \"$1\" && {script}");
    lines(&run_tool("bash", args!["-c", script, "bash", place]))
}

#[test]
fn find_and_du_and_ls_and_grep_print_the_same_in_source_and_mount() {
    if !require_fuse() {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount();
    let shown = fixture.in_mount(&mount);
    for script in [
        "find . -printf '%p %y %m %n %U %G %s %b %T@ %l\\n'",
        "find . -type f -size +100k -newermt 1971-01-01",
        "find . -name 'file-1*' -exec sha256sum {} +",
        "find . -links 2",
        "find . -samefile large",
        "find . -xdev -type d -empty",
        "du -al --block-size=1",
        "du -al --apparent-size --block-size=1",
        "du -s --block-size=1 . directory-1 large",
        "ls -lAR --time-style=full-iso | grep -v ^total",
        "ls -1U | sort",
        "grep -rlF $'\\x01\\x02'",
        "stat -c '%n %s %b %h %Y' *",
        "cat large | head -c 100000 | sha256sum; tail -c 99 large | od -c",
        "cmp large directory-1/of-large; wc -c sparse",
    ] {
        let expected = print(&fixture.source, script);
        let different: Vec<_> =
            expected.symmetric_difference(&print(&shown, script)).cloned().collect();
        assert!(different.is_empty(), "{script}: {different:?}");
    }
    mount.unmount();
}

#[test]
fn tar_with_sparse_loses_no_byte_of_dense_files() {
    if !require_fuse() {
        return;
    }
    let fixture = fixture();
    let mount = fixture.mount();
    let shown = fixture.in_mount(&mount);
    let copy = fixture.scratch.mkdir("copy");
    let script = "set -o pipefail; tar -C \"$1\" --format=posix -cSf - . | tar -C \"$2\" -xSf -";
    run_tool("bash", args!["-c", script, "bash", &shown, &copy]);
    assert_same(&fixture.source, &copy, Rules { root: false, blocks: false, ..Rules::ALL });
    let blocks = std::fs::metadata(copy.join("sparse")).expect("it is there").blocks();
    assert!(blocks * 512 < 2 << 20, "the hole was filled: {blocks} blocks");
    run_tool(
        "tar",
        args!["--compare", "-C", &fixture.source, "-f", {
            let archive = fixture.scratch.join("archive.tar");
            run_tool("tar", args!["-C", &shown, "--format=posix", "-cf", &archive, "."]);
            archive
        }],
    );
    mount.unmount();
}

#[test]
fn cp_and_rsync_copy_two_snapshots_at_once_into_one_place() {
    if !require_fuse() {
        return;
    }
    let fixture = fixture();
    let before = fixture.scratch.join("before");
    run_tool("cp", args!["-a", &fixture.source, &before]);
    file(&fixture.source.join("directory-2/file-21"), b"changed");
    file(&fixture.source.join("added"), b"new");
    let second = fixture.repo.create(&fixture.source);
    let mount = fixture.mount();
    let places = [fixture.in_mount(&mount), mount.source(&second, &fixture.source)];
    let expected = [&before, &fixture.source];
    // Files with one inode number in both must not become one, nor be left out.
    let parents = fixture.scratch.mkdir("parents");
    let script = "cd / && cp -a --parents \"${1#/}\" \"${2#/}\" \"$3\"";
    run_tool("bash", args!["-c", script, "bash", &places[0], &places[1], &parents]);
    let unpacked = fixture.scratch.mkdir("unpacked");
    let script = "set -o pipefail; tar -cPf - \"$1\" \"$2\" | tar -C \"$3\" -xf -";
    run_tool("bash", args!["-c", script, "bash", &places[0], &places[1], &unpacked]);
    let relative = fixture.scratch.mkdir("relative");
    run_tool("rsync", args!["-aR", &places[0], &places[1], &relative]);
    for (place, expected) in places.iter().zip(expected) {
        let below = place.strip_prefix("/").expect("it is absolute");
        for target in [&parents, &unpacked, &relative] {
            let quiet = try_tool("diff", args!["-r", expected, target.join(below)]);
            assert_eq!((quiet.code, quiet.text()), (0, String::new()), "{}", target.display());
        }
    }
    mount.unmount();
}

#[test]
fn diff_of_two_snapshots_names_what_changed_and_nothing_else() {
    if !require_fuse() {
        return;
    }
    let fixture = fixture();
    file(&fixture.source.join("directory-2/file-21"), b"changed");
    file(&fixture.source.join("added"), b"new");
    std::fs::remove_file(fixture.source.join("directory-3/file-33")).expect("it is there");
    let second = fixture.repo.create(&fixture.source);
    let mount = fixture.mount();
    let places = [fixture.in_mount(&mount), mount.source(&second, &fixture.source)];
    let outcome = try_tool("diff", args!["-rq", "--no-dereference", &places[0], &places[1]]);
    let (one, two) = (places[0].display(), places[1].display());
    let expected = [
        format!("Files {one}/directory-2/file-21 and {two}/directory-2/file-21 differ"),
        format!("Only in {one}/directory-3: file-33"),
        format!("Only in {two}: added"),
    ];
    assert_eq!(lines(&outcome.expect(1)), BTreeSet::from(expected));
    let source = try_tool("diff", args!["-r", "--no-dereference", &places[1], &fixture.source]);
    assert_eq!((source.code, source.text()), (0, String::new()));
    let options = ["-aHn", "--itemize-changes", "--delete"];
    let mut command = args![places[1].join(""), places[0].join("")].to_vec();
    command.splice(0..0, options.map(Into::into));
    let mut changed = lines(&run_tool("rsync", command));
    changed.retain(|line| !line.contains(" ./") && !line.ends_with('/'));
    assert_eq!(changed.len(), 3, "{changed:?}");
    mount.unmount();
}

/// Runs git without the tester's settings. `--no-optional-locks`, since the
/// place may be read-only.
fn git(place: &Path, arguments: &[&str]) -> Outcome {
    let mut all = args!["-C", place].to_vec();
    let options = [
        "-c",
        "safe.directory=*",
        "-c",
        "user.name=tester",
        "-c",
        "user.email=tester@localhost",
        "-c",
        "init.defaultBranch=main",
        "-c",
        "commit.gpgSign=false",
        "--no-optional-locks",
    ];
    all.extend(options.iter().chain(arguments).map(Into::into));
    let environment = ["GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "git"];
    all.splice(0..0, environment.map(Into::into));
    run_tool("env", all)
}

#[test]
fn git_finds_a_repository_in_the_mount_whole_and_its_status_as_it_was() {
    if !require_fuse() || !there_is_git() {
        return;
    }
    let fixture = Fixture::built(|source| {
        plain_tree(source, 43, 40, 3_000);
        git(source, &["init", "-q"]);
        for round in ["one", "two", "three"] {
            file(&source.join("changing"), round.as_bytes());
            file(&directory(&source.join(round)).join("file"), round.as_bytes());
            git(source, &["add", "."]);
            git(source, &["commit", "-q", "-m", round]);
        }
        git(source, &["gc", "-q"]);
        file(&source.join("untracked"), b"x");
        file(&source.join("changing"), b"changed and not committed");
        std::fs::remove_file(source.join("directory-0/file-3")).expect("it is there");
    });
    let mount = fixture.mount();
    let shown = fixture.in_mount(&mount);
    let expected = "M changing\n D directory-0/file-3\n?? untracked\n";
    let status = git(&shown, &["status", "--porcelain"]).text();
    assert_eq!(status.trim_start(), expected);
    assert_eq!(git(&fixture.source, &["status", "--porcelain"]).text(), status);
    let check = git(&shown, &["fsck", "--full", "--strict"]);
    assert_eq!((check.text(), check.error()), (String::new(), String::new()));
    let history: &[&[&str]] = &[&["log", "--stat"], &["diff"], &["ls-files", "-s"], &["grep", "t"]];
    for question in history {
        let answer = git(&shown, question).text();
        assert_eq!(answer, git(&fixture.source, question).text(), "{question:?}");
    }
    let clone = fixture.scratch.join("clone");
    let (from, to) = (shown.to_str().expect("a text"), clone.to_str().expect("a text"));
    git(&fixture.scratch.path(), &["clone", "-q", "--no-local", from, to]);
    assert_eq!(std::fs::read(clone.join("changing")).expect("it was cloned"), b"three");
    mount.unmount();
}

fn there_is_git() -> bool {
    let there = std::process::Command::new("git").arg("--version").output().is_ok();
    if !there {
        eprintln!("SKIPPED git in a mount: there is no git");
    }
    there
}
