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
        "init",
        "create",
        "list",
        "show",
        "ls",
        "cat",
        "mount",
        "umount",
        "delete",
        "gc",
        "stats",
        "tree",
        "find",
        "versions",
        "tag",
        "undelete",
        "prune",
        "log",
        "check",
        "repair",
        "diff",
        "manifest",
        "restore",
        "dump",
        "export",
        "import",
        "completions",
        "key",
    ];
    let overview = run(plain_command().arg("--help")).expect(0).text();
    for command in commands {
        assert!(overview.contains(command), "{command} is not in the overview");
        let help = run(plain_command().args([command, "--help"])).expect(0).text();
        assert!(help.contains("Usage:"), "{command}: {help}");
    }
}

#[test]
fn the_help_of_each_command_states_its_exit_codes_and_its_own_options_first() {
    let commands: &[(&[&str], &[u8])] = &[
        (&["init"], &[11, 13, 14]),
        (&["create"], &[3, 4, 10, 11, 12, 13, 14]),
        (&["list"], &[4, 10, 12, 13]),
        (&["show"], &[4, 10, 12, 13]),
        (&["ls"], &[4, 10, 12, 13]),
        (&["tree"], &[4, 10, 12, 13]),
        (&["find"], &[4, 10, 12, 13]),
        (&["versions"], &[4, 10, 12, 13]),
        (&["cat"], &[4, 10, 12, 13]),
        (&["mount"], &[4, 10, 12, 13, 14]),
        (&["umount"], &[]),
        (&["tag"], &[4, 10, 11, 12, 13]),
        (&["delete"], &[4, 10, 11, 12, 13, 14]),
        (&["undelete"], &[4, 10, 11, 12, 13]),
        (&["prune"], &[4, 10, 11, 12, 13, 14]),
        (&["gc"], &[4, 10, 11, 12, 13]),
        (&["log"], &[4, 10, 12, 13]),
        (&["log", "verify"], &[4, 10]),
        (&["log", "prune"], &[4, 10, 11, 14]),
        (&["check"], &[4, 10, 12, 13]),
        (&["repair"], &[4, 10, 11, 12, 13, 14]),
        (&["stats"], &[4, 10, 12, 13, 14]),
        (&["restore"], &[3, 4, 10, 11, 12, 13, 14]),
        (&["dump"], &[4, 10, 12, 13, 14]),
        (&["export"], &[4, 10, 12, 13, 14]),
        (&["import"], &[3, 4, 10, 11, 12, 13, 14]),
        (&["diff"], &[3, 4, 10, 12, 13]),
        (&["manifest"], &[4, 10, 12, 13]),
        (&["completions"], &[]),
        (&["key", "list"], &[10, 13]),
        (&["key", "add"], &[10, 12, 13, 14]),
        (&["key", "remove"], &[10, 12, 13, 14]),
        (&["key", "change"], &[10, 12, 13, 14]),
        (&["key", "export"], &[10, 12, 13]),
        (&["key", "import"], &[10, 12, 13, 14]),
    ];
    for &(command, codes) in commands {
        let help = run(plain_command().args(command).arg("--help")).expect(0).text();
        let (_, status) = help.split_once("Exit status:\n").expect("it says how it ends");
        let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
        let said: Vec<_> = status.lines().filter_map(first).collect();
        let codes = codes.iter().map(u8::to_string);
        let always = ["0", "1", "2"].map(String::from).into_iter();
        let expected: Vec<_> = always.chain(codes).chain(["128+N".to_owned()]).collect();
        assert_eq!(said, expected, "{command:?}");
        let (own, common) = help.split_once("Options of all commands:\n").expect("a heading");
        let option = "\n  -r, --repo <";
        assert!(!own.contains(option) && common.contains("  -r, --repo <"), "{command:?}: {help}");
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
