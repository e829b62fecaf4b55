//! Hooks of a profile: when they run, what they are told, and what their
//! failure means.

use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::Signal;

use super::place::{Place, summary_of};
use crate::support::command::{Outcome, finish, run};
use crate::support::generate::file;
use crate::support::repo::{id_of, signal};
use crate::support::{args, wait_until};

/// A place with a profile of hooks.
struct Hooks {
    place: Place,
    config: PathBuf,
    log: PathBuf,
}

impl Hooks {
    /// Makes one; each kind of hook logs its name with what it is told, and
    /// does then what is given here.
    fn new(before: &str, success: &str, failure: &str, after: &str) -> Self {
        let place = Place::with(&["a", "dir/b"]);
        let (config, log) = (place.scratch.join("config.toml"), place.scratch.join("log"));
        let mut text = format!("[profiles.home]\nsources = [{:?}]\n", place.source);
        text += "[profiles.home.hooks]\n";
        let kinds =
            [("before", before), ("success", success), ("failure", failure), ("after", after)];
        for (kind, action) in kinds {
            let told = "$ICECORE_PROFILE $ICECORE_REPO $ICECORE_EXIT_CODE $ICECORE_SNAPSHOT";
            let hooks = [
                format!("echo \"{kind}-1 {told}\" >>$LOG; {action}"),
                format!("echo \"{kind}-2 {told}\" >>$LOG"),
            ];
            text += &format!("{kind} = {hooks:?}\n");
        }
        file(&config, text.as_bytes());
        Self { place, config, log }
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.place.command(&args!["--config", &self.config]);
        run(command.args(["--profile", "home"]).args(arguments).env("LOG", &self.log))
    }

    /// What the hooks logged, each line in words.
    fn log(&self) -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
    }

    /// The hooks that ran, in order.
    fn ran(&self) -> Vec<String> {
        self.log().into_iter().map(|line| line[0].clone()).collect()
    }
}

const WHEN_WELL: [&str; 6] =
    ["before-1", "before-2", "success-1", "success-2", "after-1", "after-2"];
const WHEN_ILL: [&str; 6] =
    ["before-1", "before-2", "failure-1", "failure-2", "after-1", "after-2"];

#[test]
fn hooks_run_in_their_order_and_are_told_what_happened() {
    let hooks = Hooks::new("", "", "", "");
    let summary = summary_of(&hooks.run(&["--json"]).expect(0));
    assert_eq!(hooks.ran(), WHEN_WELL);
    let (id, repo) = (id_of(&summary), hooks.place.repo.path().display().to_string());
    for line in hooks.log() {
        let told = [line[1].as_str(), &line[2]];
        assert_eq!(told, ["home", repo.as_str()], "{line:?}");
        if !line[0].starts_with("before") {
            assert_eq!([line[3].as_str(), &line[4]], ["0", id.as_str()], "{line:?}");
        }
    }
}

#[test]
fn before_runs_before_anything_is_read() {
    let hooks = Hooks::new("echo made >made-before", "", "", "");
    hooks.run(&[]).expect(0);
    let path = format!("latest:{}/a", hooks.place.source.display());
    assert_eq!(hooks.place.repo.ok(["cat", &path]).text(), "a");
    let hooks = Hooks::new("echo new >$TREE/a", "", "", "");
    let mut command = hooks.place.command(&args!["--config", &hooks.config, "--profile", "home"]);
    run(command.env("LOG", &hooks.log).env("TREE", &hooks.place.source)).expect(0);
    let path = format!("latest:{}/a", hooks.place.source.display());
    assert_eq!(hooks.place.repo.ok(["cat", &path]).text(), "new\n");
}

#[test]
fn a_snapshot_is_there_when_success_runs() {
    let hooks = Hooks::new("", "test -n \"$ICECORE_SNAPSHOT\" && $PROGRAM show latest", "", "");
    let mut command = hooks.place.command(&args!["--config", &hooks.config, "--profile", "home"]);
    let program = crate::support::command::icecore();
    command.env("LOG", &hooks.log).env("PROGRAM", program);
    run(&mut command).expect(0);
    assert_eq!(hooks.ran(), WHEN_WELL);
}

#[test]
fn a_before_hook_that_fails_ends_it_without_a_snapshot() {
    let hooks = Hooks::new("exit 5", "", "", "");
    let outcome = hooks.run(&[]).expect(1);
    assert!(!outcome.error().is_empty());
    assert_eq!(hooks.place.repo.ids(), [""; 0]);
    let ran = hooks.ran();
    assert_eq!(ran.first().map(String::as_str), Some("before-1"));
    assert!(!ran.contains(&"before-2".to_owned()), "{ran:?}");
    assert!(!ran.iter().any(|hook| hook.starts_with("success")), "{ran:?}");
    assert_eq!(ran[ran.len() - 2..], ["after-1", "after-2"], "before was begun: {ran:?}");
}

#[test]
fn a_failing_create_runs_failure_and_then_after() {
    let hooks = Hooks::new("", "", "", "");
    hooks.run(&["there-is-no-such-source"]).expect(1);
    assert_eq!(hooks.ran(), WHEN_ILL);
    assert_eq!(hooks.place.repo.ids(), [""; 0]);
    for line in hooks.log().into_iter().skip(2) {
        assert_eq!([line[3].as_str(), &line[4]], ["1", ""], "{line:?}");
    }
}

#[test]
fn an_incomplete_create_is_told_as_code_3_with_its_snapshot() {
    let hooks = Hooks::new("", "", "", "");
    let outcome = hooks.run(&["a", "there-is-no-such-source", "--json"]).expect(3);
    let id = id_of(&summary_of(&outcome));
    let log = hooks.log();
    let last = log.last().expect("after ran");
    let told = last[1..].iter().map(String::as_str).skip(2).collect::<Vec<_>>();
    assert_eq!(told, ["3", id.as_str()], "{log:?}");
    assert_eq!(hooks.ran()[4..], ["after-1", "after-2"]);
}

#[test]
fn hooks_after_the_create_that_fail_give_code_1_and_the_snapshot_stays() {
    for which in 0..2 {
        let actions = [("exit 4", ""), ("", "exit 4")][which];
        let hooks = Hooks::new("", actions.0, "", actions.1);
        let outcome = hooks.run(&[]).expect(1);
        assert!(!outcome.error().is_empty());
        assert_eq!(hooks.place.repo.ids().len(), 1, "{actions:?}");
        let ran = hooks.ran();
        assert!(ran.contains(&"after-1".to_owned()), "{ran:?}");
    }
    let hooks = Hooks::new("", "", "", "exit 4");
    hooks.run(&["a", "there-is-no-such-source"]).expect(1);
    assert_eq!(hooks.place.repo.ids().len(), 1);
}

#[test]
fn a_failing_failure_hook_is_reported_and_after_runs() {
    let hooks = Hooks::new("", "", "exit 6", "");
    let outcome = hooks.run(&["there-is-no-such-source"]).expect(1);
    assert!(outcome.error().contains("there-is-no-such-source"), "{}", outcome.error());
    let ran = hooks.ran();
    assert_eq!(ran[ran.len() - 2..], ["after-1", "after-2"], "{ran:?}");
}

#[test]
fn a_hook_that_is_killed_or_not_found_has_failed() {
    for action in ["kill -9 $$", "exec /no/such/program"] {
        let hooks = Hooks::new(action, "", "", "");
        let outcome = hooks.run(&[]).expect(1);
        assert!(!outcome.error().is_empty());
        assert_eq!(hooks.place.repo.ids(), [""; 0], "{action}");
    }
}

#[test]
fn what_hooks_print_does_not_get_between_the_lines_of_json() {
    let print = "echo noise";
    let hooks = Hooks::new(print, print, "", print);
    let outcome = hooks.run(&["--json"]).expect(0);
    for line in outcome.text().lines() {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok(), "{line:?} is no JSON");
    }
    summary_of(&outcome);
}

#[test]
fn hooks_do_not_run_for_a_wrong_command_line() {
    let hooks = Hooks::new("", "", "", "");
    hooks.run(&["--compression", "zstd:99"]).expect(2);
    hooks.run(&["--time", "nonsense"]).expect(2);
    hooks.run(&["--exclude-file", "missing"]).expect(2);
    assert_eq!(hooks.ran(), [""; 0]);
}

#[test]
fn a_bad_pattern_is_refused_before_any_hook_runs() {
    let hooks = Hooks::new("", "", "", "");
    hooks.run(&["-e", "a["]).expect(2);
    assert_eq!(hooks.ran(), [""; 0]);
}

#[test]
fn a_signal_ends_the_create_and_the_hooks_are_told() {
    let hooks = Hooks::new("", "", "", "");
    file(&hooks.place.at("big"), &vec![b'x'; 9 << 20]);
    let mut command = hooks.place.command(&args!["--config", &hooks.config, "--profile", "home"]);
    command.args(["--limit-rate", "1KiB"]).env("LOG", &hooks.log);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("icecore starts");
    wait_until("the hooks before it are done", 20, || hooks.ran().len() == 2);
    std::thread::sleep(std::time::Duration::from_millis(500));
    signal(&child, Signal::TERM);
    let start = std::time::Instant::now();
    finish(child, "the stopped create").expect(143);
    assert!(start.elapsed().as_secs_f64() < 3.0);
    assert_eq!(hooks.ran(), WHEN_ILL);
    let log = hooks.log();
    let last = log.last().expect("after ran");
    assert_eq!([last[3].as_str(), &last[4]], ["143", ""], "{log:?}");
    assert_eq!(hooks.place.repo.ids(), [""; 0]);
}

#[test]
fn hooks_that_others_may_write_are_refused_as_unsafe() {
    let hooks = Hooks::new("", "", "", "");
    for mode in [0o620, 0o602] {
        crate::support::generate::mode(&hooks.config, mode);
        hooks.run(&[]).fails(14, &["config.toml", "others may write"]);
    }
    assert_eq!(hooks.ran(), [""; 0]);
    assert_eq!(hooks.place.repo.ids(), [""; 0]);
    crate::support::generate::mode(&hooks.config, 0o644);
    hooks.run(&[]).expect(0);
}
