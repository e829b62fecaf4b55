//! `icecore init`: makes a repository.

use serde::Serialize;

use crate::audit::{EventKind, Record};
use crate::base::id::hex;
use crate::chunking::ChunkerConfig;
use crate::cli::audit::audited;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::{Output, path_text};
use crate::repository::Writer;
use crate::repository::config::FORMAT_VERSION;

#[derive(Serialize)]
struct Facts {
    path: String,
    id: String,
    format_version: u32,
}

pub(crate) fn run(context: &Context) -> Result<Outcome, CommandError> {
    let config = Writer::init(&context.repository, ChunkerConfig::default())?;
    audited(context, "init", false, |trail| {
        let record = Record::new(EventKind::RepositoryCreated)
            .path(path_text(&context.repository))
            .text("repository", &hex(&config.id))
            .count("format_version", FORMAT_VERSION.into());
        trail.record(record, Outcome::Done.code());
        Ok(())
    })?;
    let mut output = Output::new();
    if context.json {
        output.json(&Facts {
            path: path_text(&context.repository),
            id: hex(&config.id),
            format_version: FORMAT_VERSION,
        })?;
    } else if !context.quiet {
        output.line(&format!("Made the repository {}", path_text(&context.repository)))?;
    }
    output.finish()?;
    Ok(Outcome::Done)
}
