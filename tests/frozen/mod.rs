//! Repositories that earlier versions wrote, encrypted ones among them: each one under
//! `tests/data` is read whole, and a copy of it written to. `scripts/freeze.sh` made
//! them, with a list of what it saved, which no icecore had a part in.

mod expected;
mod reading;
mod writing;

use std::path::{Path, PathBuf};

use crate::support::args;
use crate::support::command::run_tool;
use crate::support::encrypt::is_encrypted;
use crate::support::repo::{Repo, id_of};
use crate::support::scratch::Scratch;

use expected::{Expected, Line};

/// The snapshots that a frozen repository lists, by description, oldest first.
const LISTED: [&str; 4] = ["first", "second", "third", "stream"];

/// A copy of a frozen repository.
struct Frozen {
    name: String,
    repo: Repo,
    expected: Expected,
    _scratch: Scratch,
}

impl Frozen {
    fn unpack(archive: &Path) -> Self {
        let scratch = Scratch::new();
        run_tool("tar", args!["-C", scratch.path(), "--no-same-owner", "-xzf", archive]);
        let directory = scratch.join("frozen");
        let repo = Repo::existing(&directory.join("repository"));
        let expected = Expected::read(&directory.join("expected.jsonl"));
        let name = archive.file_name().expect("a name").to_string_lossy().into_owned();
        Self { name, repo, expected, _scratch: scratch }
    }

    /// The id of a snapshot, listed or deleted.
    fn id(&self, description: &str) -> String {
        let deleted = self.repo.ok(["list", "--deleted", "--json"]).json();
        let deleted = deleted.as_array().expect("a list").clone();
        let all = self.repo.list_json().into_iter().chain(deleted);
        let mut found = all.filter(|snapshot| snapshot["description"] == description);
        let id = found.next().map(|snapshot| id_of(&snapshot));
        id.unwrap_or_else(|| panic!("{}: there is no snapshot {description:?}", self.name))
    }

    /// Reads every regular file of a snapshot, many with each command, and fails
    /// unless all are what was saved.
    fn cat_all(&self, description: &str) {
        let id = self.id(description);
        let lines = self.expected.lines(description);
        let files: Vec<_> = lines.iter().filter(|line| line.kind == "file").collect();
        let many = if is_encrypted(self.repo.path()) { 900 } else { 2600 };
        assert!(files.len() > many, "{}: {} files", self.name, files.len());
        for some in files.chunks(500) {
            let mut command = self.repo.command(["cat"]);
            command.args(some.iter().map(|line| line.in_snapshot(&id)));
            let read = repo_output(&mut command);
            let mut rest = read.as_slice();
            for line in some {
                let size = usize::try_from(line.size).expect("small");
                let (content, behind) = rest.split_at(size.min(rest.len()));
                assert_eq!(line.sha256, expected::sha256(content), "{}: {line:?}", self.name);
                rest = behind;
            }
            assert!(rest.is_empty(), "{}: more than was saved", self.name);
        }
    }

    /// Fails unless every byte is what its id says, and the chain of events whole.
    fn check(&self) {
        let said = self.repo.ok(["check", "--untrusted", "--read-data", "--json"]).last_json_line();
        assert_eq!(said["damages"], serde_json::json!([]), "{}: {said}", self.name);
        self.repo.ok(["log", "verify"]);
    }
}

fn repo_output(command: &mut std::process::Command) -> Vec<u8> {
    crate::support::command::run(command).expect(0).stdout
}

/// Every frozen repository.
fn all() -> Vec<Frozen> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let entries = std::fs::read_dir(&directory).expect("tests/data is there");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    let mut archives: Vec<_> =
        paths.filter(|path| path.to_string_lossy().ends_with(".tar.gz")).collect();
    archives.sort();
    assert!(!archives.is_empty(), "nothing is frozen in {}", directory.display());
    let sealed = archives.iter().filter(|path| path.to_string_lossy().contains("encrypted"));
    assert!(sealed.count() > 0, "nothing encrypted is frozen");
    archives.iter().map(|archive| Frozen::unpack(archive)).collect()
}
