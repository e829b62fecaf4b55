//! What a proof needs of an event, taken out while it is read.
//!
//! A tree of JSON values can take a hundred times the memory of its text, so none is
//! ever made of what a log holds: what is not asked for is passed over.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The names of an event's fields, as programs have them.
pub(super) const PREVIOUS: [&str; 6] =
    ["previousHash", "previous_hash", "prevHash", "prev_hash", "previous", "prev"];
pub(super) const CURRENT: [&str; 6] =
    ["currentHash", "current_hash", "eventHash", "event_hash", "hash", "current"];
pub(super) const ID: [&str; 5] = ["id", "eventId", "event_id", "sequence", "seq"];
/// What icecore has besides, in events and in the state of a log.
const OWN: [&str; 3] = ["torn", "segment", "events_removed"];
/// Bytes of a hash, of an id or of any other text that counts, at most.
const TEXT_BYTES_MAX: usize = 4096;

/// A field, as far as it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fact {
    Text(String),
    /// As it is written, and as a number without a sign if it is one.
    Number(String, Option<u64>),
    /// An object's `bytes` and `sha256`.
    Torn(Option<u64>, Option<String>),
    Other,
}

/// The fields of an event that count; none of what is no object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts(BTreeMap<&'static str, Fact>);

impl Facts {
    /// Takes them out of a whole text, if it is JSON.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_str(std::str::from_utf8(text).ok()?).ok()
    }

    /// Whether it is an event: it has a hash of its own.
    pub(super) fn is_event(&self) -> bool {
        self.first_of(&CURRENT).is_some()
    }

    /// The first of these fields that there is, as a text.
    pub(super) fn first_of(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| match self.0.get(name)? {
            Fact::Text(text) | Fact::Number(text, _) => Some(text.clone()),
            Fact::Torn(..) | Fact::Other => None,
        })
    }

    /// A field that is a text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name)? {
            Fact::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A field that is a number without a sign.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        match self.0.get(name)? {
            Fact::Number(_, number) => *number,
            _ => None,
        }
    }

    /// What is declared of the bytes before it: how many, and their SHA-256.
    pub(super) fn torn(&self) -> Option<(Option<u64>, Option<&str>)> {
        match self.0.get("torn")? {
            Fact::Torn(bytes, sha256) => Some((*bytes, sha256.as_deref())),
            _ => Some((None, None)),
        }
    }
}

impl<'de> Deserialize<'de> for Facts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FactsVisitor)
    }
}

impl<'de> Deserialize<'de> for Fact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FactVisitor)
    }
}

/// Passes over all kinds of values but texts, numbers and objects.
macro_rules! others {
    ($value:expr) => {
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self::Value, A::Error> {
            while values.next_element::<IgnoredAny>()?.is_some() {}
            Ok($value)
        }

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("any value")
        }
    };
}

struct FactsVisitor;

impl<'de> Visitor<'de> for FactsVisitor {
    type Value = Facts;

    others!(Facts::default());

    fn visit_str<E>(self, _: &str) -> Result<Facts, E> {
        Ok(Facts::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Facts, E> {
        Ok(Facts::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Facts, E> {
        Ok(Facts::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Facts, E> {
        Ok(Facts::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Facts, A::Error> {
        let mut facts = Facts::default();
        while let Some(name) = fields.next_key::<String>()? {
            let mut names = PREVIOUS.iter().chain(&CURRENT).chain(&ID).chain(&OWN);
            match names.find(|known| **known == name) {
                Some(known) => drop(facts.0.insert(known, fields.next_value()?)),
                None => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        Ok(facts)
    }
}

struct FactVisitor;

impl<'de> Visitor<'de> for FactVisitor {
    type Value = Fact;

    others!(Fact::Other);

    fn visit_str<E>(self, text: &str) -> Result<Fact, E> {
        let is_short = text.len() <= TEXT_BYTES_MAX;
        Ok(if is_short { Fact::Text(text.to_owned()) } else { Fact::Other })
    }

    fn visit_u64<E>(self, number: u64) -> Result<Fact, E> {
        Ok(Fact::Number(number.to_string(), Some(number)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Fact, E> {
        Ok(Fact::Number(number.to_string(), u64::try_from(number).ok()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Fact, E> {
        let text = serde_json::Number::from_f64(number).map(|number| number.to_string());
        Ok(text.map_or(Fact::Other, |text| Fact::Number(text, None)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Fact, A::Error> {
        let (mut bytes, mut sha256) = (None, None);
        while let Some(name) = fields.next_key::<String>()? {
            match name.as_str() {
                "bytes" => bytes = Some(fields.next_value()?),
                "sha256" => sha256 = Some(fields.next_value()?),
                _ => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        let bytes = match bytes {
            Some(Fact::Number(_, bytes)) => bytes,
            _ => None,
        };
        let sha256 = match sha256 {
            Some(Fact::Text(sha256)) => Some(sha256),
            _ => None,
        };
        Ok(Fact::Torn(bytes, sha256))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(text: &str) -> Facts {
        Facts::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn only_fields_that_count_are_taken_the_last_of_each_name() {
        let event = facts(
            "{\"x\":[{\"hash\":1}],\"id\":7,\"hash\":\"a\",\"hash\":\"b\",\"prev\":null,\
             \"sequence\":-1,\"torn\":{\"bytes\":3,\"y\":{},\"sha256\":\"c\"}}",
        );
        assert_eq!(event.0.len(), 5);
        assert!(event.is_event());
        assert_eq!((event.text("hash"), event.text("id")), (Some("b"), None));
        assert_eq!(event.first_of(&ID).as_deref(), Some("7"));
        assert_eq!((event.number("id"), event.number("sequence")), (Some(7), None));
        assert_eq!(event.first_of(&PREVIOUS), None);
        assert_eq!(event.torn(), Some((Some(3), Some("c"))));
        assert_eq!(facts("{\"torn\":[1]}").torn(), Some((None, None)));
        assert_eq!(facts("{\"seq\":1.5}").first_of(&ID).as_deref(), Some("1.5"));
        let long = format!("{{\"hash\":\"{}\"}}", "x".repeat(TEXT_BYTES_MAX + 1));
        assert!(!facts(&long).is_event());
        for other in ["1", "-1", "1.5", "\"hash\"", "null", "true", "[{\"hash\":\"a\"}]"] {
            assert!(!facts(other).is_event(), "{other}");
        }
        for wrong in ["", "{", "{\"hash\":\"a\"} {}", "{\"hash\":\"\\ud800\"}"] {
            assert_eq!(Facts::parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(Facts::parse(b"{\"x\":\"\xff\",\"hash\":\"a\"}"), None);
    }
}
