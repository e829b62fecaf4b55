//! `export`: the archive, its manifest, and what lies where.

use std::fs;
use std::path::Path;

use super::{UNPACKED, export, path_in, root_of, untar};
use crate::support::compare::assert_same;
use crate::support::fixture::{Fixture, plain_tree};
use crate::support::generate::{directory, file, named, sparse};
use crate::support::repo::{Repo, id_of};
use crate::support::scratch::Scratch;
use crate::support::tree::Shape;
use crate::support::{args, command::run_tool};

#[test]
fn an_export_unpacks_with_tar_alone_into_what_was_saved() {
    let fixture = Fixture::generated(Shape::TOOLS);
    let out = fixture.scratch.mkdir("out");
    let facts = export(&fixture.repo, &fixture.id, &out);
    let to = fixture.scratch.join("to");
    untar(&path_in(&facts, "archive"), &to);
    let data = to.join("data").join(fixture.source.strip_prefix("/").expect("it is absolute"));
    assert_same(&fixture.source, &data, UNPACKED);
    let beside = fs::read(path_in(&facts, "manifest")).expect("it lies beside");
    assert!(beside == fs::read(to.join("manifest.json")).expect("it is inside"));
}

#[test]
fn names_tell_host_snapshot_and_time_and_nothing_else_is_left() {
    let fixture = Fixture::plain();
    let out = fixture.scratch.join("made-by-export");
    let facts = export(&fixture.repo, &fixture.id, &out);
    let zstd = ["--format", "tar.zst", "--name", "nightly/1"];
    let mut command = args!["export", "--json", &fixture.id, &out].to_vec();
    command.extend(zstd.map(Into::into));
    let named = fixture.repo.ok(command).last_json_line();
    let list = fixture.repo.list_json();
    let host = list[0]["host"].as_str().expect("it has a host").to_owned();
    let time = list[0]["time"].as_str().expect("it has a time");
    let digits: String = time.chars().filter(char::is_ascii_digit).take(14).collect();
    let time = format!("{}-{}", &digits[..8], &digits[8..]);
    let stem = format!("backup-{host}-{}-{time}", &fixture.id[..12]);
    assert_eq!(path_in(&facts, "archive"), out.join(format!("{stem}.tar.gz")));
    assert_eq!(path_in(&named, "archive"), out.join(format!("backup-nightly_1-{time}.tar.zst")));
    run_tool("gzip", args!["-t", path_in(&facts, "archive")]);
    run_tool("zstd", args!["-tq", path_in(&named, "archive")]);
    let names = fs::read_dir(&out).expect("it was made").count();
    assert_eq!(names, 4, "two archives and two manifests");
    fixture.repo.run(args!["export", &fixture.id, &out]).fails(14, &["is there already"]);
}

/// What `sha256sum` says of the files of an archive, by the manifest beside it.
#[track_caller]
fn sha256sum_agrees(manifest: &Path, data: &Path) -> usize {
    let text = fs::read_to_string(manifest).expect("it is text");
    let manifest: serde_json::Value = serde_json::from_str(&text).expect("it is one document");
    let files = manifest["files"].as_array().expect("it lists files");
    let mut list = Vec::new();
    for entry in files {
        let path = entry["path"].as_str().expect("the names here are text");
        let size = fs::metadata(data.join(path)).expect("it was unpacked").len();
        assert_eq!(entry["size"].as_u64(), Some(size), "{path}");
        let digest = entry["sha256"].as_str().expect("it was hashed");
        list.extend_from_slice(format!("{digest}  {path}\n").as_bytes());
    }
    let sums = data.with_file_name("sums");
    fs::write(&sums, list).expect("it can be written");
    let script = "cd \"$1\" && sha256sum --check --strict --quiet \"$2\"";
    run_tool("bash", args!["-c", script, "bash", data, &sums]);
    files.len()
}

#[test]
fn the_manifest_matches_what_sha256sum_says() {
    let fixture = Fixture::built(|source| {
        plain_tree(source, 7, 20, 200_000);
        file(&source.join("empty"), b"");
        file(&source.join("inline"), b"a few bytes");
        file(&source.join("big"), &[3; 3 << 20]);
        sparse(&source.join("holes"), 5 << 20, &[(1 << 20, b"data")]);
        fs::hard_link(source.join("big"), source.join("other")).expect("it can be linked");
    });
    let facts = export(&fixture.repo, &fixture.id, &fixture.scratch.mkdir("out"));
    let to = fixture.scratch.join("to");
    untar(&path_in(&facts, "archive"), &to);
    assert_eq!(sha256sum_agrees(&path_in(&facts, "manifest"), &to.join("data")), 25);
}

#[test]
fn the_manifest_tells_of_the_snapshot_and_of_the_chain() {
    let fixture = Fixture::built(|source| {
        directory(source);
        file(&named(source, b"no text \xff\n"), b"x");
    });
    fixture.repo.ok(args!["tag", "--add", "weekly", &fixture.id]);
    let facts = export(&fixture.repo, &fixture.id, &fixture.scratch.mkdir("out"));
    let text = fs::read(path_in(&facts, "manifest")).expect("it lies beside");
    let manifest: serde_json::Value = serde_json::from_slice(&text).expect("it is JSON");
    assert_eq!(manifest["format"], "icecore archive");
    assert_eq!((&manifest["version"], &manifest["kind"]), (&1.into(), &"snapshot".into()));
    assert!(manifest["created_at"].is_string() && manifest["source"]["path"].is_string());
    let snapshot = &manifest["snapshot"];
    assert_eq!(id_of(snapshot), fixture.id);
    assert_eq!(snapshot["tags"], serde_json::json!(["weekly"]));
    let shown = fixture.repo.ok(["show", "--json", &fixture.id]).json();
    assert!(snapshot["root"].is_string() && snapshot["root"] == shown["root"], "{shown}");
    let proof = fixture.repo.ok(["log", "verify", "--json"]).json();
    let chain = &manifest["chain"];
    assert_eq!((&chain["valid"], &chain["recomputed"]), (&true.into(), &true.into()));
    // `init`, `create`, `tag`; the export itself comes behind.
    assert_eq!((chain["events"].as_u64(), proof["events"].as_u64()), (Some(3), Some(4)));
    let path = manifest["files"][0]["path"]["hex"].as_str().expect("it is no text");
    assert!(path.ends_with("6e6f207465787420ff0a"), "{path}");
    let event = fixture.repo.ok(["log", "--type", "snapshot.exported", "--json"]).last_json_line();
    assert_eq!(event["subject"]["snapshots"][0], fixture.id.as_str());
}

#[test]
fn several_snapshots_are_one_archive_each_and_a_dry_run_writes_nothing() {
    let fixture = Fixture::plain();
    file(&fixture.source.join("more"), b"more");
    let second = fixture.repo.create(&fixture.source);
    let out = fixture.scratch.join("out");
    let dry = args!["export", "--dry-run", &fixture.id, &second, &out];
    assert_eq!(fixture.repo.ok(dry).text().lines().count(), 2);
    assert!(!out.exists());
    fixture.repo.ok(args!["export", &fixture.id, "latest", &second, &out]);
    assert_eq!(fs::read_dir(&out).expect("it was made").count(), 4);
}

#[test]
fn an_empty_tree_is_exported_and_comes_back() {
    let scratch = Scratch::new();
    let repo = Repo::new();
    let id = repo.create(&scratch.mkdir("empty"));
    let facts = export(&repo, &id, &scratch.mkdir("out"));
    let archive = path_in(&facts, "archive");
    let imported = repo.ok(args!["import", "--json", &archive]).last_json_line();
    assert_eq!(root_of(&repo, &id_of(&imported)), root_of(&repo, &id));
}

#[test]
fn an_archive_never_lands_in_the_repository() {
    let fixture = Fixture::plain();
    for inside in ["", "db", "db/new"] {
        let out = fixture.repo.path().join(inside);
        fixture.repo.run(args!["export", &fixture.id, &out]).fails(14, &["in the repository"]);
    }
    fixture.repo.run(args!["export", &fixture.id]).fails(2, &["directory"]);
    fixture.repo.run(args!["export", "--event-log", &fixture.id, "out"]).fails(2, &["--event-log"]);
}
