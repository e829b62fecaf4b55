//! `icecore init`: makes a repository.

use serde::Serialize;

use crate::audit::{EventKind, Record};
use crate::base::id::hex;
use crate::chunking::ChunkerConfig;
use crate::cli::audit::audited;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::key_options::InitArguments;
use crate::cli::output::{Output, path_text};
use crate::cli::profile::{Place, Profile};
use crate::cli::secrets;
use crate::crypto::MasterKey;
use crate::repository::config::FORMAT_VERSION;
use crate::repository::{Config, RepositoryError, Writer};

#[derive(Serialize)]
struct Facts {
    path: String,
    id: String,
    format_version: u32,
    encrypted: bool,
}

pub(crate) fn run(context: &Context, arguments: &InitArguments) -> Result<Outcome, CommandError> {
    let place = match &arguments.profile {
        Some(name) => Profile::read(&context.config, name)?.place,
        None => Place::default(),
    };
    let context = &context.for_profile(&place)?;
    let encrypted = arguments.encrypt || place.encrypt;
    let config = if encrypted {
        make_encrypted(context, arguments)?
    } else {
        // A password says that the repository is meant to be encrypted.
        if secrets::given(context)?.is_some() {
            return Err(CommandError::Usage(
                "A password or key is given, but not --encrypt; say it, or leave that out"
                    .to_owned(),
            ));
        }
        if arguments.key.is_given() {
            return Err(CommandError::Usage(
                "--label, --kdf-memory and --kdf-passes are for --encrypt; say it, or leave them \
                 out"
                .to_owned(),
            ));
        }
        if context.requires_encryption {
            return Err(CommandError::Refused(
                "The repository would not be encrypted, which --require-encryption demands; say \
                 --encrypt"
                    .to_owned(),
            ));
        }
        Writer::init(&context.repository, ChunkerConfig::default())?
    };
    audited(context, "init", false, |trail| {
        let record = Record::new(EventKind::RepositoryCreated)
            .path(path_text(&context.repository))
            .text("repository", &hex(&config.id))
            .count("format_version", FORMAT_VERSION.into())
            .count("encrypted", encrypted.into());
        trail.record(record, Outcome::Done.code());
        Ok(())
    })?;
    let mut output = Output::new();
    if context.json {
        output.json(&Facts {
            path: path_text(&context.repository),
            id: hex(&config.id),
            format_version: FORMAT_VERSION,
            encrypted,
        })?;
    } else if !context.quiet {
        let kind = if encrypted { "encrypted repository" } else { "repository" };
        output.line(&format!("Made the {kind} {}", path_text(&context.repository)))?;
        if encrypted {
            output.line(
                "Without its password or key nobody can read it: `icecore key export` prints one \
                 to keep on paper",
            )?;
        }
    }
    output.finish()?;
    Ok(Outcome::Done)
}

fn make_encrypted(context: &Context, arguments: &InitArguments) -> Result<Config, CommandError> {
    let cost = arguments.key.cost()?;
    Writer::check_vacant(&context.repository)?;
    let credential = match secrets::given(context)? {
        Some(credential) => credential,
        None => secrets::ask_new(context)?,
    };
    let master = MasterKey::generate().map_err(|error| CommandError::Failed(error.to_string()))?;
    let made = Writer::init_encrypted(
        &context.repository,
        ChunkerConfig::default(),
        &master,
        &|ring| -> Result<(), RepositoryError> {
            let add = || ring.add(&master, &credential, cost, &arguments.key.label);
            context.signals.end_at_once(add).map(drop)
        },
    )?;
    context.set_key(master);
    Ok(made)
}
