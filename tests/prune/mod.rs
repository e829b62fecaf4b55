//! Removing snapshots by policy and by hand, and keeping them: `prune`, `tag`,
//! `delete`, `undelete`.

mod delete;
mod rules;
mod tag;
mod undelete;

use std::path::PathBuf;
use std::process::Command;

use crate::support::command::{Outcome, icecore, run};
use crate::support::generate::file;
use crate::support::repo::{Repo, id_of};
use crate::support::scratch::Scratch;

/// A repository with snapshots of some age.
struct Past {
    scratch: Scratch,
    source: PathBuf,
    repo: Repo,
}

impl Past {
    /// Makes one without snapshots.
    fn new() -> Self {
        let scratch = Scratch::new();
        let source = scratch.mkdir("source");
        Self { scratch, source, repo: Repo::new() }
    }

    /// Takes snapshots as if at these times; each has a content of its own.
    #[track_caller]
    fn of(times: &[&str]) -> (Self, Vec<String>) {
        let past = Self::new();
        let ids = times.iter().map(|time| past.take(time, &[])).collect();
        (past, ids)
    }

    /// Takes a snapshot as if at `time`, of the host `web` unless options say so.
    #[track_caller]
    fn take(&self, time: &str, options: &[&str]) -> String {
        file(&self.source.join("file"), time.as_bytes());
        let source = self.source.to_str().expect("test paths are texts");
        let mut arguments = vec!["--time", time, source];
        arguments.extend(options);
        if !options.contains(&"--host") {
            arguments.extend(["--host", "web"]);
        }
        id_of(&self.repo.create_json(arguments, 0))
    }

    /// A command line that runs a command on a terminal of 60 columns.
    fn terminal_line(&self, arguments: &str) -> String {
        let repo = self.repo.path().display();
        format!("stty cols 60 -echo; exec {} -r {repo} {arguments}", icecore())
    }

    /// Runs a command on such a terminal and gives it an answer.
    fn on_a_terminal(&self, arguments: &str, answer: &str) -> Outcome {
        let line = self.terminal_line(arguments);
        let mut shell = Command::new("sh");
        let piped = "printf '%s\\n' \"$1\" | script -qec \"$2\" /dev/null";
        run(shell.args(["-c", piped, "sh", answer, &line]).env("TZ", "UTC"))
    }
}

/// The ids in a list of a JSON document.
fn ids_in(document: &serde_json::Value, field: &str) -> Vec<String> {
    let list = document[field].as_array().unwrap_or_else(|| panic!("no {field} in {document}"));
    list.iter().map(|id| id.as_str().expect("ids are texts").to_owned()).collect()
}
