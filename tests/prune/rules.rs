//! What `prune` keeps and removes, and how it says so.

use std::collections::BTreeMap;

use super::{Past, ids_in};
use crate::support::args;
use crate::support::command::run;
use crate::support::generate::file;
use crate::support::repo::count_of;

const TIMES: [&str; 5] = [
    "2026-03-01T03:00:00Z",
    "2026-03-02T03:00:00Z",
    "2026-03-02T15:00:00Z",
    "2026-03-03T03:00:00Z",
    "2026-03-03T15:00:00Z",
];

#[test]
fn prune_removes_what_no_rule_keeps_and_nothing_else_and_a_second_time_nothing() {
    let (past, ids) = Past::of(&TIMES);
    let said = past.repo.ok(["prune", "--keep-daily", "2", "--yes", "--json"]).last_json_line();
    assert_eq!(ids_in(&said, "removed"), [&ids[0][..], &ids[1], &ids[3]]);
    assert_eq!(past.repo.ids(), [&ids[2][..], &ids[4]]);
    let again = past.repo.ok(["prune", "--keep-daily", "2", "--yes", "--json"]).last_json_line();
    assert_eq!((ids_in(&again, "removed").len(), count_of(&again, "kept")), (0, 2));
    // Nothing to remove is nothing to ask for.
    past.repo.ok(["prune", "--keep-daily", "2"]);
}

#[test]
fn a_dry_run_says_of_each_snapshot_which_rules_keep_it_and_changes_nothing() {
    let (past, ids) = Past::of(&TIMES);
    past.repo.ok(["tag", &ids[1], "--pin"]);
    let rules = ["prune", "-n", "--keep-daily", "9", "--keep-last", "1", "--max-age", "1000y"];
    let text = past.repo.ok(rules).text();
    let line = |id: &str| {
        let found = text.lines().find(|line| line.starts_with(&id[..12]));
        found.unwrap_or_else(|| panic!("{id} is not in {text}"))
    };
    assert!(line(&ids[0]).ends_with("keep    daily"), "{text}");
    assert!(line(&ids[1]).ends_with("keep    pinned"), "{text}");
    assert!(line(&ids[3]).ends_with("remove  no rule keeps it"), "{text}");
    assert!(line(&ids[4]).ends_with("keep    last daily"), "{text}");
    assert!(text.contains("host web, sources") && text.contains("Would remove 1 of 5"), "{text}");
    let json = past.repo.ok(rules.iter().chain(&["--json"])).last_json_line();
    assert_eq!(json["dry_run"], true);
    assert_eq!(ids_in(&json, "removed"), [ids[3].clone()]);
    let rows = json["snapshots"].as_array().expect("a list");
    let row = rows.iter().find(|row| row["id"] == ids[4][..]).expect("it is there");
    assert_eq!(row["rules"], serde_json::json!(["last", "daily"]));
    assert_eq!((&row["keep"], &row["group"]["host"]), (&true.into(), &"web".into()));
    assert_eq!(past.repo.ids(), ids);
}

#[test]
fn the_table_fits_the_terminal_and_an_answer_of_no_changes_nothing() {
    let (past, ids) = Past::of(&TIMES);
    let rules = "--keep-last 9 --keep-hourly 9 --keep-daily 9 --keep-monthly 9 --keep-yearly 9";
    let shown = past.on_a_terminal(&format!("prune -n {rules}"), "").expect(0).text();
    let widest = shown.lines().map(|line| line.trim_end().len()).max();
    assert!(shown.contains("keep  last hourly") && widest <= Some(60), "{widest:?}: {shown}");
    let wrapped = shown.lines().any(|line| line.trim_end() == format!("{:41}monthly yearly", ""));
    assert!(wrapped, "{shown}");
    let asked = past.on_a_terminal("prune --keep-last 1", "n").expect(14).text();
    assert!(asked.contains("Remove 4 of 5 snapshots? [y/N]"), "{asked}");
    assert!(asked.contains(&ids[0][..12]) && !asked.contains(&ids[4][..12]), "{asked}");
    assert_eq!(past.repo.ids(), ids);
    past.on_a_terminal("prune --keep-last 1", "y").expect(0);
    assert_eq!(past.repo.ids(), ids[4..]);
}

#[test]
fn without_a_rule_or_somebody_to_ask_prune_refuses() {
    let (past, ids) = Past::of(&TIMES);
    past.repo.run(["prune", "--yes"]).fails(2, &["no rule", "--keep-daily"]);
    past.repo.run(["prune", "--yes", "--keep-daily", "0"]).fails(2, &["no rule"]);
    let limits = ["prune", "--yes", "--max-age", "90d", "--max-snapshots", "3"];
    past.repo.run(limits).fails(2, &["limits", "--keep-last unlimited"]);
    past.repo.run(["prune", "--keep-last", "1"]).fails(14, &["--yes", "4 of 5"]);
    for wrong in [
        ["--keep-daily", "many"],
        ["--keep-within", "90"],
        ["--keep-within", "90min"],
        ["--group-by", "hose"],
        ["--time-zone", "Mars"],
        ["--max-snapshots", "0"],
    ] {
        let outcome = past.repo.run(["prune", "--yes"].iter().chain(&wrong));
        assert_eq!(outcome.code, 2, "{wrong:?}: {}", outcome.error());
    }
    assert_eq!(past.repo.ids(), ids);
}

#[test]
fn limits_take_away_and_the_last_of_a_group_stays_unless_told() {
    let (past, ids) = Past::of(&TIMES);
    let all = ["prune", "--yes", "--keep-last", "unlimited"];
    past.repo.ok(all.iter().chain(&["--max-snapshots", "3"]));
    assert_eq!(past.repo.ids(), ids[2..]);
    past.repo.ok(all.iter().chain(&["--max-age", "24h"]));
    assert_eq!(past.repo.ids(), ids[4..]);
    past.repo.ok(all.iter().chain(&["--max-age", "24h", "--allow-empty-group"]));
    assert_eq!(past.repo.ids(), [""; 0]);
}

#[test]
fn groups_are_judged_alone_and_filters_leave_the_others_out() {
    let (past, mut ids) = Past::of(&TIMES[..2]);
    ids.push(past.take("2026-03-04T00:00:00Z", &["--host", "db"]));
    ids.push(past.take("2026-03-05T00:00:00Z", &["--host", "db", "--tag", "big"]));
    let removed = |options: &[&str]| {
        let rules = ["prune", "-n", "--json", "--keep-last", "1"];
        ids_in(&past.repo.ok(rules.iter().chain(options)).last_json_line(), "removed")
    };
    assert_eq!(removed(&[]), [&ids[0][..], &ids[2]]);
    assert_eq!(removed(&["--group-by", ""]), ids[..3]);
    assert_eq!(removed(&["--group-by", "host,tags"]), ids[..1]);
    assert_eq!(removed(&["--host", "db"]), ids[2..3]);
    assert_eq!(removed(&["--tag", "big"]), ids[..0]);
    assert_eq!(removed(&["--path", "/elsewhere"]), ids[..0]);
    let source = past.source.to_str().expect("a text");
    assert_eq!(removed(&["--path", source, "--host", "web"]), ids[..1]);
    assert_eq!(removed(&["--keep-tag", "other", "--group-by", "host"]), [&ids[0][..], &ids[2]]);
}

#[test]
fn days_are_those_of_the_zone() {
    let (past, ids) = Past::of(&["2026-03-02T22:30:00Z", "2026-03-02T23:30:00Z"]);
    let removed = |zone: &str| {
        let options = args!["prune", "-n", "--json", "--keep-daily", "1", "--time-zone", zone];
        ids_in(&past.repo.ok(options).last_json_line(), "removed").len()
    };
    let kept_of_two = |zone: &str| {
        let options = args!["prune", "-n", "--json", "--keep-daily", "2", "--time-zone", zone];
        let json = past.repo.ok(options).last_json_line();
        json["snapshots"][0]["rules"].clone()
    };
    assert_eq!((removed("UTC"), removed("Europe/Berlin")), (1, 1));
    assert_eq!(kept_of_two("UTC"), serde_json::json!(["oldest-daily"]));
    assert_eq!(kept_of_two("Europe/Berlin"), serde_json::json!(["daily"]));
    let mut local = past.repo.command(["prune", "-n", "--json", "--keep-daily", "2"]);
    let json = run(local.env("TZ", "Europe/Berlin")).expect(0).last_json_line();
    assert_eq!(json["snapshots"][0]["rules"], serde_json::json!(["daily"]), "{ids:?}");
}

#[test]
fn a_policy_of_the_configuration_has_the_rules_and_the_command_line_wins() {
    let (past, ids) = Past::of(&TIMES);
    let config = past.scratch.join("config.toml");
    let repo = past.repo.path().display();
    let text = format!(
        "repository = '{repo}'\n[policies.standard]\nkeep-daily = 30\nkeep-weekly = 12\n\
         keep-monthly = 12\n[policies.quarter]\nkeep-within = '90d'\n[policies.bad]\nkeep = 1\n"
    );
    file(&config, text.as_bytes());
    let prune = |options: &[&str]| {
        let mut command = crate::support::repo::plain_command();
        run(command.args(args!["prune", "--json", "-n", "--config", &config]).args(options))
    };
    let removed =
        |options: &[&str]| ids_in(&prune(options).expect(0).last_json_line(), "removed").len();
    assert_eq!(removed(&["--policy", "standard"]), 2);
    assert_eq!(removed(&["--policy", "quarter"]), 0);
    let wins = ["--policy", "standard", "--keep-daily", "1", "--keep-weekly", "1"];
    // The 1st is the newest of its week, the 3rd that of its day and month.
    assert_eq!(removed(&wins), 3);
    prune(&["--policy", "absent"]).fails(2, &["absent", "standard"]);
    prune(&["--policy", "bad"]).fails(2, &["keep", "bad"]);
    assert_eq!(past.repo.ids(), ids);
}

#[test]
fn with_gc_the_space_returns_at_once() {
    let (past, ids) = Past::of(&TIMES);
    let said = past.repo.ok(["prune", "--keep-last", "1", "--yes", "--gc", "--json"]).text();
    let lines: Vec<serde_json::Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {said}")))
        .collect();
    assert_eq!((lines.len(), ids_in(&lines[0], "removed").len()), (2, 4), "{said}");
    assert_eq!(count_of(&lines[1], "snapshots"), 1, "{said}");
    assert!(count_of(&lines[1], "deleted_trees") >= 4, "{said}");
    past.repo.run(["undelete", &ids[0]]).fails(1, &[&ids[0][..12]]);
    let shown = past.repo.ok(["ls", "--recursive", "latest"]).text();
    assert!(shown.contains("file"), "{shown}");
}

#[test]
fn a_snapshot_of_the_future_stays_and_takes_no_place() {
    let (past, mut ids) = Past::of(&TIMES);
    ids.push(past.take("2199-01-01T00:00:00Z", &[]));
    let json = past.repo.ok(["prune", "--keep-last", "1", "--yes", "--json"]).last_json_line();
    let rules: BTreeMap<&str, &serde_json::Value> = json["snapshots"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| (row["id"].as_str().expect("a text"), &row["rules"]))
        .collect();
    assert_eq!(*rules[&ids[5][..]], serde_json::json!(["future"]));
    assert_eq!(past.repo.ids(), ids[4..]);
}
