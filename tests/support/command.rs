//! Programs, run to their end with their output and a bound on their time.

use std::ffi::OsStr;
use std::io::{Read, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::encrypt::give_password_by_default;

/// The longest that one program may run.
const TIME_MAX: Duration = Duration::from_secs(400);
/// How long output may stay open behind a program's end.
const OUTPUT_MAX: Duration = Duration::from_secs(10);

/// The program under test. The only place that asks for it.
pub(crate) fn icecore() -> &'static str {
    env!("CARGO_BIN_EXE_icecore")
}

/// What a program left behind.
pub(crate) struct Outcome {
    what: String,
    /// The exit code, 128+N for an end by signal N.
    pub(crate) code: i32,
    /// What it printed.
    pub(crate) stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Outcome {
    /// Fails unless the program ended with `code`.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code of {}\n{}", self.what, self.streams());
        self
    }

    /// Fails unless the program ended with `code` and one line on stderr that
    /// holds every one of `words`. Returns the line.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, words: &[&str]) -> String {
        let this = self.expect(code);
        let error = this.error();
        let lines: Vec<&str> = error.lines().collect();
        assert_eq!(lines.len(), 1, "lines on stderr of {}\n{}", this.what, this.streams());
        for word in words {
            let said = error.to_lowercase().contains(&word.to_lowercase());
            assert!(said, "stderr of {} lacks {word:?}\n{}", this.what, this.streams());
        }
        error
    }

    /// Like [`Self::fails`], but remarks may come before the line.
    #[track_caller]
    pub(crate) fn ends(self, code: i32, words: &[&str]) -> String {
        let mut this = self.expect(code);
        let error = this.error();
        let last = error.lines().last().unwrap_or_default();
        this.stderr = last.as_bytes().to_vec();
        this.fails(code, words)
    }

    /// What it printed, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// What it complained of, as text.
    pub(crate) fn error(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// What it printed, as one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", self.what, self.streams()))
    }

    /// The last of its JSON lines.
    #[track_caller]
    pub(crate) fn last_json_line(&self) -> serde_json::Value {
        let text = self.text();
        let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("");
        serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", self.what, self.streams()))
    }

    fn streams(&self) -> String {
        format!("stdout: {}\nstderr: {}", clip(&self.text()), clip(&self.error()))
    }
}

fn clip(text: &str) -> String {
    text.chars().take(4000).collect()
}

/// The exit code as a shell shows it.
pub(crate) fn code_of(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Outcome {
    give_password_by_default(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    finish(child, &format!("{command:?}"))
}

/// Runs a command with something to read.
pub(crate) fn run_fed(command: &mut Command, input: &[u8]) -> Outcome {
    give_password_by_default(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _not_all_was_wanted = stdin.write_all(input);
        });
        finish(child, &format!("{command:?}"))
    })
}

/// Waits for a child whose output is piped.
pub(crate) fn finish(mut child: Child, what: &str) -> Outcome {
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let status = wait(&mut child, TIME_MAX, what);
    let open = || panic!("{what} left its output open behind its end");
    Outcome {
        what: what.to_owned(),
        code: code_of(status),
        stdout: stdout.recv_timeout(OUTPUT_MAX).unwrap_or_else(|_| open()),
        stderr: stderr.recv_timeout(OUTPUT_MAX).unwrap_or_else(|_| open()),
    }
}

/// Waits for a child's end; kills it and fails after `bound`.
pub(crate) fn wait(child: &mut Child, bound: Duration, what: &str) -> ExitStatus {
    let deadline = Instant::now() + bound;
    loop {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            return status;
        }
        if Instant::now() > deadline {
            let _gone = child.kill();
            panic!("{what} did not end within {bound:?}");
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

fn collect(source: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut source) = source {
            let _partial = source.read_to_end(&mut bytes);
        }
        let _waited_no_longer = sender.send(bytes);
    });
    receiver
}

/// Runs a tool with fixed language and zone, and fails unless it ends with 0.
#[track_caller]
pub(crate) fn run_tool(
    tool: &str,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Outcome {
    try_tool(tool, arguments).expect(0)
}

/// Runs a tool with fixed language and zone.
pub(crate) fn try_tool(
    tool: &str,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Outcome {
    run(Command::new(tool).args(arguments).env("LC_ALL", "C.UTF-8").env("TZ", "UTC"))
}
