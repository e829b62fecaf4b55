//! Repairs of encrypted repositories whose configuration or keys are not theirs: nothing
//! is taken for damage that only does not open.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use icecore::base::progress::Silent;
use icecore::chunking::ChunkerConfig;
use icecore::crypto::MasterKey;
use icecore::repository::{Layout, RepositoryError, Writer};
use icecore::store::rocks::RocksStore;
use icecore::store::{Batch, Durability, Family, Store as _};

use super::Locked;
use crate::support::command::run;

const WHOLE: &str = "Every snapshot can be read whole";

impl Locked {
    /// The names and the content of what a repair could change.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let store = fs::read_dir(self.repo().join("db")).unwrap();
        let tables = store.map(|entry| entry.unwrap().path());
        let tables = tables.filter(|path| path.extension().is_some_and(|end| end == "sst"));
        let files = tables.chain([self.repo().join("config")]).filter(|path| path.exists());
        files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    /// Makes the repository look like one that is not encrypted.
    fn strip(&self) -> String {
        let config = self.repo().join("config");
        let text = fs::read_to_string(&config).unwrap();
        let (plain, _) = text.split_once("[encryption]").unwrap();
        fs::write(&config, plain.replace("\"encryption-1\"", "")).unwrap();
        fs::rename(self.repo().join("keys"), self.place("keys")).unwrap();
        text
    }
}

#[test]
fn a_repair_of_one_whose_config_was_made_plain_is_refused_and_touches_nothing() {
    let locked = Locked::new();
    let id = locked.create(&[]);
    let config = locked.strip();
    let before = locked.files();
    for how in ["-n", "--yes"] {
        run(&mut locked.command(&["repair", how])).fails(14, &["encrypted", "config", "nothing"]);
    }
    assert!(locked.files() == before);
    fs::rename(locked.place("keys"), locked.repo().join("keys")).unwrap();
    fs::write(locked.repo().join("config"), config).unwrap();
    let listed = locked.run("first", &["list"]).expect(0).text();
    assert!(listed.contains(&id[..12]), "{listed}");
    locked.run("first", &["check", "--read-data"]).expect(0);
}

#[test]
fn a_repair_with_the_key_of_another_repository_is_refused_and_touches_nothing() {
    let locked = Locked::new();
    locked.create(&[]);
    let config = fs::read(locked.repo().join("config")).unwrap();
    fs::remove_file(locked.repo().join("config")).unwrap();
    let before = locked.files();
    let foreign = MasterKey::generate().unwrap();
    for dry_run in [true, false] {
        let key = Some(&foreign);
        let wait = Duration::from_secs(5);
        let opened = Writer::open_for_repair(&locked.repo(), key, dry_run, wait, &Silent);
        let error = opened.map(drop).unwrap_err();
        assert!(matches!(error, RepositoryError::NotRepaired { .. }), "{error}");
    }
    assert!(locked.files() == before);
    fs::write(locked.repo().join("config"), config).unwrap();
    locked.run("first", &["check", "--read-data"]).expect(0);
}

#[test]
fn a_repair_with_the_paper_of_another_repository_never_says_that_all_is_whole() {
    let locked = Locked::new();
    let other = Locked::new();
    let id = locked.create(&[]);
    let paper = other.run("first", &["key", "export", "-q"]).expect(0).stdout;
    locked.file("paper", &paper);
    let kept = locked.place("kept");
    fs::create_dir(&kept).unwrap();
    for name in ["config", "keys"] {
        fs::rename(locked.repo().join(name), kept.join(name)).unwrap();
    }
    let words = ["key", "import", "paper", "--new-password-file", "second", "--kdf-memory", "1MiB"];
    let imported = run(&mut locked.command(&words)).code;
    for how in ["-n", "--yes"] {
        let outcome = locked.run("second", &["repair", how]);
        assert!(matches!(outcome.code, 12 | 14), "{imported}: {}", outcome.error());
        assert!(!outcome.text().contains(WHOLE), "{}", outcome.text());
    }
    let _ = fs::remove_dir_all(locked.repo().join("keys"));
    for name in ["config", "keys"] {
        fs::rename(kept.join(name), locked.repo().join(name)).unwrap();
    }
    let listed = locked.run("first", &["list"]).expect(0).text();
    assert!(listed.contains(&id[..12]), "{listed}");
}

#[test]
fn a_few_damaged_records_are_repaired_and_a_lost_snapshot_is_told() {
    let locked = Locked::new();
    let lost = locked.create(&[]);
    fs::write(locked.place("source/plans"), "retreat at dusk ".repeat(900)).unwrap();
    let kept = locked.create(&[]);
    let key: Vec<u8> =
        (0..32).map(|n| u8::from_str_radix(&lost[2 * n..2 * n + 2], 16).unwrap()).collect();
    {
        let layout = Layout::new(locked.repo());
        let store = RocksStore::open(&layout.db(), &layout.tmp()).unwrap();
        let mut record = store.get(Family::Snapshots, &key).unwrap().unwrap();
        *record.last_mut().unwrap() ^= 1;
        let mut batch = Batch::new();
        batch.put(Family::Snapshots, key, record);
        store.write(&batch, Durability::Synced).unwrap();
        store.flush().unwrap();
    }
    let said = locked.run("first", &["repair", "--yes"]).expect(4).text();
    assert!(said.contains("1 snapshot is lost") && !said.contains(WHOLE), "{said}");
    let listed = locked.run("first", &["list"]).expect(0).text();
    assert!(listed.contains(&kept[..12]) && listed.contains("recovered"), "{listed}");
    let said = locked.run("first", &["repair", "--yes"]).expect(0).text();
    assert!(said.contains(WHOLE), "{said}");
}

#[test]
fn a_sealed_record_among_those_of_a_plain_repository_is_damage() {
    let locked = Locked::new();
    let id = locked.create(&[]);
    let key: Vec<u8> =
        (0..32).map(|n| u8::from_str_radix(&id[2 * n..2 * n + 2], 16).unwrap()).collect();
    let place = locked.place("plain");
    Writer::init(&place, ChunkerConfig::default()).unwrap();
    let plain = |words: &[&str]| run(locked.command(words).arg("-r").arg(&place));
    plain(&["create", "source"]).expect(0);
    let open = |path: PathBuf| {
        let layout = Layout::new(path);
        RocksStore::open(&layout.db(), &layout.tmp()).unwrap()
    };
    let record = open(locked.repo()).get(Family::Snapshots, &key).unwrap().unwrap();
    let store = open(place.clone());
    let mut batch = Batch::new();
    batch.put(Family::Snapshots, key, record);
    store.write(&batch, Durability::Synced).unwrap();
    store.flush().unwrap();
    drop(store);
    plain(&["repair", "--yes"]).expect(4);
    plain(&["check", "--read-data"]).expect(0);
}

#[test]
fn a_lost_config_is_told_and_made_anew() {
    let locked = Locked::new();
    let id = locked.create(&[]);
    fs::remove_file(locked.repo().join("config")).unwrap();
    let error = locked.run("first", &["list"]).fails(10, &["config", "icecore repair"]);
    assert!(!error.contains("There is no repository"), "{error}");
    let said = locked.run("first", &["repair", "--yes"]).expect(0).text();
    assert!(said.contains("`config` is lost; a new one"), "{said}");
    assert!(!said.contains("init"), "{said}");
    let listed = locked.run("first", &["list"]).expect(0).text();
    assert!(listed.contains(&id[..12]), "{listed}");
}

#[test]
fn a_key_file_that_cannot_be_used_is_found_and_hurts_no_snapshot() {
    let locked = Locked::new();
    locked.create(&[]);
    let keys = locked.repo().join("keys");
    let good = fs::read_dir(&keys).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&good).unwrap();
    for (name, text) in [
        ("0bad0001", "garbage".to_owned()),
        ("0bad0002", text.replace("passes = 3", "passes = 4000000")),
    ] {
        fs::write(keys.join(name), text).unwrap();
        let outcome = locked.run("first", &["check"]).expect(4);
        let found = format!("key file {name}: ");
        assert!(outcome.text().contains(&found), "{}", outcome.text());
        assert!(outcome.text().contains("0 snapshots cannot"), "{}", outcome.text());
        assert!(outcome.error().contains("icecore key remove"), "{}", outcome.error());
        let facts = locked.run("first", &["check", "--json"]).expect(4).last_json_line();
        assert_eq!(facts["damages"][0]["kind"], "key file", "{facts}");
        assert_eq!(facts["damages"][0]["id"], name, "{facts}");
        let dry = locked.run("first", &["repair", "-n"]).expect(0).text();
        assert!(dry.contains(&found) && dry.contains(WHOLE), "{dry}");
        let facts = locked.run("first", &["repair", "-n", "--json"]).expect(0).last_json_line();
        assert_eq!(facts["damaged_keys"][0]["name"], name, "{facts}");
        locked.run("first", &["key", "remove", name, "--yes"]).expect(0);
        locked.run("first", &["check"]).expect(0);
    }
}
