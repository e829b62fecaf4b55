//! What the engine's errors mean.

use rocksdb::ErrorKind;

use crate::store::StoreError;

/// What the system says of a place of the disk that is lost.
const LOST_PLACE: [&str; 2] = ["Input/output error", "Structure needs cleaning"];

/// Reads once more where the disk failed: what fails again is lost.
pub(super) fn twice<T>(
    mut read: impl FnMut() -> Result<T, rocksdb::Error>,
) -> Result<T, rocksdb::Error> {
    match read() {
        Err(error) if says(error.as_ref(), &LOST_PLACE) => read(),
        outcome => outcome,
    }
}

/// As [`failed`], for what reads, more than once where the disk failed: a file that
/// is not there is damage.
pub(super) fn unreadable(action: &'static str) -> impl Fn(rocksdb::Error) -> StoreError {
    move |error| match failed(action)(error) {
        StoreError::Failed { action, detail } if says(&detail, &["No such file"]) => {
            StoreError::Damaged { action, detail }
        }
        StoreError::Failed { action, detail } if says(&detail, &LOST_PLACE) => {
            StoreError::Unreadable { action, detail }
        }
        error => error,
    }
}

fn says(detail: &str, texts: &[&str]) -> bool {
    texts.iter().any(|text| detail.contains(text))
}

pub(super) fn failed(action: &'static str) -> impl Fn(rocksdb::Error) -> StoreError {
    move |error| {
        let detail = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if detail.contains("No space left") {
            StoreError::Full { action, detail }
        } else if error.kind() == ErrorKind::Corruption {
            StoreError::Damaged { action, detail }
        } else {
            StoreError::Failed { action, detail }
        }
    }
}
