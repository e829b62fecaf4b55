//! Sources that cannot be read, vanish or change: the rest is saved, the
//! snapshot says so, and the code is 3.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::command::{icecore, run, run_tool};
use crate::support::encrypt::init_words;
use crate::support::fixture::plain_tree;
use crate::support::generate::{directory, file, mode};
use crate::support::need::is_root;
use crate::support::repo::{Repo, count_of, id_of};
use crate::support::rng::Rng;
use crate::support::scratch::Scratch;
use crate::support::{args, beside};

/// Fails unless the newest snapshot says that `name` was not saved whole.
fn says_so(repo: &Repo, errors: u64, name: &str) {
    let listed = repo.list_json().pop().expect("there is a snapshot");
    assert_eq!(count_of(&listed, "errors"), errors, "{listed}");
    let shown = repo.ok(["show", "latest"]).text();
    assert!(shown.contains(name), "{shown} does not name {name}");
}

#[test]
fn an_unreadable_file_and_directory_are_reported_and_the_rest_is_saved() {
    let scratch = Scratch::new();
    let source = scratch.mkdir("source");
    file(&source.join("a-readable"), b"kept");
    file(&source.join("m-secret-file"), b"secret");
    file(&directory(&source.join("n-secret-directory")).join("inside"), b"secret");
    file(&source.join("z-readable"), b"kept too");
    mode(&source.join("m-secret-file"), 0);
    mode(&source.join("n-secret-directory"), 0);
    let place = scratch.mkdir("place");
    let program = scratch.join("program");
    std::fs::copy(icecore(), &program).expect("the program can be copied");
    if is_root() {
        run_tool("chown", args!["-R", "65534:65534", &place, &source]);
    }
    let as_user = |arguments: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command.arg("-r").arg(place.join("repo")).args(arguments).current_dir(&source);
        command.env("HOME", &place);
        if is_root() {
            command.uid(65534).gid(65534);
        }
        run(&mut command)
    };
    as_user(&init_words()).expect(0);
    let created = as_user(&["create", "."]).expect(3);
    for name in ["m-secret-file", "n-secret-directory"] {
        let lines = created.error().lines().filter(|line| line.contains(name)).count();
        assert_eq!(lines, 1, "one line names {name}: {}", created.error());
    }
    for (name, content) in [("a-readable", "kept"), ("z-readable", "kept too")] {
        assert_eq!(as_user(&["cat", &format!("latest:{name}")]).expect(0).text(), content);
    }
    let listed = as_user(&["list", "--json"]).expect(0).json();
    assert_eq!(listed[0]["errors"], 2, "{listed}");
    let shown = as_user(&["show", "latest"]).expect(0).text();
    assert!(shown.contains("m-secret-file") && shown.contains("n-secret-directory"), "{shown}");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_reported() {
    let scratch = Scratch::new();
    let source = scratch.mkdir("source");
    file(&source.join("steady"), b"steady");
    let changing = source.join("changing");
    file(&changing, &Rng::new(3).bytes(48 << 20));
    let repo = Repo::new();
    let create = || repo.run(args!["create", &source]);
    let outcome = beside(|stop| change(&changing, stop), create);
    let outcome = outcome.expect(3);
    assert!(outcome.error().contains("changing"), "{}", outcome.error());
    says_so(&repo, 1, "changing");
    let steady = format!("latest:{}", source.join("steady").display());
    assert_eq!(repo.ok(["cat", &steady]).text(), "steady");
}

fn change(path: &Path, stop: &AtomicBool) {
    use std::os::unix::fs::FileExt;
    let open = std::fs::OpenOptions::new().write(true).open(path);
    let open = open.expect("it can be written");
    let mut rng = Rng::new(4);
    while !stop.load(Ordering::Relaxed) {
        open.write_all_at(&rng.bytes(8), rng.below(48 << 20)).expect("it can be written");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

#[test]
fn files_that_come_and_go_meanwhile_never_fail_a_create() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    plain_tree(&source, 1, 40, 200_000);
    let churned = directory(&source.join("churned")).to_owned();
    let repo = Repo::new();
    let create = || (0..15).any(|_| create_beside_churn(&repo, &source));
    let reported = beside(|stop| churn(&churned, stop), create);
    assert!(reported, "in fifteen tries no vanished file was reported");
}

/// Takes a snapshot; true if it reports an error, which must then be said.
fn create_beside_churn(repo: &Repo, source: &Path) -> bool {
    let mut command = repo.command(args!["create", "--json", source]);
    let outcome = run(&mut command);
    assert!([0, 3].contains(&outcome.code), "{}: {}", outcome.code, outcome.error());
    let summary = outcome.last_json_line();
    let errors = count_of(&summary, "errors");
    assert_eq!(errors > 0, outcome.code == 3, "{summary}");
    assert_eq!(repo.ids().pop(), Some(id_of(&summary)));
    for name in ["directory-0/file-0", "directory-3/file-39"] {
        let path = source.join(name);
        let printed = repo.ok(args!["cat", format!("latest:{}", path.display())]);
        assert!(printed.stdout == std::fs::read(path).expect("it can be read"), "{name}");
    }
    if errors > 0 {
        says_so(repo, errors, "churned");
    }
    errors > 0
}

fn churn(directory: &Path, stop: &AtomicBool) {
    let mut rng = Rng::new(8);
    while !stop.load(Ordering::Relaxed) {
        let path = directory.join(format!("file-{}", rng.below(400)));
        if rng.below(2) == 0 {
            file(&path, &rng.bytes(2_000));
        } else {
            let _was_not_there = std::fs::remove_file(&path);
        }
    }
}
