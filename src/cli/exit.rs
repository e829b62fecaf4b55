//! How a command ends: one line and a documented code.

use std::io::{self, Write as _};

use crate::archive::ArchiveError;
use crate::audit::AuditError;
use crate::check::CheckError;
use crate::diff::DiffError;
use crate::find::FindError;
use crate::fuse::MountError;
use crate::gc::GcError;
use crate::ingest::IngestError;
use crate::repair::RepairError;
use crate::repository::RepositoryError;
use crate::restore::RestoreError;
use crate::statistics::StatisticsError;
use crate::store::StoreError;
use crate::view::ViewError;

/// Exit codes; see the README.
const FAILED: u8 = 1;
pub(crate) const USAGE: u8 = 2;
pub(crate) const INCOMPLETE: u8 = 3;
pub(crate) const DAMAGE: u8 = 4;
pub(crate) const NO_REPOSITORY: u8 = 10;
pub(crate) const BUSY: u8 = 11;
pub(crate) const WRONG_PASSWORD: u8 = 12;
pub(crate) const NEWER: u8 = 13;
pub(crate) const REFUSED: u8 = 14;
/// What a command may always end with.
const ALWAYS: [u8; 3] = [0, FAILED, USAGE];
const MEANINGS: [(u8, &str); 10] = [
    (0, "done"),
    (FAILED, "failed"),
    (USAGE, "usage"),
    (INCOMPLETE, "done, but some items could not be read or restored"),
    (DAMAGE, "damage found"),
    (NO_REPOSITORY, "no repository there"),
    (BUSY, "repository busy"),
    (WRONG_PASSWORD, "wrong password or key, or none"),
    (NEWER, "written by a newer icecore"),
    (REFUSED, "refused as unsafe, or not confirmed"),
];

/// The part of a command's help that says how it ends: as all do, or with these
/// codes.
pub(crate) fn exit_status(codes: &[u8]) -> String {
    let given = MEANINGS.iter().filter(|(code, _)| ALWAYS.contains(code) || codes.contains(code));
    let lines = given.map(|(code, meaning)| format!("  {code:<5}  {meaning}\n"));
    format!("Exit status:\n{}  128+N  ended by signal N", lines.collect::<String>())
}

/// What went wrong in a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error(transparent)]
    View(#[from] ViewError),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Gc(#[from] GcError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Find(#[from] FindError),
    #[error(transparent)]
    Statistics(#[from] StatisticsError),
    #[error(transparent)]
    Repair(#[from] RepairError),
    #[error(transparent)]
    Diff(#[from] DiffError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// What is kept is not what it should be.
    #[error("{0}")]
    Damage(String),
    /// The command line makes no sense although it parses.
    #[error("{0}")]
    Usage(String),
    /// Refused as unsafe.
    #[error("{0}")]
    Refused(String),
    /// Something outside the repository failed.
    #[error("Cannot {action}: {source}")]
    Io { action: String, source: io::Error },
    /// Anything else, in one line.
    #[error("{0}")]
    Failed(String),
    /// All was said; the process ends with this code.
    #[error("")]
    Told(u8),
    /// Standard output is closed: whoever read it has enough.
    #[error("")]
    ClosedOutput,
    /// Ended by a signal.
    #[error("{what}")]
    Signalled { what: String, signal: u8 },
}

impl CommandError {
    /// Wraps an I/O error with what was being done.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    /// Whether the repository was not touched, and nothing is to be logged in it:
    /// it is not there or not to be understood, or the user was told no.
    pub(crate) fn is_rejection(&self) -> bool {
        matches!(self.code(), 0 | USAGE | NO_REPOSITORY | WRONG_PASSWORD | NEWER | REFUSED)
    }

    /// What to do, where the error does not say it.
    const fn hint(&self) -> &'static str {
        match self {
            Self::Repository(RepositoryError::Store(StoreError::Damaged { .. }))
            | Self::Gc(GcError::Repository(RepositoryError::Store(StoreError::Damaged {
                ..
            }))) => "; `icecore repair -n` tells what a repair would do",
            Self::Repository(RepositoryError::Store(StoreError::Missing { .. })) => {
                "; if it was there, `icecore repair` looks for what is left of it"
            }
            _ => "",
        }
    }

    /// The code that the process ends with.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Repository(error) | Self::Gc(GcError::Repository(error)) => repository(error),
            Self::Check(CheckError::Repository(error))
            | Self::Repair(RepairError::Repository(error)) => repository(error),
            Self::Diff(DiffError::Repository(error)) => repository(error),
            Self::Gc(GcError::Unreadable { source, .. }) => repository(source),
            Self::Find(FindError::Repository(error)) => repository(error),
            Self::Find(FindError::Pattern(_)) => USAGE,
            Self::Statistics(StatisticsError::Repository(error)) => repository(error),
            Self::Restore(RestoreError::Repository(error)) => repository(error),
            Self::Restore(RestoreError::Refused(_)) => REFUSED,
            Self::Ingest(IngestError::Pattern(_)) => USAGE,
            Self::Ingest(error) => error.repository().map_or(FAILED, repository),
            Self::View(error) | Self::Mount(MountError::View(error)) => match error.repository() {
                Some(error) => repository(error),
                None if error.is_damage() => DAMAGE,
                None => FAILED,
            },
            Self::Mount(error) if error.is_refusal() => REFUSED,
            Self::Archive(error) => archive(error),
            Self::Usage(_) => USAGE,
            Self::Refused(_) => REFUSED,
            Self::Audit(AuditError::NoRepository { .. }) => NO_REPOSITORY,
            Self::Audit(AuditError::Busy { .. }) => BUSY,
            Self::Audit(AuditError::Damaged { .. }) | Self::Damage(_) => DAMAGE,
            Self::Told(code) => *code,
            Self::ClosedOutput => 0,
            Self::Signalled { signal, .. } => 128_u8.saturating_add(*signal),
            Self::Mount(_) | Self::Gc(_) | Self::Audit(_) => FAILED,
            Self::Check(_) | Self::Repair(_) | Self::Restore(_) | Self::Diff(_) => FAILED,
            Self::Find(_) | Self::Statistics(_) => FAILED,
            Self::Io { .. } | Self::Failed(_) => FAILED,
        }
    }
}

fn archive(error: &ArchiveError) -> u8 {
    match error {
        ArchiveError::Repository(source) | ArchiveError::Unreadable { source, .. } => {
            repository(source)
        }
        ArchiveError::Damaged { .. } => DAMAGE,
        ArchiveError::Unsafe { .. } | ArchiveError::Occupied { .. } => REFUSED,
        _ => FAILED,
    }
}

fn repository(error: &RepositoryError) -> u8 {
    match error {
        RepositoryError::NotFound { .. } | RepositoryError::Store(StoreError::Missing { .. }) => {
            NO_REPOSITORY
        }
        RepositoryError::Busy { .. } | RepositoryError::Store(StoreError::Locked { .. }) => BUSY,
        RepositoryError::WrongPassword { .. }
        | RepositoryError::Locked { .. }
        | RepositoryError::NoKeys { .. }
        | RepositoryError::ForeignKey { .. } => WRONG_PASSWORD,
        RepositoryError::NotEncrypted { .. }
        | RepositoryError::LastKey
        | RepositoryError::KeyInUse { .. } => REFUSED,
        RepositoryError::Newer { .. } => NEWER,
        RepositoryError::Unsafe { .. } | RepositoryError::NotRepaired { .. } => REFUSED,
        RepositoryError::Unreadable { .. } => DAMAGE,
        error if error.is_damage() => DAMAGE,
        _ => FAILED,
    }
}

/// How a command that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All was done.
    Done,
    /// Done, but some items could not be read or restored whole.
    Incomplete,
    /// Done, and damage was found.
    Damaged,
    /// Done, and there are differences, where that was asked.
    Different,
}

impl Outcome {
    /// The code that the process ends with.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Incomplete => INCOMPLETE,
            Self::Damaged => DAMAGE,
            Self::Different => FAILED,
        }
    }
}

/// Prints what is left to say and returns the exit code.
pub(crate) fn report(outcome: Result<Outcome, CommandError>) -> u8 {
    match outcome {
        Ok(outcome) => outcome.code(),
        Err(error) => {
            let text = error.to_string();
            if !text.is_empty() {
                let line = text.replace('\n', " ") + error.hint();
                // There is nowhere left to report a failure of this.
                let _ = writeln!(io::stderr(), "icecore: {line}");
            }
            error.code()
        }
    }
}

/// Prints what clap has to say: help to standard output, mistakes to standard
/// error.
/// Returns the exit code.
pub(crate) fn usage(error: &clap::Error) -> u8 {
    let _ = error.print();
    if error.use_stderr() { USAGE } else { 0 }
}
