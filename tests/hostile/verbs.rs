//! The commands that every hostile repository is put through: one line each.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::mount::Mount;
use crate::support::need::require_fuse;

use super::forge::{Forge, GOOD};
use super::ground::Ground;
use super::run::{Ends, MEMORY_MAX_KIB, bounded, peak_kib, steers};

/// Each command, and whether it has to end by itself. `{id}` is a forged
/// snapshot, `{path}` a file in it, `{good}` the honest snapshot, `{source}` a
/// directory to save, `{out}` an empty directory on a small disk, and `{root}` one
/// on it in which all names lead elsewhere. `ICECORE_TEST_VERBS` adds more, with
/// semicolons between them.
const READING: [(&str, Ends); 46] = [
    ("list", Ends::ByItself),
    ("list --json", Ends::ByItself),
    ("list --group-by host,sources,tags", Ends::ByItself),
    ("show {id}", Ends::ByItself),
    ("show --json {id}", Ends::ByItself),
    ("ls {id}", Ends::ByItself),
    ("ls -l {id}", Ends::ByItself),
    ("ls -lR {id}", Ends::Interrupted),
    ("ls --json -R {id}", Ends::Interrupted),
    ("tree -L 3 {id}", Ends::ByItself),
    ("tree {id}", Ends::Interrupted),
    ("cat {id}:{path}", Ends::Interrupted),
    ("find *e", Ends::Interrupted),
    ("find --json --long --type f,l", Ends::Interrupted),
    ("versions {path}", Ends::ByItself),
    ("versions --json /", Ends::ByItself),
    ("stats", Ends::ByItself),
    ("stats --json {id}", Ends::ByItself),
    ("stats --unique", Ends::ByItself),
    ("stats --growth", Ends::ByItself),
    ("diff {good} {id}", Ends::Interrupted),
    ("diff --content --no-renames {id} {good}", Ends::Interrupted),
    ("diff --stat {good} {id}", Ends::Interrupted),
    ("diff --json --checksum {id} ./source", Ends::Interrupted),
    ("manifest {id}", Ends::Interrupted),
    ("manifest --json {id}:{path}", Ends::Interrupted),
    ("dump {id}:{path}", Ends::Interrupted),
    ("dump --archive tar {id}", Ends::Interrupted),
    ("dump {id} --output {out}/a.tar.zst", Ends::Interrupted),
    ("dump {id} --output {out}/a.zip", Ends::Interrupted),
    ("export {id} {out}", Ends::Interrupted),
    ("export --json --format tar.zst --name x {id} {out}", Ends::Interrupted),
    ("export --event-log {out}", Ends::ByItself),
    ("restore {id} {out}", Ends::Interrupted),
    ("restore -n {id} {out}", Ends::Interrupted),
    ("restore --json --sparse --verify {id} {out}/new", Ends::Interrupted),
    ("restore {id}:{path} {out}", Ends::Interrupted),
    ("restore {id} --in-place {root} --yes --no-rollback", Ends::Interrupted),
    ("restore {id} {root} --yes --delete --checksum --owner", Ends::Interrupted),
    ("restore {id} {root} --overwrite always --strip-components 1", Ends::Interrupted),
    ("log", Ends::ByItself),
    ("log --json", Ends::ByItself),
    ("log verify", Ends::ByItself),
    ("check", Ends::ByItself),
    ("check --read-data", Ends::ByItself),
    ("repair -n", Ends::ByItself),
];
const WRITING: [(&str, Ends); 9] = [
    ("restore {id} --in-place {root} --yes", Ends::Interrupted),
    ("create {source}", Ends::ByItself),
    ("tag --add new {id}", Ends::ByItself),
    ("prune --keep-last 1000 --yes", Ends::ByItself),
    ("delete {id} --yes", Ends::ByItself),
    ("undelete --all", Ends::ByItself),
    ("gc --max-unused 0", Ends::ByItself),
    ("delete {id} --yes", Ends::ByItself),
    ("gc", Ends::ByItself),
];
/// Names that a walk of a mount looks at in all.
const WALK_ENTRIES: usize = 3000;
/// How long it goes on at most.
const WALK_TIME: Duration = Duration::from_secs(10);
/// How deep it goes: a path that a program may say.
const WALK_DEPTH: usize = 400;

/// What is known of a hostile repository.
pub(super) struct Case {
    /// A forged snapshot.
    pub(super) id: String,
    /// A file in it.
    pub(super) path: &'static str,
    /// What `check` has to end with.
    pub(super) check: i32,
    /// The same for one that reads all content.
    pub(super) check_data: i32,
    /// Snapshots between which the mount looks for changes, in turn with `id`.
    pub(super) others: Vec<String>,
    /// What walks over all of it have to end with, if it is small enough that they end by
    /// themselves.
    pub(super) walk: Option<i32>,
}

impl Case {
    pub(super) fn new(id: String, check: i32) -> Self {
        Self { id, path: "file", check, check_data: check, others: Vec::new(), walk: None }
    }

    /// Whether a command has to end by itself, and the code if that is known.
    fn judge(&self, verb: &str, ends: Ends) -> (Ends, Option<i32>) {
        if verb.starts_with("check") {
            let reads = verb.contains("--read-data");
            return (ends, Some(if reads { self.check_data } else { self.check }));
        }
        match self.walk.filter(|_| ends == Ends::Interrupted) {
            None => (ends, None),
            // A file in it is sound.
            Some(_) if verb.contains("{path}") => (Ends::ByItself, Some(0)),
            Some(code) => (Ends::ByItself, Some(code)),
        }
    }
}

/// Puts a forged repository through every command, and looks after each whether
/// the honest snapshot is still served.
pub(super) fn survives(build: impl FnOnce(&mut Forge) -> Case) {
    survives_before_writing(build, |_, _| {});
}

/// The same, and looks at more before commands change the repository.
pub(super) fn survives_before_writing(
    build: impl FnOnce(&mut Forge) -> Case,
    look: impl FnOnce(&Forge, &Case),
) {
    let mut forge = Forge::new();
    let case = build(&mut forge);
    forge.finish();
    run_all(&forge, &case, &READING);
    let more = std::env::var("ICECORE_TEST_VERBS").unwrap_or_default();
    let more: Vec<_> = more.split_terminator(';').map(|verb| (verb, Ends::Interrupted)).collect();
    run_all(&forge, &case, &more);
    mounted(&forge, &case);
    look(&forge, &case);
    run_all(&forge, &case, &WRITING);
    forge.repo.ok(["cat", &format!("{}:good", forge.good)]);
}

/// Puts a repository that takes long to walk through a few commands.
pub(super) fn survives_these(verbs: &[(&str, Ends)], build: impl FnOnce(&mut Forge) -> Case) {
    let mut forge = Forge::new();
    let case = build(&mut forge);
    forge.finish();
    run_all(&forge, &case, verbs);
}

fn run_all(forge: &Forge, case: &Case, verbs: &[(&str, Ends)]) {
    for (verb, ends) in verbs {
        let wants_disk = verb.contains("{out}") || verb.contains("{root}");
        let ground = Ground::new(wants_disk);
        if wants_disk && !ground.has_disk() {
            continue;
        }
        let fill = |word: &str| -> OsString {
            let word = word.replace("{id}", &case.id).replace("{path}", case.path);
            let word = word.replace("{good}", &forge.good);
            let place = |word: String, name, path: PathBuf| {
                word.replace(name, path.to_str().expect("a text"))
            };
            let word = place(word, "{out}", ground.out());
            place(place(word, "{root}", ground.root()), "{source}", ground.source()).into()
        };
        let words: Vec<OsString> = verb.split(' ').map(fill).collect();
        let (ends, code) = case.judge(verb, *ends);
        let measured = bounded(&forge.repo, &words, ends, is_content(verb), &ground.path());
        if std::env::var_os("ICECORE_TEST_VERBOSE").is_some() {
            let (error, code) = (measured.error(), measured.code);
            let error: String = error.chars().take(400).collect();
            eprintln!("{verb}: {code} {} KiB {:?} {error}", measured.memory_kib, measured.time);
        }
        ground.is_untouched(verb);
        if let Some(code) = code {
            assert_eq!(measured.code, code, "{verb}: {}", measured.error());
        }
        let good = forge.repo.ok(["cat", &format!("{}:good", forge.good)]);
        assert_eq!(good.text(), GOOD, "after {verb}");
    }
}

/// Whether what a command prints is content that was asked for, or names, which
/// are written byte by byte into a pipe, and escaped on a terminal.
fn is_content(verb: &str) -> bool {
    let printing = ["cat ", "ls ", "tree ", "find ", "diff ", "manifest ", "dump "];
    printing.iter().any(|word| verb.starts_with(word)) || verb.contains("--json")
}

/// Mounts it, walks and reads a part of everything, and looks whether the mount
/// kept its bounds and still serves.
fn mounted(forge: &Forge, case: &Case) {
    if !require_fuse() {
        return;
    }
    let mut mount = Mount::foreground(&forge.repo);
    let until = Instant::now() + WALK_TIME;
    let mut left = WALK_ENTRIES;
    for top in ["", "latest", "by-time", "by-tag", "by-host", &case.id] {
        walk(&mount.point().join(top), WALK_DEPTH, &mut left, until);
        left = left.max(WALK_ENTRIES / 4);
    }
    for other in case.others.iter().chain([&forge.good]) {
        let pair = format!("changes/{}..{}", &other[..12], &case.id[..12]);
        walk(&mount.point().join(pair), 4, &mut left, until + WALK_TIME);
        left = left.max(WALK_ENTRIES / 4);
    }
    let _any =
        std::fs::read_dir(mount.point().join("versions").join(case.path)).map(Iterator::count);
    let good = mount.snapshot(&forge.good).join("good");
    assert_eq!(std::fs::read(good).expect("what is whole is served"), GOOD.as_bytes());
    assert!(mount.is_running(), "the mount ended: {}", mount.log());
    let memory = peak_kib(mount.pid());
    assert!(memory <= MEMORY_MAX_KIB, "the mount took {memory} KiB");
    let log = mount.log();
    assert!(!log.contains("Internal error") && !log.contains("panicked"), "{log}");
    assert_eq!(steers(log.as_bytes()), None, "the mount's log steers the terminal");
    mount.unmount();
}

/// Looks at a place in a mount by every call that reads. What fails may fail.
fn walk(path: &Path, depth: usize, left: &mut usize, until: Instant) {
    if *left == 0 || Instant::now() > until {
        return;
    }
    *left -= 1;
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return };
    let mut buffer = vec![0; 70_000];
    let _names = rustix::fs::llistxattr(path, &mut buffer);
    for name in ["user.icecore.sha256", "security.capability", "system.posix_acl_access"] {
        let _value = rustix::fs::lgetxattr(path, name, &mut buffer);
    }
    if metadata.is_symlink() {
        let _target = std::fs::read_link(path);
    } else if metadata.is_file() {
        read_parts(path, metadata.len(), &mut buffer);
    } else if metadata.is_dir() && depth > 0 {
        let Ok(entries) = std::fs::read_dir(path) else { return };
        for entry in entries.take(200).flatten() {
            walk(&entry.path(), depth - 1, left, until);
        }
    }
}

/// Reads the beginning, the middle and the end of a file.
fn read_parts(path: &Path, size: u64, buffer: &mut [u8]) {
    use std::os::unix::fs::FileExt as _;
    let Ok(file) = std::fs::File::open(path) else { return };
    for offset in [0, size / 2, size.saturating_sub(1000), u64::MAX >> 1] {
        let _some = file.read_at(buffer, offset);
    }
    for whence in [rustix::fs::SeekFrom::Hole(0), rustix::fs::SeekFrom::Data(0)] {
        let _at = rustix::fs::seek(&file, whence);
    }
}

#[test]
fn what_steers_a_terminal_is_known_when_it_is_seen() {
    for bad in ["a\u{1b}[2J", "\u{9b}2J", "\r", "\u{202e}gpj", "\u{7f}", "bell\u{7}"] {
        assert!(steers(bad.as_bytes()).is_some(), "{bad:?}");
    }
    assert_eq!(steers("caf\u{e9}\n\\x1b".as_bytes()), None);
}
