//! What is left out by patterns, and what is not.

use super::place::Place;
use crate::support::args;
use crate::support::generate::{directory, file, named};
use crate::support::repo::count_of;

/// A tree in which each pattern below hits something and misses something.
const TREE: [&str; 24] = [
    "A.O",
    "a.o",
    "a.txt",
    "a/b",
    "a/c",
    "a/x/b",
    "a/x/y/b",
    "cache",
    "empty/",
    "home/u/tmp/1",
    "home/u/tmp/2",
    "home/v/tmp/1",
    "other/a.o",
    "other/cache/inner/deep",
    "other/home/u/tmp/1",
    "star*name",
    "star-name",
    "sub/.hidden",
    "sub/a.O",
    "sub/a.o",
    "sub/b.o",
    "sub/deep/a.o",
    "sub/deep/z",
    "z/b",
];

/// All paths of a tree, with the directories that it does not name.
fn all_of(tree: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    for path in tree {
        let path = path.trim_end_matches('/');
        all.extend(path.match_indices('/').map(|(end, _)| path[..end].to_owned()));
        all.push(path.to_owned());
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// Fails unless `create` with some options leaves out `gone` with what is below
/// it, and nothing else.
#[track_caller]
fn leaves_out(place: &Place, tree: &[&str], options: &[&str], gone: &[&str]) {
    let options: Vec<_> = options.iter().map(Into::into).collect();
    let summary = place.create(&options);
    let is_gone = |path: &str| {
        gone.iter().any(|gone| {
            path.strip_prefix(gone).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    let expected: Vec<_> = all_of(tree).into_iter().filter(|path| !is_gone(path)).collect();
    assert_eq!(place.names(), expected, "{options:?}");
    let excluded = count_of(&summary, "excluded");
    assert_eq!(excluded > 0, !gone.is_empty(), "{options:?}: {summary}");
    assert_eq!(count_of(&summary, "errors"), 0, "{options:?}: {summary}");
}

#[test]
fn a_pattern_leaves_out_what_gitignore_would() {
    let place = Place::with(&TREE);
    let cases: [(&[&str], &[&str]); 26] = [
        (&[], &[]),
        (&["no-such-name"], &[]),
        (&["*.o"], &["a.o", "other/a.o", "sub/a.o", "sub/b.o", "sub/deep/a.o"]),
        (&["/*.o"], &["a.o"]),
        (&["/home/u/tmp"], &["home/u/tmp"]),
        (&["home/u/tmp"], &["home/u/tmp"]),
        (&["tmp"], &["home/u/tmp", "home/v/tmp", "other/home/u/tmp"]),
        (&["home/*/tmp"], &["home/u/tmp", "home/v/tmp"]),
        (&["**/u/tmp"], &["home/u/tmp", "other/home/u/tmp"]),
        (&["cache"], &["cache", "other/cache"]),
        (&["cache/"], &["other/cache"]),
        (&["/cache/"], &[]),
        (&["other/cache/"], &["other/cache"]),
        (&["a/**/b"], &["a/b", "a/x/b", "a/x/y/b"]),
        (&["**/b"], &["a/b", "a/x/b", "a/x/y/b", "z/b"]),
        (&["sub/**"], &["sub/.hidden", "sub/a.O", "sub/a.o", "sub/b.o", "sub/deep"]),
        (&["sub/*"], &["sub/.hidden", "sub/a.O", "sub/a.o", "sub/b.o", "sub/deep"]),
        (&["a/*/b"], &["a/x/b"]),
        (&["?.txt"], &["a.txt"]),
        (&["sub/[a-b].o"], &["sub/a.o", "sub/b.o"]),
        (&["sub/[!a].o"], &["sub/b.o"]),
        (&["star\\*name"], &["star*name"]),
        (&["star*name"], &["star*name", "star-name"]),
        (&["empty"], &["empty"]),
        (&["a.o", "z"], &["a.o", "other/a.o", "sub/a.o", "sub/deep/a.o", "sub/deep/z", "z"]),
        (&[".*"], &["sub/.hidden"]),
    ];
    for (patterns, gone) in cases {
        let options: Vec<_> = patterns.iter().flat_map(|pattern| ["--exclude", pattern]).collect();
        leaves_out(&place, &TREE, &options, gone);
    }
}

#[test]
fn the_last_pattern_that_matches_wins_but_opens_no_excluded_directory() {
    let place = Place::with(&TREE);
    let objects = ["a.o", "other/a.o", "sub/b.o", "sub/deep/a.o"];
    leaves_out(&place, &TREE, &["-e", "*.o", "-e", "!sub/a.o"], &objects);
    let all = ["a.o", "other/a.o", "sub/a.o", "sub/b.o", "sub/deep/a.o"];
    leaves_out(&place, &TREE, &["-e", "!sub/a.o", "-e", "*.o"], &all);
    leaves_out(&place, &TREE, &["-e", "*.o", "-e", "!*.o", "-e", "/a.o"], &["a.o"]);
    leaves_out(&place, &TREE, &["-e", "sub", "-e", "!sub/a.o"], &["sub"]);
    let rest = ["sub/.hidden", "sub/a.O", "sub/b.o", "sub/deep"];
    leaves_out(&place, &TREE, &["-e", "sub/*", "-e", "!sub/a.o"], &rest);
}

#[test]
fn iexclude_ignores_case_and_exclude_does_not() {
    let place = Place::with(&TREE);
    let lower = ["a.o", "other/a.o", "sub/a.o", "sub/b.o", "sub/deep/a.o"];
    let both: Vec<_> = lower.into_iter().chain(["A.O", "sub/a.O"]).collect();
    leaves_out(&place, &TREE, &["--iexclude", "*.o"], &both);
    leaves_out(&place, &TREE, &["--iexclude", "*.O"], &both);
    leaves_out(&place, &TREE, &["--exclude", "*.O"], &["A.O", "sub/a.O"]);
    leaves_out(&place, &TREE, &["--iexclude", "/HOME/U"], &["home/u"]);
    leaves_out(&place, &TREE, &["--iexclude", "Cache/"], &["other/cache"]);
}

#[test]
fn include_keeps_what_an_exclude_would_leave_out() {
    let place = Place::with(&TREE);
    let rest = ["a.o", "other/a.o", "sub/b.o", "sub/deep/a.o"];
    leaves_out(&place, &TREE, &["--exclude", "*.o", "--include", "/sub/a.o"], &rest);
    leaves_out(&place, &TREE, &["--include", "/sub/a.o", "--exclude", "*.o"], &rest);
    leaves_out(&place, &TREE, &["--exclude", "sub", "--include", "sub/a.o"], &["sub"]);
    let rest = ["sub/.hidden", "sub/a.O", "sub/b.o", "sub/deep"];
    leaves_out(&place, &TREE, &["--exclude", "sub/*", "--include", "a.o"], &rest);
    let both = ["--include", "sub/a.o", "--include", "/other/**"];
    let options = [&["--exclude", "*.o"][..], &both].concat();
    leaves_out(&place, &TREE, &options, &["a.o", "sub/b.o", "sub/deep/a.o"]);
    leaves_out(&place, &TREE, &["--include", "*.o"], &[]);
}

#[test]
fn patterns_are_relative_to_the_root_of_the_snapshot_and_not_to_a_source() {
    let place = Place::with(&["one/tmp/x", "two/tmp/x"]);
    let taken = |options: &[&str]| {
        let mut command = place.command(&[]);
        crate::support::command::run(command.args(options)).expect(0);
        place.names()
    };
    assert_eq!(
        taken(&["-e", "/one/tmp", "one", "two"]),
        ["one", "two", "two/tmp", "two/tmp/x"],
        "an anchored pattern"
    );
    assert_eq!(taken(&["-e", "/tmp", "one"]), ["one", "one/tmp", "one/tmp/x"]);
    let absolute = place.source.join("one");
    let pattern = format!("{}/tmp", absolute.display());
    crate::support::command::run(place.command(&args!["-e", &pattern]).arg(&absolute)).expect(0);
    let listed = place.names();
    let inner = absolute.strip_prefix("/").expect("it is absolute").display().to_string();
    assert!(listed.contains(&inner), "{listed:?}");
    assert!(!listed.contains(&format!("{inner}/tmp")), "{listed:?}");
}

#[test]
fn an_exclude_file_has_a_pattern_a_line_and_comments() {
    let place = Place::with(&["# name", "a.o", "b.o", "c.tmp", "C.TMP", "keep.o", "x/a.o"]);
    let tree = ["# name", "a.o", "b.o", "c.tmp", "C.TMP", "keep.o", "x/a.o"];
    let list = place.scratch.join("list");
    let text = list.to_str().expect("a text");
    file(&list, b"# a comment\n\n*.o\n!keep.o\n");
    leaves_out(&place, &tree, &["--exclude-file", text], &["a.o", "b.o", "x/a.o"]);
    file(&list, b"/a.o\n\\# name\nb.o");
    leaves_out(&place, &tree, &["--exclude-file", text], &["# name", "a.o", "b.o"]);
    file(&list, b"# name\n");
    leaves_out(&place, &tree, &["--exclude-file", text], &[]);
    file(&list, b"# a comment\n*.Tmp\n");
    leaves_out(&place, &tree, &["--iexclude-file", text], &["C.TMP", "c.tmp"]);
    leaves_out(&place, &tree, &["--exclude-file", text], &[]);
    let more = place.scratch.join("more");
    file(&more, b"b.o\n");
    let both = ["--exclude-file", text, "--exclude-file", more.to_str().expect("a text")];
    file(&list, b"/a.o\n");
    leaves_out(&place, &tree, &both, &["a.o", "b.o"]);
}

#[test]
fn an_icecoreignore_counts_from_its_directory_and_is_saved_itself() {
    let tree = [
        ".icecoreignore",
        "a.log",
        "data/x",
        "keep.log",
        "sub/.icecoreignore",
        "sub/a.log",
        "sub/data/x",
        "sub/deep/a.log",
        "sub/deep/data/x",
        "sub/deep/top",
        "sub/this.log",
        "sub/top",
        "top",
    ];
    let place = Place::with(&tree);
    place.file(".icecoreignore", b"# comment\n*.log\n!keep.log\n/top\n");
    place.file("sub/.icecoreignore", b"/data/\n!this.log\n");
    let gone = ["a.log", "sub/a.log", "sub/data", "sub/deep/a.log", "top"];
    leaves_out(&place, &tree, &[], &gone);
    leaves_out(&place, &tree, &["--no-ignore-files"], &[]);
    let gone: Vec<_> = gone.into_iter().chain(["sub/deep/data"]).collect();
    leaves_out(&place, &tree, &["--exclude", "/sub/deep/data"], &gone);
    leaves_out(
        &place,
        &tree,
        &["--no-ignore-files", "--exclude", "/sub/deep/data"],
        &["sub/deep/data"],
    );
    place.file(".icecoreignore", b"/sub\n");
    leaves_out(&place, &tree, &[], &["sub"]);
}

#[test]
fn a_changed_pattern_takes_effect_on_an_unchanged_tree() {
    let tree = ["a.o", "sub/a.o", "sub/b"];
    let place = Place::with(&tree);
    super::place::rest();
    leaves_out(&place, &tree, &[], &[]);
    leaves_out(&place, &tree, &["-e", "*.o"], &["a.o", "sub/a.o"]);
    leaves_out(&place, &tree, &["-e", "sub"], &["sub"]);
    leaves_out(&place, &tree, &[], &[]);
    for path in tree {
        assert_eq!(place.cat(path), path.as_bytes());
    }
}

#[test]
fn names_of_any_bytes_are_matched_too() {
    let place = Place::with(&["kept"]);
    let odd: [&[u8]; 4] = [b"\xff.o", b"line\nbreak.o", b"cut\xc3.o", b"\x1b[31m.o"];
    for name in odd {
        file(&named(&place.source, name), name);
        file(&named(directory(&place.at("dir")), name), name);
    }
    assert_eq!(count_of(&place.create(&[]), "files"), 9);
    assert_eq!(count_of(&place.create(&args!["-e", "/*.o"]), "files"), 5);
    for options in [["-e", "*.o"], ["--iexclude", "*.O"]] {
        place.create(&options.map(Into::into));
        assert_eq!(place.names(), ["dir", "kept"]);
    }
    place.create(&args!["-e", "*", "--include", "*[!o]"]);
    assert_eq!(place.names(), ["dir", "kept"]);
}
