//! `icecore mount`: shows all snapshots as read-only directories.
//!
//! Without `--foreground` the command starts itself again in the foreground,
//! in a session of its own, and returns once that one says that it serves.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::audit::{EventKind, Record};
use crate::base::name::printable;
use crate::cli::args::MountArguments;
use crate::cli::audit::{Trail, audited};
use crate::cli::commands::mount_log::MountLog;
use crate::cli::commands::show;
use crate::cli::context::{Context, user};
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::path_text;
use crate::cli::secrets::conceal;
use crate::cli::service_manager::ServiceManager;
use crate::crypto::{KEY_BYTES, MasterKey, Secret};
use crate::fuse::{Mount, MountOptions, Refresher, SingleTree, Unmounter, check_mountpoint};
use crate::repository::{Reader, SnapshotName, Unleased};
use crate::view::{View, ViewOptions};

/// What the child prints once it serves.
const READY: &str = "ready";

pub(crate) fn run(context: &Context, arguments: &MountArguments) -> Result<Outcome, CommandError> {
    let (mut given, mut arguments) = (context.clone(), arguments.clone());
    if let Some(source) = arguments.source.take() {
        let (repository, only) = split_source(&source);
        given = context.for_source(&repository)?;
        arguments.only = only.or(arguments.only);
    }
    if !arguments.foreground {
        return start(&given, &arguments);
    }
    audited(&given, "mount", false, |trail| serve(&given, &arguments, trail))
}

/// Splits `REPOSITORY[:SNAPSHOT[/PATH]]`. A directory that has all of it as its
/// name comes first, then the longest one before a colon.
fn split_source(source: &Path) -> (PathBuf, Option<OsString>) {
    let bytes = source.as_os_str().as_bytes();
    let colons = bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b':');
    let mut splits = colons.map(|(at, _)| (&bytes[..at], &bytes[at + 1..]));
    let is_directory = |name: &[u8]| Path::new(OsStr::from_bytes(name)).is_dir();
    let found = splits.find(|(repository, only)| !only.is_empty() && is_directory(repository));
    match found {
        Some((repository, only)) if !source.is_dir() => {
            let only = OsStr::from_bytes(only).to_owned();
            (PathBuf::from(OsStr::from_bytes(repository)), Some(only))
        }
        _ => (source.to_owned(), None),
    }
}

/// What the table of mounts names as mounted: as mount(8) looks for it there, to
/// tell what of fstab is mounted. It follows symlinks to what is a path, and not
/// to what has a colon behind it.
fn mounted_source(context: &Context, arguments: &MountArguments) -> OsString {
    let repository = &context.repository;
    let Some(only) = &arguments.only else {
        return fs::canonicalize(repository).unwrap_or_else(|_| repository.clone()).into();
    };
    let mut source = repository.clone().into_os_string();
    source.push(":");
    source.push(only);
    source
}

/// Finds what `SNAPSHOT[/PATH]` means.
fn find_tree(context: &Context, reader: &Reader, only: &OsStr) -> Result<SingleTree, CommandError> {
    let text = only.as_bytes();
    let slash = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
    let (name, below) = text.split_at(slash);
    reader.refresh()?;
    let SnapshotName { id, mut path, .. } = reader.find_snapshot_path(name, context.now)?;
    path.extend_from_slice(below);
    Ok(SingleTree { snapshot: id, path })
}

/// Mounts and serves until it is unmounted or a signal comes.
fn serve(
    context: &Context,
    arguments: &MountArguments,
    trail: &Trail<'_>,
) -> Result<Outcome, CommandError> {
    // Checked before the store is opened: a typo costs nothing.
    check_mountpoint(&arguments.mountpoint, &context.repository)?;
    // From here on signals wait until there is a mount to take away.
    context.signals.leave_hangups();
    let signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(CommandError::io("listen to signals"))?;
    if arguments.key_from_stdin {
        context.set_key(key_from_stdin()?);
    }
    let reader = context.reader()?;
    let shown = ViewOptions {
        cache_bytes: arguments.cache_size,
        by_time: arguments.by_time_format.clone(),
        samba: arguments.samba,
    };
    let only = arguments.only.as_deref().map(|only| find_tree(context, &reader, only));
    let only = only.transpose()?;
    let view = View::new(reader, shown)?;
    let log = MountLog::open(context, arguments)?;
    if let Some(reason) = view.reader().unleased() {
        log.tell(context, &unleased(context, reason));
    }
    for damage in view.snapshots()?.damaged() {
        log.tell(context, damage);
    }
    let event = event(arguments, only.as_ref());
    let options = MountOptions {
        allow_other: arguments.allow_other,
        pin_threads: !arguments.no_pin,
        poll: !arguments.no_poll,
        no_exec: arguments.no_exec,
        only,
        source: mounted_source(context, arguments),
    };
    let lines = log.clone();
    let mount = Mount::start(
        view,
        &arguments.mountpoint,
        &options,
        Arc::new(show::document),
        Arc::new(move |line: &str| lines.line(line)),
    )?;
    obey_signals(signals, mount.unmounter(), mount.refresher(), log.clone());
    let place = path_text(&arguments.mountpoint);
    trail.record(event(EventKind::SnapshotMounted), Outcome::Done.code());
    if arguments.announce {
        announce()?;
    }
    let served = wait(context, arguments, mount, &log, &place);
    // Nobody may be there to read it, so it is logged with the rest.
    let code = served.as_ref().map_or_else(CommandError::code, |outcome| outcome.code());
    if let Some(warning) = trail.try_record(event(EventKind::SnapshotUnmounted), code) {
        log.line(&warning);
    }
    served
}

/// What the audit log keeps of the mount.
fn event(
    arguments: &MountArguments,
    only: Option<&SingleTree>,
) -> impl Fn(EventKind) -> Record + use<> {
    let place = std::path::absolute(&arguments.mountpoint);
    let place = path_text(place.as_deref().unwrap_or(&arguments.mountpoint));
    let only = only.map(|only| (only.snapshot, printable(&only.path)));
    move |kind| {
        let record = Record::new(kind).path(&place);
        match &only {
            Some((snapshot, path)) => record.snapshots([*snapshot]).text("path", path),
            None => record,
        }
    }
}

/// Serves until it is unmounted.
fn wait(
    context: &Context,
    arguments: &MountArguments,
    mount: Mount,
    log: &MountLog,
    place: &str,
) -> Result<Outcome, CommandError> {
    if arguments.announce {
        mount.wait()?;
        return Ok(Outcome::Done);
    }
    let manager = ServiceManager::find();
    if let Err(error) = manager.ready(&format!("Serving {place}")) {
        log.line(&format!("Cannot tell the service manager: {error}"));
    }
    context.note(&format!("Serving {place}; Ctrl-C or `icecore umount {place}` ends it"));
    let outcome = mount.wait();
    manager.stopping();
    outcome?;
    Ok(Outcome::Done)
}

/// What it means that the mount keeps nothing from being collected.
fn unleased(context: &Context, reason: Unleased) -> String {
    let place = path_text(&context.repository);
    match reason {
        Unleased::ReadOnly => {
            format!("{place} is on a read-only file system: nothing is leased")
        }
        Unleased::NotPermitted => format!(
            "{place} cannot be written by {}: nothing is leased, so `gc` may take deleted \
             snapshots away while they are in use here",
            user()
        ),
        Unleased::NoSpace => format!(
            "{place} is on a full file system: nothing is leased, so `gc` may take deleted \
             snapshots away while they are in use here; mount it anew when there is space"
        ),
    }
}

/// Refreshes on SIGHUP; unmounts when the process is asked to end. A mount in
/// use is detached: it vanishes at once and serves until its last user has gone.
fn obey_signals(
    mut signals: Signals,
    unmounter: Unmounter,
    refresher: Refresher,
    log: Arc<MountLog>,
) {
    thread::spawn(move || {
        for signal in signals.forever() {
            if signal == SIGHUP {
                log.reopen();
                refresher.refresh();
            } else if let Err(error) = unmounter.unmount() {
                log.line(&format!("{error}; detaching the mount instead"));
                if let Err(error) = unmounter.detach() {
                    log.line(&error.to_string());
                }
            }
        }
    });
}

/// Takes the key that [`start`] passes, past any buffer.
fn key_from_stdin() -> Result<MasterKey, CommandError> {
    conceal();
    let failed = CommandError::io("take the key from the command");
    let mut key = [0; KEY_BYTES];
    let read = rustix::io::dup(rustix::stdio::stdin()).map_err(io::Error::from);
    match read.and_then(|stdin| File::from(stdin).read_exact(&mut key)) {
        Ok(()) => Ok(MasterKey::new(Secret::take(&mut key))),
        Err(error) => Err(failed(error)),
    }
}

/// Starts the serving process and waits until it serves or has failed.
fn start(context: &Context, arguments: &MountArguments) -> Result<Outcome, CommandError> {
    let program = env::current_exe().map_err(CommandError::io("find this program"))?;
    let mountpoint = std::path::absolute(&arguments.mountpoint)
        .map_err(CommandError::io(format!("find {}", path_text(&arguments.mountpoint))))?;
    // A copy of the program may have the name of a mount helper, which counts.
    let mut command = Command::new(program);
    command.arg0("icecore");
    command.args(["mount", "--foreground", "--announce", "--repo"]).arg(&context.repository);
    if let Some(only) = &arguments.only {
        command.arg("--only").arg(only);
    }
    command.arg("--cache-size").arg(arguments.cache_size.to_string());
    // In one, since a pattern may begin with a dash.
    command.arg(format!("--by-time-format={}", arguments.by_time_format));
    for (given, flag) in [
        (arguments.allow_other, "--allow-other"),
        (arguments.no_pin, "--no-pin"),
        (arguments.no_poll, "--no-poll"),
        (arguments.samba, "--samba"),
        (arguments.no_exec, "--no-exec"),
        (context.quiet, "--quiet"),
    ] {
        command.args(given.then_some(flag));
    }
    if let Some(log_file) = &arguments.log_file {
        let log_file = std::path::absolute(log_file)
            .map_err(CommandError::io(format!("find {}", path_text(log_file))))?;
        command.arg("--log-file").arg(log_file);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    // Unlocked here, where a person can be asked. The key goes through a pipe: neither
    // arguments nor the environment hold it.
    let key = context.key()?;
    if key.is_some() {
        command.arg("--key-from-stdin").stdin(Stdio::piped()).env_remove("ICECORE_PASSWORD");
    }
    command.arg("--").arg(mountpoint);
    let mut child = command.spawn().map_err(CommandError::io("start the serving process"))?;
    if let (Some(key), Some(mut input)) = (&key, child.stdin.take()) {
        let written = input.write_all(key.secret().as_bytes());
        written.map_err(CommandError::io("pass the key to the serving process"))?;
    }
    wait_until_ready(child)?;
    if !context.quiet {
        context.note(&format!("Mounted on {}", path_text(&arguments.mountpoint)));
    }
    Ok(Outcome::Done)
}

fn wait_until_ready(mut child: Child) -> Result<(), CommandError> {
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        // No line means that the child ended; its status says more.
        let _ = BufReader::new(output).read_line(&mut line);
    }
    if line.trim_end() == READY {
        return Ok(());
    }
    let status = child.wait().map_err(CommandError::io("wait for the serving process"))?;
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        // It has told why on the standard error that we share.
        Some(code) if code != 0 => Err(CommandError::Told(code)),
        _ => Err(CommandError::Failed(format!("The serving process ended early: {status}"))),
    }
}

/// Tells the parent that the mount serves, and lets go of its terminal.
fn announce() -> Result<(), CommandError> {
    writeln!(io::stdout(), "{READY}")
        .and_then(|()| io::stdout().flush())
        .map_err(CommandError::io("announce the mount"))?;
    // A session of its own, so that the terminal's signals do not reach it. It
    // fails for the leader of a group, which a child never is.
    let _ = rustix::process::setsid();
    let nowhere = OpenOptions::new().read(true).write(true).open("/dev/null");
    let nowhere = nowhere.map_err(CommandError::io("open /dev/null"))?;
    rustix::stdio::dup2_stdout(&nowhere)
        .and_then(|()| rustix::stdio::dup2_stderr(&nowhere))
        .and_then(|()| rustix::process::chdir("/"))
        .map_err(|error| CommandError::io("leave the terminal")(error.into()))
}
