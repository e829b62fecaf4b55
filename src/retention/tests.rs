//! Tables of what is kept, and properties that hold for any snapshots.

use std::num::NonZeroU64;

use proptest::prelude::*;

use crate::base::calendar::{Period, Span, Zone};
use crate::base::hash::sha256;
use crate::base::id::SnapshotId;
use crate::base::time::{Timestamp, parse_expression};
use crate::retention::*;

const NOW: &str = "2026-11-19T12:00:00Z";

fn at(text: &str) -> Timestamp {
    parse_expression(text, Timestamp::default()).unwrap()
}

fn fact(time: Timestamp, number: usize) -> Fact {
    let id = SnapshotId::from_digest(sha256(&number.to_le_bytes()));
    Fact { id, time, group: GroupKey::default(), tags: vec![], pinned: false }
}

fn facts(times: &[&str]) -> Vec<Fact> {
    times.iter().enumerate().map(|(number, time)| fact(at(time), number)).collect()
}

fn span(text: &str) -> Option<Span> {
    Some(Span::parse(text).unwrap())
}

fn utc() -> Policy {
    Policy { zone: Zone::named("UTC").unwrap(), ..Policy::default() }
}

fn periods(pairs: &[(Period, u64)]) -> [Option<Amount>; 5] {
    let mut amounts = [None; 5];
    for (period, count) in pairs {
        amounts[period.index()] = Some(Amount::AtMost(*count));
    }
    amounts
}

/// What becomes of each snapshot, as one word each.
fn words(policy: &Policy, facts: &[Fact], now: &str) -> Vec<String> {
    let word = |verdict: Verdict| match (verdict.keeps(), verdict.taken) {
        (true, _) => verdict.rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        (false, Some(Taken::MaxAge)) => "too-old".to_owned(),
        (false, Some(Taken::MaxSnapshots)) => "too-many".to_owned(),
        (false, None) => "-".to_owned(),
    };
    judge(policy, facts, at(now)).into_iter().map(word).collect()
}

#[test]
fn the_newest_of_each_period_is_kept_and_the_oldest_while_periods_are_left() {
    let times = [
        "2026-11-19T09:30:00Z",
        "2026-11-19T09:00:00Z",
        "2026-11-18T23:00:00Z",
        "2026-11-18T01:00:00Z",
        "2026-11-10T01:00:00Z",
        "2026-09-10T02:00:00Z",
        "2026-09-10T01:00:00Z",
    ];
    let daily = |count| Policy { periods: periods(&[(Period::Day, count)]), ..utc() };
    let kept = |policy: &Policy| words(policy, &facts(&times), NOW);
    assert_eq!(kept(&daily(1)), ["daily", "-", "-", "-", "-", "-", "-"]);
    // Days without snapshots do not count.
    assert_eq!(kept(&daily(3)), ["daily", "-", "daily", "-", "daily", "-", "-"]);
    assert_eq!(kept(&daily(4)), ["daily", "-", "daily", "-", "daily", "daily", "-"]);
    let five = ["daily", "-", "daily", "-", "daily", "daily", "oldest-daily"];
    assert_eq!(kept(&daily(5)), five);
    let all = Policy { last: Some(Amount::AtMost(2)), ..daily(2) };
    assert_eq!(kept(&all), ["last daily", "last", "daily", "-", "-", "-", "-"]);
    let mixed = [(Period::Hour, 2), (Period::Week, 2), (Period::Month, 1), (Period::Year, 1)];
    let mixed = Policy { periods: periods(&mixed), ..utc() };
    let expected = ["hourly weekly monthly yearly", "-", "hourly", "-", "weekly", "-", "-"];
    assert_eq!(kept(&mixed), expected);
    let unlimited = Policy { last: Some(Amount::Unlimited), ..utc() };
    assert_eq!(kept(&unlimited), ["last"; 7]);
}

#[test]
fn a_span_goes_back_from_the_newest_snapshot_and_not_from_now() {
    let times = [
        "2026-06-30T12:00:00Z",
        "2026-06-28T12:00:00Z",
        "2026-06-28T11:59:59Z",
        "2026-05-01T12:00:00Z",
    ];
    let within = Policy { within: span("2d"), ..utc() };
    assert_eq!(words(&within, &facts(&times), NOW), ["within", "within", "-", "-"]);
    let mut by_day = utc();
    by_day.periods_within[Period::Day.index()] = span("1m");
    let expected = ["within-daily", "within-daily", "-", "-"];
    assert_eq!(words(&by_day, &facts(&times), NOW), expected);
    by_day.periods_within[Period::Day.index()] = span("2m");
    let expected = ["within-daily", "within-daily", "-", "within-daily"];
    assert_eq!(words(&by_day, &facts(&times), NOW), expected);
}

#[test]
fn limits_take_away_the_oldest_and_pins_and_the_last_one_stay() {
    let times = [
        "2026-11-18T12:00:00Z",
        "2026-11-17T12:00:00Z",
        "2026-11-16T12:00:00Z",
        "2026-08-01T12:00:00Z",
    ];
    let mut given = facts(&times);
    given[3].pinned = true;
    let all = Policy { last: Some(Amount::Unlimited), ..utc() };
    let two = Policy { max_snapshots: NonZeroU64::new(2), ..all.clone() };
    assert_eq!(words(&two, &given, NOW), ["last", "last", "too-many", "pinned last"]);
    let young = Policy { max_age: span("2d"), ..all.clone() };
    assert_eq!(words(&young, &given, NOW), ["last", "last", "too-old", "pinned last"]);
    let hour = Policy { max_age: span("1h"), ..all };
    assert_eq!(words(&hour, &given, NOW), ["too-old", "too-old", "too-old", "pinned last"]);
    given[3].pinned = false;
    assert_eq!(words(&hour, &given, NOW), ["last-of-group", "too-old", "too-old", "too-old"]);
    let empties = Policy { may_empty_groups: true, ..hour };
    assert_eq!(words(&empties, &given, NOW), ["too-old"; 4]);
}

#[test]
fn tags_keep_and_the_last_of_each_group_stays() {
    let mut given = facts(&["2026-11-18", "2026-11-17", "2026-11-16", "2026-11-15"]);
    given[1].tags = vec!["a".into(), "b".into()];
    given[2].tags = vec!["a".into()];
    let tagged = |tag: &str| Policy { tags: vec![tag.to_owned()], ..utc() };
    assert_eq!(words(&tagged("a"), &given, NOW), ["-", "tag:a", "tag:a", "-"]);
    assert_eq!(words(&tagged("b, a"), &given, NOW), ["-", "tag:b, a", "-", "-"]);
    assert_eq!(words(&tagged("c"), &given, NOW), ["last-of-group", "-", "-", "-"]);
    let grouping: Grouping = "tags".parse().unwrap();
    for fact in &mut given {
        fact.group = GroupKey::new(grouping, "host", &[], &fact.tags);
    }
    let last = Policy { last: Some(Amount::AtMost(1)), ..utc() };
    assert_eq!(words(&last, &given, NOW), ["last", "last", "last", "-"]);
}

#[test]
fn snapshots_of_the_future_stay_and_count_for_nothing() {
    let times = ["2031-01-01T00:00:00Z", "2026-11-19T11:00:00Z", "2026-11-19T10:00:00Z"];
    let policy = Policy {
        last: Some(Amount::AtMost(1)),
        within: span("1h"),
        max_snapshots: NonZeroU64::new(1),
        max_age: span("30d"),
        ..utc()
    };
    let expected = ["future", "last within", "too-many"];
    assert_eq!(words(&policy, &facts(&times), NOW), expected);
    // A clock that was set back makes all of them future ones.
    assert_eq!(words(&policy, &facts(&times), "1970-01-02T00:00:00Z"), ["future"; 3]);
}

#[test]
fn days_have_23_or_25_hours_where_clocks_change() {
    let berlin = |pairs: &[(Period, u64)]| Policy {
        periods: periods(pairs),
        zone: Zone::named("Europe/Berlin").unwrap(),
        ..utc()
    };
    let hours: Vec<Timestamp> = (0..30)
        .map(|hour| Timestamp::new(at("2026-10-24T21:30:00Z").seconds() + hour * 3600, 0).unwrap())
        .collect();
    let given: Vec<_> = hours.iter().enumerate().map(|(n, time)| fact(*time, n)).collect();
    // The 25th has 25 hours: from 22:00 UTC of the 24th to 23:00 UTC.
    let kept = |policy: &Policy, given: &[Fact]| {
        let verdicts = judge(policy, given, at(NOW));
        verdicts.iter().enumerate().filter(|(_, v)| v.keeps()).map(|(n, _)| n).collect::<Vec<_>>()
    };
    assert_eq!(kept(&berlin(&[(Period::Day, 3)]), &given), [0, 25, 29]);
    assert_eq!(kept(&berlin(&[(Period::Hour, 100)]), &given).len(), 30, "02:30 comes twice");
    let spring: Vec<_> = (0..30)
        .map(|hour| at("2026-03-28T22:30:00Z").seconds() + hour * 3600)
        .map(|second| Timestamp::new(second, 0).unwrap())
        .enumerate()
        .map(|(n, time)| fact(time, n))
        .collect();
    // The 29th has 23 hours: from 23:00 UTC of the 28th to 22:00 UTC.
    assert_eq!(kept(&berlin(&[(Period::Day, 3)]), &spring), [0, 23, 29]);
    assert_eq!(kept(&berlin(&[(Period::Hour, 100)]), &spring).len(), 30);
}

#[test]
fn of_equal_times_the_greater_id_counts_as_the_newer() {
    let given = facts(&["2026-11-18T12:00:00Z"; 5]);
    let kept = words(&Policy { last: Some(Amount::AtMost(1)), ..utc() }, &given, NOW);
    let greatest = given.iter().max_by_key(|fact| fact.id).unwrap();
    for (fact, word) in given.iter().zip(kept) {
        assert_eq!(word == "last", fact.id == greatest.id);
    }
}

#[test]
fn nothing_and_noughts_are_no_rules() {
    assert!(!utc().has_rules());
    let noughts = Policy { last: Some(Amount::AtMost(0)), max_age: span("1d"), ..utc() };
    assert!(!noughts.has_rules());
    assert!(Policy { tags: vec!["a".into()], ..utc() }.has_rules());
    assert!("12".parse::<Amount>().is_ok() && "-1".parse::<Amount>().is_err());
    assert_eq!("host,paths".parse::<Grouping>().unwrap(), Grouping::default());
    assert!("hose".parse::<Grouping>().is_err());
}

prop_compose! {
    fn some_fact(number: usize)(
        // A few months, so that all periods are met; some of it is the future.
        minutes in -200_000_i64..10_000, whole_days: bool, group in 0..3_u8, tag in 0..3_u8,
        pinned in prop::bool::weighted(0.1),
    ) -> Fact {
        let minutes = if whole_days { minutes / 1440 * 1440 } else { minutes };
        let time = Timestamp::new(at(NOW).seconds() + minutes * 60, 0).unwrap();
        let key = GroupKey { host: Some(group.to_string()), ..GroupKey::default() };
        Fact { group: key, tags: vec![format!("tag{tag}")], pinned, ..fact(time, number) }
    }
}

fn some_facts() -> impl Strategy<Value = Vec<Fact>> {
    (0..40_usize).prop_flat_map(|count| (0..count).map(some_fact).collect::<Vec<_>>())
}

fn some_span() -> impl Strategy<Value = Option<Span>> {
    let text = prop_oneof![
        (1..2000_u32).prop_map(|hours| format!("{hours}h")),
        (1..200_u32).prop_map(|days| format!("{days}d")),
        (1..8_u32).prop_map(|months| format!("{months}m1d")),
    ];
    prop::option::weighted(0.3, text.prop_map(|text| Span::parse(&text).unwrap()))
}

fn some_amount() -> impl Strategy<Value = Option<Amount>> {
    prop::option::weighted(0.4, (0..8_u64).prop_map(Amount::AtMost))
}

prop_compose! {
    fn some_policy()(
        last in some_amount(), periods in prop::array::uniform5(some_amount()),
        within in some_span(), periods_within in prop::array::uniform5(some_span()),
        tags in prop::collection::vec("tag[0-3]", 0..2), max_age in some_span(),
        max in 0..12_u64, may_empty_groups: bool,
        zone in prop::sample::select(&["UTC", "Europe/Berlin", "Pacific/Apia", "Asia/Kathmandu"]),
    ) -> Policy {
        let zone = Zone::named(zone).unwrap();
        let max_snapshots = NonZeroU64::new(max);
        Policy {
            last, periods, within, periods_within, tags, max_age, max_snapshots,
            may_empty_groups, zone,
        }
    }
}

fn kept(policy: &Policy, facts: &[Fact]) -> Vec<Fact> {
    let verdicts = judge(policy, facts, at(NOW));
    facts
        .iter()
        .zip(verdicts)
        .filter(|(_, verdict)| verdict.keeps())
        .map(|(f, _)| f.clone())
        .collect()
}

/// Makes one number or span of a policy larger.
fn enlarge(policy: &mut Policy, which: usize) {
    let more = |amount: &mut Option<Amount>| match amount {
        Some(Amount::AtMost(count)) => *count += 1,
        Some(Amount::Unlimited) | None => *amount = Some(Amount::AtMost(1)),
    };
    let longer = |span: &mut Option<Span>| {
        *span = span.map(|span| Span::parse(&format!("{span}36h")).unwrap());
    };
    match which {
        0 => more(&mut policy.last),
        1..=5 => more(&mut policy.periods[which - 1]),
        6 => longer(&mut policy.within),
        7..=11 => longer(&mut policy.periods_within[which - 7]),
        12 => longer(&mut policy.max_age),
        _ => policy.may_empty_groups = false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_larger_number_or_span_keeps_all_that_a_smaller_one_keeps(
        facts in some_facts(), policy in some_policy(), which in 0..14_usize
    ) {
        let policy = Policy { max_snapshots: None, ..policy };
        let mut larger = policy.clone();
        enlarge(&mut larger, which);
        let more = kept(&larger, &facts);
        prop_assert!(kept(&policy, &facts).iter().all(|fact| more.contains(fact)));
    }

    #[test]
    fn a_larger_limit_of_their_number_keeps_all_that_a_smaller_one_keeps(
        facts in some_facts(), policy in some_policy(), more in 1..5_u64
    ) {
        let larger = policy.max_snapshots.map(|max| max.saturating_add(more));
        let more = kept(&Policy { max_snapshots: larger, ..policy.clone() }, &facts);
        prop_assert!(kept(&policy, &facts).iter().all(|fact| more.contains(fact)));
    }

    #[test]
    fn pruned_twice_nothing_more_goes(facts in some_facts(), policy in some_policy()) {
        let once = kept(&policy, &facts);
        prop_assert_eq!(kept(&policy, &once), once);
    }

    #[test]
    fn the_order_of_the_facts_does_not_matter(
        (facts, shuffled) in some_facts().prop_flat_map(|facts| {
            (Just(facts.clone()), Just(facts).prop_shuffle())
        }),
        policy in some_policy()
    ) {
        let verdicts = judge(&policy, &facts, at(NOW));
        let others = judge(&policy, &shuffled, at(NOW));
        for (fact, verdict) in facts.iter().zip(verdicts) {
            let place = shuffled.iter().position(|other| other.id == fact.id).unwrap();
            prop_assert_eq!(&others[place], &verdict);
        }
    }

    #[test]
    fn pins_the_future_and_the_last_of_each_group_stay_and_groups_do_not_mix(
        facts in some_facts(), policy in some_policy()
    ) {
        let all = kept(&policy, &facts);
        for fact in &facts {
            let stays = fact.pinned || fact.time > at(NOW);
            prop_assert!(!stays || all.contains(fact));
            let left = all.iter().any(|other| other.group == fact.group);
            prop_assert!(policy.may_empty_groups || left);
            let alone: Vec<_> =
                facts.iter().filter(|other| other.group == fact.group).cloned().collect();
            prop_assert_eq!(kept(&policy, &alone).contains(fact), all.contains(fact));
        }
        if let Some(max) = policy.max_snapshots {
            let others = |group: &GroupKey| {
                let counts = |fact: &&Fact| {
                    fact.group == *group && !fact.pinned && fact.time <= at(NOW)
                };
                all.iter().filter(counts).count() as u64
            };
            prop_assert!(facts.iter().all(|fact| others(&fact.group) <= max.get()));
        }
    }
}
