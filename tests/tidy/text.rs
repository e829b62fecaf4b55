//! Reads Rust as text: what is code, where items end, which words there are.

/// The text without comments and without what is in quotes; lines stay lines.
pub(crate) fn code(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let raw = rest.strip_prefix('r').map(|r| (r, r.len() - r.trim_start_matches('#').len()));
        let in_name = kept.ends_with(|c: char| (c.is_alphanumeric() && c != 'b') || c == '_');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            closing(rest, '"')
        } else if let Some((raw, hashes)) = raw
            && raw[hashes..].starts_with('"')
            && !in_name
        {
            let close = format!("\"{}", "#".repeat(hashes));
            let body = hashes + 2;
            rest[body..].find(&close).map_or(rest.len(), |end| body + end + close.len())
        } else if first == '\'' && (rest[1..].starts_with('\\') || is_char(rest)) {
            closing(rest, '\'')
        } else {
            kept.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        kept.extend(rest[..length].chars().filter(|c| *c == '\n'));
        rest = &rest[length..];
    }
    kept
}

/// Whether a text that begins with `'` is a character and not a lifetime.
fn is_char(text: &str) -> bool {
    text.chars().nth(2) == Some('\'')
}

/// The length of a quoted text, quotes included.
fn closing(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, character) in text.char_indices().skip(1) {
        if character == quote && !escaped {
            return index + 1;
        }
        escaped = character == '\\' && !escaped;
    }
    text.len()
}

/// How many lines an item has: to the brace that closes its body, or to the
/// semicolon that stands for one.
pub(crate) fn item_lines(lines: &[&str]) -> usize {
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    for (index, line) in lines.iter().enumerate() {
        for character in line.chars() {
            match character {
                '{' => braces += 1,
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets = brackets.saturating_sub(1),
                ';' if braces == 0 && brackets == 0 => return index + 1,
                '}' if braces <= 1 => return index + 1,
                '}' => braces -= 1,
                _ => {}
            }
        }
    }
    lines.len()
}

/// Whether a text has a word that is not a part of a longer name.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(index, _)| {
        let begins = !word.starts_with(is_name) || !text[..index].ends_with(is_name);
        begins && (!word.ends_with(is_name) || !text[index + word.len()..].starts_with(is_name))
    })
}

/// The name that a keyword gives in a line.
pub(crate) fn name_after<'a>(line: &'a str, keyword: &str) -> Option<&'a str> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let (index, _) = line
        .match_indices(keyword)
        .find(|(index, _)| !line[..*index].ends_with(|c: char| is_name(c) || c == '"'))?;
    let rest = &line[index + keyword.len()..];
    let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
    (end > 0).then_some(&rest[..end])
}

#[test]
fn comments_and_quotes_are_no_code() {
    let text =
        "a // b\n/* c\nd */ e \"f\\\\\" g \"h\\\" i\nj\" k r#\"l\" m\"# n '\"' o 'p q<'r> '\\'' s";
    assert_eq!(code(text), "a \n\n e  g \n k  n  o 'p q<'r>  s");
}
