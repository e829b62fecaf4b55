//! A `create` by somebody who may not read everything.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::place::summary_of;
use crate::support::args;
use crate::support::command::{Outcome, icecore, run, run_tool};
use crate::support::encrypt::init_words;
use crate::support::generate::{directory, file, mode};
use crate::support::need::is_root;
use crate::support::repo::count_of;
use crate::support::scratch::Scratch;

/// A tree, a repository and a copy of the program for a user who is not root.
struct User {
    _scratch: Scratch,
    source: PathBuf,
    home: PathBuf,
    program: PathBuf,
}

impl User {
    fn new() -> Self {
        let scratch = Scratch::new();
        let (source, home) = (scratch.mkdir("source"), scratch.mkdir("home"));
        file(&source.join("open"), b"kept");
        file(&source.join("secret"), b"not for all");
        file(&directory(&source.join("closed")).join("inside"), b"not for all");
        file(&directory(&source.join("dir")).join("inside"), b"kept too");
        let program = scratch.join("program");
        std::fs::copy(icecore(), &program).expect("the program can be copied");
        let user = Self { _scratch: scratch, source, home, program };
        user.close(0);
        if is_root() {
            run_tool("chown", args!["-R", "65534:65534", &user.home, &user.source]);
        }
        user.run(&init_words()).expect(0);
        user
    }

    /// Sets the mode of what is secret.
    fn close(&self, bits: u32) {
        mode(&self.source.join("secret"), bits);
        mode(&self.source.join("closed"), bits);
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        let mut command = Command::new(&self.program);
        command.arg("-r").arg(self.home.join("repo")).args(arguments);
        command.current_dir(&self.source).env("HOME", &self.home);
        if is_root() {
            command.uid(65534).gid(65534);
        }
        run(&mut command)
    }

    fn create(&self, options: &[&str], code: i32) -> Value {
        let outcome = self.run(&[&["create", "--json"], options, &["."]].concat());
        summary_of(&outcome.expect(code))
    }
}

#[test]
fn what_may_not_be_read_is_named_in_the_summary() {
    let user = User::new();
    for _ in 0..2 {
        let summary = user.create(&[], 3);
        assert_eq!(count_of(&summary, "errors"), 2, "{summary}");
        let said = summary["error_messages"].as_array().expect("an array");
        for name in ["secret", "closed"] {
            let naming = said.iter().filter(|text| text.to_string().contains(name)).count();
            assert_eq!(naming, 1, "{name}: {said:?}");
        }
        assert_eq!(user.run(&["cat", "latest:open"]).expect(0).text(), "kept");
        assert_eq!(user.run(&["cat", "latest:dir/inside"]).expect(0).text(), "kept too");
    }
}

#[test]
fn what_may_be_read_later_is_saved_then() {
    let user = User::new();
    user.create(&[], 3);
    user.close(0o700);
    let summary = user.create(&[], 0);
    assert_eq!(count_of(&summary, "errors"), 0, "{summary}");
    for name in ["secret", "closed/inside"] {
        let printed = user.run(&["cat", &format!("latest:{name}")]).expect(0);
        assert_eq!(printed.text(), "not for all");
    }
    user.close(0);
    user.create(&[], 3);
    user.close(0o700);
    user.create(&[], 0);
    assert_eq!(user.run(&["cat", "latest:secret"]).expect(0).text(), "not for all");
}

#[test]
fn what_is_left_out_is_not_looked_into() {
    let user = User::new();
    let summary = user.create(&["-e", "/closed/", "-e", "secret"], 0);
    assert_eq!(count_of(&summary, "errors"), 0, "{summary}");
    let listed = user.run(&["ls", "--recursive", "latest"]).expect(0).text();
    assert_eq!(listed.lines().collect::<Vec<_>>(), ["dir", "dir/inside", "open"]);
}

#[test]
fn a_source_that_may_not_be_read_at_all_gives_no_empty_success() {
    let user = User::new();
    let outcome = user.run(&["create", "closed"]);
    assert!([1, 3].contains(&outcome.code), "code {}: {}", outcome.code, outcome.error());
    assert!(outcome.error().contains("closed"), "{}", outcome.error());
}

#[test]
fn a_forced_create_of_a_closed_file_loses_no_earlier_snapshot() {
    let user = User::new();
    user.close(0o700);
    user.create(&[], 0);
    user.close(0);
    let summary = user.create(&["--force"], 3);
    assert_eq!(count_of(&summary, "errors"), 2, "{summary}");
    assert_eq!(user.run(&["cat", "latest~1:secret"]).expect(0).text(), "not for all");
}
