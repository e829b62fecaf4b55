//! `icecore ls`: lists a directory of a snapshot.

use std::os::unix::ffi::OsStrExt as _;

use serde::Serialize;

use crate::base::id::hex;
use crate::base::name::printable;
use crate::cli::args::LsArguments;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::Output;
use crate::dag::{Kind, Node, TreeRef};
use crate::repository::{Reader, Step};

/// The fields of an entry in JSON; others may rely on their names.
#[derive(Serialize)]
struct Facts {
    path: String,
    kind: &'static str,
    mode: String,
    uid: u32,
    gid: u32,
    user: String,
    group: String,
    size: u64,
    mtime: String,
    links: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

pub(crate) fn run(context: &Context, arguments: &LsArguments) -> Result<Outcome, CommandError> {
    let reader = context.reader()?;
    let named = reader.find_snapshot_path(arguments.directory.as_bytes(), context.now)?;
    let _lease = reader.lease(named.id)?;
    let node = reader.resolve(&named)?;
    let mut lister = Lister { context, arguments, output: Output::new(), facts: Vec::new() };
    match &node.kind {
        Kind::Directory(tree) => lister.directory(&reader, tree)?,
        _ => lister.entry(&named.path, &node)?,
    }
    if context.json {
        lister.output.json(&lister.facts)?;
    }
    lister.output.finish()?;
    Ok(Outcome::Done)
}

struct Lister<'a> {
    context: &'a Context,
    arguments: &'a LsArguments,
    output: Output,
    facts: Vec<Facts>,
}

impl Lister<'_> {
    /// Lists a directory, and with `--recursive` what is below, in the order of
    /// paths.
    fn directory(&mut self, reader: &Reader, root: &TreeRef) -> Result<(), CommandError> {
        let mut walk = reader.walk(root);
        while let Some(step) = walk.step()? {
            let Step::Entry(node) = step else { continue };
            self.entry(walk.path(), &node)?;
            if !self.arguments.recursive {
                walk.skip();
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &[u8], node: &Node) -> Result<(), CommandError> {
        if self.context.json {
            self.facts.push(facts(path, node));
            return Ok(());
        }
        let mut line = Vec::new();
        if self.arguments.long {
            let owner = |name: &str, number: u32| match name {
                "" => number.to_string(),
                name => printable(name.as_bytes()),
            };
            let size = match &node.kind {
                Kind::BlockDevice(device) | Kind::CharDevice(device) => {
                    format!("{}, {}", device.major, device.minor)
                }
                _ => node.size().to_string(),
            };
            line = format!(
                "{} {:>3} {:<8} {:<8} {size:>12} {} ",
                mode_text(node),
                node.link_count(),
                owner(&node.owner.user, node.owner.uid),
                owner(&node.owner.group, node.owner.gid),
                node.mtime.to_local_text(),
            )
            .into_bytes();
        }
        line.extend(self.output.name(path));
        if let (true, Kind::Symlink(target)) = (self.arguments.long, &node.kind) {
            line.extend_from_slice(b" -> ");
            line.extend(self.output.name(target));
        }
        line.push(b'\n');
        self.output.raw(&line)
    }
}

fn facts(path: &[u8], node: &Node) -> Facts {
    let (target, sha256) = match &node.kind {
        Kind::Symlink(target) => (Some(printable(target)), None),
        Kind::File(content) => (None, content.known_sha256().map(|digest| hex(&digest))),
        _ => (None, None),
    };
    Facts {
        path: printable(path),
        kind: kind_name(&node.kind),
        mode: format!("{:04o}", node.mode),
        uid: node.owner.uid,
        gid: node.owner.gid,
        user: node.owner.user.to_string(),
        group: node.owner.group.to_string(),
        size: node.size(),
        mtime: node.mtime.to_rfc3339(),
        links: node.link_count(),
        target,
        sha256,
    }
}

const fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::File(_) => "file",
        Kind::Directory(_) => "directory",
        Kind::Symlink(_) => "symlink",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
        Kind::BlockDevice(_) => "block device",
        Kind::CharDevice(_) => "character device",
    }
}

/// The ten characters of `ls -l`.
fn mode_text(node: &Node) -> String {
    let mut text = String::with_capacity(10);
    text.push(match node.kind {
        Kind::File(_) => '-',
        Kind::Directory(_) => 'd',
        Kind::Symlink(_) => 'l',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
        Kind::BlockDevice(_) => 'b',
        Kind::CharDevice(_) => 'c',
    });
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = node.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, node.mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}
