//! The command line: one file per command.
//!
//! Purpose: parse, call the layer below, print facts. The only place that
//! prints, exits, reads the environment and names `clap`.
//!
//! Invariants:
//! - Facts go to standard output, everything else to standard error.
//! - A failure is one line on standard error and one of the documented codes.
//! - Names from a repository or a source are escaped before they are printed
//!   for people, and written byte for byte for programs (`--json` escapes).
//!
//! Imports: everything.

mod archive_options;
mod args;
mod audit;
mod chart;
mod commands;
mod context;
mod create_options;
mod diff_options;
mod exit;
mod find_options;
mod key_options;
mod list_options;
mod locale;
mod log_rules;
mod ls_options;
mod node_text;
mod output;
mod policy;
mod profile;
mod progress;
mod prompt;
mod restore_options;
mod secrets;
mod service_manager;
mod signals;
mod snapshot_options;
mod stats_options;
mod template;

/// Decoders of records that only this layer reads, for `crate::fuzzing`.
pub(crate) mod decoders {
    pub(crate) use crate::cli::args::{compression, size};
    pub(crate) use crate::cli::commands::mount_helper::decode_any as mount_helper;
    pub(crate) use crate::cli::commands::rollback_record::decode_any as rollback_record;
    pub(crate) use crate::cli::find_options::size_range;
    pub(crate) use crate::cli::profile::decode_any as configuration;
    pub(crate) use crate::cli::template::Template;
}

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

use crate::base::files::keep_files_private;
use crate::cli::args::Arguments;
use crate::cli::commands::mount_helper;
use crate::cli::context::Context;

/// Runs the program on the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<OsString> = env::args_os().collect();
    keep_files_private();
    let is_helper = mount_helper::is_meant(&words);
    ExitCode::from(if is_helper { mount_helper::main(&words) } else { run(&words) })
}

/// Runs one command line, the program's name first, and returns the exit code.
fn run(words: &[OsString]) -> u8 {
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => return exit::usage(&error),
    };
    context::raise_file_limit();
    let outcome = Context::new(&arguments.global)
        .and_then(|context| commands::run(&context, arguments.command));
    exit::report(outcome)
}
