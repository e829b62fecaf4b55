//! How the command line itself answers.

use crate::support::command::run;
use crate::support::fixture::Fixture;
use crate::support::repo::plain_command;

#[test]
fn a_wrong_command_line_gives_code_2_and_says_what_is_wrong() {
    let wrong: [&[&str]; 9] = [
        &[],
        &["frobnicate"],
        &["create"],
        &["delete"],
        &["mount"],
        &["umount"],
        &["gc", "--max-unused", "many"],
        &["list", "--no-such-option"],
        &["create", "--wait", "soon", "/tmp"],
    ];
    for arguments in wrong {
        let outcome = run(plain_command().args(arguments));
        assert_eq!(outcome.code, 2, "{arguments:?}: {}", outcome.error());
        assert!(!outcome.error().is_empty(), "{arguments:?} says nothing");
        assert!(outcome.stdout.is_empty(), "{arguments:?} mixes complaints with facts");
    }
}

#[test]
fn help_and_version_go_to_standard_output_with_code_0() {
    let version = run(plain_command().arg("--version")).expect(0);
    assert!(version.text().starts_with("icecore "), "{}", version.text());
    let commands = [
        "init", "create", "list", "show", "ls", "cat", "mount", "umount", "delete", "gc", "stats",
        "tag", "undelete", "prune",
    ];
    let overview = run(plain_command().arg("--help")).expect(0).text();
    for command in commands {
        assert!(overview.contains(command), "{command} is not in the overview");
        let help = run(plain_command().args([command, "--help"])).expect(0).text();
        assert!(help.contains("Usage:"), "{command}: {help}");
    }
}

#[test]
fn a_reader_that_has_enough_ends_a_command_without_a_complaint() {
    let fixture = Fixture::built(|source| crate::support::generate::wide(source, 20_000));
    let mut command = fixture.repo.command(["ls", "--recursive", "latest"]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("icecore starts");
    drop(child.stdout.take());
    let outcome = crate::support::command::finish(child, "ls");
    assert!([0, 141].contains(&outcome.code), "code {}", outcome.code);
    assert_eq!(outcome.error(), "", "nothing to complain of");
}

#[test]
fn without_a_terminal_no_progress_is_drawn() {
    let fixture = Fixture::plain();
    let outcome = fixture.repo.ok([std::ffi::OsStr::new("create"), fixture.source.as_os_str()]);
    assert_eq!(outcome.error(), "");
    assert!(!outcome.stdout.contains(&b'\r') && !outcome.stdout.contains(&0x1b));
}
