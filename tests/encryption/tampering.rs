//! What whoever writes to the files of an encrypted repository can achieve: damage
//! that is found, and nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use icecore::chunking::ChunkerConfig;
use icecore::repository::{Layout, Writer};
use icecore::store::rocks::RocksStore;
use icecore::store::{Batch, Durability, Family, Store as _};

use super::{Locked, records};
use crate::support::command::run;

impl Locked {
    fn edit_config(&self, from: &str, to: &str) {
        let path = self.repo().join("config");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replace(from, to)).unwrap();
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

/// Gives every record of a family the value of the next one.
fn rotate(store: &RocksStore, family: Family, prefix: &str) {
    let found = records(store, family, prefix);
    assert!(found.len() > 1, "{family:?} {prefix}: {} records", found.len());
    let mut batch = Batch::new();
    for ((key, _), (_, value)) in found.iter().zip(found.iter().cycle().skip(1)) {
        batch.put(family, key.clone(), value.clone());
    }
    store.write(&batch, Durability::Synced).unwrap();
    store.flush().unwrap();
}

#[test]
fn a_record_in_the_place_of_another_of_its_kind_is_never_believed() {
    // Nothing in a note or in what was seen of a source says where it belongs: only
    // that it was sealed for one place.
    let locked = Locked::new();
    locked.file("source/other/retreat", &[b'r'; 5000]);
    let ids = ["alpha", "beta"].map(|tag| {
        let id = locked.create(&[]);
        locked.run("first", &["tag", &id, "--add", tag]).expect(0);
        fs::write(locked.place("source/plans"), tag.repeat(900)).unwrap();
        id
    });
    rotate(&locked.store(), Family::Meta, "note/");
    for (id, foreign) in ids.iter().zip(["beta", "alpha"]) {
        let shown = locked.run("first", &["show", id]);
        assert!(!shown.text().contains(foreign), "{}", shown.text());
    }
    let report = locked.run("first", &["check"]).expect(4);
    assert!(report.text().contains("note") || report.error().contains("note"));
    rotate(&locked.store(), Family::Meta, "note/");
    locked.run("first", &["check", "--read-data"]).expect(0);

    // What was seen of one directory is not believed of another: all is read again.
    rotate(&locked.store(), Family::Scan, "");
    let again = locked.run("first", &["create", "--json", "source"]).expect(0).last_json_line();
    assert!(again["bytes_read"].as_u64() > Some(5000), "{again}");
    let shown = locked.run("first", &["cat", "latest:source/other/retreat"]).expect(0);
    assert_eq!(shown.stdout, [b'r'; 5000]);

    for family in [Family::Data, Family::Trees] {
        rotate(&locked.store(), family, "");
        locked.run("first", &["check", "--read-data"]).expect(4);
        locked.run("first", &["cat", "latest:source/other/retreat"]).expect(4);
        let count = records(&locked.store(), family, "").len();
        (1..count).for_each(|_| rotate(&locked.store(), family, ""));
        locked.run("first", &["check", "--read-data"]).expect(0);
    }
}

#[test]
fn a_record_of_a_restore_that_was_not_made_with_the_key_is_not_obeyed() {
    let locked = Locked::new();
    locked.create(&[]);
    let victim = locked.place("victim");
    fs::create_dir(&victim).unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o700)).unwrap();
    let directory = r#"{"path":"","mode":511,"uid":0,"gid":0,"mtime":[0,0],"xattrs":[]}"#;
    let text = format!(
        r#"{{"version":1,"time":"2026-11-19T03:00:00Z","restored":"00","target":"{}","rollback":
        null,"replaced":[],"created":[],"directories":[{directory}],"undone":null}}"#,
        victim.display()
    );
    let rollbacks = locked.repo().join("rollbacks");
    fs::create_dir(&rollbacks).unwrap();
    locked.file("repo/rollbacks/9.json", text.as_bytes());
    locked.run("first", &["restore", "--undo", "--yes"]).fails(1, &["no record"]);
    let named = rollbacks.join("9.json");
    let words = ["restore", "--yes", "--undo", named.to_str().unwrap()];
    locked.run("first", &words).fails(1, &["not encrypted"]);
    assert_eq!(fs::metadata(&victim).unwrap().permissions().mode() & 0o777, 0o700);
    // A plain repository has no key to tell by: the question says what will be done.
    let plain = locked.place("plain");
    Writer::init(&plain, ChunkerConfig::default()).unwrap();
    fs::create_dir(plain.join("rollbacks")).unwrap();
    fs::write(plain.join("rollbacks/9.json"), text).unwrap();
    let told = run(locked.command(&["restore", "--undo", "-n"]).arg("-r").arg(&plain)).expect(0);
    assert!(told.text().contains("1 directory"), "{}", told.text());
}

#[test]
fn a_record_of_a_restore_in_the_place_of_another_is_not_obeyed() {
    let locked = Locked::new();
    locked.file("source/orders", b"hold the line");
    let id = locked.create(&[]);
    let rollbacks = locked.repo().join("rollbacks");
    let restored = |name: &str| {
        fs::remove_file(locked.place(&format!("source/{name}"))).unwrap();
        let top = locked.place("");
        let top = top.to_str().unwrap();
        locked.run("first", &["restore", &id, "--in-place", top, "--yes"]).expect(0);
        let mut files: Vec<_> =
            fs::read_dir(&rollbacks).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.pop().unwrap()
    };
    let (first, second) = (restored("orders"), restored("plans"));
    assert!(first < second);
    let honest = fs::read(&second).unwrap();
    fs::copy(&first, &second).unwrap();
    let aside = locked.place("aside.json");
    fs::rename(&first, &aside).unwrap();
    let undo = |file: Option<&PathBuf>| {
        let words = ["restore", "--yes", "--undo"].map(str::to_owned);
        let file = file.map(|file| file.display().to_string());
        let words: Vec<_> = words.into_iter().chain(file).collect();
        locked.run("first", &words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    undo(None).fails(1, &["no record"]);
    undo(Some(&second)).fails(1, &["made under another name"]);
    assert!(locked.place("source/orders").exists() && locked.place("source/plans").exists());
    // One that its owner moved elsewhere is obeyed there, and the honest one in its place.
    fs::write(&second, honest).unwrap();
    undo(None).expect(0);
    assert!(locked.place("source/orders").exists() && !locked.place("source/plans").exists());
    undo(Some(&aside)).expect(0);
    assert!(!locked.place("source/orders").exists());
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
        records(&RocksStore::open(&layout.db(), &layout.tmp()).unwrap(), Family::Snapshots, "")
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
