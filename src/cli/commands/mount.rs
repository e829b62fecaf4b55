//! `icecore mount`: shows all snapshots as read-only directories.
//!
//! Without `--foreground` the command starts itself again in the foreground,
//! in a session of its own, and returns once that one says that it serves.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::base::time::Timestamp;
use crate::cli::args::MountArguments;
use crate::cli::context::{Context, user_directory};
use crate::cli::exit::{CommandError, Outcome};
use crate::cli::output::path_text;
use crate::fuse::{Log, Mount, MountOptions, check_mountpoint};
use crate::view::{View, ViewOptions};

/// What the child prints once it serves.
const READY: &str = "ready";

pub(crate) fn run(context: &Context, arguments: &MountArguments) -> Result<Outcome, CommandError> {
    if arguments.foreground { serve(context, arguments) } else { start(context, arguments) }
}

/// Mounts and serves until it is unmounted or a signal comes.
fn serve(context: &Context, arguments: &MountArguments) -> Result<Outcome, CommandError> {
    // Checked before the store is opened: a typo costs nothing.
    check_mountpoint(&arguments.mountpoint, &context.repository)?;
    let reader = context.reader()?;
    let shown = ViewOptions {
        cache_bytes: arguments.cache_size,
        by_time: arguments.by_time_format.clone(),
        samba: arguments.samba,
    };
    let view = View::new(reader, shown)?;
    let log = open_log(context, arguments)?;
    for damage in view.snapshots()?.damaged() {
        context.note(damage);
        log(damage);
    }
    let options =
        MountOptions { allow_other: arguments.allow_other, pin_threads: !arguments.no_pin };
    // Before there is a mount that a signal could leave behind without a process.
    let signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(CommandError::io("listen to signals"))?;
    let mount = Mount::start(view, &arguments.mountpoint, &options, log.clone())?;
    unmount_on_signal(&mount, signals, log);
    if arguments.announce {
        announce()?;
    } else {
        let place = path_text(&arguments.mountpoint);
        context.note(&format!("Serving {place}; Ctrl-C or `icecore umount {place}` ends it"));
    }
    mount.wait()?;
    Ok(Outcome::Done)
}

/// Unmounts when the process is asked to end. A mount in use is detached: it
/// vanishes at once and serves until its last user has gone.
fn unmount_on_signal(mount: &Mount, mut signals: Signals, log: Log) {
    let unmounter = mount.unmounter();
    thread::spawn(move || {
        for _ in signals.forever() {
            if let Err(error) = unmounter.unmount() {
                log(&format!("{error}; detaching the mount instead"));
                if let Err(error) = unmounter.detach() {
                    log(&error.to_string());
                }
            }
        }
    });
}

/// Starts the serving process and waits until it serves or has failed.
fn start(context: &Context, arguments: &MountArguments) -> Result<Outcome, CommandError> {
    let program = env::current_exe().map_err(CommandError::io("find this program"))?;
    let mountpoint = std::path::absolute(&arguments.mountpoint)
        .map_err(CommandError::io(format!("find {}", path_text(&arguments.mountpoint))))?;
    let mut command = Command::new(program);
    command.args(["mount", "--foreground", "--announce", "--repo"]).arg(&context.repository);
    command.arg("--cache-size").arg(arguments.cache_size.to_string());
    // In one, since a pattern may begin with a dash.
    command.arg(format!("--by-time-format={}", arguments.by_time_format));
    for (given, flag) in [
        (arguments.allow_other, "--allow-other"),
        (arguments.no_pin, "--no-pin"),
        (arguments.samba, "--samba"),
        (context.quiet, "--quiet"),
    ] {
        command.args(given.then_some(flag));
    }
    if let Some(log_file) = &arguments.log_file {
        let log_file = std::path::absolute(log_file)
            .map_err(CommandError::io(format!("find {}", path_text(log_file))))?;
        command.arg("--log-file").arg(log_file);
    }
    command.arg("--").arg(mountpoint);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let child = command.spawn().map_err(CommandError::io("start the serving process"))?;
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

/// Where trouble is logged: a file if one is given or the process is detached,
/// else standard error.
fn open_log(context: &Context, arguments: &MountArguments) -> Result<Log, CommandError> {
    let path = match &arguments.log_file {
        Some(path) => path.clone(),
        None if !arguments.announce => {
            return Ok(Arc::new(|line| {
                let _ = writeln!(io::stderr(), "icecore: {line}");
            }));
        }
        None => match default_log() {
            Some(path) => path,
            None => return Ok(Arc::new(|_| {})),
        },
    };
    let opened = open_log_file(&path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if arguments.log_file.is_none() => {
            context.note(&format!("Cannot log to {}: {error}", path_text(&path)));
            return Ok(Arc::new(|_| {}));
        }
        Err(error) => {
            return Err(CommandError::io(format!("log to {}", path_text(&path)))(error));
        }
    };
    let file = Mutex::new(file);
    let process = std::process::id();
    Ok(Arc::new(move |line: &str| {
        let time = Timestamp::now().to_rfc3339_local();
        if let Ok(mut file) = file.lock() {
            // A full disk must not stop the mount from serving.
            let _ = writeln!(file, "{time} icecore[{process}]: {line}");
        }
    }))
}

fn open_log_file(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    OpenOptions::new().append(true).create(true).open(path)
}

fn default_log() -> Option<PathBuf> {
    let directory = if rustix::process::geteuid().is_root() {
        Some(PathBuf::from("/var/log/icecore"))
    } else {
        user_directory("XDG_STATE_HOME", ".local/state")
    };
    directory.map(|directory| directory.join(OsString::from("mount.log")))
}
