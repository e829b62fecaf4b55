//! `icecore tree`: a directory of a snapshot as a tree, with the sizes of all
//! that lies below.

use std::os::unix::ffi::OsStrExt as _;

use serde::Serialize;

use crate::base::format;
use crate::base::limits::DIRECTORY_DEPTH_MAX;
use crate::base::name::{join_paths, printable};
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::locale::is_utf8;
use crate::cli::ls_options::TreeArguments;
use crate::cli::node_text::{NodeFacts, not_seen_whole, weight_text};
use crate::cli::output::{JsonArray, Output};
use crate::dag::{Entry, Kind, Node, Totals, TreeRef};
use crate::repository::{DirectoryCursor, Reader, RepositoryError};

/// What is drawn before a name: for one with others behind it, for the last one,
/// and before all that is below either.
struct Lines {
    middle: &'static str,
    last: &'static str,
    below_middle: &'static str,
    below_last: &'static str,
}

const UNICODE: Lines = Lines {
    middle: "\u{251c}\u{2500}\u{2500} ",
    last: "\u{2514}\u{2500}\u{2500} ",
    below_middle: "\u{2502}   ",
    below_last: "    ",
};
const ASCII: Lines =
    Lines { middle: "|-- ", last: "`-- ", below_middle: "|   ", below_last: "    " };

/// The fields of an entry in JSON; others may rely on their names.
#[derive(Serialize)]
struct Facts {
    #[serde(flatten)]
    node: NodeFacts,
    /// 1 for what is in the directory itself.
    depth: usize,
}

pub(crate) fn run(context: &Context, arguments: &TreeArguments) -> Result<Outcome, CommandError> {
    let reader = context.reader()?;
    let named = reader.find_snapshot_path(arguments.directory.as_bytes(), context.now)?;
    let _lease = reader.lease(named.id)?;
    let Kind::Directory(tree) = reader.resolve(&named)?.kind else {
        let (path, snapshot) = (named.path, named.id.short());
        return Err(RepositoryError::NotADirectory { path, snapshot }.into());
    };
    let mut drawer = Drawer {
        context,
        arguments,
        lines: if is_utf8() { &UNICODE } else { &ASCII },
        output: Output::new(),
        array: JsonArray::default(),
        shown: Totals::default(),
        top: &named.path,
        damaged: Vec::new(),
    };
    if !context.json {
        let top = format!("{}:{}", named.id.short(), printable(&named.path));
        drawer.output.line(&format!("[{:>10}]  {top}", format::bytes(tree.totals.bytes)))?;
    }
    drawer.draw(&reader, &tree)?;
    if context.json {
        drawer.array.end(&mut drawer.output)?;
    } else {
        let summary = drawer.summary(&tree.totals);
        drawer.output.line(&summary)?;
    }
    drawer.output.finish()?;
    context.damaged_lines(Vec::new(), drawer.damaged)
}

/// A directory that is drawn.
struct Level<'a> {
    cursor: DirectoryCursor<'a>,
    /// The entry that is drawn next: whether others follow must be known before.
    next: Option<Entry>,
    /// What is drawn before each of its entries.
    before: String,
    path: Vec<u8>,
}

struct Drawer<'a> {
    context: &'a Context,
    arguments: &'a TreeArguments,
    lines: &'static Lines,
    output: Output,
    array: JsonArray,
    /// What was drawn.
    shown: Totals,
    /// The path of the directory that is drawn.
    top: &'a [u8],
    /// What is said of directories that cannot be read whole.
    damaged: Vec<String>,
}

impl Drawer<'_> {
    fn draw(&mut self, reader: &Reader, root: &TreeRef) -> Result<(), CommandError> {
        let depth_max = self.arguments.depth.and_then(|depth| usize::try_from(depth).ok());
        let depth_max = depth_max.unwrap_or(DIRECTORY_DEPTH_MAX).min(DIRECTORY_DEPTH_MAX);
        let mut levels = Vec::new();
        self.enter(reader, root, String::new(), Vec::new(), &mut levels)?;
        while let Some(level) = levels.last_mut() {
            self.context.go_on()?;
            let Some(entry) = level.next.take() else {
                levels.pop();
                continue;
            };
            level.next = self.following(&mut level.cursor, &level.path)?;
            let path = join_paths(&level.path, entry.name.as_bytes());
            let (sign, below) = match level.next {
                Some(_) => (self.lines.middle, self.lines.below_middle),
                None => (self.lines.last, self.lines.below_last),
            };
            let below = format!("{}{below}", level.before);
            let before = format!("{}{sign}", level.before);
            let depth = levels.len();
            self.entry(&before, &path, depth, &entry)?;
            if let Kind::Directory(tree) = &entry.node.kind
                && depth < depth_max
            {
                self.enter(reader, tree, below, path, &mut levels)?;
            }
        }
        Ok(())
    }

    fn enter<'a>(
        &mut self,
        reader: &'a Reader,
        tree: &TreeRef,
        before: String,
        path: Vec<u8>,
        levels: &mut Vec<Level<'a>>,
    ) -> Result<(), CommandError> {
        let mut cursor = reader.open_directory(tree);
        let next = self.following(&mut cursor, &path)?;
        levels.push(Level { cursor, next, before, path });
        Ok(())
    }

    /// The next entry that is to be drawn.
    fn following(
        &mut self,
        cursor: &mut DirectoryCursor<'_>,
        path: &[u8],
    ) -> Result<Option<Entry>, CommandError> {
        loop {
            let entry = match cursor.entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => return Ok(None),
                Err(error) if error.is_loss() => {
                    self.damaged.push(not_seen_whole(&join_paths(self.top, path), &error));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let is_directory = matches!(entry.node.kind, Kind::Directory(_));
            let entry = (is_directory || !self.arguments.directories).then(|| entry.clone());
            cursor.advance();
            if entry.is_some() {
                return Ok(entry);
            }
        }
    }

    fn entry(
        &mut self,
        before: &str,
        path: &[u8],
        depth: usize,
        Entry { name, node }: &Entry,
    ) -> Result<(), CommandError> {
        match node.kind {
            Kind::Directory(_) => self.shown.directories += 1,
            _ => self.shown.files += 1,
        }
        if self.context.json {
            let node = NodeFacts::new(path, node);
            return self.array.item(&mut self.output, &Facts { node, depth });
        }
        let mut line = format!("{before}[{:>10}]  ", weight(node)).into_bytes();
        line.extend(self.output.name(name.as_bytes()));
        if let Kind::Symlink(target) = &node.kind {
            line.extend_from_slice(b" -> ");
            line.extend(self.output.name(target));
        }
        line.push(b'\n');
        self.output.raw(&line)
    }

    /// What there is, and how much of it was drawn.
    fn summary(&self, all: &Totals) -> String {
        let texts = |totals: &Totals| {
            let directories = format::plural(totals.directories, "directory", "directories");
            format!("{directories}, {}", format::plural(totals.files, "file", "files"))
        };
        let is_all = (self.shown.directories, self.shown.files) == (all.directories, all.files);
        let shown =
            if is_all { String::new() } else { format!(" (shown: {})", texts(&self.shown)) };
        format!("\n{}, {}{shown}", texts(all), format::bytes(all.bytes))
    }
}

/// The size of a file or of all that lies below a directory; nothing for others.
fn weight(node: &Node) -> String {
    match weight_text(node).as_str() {
        "-" => String::new(),
        text => text.to_owned(),
    }
}
