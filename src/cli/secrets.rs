//! Passwords and keys: where they come from, in the order of this list.
//!
//! 1. The command line: `--password-file`, `--password-command`, `--key-file`.
//! 2. The configuration file, by keys of the same names.
//! 3. The environment: `ICECORE_PASSWORD`, `ICECORE_PASSWORD_FILE`,
//!    `ICECORE_PASSWORD_COMMAND`, `ICECORE_KEY_FILE`.
//! 4. The service manager: `icecore.password` or `icecore.key` in
//!    `$CREDENTIALS_DIRECTORY`.
//! 5. Whoever sits at the terminal.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::base::files::with_inherited_umask;
use crate::cli::context::Context;
use crate::cli::exit::CommandError;
use crate::cli::output::path_text;
use crate::cli::prompt;
use crate::crypto::{Credential, KEY_BYTES, Secret};

/// Bytes that are read of a password or a key at most.
const BYTES_MAX: u64 = 64 << 10;

/// Where the password or the key of a repository comes from.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct SecretSource {
    /// The repository's password is the first line of this file
    #[arg(long, global = true, value_name = "FILE", group = "secret")]
    pub(crate) password_file: Option<PathBuf>,
    /// It is the first line that this shell command prints
    #[arg(long, global = true, value_name = "COMMAND", group = "secret")]
    pub(crate) password_command: Option<OsString>,
    /// The repository's key is in this file: 32 bytes, or 64 hexadecimal digits
    #[arg(long, global = true, value_name = "FILE", group = "secret")]
    pub(crate) key_file: Option<PathBuf>,
}

impl SecretSource {
    /// What the environment and the service manager say.
    fn of_environment() -> Self {
        let path = |name| env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let credential = |name: &str| {
            let file = path("CREDENTIALS_DIRECTORY")?.join(name);
            file.exists().then_some(file)
        };
        let source = Self {
            password_file: path("ICECORE_PASSWORD_FILE"),
            password_command: path("ICECORE_PASSWORD_COMMAND").map(PathBuf::into_os_string),
            key_file: path("ICECORE_KEY_FILE"),
        };
        if source.is_given() {
            return source.first();
        }
        let password_file = credential("icecore.password");
        let key_file = credential("icecore.key").filter(|_| password_file.is_none());
        Self { password_file, key_file, ..Self::default() }
    }

    /// The first of what it names, in the order of the documentation.
    fn first(self) -> Self {
        let Self { password_file, password_command, key_file } = self;
        let password_command = password_command.filter(|_| password_file.is_none());
        let is_password = password_file.is_some() || password_command.is_some();
        Self { key_file: key_file.filter(|_| !is_password), password_file, password_command }
    }

    /// Whether it names anything.
    pub(crate) const fn is_given(&self) -> bool {
        let Self { password_file, password_command, key_file } = self;
        password_file.is_some() || password_command.is_some() || key_file.is_some()
    }

    /// This one, or if it names nothing the other one.
    pub(crate) fn or(self, other: Self) -> Self {
        if self.is_given() { self } else { other }
    }

    /// The variables by which a program that is run for this one finds the same, if it
    /// names anything: no secret, only where it comes from.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        if !self.is_given() {
            return Vec::new();
        }
        let absolute = |path: &Option<PathBuf>| match path {
            Some(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()).into(),
            None => OsString::new(),
        };
        // What is empty is not set, and says nothing else.
        vec![
            ("ICECORE_PASSWORD", OsString::new()),
            ("ICECORE_PASSWORD_FILE", absolute(&self.password_file)),
            ("ICECORE_PASSWORD_COMMAND", self.password_command.clone().unwrap_or_default()),
            ("ICECORE_KEY_FILE", absolute(&self.key_file)),
        ]
    }

    /// Reads what it names.
    pub(crate) fn read(&self, context: &Context) -> Result<Option<Credential>, CommandError> {
        if self.is_given() {
            conceal();
        }
        if let Some(file) = &self.key_file {
            warn_if_public(context, file);
            return read_key(file).map(Some);
        }
        if let Some(file) = &self.password_file {
            warn_if_public(context, file);
            return password(context, &read(file)?, &path_text(file)).map(Some);
        }
        let Some(command) = &self.password_command else { return Ok(None) };
        let text = output_of(command)?;
        password(context, &text, "the output of the password command").map(Some)
    }
}

/// Runs a password command, as the user's own program that it is.
fn output_of(command: &OsStr) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let failed = || CommandError::io("run the password command");
    let mut shell = Command::new("/bin/sh");
    // Data that is piped in is not for it.
    let input = if io::stdin().is_terminal() { Stdio::inherit() } else { Stdio::null() };
    shell.env_remove("ICECORE_PASSWORD");
    shell.arg("-c").arg(command).stdin(input).stderr(Stdio::inherit());
    let child = with_inherited_umask(|| shell.stdout(Stdio::piped()).spawn());
    let mut child = child.map_err(failed())?;
    let text = child.stdout.take().map_or_else(|| Ok(Zeroizing::default()), bounded);
    let is_too_long = text.as_ref().is_ok_and(|text| text.len() as u64 > BYTES_MAX);
    if is_too_long {
        // It may go on for ever.
        let _ = child.kill();
    }
    let status = child.wait().map_err(failed())?;
    let text = text.map_err(failed())?;
    if is_too_long {
        let problem = "The password command prints too much for a password";
        return Err(CommandError::Failed(problem.to_owned()));
    }
    if !status.success() {
        let problem = format!("The password command failed ({status})");
        return Err(CommandError::Failed(problem));
    }
    Ok(text)
}

/// Reads a secret, at most one byte more than there may be, into memory that is wiped:
/// what would grow leaves copies behind.
fn bounded(source: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let capacity = usize::try_from(BYTES_MAX).unwrap_or(usize::MAX).saturating_add(64);
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    source.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Keeps what this process knows out of core dumps and from other processes of the
/// same user. Called before any secret is read.
pub(crate) fn conceal() {
    // Refused nowhere; a kernel that does leaves things as they are. No core is made of
    // a process that is not dumpable, whatever its limit. The limit, which may be raised
    // again, speaks for the programs that it starts and that inherit its environment.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let limit = getrlimit(Resource::Core);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), ..limit });
}

/// Returns the credential that was given for the repository, without asking.
pub(crate) fn given(context: &Context) -> Result<Option<Credential>, CommandError> {
    // It may come from a pipe that nobody writes to, or a command that waits.
    let read = |source: &SecretSource| context.signals.end_at_once(|| source.read(context));
    if context.secrets.is_given() {
        return read(&context.secrets);
    }
    if let Some(password) = env::var_os("ICECORE_PASSWORD").filter(|text| !text.is_empty()) {
        conceal();
        return Ok(Some(Credential::Password(Zeroizing::new(password.into_vec()))));
    }
    read(&SecretSource::of_environment())
}

/// The first line of a text, which must not be empty.
fn password(context: &Context, text: &[u8], place: &str) -> Result<Credential, CommandError> {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        let problem = format!("There is no password in {place}: its first line is empty");
        return Err(CommandError::Failed(problem));
    }
    if text.iter().filter(|byte| **byte == b'\n').count() > 1 {
        context.note(&format!("Of {place} only the first line counts"));
    }
    Ok(Credential::Password(Zeroizing::new(line.to_vec())))
}

/// Tells whoever keeps a secret where everybody can read it.
fn warn_if_public(context: &Context, file: &Path) {
    let Ok(metadata) = file.metadata() else { return };
    if metadata.is_file() && metadata.mode() & 0o004 != 0 {
        let shown = path_text(file);
        context.note(&format!("Every user can read {shown}; `chmod 600 {shown}` keeps it secret"));
    }
}

fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let shown = path_text(file);
    let bytes = File::open(file).and_then(bounded);
    let bytes = bytes.map_err(CommandError::io(format!("read {shown}")))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(CommandError::Failed(format!("{shown} is too large for a password or a key")));
    }
    Ok(bytes)
}

fn read_key(file: &Path) -> Result<Credential, CommandError> {
    let bytes = read(file)?;
    let digits = std::str::from_utf8(&bytes).ok().and_then(|text| Secret::from_hex(text.trim()));
    let raw = || -> Option<Secret> {
        let mut key: [u8; KEY_BYTES] = bytes.as_slice().try_into().ok()?;
        Some(Secret::take(&mut key))
    };
    digits.or_else(raw).map(Credential::Key).ok_or_else(|| {
        CommandError::Failed(format!(
            "{} is no key file: it must have 32 bytes, or 64 hexadecimal digits, as \
             `openssl rand -hex 32` prints them",
            path_text(file)
        ))
    })
}

/// Asks whoever sits at the terminal for the password of the repository, and tells that
/// the one before was wrong if so. Nothing if nobody does.
pub(crate) fn ask(context: &Context, again: bool) -> Result<Option<Credential>, CommandError> {
    let Some(terminal) = prompt::asked_at() else { return Ok(None) };
    let before = if again { "That is not its password. " } else { "" };
    let repository = path_text(&context.repository);
    let prompt = format!("{before}Password of the repository {repository}: ");
    ask_line(context, &terminal, &prompt).map(Credential::Password).map(Some)
}

/// Asks for a new password, twice.
pub(crate) fn ask_new(context: &Context) -> Result<Credential, CommandError> {
    let Some(terminal) = prompt::asked_at() else {
        return Err(CommandError::Usage(
            "A new password or key is needed; give it by --password-file, --password-command or \
             --key-file (for `key add`, `key change` and `key import` by --new-password-file and \
             the like)"
                .to_owned(),
        ));
    };
    let one = ask_line(context, &terminal, "New password: ")?;
    if one != ask_line(context, &terminal, "The same once more: ")? {
        let problem = "The two passwords are not the same; nothing was changed";
        return Err(CommandError::Refused(problem.to_owned()));
    }
    Ok(Credential::Password(one))
}

fn ask_line(
    context: &Context,
    terminal: &File,
    prompt: &str,
) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    conceal();
    let line = prompt::ask(context, terminal, prompt)?;
    if line.is_empty() {
        let problem = "An empty password is none";
        return Err(CommandError::Refused(problem.to_owned()));
    }
    Ok(line)
}
