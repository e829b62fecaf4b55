//! `icecore key`: the passwords and keys of an encrypted repository. None of these
//! commands touches what is stored under them.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use serde::Serialize;
use zeroize::Zeroizing;

use crate::audit::{EventKind, Record};
use crate::base::name::printable;
use crate::cli::audit::{Trail, audited};
use crate::cli::commands::key_list;
use crate::cli::context::{Context, unlock};
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::key_options::{KeyAction, NewSecret};
use crate::cli::output::{Output, path_text};
use crate::cli::secrets::conceal;
use crate::crypto::{KeyFile, MasterKey, from_paper, to_paper};
use crate::repository::{Config, Keyring, Layout, RepositoryError, Unlocked};

/// Bytes that are read of a key on paper at most.
const PAPER_BYTES_MAX: u64 = 64 << 10;
const UNPROVEN: &str =
    "The repository's `config` is lost, and nothing else is left to check the key against";

#[derive(Serialize)]
struct Facts<'a> {
    key: &'a str,
    action: &'a str,
}

pub(crate) fn run(context: &Context, action: &KeyAction) -> Result<Outcome, CommandError> {
    let layout = Layout::new(&context.repository);
    if let KeyAction::List = action {
        return key_list::run(context, &layout);
    }
    audited(context, "key", false, |trail| match action {
        KeyAction::List => key_list::run(context, &layout),
        KeyAction::Add(new) => add(context, &layout, new, trail),
        KeyAction::Change(new) => change(context, &layout, new, trail),
        KeyAction::Remove { key, yes } => remove(context, &layout, key, *yes, trail),
        KeyAction::Export => export(context, trail),
        KeyAction::Import { file, new } => import(context, &layout, file.as_deref(), new, trail),
    })
}

/// Unlocks the repository by what is given, which must be one of its keys.
fn unlocked(context: &Context) -> Result<Unlocked, CommandError> {
    let unlocked = unlock(context)?.ok_or_else(|| {
        let path = path_text(&context.repository);
        CommandError::Usage(format!("The repository {path} is not encrypted: it has no keys"))
    })?;
    if !unlocked.is_proven {
        context.note(UNPROVEN);
    }
    context.set_key(unlocked.master.clone());
    Ok(unlocked)
}

fn add(
    context: &Context,
    layout: &Layout,
    new: &NewSecret,
    trail: &Trail<'_>,
) -> Result<Outcome, CommandError> {
    let cost = new.options.cost()?;
    let Unlocked { master, .. } = unlocked(context)?;
    let credential = new.read(context)?;
    let ring = Keyring::read(layout)?;
    let label = &new.options.label;
    let name = context.signals.end_at_once(|| ring.add(&master, &credential, cost, label))?;
    tell(context, trail, EventKind::KeyAdded, &name, "Added the key")
}

fn change(
    context: &Context,
    layout: &Layout,
    new: &NewSecret,
    trail: &Trail<'_>,
) -> Result<Outcome, CommandError> {
    // What is wrong on the command line is said first.
    new.options.cost()?;
    let unlocked = unlocked(context)?;
    let ring = Keyring::read(layout)?;
    let before = ring.files.iter().find(|(name, _)| *name == unlocked.name).map(|(_, file)| file);
    let cost = before.and_then(KeyFile::cost).unwrap_or_default();
    let cost = new.options.cost_over(cost)?;
    let credential = new.read(context)?;
    let label = match new.options.label.as_str() {
        "" => before.map(|file| file.label.clone()).unwrap_or_default(),
        label => label.to_owned(),
    };
    let replace = || ring.replace(&unlocked, &credential, cost, &label);
    let name = context.signals.end_at_once(replace)?;
    let what = format!("In the place of the key {} there is now the key", unlocked.name);
    tell(context, trail, EventKind::KeyChanged, &name, &what)
}

fn remove(
    context: &Context,
    layout: &Layout,
    key: &str,
    yes: bool,
    trail: &Trail<'_>,
) -> Result<Outcome, CommandError> {
    // Only who can read the repository may say who else can.
    let unlocked = unlocked(context)?;
    let ring = Keyring::read(layout)?;
    let name = ring.removable(&unlocked, key)?;
    context.confirm(&format!("Remove the key {}?", described(&ring, &name)), yes)?;
    let name = ring.remove(&unlocked, &name)?;
    tell(context, trail, EventKind::KeyRemoved, &name, "Removed the key")
}

/// A key in words, for whoever is asked whether that is the one.
fn described(ring: &Keyring, name: &str) -> String {
    let Some((_, file)) = ring.files.iter().find(|(other, _)| other == name) else {
        return format!("{} (damaged)", printable(name.as_bytes()));
    };
    let [created, label] = [&file.created, &file.label].map(|text| printable(text.as_bytes()));
    let mut facts = format!("{}, made {created:.19}", file.kind.name());
    if !label.is_empty() {
        facts.push_str(&format!(", \"{label}\""));
    }
    format!("{} ({facts})", printable(name.as_bytes()))
}

fn export(context: &Context, trail: &Trail<'_>) -> Result<Outcome, CommandError> {
    let Unlocked { master, .. } = unlocked(context)?;
    let paper = to_paper(&master);
    trail.record(Record::new(EventKind::KeyExported), Outcome::Done.code());
    context.note(&format!(
        "This is the master key of {}. Whoever has it can read the repository, for ever; \
         `icecore key import` takes it back",
        path_text(&context.repository)
    ));
    let text = if context.json { paper_in_json(&paper) } else { paper };
    // Not by way of a buffer that is not wiped.
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(CommandError::io("print the key"))?;
    Ok(Outcome::Done)
}

/// The lines on paper as a list in JSON, in memory that is wiped: nothing in them needs
/// an escape.
fn paper_in_json(paper: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2 * paper.len() + 64));
    text.push_str("{\"lines\":[");
    for (number, line) in paper.lines().enumerate() {
        text.push_str(if number == 0 { "\"" } else { ",\"" });
        text.push_str(line);
        text.push('"');
    }
    text.push_str("]}\n");
    text
}

fn import(
    context: &Context,
    layout: &Layout,
    file: Option<&Path>,
    new: &NewSecret,
    trail: &Trail<'_>,
) -> Result<Outcome, CommandError> {
    let cost = new.options.cost()?;
    let file = file.filter(|file| *file != Path::new("-"));
    let text = context.signals.end_at_once(|| read_paper(context, file))?;
    let master: MasterKey = from_paper(&text).map_err(|error| {
        CommandError::Failed(format!("That is no key as `icecore key export` prints it: {error}"))
    })?;
    match Config::read(layout) {
        // Its configuration is lost too: `repair` makes one once there is a key.
        Err(RepositoryError::NotFound { .. } | RepositoryError::Config { .. })
            if layout.db().is_dir() => {}
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let ring = Keyring::read(layout)?;
    if !ring.check(&master)? {
        context.note(UNPROVEN);
    }
    let credential = new.read(context)?;
    let label = &new.options.label;
    let name = context.signals.end_at_once(|| ring.add(&master, &credential, cost, label))?;
    context.set_key(master);
    tell(context, trail, EventKind::KeyAdded, &name, "Added the key")
}

fn read_paper(context: &Context, file: Option<&Path>) -> Result<Zeroizing<String>, CommandError> {
    conceal();
    let mut text = Zeroizing::new(String::with_capacity(4096));
    let read = match file {
        Some(file) => File::open(file)
            .and_then(|file| file.take(PAPER_BYTES_MAX).read_to_string(&mut text))
            .map_err(CommandError::io(format!("read {}", path_text(file)))),
        None => {
            if context.is_interactive() {
                context.note("Type the five lines as they are printed, then Ctrl-D");
            }
            let stdin = io::stdin().lock();
            let read = stdin.take(PAPER_BYTES_MAX).read_to_string(&mut text);
            read.map_err(CommandError::io("read the key"))
        }
    };
    read?;
    Ok(text)
}

fn tell(
    context: &Context,
    trail: &Trail<'_>,
    kind: EventKind,
    name: &str,
    what: &str,
) -> Result<Outcome, CommandError> {
    trail.record(Record::new(kind).text("key", name), Outcome::Done.code());
    let mut output = Output::new();
    if context.json {
        let action = kind.name().strip_prefix("backup.key.").unwrap_or_default();
        output.json(&Facts { key: name, action })?;
    } else if !context.quiet {
        output.line(&format!("{what} {name}"))?;
    }
    output.finish()?;
    Ok(Outcome::Done)
}
