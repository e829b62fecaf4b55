//! Damage between numbers that lie far apart, as only a made-up store has them.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use icecore::compression::Compression;
use icecore::repository::{envelope, sequence_key};
use icecore::store::rocks::RocksStore;
use icecore::store::{Family, Store as _};

use crate::support::command::run;
use crate::support::encrypt::encrypts;
use crate::support::fixture::Fixture;
use crate::support::repo::Repo;
use crate::support::rng::Rng;

/// Puts records under these numbers, and changes one byte of the second.
fn damaged_between(repo: &Repo, numbers: [u64; 3]) {
    let contents = [1, 2, 3].map(|seed| Rng::new(seed).bytes(60_000));
    {
        let store = RocksStore::open(&repo.path().join("db"), &repo.path().join("tmp"));
        let store = store.expect("it opens");
        let mut load = store.bulk_load(Family::Data).expect("it can be begun");
        for (number, content) in numbers.into_iter().zip(&contents) {
            let sealed = envelope::seal(content, Compression::None);
            load.put(&sequence_key(number), &sealed).expect("they rise");
        }
        load.finish().expect("it can be written");
    }
    let window = &contents[1][30_000..30_064];
    for entry in fs::read_dir(repo.path().join("db")).expect("it can be listed").flatten() {
        let bytes = fs::read(entry.path()).unwrap_or_default();
        if let Some(at) = bytes.windows(window.len()).position(|part| part == window) {
            let table = fs::OpenOptions::new().write(true).open(entry.path()).expect("it opens");
            table.write_all_at(&[window[0] ^ 1], at as u64).expect("it can be written");
            return;
        }
    }
    panic!("the record is in no file");
}

#[test]
fn damage_between_numbers_far_apart_is_found_and_repaired_in_bounded_time() {
    if encrypts() {
        println!("skipped: the records are those of a plain repository");
        return;
    }
    let fixture = Fixture::plain();
    damaged_between(&fixture.repo, [1 << 20, 1 << 40, 1 << 41]);
    let bounded = |words: &[&str]| {
        let command = fixture.repo.command(words);
        let mut bounded = Command::new("timeout");
        bounded.args(["-s", "KILL", "200"]).arg(command.get_program()).args(command.get_args());
        run(bounded.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))))
    };
    bounded(&["check", "--read-data"]).expect(4);
    // The last record is beside the damaged one, and new ones come behind it.
    fixture.repo.create(&fixture.source);
    let repaired = bounded(&["repair", "--yes"]);
    assert!(matches!(repaired.code, 0 | 4), "{}: {}", repaired.code, repaired.error());
    bounded(&["check", "--read-data"]).expect(0);
    bounded(&["gc", "--max-unused", "0"]).expect(0);
    fixture.repo.ok(["ls", "-R", &fixture.id]);
}
