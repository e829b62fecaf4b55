//! What other tools say of two trees.

use std::path::Path;

use super::args;
use super::command::{run_tool, try_tool};

/// Packs a directory, in an order and a form that depend on nothing else: later
/// forms of sparse members have the process id in their names.
const TAR: &str = "tar --create --file=- --directory=\"$1\" --sparse --sparse-version=0.0 --xattrs \
    --xattrs-include='*' --acls --format=posix --sort=name --numeric-owner \
    --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime .";
const UNTAR: &str = "tar --extract --file=- --directory=\"$2\" --xattrs \
    --xattrs-include='*' --acls --numeric-owner --preserve-permissions";

/// Fails unless rsync finds the same on both sides, in both directions.
#[track_caller]
pub(crate) fn rsync_sees_no_difference(left: &Path, right: &Path) {
    for (from, to) in [(left, right), (right, left)] {
        let options = ["-aHAXn", "--checksum", "--itemize-changes", "--delete"];
        let mut command = args![from.join(""), to.join("")].to_vec();
        command.splice(0..0, options.map(Into::into));
        let listed = run_tool("rsync", command).text();
        assert!(listed.is_empty(), "rsync {} to {}:\n{listed}", from.display(), to.display());
    }
}

/// Fails unless `diff -r` prints nothing. What it says of two special files of
/// the same kind is no difference: it never compares such.
#[track_caller]
pub(crate) fn diff_prints_nothing(left: &Path, right: &Path) {
    let outcome = try_tool("diff", args!["-r", "--no-dereference", left, right]);
    assert!(outcome.code < 2, "diff: {}", outcome.error());
    let text = outcome.text();
    let said: Vec<_> = text.lines().filter(|line| !same_kind(line)).take(20).collect();
    assert_eq!(said, [""; 0], "diff {} {}", left.display(), right.display());
}

fn same_kind(line: &str) -> bool {
    ["fifo", "socket", "character special file", "block special file"].iter().any(|kind| {
        line.starts_with("File ") && line.matches(&format!(" is a {kind}")).count() == 2
    })
}

/// The digest of what `tar` packs of a directory. Two file systems that list the
/// attributes of a file in two orders give two digests.
#[track_caller]
pub(crate) fn tar_digest(directory: &Path) -> String {
    let script = format!("set -o pipefail; {TAR} | sha256sum");
    let digest = run_tool("bash", args!["-c", script, "bash", directory]).text();
    assert_eq!(digest.trim_end_matches([' ', '-', '\n']).len(), 64, "{digest}");
    digest
}

/// Packs a directory and unpacks it elsewhere.
#[track_caller]
pub(crate) fn tar_copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a directory can be made");
    let script = format!("set -o pipefail; {TAR} | {UNTAR}");
    run_tool("bash", args!["-c", script, "bash", from, to]);
}

/// Copies a tree as `cp -a` does.
#[track_caller]
pub(crate) fn cp_copy(from: &Path, to: &Path) {
    run_tool("cp", args!["-a", from, to]);
}
