//! `icecore completions`: what a shell needs to complete command lines.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::args::Arguments;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::Output;

pub(crate) fn run(shell: Shell) -> Result<Outcome, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "icecore", &mut script);
    let mut output = Output::new();
    output.raw(&script)?;
    output.finish()?;
    Ok(Outcome::Done)
}
