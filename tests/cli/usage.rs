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
    for command in commands() {
        let help = run(plain_command().args([&*command, "--help"])).expect(0).text();
        assert!(help.contains("Usage:"), "{command}: {help}");
    }
}

/// The commands that the overview lists.
fn commands() -> Vec<String> {
    let overview = run(plain_command().arg("--help")).expect(0).text();
    let (_, commands) = overview.split_once("\nCommands:\n").expect("it lists the commands");
    let lines = commands.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names = names.filter(|name| !matches!(*name, "" | "help"));
    let names: Vec<_> = names.map(str::to_owned).collect();
    assert!(names.len() > 25, "{overview}");
    names
}

fn readme() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    std::fs::read_to_string(path).expect("it can be read")
}

/// The rows of a table below a heading.
fn table<'a>(text: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let (_, below) = text.split_once(&format!("\n{heading}\n")).expect("the heading is there");
    let rows = below.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

#[test]
fn the_readme_has_a_row_for_each_command_and_an_example_of_what_it_prints() {
    let readme = readme();
    let rows = table(&readme, "## Commands");
    for command in commands() {
        // What stands between backticks, each time its first word.
        let mut quoted = rows.iter().flat_map(|row| row[0].split('`').skip(1).step_by(2));
        let has_row = quoted.any(|words| words.split(' ').next() == Some(&*command));
        assert!(has_row, "{command} has no row in the table of README.md");
    }
    let lines: Vec<&str> = readme.lines().collect();
    for command in [
        "restore", "diff", "find", "versions", "ls", "tree", "cat", "dump", "list", "stats",
        "manifest", "export", "import",
    ] {
        let is_shown = lines.windows(2).any(|pair| {
            let words: Vec<_> = pair[0].split(' ').take(3).collect();
            let has_output = !pair[1].is_empty() && !pair[1].starts_with(['$', '`']);
            words == ["$", "icecore", command] && has_output
        });
        assert!(is_shown, "README.md does not show what `{command}` prints");
    }
}

#[test]
fn the_exit_codes_of_the_help_are_those_of_the_readme() {
    let readme = readme();
    let named: Vec<_> =
        table(&readme, "### Exit codes").iter().map(|row| (row[0], row[1])).collect();
    let overview = run(plain_command().arg("--help")).expect(0).text();
    let (_, status) = overview.split_once("Exit status:\n").expect("it says how it ends");
    let lines = status.lines().filter_map(|line| line.strip_prefix("  "));
    let said: Vec<_> = lines
        .filter_map(|line| line.split_once(' '))
        .map(|(code, meaning)| (code, meaning.trim()))
        .collect();
    assert_eq!(said, named);
}

#[test]
fn the_help_of_each_command_states_its_exit_codes_and_its_own_options_first() {
    let commands: &[(&[&str], &[u8])] = &[
        (&["init"], &[11, 13, 14]),
        (&["create"], &[3, 4, 10, 11, 12, 13, 14]),
        (&["list"], &[4, 10, 12, 13, 14]),
        (&["show"], &[4, 10, 12, 13, 14]),
        (&["ls"], &[4, 10, 12, 13, 14]),
        (&["tree"], &[4, 10, 12, 13, 14]),
        (&["find"], &[4, 10, 12, 13, 14]),
        (&["versions"], &[4, 10, 12, 13, 14]),
        (&["cat"], &[4, 10, 12, 13, 14]),
        (&["mount"], &[4, 10, 12, 13, 14]),
        (&["umount"], &[]),
        (&["tag"], &[4, 10, 11, 12, 13, 14]),
        (&["delete"], &[4, 10, 11, 12, 13, 14]),
        (&["undelete"], &[4, 10, 11, 12, 13, 14]),
        (&["prune"], &[4, 10, 11, 12, 13, 14]),
        (&["gc"], &[4, 10, 11, 12, 13, 14]),
        (&["log"], &[4, 10, 12, 13, 14]),
        (&["log", "verify"], &[4, 10]),
        (&["log", "prune"], &[4, 10, 11, 14]),
        (&["check"], &[4, 10, 12, 13, 14]),
        (&["repair"], &[4, 10, 11, 12, 13, 14]),
        (&["stats"], &[4, 10, 12, 13, 14]),
        (&["restore"], &[3, 4, 10, 11, 12, 13, 14]),
        (&["dump"], &[4, 10, 12, 13, 14]),
        (&["export"], &[4, 10, 12, 13, 14]),
        (&["import"], &[3, 4, 10, 11, 12, 13, 14]),
        (&["diff"], &[3, 4, 10, 12, 13, 14]),
        (&["manifest"], &[4, 10, 12, 13, 14]),
        (&["completions"], &[]),
        (&["key", "list"], &[10, 13, 14]),
        (&["key", "add"], &[10, 12, 13, 14]),
        (&["key", "remove"], &[10, 12, 13, 14]),
        (&["key", "change"], &[10, 12, 13, 14]),
        (&["key", "export"], &[10, 12, 13, 14]),
        (&["key", "import"], &[10, 12, 13, 14]),
    ];
    for command in self::commands() {
        let is_known = commands.iter().any(|(words, _)| words[0] == command);
        assert!(is_known, "nobody says which codes {command} may give");
    }
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

#[test]
fn completions_offer_what_people_say_and_not_what_the_program_says_to_itself() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(plain_command().args(["completions", shell])).expect(0).text();
        for offered in ["allow-other", "kdf-memory", "undelete", "repo"] {
            assert!(script.contains(offered), "{shell} lacks {offered}");
        }
        for hidden in ["announce", "key-from-stdin"] {
            assert!(!script.contains(hidden), "{shell} offers {hidden}");
        }
    }
}
