//! The state of a log: the file that says what came before its first event.

use std::fmt;
use std::io::{self, Read};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::archive::event_log::facts::Facts;
use crate::base::format;
use crate::base::limits::ANCHOR_BYTES_MAX;

/// What the states of logs are called: ours, and that of others.
pub(super) const STATES: [&str; 2] = ["anchor.json", "event-log-snapshot.json"];
/// Bytes of the state of another program's log at most. Its text alone is held.
const STATE_BYTES_MAX: u64 = 4 << 20;

/// The state of a log.
#[derive(Debug, Default)]
pub(super) struct State {
    is_own: bool,
    /// Nothing if it makes no sense.
    text: Vec<u8>,
    facts: Facts,
    /// Why it makes no sense.
    fault: Option<String>,
}

impl State {
    /// Reads a state, which has its bound by its name.
    pub(super) fn read(name: &str, input: impl Read) -> io::Result<Self> {
        let is_own = name == STATES[0];
        let most = if is_own { ANCHOR_BYTES_MAX } else { STATE_BYTES_MAX };
        let mut text = Vec::new();
        input.take(most + 1).read_to_end(&mut text)?;
        let fault = if text.len() as u64 > most {
            Some(format!("{name} makes no sense: it is larger than {}", format::bytes(most)))
        } else {
            let checked = serde_json::from_slice::<IgnoredAny>(&text);
            checked.err().map(|error| format!("{name} makes no sense: {error}"))
        };
        if fault.is_some() {
            text.clear();
        }
        let facts = Facts::parse(&text).unwrap_or_default();
        Ok(Self { is_own, text, facts, fault })
    }

    /// Why it makes no sense, if it makes none.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// The last segment that was removed from a log of icecore; 0 if none was.
    pub(super) fn removed_until(&self) -> u64 {
        self.facts.number("segment").filter(|_| self.is_own).unwrap_or(0)
    }

    /// How many events were removed.
    pub(super) fn events_removed(&self) -> u64 {
        self.facts.number("events_removed").unwrap_or(0)
    }

    /// Whether a text stands anywhere in it.
    pub(super) fn names(&self, wanted: &str) -> bool {
        let mut deserializer = serde_json::Deserializer::from_slice(&self.text);
        Holds(wanted).deserialize(&mut deserializer).unwrap_or(false)
    }
}

/// Looks for a text among all values of a document.
#[derive(Clone, Copy)]
struct Holds<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Holds<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Holds<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        Ok(text == self.0)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<bool, A::Error> {
        let mut holds = false;
        while let Some(here) = values.next_element_seed(self)? {
            holds |= here;
        }
        Ok(holds)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<bool, A::Error> {
        let mut holds = false;
        while fields.next_key::<IgnoredAny>()?.is_some() {
            holds |= fields.next_value_seed(self)?;
        }
        Ok(holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_bounded_by_its_name_and_any_text_in_it_counts() {
        let text = "{\"a\":[1,-1,1.5,null,true,{\"b\":\"hash\"}],\"segment\":3,\"key\":0}";
        let state = State::read(STATES[0], text.as_bytes()).unwrap();
        assert!(state.names("hash") && !state.names("b") && !state.names("key"));
        assert_eq!((state.removed_until(), state.fault()), (3, None));
        assert_eq!(State::read(STATES[1], text.as_bytes()).unwrap().removed_until(), 0);
        let long = format!("[\"hash\"{}]", " ".repeat(100_000));
        let state = State::read(STATES[0], long.as_bytes()).unwrap();
        assert!(!state.names("hash") && state.fault().unwrap().contains("larger than 64.0 KiB"));
        assert!(State::read(STATES[1], long.as_bytes()).unwrap().names("hash"));
        let state = State::read(STATES[1], io::repeat(b' ')).unwrap();
        assert!(state.fault().unwrap().contains("larger than 4.0 MiB"));
        assert!(State::read(STATES[1], &b"{"[..]).unwrap().fault().is_some());
    }
}
