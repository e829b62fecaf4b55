//! The commands, one file each.

mod cat;
mod check;
pub(crate) mod choose;
mod completions;
mod create;
mod create_request;
mod delete;
mod diff;
mod diff_report;
mod dump;
mod export;
mod facts;
mod find;
mod gc;
mod import;
mod init;
mod key;
mod key_list;
mod list;
mod log;
mod log_prune;
mod log_verify;
mod ls;
mod manifest;
mod mount;
pub(crate) mod mount_helper;
mod mount_log;
mod prune;
mod prune_report;
mod repair;
mod restore;
mod restore_report;
mod restore_rollback;
mod restore_undo;
pub(crate) mod rollback_record;
mod show;
mod stats;
mod stats_growth;
mod tag;
mod tree;
mod umount;
mod undelete;
mod versions;

use crate::cli::args::Command;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};

/// Runs a command.
pub(crate) fn run(context: &Context, command: Command) -> Result<Outcome, CommandError> {
    match command {
        Command::Init(arguments) => init::run(context, &arguments),
        Command::Create(arguments) => create::run(context, *arguments),
        Command::List(arguments) => list::run(context, &arguments),
        Command::Show { snapshot } => show::run(context, &snapshot),
        Command::Ls(arguments) => ls::run(context, &arguments),
        Command::Find(arguments) => find::run(context, &arguments),
        Command::Versions(arguments) => versions::run(context, &arguments),
        Command::Tree(arguments) => tree::run(context, &arguments),
        Command::Cat { files } => cat::run(context, &files),
        Command::Diff(arguments) => diff::run(context, &arguments),
        Command::Manifest(arguments) => manifest::run(context, &arguments),
        Command::Restore(arguments) => restore::run(context, &arguments),
        Command::Mount(arguments) => mount::run(context, &arguments),
        Command::Umount { mountpoint, lazy } => umount::run(context, &mountpoint, lazy),
        Command::Tag(arguments) => tag::run(context, arguments),
        Command::Delete(arguments) => delete::run(context, &arguments),
        Command::Undelete { snapshots, all } => undelete::run(context, &snapshots, all),
        Command::Prune(arguments) => prune::run(context, *arguments),
        Command::Gc(arguments) => gc::run(context, &arguments),
        Command::Log(arguments) => log::run(context, &arguments),
        Command::Check(arguments) => check::run(context, &arguments),
        Command::Repair { dry_run, yes } => repair::run(context, dry_run, yes),
        Command::Key(action) => key::run(context, &action),
        Command::Stats(arguments) => stats::run(context, &arguments),
        Command::Dump(arguments) => dump::run(context, &arguments),
        Command::Export(arguments) => export::run(context, &arguments),
        Command::Import(arguments) => import::run(context, &arguments),
        Command::Completions { shell } => completions::run(shell),
    }
}
