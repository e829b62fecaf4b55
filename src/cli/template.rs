//! Templates of lines: text with the names of fields in braces.

use std::str::FromStr;

use serde_json::{Map, Value};

/// A template, its fields not yet known to exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
}

impl FromStr for Template {
    type Err = String;

    /// Reads `{field}`, `{{` and `}}` for braces, `\n`, `\t`, `\0` and `\\`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (mut parts, mut plain) = (Vec::new(), String::new());
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '{' | '}' if characters.peek() == Some(&character) => {
                    plain.extend(characters.next());
                }
                '{' => {
                    let mut name = String::new();
                    loop {
                        match characters.next() {
                            Some('}') => break,
                            Some(letter) => name.push(letter),
                            None => return Err("a `{` has no `}`; write {{ for a brace".into()),
                        }
                    }
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                    parts.push(Part::Field(name));
                }
                '}' => return Err("a `}` has no `{`; write }} for a brace".into()),
                '\\' => plain.push(match characters.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('0') => '\0',
                    Some('\\') => '\\',
                    _ => return Err("behind a backslash n, t, 0 or \\ is expected".into()),
                }),
                _ => plain.push(character),
            }
        }
        parts.push(Part::Text(plain));
        Ok(Self(parts))
    }
}

impl Template {
    /// Returns the text with the values of fields; lists between commas.
    ///
    /// # Errors
    /// Fails if there is no such field, and names those that there are.
    pub(crate) fn fill(&self, fields: &Map<String, Value>) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Field(name) => {
                    let value = fields.get(name).ok_or_else(|| {
                        let names: Vec<_> = fields.keys().map(String::as_str).collect();
                        format!("There is no field {name:?}; there are {}", names.join(", "))
                    })?;
                    text.push_str(&plain(value));
                }
            }
        }
        Ok(text)
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str) -> Result<String, String> {
        let value = serde_json::json!({"id": "ab", "n": 7, "tags": ["x", "y"], "none": null});
        let Value::Object(fields) = value else { return Err(String::new()) };
        template.parse::<Template>()?.fill(&fields)
    }

    #[test]
    fn fields_are_filled_in_and_mistakes_named() {
        assert_eq!(filled("{id}\\t{n} {tags}{none}.").unwrap(), "ab\t7 x,y.");
        assert_eq!(filled("{{{id}}}").unwrap(), "{ab}");
        assert!(filled("{what}").unwrap_err().contains("id, n, none, tags"));
        for wrong in ["{", "}", "{id", "\\x", "\\"] {
            assert!(filled(wrong).is_err(), "{wrong}");
        }
    }
}
