//! One chunk that is not what it was, seen by `check`, `repair` and `create`.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file};
use crate::support::need::require_fuse;
use crate::support::repo::id_of;
use crate::support::rng::Rng;
use crate::support::rot::rot_chunk;
use crate::support::{args, beside};

fn fixture() -> (Fixture, Vec<u8>) {
    let mut rng = Rng::new(78);
    let victim = rng.bytes(12_000);
    let fixture = Fixture::built(|source| {
        file(&directory(source).join("sound"), &rng.bytes(300_000));
        file(&source.join("victim"), &victim);
    });
    (fixture, victim)
}

#[test]
fn rot_is_found_by_reading_named_with_its_path_and_healed_by_create() {
    let (fixture, content) = fixture();
    let repo = &fixture.repo;
    repo.ok(["check", "--read-data"]);
    rot_chunk(repo, content.len());
    repo.ok(["check"]);
    let report = repo.run(["check", "--read-data", "--json"]).expect(4).last_json_line();
    let damages = report["damages"].as_array().expect("a list");
    assert_eq!(damages.len(), 1, "{report}");
    assert_eq!(damages[0]["kind"], "chunk");
    let path = damages[0]["files"][0]["path"].as_str().expect("a path");
    assert_eq!(PathBuf::from(path), fixture.source.join("victim"));
    assert_eq!(damages[0]["files"][0]["snapshots"][0], fixture.id.as_str());

    repo.run(["repair"]).fails(14, &["--yes"]);
    repo.run(["repair", "-n"]).expect(4);
    let repaired = repo.run(["repair", "--yes", "--json"]).expect(4).last_json_line();
    let sibling = repaired["hurt"][0]["sibling"].as_str().expect("an id").to_owned();
    let inner = fixture.source.to_str().expect("a text");
    let listed = repo.ok(["ls", &format!("{sibling}:{inner}")]).text();
    assert_eq!(listed.trim(), "sound");
    repo.run(["cat", &format!("{}:{inner}/victim", fixture.id)]).fails(4, &["missing"]);
    names_are_what_they_were(&fixture, &sibling);
    // A collection says so too, and takes nothing that is left.
    let collected = repo.run(["gc", "--json", "--max-unused", "0"]).expect(4);
    assert!(collected.error().contains("chunks that are missing"), "{}", collected.error());
    assert!(collected.last_json_line()["missing_chunks"].as_u64() > Some(0));
    let sound = fs::read(fixture.source.join("sound")).expect("it is there");
    for id in [&fixture.id, &sibling] {
        assert!(repo.ok(["cat", &format!("{id}:{inner}/sound")]).stdout == sound, "{id}");
    }

    repo.create(&fixture.source);
    let shown = repo.ok(["cat", &format!("{}:{inner}/victim", fixture.id)]);
    assert!(shown.stdout == content, "the first snapshot is whole again");
    repo.gc();
    repo.ok(["check", "--read-data"]);
    repo.ok(["repair", "--yes"]);
}

/// No name that led to the damaged snapshot leads to its copy: what is lost is told
/// by an error and does not vanish.
fn names_are_what_they_were(fixture: &Fixture, sibling: &str) {
    let show = |name: &str| id_of(&fixture.repo.ok(["show", "--json", name]).json());
    assert_eq!((show("latest"), show("latest~1")), (fixture.id.clone(), sibling.to_owned()));
    if !require_fuse() {
        return;
    }
    let mount = fixture.mount();
    let newest = fs::read_link(mount.point().join("latest")).expect("it is a link");
    assert!(newest.ends_with(&fixture.id), "{}", newest.display());
    let times = fs::read_dir(mount.point().join("by-time")).expect("it can be listed");
    for link in times.flatten() {
        let target = fs::read_link(link.path()).expect("it is a link");
        let name = link.file_name().to_string_lossy().into_owned();
        let is_copy = target.ends_with(sibling);
        assert_eq!(is_copy, name.ends_with(&sibling[..12]), "{name} is {}", target.display());
    }
    mount.unmount();
}

#[test]
fn subsets_cover_everything_in_turn() {
    let (fixture, content) = fixture();
    let repo = &fixture.repo;
    rot_chunk(repo, content.len());
    let codes: Vec<i32> =
        (0..12).map(|_| repo.run(["check", "--read-data-subset", "20%"]).code).collect();
    assert!(codes.contains(&4), "{codes:?}");
    let parts: Vec<i32> = (1..=3)
        .map(|part| repo.run(["check", "--read-data-subset", &format!("{part}/3")]).code)
        .collect();
    assert_eq!(parts.iter().filter(|code| **code == 4).count(), 1, "{parts:?}");
    repo.run(["check", "--read-data-subset", "0/3"]).expect(2);
    repo.run(["check", "--max-duration", "5m"]).expect(2);
    repo.run(["check", "--read-data", "--max-duration", "5m"]).expect(4);
}

#[test]
fn a_check_beside_a_mount_a_create_and_a_gc_at_once_raises_no_alarm() {
    let (fixture, content) = fixture();
    let repo = &fixture.repo;
    let churn = |stop: &AtomicBool| {
        let mut round = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            round += 1;
            file(&fixture.source.join("changing"), &Rng::new(round).bytes(200_000));
            let id = repo.create(&fixture.source);
            repo.ok(["delete", "--yes", &id]);
        }
    };
    let collect = |stop: &AtomicBool| {
        while !stop.load(Ordering::Relaxed) {
            repo.gc();
        }
    };
    let read = |stop: &AtomicBool| {
        let mount = require_fuse().then(|| fixture.mount());
        while let Some(mount) = mount.as_ref().filter(|_| !stop.load(Ordering::Relaxed)) {
            let shown = fs::read(fixture.in_mount(mount).join("victim")).expect("it can be read");
            assert!(shown == content, "other bytes beside a check");
        }
        if let Some(mount) = mount {
            mount.unmount();
        }
    };
    let check = || {
        for _ in 0..15 {
            let outcome = repo.run(args!["check", "--read-data"]);
            assert_eq!(outcome.code, 0, "{}{}", outcome.text(), outcome.error());
        }
    };
    beside(churn, || beside(collect, || beside(read, check)));
}

#[test]
fn a_lost_configuration_is_made_anew() {
    let (fixture, content) = fixture();
    let repo = &fixture.repo;
    fs::remove_file(repo.path().join("config")).expect("it can be removed");
    repo.run(["list"]).fails(10, &[]);
    repo.ok(["repair", "--yes"]);
    let inner = fixture.source.to_str().expect("a text");
    assert!(repo.ok(["cat", &format!("{}:{inner}/victim", fixture.id)]).stdout == content);
    repo.ok(["check", "--read-data"]);
}
