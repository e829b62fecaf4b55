//! `icecore show`: all about one snapshot.

use serde::Serialize;

use crate::base::format;
use crate::base::id::SnapshotId;
use crate::base::name::printable;
use crate::base::time::Timestamp;
use crate::cli::commands::facts::{SnapshotFacts, pin_text, sources};
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::Output;
use crate::dag::Manifest;
use crate::repository::{Pin, Reader, RepositoryError};

#[derive(Serialize)]
struct Facts {
    #[serde(flatten)]
    snapshot: SnapshotFacts,
    error_messages: Vec<String>,
}

impl Facts {
    fn new(id: &SnapshotId, manifest: Manifest, pin: Option<Pin>, now: Timestamp) -> Self {
        let snapshot = SnapshotFacts::new(id, &manifest).with_pin(pin, now);
        Self { snapshot, error_messages: manifest.errors }
    }
}

/// What `show --json` prints, for the control directory of a mount.
///
/// # Errors
/// Fails if the snapshot is gone or its manifest cannot be read.
pub(crate) fn document(reader: &Reader, id: &SnapshotId) -> Result<String, RepositoryError> {
    let now = Timestamp::now();
    let (id, manifest) = reader.find_snapshot(&id.to_string(), now)?;
    let (pin, _) = pin(reader, &id)?;
    // Texts and numbers under names that are texts: that cannot fail.
    let text = serde_json::to_string(&Facts::new(&id, manifest, pin, now)).unwrap_or_default();
    Ok(text + "\n")
}

/// The pin of a snapshot. What a damaged note said is unknown: its snapshot counts
/// as pinned.
fn pin(
    reader: &Reader,
    id: &SnapshotId,
) -> Result<(Option<Pin>, Option<RepositoryError>), RepositoryError> {
    match reader.note(id) {
        Ok(note) => Ok((note.pin, None)),
        Err(error) if error.is_damage() => Ok((Some(Pin::Forever), Some(error))),
        Err(error) => Err(error),
    }
}

pub(crate) fn run(context: &Context, name: &str) -> Result<Outcome, CommandError> {
    let reader = context.reader()?;
    let (id, manifest) = reader.find_snapshot(name, context.now)?;
    let (pin, damaged) = pin(&reader, &id)?;
    let mut output = Output::new();
    if context.json {
        output.json(&Facts::new(&id, manifest, pin, context.now))?;
        output.finish()?;
        return context.damaged(damaged.into_iter().collect());
    }
    let counters = manifest.counters;
    let root = manifest.tree().map(|tree| tree.id.to_string()).unwrap_or_default();
    let parent = manifest.parent.map_or_else(|| "-".to_owned(), |parent| parent.short());
    let optional =
        |text: &str| if text.is_empty() { "-".to_owned() } else { printable(text.as_bytes()) };
    for (label, text) in [
        ("Snapshot", id.to_string()),
        ("Time", manifest.time.to_rfc3339_local()),
        ("Finished", manifest.finished.to_rfc3339_local()),
        ("Host", optional(&manifest.host)),
        ("User", optional(&manifest.user)),
        ("Sources", sources(&manifest).join(" ")),
        ("Tags", optional(&manifest.tags.join(", "))),
        ("Pin", pin_text(pin, context.now).unwrap_or_else(|| "-".to_owned())),
        ("Description", optional(&manifest.description)),
        ("Parent", parent),
        ("Program", optional(&manifest.program)),
        ("Root tree", root),
        ("Files", format::count(counters.files)),
        ("Directories", format::count(counters.dirs)),
        ("Size", format::bytes(counters.bytes)),
        (
            "Added",
            format!(
                "{} ({} stored)",
                format::bytes(counters.added_bytes),
                format::bytes(counters.stored_bytes)
            ),
        ),
        ("Errors", format::count(counters.errors)),
    ] {
        output.line(&format!("{label:<12} {text}"))?;
    }
    for message in &manifest.errors {
        output.line(&format!("  {}", printable(message.as_bytes())))?;
    }
    output.finish()?;
    context.damaged(damaged.into_iter().collect())
}
