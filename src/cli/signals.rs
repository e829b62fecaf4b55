//! Signals: the first one asks the command to stop cleanly, the second one ends
//! the process at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::unregister;
use signal_hook::{SigId, flag};

use crate::archive::ArchiveError;
use crate::check::CheckError;
use crate::cli::exit::CommandError;
use crate::find::FindError;
use crate::gc::GcError;
use crate::ingest::IngestError;
use crate::repair::RepairError;
use crate::repository::RepositoryError;
use crate::restore::RestoreError;
use crate::statistics::StatisticsError;

/// The signal that asked the command to stop, if any did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    received: Arc<AtomicUsize>,
    /// Set by the first signal.
    again: Arc<AtomicBool>,
    /// What is done on SIGHUP.
    on_hangup: Vec<SigId>,
}

impl Signals {
    /// Starts to listen.
    pub(crate) fn install() -> Result<Self, CommandError> {
        let mut signals = Self::default();
        signals.register().map_err(CommandError::io("listen to signals"))?;
        Ok(signals)
    }

    fn register(&mut self) -> io::Result<()> {
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let number = usize::try_from(signal).unwrap_or_default();
            // In this order: the second signal finds `again` set and ends all.
            let actions = [
                flag::register_conditional_shutdown(signal, 128 + signal, self.again.clone())?,
                flag::register(signal, self.again.clone())?,
                flag::register_usize(signal, self.received.clone(), number)?,
            ];
            if signal == SIGHUP {
                self.on_hangup.extend(actions);
            }
        }
        Ok(())
    }

    /// Lets SIGHUP alone from now on: it means something else to this command.
    pub(crate) fn leave_hangups(&self) {
        for action in &self.on_hangup {
            unregister(*action);
        }
        self.again.store(false, Ordering::Relaxed);
    }

    /// Lets the first signal end the process at once while `work` looks at none. It must
    /// be safe to kill.
    pub(crate) fn end_at_once<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = self.again.swap(true, Ordering::Relaxed);
        let done = work();
        self.again.store(before, Ordering::Relaxed);
        done
    }

    /// The number of the signal that was received.
    pub(crate) fn received(&self) -> Option<u8> {
        u8::try_from(self.received.load(Ordering::Relaxed)).ok().filter(|signal| *signal != 0)
    }

    /// Turns any error into one by a signal, if there was one: what it ended
    /// could not but fail.
    pub(crate) fn instead_of(&self, error: CommandError) -> CommandError {
        match self.received() {
            Some(signal) => CommandError::Signalled { what: error.to_string(), signal },
            None => error,
        }
    }

    /// Turns an error that says "cancelled" into one that says by which signal.
    pub(crate) fn explain(&self, error: CommandError) -> CommandError {
        let cancelled = matches!(
            error,
            CommandError::Repository(
                RepositoryError::Cancelled { .. } | RepositoryError::RebuildCancelled { .. }
            ) | CommandError::Ingest(IngestError::Cancelled)
                | CommandError::Archive(ArchiveError::Cancelled)
                | CommandError::Gc(GcError::Cancelled)
                | CommandError::Check(CheckError::Cancelled)
                | CommandError::Find(FindError::Cancelled)
                | CommandError::Statistics(StatisticsError::Cancelled)
                | CommandError::Repair(RepairError::Cancelled)
                | CommandError::Restore(RestoreError::Cancelled)
        );
        match self.received() {
            Some(signal) if cancelled => {
                CommandError::Signalled { what: error.to_string(), signal }
            }
            _ => error,
        }
    }
}
