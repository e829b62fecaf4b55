//! Records by which restores are taken back, made by somebody else.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use icecore::repository::Reader;
use serde_json::{Value, json};

use crate::support::args;
use crate::support::command::{Outcome, run, run_tool};
use crate::support::encrypt::key_of;
use crate::support::fixture::Fixture;

use super::ground::Ground;
use super::run::{Ends, bounded, steers};
use super::texts::STEERING;

/// A repository with a directory of records, and a target beside what must stay.
struct Undo {
    fixture: Fixture,
    ground: Ground,
}

impl Undo {
    /// Nothing where there can be no disk to work on.
    fn new() -> Option<Self> {
        let (fixture, ground) = (Fixture::plain(), Ground::new(true));
        fs::create_dir(fixture.repo.path().join("rollbacks")).expect("there is none yet");
        ground.has_disk().then_some(Self { fixture, ground })
    }

    fn place(&self, name: &str) -> PathBuf {
        self.fixture.repo.path().join("rollbacks").join(name)
    }

    /// Puts bytes in the place of a record, sealed if the repository's records are: whoever
    /// made it has its key.
    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.fixture.repo.path();
        let stored = match key_of(path) {
            None => bytes.to_vec(),
            Some(key) => {
                let reader = Reader::open_with(path, Some(&key)).expect("it opens");
                reader.seal_rollback(bytes.to_vec()).expect("it is sealed")
            }
        };
        fs::write(self.place(name), stored).expect("it can be written");
    }

    /// Takes back what the newest record says; a minute is enough for it.
    fn run(&self, words: &[&str]) -> Outcome {
        let command = self.fixture.repo.command(args!["restore", "--undo"]);
        let mut bounded = Command::new("timeout");
        bounded.arg("60").arg(command.get_program()).args(command.get_args()).args(words);
        let outcome = run(bounded.current_dir(self.ground.path()));
        assert!(outcome.code < 124, "{words:?}: {}", outcome.code);
        assert_eq!(steers(outcome.error().as_bytes()), None, "{words:?}: {}", outcome.error());
        assert_eq!(steers(&outcome.stdout), None, "{words:?}: {}", outcome.text());
        self.ground.is_untouched("restore --undo");
        outcome
    }
}

/// A record of a restore into `target` that made and changed what it says.
fn record(target: &Path, created: &[Value], directories: &[Value]) -> Value {
    json!({
        "version": 1, "name": "1.json", "time": "2026-11-19T03:00:00Z", "restored": "0".repeat(64),
        "target": target, "rollback": null, "replaced": [], "created": created,
        "directories": directories, "undone": null,
    })
}

/// What such a record says of a file that is really there.
fn created(ground: &Ground, path: &str, name: &str) -> Value {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::symlink_metadata(ground.path().join(name)).expect("it is there");
    let kind = if metadata.is_dir() { "directory" } else { "file" };
    let mtime = json!([metadata.mtime(), metadata.mtime_nsec()]);
    json!({"path": path, "kind": kind, "bytes": metadata.len(), "mtime": mtime})
}

#[test]
fn a_record_takes_nothing_back_outside_of_its_target() {
    let Some(undo) = Undo::new() else { return };
    let ground = &undo.ground;
    let outside = ground.path().join("victim/keep");
    let created: Vec<_> = [
        ("../../victim/keep", "victim/keep"),
        ("a/../../../victim/keep", "victim/keep"),
        (outside.to_str().expect("a text"), "victim/keep"),
        ("a/inner/kept", "victim/inner/kept"),
        ("/", "victim"),
        ("..", "disk"),
        (".", "disk"),
        ("", "disk"),
    ]
    .map(|(path, name)| created(ground, path, name))
    .into();
    let directory = |path: &str| {
        json!({"path": path, "mode": 0o777, "uid": 1, "gid": 1, "mtime": [0, 0],
               "xattrs": [["user.x", "y"]]})
    };
    let paths = ["..", ".", "../..", "../../victim", "a", "a/inner", "/", "b/..", "a/../.."];
    let directories: Vec<_> = paths.map(directory).into();
    let text = record(&ground.root(), &created, &directories).to_string();
    undo.put("1.json", text.as_bytes());
    let outcome = undo.run(&["--yes"]);
    assert_eq!(outcome.code, 3, "{}", outcome.error());
    // The directory above the target, too, is as it was: this one is on the disk.
    let mode = fs::metadata(ground.path().join("disk")).expect("it is there").permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o700);
}

#[test]
fn what_stands_in_the_place_of_a_record_leads_nowhere_and_holds_nobody_up() {
    let Some(undo) = Undo::new() else { return };
    let keep = undo.ground.path().join("victim/keep");
    let (place, none) = (undo.place("1.json"), ["no record", "rollbacks"]);
    symlink(&keep, &place).expect("a symlink");
    undo.run(&["--yes"]).fails(1, &none);
    fs::remove_file(&place).expect("it is there");
    run_tool("mkfifo", [&place]);
    undo.run(&["--yes"]).fails(1, &none);
    fs::remove_file(&place).expect("it is there");
    fs::create_dir(&place).expect("nothing is there");
    undo.run(&["--yes"]).fails(1, &none);
    fs::remove_dir(&place).expect("it is there");
    let sparse = fs::File::create(&place).expect("nothing is there");
    sparse.set_len(1 << 40).expect("it can be sparse");
    undo.run(&["--yes"]).fails(1, &none);
    let words = args!["restore", "--undo", "--yes"];
    bounded(&undo.fixture.repo, &words, Ends::ByItself, false, &undo.ground.path());
    undo.put("1.json", "[".repeat(1 << 20).as_bytes());
    undo.run(&["--yes"]).fails(1, &none);
    // What is written when it was taken back, through no symlink that lies ready.
    let text = record(&undo.ground.root(), &[], &[]).to_string();
    undo.put("1.json", text.as_bytes());
    let before = fs::read(&place).expect("it is there");
    for name in ["1.json.tmp", "1.tmp", "1.json.new", "1.new"] {
        symlink(&keep, undo.place(name)).expect("a symlink");
    }
    undo.run(&["--yes"]).expect(0);
    assert_ne!(fs::read(&place).expect("it is there"), before);
    // The directory of records itself, elsewhere.
    let rollbacks = undo.fixture.repo.path().join("rollbacks");
    fs::remove_dir_all(&rollbacks).expect("it is there");
    symlink(undo.ground.path().join("victim"), &rollbacks).expect("a symlink");
    let root = undo.ground.root();
    let words = args!["restore", &undo.fixture.id, "--in-place", root, "--yes"];
    undo.fixture.repo.run(words).fails(14, &["rollbacks", "symbolic link"]);
    undo.ground.is_untouched("restore --in-place");
}

#[test]
fn texts_of_a_record_steer_no_terminal() {
    let Some(undo) = Undo::new() else { return };
    let steering = || json!(STEERING);
    let mut whole = record(&undo.ground.root(), &[], &[]);
    whole["created"] = json!([{"path": STEERING, "kind": STEERING, "bytes": 1, "mtime": [0, 0]}]);
    for field in ["time", "restored", "rollback", "target"] {
        whole[field] = steering();
        undo.put("1.json", whole.to_string().as_bytes());
        for words in [&["-n"][..], &["-n", "--json"], &[], &["--yes"]] {
            let outcome = undo.run(words);
            assert!(matches!(outcome.code, 0 | 1 | 14), "{field}: {}", outcome.error());
        }
    }
    whole["undone"] = steering();
    let file = undo.place("1.json");
    undo.put("1.json", whole.to_string().as_bytes());
    undo.run(&[file.to_str().expect("a text")]).fails(14, &["taken back already"]);
}
