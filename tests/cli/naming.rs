//! The names that a snapshot has.

use crate::support::fixture::Fixture;
use crate::support::generate::file;
use crate::support::repo::id_of;

fn shown(fixture: &Fixture, name: &str) -> String {
    id_of(&fixture.repo.ok(["show", name, "--json"]).json())
}

#[test]
fn a_snapshot_is_named_by_id_prefix_latest_and_tag() {
    let fixture = Fixture::plain();
    file(&fixture.source.join("new"), b"x");
    let source = fixture.source.to_str().expect("a text");
    let second = id_of(&fixture.repo.create_json(["--tag", "weekly", source], 0));
    let third = fixture.repo.create(&fixture.source);
    assert_eq!(shown(&fixture, "latest"), third);
    assert_eq!(shown(&fixture, "latest~1"), second);
    assert_eq!(shown(&fixture, "latest~2"), fixture.id);
    assert_eq!(shown(&fixture, "weekly"), second);
    for length in [64, 40, 12, 8] {
        assert_eq!(shown(&fixture, &second[..length]), second);
    }
    fixture.repo.run(["show", "latest~3"]).fails(1, &["latest~3"]);
}

#[test]
fn a_tag_names_the_newest_snapshot_that_has_it() {
    let fixture = Fixture::plain();
    let source = fixture.source.to_str().expect("a text");
    let one = id_of(&fixture.repo.create_json(["--tag", "daily", source], 0));
    let two = id_of(&fixture.repo.create_json(["--tag", "daily", source], 0));
    assert_eq!(shown(&fixture, "daily"), two);
    fixture.repo.ok(["delete", &two, "--yes"]);
    assert_eq!(shown(&fixture, "daily"), one);
}

#[test]
fn latest_is_the_newest_even_after_others_were_deleted() {
    let fixture = Fixture::plain();
    let second = fixture.repo.create(&fixture.source);
    let third = fixture.repo.create(&fixture.source);
    fixture.repo.ok(["delete", "latest", "--yes"]);
    assert_eq!(shown(&fixture, "latest"), second);
    assert!(!fixture.repo.ids().contains(&third));
}
