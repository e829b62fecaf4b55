//! What every command needs: the repository's place and how to talk.

use std::env;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::base::time::Timestamp;
use crate::cli::args::GlobalArguments;
use crate::cli::audit;
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::path_text;
use crate::cli::profile::Place;
use crate::cli::progress::{Display, Terminal};
use crate::cli::secrets::{self, SecretSource};
use crate::cli::signals::Signals;
use crate::crypto::{KeyKind, MasterKey};
use crate::repository::{Keyring, Layout, Reader, RepositoryError, Unlocked, Writer, is_encrypted};

const NOT_CONFIRMED: &str = "Not confirmed; nothing was changed";
/// How often whoever sits at the terminal is asked for the password, as elsewhere.
const PROMPTS_MAX: u32 = 3;

/// What every command needs.
#[derive(Clone)]
pub(crate) struct Context {
    /// The repository's directory, absolute.
    pub(crate) repository: PathBuf,
    /// Whether the command line names it.
    pub(crate) is_repository_named: bool,
    /// The configuration file with the profiles.
    pub(crate) config: PathBuf,
    /// Whether facts are printed for programs.
    pub(crate) json: bool,
    /// Whether only errors are printed.
    pub(crate) quiet: bool,
    /// Where the repository's password or key comes from.
    pub(crate) secrets: SecretSource,
    /// Whether a repository that is not encrypted is refused.
    pub(crate) requires_encryption: bool,
    /// The repository's key, once it was looked for.
    key: Arc<OnceLock<Option<MasterKey>>>,
    /// How long to wait for another writer.
    pub(crate) wait: Duration,
    /// The time that time expressions are seen from.
    pub(crate) now: Timestamp,
    /// Signals that ask the command to stop.
    pub(crate) signals: Signals,
}

impl Context {
    pub(crate) fn new(arguments: &GlobalArguments) -> Result<Self, CommandError> {
        let environment = env::var_os("ICECORE_REPO").map(PathBuf::from);
        // What is empty in the environment is not set.
        let is_unset =
            |path: &PathBuf| path.as_os_str().is_empty() && Some(path) == environment.as_ref();
        let (repository, is_named) = match arguments.repo.as_ref().filter(|path| !is_unset(path)) {
            Some(repository) if repository.as_os_str().is_empty() => return Err(no_repository()),
            // What the environment says counts for less than a profile.
            Some(repository) => (repository.clone(), Some(repository) != environment.as_ref()),
            None => (default_repository()?, false),
        };
        Ok(Self {
            repository: absolute(&repository)?,
            is_repository_named: is_named,
            config: arguments.config.clone(),
            json: arguments.json,
            quiet: arguments.quiet,
            secrets: arguments.secrets.clone(),
            requires_encryption: arguments.require_encryption,
            key: Arc::default(),
            wait: arguments.wait,
            now: Timestamp::now(),
            signals: Signals::install()?,
        })
    }

    /// The same for the repository that a profile names, unless the command line
    /// names one, with the password or key that it names, unless the command line
    /// does.
    pub(crate) fn for_profile(&self, place: &Place) -> Result<Self, CommandError> {
        let mut context = self.clone();
        context.secrets = context.secrets.or(place.secrets.clone());
        context.requires_encryption |= place.encrypt;
        context.key = Arc::default();
        let repository = place.repository.as_deref();
        if let Some(repository) = repository.filter(|_| !self.is_repository_named) {
            context.repository = absolute(repository)?;
        }
        Ok(context)
    }

    /// The same for a repository given as an operand.
    pub(crate) fn for_source(&self, repository: &Path) -> Result<Self, CommandError> {
        if self.is_repository_named {
            let both = "The repository is named twice: by --repo and as SOURCE".to_owned();
            return Err(CommandError::Usage(both));
        }
        self.for_profile(&Place { repository: Some(repository.to_owned()), ..Place::default() })
    }

    /// The key of the repository, if it is encrypted.
    pub(crate) fn key(&self) -> Result<Option<MasterKey>, CommandError> {
        if let Some(key) = self.key.get() {
            return Ok(key.clone());
        }
        let key = unlock(self)?.map(|unlocked| unlocked.master);
        Ok(self.key.get_or_init(|| key).clone())
    }

    /// The same for a repository whose configuration may be lost: without key files
    /// either, it was not encrypted, unless somebody says so. Whoever opens it says
    /// whether there is one.
    pub(crate) fn key_of_damaged(&self) -> Result<Option<MasterKey>, CommandError> {
        match self.key() {
            Err(CommandError::Repository(
                RepositoryError::NotFound { .. } | RepositoryError::Config { .. },
            )) if Layout::new(&self.repository).db().is_dir() => {
                if self.requires_encryption || secrets::given(self)?.is_some() {
                    return Err(nothing_says_encrypted(&self.repository));
                }
                Ok(None)
            }
            outcome => outcome,
        }
    }

    /// The same without asking or trying anything.
    pub(crate) fn known_key(&self) -> Option<&MasterKey> {
        self.key.get()?.as_ref()
    }

    /// Uses a key that somebody else has unlocked.
    pub(crate) fn set_key(&self, key: MasterKey) {
        secrets::conceal();
        self.key.get_or_init(|| Some(key));
    }

    /// Opens the repository for reading.
    pub(crate) fn reader(&self) -> Result<Reader, CommandError> {
        Ok(Reader::open_with(&self.repository, self.key()?.as_ref())?)
    }

    /// Opens the repository for writing, for the command `purpose`.
    pub(crate) fn writer(
        &self,
        purpose: &str,
        terminal: &Terminal,
    ) -> Result<Writer, CommandError> {
        let key = self.key()?;
        terminal.start();
        self.opened(Writer::open(&self.repository, key.as_ref(), purpose, self.wait, terminal))
    }

    /// The same for a command that frees space, and must do so on a full disk.
    pub(crate) fn freeing_writer(
        &self,
        purpose: &str,
        terminal: &Terminal,
    ) -> Result<Writer, CommandError> {
        let key = self.key()?;
        terminal.start();
        self.opened(Writer::open_to_free(
            &self.repository,
            key.as_ref(),
            purpose,
            self.wait,
            terminal,
        ))
    }

    fn opened(&self, opened: Result<Writer, RepositoryError>) -> Result<Writer, CommandError> {
        let writer = opened.map_err(|error| self.signals.explain(error.into()))?;
        if let Some(warning) = writer.permission_warning() {
            self.note(&warning);
        }
        Ok(writer)
    }

    /// A monitor that shows progress if a person watches.
    pub(crate) fn terminal(&self) -> Terminal {
        let display = match () {
            () if self.quiet => Display::Nothing,
            () if self.json => Display::Json,
            () if io::stderr().is_terminal() => Display::Bar,
            () => Display::Nothing,
        };
        Terminal::new(display, self.quiet, self.signals.clone())
    }

    /// A monitor that shows a bar if a person watches, and never lines of JSON:
    /// for commands that print one document.
    pub(crate) fn bar(&self) -> Terminal {
        let is_shown = !self.quiet && io::stderr().is_terminal();
        let display = if is_shown { Display::Bar } else { Display::Nothing };
        Terminal::new(display, self.quiet, self.signals.clone())
    }

    /// A terminal that shows nothing, and knows of signals.
    pub(crate) fn silent(&self) -> Terminal {
        Terminal::new(Display::Nothing, true, self.signals.clone())
    }

    /// Prints a remark to standard error, unless it should be quiet.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "icecore: {text}");
        }
    }

    /// Ends a command that showed all but these damaged snapshots.
    pub(crate) fn damaged(
        &self,
        mut damaged: Vec<RepositoryError>,
    ) -> Result<Outcome, CommandError> {
        let Some(last) = damaged.pop() else { return Ok(Outcome::Done) };
        for error in damaged {
            let _ = writeln!(io::stderr(), "icecore: {error}");
        }
        Err(last.into())
    }

    /// The same, where parts of snapshots that can be read are damaged too; a line
    /// for each.
    pub(crate) fn damaged_lines(
        &self,
        damaged: Vec<RepositoryError>,
        mut lines: Vec<String>,
    ) -> Result<Outcome, CommandError> {
        let Some(last) = lines.pop() else { return self.damaged(damaged) };
        let damaged = damaged.iter().map(ToString::to_string);
        for line in damaged.chain(lines) {
            let _ = writeln!(io::stderr(), "icecore: {line}");
        }
        Err(CommandError::Damage(last))
    }

    /// Fails if a signal asked to stop.
    pub(crate) fn go_on(&self) -> Result<(), CommandError> {
        match self.signals.received() {
            Some(signal) => Err(CommandError::Signalled { what: "Interrupted".to_owned(), signal }),
            None => Ok(()),
        }
    }

    /// Whether a person is there to be asked.
    pub(crate) fn is_interactive(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks a person whether to go on; scripts must have said so before.
    pub(crate) fn confirm(&self, question: &str, yes: bool) -> Result<(), CommandError> {
        if yes {
            return Ok(());
        }
        if !self.is_interactive() {
            return Err(CommandError::Refused(format!(
                "{question} Nobody is there to ask; say --yes if that is meant"
            )));
        }
        let _ = write!(io::stderr(), "{question} [y/N] ");
        let answer = self.answer(NOT_CONFIRMED)?;
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(());
        }
        Err(CommandError::Refused(NOT_CONFIRMED.to_owned()))
    }

    /// Reads a line of standard input.
    pub(crate) fn answer(&self, otherwise: &str) -> Result<String, CommandError> {
        self.wait_for_answer(otherwise)?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map_err(CommandError::io("read the answer"))?;
        Ok(answer)
    }

    /// Waits until there is an answer on standard input. A signal ends that: reading
    /// alone would go on, since signals are noted and interrupt nothing.
    pub(crate) fn wait_for_answer(&self, otherwise: &str) -> Result<(), CommandError> {
        let stdin = io::stdin();
        let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        loop {
            if let Some(signal) = self.signals.received() {
                let _ = writeln!(io::stderr());
                return Err(CommandError::Signalled { what: otherwise.to_owned(), signal });
            }
            match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&timeout)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(CommandError::io("wait for the answer")(error.into())),
            }
        }
    }
}

/// Unlocks an encrypted repository, asking for its password if need be. Nothing if it
/// is not encrypted.
pub(crate) fn unlock(context: &Context) -> Result<Option<Unlocked>, CommandError> {
    let layout = Layout::new(&context.repository);
    let given = secrets::given(context)?;
    if !is_encrypted(&layout)? {
        let path = context.repository.clone();
        return match given {
            // Whoever took the encryption away waits for what comes next.
            Some(_) => Err(RepositoryError::NotEncrypted { path }.into()),
            None if context.requires_encryption => Err(not_encrypted(&path)),
            None => Ok(None),
        };
    }
    let ring = Keyring::read(&layout)?;
    if ring.files.is_empty() && ring.damaged.is_empty() {
        return Err(RepositoryError::NoKeys { path: context.repository.clone() }.into());
    }
    let is_asked = given.is_none() && ring.takes(KeyKind::Password);
    let mut credential = if is_asked { secrets::ask(context, false)? } else { given };
    let mut tries = if is_asked { PROMPTS_MAX } else { 1 };
    loop {
        let locked = || RepositoryError::Locked { path: context.repository.clone() };
        let tried = credential.ok_or_else(locked)?;
        context.go_on()?;
        tries -= 1;
        let outcome = context.signals.end_at_once(|| ring.unlock(&tried));
        if let Err(RepositoryError::WrongPassword { what, .. }) = &outcome {
            audit::password_refused(context, what);
            if tries > 0 {
                credential = secrets::ask(context, true)?;
                continue;
            }
        }
        return Ok(Some(outcome?));
    }
}

fn nothing_says_encrypted(repository: &Path) -> CommandError {
    CommandError::Refused(format!(
        "Neither `config` nor key files of the repository {} can be used, so nothing says that \
         it is encrypted, as a password, a key or --require-encryption demands; `icecore key \
         import` makes a key file from the key on paper",
        path_text(repository)
    ))
}

/// What whoever demands encryption is told of a repository without.
pub(crate) fn not_encrypted(repository: &Path) -> CommandError {
    CommandError::Refused(format!(
        "The repository {} is not encrypted, which `encrypt = true` in the configuration or \
         --require-encryption demands; another one may have been put into its place",
        path_text(repository)
    ))
}

fn absolute(path: &Path) -> Result<PathBuf, CommandError> {
    std::path::absolute(path).map_err(CommandError::io(format!("find the repository {path:?}")))
}

/// Where the repository is when nobody says: a system-wide place for root, one
/// of the user's own otherwise.
fn default_repository() -> Result<PathBuf, CommandError> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/icecore"));
    }
    user_directory("XDG_DATA_HOME", ".local/share").ok_or_else(no_repository)
}

fn no_repository() -> CommandError {
    CommandError::Usage("No repository given: say --repo DIRECTORY or set ICECORE_REPO".to_owned())
}

/// A directory of icecore's own below a base directory of the user's.
pub(crate) fn user_directory(variable: &str, below_home: &str) -> Option<PathBuf> {
    let base = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(below_home));
    base.or_else(home).map(|base| base.join("icecore"))
}

/// The name of this host.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The name of the user who runs this, or the number.
pub(crate) fn user() -> String {
    let uid = rustix::process::geteuid().as_raw();
    uzers::get_user_by_uid(uid)
        .map_or_else(|| uid.to_string(), |user| user.name().to_string_lossy().into_owned())
}

/// Lets the process open as many files as it is allowed to: the store keeps one
/// descriptor for each of its files, a walk one for each level.
pub(crate) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    // If it is refused, the old limit serves most repositories as well.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
