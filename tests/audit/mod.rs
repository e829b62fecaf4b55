//! The audit log: every operation is in it, its chain is proved, and whatever
//! happens to it, the commands go on.

mod chain;
mod events;
mod loss;

use std::path::PathBuf;

use serde_json::Value;

use crate::support::args;
use crate::support::repo::Repo;

/// The events of a repository, oldest first.
#[track_caller]
fn events(repo: &Repo) -> Vec<Value> {
    let text = repo.ok(["log", "--json"]).text();
    text.lines().map(|line| serde_json::from_str(line).expect("a line is an event")).collect()
}

/// The types of the events, without `backup.`.
#[track_caller]
fn types(repo: &Repo) -> Vec<String> {
    let name = |event: &Value| event["type"].as_str().expect("it has a type").to_owned();
    let short = |name: String| name.strip_prefix("backup.").expect("it is ours").to_owned();
    events(repo).iter().map(name).map(short).collect()
}

/// What a proof of the chain says.
#[track_caller]
fn proof(repo: &Repo) -> Value {
    let proof = repo.ok(["log", "verify", "--json"]).json();
    assert_eq!((&proof["valid"], &proof["broken"]), (&Value::Bool(true), &Value::Null));
    proof
}

fn segment(repo: &Repo, number: u64) -> PathBuf {
    repo.path().join(format!("log/segment-{number:06}.json"))
}

/// Reads a file of the newest snapshot: an event of little work.
fn read(repo: &Repo, file: &std::path::Path) -> crate::support::command::Outcome {
    let mut named = std::ffi::OsString::from("latest:");
    named.push(file);
    repo.run(args!["cat", named])
}
