//! A program on a terminal of its own, with somebody who types.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use super::command::finish;
use super::encrypt::give_password;

/// A shell's command line that runs on a terminal which shows what is typed.
pub(crate) struct Terminal {
    child: Child,
    shown: String,
}

impl Terminal {
    /// Starts it, with no password in its environment.
    pub(crate) fn start(line: &str) -> Self {
        // Whoever waits for what never comes fails in the end.
        let mut command = Command::new("timeout");
        command.args(["--foreground", "90", "script"]);
        command.args(["-qec", &format!("stty echo; {line}"), "/dev/null"]);
        command.env("TZ", "UTC").env("LC_ALL", "C.UTF-8").env("NO_COLOR", "1");
        give_password(&mut command, false);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: command.spawn().expect("script starts"), shown: String::new() }
    }

    /// Waits until it shows a text at the end of what it shows.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        let output = self.child.stdout.as_mut().expect("it is piped");
        while !self.shown.ends_with(text) {
            let mut byte = [0];
            let read = output.read(&mut byte).expect("it can be read");
            assert_eq!(read, 1, "it ended without {text:?}: {}", self.shown);
            self.shown.push(byte[0].into());
        }
    }

    /// What it showed until now.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Types a text.
    pub(crate) fn keys(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().expect("it is piped");
        input.write_all(text.as_bytes()).expect("it takes keys");
    }

    /// Waits for the end. Returns the exit code and all that was shown.
    pub(crate) fn end(self) -> (i32, String) {
        let outcome = finish(self.child, "a program on a terminal");
        (outcome.code, self.shown + &outcome.text())
    }
}
