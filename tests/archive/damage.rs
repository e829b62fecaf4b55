//! Damaged archives: found whatever byte it is, named, and nothing is imported.

use std::fs;
use std::path::{Path, PathBuf};

use super::{export, path_in};
use crate::support::args;
use crate::support::command::run_tool;
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file, symlink};
use crate::support::repo::Repo;
use crate::support::rng::Rng;

fn small() -> Fixture {
    Fixture::built(|source| {
        directory(source);
        file(&source.join("prose"), &Rng::new(1).prose(9_000));
        file(&source.join("random"), &Rng::new(2).bytes(3_000));
        file(&source.join("empty"), b"");
        symlink(&source.join("link"), b"prose");
    })
}

/// An archive of a small tree, alone in a directory.
fn archive(fixture: &Fixture, format: &str) -> PathBuf {
    let out = fixture.scratch.mkdir(&format!("out-{format}"));
    let command = args!["export", "--json", "--format", format, &fixture.id, &out];
    path_in(&fixture.repo.ok(command).last_json_line(), "archive")
}

/// Fails unless these bytes are damage for `import`, which says so in one line.
#[track_caller]
fn is_damage(repo: &Repo, at: &Path, bytes: &[u8], what: &str) {
    fs::write(at, bytes).expect("it can be written");
    let outcome = repo.run(args!["import", "--dry-run", at]);
    assert_eq!(outcome.code, 4, "{what}: {}{}", outcome.text(), outcome.error());
    outcome.fails(4, &["damaged", "nothing was imported"]);
}

#[test]
fn a_flipped_byte_anywhere_is_found() {
    let fixture = small();
    let nowhere = Repo::missing();
    for format in ["tar.gz", "tar.zst"] {
        let whole = fs::read(archive(&fixture, format)).expect("it was written");
        let at = fixture.scratch.join("flipped");
        let mut rng = Rng::printed("flips");
        // All of both ends, where headers and the seal lie, and some between.
        let mut places: Vec<usize> = (0..40).chain(whole.len() - 80..whole.len()).collect();
        places.extend((0..80).map(|_| rng.below(whole.len() as u64) as usize));
        for place in places {
            let mut flipped = whole.clone();
            flipped[place] ^= 1 << rng.below(8);
            is_damage(&nowhere, &at, &flipped, &format!("{format}: byte {place}"));
        }
    }
}

#[test]
fn a_cut_at_every_block_of_the_tar_is_found_packed_and_plain() {
    let fixture = small();
    let nowhere = Repo::missing();
    let archive = archive(&fixture, "tar.gz");
    let plain = fixture.scratch.join("plain.tar");
    let unpack = "gzip -dc \"$1\" > \"$2\"";
    run_tool("bash", args!["-c", unpack, "bash", &archive, &plain]);
    let whole = fs::read(&plain).expect("it was unpacked");
    assert!(whole.len().is_multiple_of(512) && whole.len() < 40 * 1024, "{}", whole.len());
    let cut = fixture.scratch.join("cut.tar");
    for end in (0..whole.len()).step_by(512) {
        is_damage(&nowhere, &cut, &whole[..end], &format!("cut at {end}"));
        run_tool("gzip", args!["-kf", &cut]);
        let packed = fs::read(fixture.scratch.join("cut.tar.gz")).expect("it was packed");
        is_damage(&nowhere, &cut, &packed, &format!("cut at {end}, packed"));
    }
    // Without its seal even all of it is no archive of icecore.
    is_damage(&nowhere, &cut, &whole, "the seal is missing");
    nowhere.run(args!["import", "-n", &cut]).fails(4, &["was unpacked", "import it packed"]);
}

#[test]
fn a_cut_anywhere_in_the_packed_file_is_found_and_so_is_what_is_appended() {
    let fixture = small();
    let nowhere = Repo::missing();
    let at = fixture.scratch.join("cut");
    for format in ["tar.gz", "tar.zst"] {
        let whole = fs::read(archive(&fixture, format)).expect("it was written");
        let mut ends: Vec<usize> = (0..whole.len()).step_by(whole.len() / 40).collect();
        ends.extend(whole.len() - 70..whole.len());
        for end in ends {
            is_damage(&nowhere, &at, &whole[..end], &format!("{format}: cut at {end}"));
        }
        for more in [&b"\0"[..], &whole] {
            let longer = [&whole, more].concat();
            is_damage(&nowhere, &at, &longer, &format!("{format}: {} more", more.len()));
        }
    }
}

#[test]
fn damage_names_the_file_and_leaves_repository_and_directory_as_they_were() {
    let fixture = Fixture::plain();
    let archive = archive(&fixture, "tar.gz");
    let mut bytes = fs::read(&archive).expect("it was written");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&archive, bytes).expect("it can be written");
    let other = Repo::new();
    let said = other.run(args!["import", &archive]).fails(4, &["damaged at", "byte"]);
    assert!(said.contains("directory-1/file-1"), "the middle of 30 files is not named: {said}");
    assert!(other.ids().is_empty());
    let to = fixture.scratch.join("to");
    other.run(args!["import", &archive, "--to", &to]).fails(4, &["damaged at"]);
    assert!(!to.exists());
    let names = fs::read_dir(fixture.scratch.path()).expect("it is there");
    let left: Vec<_> = names.flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
    // What was stored before the damage was met is garbage.
    other.gc();
    other.ok(["check", "--read-data"]);
    let event = other.ok(["log", "--type", "operation.failed", "--json"]).last_json_line();
    assert_eq!(
        (&event["payload"]["operation"], &event["payload"]["exit_code"]),
        (&"import".into(), &4.into())
    );
}

#[test]
fn another_manifest_beside_the_archive_is_found() {
    let fixture = small();
    let facts = export(&fixture.repo, &fixture.id, &fixture.scratch.mkdir("out"));
    let (archive, manifest) = (path_in(&facts, "archive"), path_in(&facts, "manifest"));
    let text = fs::read_to_string(&manifest).expect("it lies beside");
    fs::write(&manifest, text.replace("\"prose\"", "\"price\"").replace("/prose", "/price"))
        .expect("it can be written");
    fixture.repo.run(args!["import", "-n", &archive]).fails(4, &["manifest.json", "damaged"]);
    fs::remove_file(&manifest).expect("it is there");
    fixture.repo.ok(args!["import", "-n", &archive]);
}

#[test]
fn an_export_of_a_damaged_repository_names_the_file_and_leaves_nothing() {
    let fixture = Fixture::plain();
    let store = fixture.repo.path().join("db");
    let mut files: Vec<_> = fs::read_dir(&store).expect("it is a store").flatten().collect();
    files.retain(|file| file.path().extension().is_some_and(|it| it == "sst"));
    files.sort_by_key(|file| file.metadata().map(|data| data.len()).unwrap_or(0));
    let path = files.last().expect("there are tables").path();
    let mut bytes = fs::read(&path).expect("it can be read");
    for place in (100_000..300_000).step_by(1000) {
        bytes[place] ^= 0xff;
    }
    fs::write(&path, bytes).expect("it can be written");
    let out = fixture.scratch.mkdir("out");
    let said = fixture.repo.run(args!["export", &fixture.id, &out]).ends(4, &["cannot be read"]);
    assert!(said.contains("directory-"), "{said}");
    assert_eq!(fs::read_dir(&out).expect("it is there").count(), 0);
    let dumped = fixture.scratch.join("x.tar");
    fixture.repo.run(args!["dump", &fixture.id, "-o", &dumped]).ends(4, &["cannot be read"]);
    assert!(!dumped.exists());
}
