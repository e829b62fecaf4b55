//! Damage in a file of the store that hurts no object, such as a wrong checksum of a
//! block: nobody would notice until a collection has to rewrite the file.

use std::os::unix::fs::FileExt as _;

use crate::support::args;
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file};
use crate::support::rng::Rng;
use crate::support::rot::end_of_chunk;

const VICTIM_BYTES: usize = 12_000;
/// A block ends with two numbers of four bytes and a byte for its compression; then
/// follows its checksum.
const TO_CHECKSUM: u64 = 9;

/// A snapshot in whose store the checksum of a block is wrong.
fn fixture() -> Fixture {
    let mut rng = Rng::new(31);
    let content = rng.bytes(VICTIM_BYTES);
    let fixture = Fixture::built(|source| {
        file(&directory(source).join("a"), &rng.bytes(900_000));
        file(&source.join("victim"), &content);
        file(&source.join("z"), &rng.bytes(900_000));
    });
    let (path, end) = end_of_chunk(&fixture.repo, VICTIM_BYTES);
    let options = std::fs::OpenOptions::new().read(true).write(true).open(path);
    let table = options.expect("it can be opened");
    let (mut byte, place) = ([0], end + TO_CHECKSUM);
    table.read_exact_at(&mut byte, place).expect("it can be read");
    table.write_all_at(&[byte[0] ^ 0x01], place).expect("it can be written");
    fixture
}

#[test]
fn damage_that_hurts_no_object_is_found_and_repaired_so_that_collections_go_on() {
    let fixture = fixture();
    let repo = &fixture.repo;
    let report = repo.run(["check", "--read-data", "--json"]).expect(4).last_json_line();
    let damages = report["damages"].as_array().expect("a list");
    assert_eq!((damages.len(), &damages[0]["kind"]), (1, &"record".into()), "{report}");
    assert!(damages[0]["detail"].to_string().contains("checksum"), "{report}");
    assert!(report["damaged_snapshots"].as_array().is_some_and(Vec::is_empty), "{report}");

    std::fs::remove_file(fixture.source.join("a")).expect("it is there");
    let id = repo.create(&fixture.source);
    repo.ok(["delete", "--yes", &fixture.id]);
    repo.run(["gc", "--max-unused", "0"]).fails(4, &["checksum", "icecore repair"]);

    let plan = repo.run(["repair", "-n"]).expect(4).text();
    assert!(plan.contains("1 file of the store with damaged blocks would be replaced"), "{plan}");
    let done = repo.ok(["repair", "--yes", "--json"]).last_json_line();
    assert_eq!((&done["replaced_files"], &done["hurt"]), (&1.into(), &serde_json::json!([])));
    repo.ok(["check", "--read-data"]);
    repo.gc();
    repo.ok(["check", "--read-data"]);
    assert_eq!(repo.ok(["repair", "--yes", "--json"]).last_json_line()["replaced_files"], 0);
    let target = fixture.source.with_file_name("target");
    repo.ok(args!["restore", &id, &target]);
    let root = target.join(fixture.source.strip_prefix("/").expect("it is absolute"));
    assert_same(&fixture.source, &root, Rules::ALL);
}
