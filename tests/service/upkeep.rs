//! The unit that keeps a repository up at night, run line by line without systemd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::command::{Outcome, icecore, run};
use crate::support::fixture::Fixture;
use crate::support::scratch::Scratch;

/// The commands of the unit, as systemd would run them.
fn steps() -> Vec<String> {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR"));
    let unit = unit.join("contrib/systemd/icecore-maintain@.service");
    let unit = fs::read_to_string(unit).expect("the unit is there");
    let lines = unit.lines().filter_map(|line| line.strip_prefix("ExecStart="));
    let steps: Vec<_> = lines.map(|line| line.replace("%%", "%").replace("$$", "$")).collect();
    assert!(steps.len() == 4 && steps.iter().all(|step| !step.contains('\\')), "{steps:?}");
    steps
}

struct Night<'a> {
    repository: &'a Path,
    /// Where the program is found as `icecore`.
    programs: PathBuf,
    state: PathBuf,
    config: PathBuf,
}

impl Night<'_> {
    /// Runs one step after the other, up to the first that fails, and returns
    /// the number of it.
    fn pass(&self) -> Result<(), (usize, Outcome)> {
        for (number, step) in steps().into_iter().enumerate() {
            let step = step.replace("/usr/local/bin/icecore prune", "icecore prune --config $0");
            let step = step.replace("/usr/local/bin/icecore", "icecore");
            let mut command = Command::new("/bin/sh");
            command.arg("-c").arg(step).arg(&self.config).current_dir(&self.state);
            command.env("PATH", format!("{}:/usr/bin:/bin", self.programs.display()));
            command.env("ICECORE_REPO", self.repository);
            let outcome = run(&mut command);
            if outcome.code != 0 {
                return Err((number, outcome));
            }
        }
        Ok(())
    }
}

#[test]
fn a_night_of_upkeep_removes_by_the_policy_and_nothing_after_a_step_that_failed() {
    let fixture = Fixture::plain();
    let scratch = Scratch::new();
    let (programs, state) = (scratch.mkdir("bin"), scratch.mkdir("state"));
    std::os::unix::fs::symlink(icecore(), programs.join("icecore")).expect("a link can be made");
    let config = scratch.join("icecore.toml");
    fs::write(&config, "[policies.standard]\nkeep-last = 1\n").expect("it can be written");
    let repo = &fixture.repo;
    let night = Night { repository: repo.path(), programs, state, config };
    let create = || repo.create(&fixture.source);

    let newest = create();
    night.pass().map_err(|(step, outcome)| (step, outcome.error())).expect("all is well");
    assert_eq!(repo.ids(), [newest]);
    let head = fs::read_to_string(night.state.join("head")).expect("a head is kept");
    assert!(head.trim().len() == 64 && head.trim().bytes().all(|byte| byte.is_ascii_hexdigit()));
    create();
    night.pass().map_err(|(step, outcome)| (step, outcome.error())).expect("another night");

    // Somebody cuts off what was logged last.
    create();
    let segment = repo.path().join("log/segment-000001.json");
    let log = fs::read_to_string(&segment).expect("the log can be read");
    let cut: String = log.lines().take(2).map(|line| format!("{line}\n")).collect();
    fs::write(&segment, cut).expect("it can be written");
    let (step, outcome) = night.pass().expect_err("that is noticed");
    assert_eq!((step, outcome.code, repo.ids().len()), (0, 4, 2), "{}", outcome.error());

    // The log is whole again, and the store is not.
    fs::write(&segment, log).expect("it can be written");
    let files = fs::read_dir(repo.path().join("db")).expect("it can be listed").flatten();
    let tables =
        files.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "sst"));
    let largest = tables.max_by_key(|path| fs::metadata(path).map_or(0, |data| data.len()));
    fs::remove_file(largest.expect("there is a table")).expect("it can be removed");
    let (step, outcome) = night.pass().expect_err("that is noticed too");
    assert_eq!((step, outcome.code, repo.ids().len()), (1, 4, 2), "{}", outcome.error());
}
