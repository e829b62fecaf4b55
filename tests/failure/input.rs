//! Wrong names, wrong places, wrong versions.

use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file};
use crate::support::repo::Repo;
use crate::support::scratch::Scratch;
use crate::support::{args, command::run_tool};

#[test]
fn every_command_says_where_it_found_no_repository() {
    let repo = Repo::missing();
    let scratch = Scratch::new();
    let (source, point) = (scratch.mkdir("source"), scratch.mkdir("point"));
    let archive = scratch.join("a.tar");
    run_tool("tar", args!["-c", "-f", &archive, "-C", &source, "."]);
    let commands = [
        args!["list"].to_vec(),
        args!["show", "latest"].to_vec(),
        args!["ls", "latest"].to_vec(),
        args!["cat", "latest:x"].to_vec(),
        args!["stats"].to_vec(),
        args!["gc"].to_vec(),
        args!["delete", "latest", "--yes"].to_vec(),
        args!["create", &source].to_vec(),
        args!["restore", "latest", scratch.join("target")].to_vec(),
        args!["restore", "--undo"].to_vec(),
        args!["dump", "latest:x"].to_vec(),
        args!["export", "latest", scratch.join("out")].to_vec(),
        args!["import", &archive].to_vec(),
        args!["manifest", "latest"].to_vec(),
        args!["mount", &point].to_vec(),
        args!["mount", "--foreground", &point].to_vec(),
    ];
    for command in commands {
        repo.run(&command).fails(10, &["no repository", "/repo"]);
        assert!(!repo.path().exists(), "{command:?} made something");
    }
    assert!(!scratch.join("target").exists() && !scratch.join("out").exists());
}

#[test]
fn a_directory_that_is_no_repository_is_told_from_one() {
    let scratch = Scratch::new();
    let repo = Repo::missing();
    std::fs::create_dir(repo.path()).expect("a directory can be made");
    std::fs::write(repo.path().join("somebody-elses"), "x").expect("it can be written");
    repo.run(["list"]).fails(10, &["no repository", "/repo"]);
    repo.run(["init"]).fails(1, &["/repo"]);
    assert_eq!(std::fs::read(repo.path().join("somebody-elses")).expect("it is there"), b"x");
    drop(scratch);
}

#[test]
fn a_second_init_fails_and_changes_nothing() {
    let fixture = Fixture::plain();
    let config = std::fs::read(fixture.repo.path().join("config")).expect("it is there");
    fixture.repo.run(["init"]).fails(1, &["/repo"]);
    let after = std::fs::read(fixture.repo.path().join("config")).expect("it is there");
    assert_eq!(config, after);
    assert_eq!(fixture.repo.ids(), [fixture.id]);
}

#[test]
fn a_wrong_snapshot_name_is_said_in_one_line() {
    let fixture = Fixture::plain();
    let wrong = ["f".repeat(64), "no-such-tag".into(), "latest~1".into(), "0".repeat(65)];
    for name in &wrong {
        for command in ["show", "ls"] {
            fixture.repo.run([command, name]).fails(1, &[name]);
        }
        fixture.repo.run(["cat", &format!("{name}:x")]).fails(1, &[name]);
        fixture.repo.run(["delete", name, "--yes"]).fails(1, &[name]);
    }
    assert_eq!(fixture.repo.ids(), [fixture.id]);
}

#[test]
fn an_ambiguous_prefix_is_said_with_what_it_could_be() {
    let scratch = Scratch::new();
    let source = scratch.mkdir("source");
    file(&source.join("file"), b"x");
    let repo = Repo::new();
    // Seventeen ids cannot differ in their first of sixteen digits.
    let ids: Vec<String> = (0..17).map(|_| repo.create(&source)).collect();
    let digit = |id: &String| id[..1].to_owned();
    let shared = ids
        .iter()
        .map(digit)
        .find(|first| ids.iter().filter(|id| id.starts_with(first.as_str())).count() > 1);
    let shared = shared.expect("two begin with the same digit");
    let alike: Vec<_> = ids.iter().filter(|id| id.starts_with(&shared)).collect();
    let line = repo.run(["show", &shared]).fails(1, &[&shared]);
    assert!(alike.iter().any(|id| line.contains(&id[..12])), "{line} names none of {alike:?}");
    repo.run(["delete", &shared, "--yes"]).fails(1, &[&shared]);
    assert_eq!(repo.ids().len(), 17);
    repo.ok(["show", &ids[3][..40]]);
}

#[test]
fn a_wrong_path_in_a_snapshot_is_said_in_one_line() {
    let fixture = Fixture::plain();
    let (id, source) = (&fixture.id, fixture.source.display());
    for path in [format!("{source}/missing"), format!("{source}/directory-0/file-1/below")] {
        let said = path.trim_start_matches('/').trim_end_matches("/below");
        fixture.repo.run(["cat", &format!("{id}:{path}")]).fails(1, &[said]);
        fixture.repo.run(["ls", &format!("{id}:{path}")]).fails(1, &[said]);
    }
    let path = format!("{id}:{source}/directory-0");
    fixture.repo.run(["cat", &path]).fails(1, &["directory-0"]);
}

#[test]
fn a_repository_of_a_newer_format_is_left_alone_with_code_13() {
    let fixture = Fixture::plain();
    let path = fixture.repo.path().join("config");
    let config = std::fs::read_to_string(&path).expect("the config is a text");
    assert!(config.contains("format_version = 1"), "{config}");
    let archive = fixture.scratch.join("a.tar");
    run_tool("tar", args!["-c", "-f", &archive, "-C", &fixture.source, "."]);
    let newer = [
        config.replace("format_version = 1", "format_version = 2"),
        config.replace("format_version = 1", "format_version = 4294967295"),
        unknown_feature(&config),
    ];
    for text in newer {
        std::fs::write(&path, &text).expect("it can be written");
        let (source, elsewhere) = (&fixture.source, fixture.scratch.join("elsewhere"));
        for command in [
            args!["list"].to_vec(),
            args!["gc"].to_vec(),
            args!["create", source].to_vec(),
            args!["restore", "latest", &elsewhere].to_vec(),
            args!["dump", "-a", "tar", "latest"].to_vec(),
            args!["export", "latest", &elsewhere].to_vec(),
            args!["import", &archive].to_vec(),
            args!["manifest", "latest"].to_vec(),
        ] {
            fixture.repo.run(&command).fails(13, &["newer", "/repo"]);
        }
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), text);
        assert!(!fixture.scratch.join("elsewhere").exists());
    }
    std::fs::write(&path, &config).expect("it can be written");
    assert_eq!(fixture.repo.ids(), [fixture.id]);
}

fn unknown_feature(config: &str) -> String {
    let lines = config.lines().filter(|line| !line.starts_with("required_features"));
    let mut lines: Vec<_> = lines.map(str::to_owned).collect();
    let version = lines.iter().position(|line| line.starts_with("format_version"));
    let feature = "required_features = [\"time-travel\"]".to_owned();
    lines.insert(version.expect("there is a version") + 1, feature);
    lines.join("\n") + "\n"
}

#[test]
fn a_config_that_is_no_config_is_said_in_one_line() {
    let fixture = Fixture::plain();
    let path = fixture.repo.path().join("config");
    for content in [&b"\xff\0garbage"[..], b"", b"format_version = \"one\"\n", &[b'x'; 100_000]] {
        std::fs::write(&path, content).expect("it can be written");
        fixture.repo.run(["list"]).fails(1, &["config"]);
    }
}

#[test]
fn delete_without_yes_and_without_a_terminal_is_refused() {
    let fixture = Fixture::plain();
    fixture.repo.run(["delete", &fixture.id]).ends(14, &["--yes"]);
    assert_eq!(fixture.repo.ids(), [fixture.id]);
}

#[test]
fn delete_of_a_right_and_a_wrong_name_deletes_nothing() {
    let fixture = Fixture::plain();
    let wrong = "f".repeat(64);
    fixture.repo.run(["delete", "--yes", &fixture.id, &wrong]).fails(1, &[&wrong]);
    assert_eq!(fixture.repo.ids(), [fixture.id]);
}

#[test]
fn a_missing_source_is_said_by_its_name_and_gives_no_silent_success() {
    let fixture = Fixture::plain();
    let missing = fixture.scratch.join("missing-source");
    let outcome = fixture.repo.run(args!["create", &missing]);
    assert!([1, 3].contains(&outcome.code), "code {}: {}", outcome.code, outcome.error());
    assert!(outcome.error().contains("missing-source"), "{}", outcome.error());
    let outcome = fixture.repo.run(args!["create", &missing, &fixture.source]);
    assert!([1, 3].contains(&outcome.code), "code {}: {}", outcome.code, outcome.error());
    assert!(outcome.error().contains("missing-source"), "{}", outcome.error());
}

#[test]
fn a_name_cannot_steer_the_terminal_that_it_is_listed_on() {
    let fixture = Fixture::built(|source| {
        file(&directory(source).join("\u{1b}[31mred\nline"), b"x");
    });
    let program = crate::support::command::icecore();
    let (repo, at) = (fixture.repo.path().display(), fixture.source.display());
    for options in ["", "-l", "--recursive"] {
        // `script` gives the command a terminal.
        let command = format!("NO_COLOR=1 {program} -r {repo} ls {options} latest:{at}");
        let listed = run_tool("script", args!["-qec", command, "/dev/null"]).text();
        assert!(listed.contains("[31mred"), "{listed:?}");
        assert!(!listed.contains("\u{1b}[31m"), "{listed:?}");
        assert_eq!(listed.lines().count(), 1, "{listed:?}");
    }
}
