//! The commands, one file each.

mod cat;
mod create;
mod create_request;
mod delete;
mod facts;
mod gc;
mod init;
mod list;
mod ls;
mod mount;
pub(crate) mod mount_helper;
mod mount_log;
mod show;
mod stats;
mod umount;

use crate::cli::args::Command;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};

/// Runs a command.
pub(crate) fn run(context: &Context, command: Command) -> Result<Outcome, CommandError> {
    match command {
        Command::Init => init::run(context),
        Command::Create(arguments) => create::run(context, *arguments),
        Command::List => list::run(context),
        Command::Show { snapshot } => show::run(context, &snapshot),
        Command::Ls(arguments) => ls::run(context, &arguments),
        Command::Cat { files } => cat::run(context, &files),
        Command::Mount(arguments) => mount::run(context, &arguments),
        Command::Umount { mountpoint, lazy } => umount::run(context, &mountpoint, lazy),
        Command::Delete { snapshots, yes } => delete::run(context, &snapshots, yes),
        Command::Gc(arguments) => gc::run(context, &arguments),
        Command::Stats => stats::run(context),
    }
}
