//! Keeps the code base as it is meant to be: layers point downwards, files and
//! functions stay small, nothing is forgotten, and only the named modules name
//! certain things. Each rule is shown to fire on a bad sample.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy/named.rs"]
mod named;
#[path = "tidy/text.rs"]
mod text;

use text::{code, has_word, item_lines, name_after};

/// The layers, from the ground up: a module, its layer, and the highest layer
/// that it may import. Never another module of its own layer.
const LAYERS: [(&str, u8, u8); 27] = [
    ("base", 0, 0),
    ("chunking", 1, 0),
    ("compression", 1, 0),
    ("dag", 1, 0),
    ("store", 2, 0),
    ("local", 2, 1),
    ("repository", 3, 2),
    ("ingest", 4, 3),
    ("gc", 4, 3),
    ("audit", 4, 3),
    ("view", 5, 3),
    ("fuse", 6, 5),
    ("cli", 7, 6),
    // Tests alone.
    ("life", 8, 7),
    ("fuzzing", 8, 7),
    // Later verbs and pure parts have their places ready.
    ("crypto", 1, 0),
    ("patterns", 1, 0),
    ("retention", 1, 0),
    ("restore", 4, 3),
    ("check", 4, 3),
    ("repair", 4, 3),
    ("diff", 4, 3),
    ("export", 4, 3),
    ("archive", 4, 3),
    ("find", 4, 3),
    ("statistics", 4, 3),
    ("replicate", 4, 3),
];
/// Modules that may import these and nothing else.
const ONLY: [(&str, &[&str]); 2] = [
    ("fuse", &["base", "dag", "repository", "view"]),
    ("audit", &["base", "crypto", "repository"]),
];
const FILE_LINES_MAX: usize = 600;
const FILE_LINES_MEDIAN_MAX: usize = 250;
const FUNCTION_LINES_MAX: usize = 80;
const LINE_COLUMNS_MAX: usize = 100;
/// Functions that may be longer: file, name, reason.
const LONG_FUNCTIONS: [(&str, &str, &str); 0] = [];
/// Words that only these places may use in code.
const PLACES: [(&str, &[&str]); 16] = [
    ("rocksdb", &["src/store/rocks"]),
    ("fuser", &["src/fuse/"]),
    ("clap", &["src/cli/"]),
    ("println!", &["src/cli/"]),
    ("print!", &["src/cli/"]),
    ("eprintln!", &["src/cli/"]),
    ("eprint!", &["src/cli/"]),
    ("io::stdout", &["src/cli/"]),
    ("io::stderr", &["src/cli/"]),
    ("process::exit", &["src/cli/"]),
    ("env::var", &["src/cli/"]),
    ("env::var_os", &["src/cli/"]),
    ("env::vars", &["src/cli/"]),
    ("env::vars_os", &["src/cli/"]),
    ("env::args", &["src/cli/"]),
    ("env::args_os", &["src/cli/"]),
];
/// Words that no code may use, tests included.
const UNFINISHED: [&str; 4] = ["todo!", "unimplemented!", "dbg!", "#[ignore"];
/// Words that no code outside of tests may use, unless a comment on the line or
/// the one before says `tidy: ` and why.
const RISKY: [&str; 5] = ["unsafe", ".unwrap()", ".expect(", "panic!", "unreachable!"];

struct Source {
    path: String,
    text: String,
    /// Compiled for tests only.
    for_tests: bool,
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
                found.push(Source { path, text, for_tests: false });
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {folder}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    let tests = test_only(&found);
    for source in &mut found {
        source.for_tests = tests.contains(&source.path);
    }
    found
}

/// Runs a rule over files and fails with all that it found.
fn enforce(files: &[Source], rule: impl Fn(&Source) -> Vec<String>) {
    let found: Vec<String> = files.iter().flat_map(rule).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

fn sample(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned(), for_tests: false }
}

/// The lines of code that are not tests, numbered: without modules under
/// `#[cfg(test)]`.
fn product_code(source: &Source) -> Vec<(usize, String)> {
    if source.for_tests {
        return Vec::new();
    }
    let text = code(&source.text);
    let lines: Vec<&str> = text.lines().collect();
    let mut kept = Vec::new();
    let mut index = 0;
    while index < lines.len() {
        let is_tests = lines[index].trim() == "#[cfg(test)]"
            && lines.get(index + 1).is_some_and(|next| has_word(next, "mod") && next.contains('{'));
        if is_tests {
            index += 1 + item_lines(&lines[index + 1..]);
        } else {
            kept.push((index + 1, lines[index].to_owned()));
            index += 1;
        }
    }
    kept
}

fn module_of(path: &str) -> Option<&str> {
    let inner = path.strip_prefix("src/")?;
    let first = inner.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first))
}

fn layer_of(module: &str) -> Option<(u8, u8)> {
    LAYERS.iter().find(|(name, ..)| *name == module).map(|(_, layer, reach)| (*layer, *reach))
}

fn may_import(module: &str, other: &str) -> bool {
    let (Some((own, reach)), Some((layer, _))) = (layer_of(module), layer_of(other)) else {
        return false;
    };
    let only = ONLY.iter().find(|(name, _)| *name == module);
    layer < own && layer <= reach && only.is_none_or(|(_, all)| all.contains(&other))
}

/// How many `super::` lead from a file to the top of the crate.
fn depth(path: &str) -> usize {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    inner.split('/').count() - usize::from(inner.ends_with("/mod.rs"))
}

fn layering(source: &Source) -> Vec<String> {
    let module = module_of(&source.path).unwrap_or_default();
    if matches!(module, "lib" | "main") {
        return Vec::new();
    }
    if layer_of(module).is_none() {
        return vec![format!("{}: {module} is in no layer; add it to the table", source.path)];
    }
    let out = "super::".repeat(depth(&source.path));
    let mut found = Vec::new();
    for (line, text) in product_code(source) {
        let at = format!("{}:{line}", source.path);
        if text.contains(&out) {
            found.push(format!("{at}: leaves its module by `super`; write `crate::`"));
        }
        for rest in text.split("crate::").skip(1) {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let other = &rest[..end];
            if other.is_empty() {
                found.push(format!("{at}: name one module after `crate::`"));
            } else if other != module && !may_import(module, other) {
                found.push(format!("{at}: {module} may not import {other}"));
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

fn unfinished(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (index, line) in code(&source.text).lines().enumerate() {
        for word in UNFINISHED.iter().filter(|word| has_word(line, word)) {
            found.push(format!("{}:{}: {word} has no place here", source.path, index + 1));
        }
    }
    found
}

fn risky(source: &Source) -> Vec<String> {
    let raw: Vec<&str> = source.text.lines().collect();
    let excused = |line: &str| {
        let reason = line.split_once("//").and_then(|(_, text)| text.split_once("tidy: "));
        reason.is_some_and(|(_, reason)| reason.trim().len() >= 10)
    };
    let mut found = Vec::new();
    for (line, text) in product_code(source) {
        if excused(raw[line - 1]) || (line > 1 && excused(raw[line - 2])) {
            continue;
        }
        for word in RISKY.iter().filter(|word| has_word(&text, word)) {
            let path = &source.path;
            found.push(format!("{path}:{line}: {word} without a comment `tidy: ` that says why"));
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
    for (index, line) in source.text.split('\n').enumerate() {
        let number = index + 1;
        if line.chars().count() > LINE_COLUMNS_MAX {
            found.push(format!("{path}:{number}: longer than {LINE_COLUMNS_MAX} columns"));
        }
        if !line.is_ascii() {
            found.push(format!("{path}:{number}: not ASCII"));
        }
        if line.contains('\t') || line.ends_with(char::is_whitespace) {
            found.push(format!("{path}:{number}: a tab or a blank at the end"));
        }
    }
    found
}

fn functions(source: &Source) -> Vec<String> {
    let text = code(&source.text);
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = name_after(line, "fn ") else {
            continue;
        };
        let length = item_lines(&lines[index..]);
        let path = &source.path;
        let allowed = LONG_FUNCTIONS
            .iter()
            .any(|(file, function, reason)| file == path && *function == name && reason.len() > 9);
        if length > FUNCTION_LINES_MAX && !allowed {
            let number = index + 1;
            found.push(format!("{path}:{number}: {name} has {length} lines, more than 80"));
        }
    }
    found
}

/// Files that no `mod` declares, in steps from the crate's root.
fn forgotten(files: &[Source]) -> Vec<String> {
    let mut reached: BTreeSet<String> =
        ["src/lib.rs", "src/main.rs", "tests/main.rs", "tests/tidy.rs"].map(String::from).into();
    let mut before = 0;
    while reached.len() > before {
        before = reached.len();
        let next = files.iter().filter(|source| reached.contains(&source.path)).flat_map(declared);
        reached.extend(next.map(|(path, _)| path).collect::<Vec<_>>());
    }
    files
        .iter()
        .filter(|source| !reached.contains(&source.path))
        .map(|source| format!("{}: no `mod` declares this file", source.path))
        .collect()
}

/// Files that are compiled for tests only: declared under `#[cfg(test)]`, or by
/// such a file.
fn test_only(files: &[Source]) -> BTreeSet<String> {
    let mut tests: BTreeSet<String> = BTreeSet::new();
    let mut before = usize::MAX;
    while tests.len() != before {
        before = tests.len();
        for source in files {
            let inherited = tests.contains(&source.path);
            let found = declared(source).into_iter().filter(|(_, marked)| *marked || inherited);
            tests.extend(found.map(|(path, _)| path));
        }
    }
    tests
}

/// The files that a file's `mod` lines can mean, and whether `#[cfg(test)]`
/// stands before.
fn declared(source: &Source) -> Vec<(String, bool)> {
    let path = Path::new(&source.path);
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let folder = path.parent().unwrap();
    let folder = match stem {
        "mod" | "lib" | "main" => folder.to_owned(),
        _ => folder.join(stem),
    };
    let mut found = Vec::new();
    let mut marked = false;
    for line in code(&source.text).lines().map(str::trim) {
        marked |= line.starts_with("#[cfg(test)]");
        if let Some(name) = name_after(line, "mod ").filter(|_| line.ends_with(';')) {
            found.push((format!("{}/{name}.rs", folder.display()), marked));
            found.push((format!("{}/{name}/mod.rs", folder.display()), marked));
        }
        marked &= line.is_empty() || line.starts_with("#[");
    }
    found
}

fn manifest(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text.lines().any(|line| line == "autotests = false") {
        found.push("Cargo.toml: without `autotests = false` every file in tests/ links".to_owned());
    }
    let tests = text.lines().filter(|line| *line == "[[test]]").count();
    if tests != 2 {
        found.push(format!("Cargo.toml: {tests} [[test]] entries instead of main and tidy"));
    }
    found
}

/// Machine paths and hosts of package registries; written in pieces, so that
/// this file does not find itself.
fn leaks(source: &Source) -> Vec<String> {
    let words = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("crates", ".io"),
        concat!("py", "pi.org"),
        concat!("pythonho", "sted"),
        concat!("registry.np", "mjs"),
        concat!("proxy.go", "lang"),
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

/// Every file of the checkout, but not build output nor what git keeps.
fn all_files() -> Vec<Source> {
    let mut found = Vec::new();
    let mut work = vec![root()];
    while let Some(directory) = work.pop() {
        if directory.join("CACHEDIR.TAG").exists() {
            continue;
        }
        for entry in fs::read_dir(&directory).unwrap().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && name != ".git" && name != "target" {
                work.push(path);
            } else if kind.is_file() && name != "Cargo.lock" && name != ".git" {
                let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                let path = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.push(Source { path, text, for_tests: false });
            }
        }
    }
    found
}

#[test]
fn modules_of_tests_are_no_product_code() {
    let tests = "a\n#[cfg(test)]\nmod tests {\n b { }\n}\nc";
    let kept: Vec<_> = product_code(&sample("src/x.rs", tests));
    assert_eq!(kept, [(1, "a".to_owned()), (6, "c".to_owned())]);
}

#[test]
fn modules_import_downwards_only() {
    for (module, bad) in [
        ("store", "use crate::repository::Writer;"),
        ("store", "use crate::dag::Tree;"),
        ("store", "use crate::crypto::Key;"),
        ("store", "use crate::nowhere::X;"),
        ("store", "use crate::{base::Id, dag::Tree};"),
        ("dag", "use crate::chunking::X;"),
        ("gc", "use crate::ingest::create;"),
        ("gc", "crate::cli::main()"),
        ("view", "use crate::restore::X;"),
        ("fuse", "use crate::store::Store;"),
        ("fuse", "use crate::gc::collect;"),
        ("gc", "use super::super::ingest::X;"),
    ] {
        let found = layering(&sample(&format!("src/{module}/x.rs"), bad));
        assert_eq!(found.len(), 1, "{module}: {bad}");
    }
    assert_eq!(layering(&sample("src/chunking.rs", "use super::store::X;")).len(), 1);
    assert!(!layering(&sample("src/novel/mod.rs", "")).is_empty());
    let good = "use super::y;\nuse crate::store::Store; // crate::cli\nuse crate::gc::z;";
    assert!(layering(&sample("src/gc/x.rs", good)).is_empty());
    enforce(&sources("src"), layering);
}

#[test]
fn only_the_named_modules_name_what_is_theirs() {
    for (word, _) in PLACES {
        let bad = format!("let x = {word}(1);");
        assert_eq!(places(&sample("src/gc/x.rs", &bad)).len(), 1, "{bad}");
    }
    assert!(places(&sample("src/gc/x.rs", "// println!\nlet x = \"clap\"; xclap();")).is_empty());
    assert!(places(&sample("src/store/rocks/x.rs", "use rocksdb::DB;")).is_empty());
    enforce(&sources("src"), places);
}

#[test]
fn nothing_unfinished_is_left_in_code_or_tests() {
    for bad in ["todo!()", "unimplemented!()", "dbg!(x)", "#[ignore]", "#[ignore = \"x\"]"] {
        assert_eq!(unfinished(&sample("tests/x.rs", bad)).len(), 1, "{bad}");
    }
    enforce(&sources("src"), unfinished);
    enforce(&sources("tests"), unfinished);
}

#[test]
fn what_may_panic_or_is_unsafe_gives_its_reason() {
    for bad in ["unsafe{ x }", "x.unwrap()", "x.expect(\"y\")", "panic!(\"x\")", "unreachable!()"] {
        assert_eq!(risky(&sample("src/gc/x.rs", bad)).len(), 1, "{bad}");
        let excused = format!("// tidy: cannot be empty, see new()\n{bad}");
        assert!(risky(&sample("src/gc/x.rs", &excused)).is_empty(), "{bad}");
        let curt = format!("{bad} // tidy: fine");
        assert_eq!(risky(&sample("src/gc/x.rs", &curt)).len(), 1, "{bad}");
        let tests = format!("#[cfg(test)]\nmod tests {{\n {bad}\n}}\n{bad}");
        assert_eq!(risky(&sample("src/gc/x.rs", &tests)).len(), 1, "{bad}");
    }
    let mut named = [
        sample("src/lib.rs", "#[cfg(test)]\nmod a;\nmod tests;"),
        sample("src/a.rs", "x.unwrap()"),
        sample("src/tests.rs", "x.unwrap()"),
    ];
    let tests = test_only(&named);
    named.iter_mut().for_each(|source| source.for_tests = tests.contains(&source.path));
    assert_eq!(named.map(|source| risky(&source).len()), [0, 0, 1]);
    enforce(&sources("src"), risky);
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
    for head in ["pub fn x()", "pub(super) fn x() -> [u8; 3]", "async unsafe fn x<'a>(_: [u8; 2])"]
    {
        let text = |lines| format!("    {head} {{\n{}    }}\n", "        y({});\n".repeat(lines));
        assert_eq!(functions(&sample("src/x.rs", &text(79))).len(), 1, "{head}");
        assert!(functions(&sample("src/x.rs", &text(78))).is_empty(), "{head}");
    }
    let short = format!("fn x();\nfn y() {{}}\n{}fn z(a: fn()) {{\n}}\n", "x();\n".repeat(90));
    assert!(functions(&sample("src/x.rs", &short)).is_empty());
    enforce(&sources("src"), functions);
    enforce(&sources("tests"), functions);
}

#[test]
fn no_file_is_forgotten() {
    let lost = [
        sample("src/lib.rs", "pub(crate) mod a;\n// mod b;"),
        sample("src/a.rs", "mod c;"),
        sample("src/a/c.rs", ""),
        sample("src/b.rs", ""),
        sample("src/d.rs", "mod e;"),
        sample("src/d/e.rs", ""),
    ];
    assert_eq!(forgotten(&lost).len(), 3);
    for folder in ["src", "tests"] {
        let found = forgotten(&sources(folder));
        assert!(found.is_empty(), "\n{}", found.join("\n"));
    }
}

#[test]
fn there_are_two_integration_binaries_and_both_are_named() {
    assert_eq!(manifest("[[test]]\n[[test]]\n[[test]]\n").len(), 2);
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert_eq!(manifest(&text), Vec::<String>::new());
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    assert_eq!(leaks(&sample("x", &["see ", "/wo", "rk/x"].concat())).len(), 1);
    enforce(&all_files(), leaks);
}
