//! `icecore key list`: the passwords and keys that open a repository. What it shows
//! lies in the clear, so it asks for none of them.

use serde::Serialize;

use crate::base::format;
use crate::base::name::printable;
use crate::cli::context::Context;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::{Output, path_text};
use crate::crypto::KeyFile;
use crate::repository::{Keyring, Layout, is_encrypted};

#[derive(Serialize)]
struct Facts<'a> {
    key: &'a str,
    kind: &'a str,
    label: &'a str,
    created: &'a str,
    kdf_memory_bytes: Option<u64>,
    kdf_passes: Option<u32>,
}

pub(crate) fn run(context: &Context, layout: &Layout) -> Result<Outcome, CommandError> {
    if !is_encrypted(layout)? {
        let path = path_text(&context.repository);
        let problem = format!("The repository {path} is not encrypted: it has no keys");
        return Err(CommandError::Usage(problem));
    }
    let ring = Keyring::read(layout)?;
    let mut output = Output::new();
    if context.json {
        let facts: Vec<_> = ring.files.iter().map(|(name, file)| facts(name, file)).collect();
        output.json(&facts)?;
    } else {
        output
            .line(&format!("{:<8}  {:<8}  {:<19}  {:<12}  LABEL", "KEY", "KIND", "MADE", "COST"))?;
        for (name, file) in &ring.files {
            let cost = file.cost().map_or_else(String::new, |cost| {
                format!("{} x{}", format::bytes(u64::from(cost.memory_kib) << 10), cost.passes)
            });
            let [name, created, label] =
                [name, &file.created, &file.label].map(|text| printable(text.as_bytes()));
            let kind = file.kind.name();
            output.line(
                format!("{name:<8}  {kind:<8}  {created:<19.19}  {cost:<12}  {label}").trim_end(),
            )?;
        }
    }
    output.finish()?;
    context.damaged(ring.damaged)
}

fn facts<'a>(name: &'a str, file: &'a KeyFile) -> Facts<'a> {
    Facts {
        key: name,
        kind: file.kind.name(),
        label: &file.label,
        created: &file.created,
        kdf_memory_bytes: file.cost().map(|cost| u64::from(cost.memory_kib) << 10),
        kdf_passes: file.cost().map(|cost| cost.passes),
    }
}
