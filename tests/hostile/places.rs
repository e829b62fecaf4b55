//! Repositories in which something leads elsewhere, and those that others may
//! look into.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::command::{Outcome, run, run_tool};
use crate::support::fixture::Fixture;
use crate::support::need::require_root;
use crate::support::repo::Repo;
use crate::support::scratch::Scratch;
use crate::support::{args, encrypt};

use super::configs::encrypted;
use super::run::steers;

/// Files that nobody may touch, in a directory that others point to.
struct Outside {
    scratch: Scratch,
}

impl Outside {
    fn new() -> Self {
        let scratch = Scratch::new();
        for name in ["victim", "old.lease", "segment-000001.json", "000001.sst"] {
            fs::write(scratch.join(name), "keep me").expect("it can be written");
        }
        Self { scratch }
    }

    fn file(&self) -> PathBuf {
        self.scratch.join("victim")
    }

    #[track_caller]
    fn is_untouched(&self, what: &str) {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.scratch.path()).expect("it is there").flatten() {
            let path = entry.path();
            assert_eq!(fs::read(&path).expect("it is there"), b"keep me", "{what}: {path:?}");
            let mode = fs::metadata(&path).expect("it is there").mode() & 0o777;
            assert_ne!(mode, 0o400, "{what}: {path:?} was sealed");
            names.push(entry.file_name());
        }
        assert_eq!(names.len(), 4, "{what}: {names:?}");
    }
}

/// Commands that write something somewhere, and a few that only read.
fn commands(fixture: &Fixture) -> Vec<Vec<std::ffi::OsString>> {
    vec![
        args!["list"].to_vec(),
        args!["cat", format!("{}:nothing", fixture.id)].to_vec(),
        args!["check", "--read-data-subset", "1%"].to_vec(),
        args!["create", &fixture.source].to_vec(),
        args!["tag", "--add", "x", &fixture.id].to_vec(),
        args!["prune", "--keep-last", "9", "--yes"].to_vec(),
        args!["gc"].to_vec(),
        args!["repair", "--yes"].to_vec(),
        args!["log", "prune", "--keep-last", "0", "--yes"].to_vec(),
        args!["log"].to_vec(),
    ]
}

/// Puts something in the place of a part of a repository, runs every command, and
/// looks whether anything outside was touched.
fn replaced(place: &str, put: impl Fn(&Path, &Outside)) {
    let fixture = Fixture::plain();
    for command in commands(&fixture) {
        let outside = Outside::new();
        let scratch = Scratch::new();
        let copy = Repo::copy_of(&fixture.repo, &scratch.join("repo"));
        let path = copy.path().join(place);
        if path.is_dir() {
            fs::remove_dir_all(&path).expect("it can be removed");
        } else if path.exists() {
            fs::remove_file(&path).expect("it can be removed");
        }
        put(&path, &outside);
        let outcome = run(Command::new("timeout").arg("60").args(whole(&copy, &command)));
        let what = format!("{place}: {command:?}");
        assert!(outcome.code < 124, "{what}: {} {}", outcome.code, outcome.error());
        assert!(!outcome.error().contains("panicked"), "{what}: {}", outcome.error());
        let says_why = !outcome.error().is_empty() || !outcome.stdout.is_empty();
        assert!(outcome.code == 0 || says_why, "{what}: {}", outcome.code);
        let steering = [&outcome.stdout[..], outcome.error().as_bytes()].map(steers);
        assert_eq!(steering, [None, None], "{what}");
        outside.is_untouched(&what);
    }
}

fn whole(repo: &Repo, words: &[std::ffi::OsString]) -> Vec<std::ffi::OsString> {
    let command = repo.command(words);
    let program = std::iter::once(command.get_program());
    program.chain(command.get_args()).map(OsStr::to_owned).collect()
}

#[test]
fn symlinks_in_the_place_of_files_of_a_repository_are_not_followed() {
    for place in ["config", "lock", "leases/gate", "log/lock", "log/segment-000001.json"] {
        replaced(place, |path, outside| symlink(outside.file(), path).expect("a symlink"));
    }
    for place in ["reserve", "check-position", "log/anchor.json", "log/anchor.tmp", "tmp/config"] {
        replaced(place, |path, outside| symlink(outside.file(), path).expect("a symlink"));
    }
    for place in ["leases/1-0.lease", "leases/\u{1b}[2J\u{202e}.lease"] {
        replaced(place, |path, outside| symlink(outside.file(), path).expect("a symlink"));
    }
}

#[test]
fn directories_in_the_place_of_files_are_refused_or_left_alone() {
    for place in ["config", "lock", "leases/gate", "leases/1-0.lease", "log/segment-000001.json"] {
        replaced(place, |path, _| fs::create_dir(path).expect("a directory"));
    }
    for place in ["reserve", "check-position", "log/lock", "log/anchor.json", "db/CURRENT"] {
        replaced(place, |path, _| {
            fs::create_dir_all(path.join("inner")).expect("a directory");
            fs::write(path.join("inner/file"), "x").expect("a file");
        });
    }
}

#[test]
fn symlinks_in_the_place_of_directories_of_a_repository_are_refused() {
    for place in ["tmp", "leases", "log", "db", "rollbacks"] {
        replaced(place, |path, outside| {
            symlink(outside.scratch.path(), path).expect("a symlink");
        });
    }
    // Never to anything but a scratch directory: a program without the check empties it.
    let (fixture, outside) = (Fixture::plain(), Outside::new());
    let tmp = fixture.repo.path().join("tmp");
    fs::remove_dir(&tmp).expect("it is empty");
    symlink(outside.scratch.path(), &tmp).expect("a symlink");
    fixture.repo.run(["gc"]).fails(14, &["/tmp\"", "symbolic link"]);
    outside.is_untouched("gc");
}

#[test]
fn symlinks_among_the_files_of_the_store_are_refused() {
    // The names that the engine makes next: each would be written through.
    for name in ["CURRENT", "LOG", "LOCK", "IDENTITY", "000099.sst", "MANIFEST-000099"] {
        replaced(&format!("db/{name}"), |path, outside| {
            symlink(outside.file(), path).expect("a symlink");
        });
    }
    let (fixture, outside) = (Fixture::plain(), Outside::new());
    symlink(outside.file(), fixture.repo.path().join("db/000999.log")).expect("a symlink");
    for command in commands(&fixture).into_iter().take(8) {
        fixture.repo.run(command).fails(14, &["000999.log", "symbolic link"]);
    }
    // A repair whose new store was ready goes on with that.
    let (fixture, outside) = (Fixture::plain(), Outside::new());
    let rebuilt = fixture.repo.path().join("db.rebuilt");
    fs::rename(fixture.repo.path().join("db"), &rebuilt).expect("it is there");
    symlink(outside.file(), rebuilt.join("000999.log")).expect("a symlink");
    fixture.repo.run(["repair", "--yes"]).fails(14, &["000999.log", "symbolic link"]);
    fs::remove_dir_all(&rebuilt).expect("it is there");
    symlink(outside.scratch.path(), &rebuilt).expect("a symlink");
    fixture.repo.run(["repair", "--yes"]).fails(14, &["db.rebuilt", "symbolic link"]);
    outside.is_untouched("repair");
}

#[test]
fn named_pipes_in_the_place_of_files_hold_nobody_up() {
    for place in ["config", "lock", "leases/gate", "log/segment-000001.json", "check-position"] {
        replaced(place, |path, _| drop(run_tool("mkfifo", [path])));
    }
    for place in ["db/CURRENT", "db/LOG", "leases/1-0.lease", "reserve"] {
        replaced(place, |path, _| drop(run_tool("mkfifo", [path])));
    }
}

#[test]
fn files_of_any_size_in_the_place_of_small_ones_take_no_memory() {
    let small = ["config", "check-position", "lock", "leases/1-0.lease", "log/anchor.json"];
    for place in small.into_iter().chain(["db/CURRENT", "db/IDENTITY"]) {
        replaced(place, |path, _| {
            fs::File::create(path).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
        });
    }
}

/// Puts something in the place of `keys`, or beside the key file in it, and runs every
/// command on keys. Returns what each ended with.
fn with_keys(place: &str, put: impl Fn(&Path, &Outside)) -> Vec<(String, Outcome)> {
    let (honest, scratch) = (encrypted(), Scratch::new());
    let password = [("ICECORE_PASSWORD", encrypt::PASSWORD)];
    let run_on = |repo: &Repo, words: &[&str]| {
        let words: Vec<_> = words.iter().map(Into::into).collect();
        run(Command::new("timeout").arg("60").args(whole(repo, &words)).envs(password))
    };
    let paper = scratch.join("paper");
    let printed = run_on(&honest, &["key", "export", "-q"]).expect(0).stdout;
    fs::write(&paper, printed).expect("it can be written");
    let new = ["--new-password-file", paper.to_str().expect("it is text"), "--kdf-memory", "1MiB"];
    let import = ["key", "import", new[1]];
    let mut ends = Vec::new();
    for words in [
        &["key", "list"][..],
        &["list"],
        &["gc"],
        &["repair", "--yes"],
        &[&["key", "add"][..], &new].concat(),
        &[&["key", "change"][..], &new].concat(),
        &[&import[..], &new].concat(),
        &["key", "export"],
        &["key", "remove", "strange", "--yes"],
    ] {
        let outside = Outside::new();
        let copy = Repo::copy_of(&honest, &scratch.join("repo"));
        let path = copy.path().join(place);
        if path.is_dir() {
            fs::remove_dir_all(&path).expect("it can be removed");
        }
        put(&path, &outside);
        let outcome = run_on(&copy, words);
        let what = format!("{place}: {words:?}");
        assert!(!outcome.error().contains("panicked"), "{what}: {}", outcome.error());
        assert!(!outcome.error().contains("keep me"), "{what}: {}", outcome.error());
        outside.is_untouched(&what);
        fs::remove_dir_all(copy.path()).expect("it can be removed");
        ends.push((what, outcome));
    }
    ends
}

#[test]
fn keys_that_lie_elsewhere_are_refused_by_all_commands() {
    let pipe = |path: &Path, _: &Outside| drop(run_tool("mkfifo", [path]));
    let link = |path: &Path, outside: &Outside| {
        symlink(outside.scratch.path(), path).expect("a symlink");
    };
    for (what, outcome) in with_keys("keys", link) {
        let told = outcome.fails(14, &["/keys\"", "symbolic link"]);
        assert!(told.contains("may lead elsewhere"), "{what}: {told}");
    }
    for (_, outcome) in with_keys("keys", pipe) {
        outcome.fails(14, &["/keys\"", "named pipe"]);
    }
    let file = |path: &Path, _: &Outside| fs::write(path, "").expect("a file");
    for (what, outcome) in with_keys("keys", file) {
        assert!(matches!(outcome.code, 1 | 12), "{what}: {}", outcome.error());
    }
}

#[test]
fn whatever_stands_beside_a_key_file_leads_nowhere_holds_nobody_up_and_is_not_quoted() {
    type Put = fn(&Path, &Outside);
    let puts: [(&str, Put); 6] = [
        ("symbolic link", |path, outside| symlink(outside.file(), path).expect("a symlink")),
        ("symbolic link", |path, _| symlink("/dev/zero", path).expect("a symlink")),
        ("no regular file", |path, _| drop(run_tool("mkfifo", [path]))),
        ("no regular file", |path, _| fs::create_dir(path).expect("a directory")),
        ("far too large", |path, _| {
            fs::File::create(path).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
        }),
        ("makes no sense", |path, _| {
            fs::write(path, "version = \"keep me\"").expect("a file");
        }),
    ];
    for (word, put) in puts {
        for (what, outcome) in with_keys("keys/strange", put) {
            let is_list = what.contains("\"key\", \"list\"");
            let removes_directory = what.contains("remove") && word == "no regular file";
            if is_list {
                outcome.ends(1, &["keys/strange", word]);
            } else if !removes_directory {
                assert_eq!(outcome.code, 0, "{what}: {}", outcome.error());
            }
        }
    }
    // What is being made is never written through a link that waits there.
    let waits = |path: &Path, outside: &Outside| symlink(outside.file(), path).expect("a symlink");
    for (what, outcome) in with_keys("keys/strange.1.new", waits) {
        assert!(outcome.code == 0 || what.contains("remove"), "{what}: {}", outcome.error());
    }
}

/// Every path in a repository with its mode.
fn modes(path: &Path, found: &mut Vec<(PathBuf, u32)>) {
    for entry in fs::read_dir(path).expect("it can be listed").flatten() {
        let metadata = entry.metadata().expect("it is there");
        found.push((entry.path(), metadata.mode() & 0o7777));
        if metadata.is_dir() {
            modes(&entry.path(), found);
        }
    }
}

#[test]
fn whatever_the_umask_a_repository_and_all_its_files_are_private() {
    let scratch = Scratch::new();
    let source = scratch.mkdir("source");
    for number in 0..50 {
        fs::write(source.join(format!("{number}")), vec![number; 30_000]).expect("it is written");
    }
    let repo = Repo::missing();
    for words in [
        args!["init"].to_vec(),
        args!["create", &source].to_vec(),
        args!["create", &source, "/etc/hostname"].to_vec(),
        args!["check", "--read-data-subset", "50%"].to_vec(),
        args!["delete", "latest", "--yes"].to_vec(),
        args!["gc", "--max-unused", "0"].to_vec(),
        args!["repair", "--yes"].to_vec(),
    ] {
        with_umask("000", &repo, &words);
    }
    let mut found = vec![(repo.path().to_owned(), mode_of(repo.path()))];
    modes(repo.path(), &mut found);
    assert!(found.len() > 15, "{found:?}");
    for (path, mode) in found {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        let sealed = path.starts_with(repo.path().join("log")) && mode == 0o400;
        assert!(mode == expected || sealed, "{path:?} has mode {mode:o}");
    }
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").mode() & 0o7777
}

/// Runs a command under a umask.
fn with_umask(umask: &str, repo: &Repo, words: &[std::ffi::OsString]) {
    let script = format!("umask {umask}; exec \"$@\"");
    let shell = args!["-c", script, "sh"].into_iter().chain(whole(repo, words));
    run(Command::new("sh").args(shell)).expect(0);
}

#[test]
fn programs_that_are_run_for_the_user_have_the_umask_of_the_user() {
    let fixture = Fixture::plain();
    let made = fixture.scratch.join("made");
    let script = format!("echo x; : > {}", made.display());
    let words = args!["create", "--from-command", "--", "sh", "-c", script];
    with_umask("022", &fixture.repo, &words);
    assert_eq!(mode_of(&made), 0o644);
}

#[test]
fn a_repository_that_others_may_enter_is_reported_in_one_line() {
    let fixture = Fixture::plain();
    for (mode, word) in [(0o755, "look into"), (0o750, "look into"), (0o770, "change")] {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(fixture.repo.path(), permissions).expect("its mode can be set");
        for command in [args!["gc"].to_vec(), args!["check"].to_vec()] {
            let error = fixture.repo.ok(&command).error();
            let told: Vec<&str> = error.lines().filter(|line| line.contains("chmod 700")).collect();
            assert_eq!(told.len(), 1, "{command:?} of {mode:o}: {error}");
            assert!(told[0].contains(word), "{error}");
        }
    }
    let private = fs::Permissions::from_mode(0o700);
    fs::set_permissions(fixture.repo.path(), private).expect("its mode can be set");
    assert!(!fixture.repo.ok(["check"]).error().contains("chmod"));
}

#[test]
fn somebody_else_finds_nothing_of_a_repository() {
    if !require_root("acting as another user") {
        return;
    }
    let fixture = Fixture::plain();
    let other = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let words = whole(&fixture.repo, &args!["list"]);
    let outcome = run(Command::new("setpriv").args(other).args(words));
    outcome.fails(1, &["permission denied"]);
}
