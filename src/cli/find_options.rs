//! The arguments of `find` and `versions`.

use std::ffi::OsString;

use clap::Args;

use crate::base::hash::Digest256;
use crate::base::id::{ChunkId, parse_hex};
use crate::cli::args::size;
use crate::cli::snapshot_options::SelectOptions;
use crate::find::{OwnerName, SizeRange};

const KINDS: &str = "fdlpsbc";

#[derive(Debug, Args)]
pub(crate) struct FindArguments {
    /// What to find, in the language of .gitignore: a name, or with a slash a
    /// path seen from the root of the snapshot, in which `**` is any number of
    /// names
    #[arg(value_name = "PATTERN")]
    pub(crate) patterns: Vec<String>,
    /// Whatever the case of letters
    #[arg(short, long)]
    pub(crate) ignore_case: bool,
    /// Files of more (+10M), of less (-1K), of just that many bytes (512), or of
    /// a range (1M..2M)
    #[arg(long, value_name = "SIZE", value_parser = size_range, allow_hyphen_values = true)]
    pub(crate) size: Vec<SizeRange>,
    /// Modified after that time: a date, `yesterday`, or how long ago, such as 2h
    #[arg(long, value_name = "TIME")]
    pub(crate) newer: Option<String>,
    /// Modified before that time
    #[arg(long, value_name = "TIME")]
    pub(crate) older: Option<String>,
    /// Of these kinds, between commas: f file, d directory, l symlink, p pipe,
    /// s socket, b and c devices
    #[arg(long = "type", value_name = "KINDS", value_delimiter = ',', value_parser = kind)]
    pub(crate) kinds: Vec<char>,
    /// Owned by this user, by name or number
    #[arg(long, value_name = "USER", value_parser = owner)]
    pub(crate) owner: Vec<OwnerName>,
    /// Owned by this group, by name or number
    #[arg(long, value_name = "GROUP", value_parser = owner)]
    pub(crate) group: Vec<OwnerName>,
    /// Files with this content
    #[arg(long, value_name = "SHA256", value_parser = digest)]
    pub(crate) content_hash: Vec<Digest256>,
    /// Files that hold this chunk
    #[arg(long, value_name = "ID", value_parser = chunk)]
    pub(crate) chunk: Vec<ChunkId>,
    /// Show mode, owner and group too
    #[arg(short, long)]
    pub(crate) long: bool,
    /// Print only SNAPSHOT:PATH of the newest snapshot with each version, ended
    /// by NUL, for `xargs -0 icecore cat`
    #[arg(short = '0', long, conflicts_with_all = ["long", "json"])]
    pub(crate) print0: bool,
    #[command(flatten)]
    pub(crate) select: SelectOptions,
}

#[derive(Debug, Args)]
pub(crate) struct VersionsArguments {
    /// The path inside the snapshots
    pub(crate) path: OsString,
    #[command(flatten)]
    pub(crate) select: SelectOptions,
}

fn kind(text: &str) -> Result<char, String> {
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) if KINDS.contains(letter) => Ok(letter),
        _ => Err("letters out of f,d,l,p,s,b,c between commas are expected".to_owned()),
    }
}

fn owner(text: &str) -> Result<OwnerName, String> {
    Ok(OwnerName(text.to_owned()))
}

fn digest(text: &str) -> Result<Digest256, String> {
    parse_hex(text.trim()).ok_or_else(|| "64 hexadecimal digits are expected".to_owned())
}

fn chunk(text: &str) -> Result<ChunkId, String> {
    digest(text).map(ChunkId::from_digest)
}

pub(crate) fn size_range(text: &str) -> Result<SizeRange, String> {
    let range = if let Some(text) = text.strip_prefix('+') {
        size(text)?.saturating_add(1)..=u64::MAX
    } else if let Some(text) = text.strip_prefix('-') {
        let end = size(text)?.checked_sub(1).ok_or("nothing has less than 0 bytes")?;
        0..=end
    } else if let Some((first, last)) = text.split_once("..") {
        size(first)?..=size(last)?
    } else {
        size(text)?..=size(text)?
    };
    if range.is_empty() { Err("the range is empty".to_owned()) } else { Ok(SizeRange(range)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_understood_or_refused() {
        for (text, range) in [
            ("+10M", (10 << 20) + 1..=u64::MAX),
            ("-1K", 0..=1023),
            ("512", 512..=512),
            ("1K..2K", 1024..=2048),
        ] {
            assert_eq!(size_range(text), Ok(SizeRange(range)), "{text}");
        }
        for wrong in ["", "+", "-", "-0", "2K..1K", "..", "x", "+-1"] {
            assert!(size_range(wrong).is_err(), "{wrong}");
        }
        assert!(kind("f").is_ok() && kind("x").is_err() && kind("").is_err());
    }
}
