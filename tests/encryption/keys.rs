//! Passwords and keys: all ways to give them, and what becomes of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::Locked;
use crate::support::command::run;
use crate::support::generate::file;

#[test]
fn every_way_to_give_a_password_or_key_opens_the_repository() {
    let locked = Locked::new();
    locked.run("first", &["key", "add", "--new-key-file", "key", "--label", "cron"]).expect(0);
    let list = |options: &[&str]| locked.command(&[&["list", "--json"], options].concat());
    run(&mut list(&["--password-command", "cat first"])).expect(0);
    run(&mut list(&["--key-file", "key"])).expect(0);
    run(list(&[]).env("ICECORE_PASSWORD", "first")).expect(0);
    run(list(&[]).env("ICECORE_PASSWORD_FILE", "first")).expect(0);
    run(list(&[]).env("ICECORE_PASSWORD_COMMAND", "echo first")).expect(0);
    run(list(&[]).env("ICECORE_KEY_FILE", "key")).expect(0);
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
    file(&locked.place("third"), b"third");
    let change = ["key", "change", "--new-password-file", "third", "--kdf-memory", "1MiB"];
    locked.run("second", &change).expect(0);
    locked.run("second", &["list"]).ends(12, &["wrong password"]);
    locked.run("third", &["list"]).expect(0);
    let keys = locked.run("third", &["key", "list", "--json"]).expect(0).json();
    for key in keys.as_array().unwrap() {
        let name = key["key"].as_str().unwrap();
        let file = locked.repo().join("keys").join(name);
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        let removal = locked.run("third", &["key", "remove", name, "--yes"]);
        if removal.code == 0 && locked.run("third", &["list"]).code != 0 {
            break;
        }
    }
    let left = fs::read_dir(locked.repo().join("keys")).unwrap().count();
    assert_eq!(left, 1, "the last one is never removed");
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
