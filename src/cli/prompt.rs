//! Asking whoever sits at the terminal for what nobody else may see.
//!
//! Purpose: [`asked_at`] finds the terminal, [`ask`] shows a prompt on it and reads a line
//! that is not shown.
//!
//! Invariants:
//! - It is the controlling terminal itself, so that a stream from a pipe or errors into a
//!   file do no harm. A program none of whose streams is a terminal asks nobody.
//! - What is typed is not shown either when the process was stopped at the prompt and goes
//!   on. At the end the terminal is as it was.
//!
//! Imports: the context and errors of this layer.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::SIGCONT;
use signal_hook::{SigId, flag, low_level};
use zeroize::Zeroizing;

use crate::cli::context::Context;
use crate::cli::exit::CommandError;

const TERMINAL: &str = "/dev/tty";
/// Bytes of a line that a terminal gives at most.
const LINE_BYTES_MAX: usize = 4096;

/// The terminal of whoever can be asked, if anybody can.
pub(crate) fn asked_at() -> Option<File> {
    let is_watched =
        io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal();
    let open = || File::options().read(true).write(true).open(TERMINAL).ok();
    is_watched.then(open).flatten()
}

/// Asks for a line that is not shown. Returns it without its end.
pub(crate) fn ask(
    context: &Context,
    terminal: &File,
    prompt: &str,
) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let mut line = Zeroizing::new([0; LINE_BYTES_MAX]);
    let length = {
        // First of all: who answers the prompt at once is not shown either.
        let quiet = Quiet::begin(terminal)?;
        show(terminal, prompt);
        let answered = wait(context, &quiet, prompt);
        let read = |()| {
            let read = rustix::io::retry_on_intr(|| rustix::io::read(terminal, &mut line[..]));
            read.map_err(|error| CommandError::io("read the password")(error.into()))
        };
        answered.and_then(read)
    };
    show(terminal, "\n");
    let line = line.get(..length?).unwrap_or_default();
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let end = line.iter().rposition(|byte| !is_end(byte)).map_or(0, |last| last + 1);
    Ok(Zeroizing::new(line.get(..end).unwrap_or_default().to_vec()))
}

fn show(mut terminal: &File, text: &str) {
    let _ = terminal.write_all(text.as_bytes());
}

/// Waits until there is an answer. A signal ends that: reading alone would go on, since
/// signals are noted and interrupt nothing.
fn wait(context: &Context, quiet: &Quiet<'_>, prompt: &str) -> Result<(), CommandError> {
    let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    loop {
        if let Some(signal) = context.signals.received() {
            let what = "No password was given".to_owned();
            return Err(CommandError::Signalled { what, signal });
        }
        if quiet.resume()? {
            show(quiet.terminal, prompt);
        }
        match poll(&mut [PollFd::new(quiet.terminal, PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) if quiet.was_stopped.load(Ordering::Relaxed) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(CommandError::io("wait for the answer")(error.into())),
        }
    }
}

/// Keeps the terminal from showing what is typed until it is dropped.
struct Quiet<'a> {
    terminal: &'a File,
    before: Termios,
    /// Whether the process was stopped and goes on; the shell may have changed the
    /// terminal meanwhile.
    was_stopped: Arc<AtomicBool>,
    on_continue: SigId,
}

impl<'a> Quiet<'a> {
    fn begin(terminal: &'a File) -> Result<Self, CommandError> {
        let before = tcgetattr(terminal).map_err(failed)?;
        let was_stopped = Arc::new(AtomicBool::new(false));
        let on_continue = flag::register(SIGCONT, Arc::clone(&was_stopped));
        let on_continue = on_continue.map_err(CommandError::io("listen to signals"))?;
        let quiet = Self { terminal, before, was_stopped, on_continue };
        quiet.set()?;
        Ok(quiet)
    }

    fn set(&self) -> Result<(), CommandError> {
        let mut quiet = self.before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(self.terminal, OptionalActions::Flush, &quiet).map_err(failed)
    }

    /// Keeps the terminal from showing what is typed again if the process was stopped, and
    /// returns whether it was.
    fn resume(&self) -> Result<bool, CommandError> {
        let was_stopped = self.was_stopped.swap(false, Ordering::Relaxed);
        if was_stopped {
            self.set()?;
        }
        Ok(was_stopped)
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        low_level::unregister(self.on_continue);
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

fn failed(error: Errno) -> CommandError {
    CommandError::io("keep the terminal from showing the password")(error.into())
}
