//! Manifests, verified by the `sha256sum` of the machine.

use std::ffi::OsString;
use std::path::Path;

use super::inside;
use crate::support::args;
use crate::support::command::{Outcome, run_tool, try_tool};
use crate::support::fixture::Fixture;
use crate::support::generate::{directory, file, link, named, sparse, symlink};
use crate::support::need::require_fuse;
use crate::support::repo::{Repo, count_of};
use crate::support::rng::Rng;
use crate::support::rot::rot_chunk;
use crate::support::scratch::Scratch;
use crate::support::tools::cp_copy;
use crate::support::tree::{Shape, generate};

const ODD_NAMES: [&[u8]; 10] = [
    b"new\nline",
    b"back\\slash",
    b"\\",
    b"carriage\rreturn",
    b"\xff\xfe",
    b" blank ",
    b"*star",
    b"-",
    b"end\r",
    b"\\n",
];

/// Runs `sha256sum -c` on a manifest in a directory.
fn verify(manifest: &Path, directory: &Path) -> Outcome {
    let script = "cd -- \"$2\" && sha256sum --quiet --strict --check -- \"$1\"";
    try_tool("bash", args!["-c", script, "bash", manifest, directory])
}

/// Writes a manifest and returns how many lines it has.
fn write(repo: &Repo, arguments: &[OsString], path: &Path) -> usize {
    let outcome = repo.ok(args!["manifest"].iter().chain(arguments));
    file(path, &outcome.stdout);
    outcome.stdout.iter().filter(|byte| **byte == b'\n').count()
}

#[test]
fn sha256sum_verifies_a_restored_tree_with_names_of_any_bytes() {
    if !require_fuse() {
        return;
    }
    let fixture = Fixture::built(|source| {
        generate(source, 7, Shape { dense: true, ..Shape::SMALL });
        let odd = source.join("odd");
        directory(&odd);
        for name in ODD_NAMES {
            file(&named(&odd, name), name);
        }
        sparse(&odd.join("holes"), 5 << 20, &[(1 << 20, b"data"), ((5 << 20) - 1, b"x")]);
        file(&odd.join("chunks"), &Rng::new(1).bytes(1_000_000));
        link(&odd.join("chunks"), &odd.join("chunks-too"));
        symlink(&odd.join("symlink"), b"chunks");
    });
    let (repo, source) = (&fixture.repo, &fixture.source);
    let mount = fixture.mount();
    let copy = fixture.scratch.join("copy");
    cp_copy(&fixture.in_mount(&mount), &copy);
    mount.unmount();
    let manifest = fixture.scratch.join("manifest");
    let lines = write(repo, &args![inside("latest", source)], &manifest);
    let files = run_tool("find", args![source, "-type", "f", "-printf", "x\n"]).text();
    assert_eq!(lines, files.lines().count(), "each regular file has a line");
    let verified = verify(&manifest, &copy);
    assert_eq!((verified.code, verified.error().as_str()), (0, ""), "{}", verified.text());
    // The directory alone, in which a dash would mean standard input.
    write(repo, &args![inside("latest", &source.join("odd"))], &manifest);
    assert_eq!(verify(&manifest, &copy.join("odd")).code, 0);
    // The running system, by a prefix.
    write(repo, &args!["latest", "--prefix", "/"], &manifest);
    assert_eq!(verify(&manifest, Path::new("/tmp")).code, 0);
    file(&source.join("odd/chunks"), b"changed");
    let failed = verify(&manifest, Path::new("/"));
    assert_eq!(failed.code, 1);
    assert_eq!(failed.text().lines().count(), 2, "both names of the file: {}", failed.text());
    let one = repo.ok(args!["manifest", inside("latest", &source.join("odd/holes"))]).text();
    assert!(one.ends_with("  holes\n"), "{one}");
    let summary = repo.ok(["manifest", "--json"]).last_json_line();
    assert_eq!(count_of(&summary, "files"), lines as u64);
    assert!(count_of(&summary, "read_files") > 0, "those with holes are read: {summary}");
}

#[test]
fn with_null_nothing_is_escaped_and_names_that_are_no_files_are_refused() {
    let fixture = Fixture::built(|source| {
        file(&named(directory(source), b"new\nline\\"), b"x");
        symlink(&source.join("link"), b"x");
    });
    let (repo, source) = (&fixture.repo, &fixture.source);
    let outcome = repo.ok(args!["manifest", "-z", inside("latest", source)]);
    let sum = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    assert_eq!(outcome.text(), format!("{sum}  new\nline\\\0"));
    let link = inside("latest", &source.join("link"));
    repo.run(args!["manifest", link]).fails(1, &["neither a directory nor a regular file"]);
    repo.run(["manifest", "latest:no/such"]).fails(1, &["no/such"]);
    repo.run(["manifest", "nothing"]).fails(1, &["nothing"]);
}

#[test]
fn a_damaged_file_is_named_the_others_have_their_lines_and_the_code_is_4() {
    let mut rng = Rng::new(5);
    let victim = rng.bytes(12_288);
    let fixture = Fixture::built(|source| {
        file(&directory(source).join("before"), &rng.bytes(30_000));
        // The hash of what has holes is not kept, so it has to be read.
        sparse(&source.join("victim"), 1 << 20, &[(0, &victim)]);
        file(&source.join("with"), &rng.bytes(30_000));
    });
    let (repo, named) = (&fixture.repo, inside("latest", &fixture.source));
    let whole = repo.ok(args!["manifest", &named]).text();
    assert_eq!(whole.lines().count(), 3, "{whole}");
    rot_chunk(repo, victim.len());
    let outcome = repo.run(args!["manifest", &named]).expect(4);
    let expected: Vec<_> = whole.lines().filter(|line| !line.ends_with("  victim")).collect();
    assert_eq!(outcome.text().lines().collect::<Vec<_>>(), expected);
    outcome.fails(4, &["victim", "cannot be read"]);
    let json = repo.run(args!["manifest", "--json", &named]).expect(4);
    let summary = json.last_json_line();
    assert_eq!((count_of(&summary, "files"), count_of(&summary, "damaged")), (2, 1), "{summary}");
    // One damaged file alone is said the same way.
    let alone = inside("latest", &fixture.source.join("victim"));
    repo.run(args!["manifest", alone]).fails(4, &["victim"]);
}

#[test]
fn usr_share_is_verified_where_it_is() {
    let repo = Repo::new();
    repo.create(Path::new("/usr/share"));
    let scratch = Scratch::new();
    let manifest = scratch.join("manifest");
    assert!(write(&repo, &args!["latest", "--prefix", "/"], &manifest) > 1_000);
    let verified = verify(&manifest, Path::new("/"));
    assert_eq!((verified.code, verified.text().as_str()), (0, ""));
}
