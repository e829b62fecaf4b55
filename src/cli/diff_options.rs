//! The options of `diff` and `manifest`.

use std::ffi::OsString;

use clap::Args;

use crate::diff::Field;

pub(crate) const DIFF_NOTES: &str = "\
What begins with `/` or `.` is a directory or file of the running system,
everything else a snapshot. Each line begins with what happened:
  +  added     M  modified             T  became another kind of file
  -  removed   U  only metadata differ  R  renamed, with the same content";

#[derive(Debug, Args)]
pub(crate) struct DiffArguments {
    /// What was: SNAPSHOT[:PATH], or a path of the running system
    #[arg(value_name = "A")]
    pub(crate) before: OsString,
    /// What is, in the same form; at least one of both is a snapshot
    #[arg(value_name = "B")]
    pub(crate) after: OsString,
    /// Compare only what lies there, in both
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<OsString>,
    /// Show how the lines of modified text files differ, as `diff -u` does
    #[arg(long, help_heading = "Output")]
    pub(crate) content: bool,
    /// Lines shown around each change of a text
    #[arg(
        short = 'U',
        long,
        default_value = "3",
        value_name = "LINES",
        requires = "content",
        help_heading = "Output"
    )]
    pub(crate) unified: usize,
    /// Show sums only
    #[arg(long, help_heading = "Output", group = "form", conflicts_with = "content")]
    pub(crate) stat: bool,
    /// Show paths only; of a renamed file the new one
    #[arg(long, help_heading = "Output", group = "form", conflicts_with = "content")]
    pub(crate) name_only: bool,
    /// Show paths with the letter and a tab before each
    #[arg(long, help_heading = "Output", group = "form", conflicts_with = "content")]
    pub(crate) name_status: bool,
    /// End each path with a NUL byte, not with a newline
    #[arg(short = 'z', long, help_heading = "Output", requires = "form", conflicts_with = "stat")]
    pub(crate) null: bool,
    /// End with 1 if anything differs, and with 2 where 1 would mean a failure
    #[arg(long, help_heading = "Output")]
    pub(crate) exit_code: bool,
    /// Tell what was renamed as removed and added, at once and in less memory
    #[arg(long, help_heading = "Comparison")]
    pub(crate) no_renames: bool,
    /// Read all files of the running system, even if size, mtime and the rest
    /// are equal
    #[arg(long, help_heading = "Comparison")]
    pub(crate) checksum: bool,
    /// Tell directories of which only the mtime differs too
    #[arg(long, help_heading = "Comparison")]
    pub(crate) directory_times: bool,
    /// Do not compare this: mode, owner, mtime, atime, links, xattrs or
    /// changed-while-read; may be given several times, or as a list with commas
    #[arg(long, value_name = "FIELD", value_parser = field, value_delimiter = ',',
          help_heading = "Comparison")]
    pub(crate) ignore: Vec<Field>,
    /// Do not enter other file systems of the running system
    #[arg(short = 'x', long, help_heading = "Comparison")]
    pub(crate) one_file_system: bool,
    /// Tell only what fits this pattern of `.gitignore`, and what lies below;
    /// may be given several times
    #[arg(long, value_name = "PATTERN", help_heading = "Comparison")]
    pub(crate) include: Vec<String>,
    /// Leave out what fits this pattern, and what lies below
    #[arg(long, value_name = "PATTERN", help_heading = "Comparison")]
    pub(crate) exclude: Vec<String>,
}

fn field(text: &str) -> Result<Field, String> {
    Field::METADATA.into_iter().find(|field| field.name() == text).ok_or_else(|| {
        let names: Vec<_> = Field::METADATA.iter().map(|field| field.name()).collect();
        format!("one of {} is expected", names.join(", "))
    })
}

#[derive(Debug, Args)]
pub(crate) struct ManifestArguments {
    /// The directory or file, as SNAPSHOT[:PATH]
    #[arg(default_value = "latest", value_name = "SNAPSHOT[:PATH]")]
    pub(crate) directory: OsString,
    /// Put this before each path, such as `/` to verify the running system
    #[arg(long, value_name = "PATH")]
    pub(crate) prefix: Option<OsString>,
    /// End each line with a NUL byte and escape nothing, as `sha256sum -z` does
    #[arg(short = 'z', long)]
    pub(crate) null: bool,
}
