//! Archives: `dump`, `export` and `import`, with the tools that others have.

mod crash;
mod damage;
mod directory;
mod dump;
mod event_log;
mod export;
mod foreign;
pub(crate) mod hostile;
mod import;
mod scale;
mod tools;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::compare::Rules;
use crate::support::encrypt::is_encrypted;
use crate::support::repo::Repo;
use crate::support::{args, command::run_tool};

/// What was unpacked lies on a real file system, and tar holds no sockets.
const UNPACKED: Rules = Rules { blocks: false, sockets: false, ..Rules::ALL };

/// Exports a snapshot into a directory and returns what `--json` says of it.
#[track_caller]
fn export(repo: &Repo, name: &str, directory: &Path) -> Value {
    repo.ok(args!["export", "--json", name, directory]).last_json_line()
}

/// A path in what `--json` says.
#[track_caller]
fn path_in(facts: &Value, field: &str) -> PathBuf {
    PathBuf::from(facts[field].as_str().unwrap_or_else(|| panic!("no {field} in {facts}")))
}

/// Unpacks with GNU tar, with everything that it can keep.
#[track_caller]
fn untar(archive: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a directory can be made");
    let keep = ["--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-p"];
    let mut command = args!["-x", "-f", archive, "-C", to].to_vec();
    command.extend(keep.map(Into::into));
    run_tool("tar", command);
}

/// The root tree of a snapshot; in an encrypted repository, whose key names trees, all
/// that is said of it.
#[track_caller]
fn root_of(repo: &Repo, id: &str) -> String {
    if is_encrypted(repo.path()) {
        return repo.ok(["ls", "-R", "--json", id]).text();
    }
    let facts = repo.ok(["show", "--json", id]).json();
    facts["root"].as_str().expect("a snapshot has a root").to_owned()
}
