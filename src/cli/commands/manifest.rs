//! `icecore manifest`: the SHA-256 of each file of a snapshot, for `sha256sum -c`.

use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;

use serde::Serialize;

use crate::base::hash::Digest256;
use crate::base::id::hex;
use crate::base::name::printable;
use crate::base::progress::Monitor as _;
use crate::cli::commands::diff::terminal;
use crate::cli::context::Context;
use crate::cli::diff_options::ManifestArguments;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::Output;
use crate::cli::progress::Terminal;
use crate::dag::{Content, Kind};
use crate::repository::{Reader, RepositoryError, Step};

/// A file in JSON; others may rely on the names.
#[derive(Serialize)]
struct FileFacts {
    r#type: &'static str,
    path: String,
    size: u64,
    sha256: String,
}

/// The last line of JSON.
#[derive(Serialize)]
struct SummaryFacts {
    r#type: &'static str,
    snapshot: String,
    files: u64,
    bytes: u64,
    /// Files that had to be read, since their hash is not kept.
    read_files: u64,
    damaged: u64,
}

pub(crate) fn run(
    context: &Context,
    arguments: &ManifestArguments,
) -> Result<Outcome, CommandError> {
    let reader = context.reader()?;
    let named = reader.find_snapshot_path(arguments.directory.as_bytes(), context.now)?;
    let _lease = reader.lease(named.id)?;
    let node = reader.resolve(&named)?;
    let terminal = terminal(context);
    let mut printer = Printer {
        context,
        arguments,
        reader: &reader,
        terminal: &terminal,
        output: Output::new(),
        summary: SummaryFacts {
            r#type: "summary",
            snapshot: named.id.to_string(),
            files: 0,
            bytes: 0,
            read_files: 0,
            damaged: 0,
        },
    };
    let printed = match &node.kind {
        Kind::Directory(tree) => {
            terminal.total(tree.totals.files, tree.totals.bytes);
            printer.directory(tree)
        }
        Kind::File(content) => {
            let name = named.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            printer.file(name, content)
        }
        _ => {
            let path = printable(&named.path);
            Err(CommandError::Failed(format!("{path} is neither a directory nor a regular file")))
        }
    };
    terminal.finish();
    printed.map_err(|error| context.signals.instead_of(error))?;
    printer.finish()
}

struct Printer<'a> {
    context: &'a Context,
    arguments: &'a ManifestArguments,
    reader: &'a Reader,
    terminal: &'a Terminal,
    output: Output,
    summary: SummaryFacts,
}

impl Printer<'_> {
    fn directory(&mut self, tree: &crate::dag::TreeRef) -> Result<(), CommandError> {
        let mut walk = self.reader.walk(tree);
        loop {
            if self.terminal.cancelled() {
                return Err(CommandError::Failed("Cancelled".to_owned()));
            }
            match walk.step() {
                Ok(None) => return Ok(()),
                Ok(Some(Step::Entry(node))) => {
                    if let Kind::File(content) = &node.kind {
                        self.file(walk.path(), content)?;
                    }
                }
                Ok(Some(Step::Leave)) => {}
                // The next step goes on behind it.
                Err(error) => self.damage(walk.path(), error)?,
            }
        }
    }

    fn file(&mut self, path: &[u8], content: &Content) -> Result<(), CommandError> {
        let cancelled = || self.terminal.cancelled();
        let digest = match self.reader.sha256(content, &cancelled) {
            Ok(Some(digest)) => digest,
            Ok(None) => return Err(CommandError::Failed("Cancelled".to_owned())),
            Err(error) => return self.damage(path, error),
        };
        self.summary.files += 1;
        self.summary.bytes = self.summary.bytes.saturating_add(content.size);
        self.summary.read_files += u64::from(content.known_sha256().is_none());
        self.terminal.advance(1, content.size);
        let path = match &self.arguments.prefix {
            None => path.to_vec(),
            Some(prefix) => {
                let mut prefixed = prefix.as_bytes().to_vec();
                if !prefixed.is_empty() && !prefixed.ends_with(b"/") {
                    prefixed.push(b'/');
                }
                prefixed.extend_from_slice(path);
                prefixed
            }
        };
        if self.context.json {
            let (path, sha256) = (printable(&path), hex(&digest));
            return self.output.json(&FileFacts {
                r#type: "file",
                path,
                size: content.size,
                sha256,
            });
        }
        self.output.raw(&line(&digest, &path, self.arguments.null))
    }

    /// Tells what is damaged, and lets the rest be printed.
    fn damage(&mut self, path: &[u8], error: RepositoryError) -> Result<(), CommandError> {
        if !error.is_loss() {
            return Err(error.into());
        }
        self.summary.damaged += 1;
        let path = if path.is_empty() { b".".as_slice() } else { path };
        // There is nowhere left to report a failure of this.
        let _ = writeln!(io::stderr(), "icecore: {}: {error}", printable(path));
        Ok(())
    }

    fn finish(mut self) -> Result<Outcome, CommandError> {
        if self.context.json {
            self.output.json(&self.summary)?;
        }
        self.output.finish()?;
        Ok(if self.summary.damaged > 0 { Outcome::Damaged } else { Outcome::Done })
    }
}

/// A line that `sha256sum -c` takes. GNU escapes a name with a backslash, a
/// newline or a carriage return, and says so by a backslash before the hash; with
/// `-z` it escapes nothing. A name of one dash alone would mean standard input.
fn line(digest: &Digest256, path: &[u8], null: bool) -> Vec<u8> {
    let mut line = Vec::with_capacity(2 * digest.len() + path.len() + 4);
    let is_escaped = !null && path.iter().any(|byte| matches!(byte, b'\\' | b'\n' | b'\r'));
    if is_escaped {
        line.push(b'\\');
    }
    line.extend_from_slice(hex(digest).as_bytes());
    line.extend_from_slice(b"  ");
    if path == b"-" {
        line.extend_from_slice(b"./");
    }
    for byte in path {
        match byte {
            b'\\' if is_escaped => line.extend_from_slice(b"\\\\"),
            b'\n' if is_escaped => line.extend_from_slice(b"\\n"),
            b'\r' if is_escaped => line.extend_from_slice(b"\\r"),
            byte => line.push(*byte),
        }
    }
    line.push(if null { 0 } else { b'\n' });
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_sha256sum_does() {
        let tail = |path: &[u8], null| {
            let line = line(&[0xab; 32], path, null);
            String::from_utf8(line).unwrap().replace(&"ab".repeat(32), "#")
        };
        assert_eq!(tail(b"a b", false), "#  a b\n");
        assert_eq!(tail(b"a\nb\\c\rd", false), "\\#  a\\nb\\\\c\\rd\n");
        assert_eq!(tail(b"a\nb\\c", true), "#  a\nb\\c\0");
        assert_eq!(tail(b"-", false), "#  ./-\n");
    }
}
