//! The happy case of each command, for people and for programs.

use crate::support::args;
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file, symlink};
use crate::support::repo::{Repo, count_of, id_of};
use crate::support::scratch::Scratch;

#[test]
fn init_makes_a_repository_that_its_config_describes() {
    let repo = Repo::new();
    let config = std::fs::read_to_string(repo.path().join("config")).expect("it is a text");
    assert!(config.contains("format_version = 1"), "{config}");
    for part in ["db", "leases", "tmp"] {
        assert!(repo.path().join(part).is_dir(), "{part}");
    }
    use std::os::unix::fs::PermissionsExt;
    let meta = std::fs::metadata(repo.path()).expect("it is there");
    assert_eq!(meta.permissions().mode() & 0o077, 0, "others may not look into it");
    assert_eq!(repo.list_json().len(), 0);
    repo.ok(["list"]);
}

#[test]
fn init_takes_an_empty_directory_that_is_there_already() {
    let repo = Repo::missing();
    std::fs::create_dir(repo.path()).expect("a directory can be made");
    repo.ok(["init"]);
    repo.ok(["list"]);
}

#[test]
fn create_and_list_agree_in_every_field() {
    let fixture = Fixture::plain();
    let mut arguments = args!["--tag", "nightly", "--tag", "b", "--description", "a text"].to_vec();
    arguments.push(fixture.source.clone().into());
    let summary = fixture.repo.create_json(arguments, 0);
    let listed = fixture.repo.list_json();
    assert_eq!(listed.len(), 2);
    let newest = listed.iter().find(|one| id_of(one) == id_of(&summary)).expect("it is listed");
    for field in ["files", "dirs", "bytes", "added_bytes", "stored_bytes", "errors"] {
        assert_eq!(summary[field], newest[field], "{field}");
        count_of(newest, field);
    }
    assert_eq!(newest["short_id"].as_str(), Some(&id_of(newest)[..12]));
    assert_eq!(newest["tags"], serde_json::json!(["nightly", "b"]));
    assert_eq!(newest["description"], "a text");
    assert_eq!(newest["sources"], serde_json::json!([fixture.source.to_str()]));
    assert_eq!(newest["root"].as_str().map(str::len), Some(64));
    assert_eq!(count_of(newest, "files"), 30);
    assert!(count_of(newest, "bytes") == 600_000, "{newest}");
    // The directories above the source may have changed, its content has not.
    assert!(count_of(newest, "added_bytes") < 10_000, "{newest}");
    let first = listed.iter().find(|one| id_of(one) == fixture.id).expect("it is listed");
    assert!(count_of(first, "added_bytes") >= 600_000, "{first}");
    for field in ["host", "user", "time"] {
        assert!(newest[field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
    }
    let time = newest["time"].as_str().unwrap_or_default();
    assert!(time.contains('T') && time.len() >= 20, "{time} is no RFC 3339");
}

#[test]
fn list_and_show_print_what_people_look_for() {
    let fixture = Fixture::plain();
    let listed = fixture.repo.ok(["list"]).text();
    assert!(listed.contains(&fixture.id[..12]), "{listed}");
    let shown = fixture.repo.ok(["show", &fixture.id]).text();
    assert!(shown.contains(&fixture.id), "{shown}");
    assert!(shown.contains(fixture.source.to_str().expect("a text")), "{shown}");
    let json = fixture.repo.ok(["show", &fixture.id, "--json"]).json();
    assert_eq!(id_of(&json), fixture.id);
}

#[test]
fn an_absolute_source_keeps_its_path_and_a_relative_one_too() {
    let scratch = Scratch::new();
    let source = scratch.mkdir("below/source");
    file(&source.join("file"), b"content");
    let repo = Repo::new();
    repo.create(&source);
    let path = format!("latest:{}/file", source.display());
    assert_eq!(repo.ok(["cat", &path]).text(), "content");
    let beside = |argument: &str| {
        let mut command = repo.command(["create", argument]);
        crate::support::command::run(command.current_dir(scratch.path())).expect(0);
    };
    beside("below/source");
    assert_eq!(repo.ok(["cat", "latest:below/source/file"]).text(), "content");
    beside(".");
    assert_eq!(repo.ok(["cat", "latest:below/source/file"]).text(), "content");
    assert_eq!(repo.ok(["ls", "latest"]).text().trim(), "below");
    beside("below/source/file");
    assert_eq!(repo.ok(["cat", "latest:below/source/file"]).text(), "content");
}

#[test]
fn several_sources_are_in_one_snapshot() {
    let scratch = Scratch::new();
    let repo = Repo::new();
    let sources = ["one", "two", "three"].map(|name| scratch.mkdir(name));
    for source in &sources {
        file(&source.join("file"), source.as_os_str().as_encoded_bytes());
    }
    let summary = repo.create_json(&sources, 0);
    for source in &sources {
        let path = format!("{}:{}/file", id_of(&summary), source.display());
        assert_eq!(repo.ok(["cat", &path]).text(), source.display().to_string());
    }
}

#[test]
fn ls_lists_a_directory_and_all_below_it() {
    let fixture = Fixture::built(|source| {
        file(&directory(&source.join("inner/deeper")).join("file"), &[b'x'; 1234]);
        file(&source.join("top"), b"");
        symlink(&source.join("link"), b"the-target");
    });
    let at = format!("latest:{}", fixture.source.display());
    let listed = fixture.repo.ok(["ls", &at]).text();
    assert_eq!(listed.lines().count(), 3, "{listed}");
    for name in ["inner", "top", "link"] {
        assert!(listed.contains(name), "{listed}");
    }
    let recursive = fixture.repo.ok(["ls", "--recursive", &at]).text();
    assert!(recursive.contains("inner/deeper/file"), "{recursive}");
    let long = fixture.repo.ok(["ls", "-l", &at]).text();
    assert!(long.contains("the-target") && long.contains("drwx"), "{long}");
    let json = fixture.repo.ok(["ls", "--json", &at]).text();
    assert!(json.contains("\"inner\"") && json.contains("\"top\""), "{json}");
}

#[test]
fn delete_removes_what_it_was_given_and_nothing_else() {
    let fixture = Fixture::plain();
    let second = fixture.repo.create(&fixture.source);
    fixture.repo.ok(["delete", &fixture.id[..12], "--yes"]);
    assert_eq!(fixture.repo.ids(), [second]);
    fixture.repo.run(["show", &fixture.id]).fails(1, &[&fixture.id]);
}

#[test]
fn gc_of_a_repository_without_garbage_deletes_nothing() {
    let fixture = Fixture::plain();
    let report = fixture.repo.gc();
    for field in ["deleted_chunks", "deleted_trees"] {
        assert_eq!(count_of(&report, field), 0, "{report}");
    }
    assert!(!fixture.repo.ok(["gc"]).text().is_empty());
    assert_eq!(fixture.repo.ids(), [fixture.id]);
}

#[test]
fn stats_prints_an_object_of_numbers_and_a_text_for_people() {
    let fixture = Fixture::plain();
    let stats = fixture.repo.ok(["stats", "--json"]).json();
    assert_eq!(count_of(&stats, "snapshots"), 1);
    assert!(!fixture.repo.ok(["stats"]).text().is_empty());
}

#[test]
fn the_repository_can_be_named_by_the_environment() {
    let fixture = Fixture::plain();
    let mut command = crate::support::repo::plain_command();
    command.env("ICECORE_REPO", fixture.repo.path()).args(["list", "--json"]);
    let listed = crate::support::command::run(&mut command).expect(0).json();
    assert_eq!(id_of(&listed[0]), fixture.id);
}

#[test]
fn an_empty_repository_is_none_in_the_environment_and_an_error_on_the_command_line() {
    let fixture = Fixture::plain();
    let run = |command: &mut std::process::Command| crate::support::command::run(command);
    let mut command = crate::support::repo::plain_command();
    run(command.env("ICECORE_REPO", fixture.repo.path()).args(["-r", "", "list"]))
        .fails(2, &["No repository given"]);
    let mut command = crate::support::repo::plain_command();
    command.env("ICECORE_REPO", "").arg("-r").arg(fixture.repo.path()).args(["list", "--json"]);
    assert_eq!(id_of(&run(&mut command).expect(0).json()[0]), fixture.id);
    // Then the place is the usual one.
    let mut command = crate::support::repo::plain_command();
    command.env("ICECORE_REPO", "").env("XDG_DATA_HOME", "/no/such").arg("list");
    assert_ne!(run(&mut command).code, 2, "the command line is not wrong");
}
