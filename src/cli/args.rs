//! The command line's grammar and its help.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::builder::{FalseyValueParser, OsStringValueParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use crate::base::hash::Digest256;
use crate::base::id::parse_hex;
use crate::base::time::parse_duration;
use crate::check::ReadScope;
use crate::cli::archive_options::{DumpArguments, ExportArguments, ImportArguments};
use crate::cli::create_options::CreateArguments;
use crate::cli::diff_options::{DIFF_NOTES, DiffArguments, ManifestArguments};
use crate::cli::exit::{
    BUSY, DAMAGE, INCOMPLETE, NEWER, NO_REPOSITORY, REFUSED, WRONG_PASSWORD, exit_status,
};
use crate::cli::find_options::{FindArguments, VersionsArguments};
use crate::cli::key_options::{InitArguments, KeyAction};
use crate::cli::list_options::ListArguments;
use crate::cli::log_rules::LogRules;
use crate::cli::ls_options::{LsArguments, TreeArguments};
use crate::cli::policy::PolicyOptions;
use crate::cli::restore_options::RestoreArguments;
use crate::cli::secrets::SecretSource;
use crate::cli::stats_options::StatsArguments;
use crate::compression::Compression;
use crate::gc::MaxUnused;
use crate::view::TimeFormat;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default());

const SNAPSHOT_NAMES: &str = "\
A snapshot is named by its id or any unique prefix of it, by `latest` or
`latest~2`, by a tag (its newest snapshot), or by a time, which means the newest
snapshot not younger than that: 2026-11-19, 2026-11-19T03:00, yesterday, 2h.";

/// What whoever reads a repository may meet, beside what is always possible.
const READER: &[u8] = &[DAMAGE, NO_REPOSITORY, WRONG_PASSWORD, NEWER, REFUSED];
/// The same, beside a file system that may not be readable.
const DIFFERENCE: &[u8] = &[INCOMPLETE, DAMAGE, NO_REPOSITORY, WRONG_PASSWORD, NEWER, REFUSED];
/// What whoever writes to it may meet.
const WRITER: &[u8] = &[DAMAGE, NO_REPOSITORY, BUSY, WRONG_PASSWORD, NEWER, REFUSED];
/// What whoever asks before may meet.
const ASKER: &[u8] = WRITER;
/// What whoever mounts, or writes files elsewhere, may meet.
const OUTWARD: &[u8] = READER;
const EVERY: &[u8] = &[INCOMPLETE, DAMAGE, NO_REPOSITORY, BUSY, WRONG_PASSWORD, NEWER, REFUSED];
/// What whoever changes keys may meet.
const KEEPER: &[u8] = &[NO_REPOSITORY, WRONG_PASSWORD, NEWER, REFUSED];

/// The foot of the help of a command that is given names of snapshots.
fn names_and_exit_status(codes: &[u8]) -> String {
    format!("{SNAPSHOT_NAMES}\n\n{}", exit_status(codes))
}

/// Snapshots of directory trees: deduplicated, verified, mountable.
#[derive(Debug, Parser)]
#[command(
    name = "icecore",
    version,
    styles = STYLES,
    after_help = exit_status(EVERY) + "\nAny other code means failure.",
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of all commands")]
pub(crate) struct GlobalArguments {
    /// The repository's directory [default: /var/lib/icecore for root, else
    /// $XDG_DATA_HOME/icecore]
    #[arg(short, long, global = true, env = "ICECORE_REPO", value_name = "DIRECTORY")]
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from))]
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) repo: Option<PathBuf>,
    /// Print facts as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print errors and what was asked for, and no more
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// The configuration file with profiles and policies
    #[arg(long, global = true, default_value = "/etc/icecore.toml", value_name = "FILE")]
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) secrets: SecretSource,
    /// Refuse a repository that is not encrypted
    #[arg(long, global = true, env = "ICECORE_REQUIRE_ENCRYPTION")]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) require_encryption: bool,
    /// How long a writing command waits for another one
    #[arg(long, global = true, default_value = "5m", value_parser = duration,
          value_name = "DURATION")]
    pub(crate) wait: Duration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a repository
    #[command(after_help = exit_status(&[BUSY, NEWER, REFUSED]))]
    Init(InitArguments),
    /// Take a snapshot of files and directories
    #[command(after_help = exit_status(EVERY))]
    Create(Box<CreateArguments>),
    /// List the snapshots
    #[command(after_help = exit_status(READER))]
    List(Box<ListArguments>),
    /// Show all about a snapshot
    #[command(after_help = names_and_exit_status(READER))]
    Show {
        /// The snapshot
        #[arg(default_value = "latest")]
        snapshot: String,
    },
    /// List a directory of a snapshot
    #[command(after_help = names_and_exit_status(READER))]
    Ls(LsArguments),
    /// Show a directory of a snapshot as a tree, with the size of all below
    #[command(after_help = names_and_exit_status(READER))]
    Tree(TreeArguments),
    /// Find files in all snapshots, each distinct version once
    #[command(after_help = names_and_exit_status(READER))]
    Find(Box<FindArguments>),
    /// List the distinct versions of a file or directory
    #[command(after_help = names_and_exit_status(READER))]
    Versions(VersionsArguments),
    /// Print files of a snapshot
    #[command(after_help = names_and_exit_status(READER))]
    Cat {
        /// The files, as SNAPSHOT:PATH
        #[arg(required = true, value_name = "SNAPSHOT:PATH")]
        files: Vec<OsString>,
    },
    /// Show what differs between snapshots, or between one and the running system
    #[command(after_help = format!("{DIFF_NOTES}\n\n{}", names_and_exit_status(DIFFERENCE)))]
    Diff(Box<DiffArguments>),
    /// Print the SHA-256 of each file of a snapshot, for `sha256sum -c`
    #[command(after_help = names_and_exit_status(READER))]
    Manifest(ManifestArguments),
    /// Bring files of a snapshot back
    #[command(after_help = names_and_exit_status(EVERY))]
    Restore(Box<RestoreArguments>),
    /// Show all snapshots as read-only directories
    #[command(after_help = names_and_exit_status(OUTWARD),
              allow_missing_positional = true)]
    Mount(MountArguments),
    /// Take a mount away
    #[command(after_help = exit_status(&[]))]
    Umount {
        /// Where it is mounted
        mountpoint: PathBuf,
        /// Detach it now even if it is in use; it ends when it is no longer
        #[arg(long)]
        lazy: bool,
    },
    /// Change tags of snapshots, and pin them so that no policy removes them
    #[command(after_help = names_and_exit_status(WRITER))]
    Tag(TagArguments),
    /// Delete snapshots; `gc` then returns their space
    #[command(after_help = names_and_exit_status(ASKER))]
    Delete(DeleteArguments),
    /// Bring deleted snapshots back, as long as `gc` has not run
    #[command(after_help = exit_status(WRITER))]
    Undelete {
        /// The snapshots; names count among those of `list --deleted`
        #[arg(required_unless_present = "all", value_name = "SNAPSHOT")]
        snapshots: Vec<String>,
        /// All of them
        #[arg(long, conflicts_with = "snapshots")]
        all: bool,
    },
    /// Remove the snapshots that no rule keeps
    #[command(after_help = exit_status(ASKER))]
    Prune(Box<PruneArguments>),
    /// Return the space of what no snapshot needs
    #[command(after_help = exit_status(WRITER))]
    Gc(GcArguments),
    /// Show what was done to the repository, by whom
    #[command(after_help = exit_status(READER), args_conflicts_with_subcommands = true)]
    Log(LogArguments),
    /// Look for damage, and name the files that it hurts
    #[command(after_help = exit_status(READER))]
    Check(CheckArguments),
    /// Make what is undamaged readable again after damage
    #[command(after_help = exit_status(ASKER))]
    Repair {
        /// Only tell what would be done
        #[arg(long, short = 'n')]
        dry_run: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Manage the passwords and keys of an encrypted repository
    #[command(subcommand, after_help = exit_status(KEEPER))]
    Key(KeyAction),
    /// Show sizes and counts of the repository or of some snapshots, and growth
    #[command(after_help = names_and_exit_status(OUTWARD))]
    Stats(StatsArguments),
    /// Write a file or a directory of a snapshot to standard output, or to a file
    #[command(after_help = names_and_exit_status(OUTWARD))]
    Dump(DumpArguments),
    /// Write snapshots, or the audit log, as archives that prove themselves
    #[command(after_help = names_and_exit_status(OUTWARD))]
    Export(ExportArguments),
    /// Make a snapshot of an archive, or unpack it, once all of it is verified
    #[command(after_help = exit_status(EVERY))]
    Import(ImportArguments),
    /// Print a script that lets a shell complete command lines
    #[command(after_help = exit_status(&[]))]
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct MountArguments {
    /// The repository's directory, in the place of --repo; with
    /// `:SNAPSHOT[/PATH]` behind it, this one directory is mounted alone
    #[arg(value_name = "SOURCE")]
    pub(crate) source: Option<PathBuf>,
    /// An existing directory, outside of the repository
    pub(crate) mountpoint: PathBuf,
    /// Stay attached to the terminal; otherwise return once the mount serves
    #[arg(short, long)]
    pub(crate) foreground: bool,
    /// Let other users in, with the permissions of the files enforced
    #[arg(long)]
    pub(crate) allow_other: bool,
    /// Memory for file content
    #[arg(long, default_value = "64MiB", value_parser = size, value_name = "SIZE")]
    pub(crate) cache_size: u64,
    /// How `by-time`, `by-tag` and `by-host` name snapshots: a pattern of
    /// strftime, in UTC
    #[arg(long, default_value_t, value_parser = TimeFormat::new, value_name = "STRFTIME")]
    pub(crate) by_time_format: TimeFormat,
    /// Also show @GMT-YYYY.MM.DD-HH.MM.SS names, for Samba's shadow_copy2
    #[arg(long)]
    pub(crate) samba: bool,
    /// Where to log damage and other trouble [default: standard error in the
    /// foreground, else /var/log/icecore/mount.log for root,
    /// $XDG_STATE_HOME/icecore/mount.log for others]
    #[arg(long, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,
    /// Do not pin the serving threads to processors
    #[arg(long)]
    pub(crate) no_pin: bool,
    /// Let serving threads sleep at once when there is nothing to do, instead of
    /// looking for the next request for 100 microseconds
    #[arg(long)]
    pub(crate) no_poll: bool,
    /// Let no program be run from the mount
    #[arg(long)]
    pub(crate) no_exec: bool,
    /// What is mounted alone: the second part of SOURCE
    #[arg(long, hide = true, value_name = "SNAPSHOT[/PATH]")]
    pub(crate) only: Option<OsString>,
    /// Say so on standard output once the mount serves, then let go of it
    #[arg(long, hide = true, requires = "foreground")]
    pub(crate) announce: bool,
    /// Read the repository's master key from standard input
    #[arg(long, hide = true, requires = "announce")]
    pub(crate) key_from_stdin: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").multiple(true).required(true))]
pub(crate) struct TagArguments {
    /// The snapshots
    #[arg(required = true, value_name = "SNAPSHOT")]
    pub(crate) snapshots: Vec<String>,
    /// Add a tag; may be given several times
    #[arg(long, value_name = "TAG", group = "change")]
    pub(crate) add: Vec<String>,
    /// Remove a tag; may be given several times
    #[arg(long, value_name = "TAG", group = "change")]
    pub(crate) remove: Vec<String>,
    /// Give it these tags in the place of all others; '' for none
    #[arg(long, value_name = "TAG", group = "change", conflicts_with_all = ["add", "remove"])]
    pub(crate) set: Vec<String>,
    /// Let no policy remove it
    #[arg(long, group = "change")]
    pub(crate) pin: bool,
    /// Pin it up to that time: a date, or a span from now such as 90d
    #[arg(long, value_name = "TIME", requires = "pin")]
    pub(crate) until: Option<String>,
    /// Take the pin away
    #[arg(long, group = "change", conflicts_with = "pin")]
    pub(crate) unpin: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("chosen").multiple(true))]
pub(crate) struct DeleteArguments {
    /// The snapshots
    #[arg(required_unless_present = "chosen", conflicts_with = "chosen", value_name = "SNAPSHOT")]
    pub(crate) snapshots: Vec<String>,
    /// All with this tag, or with all of several between commas
    #[arg(long, value_name = "TAG", group = "chosen", help_heading = "Selection")]
    pub(crate) tag: Vec<String>,
    /// All of this host
    #[arg(long, value_name = "NAME", group = "chosen", help_heading = "Selection")]
    pub(crate) host: Vec<String>,
    /// All that have this source
    #[arg(long, value_name = "PATH", group = "chosen", help_heading = "Selection")]
    pub(crate) path: Vec<PathBuf>,
    /// All from before that time: a date, or how long ago, such as 90d
    #[arg(long, value_name = "TIME", group = "chosen", help_heading = "Selection")]
    pub(crate) older_than: Option<String>,
    /// All from behind that time
    #[arg(long, value_name = "TIME", group = "chosen", help_heading = "Selection")]
    pub(crate) newer_than: Option<String>,
    /// All from that time on, a date from its first moment
    #[arg(long, value_name = "TIME", group = "chosen", help_heading = "Selection")]
    pub(crate) since: Option<String>,
    /// All up to that time, a date to its last moment
    #[arg(long, value_name = "TIME", group = "chosen", help_heading = "Selection")]
    pub(crate) until: Option<String>,
    /// Pinned ones too
    #[arg(long)]
    pub(crate) even_pinned: bool,
    /// Only tell what would be deleted
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PruneArguments {
    #[command(flatten)]
    pub(crate) options: PolicyOptions,
    /// Take rules from this policy of the configuration file
    #[arg(long, value_name = "NAME", help_heading = "Rules")]
    pub(crate) policy: Option<String>,
    /// Only tell what would become of each snapshot, and why
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// Collect garbage afterwards, as `icecore gc` does
    #[arg(long)]
    pub(crate) gc: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GcArguments {
    /// Only tell what would be done
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// How much garbage may stay rather than be rewritten with what is around
    /// it: a share of each file (5% or 5), bytes in all (100M), or `unlimited`.
    /// Files that are garbage altogether go in any case
    #[arg(long, default_value = "5%", value_parser = max_unused, value_name = "LIMIT")]
    pub(crate) max_unused: MaxUnused,
}

#[derive(Debug, Args)]
pub(crate) struct LogArguments {
    #[command(subcommand)]
    pub(crate) action: Option<LogAction>,
    #[command(flatten)]
    pub(crate) shown: LogShownArguments,
}

#[derive(Debug, Args)]
pub(crate) struct LogShownArguments {
    /// Only events since then: a date, a time, or an age such as 2h
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only events until then; a date means its end
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Only events of this type; `*` and `?` stand for others: snapshot.*
    #[arg(long = "type", value_name = "GLOB")]
    pub(crate) kinds: Vec<String>,
    /// Only events about this snapshot, deleted or not: digits of its id, or
    /// another name of one that is there
    #[arg(long, value_name = "SNAPSHOT")]
    pub(crate) snapshot: Vec<String>,
    /// Only the newest events, at most this many
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
    /// The newest first
    #[arg(long, conflicts_with = "follow")]
    pub(crate) reverse: bool,
    /// Go on and show events as they come, until interrupted
    #[arg(long, short = 'f')]
    pub(crate) follow: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogAction {
    /// Prove that no event was changed, removed or put in
    #[command(after_help = exit_status(&[DAMAGE, NO_REPOSITORY]))]
    Verify {
        /// The head that an earlier proof printed; shows that nothing was cut
        /// off behind it
        #[arg(long, value_name = "HASH", value_parser = digest)]
        head: Option<Digest256>,
    },
    /// Remove the oldest segments, by these rules or by those of `[log]` in the
    /// configuration file
    #[command(after_help = exit_status(&[DAMAGE, NO_REPOSITORY, BUSY, REFUSED]))]
    Prune(LogPruneArguments),
}

#[derive(Debug, Args)]
pub(crate) struct LogPruneArguments {
    #[command(flatten)]
    pub(crate) rules: LogRules,
    /// Only tell what would be done
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

fn digest(text: &str) -> Result<Digest256, String> {
    parse_hex(text.trim()).ok_or_else(|| "64 hexadecimal digits are expected".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// Read all content and verify every byte of it
    #[arg(long, conflicts_with = "read_data_subset")]
    pub(crate) read_data: bool,
    /// Read a part of the content: a share (5%) or a size (10G), going on where
    /// the last check ended, or part N of M (3/12)
    #[arg(long, value_parser = subset, value_name = "SHARE|SIZE|N/M")]
    pub(crate) read_data_subset: Option<ReadScope>,
    /// Read no more content after this time; the next check goes on from there
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub(crate) max_duration: Option<Duration>,
    /// First read every file of the store without opening it, and go no further
    /// if one could harm whatever opens it: for a repository that somebody
    /// else made or could write to
    #[arg(long)]
    pub(crate) untrusted: bool,
}

fn subset(text: &str) -> Result<ReadScope, String> {
    let wrong = || "5%, 3/12 or 10G is expected".to_owned();
    if let Some(share) = text.strip_suffix('%') {
        let share = share.parse().ok().filter(|share| *share > 0.0 && *share <= 100.0);
        return share.map(ReadScope::Percent).ok_or_else(wrong);
    }
    if let Some((part, parts)) = text.split_once('/') {
        let numbers = part.parse::<u64>().ok().zip(parts.parse::<u64>().ok());
        let (part, parts) = numbers.ok_or_else(wrong)?;
        let is_sound = part >= 1 && part <= parts;
        return if is_sound { Ok(ReadScope::Part { part, parts }) } else { Err(wrong()) };
    }
    match size(text) {
        Ok(bytes) if bytes > 0 => Ok(ReadScope::Bytes(bytes)),
        _ => Err(wrong()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = if text == "0" { Some(Duration::ZERO) } else { parse_duration(text) };
    duration.ok_or_else(|| "a number with a unit is expected, such as 30s, 5m or 2h".to_owned())
}

fn max_unused(text: &str) -> Result<MaxUnused, String> {
    MaxUnused::parse(text).ok_or_else(|| {
        "a share such as 5%, a size such as 100M, or `unlimited` is expected".to_owned()
    })
}

pub(crate) fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(0),
        "k" | "kib" => Some(10),
        "m" | "mib" => Some(20),
        "g" | "gib" => Some(30),
        "t" | "tib" => Some(40),
        _ => None,
    };
    let number = number.parse::<u64>().ok();
    number
        .zip(shift)
        .and_then(|(number, shift)| number.checked_mul(1_u64 << shift))
        .ok_or_else(|| "a size is expected, such as 64MiB or 1G".to_owned())
}

pub(crate) fn compression(text: &str) -> Result<Compression, String> {
    Compression::parse(text)
        .ok_or_else(|| "lz4, zstd, zstd:LEVEL with a level of 1 to 22, or none".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_grammar_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn sizes_durations_and_shares_are_understood_or_refused() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1g"), Ok(1 << 30));
        assert!(size("x").is_err() && size("99999999999G").is_err());
        assert_eq!(max_unused("5%"), Ok(MaxUnused::Percent(5.0)));
        assert!(max_unused("101").is_err());
        assert_eq!(subset("2.5%"), Ok(ReadScope::Percent(2.5)));
        assert_eq!(subset("3/12"), Ok(ReadScope::Part { part: 3, parts: 12 }));
        assert_eq!(subset("1K"), Ok(ReadScope::Bytes(1024)));
        for wrong in ["0%", "101%", "NaN%", "0/3", "4/3", "0", "x", "1/0", "/", ""] {
            assert!(subset(wrong).is_err(), "{wrong}");
        }
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(duration("5").is_err());
    }
}
