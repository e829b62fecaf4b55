//! `icecore find`: files in many snapshots, each distinct version once.

use serde::Serialize;

use crate::base::id::SnapshotId;
use crate::base::sequences::SequenceSet;
use crate::cli::commands::choose;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::find_options::FindArguments;
use crate::cli::node_text::{NodeFacts, mode_text, not_seen_whole, owner_texts, weight_text};
use crate::cli::output::Output;
use crate::dag::Manifest;
use crate::find::{Criteria, Damage, FilePatterns, FindError, Found, Report, search};

/// The fields that say which snapshots hold a version; others may rely on their
/// names.
#[derive(Serialize)]
pub(crate) struct HolderFacts {
    /// How many.
    snapshots: u64,
    first: String,
    first_time: String,
    last: String,
    last_time: String,
}

#[derive(Serialize)]
struct Facts {
    #[serde(flatten)]
    node: NodeFacts,
    #[serde(flatten)]
    holders: HolderFacts,
}

/// The snapshots that hold a version.
pub(crate) struct Holders<'a> {
    pub(crate) first: &'a (SnapshotId, Manifest),
    pub(crate) last: &'a (SnapshotId, Manifest),
    pub(crate) count: u64,
}

impl<'a> Holders<'a> {
    /// Those of some places among all; nothing if there is none.
    pub(crate) fn new(all: &'a [(SnapshotId, Manifest)], places: &SequenceSet) -> Option<Self> {
        let at = |place: Option<u64>| place.and_then(|it| all.get(usize::try_from(it).ok()?));
        let (first, last) = (at(places.first())?, at(places.last())?);
        Some(Self { first, last, count: places.len() })
    }

    pub(crate) fn facts(&self) -> HolderFacts {
        HolderFacts {
            snapshots: self.count,
            first: self.first.0.to_string(),
            first_time: self.first.1.time.to_rfc3339(),
            last: self.last.0.to_string(),
            last_time: self.last.1.time.to_rfc3339(),
        }
    }

    /// `first..last`, or the only one.
    fn range(&self) -> String {
        match self.count {
            1 => self.first.0.short(),
            _ => format!("{}..{}", self.first.0.short(), self.last.0.short()),
        }
    }
}

pub(crate) fn run(context: &Context, arguments: &FindArguments) -> Result<Outcome, CommandError> {
    let criteria = criteria(context, arguments)?;
    let reader = context.reader()?;
    let (_leases, mut catalog) = reader.lease_all()?;
    arguments.select.choose(context, &mut catalog)?;
    let snapshots = catalog.snapshots;
    let mut printer = Printer { context, arguments, output: Output::new(), is_begun: false };
    let print = &mut |found: &Found<'_>| match Holders::new(&snapshots, found.snapshots) {
        Some(holders) => printer.print(found, &holders),
        None => Ok(()),
    };
    let Report { found, damaged, .. } =
        search::<CommandError>(&reader, &snapshots, &criteria, &context.silent(), print)
            .map_err(|error| context.signals.explain(error))?;
    printer.output.finish()?;
    match (snapshots.is_empty(), found) {
        (true, _) => context.note("No snapshot fits"),
        (false, 0) => context.note("Nothing was found"),
        _ => {}
    }
    let lines = damaged.iter().map(damage_line).collect();
    context.damaged_lines(catalog.damaged, lines)
}

fn criteria(context: &Context, arguments: &FindArguments) -> Result<Criteria, CommandError> {
    let patterns = FilePatterns::new(&arguments.patterns, arguments.ignore_case);
    let past = |option: &str, text: &Option<String>| {
        text.as_ref().map(|text| choose::past(option, text, context.now)).transpose()
    };
    Ok(Criteria {
        patterns: patterns.map_err(FindError::from)?,
        sizes: arguments.size.clone(),
        newer: past("--newer", &arguments.newer)?.map(|(_, last)| last),
        older: past("--older", &arguments.older)?.map(|(first, _)| first),
        kinds: arguments.kinds.clone(),
        owners: arguments.owner.clone(),
        groups: arguments.group.clone(),
        hashes: arguments.content_hash.clone(),
        chunks: arguments.chunk.clone(),
    })
}

/// What is said of a part of a directory that cannot be read.
pub(crate) fn damage_line(damage: &Damage) -> String {
    let Damage { path, snapshots, error } = damage;
    let count = crate::base::format::plural(snapshots.len(), "snapshot", "snapshots");
    format!("{} in {count}", not_seen_whole(path, error))
}

struct Printer<'a> {
    context: &'a Context,
    arguments: &'a FindArguments,
    output: Output,
    is_begun: bool,
}

impl Printer<'_> {
    fn print(&mut self, found: &Found<'_>, holders: &Holders<'_>) -> Result<(), CommandError> {
        if self.context.json {
            let node = NodeFacts::new(found.path, found.node);
            return self.output.json(&Facts { node, holders: holders.facts() });
        }
        if self.arguments.print0 {
            let snapshot = holders.last.0.short();
            return self.output.raw(&[snapshot.as_bytes(), b":", found.path, b"\0"].concat());
        }
        if !self.is_begun && self.output.is_terminal() {
            let mode = if self.arguments.long { "MODE       OWNER    GROUP    " } else { "" };
            let columns = "SNAPSHOTS                   COUNT  MODIFIED                   SIZE";
            self.output.line(&format!("{columns}  {mode}PATH"))?;
        }
        self.is_begun = true;
        let mut line = format!(
            "{:<26}  {:>5}  {:<19}  {:>10}  ",
            holders.range(),
            holders.count,
            found.node.mtime.to_local_text(),
            weight_text(found.node)
        );
        if self.arguments.long {
            let (owner, group) = owner_texts(found.node);
            line += &format!("{} {owner:<8} {group:<8} ", mode_text(found.node));
        }
        let mut line = line.into_bytes();
        line.extend(self.output.name(found.path));
        line.push(b'\n');
        self.output.raw(&line)
    }
}
