//! Options and hooks that come from a config file.

use std::path::PathBuf;

use super::place::{Place, summary_of};
use crate::support::args;
use crate::support::command::{Outcome, run};
use crate::support::generate::{directory, file};
use crate::support::repo::{Repo, count_of, id_of, plain_command};

/// A place with a config file.
struct Profiles {
    place: Place,
    config: PathBuf,
}

impl Profiles {
    /// Makes one with some files; in the config `@` stands for the directory.
    fn new(config: &str) -> Self {
        let place = Place::with(&["a.o", "b", "c.tmp", "dir/d.o", "dir/e"]);
        let path = place.scratch.join("config.toml");
        let config = config.replace('@', place.source.to_str().expect("a text"));
        file(&path, config.as_bytes());
        Self { place, config: path }
    }

    /// Runs `create --profile home` with more arguments.
    fn run(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.place.command(&args!["--config", &self.config]);
        run(command.args(["--profile", "home"]).args(arguments))
    }

    /// The paths below the directory in the newest snapshot.
    fn names(&self) -> Vec<String> {
        let top = format!("latest:{}", self.place.source.display());
        let text = self.place.repo.ok(["ls", "--recursive", &top]).text();
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn a_profile_gives_sources_and_options() {
    let profiles = Profiles::new(
        r#"
        [profiles.home]
        sources = ["@"]
        exclude = ["*.tmp"]
        tag = ["home", "nightly"]
        description = "all of it"
        host = "here"
        "#,
    );
    let summary = summary_of(&profiles.run(&["--json"]).expect(0));
    assert_eq!(profiles.names(), ["a.o", "b", "dir", "dir/d.o", "dir/e"]);
    let listed = profiles.place.listed(&summary);
    assert_eq!(listed["tags"], serde_json::json!(["home", "nightly"]));
    assert_eq!(listed["description"], "all of it");
    assert_eq!(listed["host"], "here");
}

#[test]
fn the_command_line_joins_lists_wins_over_values_and_replaces_sources() {
    let profiles = Profiles::new(
        r#"
        [profiles.home]
        sources = ["@"]
        exclude = ["*.tmp"]
        tag = ["home"]
        description = "of the profile"
        compression = "none"
        "#,
    );
    let more = ["-e", "*.o", "--tag", "more", "--description", "mine", "--json"];
    let summary = summary_of(&profiles.run(&more).expect(0));
    assert_eq!(profiles.names(), ["b", "dir", "dir/e"]);
    let listed = profiles.place.listed(&summary);
    let mut tags: Vec<_> = listed["tags"].as_array().expect("tags").iter().collect();
    tags.sort_unstable_by_key(|tag| tag.to_string());
    assert_eq!(tags, ["home", "more"]);
    assert_eq!(listed["description"], "mine");
    profiles.run(&["dir"]).expect(0);
    assert_eq!(profiles.place.names(), ["dir", "dir/d.o", "dir/e"]);
}

#[test]
fn a_pattern_of_the_command_line_comes_last() {
    let profiles = Profiles::new("[profiles.home]\nsources = [\"@\"]\nexclude = [\"*.o\"]\n");
    profiles.run(&["-e", "!d.o"]).expect(0);
    assert_eq!(profiles.names(), ["b", "c.tmp", "dir", "dir/d.o", "dir/e"]);
}

#[test]
fn every_option_can_stand_in_a_profile() {
    let profiles = Profiles::new(
        r#"
        [profiles.home]
        sources = ["@"]
        exclude = ["*.tmp"]
        iexclude = ["*.JPG"]
        exclude-file = ["@/b"]
        iexclude-file = ["@/b"]
        include = ["dir/d.o"]
        exclude-if-present = [".nobackup", "TAG:header"]
        exclude-caches = true
        exclude-larger-than = "4GiB"
        exclude-nodump = true
        one-file-system = true
        no-ignore-files = false
        files-from = ["@/../list"]
        files-from0 = ["@/../list0"]
        tag = ["home"]
        description = "text"
        host = "name"
        force = false
        ignore-inode = false
        ignore-ctime = false
        with-atime = false
        read-concurrency = 4
        limit-rate = "50M"
        compression = "zstd:3"
        [profiles.home.hooks]
        before = ["true"]
        after = ["true"]
        success = ["true"]
        failure = ["true"]
        [profiles.other]
        "#,
    );
    file(&profiles.place.scratch.join("list"), b"dir/e\n");
    file(&profiles.place.scratch.join("list0"), b"a.o\0");
    let summary = summary_of(&profiles.run(&["--json"]).expect(0));
    let names = profiles.place.names();
    assert!(names.contains(&"dir/e".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name.ends_with(".tmp")), "{names:?}");
    assert_eq!(count_of(&summary, "errors"), 0, "{summary}");
}

#[test]
fn options_of_a_profile_do_what_they_do_on_the_command_line() {
    let profiles = Profiles::new(
        r#"
        [profiles.home]
        sources = ["@"]
        force = true
        no-ignore-files = true
        exclude-larger-than = "4KiB"
        exclude-if-present = [".mark"]
        iexclude = ["*.O"]
        include = ["@/dir/d.o"]
        "#,
    );
    let place = &profiles.place;
    place.file("large", &[b'x'; 5_000]);
    place.file("marked/.mark", b"");
    place.file("marked/inside", b"");
    place.file(".icecoreignore", b"b\n");
    super::place::rest();
    for _ in 0..2 {
        let summary = summary_of(&profiles.run(&["--json"]).expect(0));
        let kept = ["b", "c.tmp", "dir", "dir/d.o", "dir/e", "marked", "marked/.mark"];
        let mut expected = vec![".icecoreignore"];
        expected.extend(kept);
        assert_eq!(profiles.names(), expected);
        assert_eq!(count_of(&summary, "bytes_read"), count_of(&summary, "bytes"), "{summary}");
    }
}

#[test]
fn a_config_file_names_the_repository_and_a_profile_another() {
    let profiles = Profiles::new("");
    let (first, second) = (Repo::new(), Repo::new());
    let text = format!(
        "repository = {:?}\n[profiles.first]\nsources = [\"b\"]\n\
         [profiles.second]\nrepository = {:?}\nsources = [{:?}]\n",
        first.path(),
        second.path(),
        profiles.place.source
    );
    file(&profiles.config, text.as_bytes());
    let as_profile = |name: &str| {
        let mut command = plain_command();
        command.args(args!["create", "--config", &profiles.config, "--profile", name]);
        run(command.current_dir(&profiles.place.source))
    };
    as_profile("first").expect(0);
    assert_eq!((first.ids().len(), second.ids().len()), (1, 0));
    as_profile("second").expect(0);
    assert_eq!((first.ids().len(), second.ids().len()), (1, 1));
    let mut command = profiles.place.command(&args!["--config", &profiles.config]);
    run(command.args(["--profile", "second"])).expect(0);
    assert_eq!(profiles.place.repo.ids().len(), 1, "-r wins");
    assert_eq!((first.ids().len(), second.ids().len()), (1, 1));
}

#[test]
fn a_wrong_config_file_or_profile_is_said_in_one_line_with_code_2() {
    let home = "[profiles.home]\nsources = [\"@\"]\n";
    for (addition, word) in [
        ("exlude = [\"x\"]\n", "exlude"),
        ("exclude_caches = true\n", "exclude_caches"),
        ("exclude = \"not a list\"\n", "config.toml"),
        ("force = \"yes\"\n", "config.toml"),
        ("compression = \"zstd:99\"\n", "config.toml"),
        ("limit-rate = \"quickly\"\n", "config.toml"),
        ("exclude = [\"a[\"]\n", "a["),
        ("[profiles.home.hooks]\nbeside = [\"true\"]\n", "beside"),
        ("[profile.home]\n", "profile"),
        ("this is no TOML\n", "config.toml"),
    ] {
        let profiles = Profiles::new(&format!("{home}{addition}"));
        profiles.run(&[]).fails(2, &[word]);
        assert_eq!(profiles.place.repo.ids(), [""; 0]);
    }
    let profiles = Profiles::new(&home.replace("home", "other"));
    profiles.run(&[]).fails(2, &["home"]);
    std::fs::remove_file(&profiles.config).expect("it is there");
    profiles.run(&[]).fails(2, &["config.toml"]);
    directory(&profiles.config);
    profiles.run(&[]).fails(2, &["config.toml"]);
}

#[test]
fn a_wrong_value_is_said_with_its_key() {
    for (key, value) in [
        ("exclude", "no list"),
        ("force", "yes"),
        ("compression", "zstd:99"),
        ("limit-rate", "quickly"),
        ("exclude-larger-than", "huge"),
        ("read-concurrency", "many"),
    ] {
        let text = format!("[profiles.home]\nsources = [\"@\"]\n{key} = {value:?}\n");
        Profiles::new(&text).run(&[]).fails(2, &[key]);
    }
}

#[test]
fn a_profile_without_sources_needs_some() {
    let profiles = Profiles::new("[profiles.home]\ntag = [\"x\"]\n");
    let outcome = profiles.run(&[]).expect(2);
    assert!(!outcome.error().is_empty());
    profiles.run(&["dir"]).expect(0);
    assert_eq!(profiles.place.names(), ["dir", "dir/d.o", "dir/e"]);
}

#[test]
fn a_config_file_disturbs_no_create_that_uses_no_profile() {
    let profiles = Profiles::new("[profiles.home]\nexclude = [\"*\"]\n");
    let mut command = profiles.place.command(&args!["--config", &profiles.config, "."]);
    let outcome = run(&mut command).expect(0);
    assert_eq!(profiles.place.names().len(), 6, "{}", outcome.text());
    let id = profiles.place.repo.ids().pop().expect("there is one");
    assert!(outcome.text().contains(&id));
    let json = run(command.arg("--json")).expect(0).last_json_line();
    assert_ne!(id_of(&json), id);
}
