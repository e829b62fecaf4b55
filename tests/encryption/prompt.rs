//! Somebody at a terminal who is asked for the password.

use std::time::{Duration, Instant};

use super::Locked;
use crate::support::command::{icecore, run};
use crate::support::terminal::Terminal;

const ASKED: &str = "repo: ";

impl Locked {
    /// A shell's words for a command on the repository.
    fn line(&self, words: &str) -> String {
        format!("{} -r {} {words}", icecore(), self.repo().display())
    }
}

#[test]
fn what_is_typed_at_the_prompt_opens_and_is_not_shown() {
    let locked = Locked::new();
    let id = locked.create(&[]);
    let mut terminal =
        Terminal::start(&format!("echo ready; read canary; {}; stty -a", locked.line("list")));
    terminal.wait_for("ready\r\n");
    terminal.keys("canary\n");
    terminal.wait_for("canary\r\n");
    terminal.wait_for(ASKED);
    terminal.keys("first\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains(&id[..12]) && !shown.contains("first"), "{shown}");
    assert!(shown.contains(" echo "), "it shows what is typed again: {shown}");
}

#[test]
fn a_third_wrong_password_at_the_prompt_ends_with_12_and_each_is_logged() {
    let locked = Locked::new();
    let mut terminal = Terminal::start(&locked.line("list"));
    terminal.wait_for(ASKED);
    terminal.keys("frist\n");
    for _ in 0..2 {
        terminal.wait_for("That is not its password. Password of the repository");
        terminal.wait_for(ASKED);
        terminal.keys("frist\n");
    }
    let (code, shown) = terminal.end();
    assert_eq!(code, 12, "{shown}");
    assert_eq!(shown.matches("Password of").count(), 3, "{shown}");
    assert!(shown.contains("Wrong password") && !shown.contains("frist"), "{shown}");
    let events = run(&mut locked.command(&["log", "--json"])).expect(0).text();
    assert_eq!(events.matches("backup.password.refused").count(), 3, "{events}");
    let log = run(&mut locked.command(&["log"])).expect(0).text();
    assert!(log.lines().all(|line| !line.trim_end().ends_with(':')), "{log}");
    let mut terminal = Terminal::start(&locked.line("list"));
    terminal.wait_for(ASKED);
    terminal.keys("\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, 14, "{shown}");
    assert!(shown.contains("empty"), "{shown}");
}

#[test]
fn where_a_repository_cannot_be_made_nobody_is_asked_for_its_password() {
    let locked = Locked::new();
    let mut terminal = Terminal::start(&locked.line("init --encrypt"));
    terminal.wait_for("already is a repository");
    let (code, shown) = terminal.end();
    assert_eq!(code, 1, "{shown}");
    assert!(!shown.contains("New password"), "{shown}");
}

#[test]
fn after_a_wrong_password_at_the_prompt_the_right_one_opens() {
    let locked = Locked::new();
    let id = locked.create(&[]);
    let mut terminal = Terminal::start(&locked.line("list"));
    terminal.wait_for(ASKED);
    terminal.keys("frist\n");
    terminal.wait_for("That is not its password.");
    terminal.wait_for(ASKED);
    terminal.keys("first\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains(&id[..12]) && !shown.contains("Wrong"), "{shown}");
}

#[test]
fn ctrl_c_at_the_prompt_ends_with_130_and_the_terminal_shows_what_is_typed_again() {
    let locked = Locked::new();
    // The shell goes on, and says how it ended.
    let line = format!("trap : INT; {}; echo code $?; stty -a", locked.line("list"));
    let mut terminal = Terminal::start(&line);
    terminal.wait_for(ASKED);
    terminal.keys("fir\x03");
    let (_, shown) = terminal.end();
    assert!(shown.contains("code 130") && shown.contains(" echo "), "{shown}");
    assert!(!shown.contains("fir\r"), "{shown}");
}

#[test]
fn ctrl_c_ends_at_once_while_a_password_is_tried() {
    let locked = Locked::new();
    let keys = locked.repo().join("keys");
    let name = std::fs::read_dir(&keys).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&name).unwrap();
    let costly = text.replace("memory_kib = 1024", "memory_kib = 262144");
    let costly = costly.replace("passes = 3", "passes = 64").replace("lanes = 4", "lanes = 1");
    // Some minute, for all of them.
    for number in 0..4 {
        std::fs::write(keys.join(format!("0000000{number}")), &costly).unwrap();
    }
    std::fs::remove_file(name).unwrap();
    let line = format!("trap : INT; {}; echo code $?", locked.line("list"));
    let mut terminal = Terminal::start(&line);
    terminal.wait_for(ASKED);
    terminal.keys("first\n");
    terminal.wait_for("\r\n");
    std::thread::sleep(Duration::from_secs(1));
    let asked = Instant::now();
    terminal.keys("\x03");
    let (_, shown) = terminal.end();
    assert!(shown.contains("code 130"), "{shown}");
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
}

#[test]
fn a_new_password_is_asked_for_twice_and_must_be_the_same() {
    let locked = Locked::new();
    std::fs::remove_dir_all(locked.repo()).unwrap();
    let init = locked.line("init --encrypt --kdf-memory 1MiB");
    for (again, expected) in [("secnod\n", 14), ("second\n", 0)] {
        let mut terminal = Terminal::start(&init);
        terminal.wait_for("New password: ");
        terminal.keys("second\n");
        terminal.wait_for("once more: ");
        terminal.keys(again);
        let (code, shown) = terminal.end();
        assert_eq!(code, expected, "{shown}");
        assert!(!shown.contains("second") && !shown.contains("secnod"), "{shown}");
        assert_eq!(locked.repo().join("config").exists(), code == 0, "{shown}");
    }
    // Only the first line of the file counts.
    locked.run("second", &["list", "-q"]).expect(0);
    let mut terminal = Terminal::start(&locked.line("key add --kdf-memory 1MiB"));
    terminal.wait_for(ASKED);
    terminal.keys("second\n");
    terminal.wait_for("New password: ");
    terminal.keys("first\n");
    terminal.wait_for("once more: ");
    terminal.keys("first\n");
    assert_eq!(terminal.end().0, 0);
    locked.run("first", &["list", "-q"]).expect(0);
}

#[test]
fn the_prompt_of_whatever_shows_progress_comes_before_that() {
    let locked = Locked::new();
    locked.create(&[]);
    locked.run("first", &["export", "--format", "tar", "--to", "archive.tar", "latest"]);
    for words in ["create source", "check", "gc", "repair --yes", "repair -n", "check --read-data"]
    {
        let line = format!("cd {}; {}", locked.scratch.path().display(), locked.line(words));
        let mut terminal = Terminal::start(&line);
        terminal.wait_for(ASKED);
        // Whatever draws would do so again and again.
        std::thread::sleep(std::time::Duration::from_millis(400));
        terminal.keys("first\n");
        terminal.wait_for("\n");
        let asked = terminal.shown().to_owned();
        assert!(asked.ends_with(&format!("{ASKED}\r\n")), "{words}: {asked:?}");
        assert!(!asked.contains('\x1b'), "{words}: {asked:?}");
        let (code, shown) = terminal.end();
        assert_eq!(code, 0, "{words}: {shown}");
    }
}

#[test]
fn what_is_typed_is_not_shown_when_it_was_stopped_at_the_prompt_and_goes_on() {
    let locked = Locked::new();
    locked.create(&[]);
    // As a shell with jobs does it: it wants to see what is typed.
    let line = format!(
        "set -m; {}; stty echo; echo stopped; read canary; fg; echo code $?",
        locked.line("list")
    );
    let mut terminal = Terminal::start(&format!("bash -c '{line}'"));
    terminal.wait_for(ASKED);
    terminal.keys("\x1a");
    terminal.wait_for("stopped\r\n");
    terminal.keys("canary\n");
    terminal.wait_for("canary\r\n");
    terminal.wait_for(ASKED);
    terminal.keys("first\n");
    let (_, shown) = terminal.end();
    assert!(shown.contains("code 0") && !shown.contains("first"), "{shown}");
}

#[test]
fn whoever_sits_at_the_terminal_is_asked_there_though_streams_lead_elsewhere() {
    let locked = Locked::new();
    let id = locked.create(&[]);
    let errors = locked.place("errors");
    for words in [
        format!("{} 2>{}", locked.line("list"), errors.display()),
        format!("{} </dev/null", locked.line("list")),
        format!("echo first >/dev/null | {}", locked.line("list")),
    ] {
        let mut terminal = Terminal::start(&words);
        terminal.wait_for(ASKED);
        terminal.keys("first\n");
        let (code, shown) = terminal.end();
        assert_eq!(code, 0, "{words}: {shown}");
        assert!(shown.contains(&id[..12]) && !shown.contains("first"), "{shown}");
    }
    let elsewhere = format!("{} </dev/null 2>&1 | cat", locked.line("list"));
    let (_, shown) = Terminal::start(&format!("({elsewhere}) </dev/null | cat")).end();
    assert!(shown.contains("give its password") && !shown.contains(ASKED), "{shown}");
}

#[test]
fn who_removes_a_key_is_told_which_one_it_is() {
    let locked = Locked::new();
    let add = ["key", "add", "--new-key-file", "key", "--label", "cron", "--json"];
    let added = locked.run("first", &add).expect(0).json();
    let added = added["key"].as_str().unwrap();
    let words = format!("key remove {} --password-file first", &added[..6]);
    let line = format!("cd {}; {}", locked.scratch.path().display(), locked.line(&words));
    let mut terminal = Terminal::start(&line);
    terminal.wait_for(", \"cron\")? [y/N] ");
    let question = format!("Remove the key {added} (key, made 20");
    assert!(terminal.shown().contains(&question), "{}", terminal.shown());
    terminal.keys("n\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, 14, "{shown}");
    run(&mut locked.command(&["list", "--key-file", "key"])).expect(0);
}
