//! `import`: the way back, into a repository and into a directory.

use std::fs;
use std::process::Stdio;

use super::{UNPACKED, export, path_in, root_of};
use crate::support::args;
use crate::support::command::finish;
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::Fixture;
use crate::support::generate::file;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::{Repo, id_of};
use crate::support::tree::Shape;

#[test]
fn a_snapshot_comes_back_with_the_same_tree_and_all_that_was_said_of_it() {
    let fixture = Fixture::generated(Shape::TOOLS);
    fixture.repo.ok(args!["tag", "--add", "kept", &fixture.id]);
    let facts = export(&fixture.repo, &fixture.id, &fixture.scratch.mkdir("out"));
    let archive = path_in(&facts, "archive");
    let other = Repo::new();
    let imported = other.ok(args!["import", "--json", "--tag", "cold", &archive]).last_json_line();
    let id = id_of(&imported);
    assert_eq!(imported["original_id"], fixture.id.as_str());
    let list = other.list_json();
    let before = fixture.repo.list_json();
    for field in ["time", "host", "user", "sources", "description", "dirs", "errors"] {
        assert_eq!(list[0][field], before[0][field], "{field}");
    }
    assert_eq!(list[0]["tags"], serde_json::json!(["cold", "kept"]));
    if require_fuse() {
        let mount = Mount::new(&other);
        let rules = Rules { root: true, sockets: false, ..Rules::ALL };
        assert_same(&fixture.source, &mount.source(&id, &fixture.source), rules);
        mount.unmount();
    }
    other.ok(["check", "--read-data"]);
    // Into where it came from, nothing is added but the sockets' absence.
    let again = fixture.repo.ok(args!["import", "--json", &archive]).last_json_line();
    assert_eq!(root_of(&fixture.repo, &id_of(&again)), root_of(&other, &id));
    let event = other.ok(["log", "--type", "snapshot.imported", "--json"]).last_json_line();
    assert_eq!(event["subject"]["snapshots"][0], id.as_str());
}

#[test]
fn a_tree_without_sockets_comes_back_as_the_same_tree_id() {
    let fixture = Fixture::plain();
    for format in ["tar.gz", "tar.zst"] {
        let out = fixture.scratch.mkdir(&format!("out-{format}"));
        let command = args!["export", "--json", "--format", format, &fixture.id, &out];
        let archive = path_in(&fixture.repo.ok(command).last_json_line(), "archive");
        let other = Repo::new();
        let imported = other.ok(args!["import", "--json", &archive]).last_json_line();
        assert_eq!(
            root_of(&other, &id_of(&imported)),
            root_of(&fixture.repo, &fixture.id),
            "{format}"
        );
    }
}

#[test]
fn a_repository_made_of_an_archive_is_one_to_work_with() {
    let fixture = Fixture::plain();
    let facts = export(&fixture.repo, &fixture.id, &fixture.scratch.mkdir("out"));
    let other = Repo::new();
    let imported = other.ok(args!["import", "--json", path_in(&facts, "archive")]).last_json_line();
    let id = id_of(&imported);
    // The same source adds nothing: the chunks are those of the archive.
    let created = other.create_json([&fixture.source], 0);
    assert_eq!(created["added_chunks"], 0, "{created}");
    file(&fixture.source.join("new"), b"new");
    let newest = other.create(&fixture.source);
    other.ok(args!["delete", "--yes", &id]);
    other.gc();
    other.ok(["check", "--read-data"]);
    if require_fuse() {
        let mount = Mount::new(&other);
        let rules = Rules { root: false, ..Rules::ALL };
        assert_same(&fixture.source, &mount.source(&newest, &fixture.source), rules);
        mount.unmount();
    }
}

#[test]
fn an_archive_is_unpacked_into_a_clean_directory_without_any_repository() {
    let fixture = Fixture::generated(Shape::TOOLS);
    let facts = export(&fixture.repo, &fixture.id, &fixture.scratch.mkdir("out"));
    let nowhere = Repo::missing();
    let archive = path_in(&facts, "archive");
    for name in ["new", "empty"] {
        let to = fixture.scratch.join(name);
        if name == "empty" {
            fs::create_dir(&to).expect("it can be made");
        }
        nowhere.ok(args!["import", &archive, "--to", &to]);
        let data = to.join(fixture.source.strip_prefix("/").expect("it is absolute"));
        assert_same(&fixture.source, &data, UNPACKED);
    }
    nowhere.ok(args!["import", "--dry-run", &archive]);
    nowhere.run(args!["import", &archive]).fails(10, &["no repository"]);
}

#[test]
fn what_is_in_the_way_is_moved_aside_and_only_when_that_was_said() {
    let fixture = Fixture::plain();
    let facts = export(&fixture.repo, &fixture.id, &fixture.scratch.mkdir("out"));
    let (archive, to) = (path_in(&facts, "archive"), fixture.scratch.mkdir("to"));
    file(&to.join("mine"), b"mine");
    let import = args!["import", "--json", &archive, "--to", &to];
    fixture.repo.run(&import).fails(14, &["not empty", "--yes"]);
    assert_eq!(fs::read_dir(&to).expect("it is there").count(), 1);
    let mut yes = import.to_vec();
    yes.push("--yes".into());
    let facts = fixture.repo.ok(yes).last_json_line();
    let aside = path_in(&facts, "moved_aside");
    assert_eq!(fs::read(aside.join("mine")).expect("it was moved"), b"mine");
    assert!(!to.join("mine").exists());
    let data = to.join(fixture.source.strip_prefix("/").expect("it is absolute"));
    assert_same(&fixture.source, &data, UNPACKED);
}

#[test]
fn an_archive_may_come_by_standard_input() {
    let fixture = Fixture::plain();
    let facts = export(&fixture.repo, &fixture.id, &fixture.scratch.mkdir("out"));
    let other = Repo::new();
    let mut command = other.command(args!["import", "-"]);
    let archive = fs::File::open(path_in(&facts, "archive")).expect("it was written");
    command.stdin(archive).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command.spawn().expect("it starts"), "import -").expect(0);
    let ids = other.ids();
    assert_eq!(root_of(&other, &ids[0]), root_of(&fixture.repo, &fixture.id));
}
