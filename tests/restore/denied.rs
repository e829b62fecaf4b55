//! A restore by somebody who is not root.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::place::COPY;
use crate::support::args;
use crate::support::command::{Outcome, icecore, run, run_tool};
use crate::support::compare::assert_same;
use crate::support::encrypt::init_words;
use crate::support::generate::{directory, file, mode};
use crate::support::need::require_root;
use crate::support::repo::count_of;
use crate::support::scratch::Scratch;

const NOBODY: u32 = 65534;

/// A repository of a user who is not root, with a copy of the program.
struct User {
    scratch: Scratch,
    home: PathBuf,
    program: PathBuf,
}

impl User {
    fn new() -> Option<Self> {
        if !require_root("becoming another user") {
            return None;
        }
        let scratch = Scratch::new();
        let (home, program) = (scratch.mkdir("home"), scratch.join("program"));
        std::fs::copy(icecore(), &program).expect("the program can be copied");
        Some(Self { scratch, home, program })
    }

    /// Gives the user's home to the user, and makes a repository of it.
    fn begin(&self) {
        run_tool("chown", args!["-R", "65534:65534", &self.home]);
        self.run(init_words()).expect(0);
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("-r").arg(self.home.join("repo")).current_dir(&self.home);
        command.env("HOME", &self.home).uid(NOBODY).gid(NOBODY);
        command
    }

    fn run(&self, arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Outcome {
        run(self.command().args(arguments))
    }

    fn restore(&self, options: &[&str], code: i32) -> Value {
        let arguments = args!["restore", "latest:source", "target", "--json"];
        let outcome = run(self.command().args(arguments).args(options));
        outcome.expect(code).last_json_line()
    }
}

#[test]
fn owners_are_not_attempted_and_devices_are_listed() {
    let Some(user) = User::new() else { return };
    let source = user.home.join("source");
    file(&directory(&source).join("file"), b"x");
    file(&directory(&source.join("closed")).join("inside"), b"y");
    mode(&source.join("closed"), 0o500);
    user.begin();
    user.run(["create", "source"]).expect(0);
    let summary = user.restore(&[], 0);
    assert_eq!(count_of(&summary, "files_created"), 2, "{summary}");
    assert_same(&source, &user.home.join("target"), COPY);
    // A directory that its owner may not write to is opened for a while.
    std::fs::remove_file(user.home.join("target/closed/inside")).expect("root may");
    user.restore(&["--yes"], 0);
    assert_same(&source, &user.home.join("target"), COPY);
    let status = std::fs::metadata(user.home.join("target/file")).expect("it is there");
    assert_eq!((status.uid(), status.gid()), (NOBODY, NOBODY));
}

#[test]
fn files_of_others_come_as_ones_own_and_what_only_root_may_is_listed() {
    let Some(user) = User::new() else { return };
    let source = user.home.join("source");
    file(&directory(&source).join("file"), b"x");
    crate::support::generate::special(
        &source.join("device"),
        rustix::fs::FileType::CharacterDevice,
        (1, 3),
    );
    crate::support::generate::xattr(&source.join("file"), "trusted.t", b"1");
    run_tool("chown", args!["-R", "0:0", &source]);
    let repo = user.home.join("repo");
    run(Command::new(icecore()).arg("-r").arg(&repo).args(init_words())).expect(0);
    let mut create = Command::new(icecore());
    create.arg("-r").arg(&repo).args(["create", "source"]).current_dir(&user.home);
    run(&mut create).expect(0);
    run_tool("chown", args!["-R", "65534:65534", &user.home]);
    let summary = user.restore(&[], 3);
    assert_eq!(count_of(&summary, "problems"), 1, "{summary}");
    assert!(summary["messages"][0].to_string().contains("device"), "{summary}");
    assert!(summary["notes"][0].to_string().contains("root alone"), "{summary}");
    let status = std::fs::metadata(user.home.join("target/file")).expect("it is there");
    assert_eq!(status.uid(), NOBODY);
    drop(user.scratch);
}

#[test]
fn a_target_of_somebody_else_gets_what_may_be_written_there() {
    let Some(user) = User::new() else { return };
    file(&directory(&user.home.join("source")).join("file"), b"x");
    user.begin();
    user.run(["create", "source"]).expect(0);
    let shared = user.scratch.mkdir("shared");
    mode(&shared, 0o1777);
    user.run(args!["restore", "latest:source", &shared]).expect(0);
    assert!(shared.join("file").exists());
    let closed = user.scratch.mkdir("closed");
    user.run(args!["restore", "latest:source", &closed]).fails(1, &["permission denied"]);
}
