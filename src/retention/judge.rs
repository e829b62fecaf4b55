//! Judging: the one function that says what stays and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::base::calendar::{Period, PeriodKey, Zone};
use crate::base::id::SnapshotId;
use crate::base::time::Timestamp;
use crate::retention::group::GroupKey;
use crate::retention::policy::{Amount, Policy, has_tags};

/// What a policy looks at of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Its id.
    pub id: SnapshotId,
    /// When it was taken.
    pub time: Timestamp,
    /// With which others it is judged.
    pub group: GroupKey,
    /// Its tags.
    pub tags: Vec<String>,
    /// Whether it is pinned now.
    pub pinned: bool,
}

/// Why a snapshot is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// It is pinned.
    Pinned,
    /// It was taken later than now, so some clock is wrong.
    Future,
    /// It is one of the newest.
    Last,
    /// It is the newest of its period.
    Newest(Period),
    /// It is the oldest, and there are fewer periods than may be kept.
    Oldest(Period),
    /// It is near enough to the newest.
    Within,
    /// It is the newest of its period, or the oldest of all, and near enough to
    /// the newest.
    WithinPeriod(Period),
    /// It has a tag.
    Tag(String),
    /// Its group would be empty without it.
    LastOfGroup,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned => f.write_str("pinned"),
            Self::Future => f.write_str("future"),
            Self::Last => f.write_str("last"),
            Self::Newest(period) => f.write_str(period.adverb()),
            Self::Oldest(period) => write!(f, "oldest-{}", period.adverb()),
            Self::Within => f.write_str("within"),
            Self::WithinPeriod(period) => write!(f, "within-{}", period.adverb()),
            Self::Tag(tag) => write!(f, "tag:{tag}"),
            Self::LastOfGroup => f.write_str("last-of-group"),
        }
    }
}

/// Which limit takes away what the rules keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is too old.
    MaxAge,
    /// There are enough newer ones.
    MaxSnapshots,
}

/// What becomes of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Every rule that keeps it, or would keep it but for the limit.
    pub rules: Vec<Rule>,
    /// The limit that takes it away nevertheless.
    pub taken: Option<Taken>,
}

impl Verdict {
    /// Whether the snapshot stays.
    #[must_use]
    pub const fn keeps(&self) -> bool {
        !self.rules.is_empty() && self.taken.is_none()
    }

    /// Whether nothing may take the snapshot away.
    fn is_safe(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule, Rule::Pinned | Rule::Future))
    }
}

/// Says of each snapshot what becomes of it, in the order given.
#[must_use]
pub fn judge(policy: &Policy, facts: &[Fact], now: Timestamp) -> Vec<Verdict> {
    let mut verdicts = vec![Verdict::default(); facts.len()];
    let mut groups: BTreeMap<&GroupKey, Vec<usize>> = BTreeMap::new();
    for (place, fact) in facts.iter().enumerate() {
        groups.entry(&fact.group).or_default().push(place);
    }
    for mut places in groups.into_values() {
        places.sort_by_key(|place| facts.get(*place).map(|fact| (fact.time, fact.id)));
        let newest_first = places.iter().rev().filter_map(|place| facts.get(*place));
        let judged = judge_group(policy, &newest_first.collect::<Vec<_>>(), now);
        for (place, verdict) in places.iter().rev().zip(judged) {
            if let Some(slot) = verdicts.get_mut(*place) {
                *slot = verdict;
            }
        }
    }
    verdicts
}

/// Judges one group, newest first.
fn judge_group(policy: &Policy, group: &[&Fact], now: Timestamp) -> Vec<Verdict> {
    let (future, past): (Vec<&Fact>, Vec<&Fact>) = group.iter().partition(|fact| fact.time > now);
    let mut rules = Rules::new(policy, &past);
    let mut judged: Vec<Verdict> = past.iter().map(|fact| rules.verdict(fact)).collect();
    limit(policy, &past, &mut judged, now);
    if !policy.may_empty_groups && future.is_empty() && !judged.iter().any(Verdict::keeps) {
        // The newest that the rules keep, else the newest.
        let chosen = judged.iter().position(|verdict| !verdict.rules.is_empty()).unwrap_or(0);
        if let Some(verdict) = judged.get_mut(chosen) {
            *verdict = Verdict { rules: vec![Rule::LastOfGroup], taken: None };
        }
    }
    let kept = |fact: &&Fact| {
        let pinned = fact.pinned.then_some(Rule::Pinned);
        Verdict { rules: pinned.into_iter().chain([Rule::Future]).collect(), taken: None }
    };
    future.iter().map(kept).chain(judged).collect()
}

/// Takes away what is too old, then all but the newest that are left.
fn limit(policy: &Policy, past: &[&Fact], judged: &mut [Verdict], now: Timestamp) {
    let oldest = policy.max_age.map(|age| policy.zone.before(now, age));
    let mut left = 0;
    for (fact, verdict) in past.iter().zip(judged) {
        if verdict.rules.is_empty() {
            continue;
        }
        if oldest.is_some_and(|oldest| fact.time < oldest) {
            verdict.taken = Some(Taken::MaxAge);
        } else if policy.max_snapshots.is_some_and(|most| left >= most.get()) {
            verdict.taken = Some(Taken::MaxSnapshots);
        }
        if verdict.is_safe() {
            verdict.taken = None;
        }
        left += u64::from(verdict.keeps());
    }
}

/// The rules of a policy on their way through a group, newest first.
struct Rules<'a> {
    policy: &'a Policy,
    oldest: Option<SnapshotId>,
    seen: u64,
    within: Option<Timestamp>,
    periods: Vec<ByPeriod<'a>>,
}

/// A rule that keeps the newest of each period.
struct ByPeriod<'a> {
    zone: &'a Zone,
    period: Period,
    reach: Reach,
    kept: BTreeSet<PeriodKey>,
}

/// How far back such a rule goes.
enum Reach {
    Count(Amount),
    Since(Timestamp),
}

impl<'a> Rules<'a> {
    fn new(policy: &'a Policy, past: &[&Fact]) -> Self {
        let newest = past.first().map_or(Timestamp::MIN, |fact| fact.time);
        let since = |span| policy.zone.before(newest, span);
        let rule =
            |period, reach| ByPeriod { zone: &policy.zone, period, reach, kept: BTreeSet::new() };
        let mut periods = Vec::new();
        for (period, amount) in Period::ALL.into_iter().zip(policy.periods) {
            periods.extend(amount.map(|amount| rule(period, Reach::Count(amount))));
        }
        for (period, span) in Period::ALL.into_iter().zip(policy.periods_within) {
            periods.extend(span.map(|span| rule(period, Reach::Since(since(span)))));
        }
        let oldest = past.last().map(|fact| fact.id);
        Self { policy, oldest, seen: 0, within: policy.within.map(since), periods }
    }

    fn verdict(&mut self, fact: &Fact) -> Verdict {
        let mut rules = Vec::new();
        if fact.pinned {
            rules.push(Rule::Pinned);
        }
        if self.policy.last.is_some_and(|amount| amount.reaches(self.seen)) {
            rules.push(Rule::Last);
        }
        self.seen += 1;
        let is_oldest = self.oldest == Some(fact.id);
        rules.extend(self.periods.iter_mut().filter_map(|rule| rule.keeps(fact.time, is_oldest)));
        if self.within.is_some_and(|since| fact.time >= since) {
            rules.push(Rule::Within);
        }
        let tags = self.policy.tags.iter().filter(|tag| has_tags(&fact.tags, tag));
        rules.extend(tags.map(|tag| Rule::Tag(tag.clone())));
        Verdict { rules, taken: None }
    }
}

impl ByPeriod<'_> {
    fn keeps(&mut self, time: Timestamp, is_oldest: bool) -> Option<Rule> {
        let reaches = match self.reach {
            Reach::Count(amount) => amount.reaches(self.kept.len() as u64),
            Reach::Since(since) => time >= since,
        };
        if !reaches {
            return None;
        }
        let is_newest = self.kept.insert(self.zone.period(time, self.period));
        match self.reach {
            _ if !is_newest && !is_oldest => None,
            Reach::Since(_) => Some(Rule::WithinPeriod(self.period)),
            Reach::Count(_) if is_newest => Some(Rule::Newest(self.period)),
            Reach::Count(_) => Some(Rule::Oldest(self.period)),
        }
    }
}
