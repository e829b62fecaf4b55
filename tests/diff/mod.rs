//! Comparisons of snapshots with each other and with the running system, and
//! manifests that other tools verify.

mod live;
mod manifest;
mod output;
mod random;
mod trees;

use std::ffi::OsString;
use std::path::Path;

use crate::support::repo::Repo;

/// The lines of `diff --name-status`.
#[track_caller]
fn name_status(repo: &Repo, arguments: &[OsString]) -> Vec<String> {
    let words = [OsString::from("diff"), OsString::from("--name-status")];
    let outcome = repo.ok(words.iter().chain(arguments));
    String::from_utf8_lossy(&outcome.stdout).lines().map(str::to_owned).collect()
}

/// How a snapshot names a path of the running system.
fn inside(snapshot: &str, path: &Path) -> OsString {
    let mut name = OsString::from(format!("{snapshot}:"));
    name.push(path);
    name
}
