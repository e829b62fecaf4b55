//! `icecore stats --growth` and `--svg`: how snapshots and what is stored for
//! them grew.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;

use crate::base::files::with_inherited_umask;
use crate::base::name::printable;
use crate::cli::chart::{svg, text};
use crate::cli::context::Context;
use crate::cli::exit::CommandError;
use crate::cli::locale::is_utf8;
use crate::cli::output::{Output, path_text};
use crate::cli::stats_options::StatsArguments;
use crate::repository::Repository;
use crate::statistics::GrowthPoint;

/// The width of a chart that no terminal shows.
const COLUMNS: usize = 80;

/// The fields of a point in JSON; others may rely on their names.
#[derive(Serialize)]
struct Facts {
    id: String,
    time: String,
    /// Bytes of files in the newest snapshots of all hosts and sources.
    logical_bytes: u64,
    /// Bytes as stored for all snapshots up to this one.
    stored_bytes: u64,
}

pub(crate) fn print(
    context: &Context,
    arguments: &StatsArguments,
    repository: &Repository,
    points: &[GrowthPoint],
    output: &mut Output,
) -> Result<(), CommandError> {
    if let Some(path) = &arguments.svg {
        let place = printable(repository.path().as_os_str().as_encoded_bytes());
        let drawn = svg(&format!("Growth of {place}"), points);
        if path.as_os_str() == "-" {
            return output.raw(drawn.as_bytes());
        }
        write(context, arguments, path, &drawn)?;
        if !arguments.growth {
            return Ok(());
        }
    }
    if context.json {
        let facts = |point: &GrowthPoint| Facts {
            id: point.id.to_string(),
            time: point.time.to_rfc3339(),
            logical_bytes: point.logical_bytes,
            stored_bytes: point.stored_bytes,
        };
        return output.json(&points.iter().map(facts).collect::<Vec<_>>());
    }
    if points.is_empty() {
        context.note("There are no snapshots to draw");
    }
    let drawn = text(points, output.columns().unwrap_or(COLUMNS), is_utf8());
    output.raw(drawn.as_bytes())
}

/// Writes a file so that it appears whole or not at all.
fn write(
    context: &Context,
    arguments: &StatsArguments,
    path: &Path,
    text: &str,
) -> Result<(), CommandError> {
    let shown = path_text(path);
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            let detail = "is there already and is no regular file; give another name";
            return Err(CommandError::Refused(format!("{shown} {detail}")));
        }
        Ok(_) => context.confirm(&format!("Replace {shown}?"), arguments.yes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(CommandError::io(format!("look at {shown}"))(error)),
    }
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = with_inherited_umask(|| File::create_new(&temporary))
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| {
        // It is of no use, and may not be there.
        let _ = fs::remove_file(&temporary);
        CommandError::io(format!("write {shown}"))(error)
    })?;
    context.note(&format!("Wrote {shown}"));
    Ok(())
}
