//! What whoever writes to the files of an encrypted repository achieves with records
//! that were good once: what was deleted, said or opened comes back, as it was then.
//! Never is anything shown that was not saved, and nothing else is hurt.

use std::fs;
use std::path::PathBuf;

use icecore::store::{Batch, Durability, Family, Store as _};

use super::{Locked, records};
use crate::support::args;
use crate::support::command::{run, run_tool};
use crate::support::repo::id_of;

/// A record and where it was.
type Kept = (Family, Vec<u8>, Vec<u8>);

const CHEAP: [&str; 4] = ["--kdf-memory", "1MiB", "--kdf-passes", "1"];
const FIRST: &str = "attack at dawn ";
const SECOND: &str = "retreat at dusk ";

impl Locked {
    /// The records of a family now, to be put back later.
    fn keep(&self, family: Family, prefix: &str) -> Vec<Kept> {
        let found = records(&self.store(), family, prefix);
        assert!(!found.is_empty(), "there is nothing of {family:?} {prefix:?}");
        found.into_iter().map(|(key, value)| (family, key, value)).collect()
    }

    fn put_back(&self, kept: &[Kept]) {
        let store = self.store();
        let mut batch = Batch::new();
        for (family, key, value) in kept {
            batch.put(*family, key.clone(), value.clone());
        }
        store.write(&batch, Durability::Synced).unwrap();
        store.flush().unwrap();
    }

    fn plan(&self, text: &str) {
        fs::write(self.place("source/plans"), text.repeat(1000)).unwrap();
    }

    /// Two snapshots with nothing in common.
    fn two(&self) -> [String; 2] {
        [FIRST, SECOND].map(|text| {
            self.plan(text);
            self.create(&[])
        })
    }

    /// Fails unless a snapshot holds exactly that.
    #[track_caller]
    fn holds(&self, id: &str, text: &str) {
        let shown = self.run("first", &["cat", &format!("{id}:source/plans")]).expect(0);
        assert_eq!(shown.text(), text.repeat(1000));
    }

    /// Fails unless it is damage to read a snapshot, and a check says so.
    #[track_caller]
    fn is_damage(&self, id: &str) {
        let shown = self.run("first", &["cat", &format!("{id}:source/plans")]);
        assert_eq!((shown.code, &shown.stdout[..]), (4, &b""[..]), "{}", shown.error());
        self.run("first", &["check"]).expect(4);
    }

    /// The ids that a list names, with options.
    fn listed(&self, options: &[&str]) -> Vec<String> {
        let words = [&["list", "--json"], options].concat();
        let list = self.run("first", &words).expect(0).json();
        list.as_array().unwrap().iter().map(id_of).collect()
    }

    fn is_clean(&self) {
        self.run("first", &["check", "--read-data"]).expect(0);
    }

    fn collect(&self) {
        self.run("first", &["gc", "--max-unused", "0"]).expect(0);
    }
}

#[test]
fn a_deleted_snapshot_that_is_put_back_is_as_it_was_or_damage_and_can_be_deleted_again() {
    let locked = Locked::new();
    let [one, other] = locked.two();
    let kept = locked.keep(Family::Snapshots, "");
    locked.run("first", &["delete", &one, "--yes"]).expect(0);
    assert_eq!(locked.listed(&[]), std::slice::from_ref(&other));
    // Not promised: that this is noticed.
    locked.put_back(&kept);
    assert_eq!(locked.listed(&[]), [one.clone(), other.clone()]);
    locked.holds(&one, FIRST);
    locked.is_clean();
    // A collection keeps what is listed, whoever listed it.
    locked.collect();
    locked.holds(&one, FIRST);
    locked.is_clean();
    // Once its data is gone it is damage, and the others are not.
    locked.run("first", &["delete", &one, "--yes"]).expect(0);
    locked.collect();
    locked.put_back(&kept);
    locked.is_damage(&one);
    locked.holds(&other, SECOND);
    locked.run("first", &["delete", &one, "--yes"]).expect(0);
    locked.is_clean();
    assert_eq!(locked.listed(&[]), [other]);
}

#[test]
fn an_old_record_of_a_deletion_offers_the_snapshot_again_and_brings_back_nothing_but_it() {
    let locked = Locked::new();
    let [one, other] = locked.two();
    locked.run("first", &["delete", &one, "--yes"]).expect(0);
    let kept = locked.keep(Family::Meta, "deleted/");
    locked.run("first", &["undelete", &one]).expect(0);
    // It is deleted and there at once: it stays there.
    locked.put_back(&kept);
    assert_eq!(locked.listed(&[]), [one.clone(), other.clone()]);
    locked.holds(&one, FIRST);
    locked.collect();
    locked.holds(&one, FIRST);
    locked.is_clean();
    assert_eq!(locked.listed(&["--deleted"]), [""; 0]);
    // After a collection it offers what is gone: that is damage then, not other data.
    locked.run("first", &["delete", &one, "--yes"]).expect(0);
    locked.collect();
    locked.put_back(&kept);
    assert_eq!(locked.listed(&["--deleted"]), std::slice::from_ref(&one));
    locked.is_clean();
    locked.run("first", &["undelete", &one]).expect(0);
    locked.is_damage(&one);
    locked.holds(&other, SECOND);
}

#[test]
fn nobody_without_the_key_needs_an_old_record_to_delete_a_snapshot_or_to_bring_it_back() {
    // A deletion is the sealed manifest in another place, behind a time in the clear.
    let locked = Locked::new();
    let [one, other] = locked.two();
    locked.run("first", &["delete", &one, "--yes"]).expect(0);
    let shown = || locked.run("first", &["list", "--deleted", "--json"]).expect(0).json();
    let before = shown()[0]["deleted"].clone();
    let mut kept = locked.keep(Family::Meta, "deleted/");
    kept[0].2[1] ^= 1;
    locked.put_back(&kept);
    assert_ne!(shown()[0]["deleted"], before, "the time is not bound");
    // The rest of it is: it is another snapshot's in no other place.
    kept[0].1.truncate("deleted/".len());
    kept[0].1.extend((0..32).map(|n| u8::from_str_radix(&other[2 * n..2 * n + 2], 16).unwrap()));
    locked.put_back(&kept);
    let told = locked.run("first", &["list", "--deleted"]);
    assert!(told.code == 4 && told.error().contains(&other), "{}", told.error());
    locked.holds(&other, SECOND);
}

#[test]
fn an_old_note_brings_back_the_tags_and_the_pin_of_then() {
    let locked = Locked::new();
    let [one, other] = locked.two();
    locked.run("first", &["tag", &one, "--add", "alpha"]).expect(0);
    let kept = locked.keep(Family::Meta, "note/");
    locked.run("first", &["tag", &one, "--remove", "alpha", "--add", "beta", "--pin"]).expect(0);
    let prune = ["prune", "--keep-last", "1", "--yes"];
    locked.run("first", &prune).expect(0);
    assert_eq!(locked.listed(&[]), [one.clone(), other.clone()], "it is pinned");
    locked.put_back(&kept);
    let shown = locked.run("first", &["show", "--json", &one]).expect(0).json();
    assert_eq!(shown["tags"], serde_json::json!(["alpha"]));
    locked.is_clean();
    // So a writer decides which snapshots a policy keeps. He could as well remove them.
    locked.run("first", &prune).expect(0);
    assert_eq!(locked.listed(&[]), std::slice::from_ref(&other));
    locked.holds(&other, SECOND);
}

#[test]
fn what_was_remembered_of_a_source_long_ago_hides_no_change_of_a_file() {
    let locked = Locked::new();
    locked.file("source/other/plans", b"unchanged");
    locked.two();
    let kept = locked.keep(Family::Scan, "");
    locked.plan("hold the bridge ");
    fs::write(locked.place("source/other/plans"), "changed!!").unwrap();
    let third = locked.create(&[]);
    locked.put_back(&kept);
    let fourth = locked.create(&[]);
    for id in [&third, &fourth] {
        locked.holds(id, "hold the bridge ");
        let inner = format!("{id}:source/other/plans");
        assert_eq!(locked.run("first", &["cat", &inner]).expect(0).text(), "changed!!");
    }
    locked.is_clean();
}

/// The key files, by name and content.
fn keys(locked: &Locked) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(locked.repo().join("keys")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn a_removed_key_file_that_is_put_back_opens_again_also_what_was_saved_since() {
    let locked = Locked::new();
    locked.create(&[]);
    let config = fs::read(locked.repo().join("config")).unwrap();
    let old = keys(&locked);
    let [(path, bytes)] = &old[..] else { panic!("{} keys", old.len()) };
    let new = ["--new-password-file", "second"];
    locked.run("first", &[&["key", "change"][..], &new, &CHEAP].concat()).expect(0);
    locked.run("first", &["list"]).ends(12, &["wrong password"]);
    locked.plan(SECOND);
    let since = locked.run("second", &["create", "--json", "source"]).expect(0).last_json_line();
    let since = id_of(&since);
    // The configuration says nothing of keys, so an old one changes nothing.
    assert_eq!(fs::read(locked.repo().join("config")).unwrap(), config);
    // Not promised: that a password is of no use any more to who writes there.
    fs::write(path, bytes).unwrap();
    locked.holds(&since, SECOND);
    // It is there for all to see, and goes as it went before.
    let name = path.file_name().unwrap().to_str().unwrap();
    let shown = run(&mut locked.command(&["key", "list"])).expect(0).text();
    assert!(shown.contains(name), "{shown}");
    locked.run("second", &["key", "remove", name, "--yes"]).expect(0);
    locked.run("first", &["list"]).ends(12, &["wrong password"]);
    // Of two repositories each password opens its own alone: the mark tells.
    fs::write(path, &keys(&Locked::new())[0].1).unwrap();
    locked.run("first", &["list"]).fails(12, &["not that of the repository"]);
}

#[test]
fn an_older_state_of_the_whole_is_believed_by_all_but_a_head_of_the_log_that_was_kept_elsewhere() {
    let locked = Locked::new();
    locked.create(&[]);
    let copy = locked.place("copy");
    run_tool("cp", args!["-a", locked.repo(), &copy]);
    locked.plan(SECOND);
    let lost = locked.create(&[]);
    let verified = locked.run("first", &["log", "verify", "--json"]).expect(0).json();
    let head = verified["head"].as_str().unwrap().to_owned();
    fs::remove_dir_all(locked.repo()).unwrap();
    fs::rename(copy, locked.repo()).unwrap();
    locked.is_clean();
    locked.run("first", &["log", "verify"]).expect(0);
    locked.run("first", &["show", &lost]).expect(1);
    locked.run("first", &["log", "verify", "--head", &head]).ends(4, &["cut off or replaced"]);
}

#[test]
fn a_record_of_a_restore_that_was_undone_is_obeyed_again_and_takes_nothing_that_is_new() {
    let locked = Locked::new();
    let id = locked.create(&[]);
    let plans = locked.place("source/plans");
    fs::remove_file(&plans).unwrap();
    let top = locked.place("");
    let words = ["restore", &id, "--in-place", top.to_str().unwrap(), "--yes"];
    locked.run("first", &words).expect(0);
    let mut records = fs::read_dir(locked.repo().join("rollbacks")).unwrap();
    let record = records.next().unwrap().unwrap().path();
    let kept = fs::read(&record).unwrap();
    let undo = || locked.run("first", &["restore", "--undo", "--yes"]);
    undo().expect(0);
    assert!(!plans.exists());
    undo().fails(1, &["no record"]);
    // Not promised: that it is taken back once only. What was restored again goes again.
    locked.run("first", &[&words[..], &["--no-rollback"]].concat()).expect(0);
    fs::write(&record, &kept).unwrap();
    undo().expect(0);
    assert!(!plans.exists());
    // What was made since is nobody's to remove.
    fs::write(&plans, "attack at noon").unwrap();
    fs::write(&record, &kept).unwrap();
    undo();
    assert_eq!(fs::read(&plans).unwrap(), b"attack at noon");
}
