//! Retention: which snapshots a policy keeps, and by which of its rules.
//!
//! Purpose: [`judge`] is a pure function over facts about snapshots: it reads no
//! store and no clock.
//!
//! Invariants (see `docs/prune.md`):
//! - The order in which facts are given does not matter; of equal times the
//!   greater id counts as the newer one.
//! - A larger number or a longer span keeps all that a smaller one keeps (but
//!   where `max_snapshots` is given, which counts what the rules keep).
//! - Judged again, what was kept is kept.
//! - Pinned snapshots and those of the future are kept, and the latter count
//!   for no rule.
//! - No group loses its last snapshot, unless the policy says so.
//!
//! Imports: `base`.

mod group;
mod judge;
mod policy;
#[cfg(test)]
mod tests;

pub use group::{GroupKey, Grouping};
pub use judge::{Fact, Rule, Taken, Verdict, judge};
pub use policy::{Amount, Policy, has_tags};
