//! Every kind and corner of a Unix tree, compared through the mount.

use rustix::io::pread;

use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::{Fixture, SEED};
use crate::support::generate::{chain, sparse, wide};
use crate::support::mount::Mount;
use crate::support::need::{require_fuse, require_root};
use crate::support::repo::{Repo, id_of};
use crate::support::rng::Rng;
use crate::support::scratch::Scratch;
use crate::support::tree::{Shape, generate};
use crate::support::walk::Cursor;
use crate::support::{args, command::run, command::run_tool};

#[test]
fn every_kind_and_corner_of_a_unix_tree_survives_create_and_mount() {
    if !require_fuse() {
        return;
    }
    let _parts = require_root("devices, owners and trusted attributes in the tree");
    let fixture = Fixture::generated(Shape::FULL);
    let mount = fixture.mount();
    assert_same(&fixture.source, &fixture.in_mount(&mount), Rules::ALL);
    mount.unmount();
}

#[test]
fn an_unchanged_tree_survives_a_second_create_as_well() {
    if !require_fuse() {
        return;
    }
    let scratch = Scratch::new();
    let source = scratch.join("source");
    generate(&source, SEED, Shape::SMALL);
    let repo = Repo::new();
    // A relative source, since what lies above an absolute one may change.
    let summaries = [(); 2].map(|()| {
        let mut command = repo.command(["create", "--json", "source"]);
        run(command.current_dir(scratch.path())).expect(0).last_json_line()
    });
    let ids = summaries.each_ref().map(id_of);
    assert_ne!(ids[0], ids[1], "two snapshots have two ids");
    assert_eq!(summaries[1]["added_bytes"], 0, "nothing new was to be stored");
    let snapshots = repo.list_json();
    assert_eq!(snapshots[0]["root"], snapshots[1]["root"], "equal trees have equal ids");
    let mount = Mount::new(&repo);
    for id in &ids {
        assert_same(&source, &mount.snapshot(id).join("source"), Rules::ALL);
    }
    mount.unmount();
}

#[test]
fn a_directory_of_100_000_entries_survives() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::built(|source| wide(source, 100_000));
    let mount = fixture.mount();
    let shown = fixture.in_mount(&mount);
    assert_same(&fixture.source, &shown, Rules::ALL);
    let cursor = Cursor::open(&shown).expect("the directory opens");
    let first = cursor.names().expect("it can be listed");
    assert_eq!(first.len(), 100_000);
    assert_eq!(cursor.names().expect("it can be listed again"), first);
    drop(cursor);
    mount.unmount();
}

#[test]
fn a_path_longer_than_path_max_survives() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::built(|source| chain(source, c"twelve-bytes", 1_000));
    let mount = fixture.mount();
    assert_same(&fixture.source, &fixture.in_mount(&mount), Rules::ALL);
    mount.unmount();
}

#[test]
fn reads_at_any_offset_and_length_give_the_bytes_of_the_source() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::built(|source| {
        let mut rng = Rng::new(5);
        std::fs::create_dir(source).expect("a directory can be made");
        std::fs::write(source.join("random"), rng.bytes(3_000_017)).expect("it can be written");
        std::fs::write(source.join("prose"), rng.prose(2_000_003)).expect("it can be written");
        std::fs::write(source.join("small"), rng.bytes(200)).expect("it can be written");
        let data = rng.bytes(100_001);
        sparse(&source.join("sparse"), 5_000_000, &[(7, &data), (3_000_001, &data)]);
    });
    let mount = fixture.mount();
    let shown = fixture.in_mount(&mount);
    let mut rng = Rng::printed("offsets");
    for name in ["random", "prose", "small", "sparse"] {
        let expected = std::fs::read(fixture.source.join(name)).expect("it can be read");
        let file = std::fs::File::open(shown.join(name)).expect("it opens");
        for _ in 0..400 {
            let offset = rng.below(expected.len() as u64 + 10);
            let mut buffer = vec![0xaa; rng.below(150_000) as usize + 1];
            let count = pread(&file, &mut buffer, offset).expect("it can be read");
            let rest = expected.get(offset as usize..).unwrap_or_default();
            assert!(count > 0 || rest.is_empty(), "{name}: nothing at {offset}");
            assert!(rest.starts_with(&buffer[..count]), "{name}: other bytes at {offset}");
        }
    }
    mount.unmount();
}

#[test]
fn cat_prints_the_bytes_of_every_regular_file() {
    let fixture = Fixture::generated(Shape::SMALL);
    let listed = run_tool("find", args![fixture.source.join("contents"), "-type", "f"]).text();
    for path in listed.lines() {
        let expected = std::fs::read(path).expect("it can be read");
        let printed = fixture.repo.ok(args!["cat", format!("{}:{path}", fixture.id)]);
        assert!(printed.stdout == expected, "{path}");
    }
}
