//! Policies: the rules by which snapshots are kept.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use crate::base::calendar::{Span, Zone};

/// How many a rule keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Amount {
    /// So many at most; none is the same as no rule.
    AtMost(u64),
    /// All there are.
    Unlimited,
}

impl Amount {
    /// Whether the rule keeps one that has `before` newer ones.
    pub(crate) const fn reaches(self, before: u64) -> bool {
        match self {
            Self::AtMost(count) => before < count,
            Self::Unlimited => true,
        }
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self::Unlimited);
        }
        let count = text.parse().map(Self::AtMost);
        count.map_err(|_| "a number is expected, or `unlimited`".to_owned())
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(count) => write!(f, "{count}"),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

/// Which snapshots of a group are to stay. Rules keep; limits take away again
/// from what the rules keep.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// Rule: the newest ones.
    pub last: Option<Amount>,
    /// Rules: the newest one of each of so many periods, by
    /// [`Period::index`](crate::base::calendar::Period::index).
    pub periods: [Option<Amount>; 5],
    /// Rule: all within a span before the newest one.
    pub within: Option<Span>,
    /// Rules: the newest one of each period within a span before the newest one.
    pub periods_within: [Option<Span>; 5],
    /// Rules: all that have one of these tags; see [`has_tags`].
    pub tags: Vec<String>,
    /// Limit: none that is older than this, seen from now.
    pub max_age: Option<Span>,
    /// Limit: so many at most.
    pub max_snapshots: Option<NonZeroU64>,
    /// Whether a group may lose its last snapshot.
    pub may_empty_groups: bool,
    /// The zone by which periods and spans go.
    pub zone: Zone,
}

impl Policy {
    /// Whether there is a rule that could keep anything.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        let keeps = |amount: &Option<Amount>| amount.is_some_and(|amount| amount.reaches(0));
        keeps(&self.last)
            || self.periods.iter().any(keeps)
            || self.within.is_some()
            || self.periods_within.iter().any(Option::is_some)
            || !self.tags.is_empty()
    }
}

/// Whether `tags` hold `wanted`: as one tag, or, where it has commas, each of the
/// tags between them.
#[must_use]
pub fn has_tags(tags: &[String], wanted: &str) -> bool {
    let has = |tag: &str| tags.iter().any(|own| own == tag);
    has(wanted) || wanted.split(',').all(|tag| has(tag.trim()))
}
