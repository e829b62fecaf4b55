//! The configuration file: profiles, which are the options of `create` by a
//! name, and policies, which are those of `prune`, so that cron says
//! `icecore create --profile home` and `icecore prune --policy standard --yes`.
//!
//! ```toml
//! repository = "/srv/icecore"
//! [profiles.home]
//! sources = ["/home"]
//! exclude = ["*.tmp"]
//! [profiles.home.hooks]
//! before = ["pg_dump -f /home/db.sql main"]
//! [policies.standard]
//! keep-daily = 30
//! [log]
//! keep-days = 730
//! ```

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;
use std::{fs, io};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::base::files::with_inherited_umask;
use crate::base::format::{self, one_line};
use crate::cli::create_options::CreateOptions;
use crate::cli::exit::CommandError;
use crate::cli::log_rules::LogRules;
use crate::cli::output::path_text;
use crate::cli::policy::PolicyOptions;
use crate::cli::secrets::SecretSource;

/// Bytes of a configuration file at most.
const CONFIGURATION_BYTES_MAX: u64 = 1 << 20;
/// How often a hook is looked at.
const PATIENCE: Duration = Duration::from_millis(20);

/// Options and commands by a name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) sources: Vec<PathBuf>,
    pub(crate) options: CreateOptions,
    pub(crate) hooks: Hooks,
}

/// A repository, and what opens it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) repository: Option<PathBuf>,
    pub(crate) secrets: SecretSource,
    /// Whether `init` makes it an encrypted one, and all others refuse any that is not.
    pub(crate) encrypt: bool,
}

/// Shell commands around a snapshot.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Hooks {
    /// Before it; one that fails ends everything.
    pub(crate) before: Vec<String>,
    /// After it was made.
    pub(crate) success: Vec<String>,
    /// After it was not made.
    pub(crate) failure: Vec<String>,
    /// After all, whatever the outcome.
    pub(crate) after: Vec<String>,
}

/// The keys of a profile that are no options of the command line.
#[derive(Default, Deserialize)]
#[serde(default)]
struct OwnKeys {
    sources: Vec<PathBuf>,
    hooks: Hooks,
}

impl Place {
    /// Takes the keys that name a place out of a table; what it lacks is as in
    /// another place.
    fn take(table: &mut toml::Table, otherwise: Self) -> Result<Self, String> {
        let encrypt = match table.remove("encrypt") {
            None => otherwise.encrypt,
            Some(toml::Value::Boolean(encrypt)) => encrypt,
            Some(_) => return Err("`encrypt` is neither true nor false".to_owned()),
        };
        let secrets = SecretSource {
            password_file: take_path(table, "password-file")?,
            password_command: take_path(table, "password-command")?.map(PathBuf::into_os_string),
            key_file: take_path(table, "key-file")?,
        };
        let given = [
            secrets.password_file.is_some(),
            secrets.password_command.is_some(),
            secrets.key_file.is_some(),
        ];
        if given.into_iter().filter(|is_given| *is_given).count() > 1 {
            let names = "`password-file`, `password-command` and `key-file`";
            return Err(format!("of {names} only one can be said"));
        }
        let repository = take_path(table, "repository")?.or(otherwise.repository);
        Ok(Self { repository, secrets: secrets.or(otherwise.secrets), encrypt })
    }

    /// Refuses a command that somebody else may have written.
    fn guard(self, file: &Path) -> Result<Self, CommandError> {
        if self.secrets.password_command.is_some() && !is_ours_alone(file) {
            return Err(others_may_write("password command", "is", file));
        }
        Ok(self)
    }
}

fn others_may_write(what: &str, is: &str, file: &Path) -> CommandError {
    CommandError::Refused(format!(
        "The {what} in {} {is} not run, since others may write to that file; \
         `chmod go-w` it, or `chown` it to yourself or root",
        path_text(file)
    ))
}

impl Profile {
    /// Reads a profile from a configuration file.
    pub(crate) fn read(file: &Path, name: &str) -> Result<Self, CommandError> {
        let mut profile = read(file, |text| Self::parse(text, name))?;
        if profile.hooks.are_there() && !is_ours_alone(file) {
            return Err(others_may_write("hooks", "are", file));
        }
        profile.place = profile.place.guard(file)?;
        Ok(profile)
    }

    fn parse(text: &str, name: &str) -> Result<Self, String> {
        let config = Config::parse(text)?;
        let mut table = pick(config.profiles, "profile", name)?;
        let mut own = toml::Table::new();
        let in_table = |problem: String| format!("profile {name:?}: {problem}");
        let place = Place::take(&mut table, config.place).map_err(in_table)?;
        for key in ["sources", "hooks"] {
            own.extend(table.remove(key).map(|value| (key.to_owned(), value)));
        }
        let in_profile = |error: toml::de::Error| format!("profile {name:?}: {}", message(&error));
        check_each::<CreateOptions>(&table, "profile", name)?;
        let own: OwnKeys = own.try_into().map_err(in_profile)?;
        let options: CreateOptions = table.try_into().map_err(in_profile)?;
        Ok(Self { name: name.to_owned(), place, sources: own.sources, options, hooks: own.hooks })
    }
}

/// Reads a policy from a configuration file, and the repository that the file
/// names.
pub(crate) fn read_policy(file: &Path, name: &str) -> Result<(Place, PolicyOptions), CommandError> {
    let (place, policy) = read(file, |text| parse_policy(text, name))?;
    Ok((place.guard(file)?, policy))
}

/// Reads what a configuration file says of the audit log.
pub(crate) fn read_log_rules(file: &Path) -> Result<LogRules, CommandError> {
    read(file, |text| Ok(Config::parse(text)?.log))
}

fn parse_policy(text: &str, name: &str) -> Result<(Place, PolicyOptions), String> {
    let config = Config::parse(text)?;
    let mut table = pick(config.policies, "policy", name)?;
    let in_table = |problem: String| format!("policy {name:?}: {problem}");
    let place = Place::take(&mut table, config.place).map_err(in_table)?;
    check_each::<PolicyOptions>(&table, "policy", name)?;
    let options = table.try_into();
    Ok((place, options.map_err(|error| format!("policy {name:?}: {}", message(&error)))?))
}

/// Reads all that a configuration file holds, and returns what is said against it, for
/// fuzzers.
pub(crate) fn decode_any(text: &str) -> Vec<String> {
    let config = match Config::parse(text) {
        Ok(config) => config,
        Err(problem) => return vec![problem],
    };
    let mut problems = Vec::new();
    for name in config.profiles.keys().map(String::as_str).chain(["home"]) {
        problems.extend(Profile::parse(text, name).err());
    }
    for name in config.policies.keys().map(String::as_str).chain(["standard"]) {
        problems.extend(match parse_policy(text, name) {
            Ok((_, options)) => options.policy().err().map(|error| error.to_string()),
            Err(problem) => Some(problem),
        });
    }
    problems
}

/// The parts of a configuration file.
struct Config {
    place: Place,
    profiles: toml::Table,
    policies: toml::Table,
    log: LogRules,
}

impl Config {
    fn parse(text: &str) -> Result<Self, String> {
        let mut config: toml::Table = text.parse().map_err(|error| message(&error))?;
        let place = Place::take(&mut config, Place::default())?;
        let mut take_table = |key| match config.remove(key) {
            Some(toml::Value::Table(table)) => Ok(table),
            None => Ok(toml::Table::new()),
            Some(_) => Err(format!("`{key}` is no table")),
        };
        let (profiles, policies) = (take_table("profiles")?, take_table("policies")?);
        let log = take_table("log")?.try_into();
        let log = log.map_err(|error| format!("log: {}", message(&error)))?;
        match config.keys().next() {
            Some(key) => Err(format!("there is no key {key:?}")),
            None => Ok(Self { place, profiles, policies, log }),
        }
    }
}

fn take_path(table: &mut toml::Table, key: &str) -> Result<Option<PathBuf>, String> {
    match table.remove(key) {
        None => Ok(None),
        Some(toml::Value::String(path)) => Ok(Some(PathBuf::from(path))),
        Some(_) => Err(format!("`{key}` is no text")),
    }
}

fn pick(mut tables: toml::Table, what: &str, name: &str) -> Result<toml::Table, String> {
    if let Some(toml::Value::Table(table)) = tables.remove(name) {
        return Ok(table);
    }
    let known: Vec<_> = tables.keys().map(String::as_str).collect();
    Err(one_line(&format!("there is no {what} {name:?} (there is: {})", known.join(", "))))
}

/// Reads the keys one by one, since the words about a wrong value do not say
/// where it is.
fn check_each<T: DeserializeOwned>(
    table: &toml::Table,
    what: &str,
    name: &str,
) -> Result<(), String> {
    for (key, value) in table {
        let alone = toml::Table::from_iter([(key.clone(), value.clone())]);
        if let Err(error) = alone.try_into::<T>() {
            let text = format!("{what} {name:?}, {key}: {}", error.message());
            return Err(one_line(&text));
        }
    }
    Ok(())
}

fn read<T>(file: &Path, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, CommandError> {
    let shown = path_text(file);
    let mut text = String::new();
    let read = fs::File::open(file)
        .and_then(|file| file.take(CONFIGURATION_BYTES_MAX + 1).read_to_string(&mut text));
    read.map_err(|error| {
        CommandError::Usage(format!("Cannot read the configuration {shown}: {error}"))
    })?;
    if text.len() as u64 > CONFIGURATION_BYTES_MAX {
        let most = format::bytes(CONFIGURATION_BYTES_MAX);
        let problem = format!("The configuration {shown} is not valid: it is larger than {most}");
        return Err(CommandError::Usage(problem));
    }
    parse(&text).map_err(|problem| {
        CommandError::Usage(format!("The configuration {shown} is not valid: {problem}"))
    })
}

impl Hooks {
    const fn are_there(&self) -> bool {
        let Self { before, success, failure, after } = self;
        !(before.is_empty() && success.is_empty() && failure.is_empty() && after.is_empty())
    }
}

/// Whether nobody but this user and root may say what is in a file.
fn is_ours_alone(file: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    fs::metadata(file).is_ok_and(|metadata| {
        metadata.mode() & 0o022 == 0 && (metadata.uid() == 0 || metadata.uid() == user)
    })
}

fn message(error: &toml::de::Error) -> String {
    one_line(error.message())
}

/// Runs shell commands one after another until one fails. What they print goes
/// to standard error, since standard output is for facts. They are killed when
/// `until` says so.
pub(crate) fn run_hooks(
    kind: &str,
    commands: &[String],
    environment: &[(&str, &OsStr)],
    until: &dyn Fn() -> bool,
) -> Result<(), CommandError> {
    for command in commands {
        let output =
            rustix::io::dup(rustix::stdio::stderr()).map_or_else(|_| Stdio::null(), Stdio::from);
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(command).envs(environment.iter().copied());
        let child = with_inherited_umask(|| shell.stdin(Stdio::null()).stdout(output).spawn());
        let status = child.and_then(|child| wait(child, until));
        let status =
            status.map_err(CommandError::io(format!("run the {kind} hook {command:?}")))?;
        if !status.success() {
            let problem = format!("The {kind} hook {command:?} failed ({status})");
            return Err(CommandError::Failed(problem));
        }
    }
    Ok(())
}

fn wait(mut child: Child, until: &dyn Fn() -> bool) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if until() {
            child.kill()?;
            return child.wait();
        }
        sleep(PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "repository = '/r'\n\
        [profiles.home]\nsources = ['/home']\nexclude = ['*.o']\n\
        [profiles.home.hooks]\nbefore = ['true']\n\
        [profiles.other]\nrepository = '/o'\n\
        [profiles.wrong]\nexcluded = []\n\
        [profiles.hooked]\nhooks = { befor = [] }\n\
        [policies.standard]\nkeep-daily = 30\n\
        [policies.own]\nrepository = '/o'\nkeep-last = 1\n\
        [policies.wrong]\nkeep-dayly = 1\n";

    #[test]
    fn a_profile_has_sources_options_hooks_and_a_repository() {
        let home = Profile::parse(CONFIG, "home").unwrap();
        assert_eq!(home.sources, [Path::new("/home")]);
        assert_eq!((home.options.exclude.len(), home.hooks.before.len()), (1, 1));
        assert_eq!(home.place.repository.as_deref(), Some(Path::new("/r")));
        let other = Profile::parse(CONFIG, "other").unwrap();
        assert_eq!(other.place.repository.as_deref(), Some(Path::new("/o")));
    }

    #[test]
    fn a_policy_has_rules_and_a_repository() {
        let (place, options) = parse_policy(CONFIG, "standard").unwrap();
        assert_eq!(place.repository.as_deref(), Some(Path::new("/r")));
        assert!(options.policy().is_ok());
        let (place, _) = parse_policy(CONFIG, "own").unwrap();
        assert_eq!(place.repository.as_deref(), Some(Path::new("/o")));
        for (name, word) in [("wrong", "keep-dayly"), ("absent", "standard")] {
            let problem = parse_policy(CONFIG, name).unwrap_err();
            assert!(problem.contains(word) && !problem.contains('\n'), "{problem}");
        }
    }

    #[test]
    fn how_long_the_log_is_kept_stands_beside_profiles_and_policies() {
        let text = format!("{CONFIG}[log]\nkeep-days = 730\n");
        let rules = LogRules { keep_days: Some(730), keep_segments: None };
        assert_eq!(Config::parse(&text).unwrap().log, rules);
        assert!(Profile::parse(&text, "home").is_ok() && parse_policy(&text, "standard").is_ok());
        assert!(Config::parse(CONFIG).unwrap().log.is_empty());
    }

    #[test]
    fn a_file_without_an_end_is_refused() {
        let problem = read_log_rules(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(problem.contains("larger than 1.0 MiB"), "{problem}");
    }

    #[test]
    fn what_is_said_of_a_file_steers_no_terminal() {
        for text in [
            "\"\\u001b[2J\" = 1",
            "[profiles.\"\\u001b]\"]\n[policies.\"\\u009b\"]",
            "[profiles.home]\n\"\\u001b\" = 1\n[policies.standard]\n\"a\\nb\" = 1",
            "[profiles.home]\ncompression = \"\\u001b\"\nhooks = { \"\\u0007\" = 1 }",
            "a = \u{1b}",
        ] {
            let problems = decode_any(text);
            assert!(!problems.is_empty(), "{text}");
            for problem in problems {
                assert!(!problem.chars().any(char::is_control), "{problem:?}");
            }
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (name, word) in [("wrong", "excluded"), ("hooked", "befor"), ("absent", "home")] {
            let problem = Profile::parse(CONFIG, name).unwrap_err();
            assert!(problem.contains(word) && !problem.contains('\n'), "{problem}");
        }
        for log in ["log = 1", "[log]\nkeep-day = 1", "[log]\nkeep-days = -1"] {
            let problem = Profile::parse(log, "x").unwrap_err();
            assert!(problem.contains("log") && !problem.contains('\n'), "{problem}");
        }
        assert!(Profile::parse("nonsense = 1", "x").unwrap_err().contains("nonsense"));
        assert!(Profile::parse("=", "x").is_err());
    }
}
