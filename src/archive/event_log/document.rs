//! Segments that are one document: events are taken out of it one after another.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, Read};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::archive::event_log::facts::Facts;
use crate::base::limits::EVENT_BYTES_MAX;

/// Bytes of one event, and of whatever else stands in a document, at most.
const ITEM_BYTES_MAX: usize = 4 * EVENT_BYTES_MAX;

/// Passes on the events of a document, a list or an object with one in `events`.
/// Returns why it makes no sense, if it makes none.
pub(super) fn read(
    input: impl BufRead,
    take: &mut dyn FnMut(&Facts),
) -> io::Result<Result<(), String>> {
    let left = Cell::new(ITEM_BYTES_MAX);
    let mut deserializer = serde_json::Deserializer::from_reader(Rationed { input, left: &left });
    let document = Document(Events { take, left: &left });
    let outcome = deserializer.deserialize_any(document).and_then(|has_events| {
        deserializer.end()?;
        Ok(has_events)
    });
    match outcome {
        Ok(true) => Ok(Ok(())),
        Ok(false) => Ok(Err("holds no events".to_owned())),
        Err(_) if left.get() == 0 => Ok(Err("holds what is far too long for an event".to_owned())),
        Err(error) if error.is_io() => Err(error.into()),
        Err(error) => Ok(Err(format!("holds no events: {error}"))),
    }
}

/// Reads no more than is left for the item at hand.
struct Rationed<'a, R> {
    input: R,
    left: &'a Cell<usize>,
}

impl<R: BufRead> Read for Rationed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.left.get());
        if length == 0 && !buffer.is_empty() {
            return Err(io::Error::other("it is too long"));
        }
        let read = self.input.read(buffer.get_mut(..length).unwrap_or_default())?;
        self.left.set(self.left.get() - read);
        Ok(read)
    }
}

/// The list of events.
struct Events<'a> {
    take: &'a mut dyn FnMut(&Facts),
    left: &'a Cell<usize>,
}

/// The whole of it.
struct Document<'a>(Events<'a>);

/// What has no events is passed over.
macro_rules! no_events {
    () => {
        type Value = bool;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("any value")
        }

        fn visit_str<E>(self, _: &str) -> Result<bool, E> {
            Ok(false)
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
    };
}

impl<'de> DeserializeSeed<'de> for &mut Events<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Events<'_> {
    no_events!();

    fn visit_seq<A: SeqAccess<'de>>(self, mut events: A) -> Result<bool, A::Error> {
        while let Some(event) = events.next_element::<Facts>()? {
            (self.take)(&event);
            self.left.set(ITEM_BYTES_MAX);
        }
        Ok(true)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<bool, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(false)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    no_events!();

    fn visit_seq<A: SeqAccess<'de>>(mut self, events: A) -> Result<bool, A::Error> {
        (&mut self.0).visit_seq(events)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<bool, A::Error> {
        let mut has_events = false;
        while let Some(name) = fields.next_key::<String>()? {
            if name == "events" {
                has_events = fields.next_value_seed(&mut self.0)?;
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
            self.0.left.set(ITEM_BYTES_MAX);
        }
        Ok(has_events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &[u8]) -> Result<usize, String> {
        let mut count = 0;
        read(text, &mut |facts| count += usize::from(facts.is_event())).unwrap()?;
        Ok(count)
    }

    #[test]
    fn documents_of_any_size_are_read_event_by_event_and_none_may_be_too_long() {
        assert_eq!(count(b"[]"), Ok(0));
        assert_eq!(count(b" [{\"hash\":\"a\"}, 1, {\"hash\":\"b\"}]\n"), Ok(2));
        assert_eq!(count(b"{\"n\":[1],\"events\":[{\"hash\":\"a\"}],\"m\":{}}"), Ok(1));
        let event = format!("{{\"x\":\"{}\",\"hash\":\"a\"}},", "x".repeat(1 << 20));
        let many = format!("[{}{{}}]", event.repeat(9));
        assert_eq!(count(many.as_bytes()), Ok(9));
        let long = format!("[{{\"x\":\"{}\"}}]", "x".repeat(ITEM_BYTES_MAX));
        assert!(count(long.as_bytes()).unwrap_err().contains("far too long"));
        for none in ["1", "\"x\"", "{}", "{\"events\":{\"hash\":\"a\"}}", "[", "[]x", "{\"events\""]
        {
            assert!(count(none.as_bytes()).unwrap_err().contains("no events"), "{none}");
        }
    }
}
