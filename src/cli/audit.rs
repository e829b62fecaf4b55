//! The trail that a command leaves in the audit log.
//!
//! A command does its work in [`audited`] and calls [`Trail::record`] as soon as
//! it has changed or read out something; that it failed is recorded by itself.
//! Whatever happens to the log, the command goes on.

use std::cell::Cell;
use std::io::{self, Write as _};
use std::time::Instant;

use crate::audit::{Actor, AuditError, AuditLog, Details, EventKind, Record};
use crate::cli::context::{Context, host, user};
use crate::cli::exit::{CommandError, WRONG_PASSWORD};
use crate::repository::{Layout, is_encrypted};

/// Records what one run of a command does.
pub(crate) struct Trail<'a> {
    context: &'a Context,
    start: Instant,
    /// A dry run leaves no trail.
    is_dry_run: bool,
    /// The code of the last record.
    told: Cell<Option<u8>>,
    is_warned: Cell<bool>,
}

/// Does the work of a command, and records its failure.
pub(crate) fn audited<T>(
    context: &Context,
    operation: &str,
    is_dry_run: bool,
    work: impl FnOnce(&Trail<'_>) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let (told, is_warned) = (Cell::new(None), Cell::new(false));
    let trail = Trail { context, start: Instant::now(), is_dry_run, told, is_warned };
    let done = work(&trail);
    if let Err(error) = &done {
        // A check, say, has recorded by itself what it found.
        let is_told = trail.told.get() == Some(error.code());
        if !is_told && !error.is_rejection() {
            trail.record(failure(operation, error), error.code());
        }
    }
    done
}

fn failure(operation: &str, error: &CommandError) -> Record {
    Record::new(EventKind::OperationFailed)
        .text("operation", operation)
        .text("error", &error.to_string())
}

impl Trail<'_> {
    /// Appends an event, with the code that the command ends with as far as is
    /// known. If that fails, says so once.
    pub(crate) fn record(&self, record: Record, code: u8) {
        let Some(warning) = self.try_record(record, code) else { return };
        if !self.is_warned.replace(true) {
            let _ = writeln!(io::stderr(), "icecore: {warning}");
        }
    }

    /// The same, but returns the warning. A read-only medium is none, and neither
    /// is a repository that is not there: the operation itself says so.
    pub(crate) fn try_record(&self, record: Record, code: u8) -> Option<String> {
        self.told.set(Some(code));
        if self.is_dry_run {
            return None;
        }
        let duration = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let record = record.count("duration_ms", duration).count("exit_code", code.into());
        let record = record.with_details(details(self.context));
        let log = AuditLog::new(&Layout::new(&self.context.repository));
        let error = log.append(&actor(), &record).err()?;
        let is_told = error.is_read_only() || matches!(error, AuditError::NoRepository { .. });
        (!is_told).then(|| format!("The audit log lacks this operation: {error}"))
    }
}

/// How the paths and facts of events are written: in an encrypted repository not in
/// the clear.
fn details(context: &Context) -> Details {
    let is_encrypted = is_encrypted(&Layout::new(&context.repository));
    match (context.known_key(), is_encrypted) {
        (Some(key), _) => Details::Sealed(key.keys().log),
        (None, Ok(false)) => Details::Clear,
        (None, _) => Details::Omitted,
    }
}

/// Records that a password or a key was tried that is none of the repository's.
pub(crate) fn password_refused(context: &Context, what: &str) {
    let record = Record::new(EventKind::PasswordRefused)
        .text("operation", &format!("unlock by {what}"))
        .count("exit_code", WRONG_PASSWORD.into())
        .with_details(Details::Omitted);
    let log = AuditLog::new(&Layout::new(&context.repository));
    if let Err(error) = log.append(&actor(), &record)
        && !error.is_read_only()
    {
        let _ = writeln!(io::stderr(), "icecore: The audit log lacks a wrong password: {error}");
    }
}

/// Who runs this.
pub(crate) fn actor() -> Actor {
    Actor {
        user: user(),
        uid: rustix::process::geteuid().as_raw(),
        host: host(),
        pid: std::process::id(),
        program: concat!("icecore ", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}
