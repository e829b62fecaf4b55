//! `icecore ls`: lists a directory of a snapshot.

use std::cmp::Reverse;
use std::os::unix::ffi::OsStrExt as _;

use crate::base::name::join_paths;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::ls_options::LsArguments;
use crate::cli::node_text::{NodeFacts, mode_text, not_seen_whole, owner_texts, size_text};
use crate::cli::output::{JsonArray, Output};
use crate::dag::{Kind, Node, TreeRef};
use crate::repository::{Reader, Step};

pub(crate) fn run(context: &Context, arguments: &LsArguments) -> Result<Outcome, CommandError> {
    let reader = context.reader()?;
    let named = reader.find_snapshot_path(arguments.directory.as_bytes(), context.now)?;
    let _lease = reader.lease(named.id)?;
    let node = reader.resolve(&named)?;
    let mut lister = Lister {
        context,
        arguments,
        output: Output::new(),
        array: JsonArray::default(),
        sorted: Vec::new(),
        damaged: Vec::new(),
    };
    match &node.kind {
        Kind::Directory(tree) => lister.directory(&reader, &named.path, tree)?,
        _ => lister.entry(&named.path, &node)?,
    }
    lister.print_sorted()?;
    if context.json {
        lister.array.end(&mut lister.output)?;
    }
    lister.output.finish()?;
    context.damaged_lines(Vec::new(), lister.damaged)
}

struct Lister<'a> {
    context: &'a Context,
    arguments: &'a LsArguments,
    output: Output,
    array: JsonArray,
    /// What waits to be sorted, if that was asked for; else all is printed as it
    /// comes.
    sorted: Vec<(Vec<u8>, Node)>,
    /// What is said of directories that cannot be read whole.
    damaged: Vec<String>,
}

impl Lister<'_> {
    /// Lists a directory, and with `--recursive` what is below, in the order of
    /// paths. What is damaged is passed over, and told at the end.
    fn directory(
        &mut self,
        reader: &Reader,
        top: &[u8],
        root: &TreeRef,
    ) -> Result<(), CommandError> {
        let is_sorted = self.arguments.by_time || self.arguments.by_size;
        let mut walk = reader.walk(root);
        loop {
            self.context.go_on()?;
            let node = match walk.step() {
                Ok(Some(Step::Entry(node))) => node,
                Ok(Some(Step::Leave)) => continue,
                Ok(None) => return Ok(()),
                Err(error) if error.is_loss() => {
                    self.damaged.push(not_seen_whole(&join_paths(top, walk.path()), &error));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if is_sorted {
                self.sorted.push((walk.path().to_vec(), node));
            } else {
                self.entry(walk.path(), &node)?;
            }
            if !self.arguments.recursive {
                walk.skip();
            }
        }
    }

    fn print_sorted(&mut self) -> Result<(), CommandError> {
        let mut sorted = std::mem::take(&mut self.sorted);
        if self.arguments.by_time {
            sorted.sort_by_key(|(_, node)| Reverse(node.mtime));
        } else {
            sorted.sort_by_key(|(_, node)| Reverse(node.size()));
        }
        if self.arguments.reverse {
            sorted.reverse();
        }
        sorted.iter().try_for_each(|(path, node)| self.entry(path, node))
    }

    fn entry(&mut self, path: &[u8], node: &Node) -> Result<(), CommandError> {
        if self.context.json {
            return self.array.item(&mut self.output, &NodeFacts::new(path, node));
        }
        let mut line = Vec::new();
        if self.arguments.long {
            let (owner, group) = owner_texts(node);
            let size = size_text(node, self.arguments.human_readable);
            line = format!(
                "{} {:>3} {owner:<8} {group:<8} {size:>12} {} ",
                mode_text(node),
                node.link_count(),
                node.mtime.to_local_text(),
            )
            .into_bytes();
        }
        line.extend(self.output.name(path));
        if let (true, Kind::Symlink(target)) = (self.arguments.long, &node.kind) {
            line.extend_from_slice(b" -> ");
            line.extend(self.output.name(target));
        }
        line.push(b'\n');
        self.output.raw(&line)
    }
}
