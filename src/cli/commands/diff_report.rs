//! What `icecore diff` prints.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use serde::Serialize;

use crate::base::format;
use crate::base::id::hex;
use crate::base::name::printable;
use crate::cli::commands::diff::ReadOut;
use crate::cli::context::Context;
use crate::cli::diff_options::DiffArguments;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::{Align, Output, Table};
use crate::dag::Owner;
use crate::diff::{
    Change, ChangeClass, Comparison, ContentError, Difference, Field, FileContent, Item, ItemKind,
    Summary, Tally, Told, is_binary, write_unified,
};

/// Bytes of a file whose lines are compared; of a larger one it is said that it
/// differs.
const TEXT_BYTES_MAX: usize = 32 << 20;

/// How a side is called in the headers of texts.
pub(super) struct Label {
    text: String,
    /// The operand is the file itself.
    is_itself: bool,
}

impl Label {
    pub(super) fn new(operand: &OsStr, is_stored: bool, is_itself: bool) -> Self {
        let mut text = printable(operand.as_bytes());
        if !is_itself && !text.ends_with(['/', ':']) {
            text.push(if is_stored && !text.contains(':') { ':' } else { '/' });
        }
        Self { text, is_itself }
    }

    fn of(&self, path: &[u8]) -> String {
        let path = if self.is_itself { String::new() } else { printable(path) };
        format!("{}{path}", self.text)
    }
}

/// Prints differences and their sums.
pub(super) struct Reporter<'a> {
    context: &'a Context,
    arguments: &'a DiffArguments,
    labels: (Label, Label),
    output: Output,
    summary: Summary,
    read: ReadOut,
    problems: u64,
    damaged: u64,
}

/// An item in JSON; others may rely on the names.
#[derive(Serialize)]
struct ItemFacts {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    mode: String,
    uid: u32,
    gid: u32,
    mtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

/// A difference in JSON; others may rely on the names.
#[derive(Serialize)]
struct DifferenceFacts<'a> {
    r#type: &'static str,
    change: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    fields: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<ItemFacts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<ItemFacts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

/// The sums of one class in JSON.
#[derive(Serialize)]
struct TallyFacts {
    files: u64,
    directories: u64,
    bytes: u64,
}

/// The last line of JSON.
#[derive(Serialize)]
struct SummaryFacts {
    r#type: &'static str,
    added: TallyFacts,
    removed: TallyFacts,
    modified: TallyFacts,
    metadata: TallyFacts,
    retyped: TallyFacts,
    renamed: TallyFacts,
    renames_limited: bool,
    errors: u64,
    damaged: u64,
}

/// How the content of a modified file differs.
enum Text {
    /// Its lines, as `diff -u` shows them.
    Lines(Vec<u8>),
    /// It is no text, or too large.
    Other(String),
}

impl<'a> Reporter<'a> {
    pub(super) fn new(
        context: &'a Context,
        arguments: &'a DiffArguments,
        labels: (Label, Label),
    ) -> Self {
        let (output, summary, read) = (Output::new(), Summary::default(), ReadOut::default());
        Self { context, arguments, labels, output, summary, read, problems: 0, damaged: 0 }
    }

    /// Prints a difference.
    pub(super) fn difference(
        &mut self,
        comparison: &Comparison<'_>,
        difference: &Difference,
    ) -> Result<(), CommandError> {
        self.summary.add(difference);
        if self.arguments.stat {
            return Ok(());
        }
        let text = if self.arguments.content { self.text(comparison, difference)? } else { None };
        if self.context.json {
            let text = text.map(|text| match text {
                Text::Lines(lines) => String::from_utf8_lossy(&lines).into_owned(),
                Text::Other(line) => line,
            });
            return self.output.json(&facts(difference, text.as_deref()));
        }
        match text {
            Some(Text::Lines(lines)) => self.output.raw(&lines),
            Some(Text::Other(line)) => self.output.line(&line),
            None => self.line(difference),
        }
    }

    /// Prints the sums, and returns how the command ends.
    pub(super) fn finish(mut self, told: &Told) -> Result<(Outcome, ReadOut), CommandError> {
        let (errors, damaged) = (told.problems + self.problems, told.damaged + self.damaged);
        if self.context.json {
            self.output.json(&summary_facts(&self.summary, told, (errors, damaged)))?;
        } else if self.arguments.stat {
            self.table()?;
        } else if !self.context.quiet && !self.is_for_programs() {
            self.output.line(&sums(&self.summary, errors + damaged == 0))?;
        }
        self.output.finish()?;
        if told.is_renames_limited {
            self.context.note("too many differences to look for renames among all of them");
        }
        let outcome = match () {
            () if damaged > 0 => Outcome::Damaged,
            () if errors > 0 => Outcome::Incomplete,
            () if self.arguments.exit_code && !self.summary.is_empty() => Outcome::Different,
            () => Outcome::Done,
        };
        Ok((outcome, self.read))
    }

    /// Whether a line of sums would be in the way: of lists, and of patches.
    const fn is_for_programs(&self) -> bool {
        self.arguments.name_only || self.arguments.name_status || self.arguments.content
    }

    fn line(&mut self, difference: &Difference) -> Result<(), CommandError> {
        let class = difference.class();
        let from = match &difference.change {
            Change::Renamed { from, before, .. } => Some(self.name(from, before)),
            _ => None,
        };
        let name = self.name(&difference.path, difference.item());
        let mut line = Vec::new();
        if self.arguments.name_only {
            line.extend(name);
        } else if self.arguments.name_status {
            let end: &[u8] = if self.arguments.null { b"\0" } else { b"\t" };
            line.push(class.letter() as u8);
            for name in from.into_iter().chain([name]) {
                line.extend_from_slice(end);
                line.extend(name);
            }
        } else {
            line.extend([class.letter() as u8, b' ']);
            if let Some(from) = from {
                line.extend(from);
                line.extend_from_slice(b" -> ");
            }
            line.extend(name);
            let details = details(difference);
            if !details.is_empty() {
                line.extend_from_slice(format!(" ({})", details.join(", ")).as_bytes());
            }
        }
        line.push(if self.arguments.null { 0 } else { b'\n' });
        self.output.raw(&line)
    }

    /// A path as it is printed; directories end in a slash.
    fn name(&self, path: &[u8], item: &Item) -> Vec<u8> {
        let path = if path.is_empty() { b".".as_slice() } else { path };
        let mut name = if self.arguments.null { path.to_vec() } else { self.output.name(path) };
        if item.is_directory() && !self.arguments.null {
            name.push(b'/');
        }
        name
    }

    /// How the content of a modified regular file differs.
    fn text(
        &mut self,
        comparison: &Comparison<'_>,
        difference: &Difference,
    ) -> Result<Option<Text>, CommandError> {
        let Change::Modified { before, after, fields } = &difference.change else {
            return Ok(None);
        };
        if fields.first() != Some(&Field::Content) {
            return Ok(None);
        }
        let path = &difference.path;
        let labels = (self.labels.0.of(path), self.labels.1.of(path));
        let read = |item| comparison.read(item, path, TEXT_BYTES_MAX);
        let texts = match read(before).and_then(|one| Ok(one.zip(read(after)?))) {
            Ok(texts) => texts,
            Err(ContentError::Repository(error)) if !error.is_damage() => return Err(error.into()),
            Err(error) => {
                match error {
                    ContentError::Repository(_) => self.damaged += 1,
                    ContentError::Live(_) => self.problems += 1,
                }
                let line = format!("{}: {error}", printable(path));
                self.context.note(&line);
                return Ok(None);
            }
        };
        let other =
            |what: &str| Text::Other(format!("{what} {} and {} differ", labels.0, labels.1));
        let Some((one, another)) = texts else { return Ok(Some(other("Large files"))) };
        self.read.files_read += 2;
        self.read.bytes_read += (one.len() + another.len()) as u64;
        self.read.paths.push(labels.0.clone());
        self.read.paths.push(labels.1.clone());
        if is_binary(&one) || is_binary(&another) {
            return Ok(Some(other("Binary files")));
        }
        let header = |label: &str, item: &Item| format!("{label}\t{}", item.mtime.to_rfc3339());
        let headers = (header(&labels.0, before), header(&labels.1, after));
        let mut lines = Vec::new();
        let context_lines = self.arguments.unified;
        let sides = ((one.as_slice(), &*headers.0), (another.as_slice(), &*headers.1));
        write_unified(sides.0, sides.1, context_lines, &mut lines)
            .map_err(CommandError::io("compare texts"))?;
        Ok(Some(Text::Lines(lines)))
    }

    fn table(&mut self) -> Result<(), CommandError> {
        let mut table = Table::new(&[
            ("", Align::Left),
            ("files", Align::Right),
            ("directories", Align::Right),
            ("size", Align::Right),
        ]);
        for (name, tally) in classes(&self.summary) {
            table.row(vec![
                name.to_owned(),
                format::count(tally.files),
                format::count(tally.directories),
                format::bytes(tally.bytes),
            ]);
        }
        table.print(&mut self.output)
    }
}

const fn classes(summary: &Summary) -> [(&'static str, Tally); 6] {
    [
        (ChangeClass::Added.name(), summary.added),
        (ChangeClass::Removed.name(), summary.removed),
        (ChangeClass::Modified.name(), summary.modified),
        (ChangeClass::Metadata.name(), summary.metadata),
        (ChangeClass::Type.name(), summary.retyped),
        (ChangeClass::Renamed.name(), summary.renamed),
    ]
}

/// The sums in one line, such as `2 added (1.0 MiB), 1 removed (0 B)`.
fn sums(summary: &Summary, is_whole: bool) -> String {
    match (summary.is_empty(), is_whole) {
        (true, true) => return "No differences".to_owned(),
        (true, false) => return "No differences in what could be compared".to_owned(),
        _ => {}
    }
    let parts = classes(summary).into_iter().filter_map(|(name, tally)| {
        let items = tally.files.saturating_add(tally.directories);
        let text = match name {
            "metadata" => "with other metadata",
            "type" => "of another type",
            name => name,
        };
        let is_sized = matches!(name, "added" | "removed" | "modified");
        let size =
            if is_sized { format!(" ({})", format::bytes(tally.bytes)) } else { String::new() };
        (items > 0).then(|| format!("{} {text}{size}", format::count(items)))
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// What is said of a difference behind its path.
fn details(difference: &Difference) -> Vec<String> {
    let (before, after, fields) = match &difference.change {
        Change::Added(_) | Change::Removed(_) => return Vec::new(),
        Change::Modified { before, after, fields }
        | Change::Renamed { before, after, fields, .. } => (before, after, fields),
    };
    let is_rewritten = fields.iter().any(|field| !Field::METADATA.contains(field));
    // The letter says that content differs, and whoever writes changes the mtime.
    let told = fields.iter().filter(|field| match field {
        Field::Content => before.size() != after.size(),
        Field::Mtime => !is_rewritten,
        _ => true,
    });
    told.map(|field| match field {
        Field::Type => format!("{} -> {}", before.kind_name(), after.kind_name()),
        Field::Content => {
            format!("{} -> {}", format::bytes(before.size()), format::bytes(after.size()))
        }
        Field::Mode => format!("mode {:04o} -> {:04o}", before.mode, after.mode),
        Field::Owner => format!("owner {} -> {}", owner(&before.owner), owner(&after.owner)),
        Field::Target => match (&before.kind, &after.kind) {
            (ItemKind::Symlink(before), ItemKind::Symlink(after)) => {
                format!("target {} -> {}", printable(before), printable(after))
            }
            _ => field.name().to_owned(),
        },
        Field::Xattrs => format!("xattrs {}", other_xattrs(before, after).join(" ")),
        field => field.name().to_owned(),
    })
    .collect()
}

fn owner(owner: &Owner) -> String {
    let side = |name: &str, number: u32| match name {
        "" => number.to_string(),
        name => printable(name.as_bytes()),
    };
    format!("{}:{}", side(&owner.user, owner.uid), side(&owner.group, owner.gid))
}

/// The names of the attributes that differ.
fn other_xattrs(before: &Item, after: &Item) -> Vec<String> {
    let only = |one: &Item, other: &Item| -> Vec<String> {
        let missing = one.xattrs.iter().filter(|xattr| !other.xattrs.contains(xattr));
        missing.map(|xattr| printable(&xattr.name)).collect()
    };
    let mut names = [only(before, after), only(after, before)].concat();
    names.sort_unstable();
    names.dedup();
    names
}

fn facts<'a>(difference: &Difference, text: Option<&'a str>) -> DifferenceFacts<'a> {
    let (before, after, fields) = match &difference.change {
        Change::Added(item) => (None, Some(item), Vec::new()),
        Change::Removed(item) => (Some(item), None, Vec::new()),
        Change::Modified { before, after, fields }
        | Change::Renamed { before, after, fields, .. } => {
            (Some(before), Some(after), fields.iter().map(|field| field.name()).collect())
        }
    };
    let from = match &difference.change {
        Change::Renamed { from, .. } => Some(printable(from)),
        _ => None,
    };
    let path =
        if difference.path.is_empty() { ".".to_owned() } else { printable(&difference.path) };
    DifferenceFacts {
        r#type: "change",
        change: difference.class().name(),
        path,
        from,
        fields,
        before: before.map(item_facts),
        after: after.map(item_facts),
        text,
    }
}

fn item_facts(item: &Item) -> ItemFacts {
    let (target, sha256) = match &item.kind {
        ItemKind::Symlink(target) => (Some(printable(target)), None),
        ItemKind::File(FileContent::Stored(content)) => {
            (None, content.known_sha256().map(|digest| hex(&digest)))
        }
        _ => (None, None),
    };
    ItemFacts {
        kind: item.kind_name(),
        size: matches!(item.kind, ItemKind::File(_)).then(|| item.size()),
        mode: format!("{:04o}", item.mode),
        uid: item.owner.uid,
        gid: item.owner.gid,
        mtime: item.mtime.to_rfc3339(),
        target,
        sha256,
    }
}

fn summary_facts(summary: &Summary, told: &Told, (errors, damaged): (u64, u64)) -> SummaryFacts {
    let facts = |tally: Tally| TallyFacts {
        files: tally.files,
        directories: tally.directories,
        bytes: tally.bytes,
    };
    SummaryFacts {
        r#type: "summary",
        added: facts(summary.added),
        removed: facts(summary.removed),
        modified: facts(summary.modified),
        metadata: facts(summary.metadata),
        retyped: facts(summary.retyped),
        renamed: facts(summary.renamed),
        renames_limited: told.is_renames_limited,
        errors,
        damaged,
    }
}
