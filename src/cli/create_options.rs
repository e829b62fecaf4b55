//! The options of `create`, as the command line and as a profile give them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Deserializer, de};

use crate::cli::args::{compression, size};
use crate::compression::Compression;
use crate::ingest::Marker;

/// What only the command line says.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// Files and directories. An absolute path is kept as it is, a relative one
    /// relative, and `.` puts its content at the top
    #[arg(value_name = "SOURCE")]
    pub(crate) sources: Vec<PathBuf>,
    /// Save standard input as a file
    #[arg(long, group = "stream", conflicts_with = "sources", help_heading = "Sources")]
    pub(crate) stdin: bool,
    /// Save what the command behind `--` prints; if it fails there is no
    /// snapshot
    #[arg(long, group = "stream", conflicts_with = "sources", help_heading = "Sources")]
    pub(crate) from_command: bool,
    /// The path of such a file in the snapshot [default: stdin]
    #[arg(long, requires = "stream", value_name = "NAME", help_heading = "Sources")]
    pub(crate) stdin_filename: Option<PathBuf>,
    /// Take options from this profile of the configuration file
    #[arg(long, value_name = "NAME", help_heading = "Sources")]
    pub(crate) profile: Option<String>,
    /// The snapshot's time [default: now]
    #[arg(long, value_name = "TIME", help_heading = "Snapshot")]
    pub(crate) time: Option<String>,
    /// The snapshot that this one follows [default: the newest one of the same
    /// host and sources]
    #[arg(long, value_name = "SNAPSHOT", help_heading = "Snapshot")]
    pub(crate) parent: Option<String>,
    /// Read and count, but store nothing
    #[arg(short = 'n', long, help_heading = "Reading")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) options: CreateOptions,
    /// The command of --from-command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// What the command line or a profile says. The keys of a profile are the long
/// names of the options.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct CreateOptions {
    /// More sources, from a file with one path a line; `-` is standard input
    #[arg(long, value_name = "FILE", help_heading = "Sources")]
    pub(crate) files_from: Vec<PathBuf>,
    /// The same, each path ended by a NUL byte
    #[arg(long, value_name = "FILE", help_heading = "Sources")]
    pub(crate) files_from0: Vec<PathBuf>,
    /// Leave out what matches, in the language of .gitignore, seen from the root
    /// of the snapshot
    #[arg(short, long, value_name = "PATTERN", help_heading = "Selection")]
    pub(crate) exclude: Vec<String>,
    /// The same, whatever the case of letters
    #[arg(long, value_name = "PATTERN", help_heading = "Selection")]
    pub(crate) iexclude: Vec<String>,
    /// Patterns of --exclude from a file, one a line
    #[arg(long, value_name = "FILE", help_heading = "Selection")]
    pub(crate) exclude_file: Vec<PathBuf>,
    /// Patterns of --iexclude from a file, one a line
    #[arg(long, value_name = "FILE", help_heading = "Selection")]
    pub(crate) iexclude_file: Vec<PathBuf>,
    /// Keep what matches although an exclusion says otherwise
    #[arg(long, value_name = "PATTERN", help_heading = "Selection")]
    pub(crate) include: Vec<String>,
    /// Leave out the content of directories with such a file, if it begins with
    /// HEADER
    #[arg(long, value_name = "FILE[:HEADER]", value_parser = marker, help_heading = "Selection")]
    #[serde(deserialize_with = "markers")]
    pub(crate) exclude_if_present: Vec<Marker>,
    /// Leave out the content of directories that a CACHEDIR.TAG marks as caches
    #[arg(long, help_heading = "Selection")]
    pub(crate) exclude_caches: bool,
    /// Leave out files larger than this
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Selection")]
    #[serde(deserialize_with = "optional_size")]
    pub(crate) exclude_larger_than: Option<u64>,
    /// Leave out what `chattr +d` marks
    #[arg(long, help_heading = "Selection")]
    pub(crate) exclude_nodump: bool,
    /// Do not enter other file systems; their mount points are kept empty
    #[arg(short = 'x', long, help_heading = "Selection")]
    pub(crate) one_file_system: bool,
    /// Do not obey `.icecoreignore` files
    #[arg(long, help_heading = "Selection")]
    pub(crate) no_ignore_files: bool,
    /// A label for the snapshot; may be given several times
    #[arg(long, value_name = "TAG", help_heading = "Snapshot")]
    pub(crate) tag: Vec<String>,
    /// A text about the snapshot
    #[arg(long, value_name = "TEXT", help_heading = "Snapshot")]
    pub(crate) description: Option<String>,
    /// The host's name to record [default: this host's]
    #[arg(long, value_name = "NAME", help_heading = "Snapshot")]
    pub(crate) host: Option<String>,
    /// Read every file again, changed or not
    #[arg(short, long, help_heading = "Reading")]
    pub(crate) force: bool,
    /// Do not take another inode number for a change
    #[arg(long, help_heading = "Reading")]
    pub(crate) ignore_inode: bool,
    /// Do not take another ctime for a change
    #[arg(long, help_heading = "Reading")]
    pub(crate) ignore_ctime: bool,
    /// Keep access times
    #[arg(long, help_heading = "Reading")]
    pub(crate) with_atime: bool,
    /// Files to read at once [default: 4 for each processor]
    #[arg(long, value_name = "COUNT", value_parser = concurrency, help_heading = "Reading")]
    #[serde(deserialize_with = "optional_concurrency")]
    pub(crate) read_concurrency: Option<u16>,
    /// Bytes of the sources to read in a second at most, such as 50M
    #[arg(long, value_name = "SIZE", value_parser = rate, help_heading = "Reading")]
    #[serde(deserialize_with = "optional_rate")]
    pub(crate) limit_rate: Option<u64>,
    /// How to compress chunks: lz4, zstd, zstd:LEVEL (1 to 22) or none
    /// [default: lz4]
    #[arg(long, value_name = "METHOD", value_parser = compression, help_heading = "Reading")]
    #[serde(deserialize_with = "optional_compression")]
    pub(crate) compression: Option<Compression>,
}

impl CreateOptions {
    /// Whether sources are named in it.
    pub(crate) const fn names_sources(&self) -> bool {
        !self.files_from.is_empty() || !self.files_from0.is_empty()
    }

    /// Joins what the command line says with what a profile does: lists are
    /// joined, and for single values the command line wins.
    pub(crate) fn over(self, profile: Self) -> Self {
        Self {
            files_from: join(profile.files_from, self.files_from),
            files_from0: join(profile.files_from0, self.files_from0),
            exclude: join(profile.exclude, self.exclude),
            iexclude: join(profile.iexclude, self.iexclude),
            exclude_file: join(profile.exclude_file, self.exclude_file),
            iexclude_file: join(profile.iexclude_file, self.iexclude_file),
            include: join(profile.include, self.include),
            exclude_if_present: join(profile.exclude_if_present, self.exclude_if_present),
            exclude_caches: self.exclude_caches || profile.exclude_caches,
            exclude_larger_than: self.exclude_larger_than.or(profile.exclude_larger_than),
            exclude_nodump: self.exclude_nodump || profile.exclude_nodump,
            one_file_system: self.one_file_system || profile.one_file_system,
            no_ignore_files: self.no_ignore_files || profile.no_ignore_files,
            tag: join(profile.tag, self.tag),
            description: self.description.or(profile.description),
            host: self.host.or(profile.host),
            force: self.force || profile.force,
            ignore_inode: self.ignore_inode || profile.ignore_inode,
            ignore_ctime: self.ignore_ctime || profile.ignore_ctime,
            with_atime: self.with_atime || profile.with_atime,
            read_concurrency: self.read_concurrency.or(profile.read_concurrency),
            limit_rate: self.limit_rate.or(profile.limit_rate),
            compression: self.compression.or(profile.compression),
        }
    }
}

fn join<T>(mut first: Vec<T>, second: Vec<T>) -> Vec<T> {
    first.extend(second);
    first
}

fn marker(text: &str) -> Result<Marker, String> {
    Marker::parse(text).ok_or_else(|| "the name of a file is expected, or NAME:HEADER".to_owned())
}

fn concurrency(text: &str) -> Result<u16, String> {
    let count = text.parse().ok().filter(|count| (1..=1024).contains(count));
    count.ok_or_else(|| "a number from 1 to 1024 is expected".to_owned())
}

fn rate(text: &str) -> Result<u64, String> {
    match size(text)? {
        0 => Err("a rate above 0 is expected".to_owned()),
        rate => Ok(rate),
    }
}

fn parsed<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn optional_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    parsed(deserializer, size).map(Some)
}

fn optional_rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    parsed(deserializer, rate).map(Some)
}

fn optional_concurrency<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u16>, D::Error> {
    concurrency(&u16::deserialize(deserializer)?.to_string()).map(Some).map_err(de::Error::custom)
}

fn optional_compression<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Compression>, D::Error> {
    parsed(deserializer, compression).map(Some)
}

fn markers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Marker>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| marker(text).map_err(de::Error::custom)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_understands_the_options_of_the_command_line() {
        let options: CreateOptions = toml::from_str(
            "exclude = ['*.o']\nexclude-if-present = ['.no:x']\nexclude-larger-than = '1K'\n\
             compression = 'zstd:9'\nlimit-rate = '5M'\none-file-system = true\n",
        )
        .unwrap();
        assert_eq!(options.exclude, ["*.o"]);
        assert_eq!(options.exclude_larger_than, Some(1024));
        assert_eq!(options.compression, Some(Compression::Zstd(9)));
        assert!(options.one_file_system && options.exclude_if_present[0].header == b"x");
        for wrong in [
            "excludes = []",
            "compression = 'gzip'",
            "limit-rate = '0'",
            "force = 1",
            "read-concurrency = 0",
        ] {
            assert!(toml::from_str::<CreateOptions>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_are_joined_and_the_command_line_wins() {
        let options = |tag: &str, host: &str| CreateOptions {
            tag: vec![tag.to_owned()],
            host: Some(host.to_owned()),
            ..CreateOptions::default()
        };
        let profile = CreateOptions { force: true, ..options("profile", "profile") };
        let joined = options("line", "line").over(profile);
        assert_eq!(joined.tag, ["profile", "line"]);
        assert_eq!((joined.host.as_deref(), joined.force), (Some("line"), true));
    }
}
