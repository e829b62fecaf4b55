//! Passwords and keys: all ways to give them, and what becomes of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use super::Locked;
use crate::support::command::{Outcome, icecore, run, run_fed, run_tool};
use crate::support::encrypt::give_password;
use crate::support::generate::file;

const CHEAP: [&str; 4] = ["--kdf-memory", "1MiB", "--kdf-passes", "1"];

/// The names of all key files.
fn key_names(locked: &Locked) -> Vec<String> {
    let entries = fs::read_dir(locked.repo().join("keys")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

impl Locked {
    /// The name of the key file that a password alone opens.
    fn unlocking(&self, password: &str) -> String {
        let names = key_names(self);
        let keys = self.repo().join("keys");
        let opens = |name: &&String| {
            let others = names.iter().filter(|other| other != name);
            let aside = |name: &String| (keys.join(name), self.place(&format!("aside-{name}")));
            let moved: Vec<_> = others.map(aside).collect();
            moved.iter().for_each(|(from, to)| fs::rename(from, to).unwrap());
            let opens = self.run(password, &["list"]).code == 0;
            moved.iter().for_each(|(from, to)| fs::rename(to, from).unwrap());
            opens
        };
        names.iter().find(opens).expect("it opens one").clone()
    }
}

#[test]
fn every_way_to_give_a_password_or_key_opens_the_repository() {
    let locked = Locked::new();
    locked.run("first", &["key", "add", "--new-key-file", "key", "--label", "cron"]).expect(0);
    let list = |options: &[&str]| locked.command(&[&["list", "--json"], options].concat());
    run(&mut list(&["--password-command", "cat first"])).expect(0);
    run(&mut list(&["--key-file", "key"])).expect(0);
    let bytes: Vec<u8> = (0..32).map(|number| number * 7 + 3).collect();
    locked.file("raw", &bytes);
    locked.run("first", &["key", "add", "--new-key-file", "raw"]).expect(0);
    run(&mut list(&["--key-file", "raw"])).expect(0);
    locked.file("short", &bytes[1..]);
    run(&mut list(&["--key-file", "short"])).fails(1, &["no key file", "32 bytes"]);
    run(list(&[]).env("ICECORE_PASSWORD", "first")).expect(0);
    run(list(&[]).env("ICECORE_PASSWORD_FILE", "first")).expect(0);
    run(list(&[]).env("ICECORE_PASSWORD_COMMAND", "echo first")).expect(0);
    run(list(&[]).env("ICECORE_KEY_FILE", "key")).expect(0);
    // The first of the variables counts.
    let mut both = list(&[]);
    run(both.env("ICECORE_KEY_FILE", "no-such").env("ICECORE_PASSWORD_FILE", "first")).expect(0);
    let credentials = locked.place("credentials");
    locked.file("credentials/icecore.password", b"first");
    run(list(&[]).env("CREDENTIALS_DIRECTORY", &credentials)).expect(0);
    fs::rename(credentials.join("icecore.password"), credentials.join("icecore.key")).unwrap();
    fs::copy(locked.place("key"), credentials.join("icecore.key")).unwrap();
    run(list(&[]).env("CREDENTIALS_DIRECTORY", &credentials)).expect(0);
    let config = locked.place("config.toml");
    file(&config, b"password-file = 'first'\n[profiles.home]\nsources = ['source']\n");
    run(&mut locked.command(&["--config", "config.toml", "create", "--profile", "home"])).expect(0);
    // What is said on the command line counts more than the environment.
    run(list(&["--password-file", "first"]).env("ICECORE_PASSWORD", "wrong")).expect(0);
    run(&mut list(&[])).fails(12, &["encrypted", "--password-file"]);
    run(&mut list(&["--password-command", "false"])).fails(1, &["password command"]);
    run(&mut list(&["--key-file", "first"])).fails(1, &["no key file", "64 hex"]);
    run(&mut list(&["--password-file", "first", "--key-file", "key"])).expect(2);
}

#[test]
fn a_wrong_password_or_key_is_one_line_code_12_and_an_event() {
    let locked = Locked::new();
    locked.run("wrong", &["list"]).fails(12, &["wrong password"]);
    run(&mut locked.command(&["list", "--key-file", "key"])).fails(12, &["wrong key"]);
    locked.run("wrong", &["key", "add", "--new-key-file", "key"]).fails(12, &["wrong password"]);
    locked.file("a.tar", &[0; 1024]);
    for command in [
        &["restore", "latest", "target"][..],
        &["dump", "-a", "tar", "latest"],
        &["export", "latest", "out"],
        &["import", "a.tar"],
        &["manifest", "latest"],
    ] {
        locked.run("wrong", command).fails(12, &["wrong password"]);
    }
    assert!(!locked.place("target").exists() && !locked.place("out").exists());
    let events = locked.run("first", &["log", "--json"]).expect(0).text();
    assert_eq!(events.matches("backup.password.refused").count(), 8, "{events}");
    assert!(!events.contains("\"wrong\""), "no password is logged: {events}");
}

#[test]
fn a_password_or_key_that_everybody_can_read_is_used_and_told() {
    let locked = Locked::new();
    locked.run("first", &["key", "add", "--new-key-file", "key"]).expect(0);
    locked.create(&[]);
    let set = |name: &str, mode| {
        fs::set_permissions(locked.place(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    for (option, name) in [("--password-file", "first"), ("--key-file", "key")] {
        let told = |words: &[&str]| {
            run(&mut locked.command(&[&["list", option, name][..], words].concat()))
                .expect(0)
                .error()
        };
        for mode in [0o600, 0o640, 0o400] {
            set(name, mode);
            assert_eq!(told(&[]), "", "{mode:o}");
        }
        set(name, 0o644);
        let expected = format!("icecore: Every user can read {name}; `chmod 600");
        assert!(told(&[]).starts_with(&expected), "{}", told(&[]));
        assert_eq!(told(&["-q"]), "");
    }
}

#[test]
fn passwords_are_added_changed_and_removed_without_touching_the_data() {
    let locked = Locked::new();
    let id = locked.create(&[]);
    let data = || {
        let mut names: Vec<_> = fs::read_dir(locked.repo().join("db"))
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "sst"))
            .map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap()))
            .collect();
        names.sort();
        names
    };
    let before = data();
    let new = ["--new-password-file", "second", "--kdf-memory", "1MiB"];
    locked.run("first", &[&["key", "add"][..], &new].concat()).expect(0);
    let keys = locked.run("first", &["key", "list", "--json"]).expect(0).json();
    assert_eq!(keys.as_array().unwrap().len(), 2);
    for name in ["first", "second"] {
        assert!(locked.run(name, &["list"]).expect(0).text().contains(&id[..12]));
    }
    // Only the first line of `second` is the password.
    locked.file("third", b"third");
    let change = ["key", "change", "--new-password-file", "third", "--kdf-memory", "1MiB"];
    locked.run("second", &change).expect(0);
    locked.run("second", &["list"]).ends(12, &["wrong password"]);
    locked.run("third", &["list"]).expect(0);
    for name in key_names(&locked) {
        let file = locked.repo().join("keys").join(name);
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // Of two one goes, by the other one's password, and then none.
    let first = locked.unlocking("first");
    locked.run("first", &["key", "remove", &first, "--yes"]).fails(14, &["the key that was given"]);
    locked.run("first", &["list"]).expect(0);
    locked.run("third", &["key", "remove", &first, "--yes"]).expect(0);
    locked.run("first", &["list"]).fails(12, &["wrong password"]);
    let last = key_names(&locked);
    assert_eq!(last.len(), 1);
    locked.run("third", &["key", "remove", &last[0], "--yes"]).fails(14, &["last key"]);
    assert_eq!(key_names(&locked), last);
    locked.run("third", &["list"]).expect(0);
    assert_eq!(data(), before);
}

#[test]
fn the_key_on_paper_opens_a_repository_that_lost_all_its_key_files() {
    let locked = Locked::new();
    let id = locked.create(&[]);
    let paper = locked.run("first", &["key", "export", "-q"]).expect(0).text();
    assert_eq!(paper.lines().count(), 5);
    fs::remove_dir_all(locked.repo().join("keys")).unwrap();
    locked.run("first", &["list"]).fails(12, &["keys", "key import"]);
    let import = |text: &str| {
        file(&locked.place("paper"), text.as_bytes());
        let new = ["--new-password-file", "second", "--kdf-memory", "1MiB"];
        run(locked.command(&["key", "import", "paper"]).args(new))
    };
    let digit = if &paper[3..4] == "0" { "1" } else { "0" };
    import(&format!("{}{digit}{}", &paper[..3], &paper[4..])).fails(1, &["line 1"]);
    let other = Locked::new().run("first", &["key", "export", "-q"]).expect(0).text();
    import(&other).fails(12, &["not that of the repository"]);
    import(&paper).expect(0);
    assert!(locked.run("second", &["list"]).expect(0).text().contains(&id[..12]));
}

#[test]
fn a_password_for_a_repository_that_is_not_encrypted_is_refused() {
    let locked = Locked::new();
    let plain = locked.place("plain");
    let mut init = locked.command(&["init", "--password-file", "first"]);
    run(init.arg("-r").arg(&plain)).expect(2);
    fs::remove_dir_all(locked.repo()).unwrap();
    run(&mut locked.command(&["init"])).expect(0);
    locked.run("first", &["list"]).fails(14, &["not encrypted"]);
    locked.run("first", &["create", "source"]).fails(14, &["not encrypted"]);
    run(&mut locked.command(&["key", "list"])).fails(2, &["not encrypted"]);
}

/// Puts the key file of another repository with the same password before all others.
fn with_foreign_key(locked: &Locked) -> (Locked, PathBuf) {
    let other = Locked::new();
    let foreign = locked.repo().join("keys/00000000");
    fs::copy(other.repo().join("keys").join(&key_names(&other)[0]), &foreign).unwrap();
    (other, foreign)
}

#[test]
fn a_key_file_of_another_repository_with_the_same_password_counts_for_nothing() {
    let locked = Locked::new();
    let id = locked.create(&[]);
    let own = key_names(&locked)[0].clone();
    let paper = locked.run("first", &["key", "export", "-q"]).expect(0).text();
    let (other, foreign) = with_foreign_key(&locked);
    let bytes = fs::read(&foreign).unwrap();
    assert!(locked.run("first", &["list"]).expect(0).text().contains(&id[..12]));
    assert_eq!(locked.run("first", &["key", "export", "-q"]).expect(0).text(), paper);
    let with = |verb, file| [&["key", verb, "--new-password-file", file][..], &CHEAP].concat();
    let changed = locked.run("first", &with("change", "second")).expect(0).text();
    assert!(changed.contains(&own) && !changed.contains("00000000"), "{changed}");
    assert!(!key_names(&locked).contains(&own) && fs::read(&foreign).unwrap() == bytes);
    locked.run("second", &["list"]).expect(0);
    // Whoever has that key alone changes no key here.
    let before = key_names(&locked);
    for words in [&with("add", "wrong")[..], &with("change", "wrong"), &["key", "export"]] {
        locked.run("first", words).fails(12, &["not that of the repository"]);
    }
    let mine = before.iter().find(|name| *name != "00000000").unwrap();
    let remove = ["key", "remove", mine, "--yes"];
    locked.run("first", &remove).fails(12, &["not that of the repository"]);
    locked.run("first", &["list"]).fails(12, &["not that of the repository"]);
    let foreign_paper = other.run("first", &["key", "export", "-q"]).expect(0).text();
    file(&locked.place("paper"), foreign_paper.as_bytes());
    let import = [&["key", "import", "paper", "--new-password-file", "wrong"][..], &CHEAP].concat();
    run(&mut locked.command(&import)).fails(12, &["not that of the repository"]);
    assert_eq!(key_names(&locked), before);
}

#[test]
fn a_lost_config_is_made_anew_for_the_key_of_what_is_stored_alone() {
    let locked = Locked::new();
    let id = locked.create(&[]);
    let (_other, foreign) = with_foreign_key(&locked);
    let own = locked.repo().join("keys").join(&key_names(&locked)[1]);
    let config = locked.repo().join("config");
    fs::remove_file(&config).unwrap();
    fs::rename(&own, locked.place("own")).unwrap();
    let new = ["--new-password-file", "second", "--kdf-memory", "1MiB"];
    for words in [&["repair", "--yes"][..], &[&["key", "add"][..], &new].concat()] {
        locked.run("first", words).fails(12, &["not that of the repository"]);
    }
    assert!(!config.exists() && foreign.exists());
    fs::rename(locked.place("own"), &own).unwrap();
    locked.run("first", &["repair", "--yes"]).expect(0);
    assert!(locked.run("first", &["list"]).expect(0).text().contains(&id[..12]));
    locked.run("first", &["check", "--read-data"]).expect(0);
}

#[test]
fn what_a_killed_key_add_left_is_no_key_and_goes_with_the_next() {
    let locked = Locked::new();
    let left = locked.repo().join("keys/0badcafe.77.new");
    file(&left, b"version = 1");
    locked.run("first", &["key", "list"]).expect(0);
    locked.run("first", &["list"]).expect(0);
    assert!(left.exists());
    let add = [&["key", "add", "--new-password-file", "second"][..], &CHEAP].concat();
    locked.run("first", &add).expect(0);
    assert!(!left.exists());
    assert_eq!(key_names(&locked).len(), 2);
    // Alone it makes no repository an encrypted one.
    fs::remove_dir_all(locked.repo()).unwrap();
    run(&mut locked.command(&["init"])).expect(0);
    fs::create_dir(locked.repo().join("keys")).unwrap();
    file(&left, b"version = 1");
    run(&mut locked.command(&["list"])).expect(0);
}

/// Runs a command with another umask than that of the tests.
fn with_umask(locked: &Locked, words: &[&str]) -> Outcome {
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 027; exec \"$@\"", "sh", icecore(), "-r"]).arg(locked.repo());
    give_password(&mut shell, false);
    run(shell.args(words).current_dir(locked.scratch.path()))
}

#[test]
fn a_password_command_has_the_umask_of_the_user_and_prints_no_more_than_a_password() {
    let locked = Locked::new();
    let command = ["list", "--password-command", "umask >umask; cat first"];
    with_umask(&locked, &command).expect(0);
    assert_eq!(fs::read_to_string(locked.place("umask")).unwrap().trim(), "0027");
    for endless in ["cat first /dev/zero", "tr '\\0' x </dev/zero"] {
        let command = locked.command(&["list", "--password-command", endless]);
        let limited = ["60", "prlimit", "--as=2147483648"];
        let mut bounded = Command::new("timeout");
        bounded.args(limited).arg(command.get_program()).args(command.get_args());
        give_password(&mut bounded, false);
        run(bounded.current_dir(locked.scratch.path())).fails(1, &["too much for a password"]);
    }
}

#[test]
fn whoever_demands_encryption_is_given_no_plain_repository() {
    let locked = Locked::new();
    let config = |head: &str, profile: &str| {
        let text = format!(
            "{head}\n[profiles.x]\nsources = ['source']\n{profile}\n\
             [policies.y]\nkeep-last = 1\n{profile}\n"
        );
        file(&locked.place("config.toml"), text.as_bytes());
    };
    let with_config = |words: &[&str], password: Option<&str>| {
        let mut command = locked.command(&["--config", "config.toml"]);
        command.args(words).args(password.iter().flat_map(|file| ["--password-file", file]));
        run(&mut command)
    };
    let verbs = [
        &["create", "--profile", "x"][..],
        &["create", "--profile", "x", "--dry-run"],
        &["prune", "--policy", "y", "--yes"],
    ];
    for (head, profile) in [("encrypt = true", ""), ("", "encrypt = true")] {
        config(head, profile);
        for words in verbs {
            with_config(words, Some("first")).expect(0);
        }
    }
    // Somebody puts a plain one into its place.
    fs::remove_dir_all(locked.repo()).unwrap();
    run(&mut locked.command(&["init"])).expect(0);
    for (head, profile) in [("encrypt = true", ""), ("", "encrypt = true")] {
        config(head, profile);
        for words in verbs {
            with_config(words, None).fails(14, &["not encrypted", "encrypt = true"]);
        }
    }
    let demand = "--require-encryption";
    for words in [&["create", "source"][..], &["list"], &["check"], &["gc"]] {
        let told = run(locked.command(words).arg(demand));
        told.fails(14, &["not encrypted", demand]);
        let told = run(locked.command(words).env("ICECORE_REQUIRE_ENCRYPTION", "1"));
        told.fails(14, &["not encrypted", demand]);
    }
    assert_eq!(run(&mut locked.command(&["list", "--json"])).expect(0).text().trim(), "[]");
    // Nor does a repair make one.
    let honest = locked.repo().join("config");
    let text = fs::read(&honest).unwrap();
    fs::remove_file(&honest).unwrap();
    for options in [&[demand][..], &["--password-file", "first"]] {
        let told = run(locked.command(&["repair", "--yes"]).args(options));
        told.fails(14, &["nothing says that it is encrypted", "key import"]);
        assert!(!honest.exists(), "{options:?}");
    }
    file(&honest, &text);
    config("encrypt = true", "encrypt = false");
    with_config(verbs[0], None).expect(0);
    run(locked.command(&["list"]).env("ICECORE_REQUIRE_ENCRYPTION", "0")).expect(0);
    fs::remove_dir_all(locked.repo()).unwrap();
    run(locked.command(&["init"]).arg(demand)).fails(14, &["--encrypt"]);
}

#[test]
fn one_signal_ends_a_command_that_waits_for_its_password() {
    let locked = Locked::new();
    run_tool("mkfifo", [locked.place("pipe")]);
    for words in [
        &["list", "--password-file", "pipe"][..],
        &["list", "--key-file", "pipe"],
        &["list", "--password-command", "sleep 30"],
        &["key", "import", "pipe"],
    ] {
        let command = locked.command(words);
        let mut bounded = Command::new("timeout");
        bounded.args(["--preserve-status", "--signal=TERM", "--kill-after=20", "1"]);
        bounded.arg(command.get_program()).args(command.get_args());
        bounded.current_dir(locked.scratch.path()).env_remove("ICECORE_PASSWORD");
        assert_eq!(run(&mut bounded).code, 143, "{words:?}");
    }
}

#[test]
fn an_init_that_is_not_what_was_meant_makes_nothing() {
    let locked = Locked::new();
    fs::remove_dir_all(locked.repo()).unwrap();
    for options in [
        &["--label", "admin"][..],
        &["--kdf-passes", "9"],
        &["--encrypt", "--label", "new\nline"],
        &["--encrypt", "--label", &"x".repeat(257)],
    ] {
        let words = [&["init"], options].concat();
        run(&mut locked.command(&words)).expect(2);
        assert!(!locked.repo().exists(), "{options:?}");
    }
}

#[test]
fn a_changed_password_costs_what_it_did_unless_something_else_is_said() {
    let locked = Locked::new();
    let cost = || {
        let keys = locked.run("first", &["key", "list", "--json"]).expect(0).json();
        let number = |field: &str| keys[0][field].as_u64().expect("a number");
        (number("kdf_memory_bytes"), number("kdf_passes"))
    };
    let change = |password: &str, options: &[&str]| {
        let new = ["key", "change", "--new-password-file", "second"];
        locked.run(password, &[&new[..], options].concat()).expect(0);
    };
    change("first", &["--kdf-memory", "2MiB", "--kdf-passes", "5"]);
    assert_eq!(cost(), (2 << 20, 5));
    change("second", &[]);
    assert_eq!(cost(), (2 << 20, 5));
    change("second", &["--kdf-passes", "4"]);
    assert_eq!(cost(), (2 << 20, 4));
}

#[test]
fn a_password_command_takes_nothing_of_what_is_piped_in() {
    let locked = Locked::new();
    let content = b"important\nlines\n";
    for command in ["cat >/dev/null; cat first", "head -c 5 >/dev/null; cat first"] {
        let mut create = locked.command(&["create", "--stdin", "--password-command", command]);
        run_fed(&mut create, content).expect(0);
        let saved = locked.run("first", &["cat", "latest:stdin"]).expect(0);
        assert_eq!(saved.text(), "important\nlines\n", "{command}");
    }
}
