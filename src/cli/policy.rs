//! The rules of `prune`, as the command line and as a policy of the
//! configuration file give them.
//!
//! ```toml
//! [policies.standard]
//! keep-daily = 30
//! keep-weekly = 12
//! keep-monthly = 12
//! ```

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use serde::{Deserialize, Deserializer, de};

use crate::base::calendar::{Span, Zone};
use crate::cli::commands::choose;
use crate::cli::exit::CommandError;
use crate::repository::SnapshotFilter;
use crate::retention::{Amount, Grouping, Policy};

/// What the command line or a policy says. The keys of a policy are the long
/// names of the options.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct PolicyOptions {
    /// Keep the newest N, or `unlimited`
    #[arg(long, value_name = "N", help_heading = "Rules")]
    #[serde(deserialize_with = "amount")]
    pub(crate) keep_last: Option<Amount>,
    /// Keep the newest one of each of the last N hours that have any
    #[arg(long, value_name = "N", help_heading = "Rules")]
    #[serde(deserialize_with = "amount")]
    pub(crate) keep_hourly: Option<Amount>,
    /// The same for days
    #[arg(long, value_name = "N", help_heading = "Rules")]
    #[serde(deserialize_with = "amount")]
    pub(crate) keep_daily: Option<Amount>,
    /// The same for weeks, which begin on Monday
    #[arg(long, value_name = "N", help_heading = "Rules")]
    #[serde(deserialize_with = "amount")]
    pub(crate) keep_weekly: Option<Amount>,
    /// The same for months
    #[arg(long, value_name = "N", help_heading = "Rules")]
    #[serde(deserialize_with = "amount")]
    pub(crate) keep_monthly: Option<Amount>,
    /// The same for years
    #[arg(long, value_name = "N", help_heading = "Rules")]
    #[serde(deserialize_with = "amount")]
    pub(crate) keep_yearly: Option<Amount>,
    /// Keep all that are at most so much older than the newest one: 36h, 90d,
    /// 12w, 6m (months), 1y6m
    #[arg(long, value_name = "SPAN", value_parser = span, help_heading = "Rules")]
    #[serde(deserialize_with = "optional_span")]
    pub(crate) keep_within: Option<Span>,
    /// Of those, keep the newest one of each hour
    #[arg(long, value_name = "SPAN", value_parser = span, help_heading = "Rules")]
    #[serde(deserialize_with = "optional_span")]
    pub(crate) keep_within_hourly: Option<Span>,
    /// The same for days
    #[arg(long, value_name = "SPAN", value_parser = span, help_heading = "Rules")]
    #[serde(deserialize_with = "optional_span")]
    pub(crate) keep_within_daily: Option<Span>,
    /// The same for weeks
    #[arg(long, value_name = "SPAN", value_parser = span, help_heading = "Rules")]
    #[serde(deserialize_with = "optional_span")]
    pub(crate) keep_within_weekly: Option<Span>,
    /// The same for months
    #[arg(long, value_name = "SPAN", value_parser = span, help_heading = "Rules")]
    #[serde(deserialize_with = "optional_span")]
    pub(crate) keep_within_monthly: Option<Span>,
    /// The same for years
    #[arg(long, value_name = "SPAN", value_parser = span, help_heading = "Rules")]
    #[serde(deserialize_with = "optional_span")]
    pub(crate) keep_within_yearly: Option<Span>,
    /// Keep all with this tag, or with all of several between commas
    #[arg(long, value_name = "TAG", help_heading = "Rules")]
    pub(crate) keep_tag: Vec<String>,
    /// Of what the rules keep, remove what is older than that, seen from now
    #[arg(long, value_name = "SPAN", value_parser = span, help_heading = "Limits")]
    #[serde(deserialize_with = "optional_span")]
    pub(crate) max_age: Option<Span>,
    /// Of what the rules keep, remove all but the newest N
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub(crate) max_snapshots: Option<NonZeroU64>,
    /// Remove the last one of a group too if nothing keeps it
    #[arg(long, help_heading = "Limits")]
    pub(crate) allow_empty_group: bool,
    /// Which snapshots are judged together: any of host,sources,tags; '' is all
    /// of them [default: host,sources]
    #[arg(long, value_name = "NAMES", help_heading = "Groups")]
    #[serde(deserialize_with = "grouping")]
    pub(crate) group_by: Option<Grouping>,
    /// The zone of hours, days and so on: UTC or a name such as Europe/Berlin
    /// [default: this machine's]
    #[arg(long, value_name = "ZONE", value_parser = zone, help_heading = "Groups")]
    #[serde(deserialize_with = "optional_zone")]
    pub(crate) time_zone: Option<Zone>,
    /// Look at snapshots of this host only
    #[arg(long, value_name = "NAME", help_heading = "Selection")]
    pub(crate) host: Vec<String>,
    /// Look at snapshots with this tag only, or with all of several between
    /// commas
    #[arg(long, value_name = "TAG", help_heading = "Selection")]
    pub(crate) tag: Vec<String>,
    /// Look at snapshots only that have this source
    #[arg(long, value_name = "PATH", help_heading = "Selection")]
    pub(crate) path: Vec<PathBuf>,
}

impl PolicyOptions {
    /// Joins what the command line says with what a policy of the file does:
    /// lists are joined, and for single values the command line wins.
    pub(crate) fn over(self, policy: Self) -> Self {
        Self {
            keep_last: self.keep_last.or(policy.keep_last),
            keep_hourly: self.keep_hourly.or(policy.keep_hourly),
            keep_daily: self.keep_daily.or(policy.keep_daily),
            keep_weekly: self.keep_weekly.or(policy.keep_weekly),
            keep_monthly: self.keep_monthly.or(policy.keep_monthly),
            keep_yearly: self.keep_yearly.or(policy.keep_yearly),
            keep_within: self.keep_within.or(policy.keep_within),
            keep_within_hourly: self.keep_within_hourly.or(policy.keep_within_hourly),
            keep_within_daily: self.keep_within_daily.or(policy.keep_within_daily),
            keep_within_weekly: self.keep_within_weekly.or(policy.keep_within_weekly),
            keep_within_monthly: self.keep_within_monthly.or(policy.keep_within_monthly),
            keep_within_yearly: self.keep_within_yearly.or(policy.keep_within_yearly),
            keep_tag: [policy.keep_tag, self.keep_tag].concat(),
            max_age: self.max_age.or(policy.max_age),
            max_snapshots: self.max_snapshots.or(policy.max_snapshots),
            allow_empty_group: self.allow_empty_group || policy.allow_empty_group,
            group_by: self.group_by.or(policy.group_by),
            time_zone: self.time_zone.or(policy.time_zone),
            host: [policy.host, self.host].concat(),
            tag: [policy.tag, self.tag].concat(),
            path: [policy.path, self.path].concat(),
        }
    }

    /// Returns the rules and limits; refuses limits without a rule.
    pub(crate) fn policy(&self) -> Result<Policy, CommandError> {
        let policy = Policy {
            last: self.keep_last,
            periods: [
                self.keep_hourly,
                self.keep_daily,
                self.keep_weekly,
                self.keep_monthly,
                self.keep_yearly,
            ],
            within: self.keep_within,
            periods_within: [
                self.keep_within_hourly,
                self.keep_within_daily,
                self.keep_within_weekly,
                self.keep_within_monthly,
                self.keep_within_yearly,
            ],
            tags: self.keep_tag.clone(),
            max_age: self.max_age,
            max_snapshots: self.max_snapshots,
            may_empty_groups: self.allow_empty_group,
            zone: self.time_zone.clone().unwrap_or_default(),
        };
        if policy.has_rules() {
            return Ok(policy);
        }
        let limited = self.max_age.is_some() || self.max_snapshots.is_some();
        Err(CommandError::Usage(if limited {
            "Limits only take away from what rules keep, and there is no rule; \
             say `--keep-last unlimited` to keep all that the limits leave"
                .to_owned()
        } else {
            "There is no rule that keeps anything; say --policy NAME, or --keep-daily 30 or \
             another --keep option"
                .to_owned()
        }))
    }

    /// Which snapshots the policy looks at.
    pub(crate) fn filter(&self) -> SnapshotFilter {
        choose::filter(&self.host, &self.tag, &self.path)
    }
}

fn span(text: &str) -> Result<Span, String> {
    Span::parse(text).ok_or_else(|| {
        "a span is expected, such as 36h, 90d, 12w, 6m (months), 1y or 1y6m".to_owned()
    })
}

fn zone(text: &str) -> Result<Zone, String> {
    Zone::named(text).ok_or_else(|| {
        "no such time zone; UTC or a name such as Europe/Berlin is expected".to_owned()
    })
}

fn optional_span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Span>, D::Error> {
    span(&String::deserialize(deserializer)?).map(Some).map_err(de::Error::custom)
}

fn optional_zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Zone>, D::Error> {
    zone(&String::deserialize(deserializer)?).map(Some).map_err(de::Error::custom)
}

fn grouping<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Grouping>, D::Error> {
    Grouping::from_str(&String::deserialize(deserializer)?).map(Some).map_err(de::Error::custom)
}

/// A number, or the word for no bound.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a number is expected, or \"unlimited\"")]
enum Count {
    Number(u64),
    Word(String),
}

fn amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Amount>, D::Error> {
    match Count::deserialize(deserializer)? {
        Count::Number(number) => Ok(Some(Amount::AtMost(number))),
        Count::Word(word) => word.parse().map(Some).map_err(de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_understands_the_options_of_the_command_line() {
        let options: PolicyOptions = toml::from_str(
            "keep-last = 'unlimited'\nkeep-daily = 30\nkeep-within = '1y6m'\nkeep-tag = ['a']\n\
             max-age = '7y'\nmax-snapshots = 500\ngroup-by = 'host'\ntime-zone = 'UTC'\n",
        )
        .unwrap();
        let policy = options.policy().unwrap();
        assert_eq!(
            (policy.last, policy.periods[1]),
            (Some(Amount::Unlimited), Some(Amount::AtMost(30)))
        );
        assert_eq!(options.group_by.unwrap().to_string(), "host");
        for wrong in [
            "keep-dayly = 1",
            "keep-daily = -1",
            "keep-daily = 'all'",
            "keep-within = '90'",
            "max-snapshots = 0",
            "group-by = 'hose'",
            "time-zone = 'Mars'",
        ] {
            assert!(toml::from_str::<PolicyOptions>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_line_wins_and_limits_alone_are_refused() {
        let options = |text: &str| toml::from_str::<PolicyOptions>(text).unwrap();
        let joined = options("keep-daily = 1\nkeep-tag = ['b']")
            .over(options("keep-daily = 2\nkeep-weekly = 3\nkeep-tag = ['a']"));
        assert_eq!(joined.keep_daily, Some(Amount::AtMost(1)));
        assert_eq!(joined.keep_weekly, Some(Amount::AtMost(3)));
        assert_eq!(joined.keep_tag, ["a", "b"]);
        for none in ["", "keep-daily = 0", "max-age = '90d'"] {
            assert!(matches!(options(none).policy(), Err(CommandError::Usage(_))), "{none}");
        }
    }
}
