//! What is passed on of a password, and how the master key is printed.

use super::Locked;
use crate::support::command::run;

#[test]
fn a_command_whose_output_is_saved_is_not_given_the_password() {
    let locked = Locked::new();
    let words = ["create", "--from-command", "--json", "--", "sh", "-c", "env; echo end"];
    let mut create = locked.command(&words);
    run(create.env("ICECORE_PASSWORD", "first").env("OTHER", "passed")).expect(0);
    let listed = locked.run("first", &["ls", "--json", "-R", "latest"]).expect(0).text();
    assert!(listed.contains("stdin"), "{listed}");
    let seen = locked.run("first", &["cat", "latest:stdin"]).expect(0).text();
    assert!(seen.contains("OTHER=passed") && seen.ends_with("end\n"), "{seen}");
    assert!(!seen.contains("ICECORE_PASSWORD"), "{seen}");
}

#[test]
fn the_key_for_paper_is_printed_as_json_on_request_and_can_be_taken_back() {
    let locked = Locked::new();
    let paper = locked.run("first", &["key", "export", "-q"]).expect(0).text();
    let facts = locked.run("first", &["key", "export", "-q", "--json"]).expect(0).json();
    let lines: Vec<_> =
        facts["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!(lines.join("\n") + "\n", paper);
    locked.file("paper", lines.join("\n").as_bytes());
    let words = ["key", "import", "paper", "--new-password-file", "second", "--kdf-memory", "1MiB"];
    run(&mut locked.command(&words)).expect(0);
    locked.run("second", &["list", "-q"]).expect(0);
}
