//! The options of `init` and `key`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::args::size;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, exit_status};
use crate::cli::exit::{NEWER, NO_REPOSITORY, REFUSED, WRONG_PASSWORD};
use crate::cli::secrets::{self, SecretSource};
use crate::crypto::{Credential, KdfCost, KeyFile};

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct InitArguments {
    /// Encrypt it; its password or key comes as for all commands, or is asked for
    #[arg(long)]
    pub(crate) encrypt: bool,
    /// Take the repository, whether to encrypt it, and where the password comes from
    /// out of this profile of the configuration file
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    #[command(flatten)]
    pub(crate) key: KeyOptions,
}

/// How a key file is made.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct KeyOptions {
    /// What `key list` calls the password or key; not secret
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = label)]
    pub(crate) label: String,
    /// Memory that trying a password takes [default: 64 MiB]
    #[arg(long, value_parser = size, value_name = "SIZE")]
    pub(crate) kdf_memory: Option<u64>,
    /// Passes over that memory [default: 3]
    #[arg(long, value_name = "N")]
    pub(crate) kdf_passes: Option<u32>,
}

fn label(text: &str) -> Result<String, &'static str> {
    match KeyFile::is_label(text) {
        true => Ok(text.to_owned()),
        false => Err("a label has at most 256 bytes and no control codes"),
    }
}

impl KeyOptions {
    /// Whether anything was said.
    pub(crate) fn is_given(&self) -> bool {
        !self.label.is_empty() || self.kdf_memory.is_some() || self.kdf_passes.is_some()
    }

    /// What trying the password will cost.
    pub(crate) fn cost(&self) -> Result<KdfCost, CommandError> {
        self.cost_over(KdfCost::default())
    }

    /// The same, where nothing else is said as before.
    pub(crate) fn cost_over(&self, before: KdfCost) -> Result<KdfCost, CommandError> {
        let memory_kib = self
            .kdf_memory
            .map_or(before.memory_kib, |bytes| u32::try_from(bytes >> 10).unwrap_or(u32::MAX));
        let passes = self.kdf_passes.unwrap_or(before.passes);
        let cost = KdfCost { memory_kib, passes, ..before };
        cost.validate().map_err(|error| CommandError::Usage(error.to_string()))?;
        Ok(cost)
    }
}

/// Where a new password or key comes from.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct NewSecret {
    /// The new password is the first line of this file
    #[arg(long, value_name = "FILE", group = "new")]
    new_password_file: Option<PathBuf>,
    /// It is the first line that this shell command prints
    #[arg(long, value_name = "COMMAND", group = "new")]
    new_password_command: Option<OsString>,
    /// A new key is in this file: 32 bytes, or 64 hexadecimal digits
    #[arg(long, value_name = "FILE", group = "new")]
    new_key_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) options: KeyOptions,
}

impl NewSecret {
    /// Reads it, or asks for it.
    pub(crate) fn read(&self, context: &Context) -> Result<Credential, CommandError> {
        let source = SecretSource {
            password_file: self.new_password_file.clone(),
            password_command: self.new_password_command.clone(),
            key_file: self.new_key_file.clone(),
        };
        match context.signals.end_at_once(|| source.read(context))? {
            Some(credential) => Ok(credential),
            None => secrets::ask_new(context),
        }
    }
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum KeyAction {
    /// List the passwords and keys that open the repository
    #[command(after_help = exit_status(&[NO_REPOSITORY, NEWER, REFUSED]))]
    List,
    /// Add a password or key
    #[command(after_help = exit_status(&[NO_REPOSITORY, WRONG_PASSWORD, NEWER, REFUSED]))]
    Add(NewSecret),
    /// Remove a password or key, by another one that opens the repository
    #[command(after_help = exit_status(&[NO_REPOSITORY, WRONG_PASSWORD, NEWER, REFUSED]))]
    Remove {
        /// Its name, as `key list` shows it, or the beginning of that
        key: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Put a new password or key into the place of the one that is given
    #[command(after_help = exit_status(&[NO_REPOSITORY, WRONG_PASSWORD, NEWER, REFUSED]))]
    Change(NewSecret),
    /// Print the master key, to be kept on paper: it opens the repository for ever
    #[command(after_help = exit_status(&[NO_REPOSITORY, WRONG_PASSWORD, NEWER, REFUSED]))]
    Export,
    /// Add a password or key by the master key on paper, when all others are lost
    #[command(after_help = exit_status(&[NO_REPOSITORY, WRONG_PASSWORD, NEWER, REFUSED]))]
    Import {
        /// The printed lines; `-` or nothing is standard input
        file: Option<PathBuf>,
        #[command(flatten)]
        new: NewSecret,
    },
}
