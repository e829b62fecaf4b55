//! Clocks that jump, in both directions.

use std::process::Command;

use crate::support::command::{Outcome, run};
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::plain_tree;
use crate::support::generate::file;
use crate::support::mount::Mount;
use crate::support::need::require_fuse;
use crate::support::repo::{Repo, id_of};
use crate::support::scratch::Scratch;
use crate::support::tools::cp_copy;

/// Where `libfaketime` may lie; it moves the clock of one program alone.
fn faketime() -> Option<&'static str> {
    let places = [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
        "/usr/lib64/faketime/libfaketime.so.1",
    ];
    let found = places.into_iter().find(|path| std::path::Path::new(path).exists());
    if found.is_none() {
        eprintln!("SKIPPED: there is no libfaketime");
    }
    found
}

/// Runs a command by a clock that is moved by so much.
fn run_at(repo: &Repo, library: &str, moved: &str, arguments: &[&str]) -> Outcome {
    let mut command: Command = repo.command(arguments);
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME", moved)
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    run(&mut command)
}

#[test]
fn clocks_that_jump_lose_nothing_and_hide_no_change() {
    let Some(library) = faketime() else { return };
    if !require_fuse() {
        return;
    }
    let (scratch, repo) = (Scratch::new(), Repo::new());
    let source = scratch.join("source");
    let path = source.to_str().expect("test paths are texts");
    plain_tree(&source, 1, 20, 20_000);
    let mut kept = Vec::new();
    for (round, moved) in ["+0", "-400d", "+30y", "-20y", "+0", "-1h"].into_iter().enumerate() {
        // The same size as before: only the time or the content tells.
        file(&source.join("changing"), format!("round {round}").as_bytes());
        let copy = scratch.join(&format!("copy-{round}"));
        cp_copy(&source, &copy);
        let made = run_at(&repo, library, moved, &["create", "--json", path]).expect(0);
        kept.push((id_of(&made.last_json_line()), copy));
        run_at(&repo, library, moved, &["gc", "--max-unused", "0"]).expect(0);
        run_at(&repo, library, moved, &["log", "verify"]).expect(0);
    }
    let gone = kept.remove(2);
    run_at(&repo, library, "-10y", &["delete", "--yes", &gone.0]).expect(0);
    run_at(&repo, library, "+10y", &["gc", "--max-unused", "0"]).expect(0);
    repo.ok(["check", "--read-data"]);
    let mount = Mount::new(&repo);
    for (id, copy) in &kept {
        let rules = Rules { root: false, ..Rules::ALL };
        assert_same(copy, &mount.source(id, &source), rules);
    }
    mount.unmount();
    assert_eq!(repo.ids().len(), kept.len());
}
