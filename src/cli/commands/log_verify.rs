//! `icecore log verify`: proves the chain of the audit log.

use serde::Serialize;

use crate::audit::{AuditLog, Break, Verification};
use crate::base::format;
use crate::base::hash::Digest256;
use crate::base::id::hex;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::{Output, path_text};

/// The fields of a proof in JSON; others may rely on their names.
#[derive(Serialize)]
struct Facts {
    valid: bool,
    segments: u64,
    events: u64,
    first_sequence: Option<u64>,
    last_sequence: Option<u64>,
    head: Option<String>,
    head_time: Option<String>,
    head_found: Option<bool>,
    removed_events: u64,
    removed_until: Option<String>,
    from_creation: bool,
    torn: Vec<TornFacts>,
    clock_steps: Vec<u64>,
    broken: Option<BrokenFacts>,
}

#[derive(Serialize)]
struct TornFacts {
    segment: String,
    line: u64,
    bytes: u64,
    declared: bool,
}

#[derive(Serialize)]
struct BrokenFacts {
    segment: String,
    line: u64,
    sequence: u64,
    detail: String,
}

pub(super) fn run(
    context: &Context,
    log: &AuditLog,
    head: Option<&Digest256>,
) -> Result<Outcome, CommandError> {
    let proof = log.verify(head)?;
    let failure = failure(context, &proof, head);
    let mut output = Output::new();
    if context.json {
        output.json(&facts(&proof, failure.is_none()))?;
    } else if !context.quiet {
        print(&proof, head.is_some(), &mut output)?;
    }
    output.finish()?;
    failure.map_or(Ok(Outcome::Done), |text| Err(CommandError::Damage(text)))
}

/// What a proof shows to be wrong, in one line.
fn failure(context: &Context, proof: &Verification, head: Option<&Digest256>) -> Option<String> {
    if let Some(Break { segment, line, sequence, detail }) = &proof.broken {
        let place = if *line == 0 { segment.clone() } else { format!("{segment}, line {line}") };
        return Some(format!("The audit log is broken at event {sequence} ({place}): {detail}"));
    }
    if proof.head.is_none() {
        let place = path_text(&context.repository);
        return Some(format!(
            "{place} has no audit log: it was removed, or nothing was done here since icecore \
             keeps one"
        ));
    }
    let head = head.filter(|_| proof.holds_head == Some(false))?;
    let removed = match &proof.anchor {
        Some(anchor) => format!(
            " (unless it is one of the {} that `icecore log prune` removed by {})",
            format::count(anchor.sequence),
            anchor.removed_at
        ),
        None => String::new(),
    };
    Some(format!(
        "The audit log does not hold the event with hash {}{removed}: what came last was cut off \
         or replaced",
        hex(head)
    ))
}

fn print(proof: &Verification, is_asked: bool, output: &mut Output) -> Result<(), CommandError> {
    let Some((sequence, hash)) = proof.head else { return Ok(()) };
    let events = format::plural(proof.events, "event", "events");
    let segments = format::plural(proof.segments, "segment", "segments");
    let verdict = if proof.broken.is_some() { "unbroken before the break" } else { "unbroken" };
    output.line(&format!("Checked {events} in {segments}: {verdict}"))?;
    if let Some(anchor) = &proof.anchor {
        output.line(&format!(
            "Removed before: {}, from {} to {}",
            format::plural(anchor.sequence, "event", "events"),
            anchor.first_time,
            anchor.last_time
        ))?;
    } else if !proof.is_from_creation && proof.events > 0 {
        output.line("It does not begin with `init`: it was begun anew later")?;
    }
    for torn in &proof.torn {
        let state = if torn.is_declared {
            "declared by the event behind them"
        } else {
            "the next event will declare them"
        };
        output.line(&format!(
            "{}, line {}: {} of an event that was cut off while it was written; {state}",
            torn.segment,
            torn.line,
            format::plural(torn.bytes, "byte", "bytes")
        ))?;
    }
    if let Some(first) = proof.clock_steps.first() {
        let times = format::plural(proof.clock_steps.len() as u64, "time", "times");
        output.line(&format!("The clock went back {times}, first at event {first}"))?;
    }
    if proof.broken.is_some() {
        return Ok(());
    }
    output.line(&format!("Head {} (event {sequence}, {})", hex(&hash), proof.head_time))?;
    match proof.holds_head {
        Some(true) => output.line("It holds the head that was given: nothing was cut off"),
        Some(false) => Ok(()),
        None if is_asked => Ok(()),
        None => output.line(
            "Write the head down elsewhere: `icecore log verify --head HASH` then shows whether \
             anything was cut off",
        ),
    }
}

fn facts(proof: &Verification, valid: bool) -> Facts {
    let torn = proof.torn.iter().map(|torn| TornFacts {
        segment: torn.segment.clone(),
        line: torn.line,
        bytes: torn.bytes,
        declared: torn.is_declared,
    });
    Facts {
        valid,
        segments: proof.segments,
        events: proof.events,
        first_sequence: proof.first,
        last_sequence: proof.head.map(|(sequence, _)| sequence),
        head: proof.head.map(|(_, hash)| hex(&hash)),
        head_time: proof.head.map(|_| proof.head_time.clone()),
        head_found: proof.holds_head,
        removed_events: proof.anchor.as_ref().map_or(0, |anchor| anchor.sequence),
        removed_until: proof.anchor.as_ref().map(|anchor| anchor.last_time.clone()),
        from_creation: proof.is_from_creation,
        torn: torn.collect(),
        clock_steps: proof.clock_steps.clone(),
        broken: proof.broken.as_ref().map(|broken| BrokenFacts {
            segment: broken.segment.clone(),
            line: broken.line,
            sequence: broken.sequence,
            detail: broken.detail.clone(),
        }),
    }
}
