//! A person at a terminal, to whom names are shown that would steer it.

use std::fs;
use std::process::Command;

use crate::support::command::run;
use crate::support::need::require_root;

use super::forge::{Forge, Item};
use super::ground::Ground;
use super::run::steers;
use super::texts::{STEERING, steering};

/// What prints names or texts to people. Standard error goes to the terminal too,
/// where no progress bar is drawn in so short a time, or `--quiet` says so.
const COMMANDS: [&str; 24] = [
    "list",
    "list --group-by host,sources,tags",
    "show {id}",
    "ls {id}",
    "ls -lR {id}",
    "tree {id}",
    "cat {id}:nothing{steering}",
    "find *",
    "find --long {steering}",
    "versions {steering}",
    "stats --unique",
    "stats --growth",
    "diff {good} {id}",
    "diff --content {good} {id}",
    "diff --name-only {good} {id}",
    "diff --name-status {id} {good}",
    "manifest {id}",
    "log",
    "check --read-data",
    "tag --add x{steering} {id}",
    "prune --keep-last 1 -n",
    "restore -n {id} {out}",
    "restore {id} {out} --verify",
    "gc -n",
];

#[test]
fn no_command_lets_texts_of_a_snapshot_steer_the_terminal_that_it_prints_to() {
    if !require_root("a small disk to write to")
        || !std::path::Path::new("/usr/bin/script").exists()
    {
        eprintln!("SKIPPED: there is no script(1), or no disk");
        return;
    }
    let mut forge = Forge::new();
    let deep = forge.directory(&[
        Item::inline(STEERING.as_bytes(), b"x"),
        Item::segments(b"lost\x1b]0;x\x07", &[(Some([1; 32]), 5)]),
        Item::symlink(b"link", STEERING.as_bytes()),
    ]);
    let root =
        forge.directory(&[Item::directory(STEERING.as_bytes(), deep), Item::inline(b"file", b"x")]);
    let id = forge.snapshot(root, &steering());
    forge.finish();
    for command in COMMANDS {
        let ground = Ground::new(command.contains("{out}"));
        let out = ground.out();
        let fill = |word: &str| {
            word.replace("{id}", &id)
                .replace("{good}", &forge.good)
                .replace("{steering}", STEERING)
                .replace("{out}", out.to_str().expect("a text"))
        };
        let words: Vec<String> = command.split(' ').map(fill).collect();
        let shown = on_a_terminal(&forge, &words, &ground);
        assert_eq!(steers(&shown), None, "{command}");
        ground.is_untouched(command);
    }
}

/// Runs a command on a terminal, and returns what that is told, its own line ends
/// taken away.
fn on_a_terminal(forge: &Forge, words: &[String], ground: &Ground) -> Vec<u8> {
    let plain = forge.repo.command(words.iter().chain([&"--quiet".to_owned()]));
    let quote = |word: &std::ffi::OsStr| {
        let word = word.to_str().expect("a text");
        format!("'{}'", word.replace('\'', "'\\''"))
    };
    let line: Vec<String> =
        std::iter::once(plain.get_program()).chain(plain.get_args()).map(quote).collect();
    let typescript = ground.path().join("disk/typescript");
    let mut command = Command::new("script");
    command.args(["-qefc", &line.join(" "), "-O"]).arg(&typescript);
    command.env("NO_COLOR", "1").env("TERM", "xterm").current_dir(ground.path());
    for (name, value) in plain.get_envs() {
        value.map(|value| command.env(name, value));
    }
    let outcome = run(&mut command);
    let stated = [0, 1, 3, 4, 14].contains(&outcome.code);
    assert!(stated, "{words:?}: {} {}", outcome.code, outcome.text());
    let mut told = String::from_utf8_lossy(&outcome.stdout).replace("\r\n", "\n");
    if words.iter().any(|word| word == "--name-status") {
        // One tab in each line is the command's own, behind the letter.
        let lines = told.lines().map(|line| line.replacen('\t', " ", 1) + "\n");
        told = lines.collect();
    }
    assert!(!told.contains("unexpected argument"), "{words:?}: {told}");
    let _only_a_copy = fs::remove_file(typescript);
    told.into_bytes()
}
