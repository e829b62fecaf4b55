//! What documents say of tests is so: each test, module and file that they name
//! is there, and each promise names a test.

use std::collections::BTreeSet;
use std::fs;

use super::text::name_after;
use super::{Source, root, sources};

/// The tests of a file, named as `cargo test` names them.
fn tests_of(source: &Source) -> Vec<String> {
    let path = source.path.trim_start_matches("src/").trim_start_matches("tests/");
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
    let mut inner = "";
    let mut marked = false;
    let mut found = Vec::new();
    for line in source.text.lines().map(str::trim) {
        if line == "mod tests {" {
            inner = "::tests";
        }
        marked |= line.starts_with("#[test]");
        if let Some(name) = name_after(line, "fn ").filter(|_| marked) {
            found.push(format!("{path}{inner}::{name}"));
            marked = false;
        }
    }
    found
}

/// The names of tests or modules, and those of source files, that stand in a
/// text between backquotes.
fn names_in(text: &str) -> (Vec<&str>, Vec<&str>) {
    let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let is_path = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c);
    let (tests, rest): (Vec<_>, Vec<_>) =
        quoted.partition(|word| word.contains("::") && word.chars().all(is_path));
    let is_file = |word: &&str| {
        let is_source = word.starts_with("src/") || word.starts_with("tests/");
        is_source && word.ends_with(".rs") && !word.contains('*')
    };
    (tests, rest.into_iter().filter(is_file).collect())
}

/// What a document names and what is not there.
fn missing(document: &str, text: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let (names, files) = names_in(text);
    let is_known = |name: &str| {
        let module = format!("{name}::");
        tests.contains(name) || tests.iter().any(|test| test.starts_with(&module))
    };
    let lost = names.into_iter().filter(|name| !is_known(name));
    let lost = lost.map(|name| format!("{document}: there is no test {name}"));
    let gone = files.into_iter().filter(|file| !root().join(file).is_file());
    lost.chain(gone.map(|file| format!("{document}: there is no file {file}"))).collect()
}

/// Rows of tables of promises that no test shows; a module is not enough.
fn unproved(document: &str, text: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.contains("| shown by |"));
    let bare = rows.filter(|row| !names_in(row).0.iter().any(|name| tests.contains(*name)));
    bare.map(|row| format!("{document}: no test shows: {row}")).collect()
}

#[test]
fn documents_name_tests_that_exist_and_each_promise_names_one() {
    let sample = Source {
        path: "src/gc/x.rs".to_owned(),
        text: "#[test]\nfn a() {}\nfn b() {}\nmod tests {\n#[test]\n// c\nfn c() {}".to_owned(),
        for_tests: false,
    };
    let known: BTreeSet<_> = tests_of(&sample).into_iter().collect();
    assert_eq!(known, ["gc::x::a", "gc::x::tests::c"].map(String::from).into());
    let good = "`gc::x::a` `gc::x::tests::c`, `gc::x`, `src/lib.rs`, `A::b`, `src/*/x.rs`";
    assert_eq!(missing("y", good, &known), Vec::<String>::new());
    for bad in ["`gc::x::b`", "a `b`\n| `gc::x::c` |", "`gc::y`", "`src/x.rs`", "`tests/x.rs`"] {
        assert_eq!(missing("y", bad, &known).len(), 1, "{bad}");
    }
    let rows = "| promise | shown by |\n|---|---|\n| a | `gc::x::a` |\n| b | `gc::x` |\n| c | |";
    assert_eq!(unproved("y", rows, &known).len(), 2);

    let tests: BTreeSet<_> =
        sources("src").iter().chain(&sources("tests")).flat_map(tests_of).collect();
    let mut found = Vec::new();
    let promising = ["docs/guarantees.md", "docs/threat-model.md"];
    for document in promising.into_iter().chain(["docs/testing.md", "docs/gc.md"]) {
        let text = fs::read_to_string(root().join(document)).unwrap();
        assert!(!names_in(&text).0.is_empty(), "{document} names no test");
        found.extend(missing(document, &text, &tests));
        if promising.contains(&document) {
            found.extend(unproved(document, &text, &tests));
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}
