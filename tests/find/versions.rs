//! `versions`: what became of one path.

use crate::support::fixture::Fixture;
use crate::support::generate::{file, mode, mtime};
use crate::support::repo::count_of;

#[test]
fn every_distinct_version_is_told_with_its_snapshots_and_hash() {
    let fixture = Fixture::built(|source| {
        file(&crate::support::generate::directory(source).join("note"), b"one");
        mtime(&source.join("note"), 1_700_000_000, 5);
    });
    let note = fixture.source.join("note");
    let second = fixture.repo.create(&fixture.source);
    mode(&note, 0o600);
    let third = fixture.repo.create(&fixture.source);
    file(&note, b"other");
    let fourth = fixture.repo.create(&fixture.source);
    std::fs::remove_file(&note).expect("it is there");
    fixture.repo.create(&fixture.source);
    let path = note.to_str().expect("a text");
    let versions = fixture.repo.ok(["versions", path, "--json"]).json();
    let versions = versions.as_array().expect("a list");
    assert_eq!(versions.len(), 3, "{versions:?}");
    let ids = [vec![&fixture.id, &second], vec![&third], vec![&fourth]];
    for (version, ids) in versions.iter().zip(&ids) {
        assert_eq!(version["snapshot_ids"], serde_json::json!(ids));
        assert_eq!(version["first"].as_str(), ids.first().map(|id| id.as_str()));
        assert_eq!(version["last"].as_str(), ids.last().map(|id| id.as_str()));
        assert_eq!(count_of(version, "snapshots"), ids.len() as u64);
        assert_eq!(version["path"], path.trim_start_matches('/'));
    }
    let sum = crate::support::command::run_tool("sha256sum", ["/dev/null"]).text();
    assert_eq!(versions[2]["sha256"].as_str().map(str::len), Some(sum[..64].len()));
    assert_eq!(versions[0]["sha256"], versions[1]["sha256"], "a mode is no content");
    assert_eq!(versions[0]["mtime"], "2023-11-14T22:13:20.000000005Z");
    let text = fixture.repo.ok(["versions", path]).text();
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.contains(versions[2]["sha256"].as_str().expect("a hash")), "{text}");
    let latest = fixture.repo.ok(["versions", path, "--snapshot", &third, "--json"]).json();
    assert_eq!(latest.as_array().map(Vec::len), Some(1));
}

#[test]
fn a_path_that_no_snapshot_has_is_an_error() {
    let fixture = Fixture::plain();
    fixture.repo.run(["versions", "no/such"]).fails(1, &["no/such", "1 snapshot"]);
    let file = fixture.source.join("directory-0/file-0/below");
    fixture.repo.run(["versions", file.to_str().expect("a text")]).fails(1, &["below"]);
}

#[test]
fn the_root_and_directories_have_versions_of_their_content() {
    let fixture = Fixture::plain();
    file(&fixture.source.join("directory-1/new"), b"x");
    fixture.repo.create(&fixture.source);
    for path in ["/", fixture.source.to_str().expect("a text")] {
        let versions = fixture.repo.ok(["versions", path, "--json"]).json();
        let versions = versions.as_array().expect("a list");
        assert_eq!(versions.len(), 2, "{path}");
        assert_eq!(count_of(&versions[1]["below"], "files"), 31);
    }
}
