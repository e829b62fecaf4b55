//! What whoever writes to the files of an encrypted repository can achieve: damage
//! that is found, and nothing else.

use std::fs;

use icecore::chunking::ChunkerConfig;
use icecore::repository::{Layout, Writer};
use icecore::store::rocks::RocksStore;
use icecore::store::{Batch, Durability, Family, Store as _};

use super::Locked;
use crate::support::command::run;

impl Locked {
    fn edit_config(&self, from: &str, to: &str) {
        let path = self.repo().join("config");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    fn store(&self) -> RocksStore {
        let layout = Layout::new(self.repo());
        RocksStore::open(&layout.db(), &layout.tmp()).unwrap()
    }
}

#[test]
fn a_config_that_no_longer_says_encrypted_is_no_way_round_the_encryption() {
    let locked = Locked::new();
    locked.create(&[]);
    let config = fs::read_to_string(locked.repo().join("config")).unwrap();
    locked.edit_config("\"encryption-1\"", "");
    locked.run("first", &["create", "source"]).fails(1, &["config", "encryption"]);
    run(&mut locked.command(&["create", "source"])).fails(12, &["encrypted"]);
    let (plain, _) = config.split_once("[encryption]").unwrap();
    fs::write(locked.repo().join("config"), plain.replace("\"encryption-1\"", "")).unwrap();
    run(&mut locked.command(&["create", "source"])).fails(12, &["encrypted"]);
    // Without the keys too it looks like a plain one. Whoever gives a password is
    // told so, and who does not finds nothing but damage, and writes nothing.
    fs::rename(locked.repo().join("keys"), locked.place("keys")).unwrap();
    locked.run("first", &["create", "source"]).fails(14, &["not encrypted"]);
    run(&mut locked.command(&["create", "source"])).fails(1, &["config", "stored is"]);
    run(&mut locked.command(&["list"])).ends(4, &["encrypted"]);
    fs::rename(locked.place("keys"), locked.repo().join("keys")).unwrap();
    fs::write(locked.repo().join("config"), config).unwrap();
    locked.run("first", &["check", "--read-data"]).expect(0);
}

#[test]
fn an_older_program_is_told_that_it_needs_a_newer_one() {
    let locked = Locked::new();
    locked.edit_config("encryption-1", "encryption-2");
    locked.run("first", &["list"]).fails(13, &["encryption-2"]);
}

#[test]
fn sizes_in_the_config_cannot_be_changed() {
    let locked = Locked::new();
    locked.edit_config("avg_bytes = 65536", "avg_bytes = 32768");
    locked.run("first", &["create", "source"]).fails(12, &["config"]);
}

#[test]
fn records_that_change_places_are_damage() {
    let locked = Locked::new();
    let one = locked.create(&[]);
    fs::write(locked.place("source/plans"), "retreat at dusk ".repeat(900)).unwrap();
    let other = locked.create(&[]);
    let ids = [&one, &other].map(|id| -> Vec<u8> {
        (0..32).map(|n| u8::from_str_radix(&id[2 * n..2 * n + 2], 16).unwrap()).collect()
    });
    {
        let store = locked.store();
        let records = ids.each_ref().map(|id| store.get(Family::Snapshots, id).unwrap().unwrap());
        let mut batch = Batch::new();
        batch.put(Family::Snapshots, ids[0].clone(), records[1].clone());
        store.write(&batch, Durability::Synced).unwrap();
        store.flush().unwrap();
    }
    let text = locked.run("first", &["list"]).expect(4).error();
    assert!(text.contains(&one) && !text.contains(&other), "{text}");
    locked.run("first", &["delete", &one, "--yes"]).expect(0);
    locked.run("first", &["cat", "latest:source/plans"]).expect(0);
}

#[test]
fn a_plain_record_is_not_taken_for_an_encrypted_one() {
    let locked = Locked::new();
    let id = locked.create(&[]);
    let other = locked.place("other");
    Writer::init(&other, ChunkerConfig::default()).unwrap();
    run(locked.command(&["create", "source"]).arg("-r").arg(&other)).expect(0);
    let foreign = {
        let layout = Layout::new(&other);
        let store = RocksStore::open(&layout.db(), &layout.tmp()).unwrap();
        let mut found = Vec::new();
        let visit = &mut |key: &[u8], value: &[u8]| {
            found.push((key.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Continue(())
        };
        store.scan(Family::Snapshots, &[], visit).unwrap();
        found
    };
    {
        let store = locked.store();
        let mut batch = Batch::new();
        for (key, value) in foreign {
            batch.put(Family::Snapshots, key, value);
        }
        store.write(&batch, Durability::Synced).unwrap();
        store.flush().unwrap();
    }
    let outcome = locked.run("first", &["list"]).expect(4);
    assert!(outcome.text().contains(&id[..12]) && outcome.text().lines().count() == 2);
    assert!(outcome.error().contains("not encrypted"), "{}", outcome.error());
}

#[test]
fn a_key_file_that_asks_for_too_much_is_refused_before_it_is_paid() {
    let locked = Locked::new();
    let keys = locked.repo().join("keys");
    let name = fs::read_dir(&keys).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&name).unwrap();
    for (from, to) in [
        ("memory_kib = 1024", "memory_kib = 4294967295"),
        ("passes = 3", "passes = 4294967295"),
        ("lanes = 4", "lanes = 16777215"),
    ] {
        assert!(text.contains(from), "{text}");
        fs::write(&name, text.replace(from, to)).unwrap();
        let start = std::time::Instant::now();
        let outcome = locked.run("first", &["list"]);
        assert_ne!(outcome.code, 0);
        assert!(start.elapsed().as_secs() < 20);
        // Beside one that is as it should be it does no harm.
        fs::write(keys.join("00000000"), &text).unwrap();
        locked.run("first", &["list"]).expect(0);
        fs::remove_file(keys.join("00000000")).unwrap();
    }
    fs::write(&name, "x".repeat(1 << 20)).unwrap();
    locked.run("first", &["list"]).fails(1, &["key"]);
}
