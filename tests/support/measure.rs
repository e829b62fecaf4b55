//! What a command costs: time, processor time and memory.

use std::ffi::OsStr;
use std::process::Command;

use super::command::run;
use super::repo::Repo;

/// Runs a command with its output thrown away, and prints what it took.
const SCRIPT: &str = "\
import resource, subprocess, sys, time
begin = time.monotonic()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
seconds = time.monotonic() - begin
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(done.returncode)
";

/// What a command took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) seconds: f64,
    /// Of all processors.
    pub(crate) cpu_seconds: f64,
    /// The most memory at any time.
    pub(crate) peak_bytes: u64,
}

/// Runs a command on a repository and fails unless it ends with 0.
#[track_caller]
pub(crate) fn measured(
    repo: &Repo,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Measured {
    let plain = repo.command(arguments);
    let mut command = Command::new("python3");
    command.args(["-c", SCRIPT]).arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let text = run(&mut command).expect(0).text();
    let numbers: Vec<f64> =
        text.split_whitespace().map(|number| number.parse().expect("a number")).collect();
    let [seconds, cpu_seconds, peak_kib] = numbers[..] else { panic!("three numbers: {text}") };
    Measured { seconds, cpu_seconds, peak_bytes: peak_kib as u64 * 1024 }
}
