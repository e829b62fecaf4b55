//! `icecore completions`: what a shell needs to complete command lines.

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::args::Arguments;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::Output;

pub(crate) fn run(shell: Shell) -> Result<Outcome, CommandError> {
    let mut script = Vec::new();
    let mut command = without_hidden(&Arguments::command());
    clap_complete::generate(shell, &mut command, "icecore", &mut script);
    let mut output = Output::new();
    output.raw(&script)?;
    output.finish()?;
    Ok(Outcome::Done)
}

/// The same command as far as completing goes, without what only the program itself says.
fn without_hidden(command: &Command) -> Command {
    let mut shown = Command::new(kept(command.get_name()));
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    for alias in command.get_visible_aliases() {
        shown = shown.visible_alias(kept(alias));
    }
    if command.is_disable_help_subcommand_set() {
        shown = shown.disable_help_subcommand(true);
    }
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let subcommands = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.args(arguments.cloned()).subcommands(subcommands.map(without_hidden))
}

/// A name for the rest of the process, which ends soon.
fn kept(name: &str) -> &'static str {
    name.to_owned().leak()
}
