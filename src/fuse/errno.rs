//! What the kernel is told of a failure.

use fuser::Errno;

use crate::repository::RepositoryError;
use crate::view::ViewError;

/// Maps a failure of the view. Damage is EIO; a snapshot that is gone is
/// ESTALE, since the kernel still holds what it was told of it.
pub(crate) fn of(error: &ViewError) -> Errno {
    match error {
        ViewError::Repository(error) => of_repository(error),
        ViewError::Inconsistent(_) => Errno::EIO,
        ViewError::NotFound { .. } => Errno::ENOENT,
        ViewError::NotADirectory { .. } => Errno::ENOTDIR,
    }
}

fn of_repository(error: &RepositoryError) -> Errno {
    match error {
        RepositoryError::NoSuchSnapshot { .. } => Errno::ESTALE,
        RepositoryError::AmbiguousSnapshot { .. } | RepositoryError::NoSuchPath { .. } => {
            Errno::ENOENT
        }
        RepositoryError::NotADirectory { .. } => Errno::ENOTDIR,
        RepositoryError::NotFound { .. }
        | RepositoryError::Occupied { .. }
        | RepositoryError::Newer { .. }
        | RepositoryError::Unsafe { .. }
        | RepositoryError::Config { .. }
        | RepositoryError::Busy { .. }
        | RepositoryError::Cancelled { .. }
        | RepositoryError::RebuildCancelled { .. }
        | RepositoryError::Io { .. }
        | RepositoryError::Store(_)
        | RepositoryError::Missing { .. }
        | RepositoryError::Damaged { .. }
        | RepositoryError::Unreadable { .. }
        | RepositoryError::NoSuchDeleted { .. }
        | RepositoryError::TooManyTags { .. }
        | RepositoryError::TooLarge(_)
        | RepositoryError::Locked { .. }
        | RepositoryError::WrongPassword { .. }
        | RepositoryError::NotEncrypted { .. }
        | RepositoryError::ForeignKey { .. }
        | RepositoryError::KeyFile { .. }
        | RepositoryError::NoSuchKey { .. }
        | RepositoryError::LastKey
        | RepositoryError::KeyInUse { .. }
        | RepositoryError::NotRepaired { .. }
        | RepositoryError::NoKeys { .. }
        | RepositoryError::Randomness(_)
        | RepositoryError::Seal(_)
        | RepositoryError::Manifest(_) => Errno::EIO,
    }
}
