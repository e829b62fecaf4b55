//! `ls`, `tree` and `list`.

use std::path::Path;

use serde_json::Value;

use crate::support::command::run;
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file, mtime, symlink};
use crate::support::repo::{Repo, count_of, id_of};
use crate::support::scratch::Scratch;

fn small() -> Fixture {
    Fixture::built(|source| {
        file(&directory(&source.join("inner/deeper")).join("large"), &[b'x'; 20_000]);
        file(&source.join("inner/old"), b"123");
        mtime(&source.join("inner/old"), 1_000_000_000, 0);
        mtime(&source.join("inner/deeper"), 1_100_000_000, 0);
        file(&source.join("inner/medium"), &[b'x'; 2000]);
        mtime(&source.join("inner/medium"), 1_200_000_000, 0);
        symlink(&source.join("link"), b"inner/old");
    })
}

fn at(fixture: &Fixture, below: &str) -> String {
    format!("latest:{}{below}", fixture.source.display())
}

#[test]
fn ls_sorts_and_shows_sizes_for_people() {
    let fixture = small();
    let inner = at(&fixture, "/inner");
    let names = |options: &str| {
        let text = fixture.repo.ok(["ls", options, &inner]).text();
        let last = |line: &str| line.rsplit(' ').next().expect("a word").to_owned();
        text.lines().map(last).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("-l"), "deeper medium old");
    assert_eq!(names("-lt"), "medium deeper old");
    assert_eq!(names("-ltr"), "old deeper medium");
    assert_eq!(names("-S"), "deeper medium old");
    assert_eq!(names("-Sr"), "old medium deeper");
    let long = fixture.repo.ok(["ls", "-lh", &inner]).text();
    assert!(long.contains(" 2.0 KiB 2008-01-10 21:20:00 medium"), "{long}");
    let plain = fixture.repo.ok(["ls", "-l", &inner]).text();
    assert!(plain.contains(" 2000 2008-01-10 21:20:00 medium"), "{plain}");
}

#[test]
fn ls_prints_a_json_list_of_any_length_as_it_comes() {
    let fixture = Fixture::built(|source| crate::support::generate::wide(source, 3_000));
    let list = fixture.repo.ok(["ls", "--json", &at(&fixture, "")]).json();
    assert_eq!(list.as_array().map(Vec::len), Some(3_000));
    std::fs::create_dir(fixture.source.join("empty")).expect("a directory can be made");
    fixture.repo.create(&fixture.source);
    assert_eq!(fixture.repo.ok(["ls", "--json", &at(&fixture, "/empty")]).text(), "[]\n");
}

#[test]
fn tree_draws_directories_with_the_sizes_of_all_below() {
    let fixture = small();
    let top = at(&fixture, "");
    let drawn = |arguments: &[&str], locale: &str| {
        let mut command = fixture.repo.command(["tree", &top].iter().chain(arguments));
        let text = run(command.env("LC_ALL", locale)).expect(0).text();
        let (_, below) = text.split_once('\n').expect("lines below the top");
        below.to_owned()
    };
    let whole = "\
|-- [  21.5 KiB]  inner
|   |-- [  19.5 KiB]  deeper
|   |   `-- [  19.5 KiB]  large
|   |-- [   2.0 KiB]  medium
|   `-- [       3 B]  old
`-- [          ]  link -> inner/old

2 directories, 4 files, 21.5 KiB
";
    assert_eq!(drawn(&[], "C"), whole);
    let unicode = whole.replace('`', "\u{2514}").replace("|--", "\u{251c}--");
    let unicode = unicode.replace("--", "\u{2500}\u{2500}").replace('|', "\u{2502}");
    assert_eq!(drawn(&[], "C.UTF-8"), unicode);
    let shallow = "\
|-- [  21.5 KiB]  inner
`-- [          ]  link -> inner/old

2 directories, 4 files, 21.5 KiB (shown: 1 directory, 1 file)
";
    assert_eq!(drawn(&["-L", "1"], "C"), shallow);
    let directories = "\
`-- [  21.5 KiB]  inner
    `-- [  19.5 KiB]  deeper

2 directories, 4 files, 21.5 KiB (shown: 2 directories, 0 files)
";
    assert_eq!(drawn(&["-d"], "C"), directories);
    let json = fixture.repo.ok(["tree", &top, "--json"]).json();
    let list = json.as_array().expect("a list");
    assert_eq!(list.len(), 6);
    assert_eq!((&list[2]["path"], count_of(&list[2], "depth")), (&"inner/deeper/large".into(), 3));
    fixture.repo.run(["tree", &at(&fixture, "/link")]).fails(1, &["link", "no directory"]);
}

/// Four snapshots of two hosts, by rising size.
fn several() -> (Scratch, Repo, Vec<String>) {
    let scratch = Scratch::new();
    let repo = Repo::new();
    let mut ids = Vec::new();
    for (number, (host, tag)) in
        [("web", "daily"), ("mail", "daily"), ("web", "weekly"), ("mail", "daily")]
            .into_iter()
            .enumerate()
    {
        let source = scratch.mkdir("source");
        file(&source.join(format!("file-{number}")), &[b'x'; 3000]);
        let time = format!("2026-11-1{number}T03:00:00Z");
        let source = source.to_str().expect("a text");
        let arguments = ["--host", host, "--tag", tag, "--time", &time, source];
        ids.push(id_of(&repo.create_json(arguments, 0)));
    }
    (scratch, repo, ids)
}

fn places(ids: &[String], list: &Value) -> Vec<usize> {
    let place = |one: &Value| ids.iter().position(|id| *id == id_of(one)).expect("it is known");
    list.as_array().expect("a list").iter().map(place).collect()
}

#[test]
fn list_filters_sorts_and_groups() {
    let (scratch, repo, ids) = several();
    let list = |arguments: &[&str]| repo.ok(["list", "--json"].iter().chain(arguments)).json();
    let source = scratch.join("source");
    let source = source.to_str().expect("a text");
    for (arguments, expected) in [
        (&[][..], &[0, 1, 2, 3][..]),
        (&["--host", "web"], &[0, 2]),
        (&["--host", "web", "--host", "mail"], &[0, 1, 2, 3]),
        (&["--tag", "weekly"], &[2]),
        (&["--path", source], &[0, 1, 2, 3]),
        (&["--path", "/nowhere"], &[]),
        (&["--since", "2026-11-11", "--until", "2026-11-12"], &[1, 2]),
        (&["--latest", "2"], &[2, 3]),
        (&["--latest", "2", "--reverse"], &[3, 2]),
        (&["--sort", "size", "--reverse"], &[3, 2, 1, 0]),
        (&["--sort", "host"], &[1, 3, 0, 2]),
    ] {
        assert_eq!(places(&ids, &list(arguments)), expected, "{arguments:?}");
    }
    let groups = list(&["--group-by", "host", "--latest", "1"]);
    let groups = groups.as_array().expect("a list");
    assert_eq!((&groups[0]["host"], &groups[1]["host"]), (&"mail".into(), &"web".into()));
    assert_eq!(places(&ids, &groups[0]["snapshots"]), [3]);
    assert_eq!(places(&ids, &groups[1]["snapshots"]), [2]);
    let text = repo.ok(["list", "--group-by", "host,tags"]).text();
    assert!(text.contains("host web  tags weekly\n"), "{text}");
    repo.ok(["delete", &ids[2], "--yes"]);
    let deleted = list(&["--deleted", "--host", "web"]);
    assert_eq!(places(&ids, &deleted), [2]);
    assert_eq!(places(&ids, &list(&["--deleted", "--host", "mail"])), [0_usize; 0]);
}

#[test]
fn list_prints_lines_as_a_template_says() {
    let (_scratch, repo, ids) = several();
    let lines = repo.ok(["list", "--format", r"{short_id}\t{host} {tags} {files}"]).text();
    let expected: Vec<_> = (0..4)
        .map(|place| {
            let host = ["web", "mail"][place % 2];
            let tag = if place == 2 { "weekly" } else { "daily" };
            format!("{}\t{host} {tag} {}\n", &ids[place][..12], place + 1)
        })
        .collect();
    assert_eq!(lines, expected.concat());
    let with_nul = repo.ok(["list", "--format", "{id}", "--null", "--latest", "1"]).text();
    assert_eq!(with_nul, format!("{}\0", ids[3]));
    repo.run(["list", "--format", "{nothing}"]).fails(2, &["nothing", "short_id"]);
    assert_eq!(repo.run(["list", "--format", "{id"]).code, 2);
}

#[test]
fn a_table_fits_the_terminal_that_shows_it() {
    if !Path::new("/usr/bin/script").exists() {
        return;
    }
    let (_scratch, repo, _) = several();
    for columns in [50, 80, 120] {
        let mut command = std::process::Command::new("script");
        let icecore = crate::support::command::icecore();
        let line = format!("stty cols {columns}; {icecore} -r {} list", repo.path().display());
        command.args(["-qec", &line, "/dev/null"]).env("TZ", "UTC");
        let text = run(&mut command).expect(0).text();
        let widest = text.lines().map(|line| line.trim_end().chars().count()).max();
        assert!(widest <= Some(columns), "{columns} columns:\n{text}");
        assert!(text.contains("ID ") && text.contains("2026-11-10 03:00:00"), "{text}");
    }
}
