//! Whole event logs: that of a repository, and those that are archived.

use std::fs;
use std::ops::ControlFlow;

use crate::archive::EventLog;
use crate::audit::{AuditLog, Query};
use crate::fuzzing::decoders::directory;
use crate::repository::Layout;

/// Segments of a log.
const SEGMENTS_MAX: usize = 3;
/// What states of logs are called.
const STATES: [&str; 2] = ["anchor.json", "event-log-snapshot.json"];

/// Lays a log: the input is its segments, parted by `#`, and behind a second `#` in a
/// row its anchor, and behind two more the state of another program's log. Returns
/// whether there is a state.
fn lay(layout: &Layout, input: &[u8]) -> Option<bool> {
    let log = layout.log();
    let (segments, mut states) = part(input);
    for name in STATES {
        let path = log.join(name);
        let (state, rest) = states.map_or((None, None), |states| {
            let (state, rest) = part(states);
            (Some(state).filter(|state| !state.is_empty()), rest)
        });
        states = rest;
        match state {
            Some(state) => fs::write(path, state).ok()?,
            None => drop(fs::remove_file(path)),
        }
    }
    let mut parts = segments.split(|byte| *byte == b'#');
    for number in 1..=SEGMENTS_MAX {
        let path = log.join(format!("segment-{number:06}.json"));
        match parts.next() {
            Some(part) => fs::write(path, part).ok()?,
            None => drop(fs::remove_file(path)),
        }
    }
    Some(STATES.iter().any(|name| log.join(name).exists()))
}

/// What stands before and behind the first `##`.
fn part(input: &[u8]) -> (&[u8], Option<&[u8]>) {
    match input.windows(2).position(|two| two == b"##") {
        Some(at) => {
            let (before, behind) = input.split_at(at);
            (before, behind.get(2..))
        }
        None => (input, None),
    }
}

/// The log of a repository. What a proof calls unbroken is what is shown.
pub(super) fn verify(input: &[u8]) {
    let layout = Layout::new(directory());
    let Some(has_state) = lay(&layout, input) else { return };
    let log = AuditLog::new(&layout);
    let (mut shown, mut events) = (0, 0_u64);
    let visited = log.visit(&Query::default(), &mut |event| {
        shown += event.line().len();
        events += 1;
        ControlFlow::Continue(())
    });
    assert!(shown <= input.len());
    let Ok(proof) = log.verify(None) else { return };
    if visited.is_ok() && !has_state && proof.broken.is_none() {
        assert_eq!(proof.events, events, "what is proven is not what is shown");
    }
    for query in [
        Query { limit: Some(2), ..Query::default() },
        Query { is_newest_first: true, ..Query::default() },
    ] {
        let _ = log.visit(&query, &mut |_| ControlFlow::Continue(()));
    }
}

/// A log as `export` takes it, of icecore or of another program. What the audit log
/// proves, this second reading of the format proves too.
pub(super) fn prove(input: &[u8]) {
    let layout = Layout::new(directory());
    if lay(&layout, input).is_none() {
        return;
    }
    let Ok(log) = EventLog::open(&layout.log()) else { return };
    let chain = log.chain();
    assert!(log.bytes() <= input.len() as u64, "more than there is");
    assert_eq!(chain.valid, chain.broken.is_none(), "{chain:?}");
    assert!(!chain.valid || chain.events > 0, "nothing is proven");
    assert!(!chain.recomputed || chain.events > 0, "no hash is computed of nothing");
    // Each event takes some bytes, and what is told of it is none that it has not.
    assert!(chain.events <= input.len() as u64 / 2);
    let told = [&chain.first_id, &chain.last_id, &chain.last_hash];
    assert!(told.iter().all(|told| told.as_ref().is_none_or(|told| told.len() <= input.len())));
    let Ok(proof) = AuditLog::new(&layout).verify(None) else { return };
    if proof.broken.is_none() && proof.events > 0 {
        assert!(chain.valid && chain.recomputed, "only one of two proofs holds: {chain:?}");
        assert_eq!(chain.events, proof.events);
    }
}
