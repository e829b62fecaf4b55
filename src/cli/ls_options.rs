//! The arguments of `ls` and `tree`.

use std::ffi::OsString;

use clap::{ArgAction, Args};

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct LsArguments {
    /// The directory, as SNAPSHOT[:PATH]
    #[arg(default_value = "latest", value_name = "SNAPSHOT[:PATH]")]
    pub(crate) directory: OsString,
    /// Show mode, owner, size and time
    #[arg(short, long)]
    pub(crate) long: bool,
    /// Show sizes as 1.5 KiB, 20.0 MiB
    #[arg(short = 'h', long)]
    pub(crate) human_readable: bool,
    /// Go into subdirectories
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// The newest first
    #[arg(short = 't', group = "sort")]
    pub(crate) by_time: bool,
    /// The largest first
    #[arg(short = 'S', group = "sort")]
    pub(crate) by_size: bool,
    /// Turn the order of -t or -S round
    #[arg(short = 'r', requires = "sort")]
    pub(crate) reverse: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

#[derive(Debug, Args)]
pub(crate) struct TreeArguments {
    /// The directory, as SNAPSHOT[:PATH]
    #[arg(default_value = "latest", value_name = "SNAPSHOT[:PATH]")]
    pub(crate) directory: OsString,
    /// Go down so many levels
    #[arg(short = 'L', long, value_name = "LEVELS",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) depth: Option<u32>,
    /// Show directories only
    #[arg(short, long)]
    pub(crate) directories: bool,
}
