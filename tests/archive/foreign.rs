//! Tars made elsewhere: every form that GNU tar and Python write comes in whole.

use std::path::Path;

use super::untar;
use crate::support::args;
use crate::support::command::run_tool;
use crate::support::compare::{Rules, assert_same};
use crate::support::fixture::{SEED, plain_tree};
use crate::support::generate::{directory, file, link, mtime, owner, sparse, symlink};
use crate::support::mount::Mount;
use crate::support::need::{is_root, require_fuse};
use crate::support::repo::{Repo, id_of};
use crate::support::scratch::Scratch;
use crate::support::tree::{Shape, generate};

/// Imports a tar and compares the snapshot with the tree that it was made of.
#[track_caller]
fn comes_back(repo: &Repo, source: &Path, archive: &Path, rules: Rules) {
    let imported = repo.ok(args!["import", "--json", archive]).last_json_line();
    assert!(imported["kind"].is_null(), "{imported}");
    if require_fuse() {
        let mount = Mount::new(repo);
        assert_same(source, &mount.snapshot(&id_of(&imported)), rules);
        mount.unmount();
    }
}

#[test]
fn all_that_gnu_tar_keeps_in_the_pax_format_comes_in() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    generate(&source, SEED, Shape::SMALL);
    let repo = Repo::new();
    let rules = Rules { sockets: false, ..Rules::ALL };
    for version in ["0.0", "0.1", "1.0"] {
        let archive = scratch.join(&format!("{version}.tar"));
        let form = format!("--sparse-version={version}");
        let keep = ["--format=posix", "--xattrs", "--xattrs-include=*", "--acls", "--sparse"];
        let mut command = args!["-c", "-f", &archive, "-C", &source, form].to_vec();
        command.extend(keep.map(Into::into));
        command.push(".".into());
        run_tool("tar", command);
        // GNU tar forgets that two pipes are one: what it unpacks is what it kept.
        let kept = scratch.join(&format!("of-{version}"));
        untar(&archive, &kept);
        comes_back(&repo, &kept, &archive, rules);
    }
    repo.ok(["check", "--read-data"]);
}

/// A tree of what old formats can hold: whole seconds, no attributes.
fn modest(source: &Path) {
    plain_tree(source, 3, 25, 10_000);
    directory(&source.join("empty"));
    let long = directory(&source.join("n".repeat(120)).join("m".repeat(130))).to_owned();
    file(&long.join("deep"), b"deep");
    symlink(&source.join("far"), &b"x/".repeat(90));
    link(&source.join("directory-0/file-0"), &source.join("again"));
    sparse(&source.join("holes"), 9 << 20, &[(4 << 20, &[7; 8192]), (8 << 20, &[8; 4096])]);
    if is_root() {
        owner(&source.join("again"), 3_000_000, 4_000_000);
    }
    let script = "find \"$1\" -print0 | xargs -0 touch --no-dereference -d @1600000000";
    run_tool("bash", args!["-c", script, "bash", source]);
    file(&source.join("before-1970"), b"old");
    mtime(&source.join("before-1970"), -1000, 0);
    mtime(source, 1_500_000_000, 0);
}

#[test]
fn old_formats_and_every_packing_come_in() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    modest(&source);
    let repo = Repo::new();
    for (format, packing) in [("gnu", "-z"), ("gnu", "--zstd"), ("oldgnu", "-S")] {
        let archive = scratch.join("a.tar");
        let format = format!("--format={format}");
        let sparse = "--sparse";
        run_tool("tar", args!["-c", packing, sparse, "-f", &archive, "-C", &source, format, "."]);
        comes_back(&repo, &source, &archive, Rules::ALL);
    }
}

#[test]
fn what_python_writes_comes_in() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    plain_tree(&source, 4, 12, 5_000);
    symlink(&source.join("link"), b"directory-0");
    let repo = Repo::new();
    for format in ["PAX", "GNU", "USTAR"] {
        let archive = scratch.join("a.tar");
        let script = format!(
            "import sys, tarfile\n\
             with tarfile.open(sys.argv[1], 'w', format=tarfile.{format}_FORMAT) as archive:\n\
             \x20   archive.add(sys.argv[2], arcname='.')\n"
        );
        run_tool("python3", args!["-c", script, &archive, &source]);
        let imported = repo.ok(args!["import", "--json", &archive]).last_json_line();
        let to = scratch.join(&format!("to-{format}"));
        repo.ok(args!["import", &archive, "--to", &to]);
        assert_eq!(imported["files"], 13);
        run_tool("diff", args!["-r", &source, &to]);
    }
}

#[test]
fn a_dump_comes_in_again_as_the_tree_that_it_was() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    generate(&source, SEED, Shape::SMALL);
    let repo = Repo::new();
    let id = repo.create(&source);
    let archive = scratch.join("a.tar.zst");
    let named = format!("{id}:{}", source.display());
    repo.ok(args!["dump", named, "-o", &archive]);
    comes_back(&repo, &source, &archive, Rules { sockets: false, ..Rules::ALL });
}

#[test]
fn labels_of_a_tar_are_those_of_the_command() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    plain_tree(&source, 4, 3, 5_000);
    let archive = scratch.join("a.tar");
    run_tool("tar", args!["-c", "-f", &archive, "-C", &source, "directory-0/file-1"]);
    let repo = Repo::new();
    let labels = ["--host", "elsewhere", "--time", "2020-02-03T04:05:06Z", "--tag", "old"];
    let mut command = args!["import", "--json", &archive, "--description", "found"].to_vec();
    command.extend(labels.map(Into::into));
    repo.ok(command);
    let list = repo.list_json();
    assert_eq!(list[0]["host"], "elsewhere");
    assert_eq!(list[0]["time"], "2020-02-03T04:05:06Z");
    assert_eq!(list[0]["description"], "found");
    assert_eq!(list[0]["tags"], serde_json::json!(["old"]));
    assert_eq!(list[0]["files"], 1);
    repo.run(args!["import", "--time", "soon", &archive]).fails(2, &["--time"]);
}
