//! What `icecore prune` says: of each snapshot whether it stays, and why.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::base::format;
use crate::base::id::SnapshotId;
use crate::base::name::printable;
use crate::base::time::Timestamp;
use crate::cli::commands::facts::SnapshotFacts;
use crate::cli::context::Context;
use crate::cli::exit::CommandError;
use crate::cli::output::{Align, Output, Table, wrap};
use crate::dag::Manifest;
use crate::repository::{Catalog, Pin, RepositoryError, SnapshotFilter};
use crate::retention::{Fact, GroupKey, Grouping, Policy, Taken, Verdict, judge};

const COLUMNS: [(&str, Align); 4] =
    [("ID", Align::Left), ("TIME", Align::Left), ("", Align::Left), ("WHY", Align::Left)];

/// What is to become of the snapshots that a policy looks at.
pub(crate) struct Plan {
    /// The snapshots, oldest first.
    pub(crate) rows: Vec<Row>,
    /// What is wrong with those that it cannot look at.
    pub(crate) damaged: Vec<RepositoryError>,
    now: Timestamp,
}

/// One snapshot of a plan.
pub(crate) struct Row {
    pub(crate) id: SnapshotId,
    pub(crate) manifest: Manifest,
    pin: Option<Pin>,
    group: GroupKey,
    verdict: Verdict,
}

impl Plan {
    pub(crate) fn new(
        catalog: Catalog,
        filter: &SnapshotFilter,
        grouping: Grouping,
        policy: &Policy,
        now: Timestamp,
    ) -> Self {
        let Catalog { mut snapshots, pins, damaged } = catalog;
        snapshots.retain(|(_, manifest)| filter.fits(manifest));
        let fact = |(id, manifest): &(SnapshotId, Manifest)| Fact {
            id: *id,
            time: manifest.time,
            group: GroupKey::new(grouping, &manifest.host, &manifest.sources, &manifest.tags),
            tags: manifest.tags.clone(),
            pinned: pins.get(id).is_some_and(|pin| pin.holds(now)),
        };
        let facts: Vec<Fact> = snapshots.iter().map(fact).collect();
        let verdicts = judge(policy, &facts, now);
        let rows = snapshots.into_iter().zip(facts).zip(verdicts);
        let row = |(((id, manifest), fact), verdict): ((_, Fact), Verdict)| {
            let pin = pins.get(&id).copied();
            Row { id, manifest, pin, group: fact.group, verdict }
        };
        Self { rows: rows.map(row).collect(), damaged, now }
    }

    /// The snapshots that go, oldest first.
    pub(crate) fn removed(&self) -> impl Iterator<Item = SnapshotId> {
        self.rows.iter().filter(|row| !row.verdict.keeps()).map(|row| row.id)
    }
}

/// The fields of a run in JSON; others may rely on their names.
#[derive(Serialize)]
struct Facts {
    dry_run: bool,
    kept: u64,
    removed: Vec<String>,
    snapshots: Vec<RowFacts>,
}

#[derive(Serialize)]
struct RowFacts {
    #[serde(flatten)]
    snapshot: SnapshotFacts,
    group: GroupFacts,
    keep: bool,
    /// The rules that keep it, or would but for the limit.
    rules: Vec<String>,
    /// The limit that takes it away nevertheless.
    limit: Option<&'static str>,
}

#[derive(Serialize)]
struct GroupFacts {
    host: Option<String>,
    sources: Option<Vec<String>>,
    tags: Option<Vec<String>>,
}

/// Prints what was done, or in a dry run what would be; `gc` follows or not.
pub(crate) fn print(
    context: &Context,
    plan: &Plan,
    policy: &Policy,
    removed: &[SnapshotId],
    (dry_run, gc): (bool, bool),
) -> Result<(), CommandError> {
    let mut output = Output::new();
    let kept = plan.rows.len().saturating_sub(removed.len()) as u64;
    if context.json {
        let snapshots = plan.rows.iter().map(|row| row.facts(plan.now)).collect();
        let removed = removed.iter().map(ToString::to_string).collect();
        output.json(&Facts { dry_run, kept, removed, snapshots })?;
    } else if !context.quiet {
        if dry_run {
            print_groups(plan, policy, &mut output)?;
        }
        let less = format::count(removed.len() as u64);
        let all = format::plural(plan.rows.len() as u64, "snapshot", "snapshots");
        output.line(&match (dry_run, removed.is_empty()) {
            (_, true) => format!("Nothing to remove: {all}, all kept"),
            (true, _) => format!("Would remove {less} of {all}"),
            (false, _) if gc => format!("Removed {less} of {all}"),
            (false, _) => format!(
                "Removed {less} of {all}; `icecore gc` returns the space, `icecore undelete` \
                 undoes this until then"
            ),
        })?;
    }
    output.finish()
}

fn print_groups(plan: &Plan, policy: &Policy, output: &mut Output) -> Result<(), CommandError> {
    let mut groups: BTreeMap<&GroupKey, Vec<&Row>> = BTreeMap::new();
    for row in &plan.rows {
        groups.entry(&row.group).or_default().push(row);
    }
    let columns = output.columns().unwrap_or(usize::MAX);
    for (group, rows) in groups {
        let goes = rows.iter().filter(|row| !row.verdict.keeps()).count() as u64;
        let count = format::plural(rows.len() as u64, "snapshot", "snapshots");
        let head = format!("{}{count}, {} to remove", head(group), format::count(goes));
        for line in wrap(&head, columns) {
            output.line(&line)?;
        }
        let mut table = Table::new(&COLUMNS);
        for row in rows {
            let action = if row.verdict.keeps() { "keep" } else { "remove" };
            let time = policy.zone.text(row.manifest.time);
            table.row(vec![row.id.short(), time, action.to_owned(), row.verdict_text(policy)]);
        }
        table.print_wrapped(output, columns)?;
        output.line("")?;
    }
    Ok(())
}

/// What the snapshots of a group share, as text before something else.
fn head(group: &GroupKey) -> String {
    let mut parts = Vec::new();
    parts.extend(group.host.as_ref().map(|host| format!("host {}", printable(host.as_bytes()))));
    let sources = group.sources.as_ref();
    let joined = |all: &Vec<Vec<u8>>| all.iter().map(|one| printable(one)).collect::<Vec<_>>();
    parts.extend(sources.map(|sources| format!("sources {}", joined(sources).join(" "))));
    let tags = group.tags.as_ref().map(|tags| printable(tags.join(",").as_bytes()));
    let tags = tags.map(|tags| if tags.is_empty() { "-".to_owned() } else { tags });
    parts.extend(tags.map(|tags| format!("tags {tags}")));
    if parts.is_empty() { String::new() } else { format!("{}: ", parts.join(", ")) }
}

impl Row {
    fn rules(&self) -> Vec<String> {
        self.verdict.rules.iter().map(|rule| printable(rule.to_string().as_bytes())).collect()
    }

    fn verdict_text(&self, policy: &Policy) -> String {
        match self.verdict.taken {
            Some(Taken::MaxAge) => {
                policy.max_age.map_or_else(String::new, |age| format!("older than {age}"))
            }
            Some(Taken::MaxSnapshots) => {
                let most = policy.max_snapshots.map_or(0, std::num::NonZero::get);
                format!("more than {most} are newer or kept")
            }
            None if self.verdict.keeps() => self.rules().join(" "),
            None => "no rule keeps it".to_owned(),
        }
    }

    fn facts(&self, now: Timestamp) -> RowFacts {
        let GroupKey { host, sources, tags } = self.group.clone();
        let printed = |all: Vec<Vec<u8>>| all.iter().map(|one| printable(one)).collect();
        RowFacts {
            snapshot: SnapshotFacts::new(&self.id, &self.manifest).with_pin(self.pin, now),
            group: GroupFacts { host, sources: sources.map(printed), tags },
            keep: self.verdict.keeps(),
            rules: self.verdict.rules.iter().map(ToString::to_string).collect(),
            limit: self.verdict.taken.map(|taken| match taken {
                Taken::MaxAge => "max-age",
                Taken::MaxSnapshots => "max-snapshots",
            }),
        }
    }
}
