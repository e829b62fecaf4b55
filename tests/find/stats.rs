//! `stats`: what snapshots hold, together and alone, and how they grew.

use std::fs;

use serde_json::Value;

use crate::support::command::run_tool;
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file};
use crate::support::repo::{Repo, count_of, disk_bytes, id_of};
use crate::support::rng::Rng;
use crate::support::scratch::Scratch;

/// Three snapshots of a week each: 100,000 bytes that all hold, 50,000 that only
/// the second one holds.
fn history() -> (Scratch, Repo, Vec<String>) {
    let (scratch, repo, mut rng) = (Scratch::new(), Repo::new(), Rng::new(7));
    let source = scratch.mkdir("source");
    file(&directory(&source.join("inner")).join("always"), &rng.bytes(100_000));
    let mut ids = Vec::new();
    for number in 0..3 {
        let extra = source.join("inner/extra");
        match number {
            1 => file(&extra, &rng.bytes(50_000)),
            2 => fs::remove_file(&extra).expect("it is there"),
            _ => {}
        }
        let time = format!("2026-11-0{}T03:00:00Z", 1 + 3 * number);
        let arguments = ["--time", &time, source.to_str().expect("a text")];
        ids.push(id_of(&repo.create_json(arguments, 0)));
    }
    (scratch, repo, ids)
}

fn stats(repo: &Repo, arguments: &[&str]) -> Value {
    repo.ok(["stats", "--json"].iter().chain(arguments)).json()
}

#[test]
fn what_a_snapshot_holds_alone_is_what_deleting_it_frees() {
    let (_scratch, repo, ids) = history();
    let all = stats(&repo, &["--unique"]);
    let index = stats(&repo, &[]);
    for field in ["snapshots", "snapshot_bytes", "chunks", "chunk_bytes", "chunk_stored_bytes"] {
        assert_eq!(all[field], index[field], "{field}: the walk and the index agree");
    }
    assert_eq!(all["trees"], index["trees"]);
    assert!(all["chunk_bytes"] == 150_000 && all["snapshot_bytes"] == 350_000, "{all}");
    let shares = all["per_snapshot"].as_array().expect("a list");
    let unique = |id: &str| {
        let share = shares.iter().find(|share| share["id"] == id).expect("it is there");
        count_of(share, "unique_bytes")
    };
    assert_eq!([0, 1, 2].map(|place: usize| unique(&ids[place])), [0, 50_000, 0]);
    let one = stats(&repo, &[&ids[1], "--unique"]);
    let freed = count_of(&one, "unique_stored_bytes");
    assert!(count_of(&one, "chunk_bytes") == 150_000 && freed >= 50_000, "{one}");
    let before = stats(&repo, &[]);
    repo.ok(["delete", &ids[1], "--yes"]);
    repo.gc();
    let after = stats(&repo, &[]);
    let stored = |facts: &Value| {
        count_of(facts, "chunk_stored_bytes") + count_of(facts, "tree_stored_bytes")
    };
    assert_eq!(stored(&before) - stored(&after), freed, "as it was said");
    let two = stats(&repo, &["--unique", &ids[0], &ids[2]]);
    assert_eq!(count_of(&two, "unique_stored_bytes"), stored(&after), "all that is left");
}

#[test]
fn filters_choose_what_is_counted_and_people_read_a_table() {
    let (_scratch, repo, ids) = history();
    assert_eq!(count_of(&stats(&repo, &["--latest", "1"]), "chunk_bytes"), 100_000);
    assert_eq!(count_of(&stats(&repo, &["--host", "nowhere"]), "snapshots"), 0);
    repo.run(["stats", "nothing"]).fails(1, &["nothing"]);
    let text = repo.ok(["stats", "--unique"]).text();
    let row = text.lines().find(|line| line.starts_with(&ids[1][..12])).expect("a row");
    assert!(row.contains("146.5 KiB") && row.contains("/source"), "{text}");
    let empty = Repo::new();
    for arguments in [&["stats"][..], &["stats", "-u"], &["stats", "-g"]] {
        empty.ok(arguments);
    }
}

#[test]
fn growth_is_drawn_in_a_terminal_and_told_to_programs() {
    let (_scratch, repo, ids) = history();
    let points = stats(&repo, &["--growth"]);
    let points = points.as_array().expect("a list");
    let told: Vec<_> = points.iter().map(|point| count_of(point, "logical_bytes")).collect();
    assert_eq!(told, [100_000, 150_000, 100_000]);
    assert_eq!(points[2]["id"].as_str(), Some(ids[2].as_str()));
    assert!(count_of(&points[1], "stored_bytes") > count_of(&points[0], "stored_bytes") + 50_000);
    let drawn = repo.ok(["stats", "--growth"]).text();
    assert!(drawn.contains("Files backed up: 97.7 KiB") && drawn.contains("2026-11-01"), "{drawn}");
    assert!(drawn.contains('\u{2588}'), "{drawn}");
    let mut ascii = repo.command(["stats", "--growth"]);
    let ascii = crate::support::command::run(ascii.env("LC_ALL", "C")).expect(0).text();
    assert!(ascii.is_ascii() && ascii.contains("###"), "{ascii}");
}

#[test]
fn an_svg_is_written_whole_and_replaces_nothing_unasked() {
    let (scratch, repo, _) = history();
    let path = scratch.join("growth.svg");
    let name = path.to_str().expect("a text");
    repo.ok(["stats", "--svg", name]);
    let drawn = fs::read_to_string(&path).expect("a text");
    assert!(drawn.starts_with("<svg ") && drawn.contains("97.7 KiB"), "{drawn}");
    if std::path::Path::new("/usr/bin/python3").exists() {
        let parse = "import sys, xml.dom.minidom as dom; dom.parse(sys.argv[1])";
        run_tool("python3", ["-c", parse, name]);
    }
    repo.run(["stats", "--svg", name]).fails(14, &["--yes"]);
    file(&path, b"precious");
    repo.run(["stats", "--svg", name]).fails(14, &["--yes"]);
    assert_eq!(fs::read(&path).expect("it is there"), b"precious");
    repo.ok(["stats", "--svg", name, "--yes"]);
    assert_eq!(repo.ok(["stats", "--svg", "-"]).text(), drawn);
    assert_eq!(fs::read_to_string(&path).expect("a text"), drawn);
    crate::support::generate::symlink(&scratch.join("link"), b"growth.svg");
    let link = scratch.join("link");
    let link = link.to_str().expect("a text");
    repo.run(["stats", "--svg", link, "--yes"]).fails(14, &["no regular file"]);
    repo.run(["stats", "--svg", "/no/such/directory/x"]).fails(1, &["/no/such/directory/x"]);
    let left = fs::read_dir(scratch.path()).expect("a directory").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".tmp")), "{left:?}");
}

#[test]
fn counting_changes_nothing_in_the_repository() {
    let fixture = Fixture::plain();
    let before = disk_bytes(&fixture.repo.path().join("db"));
    fixture.repo.ok(["stats", "-u"]);
    fixture.repo.ok(["find", "*"]);
    assert_eq!(disk_bytes(&fixture.repo.path().join("db")), before);
}
