//! What is found to differ, against what was changed and against GNU diff.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{remove_dir_all, remove_file, rename};
use std::path::{Path, PathBuf};

use super::{inside, name_status};
use crate::support::args;
use crate::support::command::{run_tool, try_tool};
use crate::support::fixture::{Fixture, SEED};
use crate::support::generate::{directory, file, link, mode, mtime, owner, sparse, symlink, xattr};
use crate::support::need::{is_root, require_fuse};
use crate::support::repo::count_of;
use crate::support::rng::Rng;
use crate::support::tree::{Shape, generate};

/// One of each that can be changed.
fn plain(source: &Path) {
    for (path, content) in [
        ("text", "one\ntwo\n"),
        ("mode", "same"),
        ("owner", "same"),
        ("time", "same"),
        ("attribute", "same"),
        ("gone", "gone"),
        ("becomes-link", "x"),
        ("becomes-directory", "x"),
        ("moved-from/deep/file", "moved along"),
        ("moved-from/other", "moved too"),
        ("directory/inner/renamed", "the same content elsewhere"),
        ("directory/mode/inner", "x"),
        ("was-directory/inner", "x"),
        ("linked", "a group of one"),
        ("empty-gone", ""),
    ] {
        let path = source.join(path);
        directory(path.parent().expect("it is below the source"));
        file(&path, content.as_bytes());
    }
    symlink(&source.join("link"), b"text");
    sparse(&source.join("sparse"), 9 << 20, &[(4 << 20, b"data")]);
}

fn change(source: &Path) {
    file(&source.join("text"), b"one\nTWO\n");
    mode(&source.join("mode"), 0o600);
    if is_root() {
        owner(&source.join("owner"), 1234, 4321);
    } else {
        mode(&source.join("owner"), 0o640);
    }
    mtime(&source.join("time"), 1_000_000_000, 5);
    xattr(&source.join("attribute"), "user.new", b"value");
    for gone in ["gone", "becomes-link", "becomes-directory", "link", "empty-gone"] {
        remove_file(source.join(gone)).expect("it is there");
    }
    symlink(&source.join("becomes-link"), b"text");
    symlink(&source.join("link"), b"mode");
    file(&directory(&source.join("becomes-directory")).join("new"), b"new");
    rename(source.join("moved-from"), source.join("moved-to")).expect("it can be moved");
    rename(source.join("directory/inner/renamed"), source.join("renamed")).expect("it can be");
    mode(&source.join("directory/mode"), 0o700);
    remove_dir_all(source.join("was-directory")).expect("it is there");
    file(&source.join("was-directory"), b"a file now");
    link(&source.join("linked"), &source.join("linked-twice"));
    sparse(&source.join("sparse"), 9 << 20, &[(4 << 20, b"DATA")]);
    file(&source.join("empty-new"), b"");
}

const CHANGES: [&str; 22] = [
    "U\tattribute",
    "-\tbecomes-directory",
    "+\tbecomes-directory/",
    "+\tbecomes-directory/new",
    "T\tbecomes-link",
    "U\tdirectory/mode/",
    "-\tempty-gone",
    "+\tempty-new",
    "-\tgone",
    "M\tlink",
    "U\tlinked",
    "+\tlinked-twice",
    "U\tmode",
    "R\tmoved-from/\tmoved-to/",
    "U\towner",
    "R\tdirectory/inner/renamed\trenamed",
    "M\tsparse",
    "M\ttext",
    "U\ttime",
    "-\twas-directory/",
    "-\twas-directory/inner",
    "+\twas-directory",
];

#[test]
fn every_change_is_told_once_between_snapshots_and_of_the_running_system() {
    let fixture = Fixture::built(plain);
    let (repo, source) = (&fixture.repo, &fixture.source);
    change(source);
    let now = name_status(repo, &args![inside("latest", source), source]);
    repo.create(source);
    let (before, after) = (inside("latest~1", source), inside("latest", source));
    assert_eq!(name_status(repo, &args![&before, &after]), CHANGES);
    assert_eq!(now, CHANGES, "the running system said so before it was saved");
    let sums = |one: &OsString, other: &OsString| {
        repo.ok(args!["diff", "--stat", "--json", one, other]).last_json_line()
    };
    assert_eq!(sums(&before, &source.into()), sums(&before, &after));
    let whole = name_status(repo, &args!["latest~1", "latest", source]);
    assert_eq!(whole.len(), CHANGES.len(), "below a path inside both");
    let text = source.strip_prefix("/").expect("it is absolute").join("text");
    assert!(whole.contains(&format!("M\t{}", text.display())), "{whole:?}");
}

#[test]
fn every_kind_and_corner_equals_its_snapshot() {
    let shape = Shape { dense: true, deep: 1_500, ..Shape::SMALL };
    let fixture = Fixture::generated(shape);
    let (repo, source) = (&fixture.repo, &fixture.source);
    let stored = inside("latest", source);
    for options in [&["--exit-code"][..], &["--exit-code", "--checksum", "--directory-times"]] {
        for operands in [args![&stored, source], args![source, &stored]] {
            let words = args!["diff"].into_iter().chain(options.iter().map(Into::into));
            let outcome = repo.ok(words.chain(operands));
            assert_eq!(outcome.text(), "No differences\n", "{options:?}");
            assert_eq!(outcome.error(), "");
        }
    }
    let other = fixture.scratch.mkdir("beside").join("other");
    generate(&other, SEED + 1, shape);
    let id = repo.create(&other);
    let ignore = ["--no-renames", "--ignore", "links"];
    let told = |other: std::ffi::OsString| {
        let words = args![inside(&fixture.id, source), other];
        name_status(repo, &[ignore.map(Into::into).as_slice(), &words].concat())
    };
    let between = told(inside(&id, &other));
    assert!(between.len() > 5, "{between:?}");
    assert_eq!(told(other.into()), between, "the running system differs in the same");
}

/// What `diff -rq` says of two directories, as paths below them.
fn gnu(left: &Path, right: &Path) -> BTreeSet<PathBuf> {
    let outcome = try_tool("diff", args!["-rq", "--no-dereference", left, right]);
    assert!(outcome.code < 2, "{}", outcome.error());
    let below = |path: &str| {
        let path = Path::new(path);
        let inner = path.strip_prefix(left).or_else(|_| path.strip_prefix(right));
        inner.expect("it is below one of both").to_owned()
    };
    let told = |line: &str| match line.strip_prefix("Only in ") {
        Some(only) => {
            let (directory, name) = only.split_once(": ").expect("a directory and a name");
            below(directory).join(name)
        }
        // "Files A and B differ"
        None => below(line.split(' ').nth(1).expect("a path")),
    };
    outcome.text().lines().map(told).collect()
}

#[test]
fn gnu_diff_of_the_mount_tells_the_same_of_usr_share_with_one_percent_changed() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::built(|source| {
        directory(source);
    });
    let source = fixture.scratch.join("share");
    run_tool("cp", args!["-a", "/usr/share", &source]);
    let (repo, before) = (&fixture.repo, fixture.repo.create(&source));
    let listed =
        run_tool("find", args![&source, "-type", "f", "-links", "1", "!", "-name", "*[: ]*"]);
    let listed = listed.text();
    let mut files: Vec<&str> = listed.lines().collect();
    files.sort_unstable();
    let mut rng = Rng::new(SEED);
    let changed = files.len() / 100 + 3;
    for index in 0..changed {
        let place = rng.below(files.len() as u64) as usize;
        let path = Path::new(files.swap_remove(place));
        match index % 3 {
            0 => file(path, format!("other content {index}").as_bytes()),
            1 => remove_file(path).expect("it is there"),
            _ => file(&path.with_file_name(format!("new-{index}")), format!("{index}").as_bytes()),
        }
    }
    let after = repo.create(&source);
    let (one, other) = (inside(&before, &source), inside(&after, &source));
    let lines = name_status(repo, &args!["--no-renames", &one, &other]);
    let told: BTreeSet<PathBuf> = lines.iter().map(|line| PathBuf::from(&line[2..])).collect();
    assert_eq!((lines.len(), told.len()), (changed, changed), "as many as were made");
    let mount = fixture.mount();
    assert_eq!(gnu(&mount.source(&before, &source), &mount.source(&after, &source)), told);
    mount.unmount();
    assert_eq!(name_status(repo, &args!["--no-renames", &one, &source]), lines);
    let sums = repo.ok(args!["diff", "--json", "--stat", &one, &other]).last_json_line();
    let files = |class: &str| count_of(&sums[class], "files");
    let total = files("added") + files("removed") + files("modified") + 2 * files("renamed");
    assert_eq!(total, changed as u64, "{sums}");
}
