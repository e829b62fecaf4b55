//! Keeps the code base as it is meant to be: layers point downwards, files and
//! functions stay small, nothing is forgotten, and only the named modules name
//! certain things. Each rule is shown to fire on a bad sample.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers, from the ground up. A module may import modules of lower layers,
/// and those named beside it; never another of its own layer.
const LAYERS: [(&str, u8); 14] = [
    ("base", 0),
    ("chunking", 1),
    ("compression", 1),
    ("dag", 1),
    ("store", 2),
    ("repository", 3),
    ("ingest", 4),
    ("gc", 4),
    ("view", 5),
    ("fuse", 6),
    ("cli", 7),
    // Later verbs and pure parts have their places ready.
    ("crypto", 1),
    ("retention", 1),
    ("restore", 4),
];
/// Imports that the table of layers would allow and the design does not.
const FORBIDDEN: [(&str, &str); 6] = [
    ("store", "dag"),
    ("store", "chunking"),
    ("store", "compression"),
    ("view", "ingest"),
    ("view", "gc"),
    ("fuse", "ingest"),
];
const FILE_LINES_MAX: usize = 600;
const FILE_LINES_MEDIAN_MAX: usize = 250;
const FUNCTION_LINES_MAX: usize = 80;
const LINE_COLUMNS_MAX: usize = 100;
/// Words that only these places may use in code.
const PLACES: [(&str, &[&str]); 8] = [
    ("rocksdb", &["src/store/rocks"]),
    ("fuser", &["src/fuse/"]),
    ("clap", &["src/cli/"]),
    ("println!", &["src/cli/"]),
    ("print!", &["src/cli/"]),
    ("process::exit", &["src/cli/"]),
    ("env::var", &["src/cli/"]),
    ("env::args", &["src/cli/"]),
];
/// Words that no code outside of tests may use.
const BANNED: [&str; 9] = [
    "unsafe ",
    "todo!(",
    "unimplemented!(",
    "dbg!(",
    "#[ignore",
    ".unwrap()",
    ".expect(",
    "panic!(",
    "unreachable!(",
];

struct Source {
    path: String,
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut work = vec![root().join(folder)];
    while let Some(directory) = work.pop() {
        for entry in fs::read_dir(&directory).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                work.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push(Source { path, text });
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {folder}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Runs a rule over files and fails with all that it found.
fn enforce(files: &[Source], rule: impl Fn(&Source) -> Vec<String>) {
    let found: Vec<String> = files.iter().flat_map(rule).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

fn sample(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

/// The lines of code: numbered, without comments and without what is in quotes.
fn code(source: &Source) -> Vec<(usize, String)> {
    let strip = |line: &str| {
        let mut kept = String::new();
        let mut in_string = false;
        let mut before = ' ';
        for (index, character) in line.char_indices() {
            if !in_string && line[index..].starts_with("//") {
                break;
            }
            if character == '"' && before != '\\' && before != '\'' {
                in_string = !in_string;
            } else if !in_string {
                kept.push(character);
            }
            before = character;
        }
        kept
    };
    source.text.lines().enumerate().map(|(i, line)| (i + 1, strip(line))).collect()
}

/// The lines of code that are not tests: up to the tests at a module's foot.
fn product_code(source: &Source) -> Vec<(usize, String)> {
    let for_tests = ["tests.rs", "conformance.rs", "testing.rs"];
    if for_tests.iter().any(|name| source.path.ends_with(name)) {
        return Vec::new();
    }
    let lines = code(source);
    let tests = lines.windows(2).position(|pair| {
        pair[0].1.trim() == "#[cfg(test)]" && pair[1].1.trim().starts_with("mod tests {")
    });
    lines[..tests.unwrap_or(lines.len())].to_vec()
}

fn module_of(path: &str) -> Option<&str> {
    let inner = path.strip_prefix("src/")?;
    let first = inner.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first))
}

fn layer_of(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

fn layering(source: &Source) -> Vec<String> {
    let module = module_of(&source.path).unwrap_or_default();
    if matches!(module, "lib" | "main") {
        return Vec::new();
    }
    let Some(own) = layer_of(module) else {
        return vec![format!("{}: {module} is in no layer; add it to LAYERS", source.path)];
    };
    let mut found = Vec::new();
    for (line, text) in product_code(source) {
        for rest in text.split("crate::").skip(1) {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let other = &rest[..end];
            if other == module {
                continue;
            }
            let allowed = layer_of(other).is_some_and(|layer| layer < own)
                && !FORBIDDEN.contains(&(module, other));
            if !allowed {
                found.push(format!("{}:{line}: {module} may not import {other}", source.path));
            }
        }
    }
    found
}

fn places(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (line, text) in product_code(source) {
        for (word, allowed) in PLACES {
            let here = allowed.iter().any(|place| source.path.starts_with(place));
            if !here && has_word(&text, word) {
                found.push(format!("{}:{line}: only {allowed:?} may say {word}", source.path));
            }
        }
    }
    found
}

/// Whether a word begins in a text at the edge of a name.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(index, _)| {
        let before = text[..index].chars().next_back();
        let after = text[index + word.len()..].chars().next();
        let is_name = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !is_name(before) && (word.ends_with('!') || !is_name(after) || word.ends_with("var"))
    })
}

fn banned(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (line, text) in product_code(source) {
        for word in BANNED {
            if text.contains(word) {
                found.push(format!("{}:{line}: {word} has no place here", source.path));
            }
        }
    }
    found
}

fn shape(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let path = &source.path;
    if !source.text.starts_with("//!") {
        found.push(format!("{path}:1: a file begins with `//!` and says what it is for"));
    }
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        found.push(format!("{path}: {lines} lines, more than {FILE_LINES_MAX}"));
    }
    for (index, line) in source.text.lines().enumerate() {
        let number = index + 1;
        if line.chars().count() > LINE_COLUMNS_MAX {
            found.push(format!("{path}:{number}: longer than {LINE_COLUMNS_MAX} columns"));
        }
        if !line.is_ascii() {
            found.push(format!("{path}:{number}: not ASCII"));
        }
        if line.contains('\t') || line.ends_with(' ') {
            found.push(format!("{path}:{number}: a tab or a blank at the end"));
        }
    }
    found
}

/// Functions are found by indentation, which rustfmt guarantees: one ends at the
/// next line of its own indentation that begins with a brace.
fn functions(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let head = trimmed
            .trim_start_matches("pub ")
            .trim_start_matches("pub(crate) ")
            .trim_start_matches("const ");
        if !head.starts_with("fn ") || trimmed.ends_with(';') {
            continue;
        }
        let indentation = &line[..line.len() - trimmed.len()];
        let end = lines[index..].iter().position(|line| *line == format!("{indentation}}}"));
        let length = end.map_or(0, |end| end + 1);
        if length > FUNCTION_LINES_MAX {
            let path = &source.path;
            found.push(format!("{path}:{}: a function of {length} lines", index + 1));
        }
    }
    found
}

/// Files that no `mod` declares.
fn forgotten(files: &[Source]) -> Vec<String> {
    let declared: BTreeSet<String> = files.iter().flat_map(declared_by).collect();
    let is_top = |path: &str| {
        ["src/lib.rs", "src/main.rs", "tests/main.rs", "tests/tidy.rs"].contains(&path)
    };
    files
        .iter()
        .filter(|source| !is_top(&source.path) && !declared.contains(&source.path))
        .map(|source| format!("{}: no `mod` declares this file", source.path))
        .collect()
}

fn declared_by(source: &Source) -> Vec<String> {
    let path = Path::new(&source.path);
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let folder = path.parent().unwrap();
    let folder = match stem {
        "mod" | "lib" | "main" => folder.to_owned(),
        _ => folder.join(stem),
    };
    let mut declared = Vec::new();
    for (_, text) in code(source) {
        let text = text.trim().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        if let Some(name) = text.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
            declared.push(format!("{}/{name}.rs", folder.display()));
            declared.push(format!("{}/{name}/mod.rs", folder.display()));
        }
    }
    declared
}

/// Machine paths and hosts of package registries; written in pieces, so that
/// this file does not find itself.
fn leaks(source: &Source) -> Vec<String> {
    let words = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("crates", ".io"),
        concat!("py", "pi.org"),
        concat!("registry.np", "mjs"),
        concat!("deb.deb", "ian.org"),
    ];
    let mut found = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        for word in words {
            if line.contains(word) {
                found.push(format!("{}:{}: names {word}", source.path, index + 1));
            }
        }
    }
    found
}

fn all_text_files() -> Vec<Source> {
    let mut found = [sources("src"), sources("tests")].concat_all();
    for folder in ["", "docs", "scripts", ".ci", ".cargo"] {
        for entry in fs::read_dir(root().join(folder)).unwrap().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_file()
                && name != "Cargo.lock"
                && let Ok(text) = fs::read_to_string(&path)
            {
                found.push(Source { path: format!("{folder}/{name}"), text });
            }
        }
    }
    found
}

trait ConcatAll {
    fn concat_all(self) -> Vec<Source>;
}

impl ConcatAll for [Vec<Source>; 2] {
    fn concat_all(self) -> Vec<Source> {
        self.into_iter().flatten().collect()
    }
}

#[test]
fn modules_import_downwards_only() {
    for bad in ["use crate::repository::Writer;", "use crate::nowhere::X;", "crate::cli::main()"] {
        assert_eq!(layering(&sample("src/store/x.rs", bad)).len(), 1, "{bad}");
    }
    assert!(!layering(&sample("src/gc/x.rs", "use crate::ingest::create;")).is_empty());
    assert!(!layering(&sample("src/store/x.rs", "use crate::dag::Tree;")).is_empty());
    assert!(!layering(&sample("src/novel/mod.rs", "")).is_empty());
    assert!(layering(&sample("src/gc/x.rs", "use crate::store::Store; // crate::cli")).is_empty());
    enforce(&sources("src"), layering);
}

#[test]
fn only_the_named_modules_name_what_is_theirs() {
    for bad in ["use rocksdb::DB;", "println!(1)", "std::env::var(x)", "let x = clap::Arg;"] {
        assert_eq!(places(&sample("src/gc/x.rs", bad)).len(), 1, "{bad}");
    }
    assert!(places(&sample("src/gc/x.rs", "// println!\nlet x = \"clap\";")).is_empty());
    enforce(&sources("src"), places);
}

#[test]
fn nothing_that_may_panic_or_is_unfinished_is_left_in_the_code() {
    for bad in ["x.unwrap()", "todo!()", "panic!(\"x\")", "#[ignore]"] {
        assert_eq!(banned(&sample("src/gc/x.rs", bad)).len(), 1, "{bad}");
    }
    let tests = "#[cfg(test)]\nmod tests {\n x.unwrap()\n}";
    assert!(banned(&sample("src/gc/x.rs", tests)).is_empty());
    enforce(&sources("src"), banned);
}

#[test]
fn files_are_small_and_say_what_they_are_for() {
    assert_eq!(shape(&sample("src/x.rs", "fn x() {} \n")).len(), 2);
    assert_eq!(shape(&sample("src/x.rs", &format!("//! {}\n", "x".repeat(100)))).len(), 1);
    assert_eq!(shape(&sample("src/x.rs", &format!("//!{}", "\n//".repeat(600)))).len(), 1);
    enforce(&sources("src"), shape);
    enforce(&sources("tests"), shape);
    let mut lengths: Vec<_> = sources("src").iter().map(|s| s.text.lines().count()).collect();
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= FILE_LINES_MEDIAN_MAX, "the median file has {median} lines");
}

#[test]
fn functions_are_small() {
    let long = format!("    pub fn x() {{\n{}    }}\n", "        y();\n".repeat(80));
    assert_eq!(functions(&sample("src/x.rs", &long)).len(), 1);
    assert!(functions(&sample("src/x.rs", "fn x();\nfn y() {\n}\n")).is_empty());
    enforce(&sources("src"), functions);
    enforce(&sources("tests"), functions);
}

#[test]
fn no_file_is_forgotten() {
    let lost = [sample("src/lib.rs", "mod a;"), sample("src/a.rs", ""), sample("src/b.rs", "")];
    assert_eq!(forgotten(&lost).len(), 1);
    for folder in ["src", "tests"] {
        let found = forgotten(&sources(folder));
        assert!(found.is_empty(), "\n{}", found.join("\n"));
    }
}

#[test]
fn there_are_two_integration_binaries_and_both_are_named() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("autotests = false"));
    assert_eq!(manifest.matches("[[test]]").count(), 2);
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    assert_eq!(leaks(&sample("x", &["see ", "/wo", "rk/x"].concat())).len(), 1);
    enforce(&all_text_files(), leaks);
}
