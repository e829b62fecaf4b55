//! Mounting, serving, unmounting.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fuser::{Config, INodeNo, MountOption, Notifier, Session, SessionACL};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use crate::base::format::system_words;
use crate::base::name::printable;
use crate::dag::XattrClasses;
use crate::fuse::ahead::Ahead;
use crate::fuse::driver::{Driver, Helpers};
use crate::fuse::mount_table::FILE_SYSTEM;
use crate::fuse::nodes::ROOT;
use crate::fuse::polling::Polling;
use crate::fuse::processes::names_in_use;
use crate::fuse::tree::{BRIEFLY, SingleTree, Tree};
use crate::fuse::usage::Usage;
use crate::fuse::{Describe, Log};
use crate::view::{View, ViewError};

/// Threads that serve at most; more only contend for the caches.
const THREADS_MAX: usize = 4;
/// How often it is looked whether somebody has stayed in a snapshot.
const TICK: Duration = Duration::from_secs(1);
/// How often it is looked for leases to give up.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// How long a deleted snapshot must be idle before its lease is given up.
const IDLE_DELETED: Duration = Duration::from_secs(60);
/// How long any other one must.
const IDLE: Duration = Duration::from_secs(600);
/// KiB that the kernel reads ahead of a sequential reader.
const READAHEAD_KIB: &str = "1024";

/// How a view is mounted.
#[derive(Clone, Debug)]
pub struct MountOptions {
    /// Whether other users may enter, with permissions enforced.
    pub allow_other: bool,
    /// Whether serving threads stay on one processor each.
    pub pin_threads: bool,
    /// Whether a serving thread looks for the next request for a little while
    /// before it sleeps.
    pub poll: bool,
    /// Whether no program may be run from the mount.
    pub no_exec: bool,
    /// The one directory to show, if it is not all.
    pub only: Option<SingleTree>,
    /// What the table of mounts names as mounted here.
    pub source: OsString,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            allow_other: false,
            pin_threads: true,
            poll: true,
            no_exec: false,
            only: None,
            source: OsString::from("icecore"),
        }
    }
}

/// Why nothing could be mounted or unmounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// The mountpoint cannot be used.
    #[error("Cannot mount on {mountpoint:?}: {problem}")]
    Mountpoint {
        /// Where.
        mountpoint: PathBuf,
        /// Why not.
        problem: String,
    },
    /// The mount would serve its own files through itself, and hang.
    #[error("Cannot mount on {mountpoint:?}: it overlaps the repository {repository:?}")]
    Overlap {
        /// Where.
        mountpoint: PathBuf,
        /// The repository.
        repository: PathBuf,
    },
    /// The kernel or the helper refused.
    #[error("Cannot mount on {mountpoint:?}: {source}")]
    Refused {
        /// Where.
        mountpoint: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The mount cannot be taken away.
    #[error("Cannot unmount {mountpoint:?}: {problem}")]
    Unmount {
        /// Where.
        mountpoint: PathBuf,
        /// Why not.
        problem: String,
    },
    /// What was to be shown alone cannot be.
    #[error(transparent)]
    View(#[from] ViewError),
    /// Serving ended with an error.
    #[error("The mount on {mountpoint:?} ended: {problem}")]
    Ended {
        /// Where.
        mountpoint: PathBuf,
        /// Why.
        problem: String,
    },
}

impl MountError {
    /// Whether it was refused as unsafe.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Overlap { .. })
    }
}

/// Checks that something can be mounted on `mountpoint`.
///
/// # Errors
/// Fails if it is no directory, or is, lies in or lies above the repository.
pub fn check_mountpoint(mountpoint: &Path, repository: &Path) -> Result<PathBuf, MountError> {
    let unusable =
        |problem: String| MountError::Mountpoint { mountpoint: mountpoint.to_owned(), problem };
    let unreached = |error: io::Error| match Errno::from_io_error(&error) {
        Some(Errno::NOTCONN) => {
            unusable("a dead mount is still there; `umount` it first".to_owned())
        }
        _ => unusable(system_words(&error)),
    };
    // A dead mount has a path; only to look at it fails.
    let place = fs::canonicalize(mountpoint).map_err(unreached)?;
    if !fs::metadata(&place).map_err(unreached)?.is_dir() {
        return Err(unusable("it is no directory".to_owned()));
    }
    let repository = fs::canonicalize(repository).unwrap_or_else(|_| repository.to_owned());
    if place.starts_with(&repository) || repository.starts_with(&place) {
        return Err(MountError::Overlap { mountpoint: mountpoint.to_owned(), repository });
    }
    Ok(place)
}

/// A view that is being served.
pub struct Mount {
    mountpoint: PathBuf,
    serving: JoinHandle<io::Result<()>>,
    /// Loads what will be asked for.
    prefetcher: JoinHandle<()>,
    /// Looks after the leases and the list of snapshots.
    janitor: (Sender<Duty>, JoinHandle<()>),
}

impl Mount {
    /// Mounts a view. When this returns, the mount serves. Its control directory
    /// shows what `describe` says of each snapshot.
    ///
    /// # Errors
    /// Fails if the mountpoint cannot be used or the system refuses.
    pub fn start(
        view: View,
        mountpoint: &Path,
        options: &MountOptions,
        describe: Describe,
        log: Log,
    ) -> Result<Self, MountError> {
        let place = check_mountpoint(mountpoint, view.reader().path())?;
        let refused = |source| MountError::Refused { mountpoint: mountpoint.to_owned(), source };
        // ACLs count where others may enter. Where none is in any snapshot, tools
        // that hear so ask no further; otherwise the kernel remembers them.
        let kernel_acl = options.allow_other || view.snapshots()?.xattrs().has(XattrClasses::ACL);
        let mut tree = Tree::new(view, kernel_acl, describe, log);
        if let Some(only) = &options.only {
            tree.show_only(only)?;
        }
        let tree = Arc::new(tree);
        let driver = Driver::new(tree.clone(), options.pin_threads);
        let helpers = driver.helpers();
        let session = Session::new(driver, &place, &config(options)).map_err(refused)?;
        let polls = options.poll && processors() > 1;
        let device = polls.then(|| session.as_fd().try_clone_to_owned()).transpose();
        let polling = device.map_err(refused)?.map(Polling::new);
        let notifier = session.notifier();
        let ahead = Ahead::default();
        let (sender, duties) = mpsc::channel();
        let janitor = Janitor::new(sender.clone());
        let (kernel, shedder) = (notifier.clone(), janitor.clone());
        let _ = helpers.set(Helpers { polling, ahead, kernel, janitor: shedder });
        let serving = thread::Builder::new()
            .name("icecore-mount".to_owned())
            .spawn(move || session.run())
            .map_err(refused)?;
        raise_readahead(&place);
        let loading = tree.clone();
        let prefetcher = thread::spawn(move || loading.view().prefetch());
        let mountpoint = place.clone();
        let janitor =
            thread::spawn(move || look_after(&tree, &mountpoint, &notifier, &janitor, &duties));
        Ok(Self { mountpoint: place, serving, prefetcher, janitor: (sender, janitor) })
    }

    /// Returns what takes the mount away, from any thread.
    #[must_use]
    pub fn unmounter(&self) -> Unmounter {
        Unmounter { mountpoint: self.mountpoint.clone() }
    }

    /// Returns what makes the mount look at the repository again, from any
    /// thread.
    #[must_use]
    pub fn refresher(&self) -> Refresher {
        Refresher { duties: self.janitor.0.clone() }
    }

    /// Serves until the mount is taken away.
    ///
    /// # Errors
    /// Fails if serving ended in another way.
    pub fn wait(self) -> Result<(), MountError> {
        let Self { mountpoint, serving, prefetcher, janitor: (duties, janitor) } = self;
        let ended = |problem| MountError::Ended { mountpoint, problem };
        let outcome = serving.join();
        let _ = duties.send(Duty::Stop);
        // They hold the view; only when they have ended is the lease gone. A panic
        // of theirs harms nobody.
        let _ = prefetcher.join();
        let _ = janitor.join();
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(ended(system_words(&error))),
            Err(_) => Err(ended("a serving thread panicked".to_owned())),
        }
    }
}

/// What a mount does beside serving.
#[derive(Clone, Copy, Debug)]
enum Duty {
    Refresh,
    Shed,
    Stop,
}

/// Asks for what a serving thread must not do itself.
#[derive(Clone, Debug)]
pub(crate) struct Janitor {
    duties: Sender<Duty>,
    /// Whether shedding was asked for and has not been done.
    is_shedding: Arc<AtomicBool>,
}

impl Janitor {
    fn new(duties: Sender<Duty>) -> Self {
        Self { duties, is_shedding: Arc::default() }
    }

    /// Asks for nodes to be shed, once.
    pub(crate) fn ask_to_shed(&self) {
        if !self.is_shedding.swap(true, Ordering::AcqRel) {
            let _ = self.duties.send(Duty::Shed);
        }
    }

    fn has_shed(&self) {
        self.is_shedding.store(false, Ordering::Release);
    }
}

/// Makes a mount look at the repository again.
#[derive(Clone, Debug)]
pub struct Refresher {
    duties: Sender<Duty>,
}

impl Refresher {
    /// Asks for it; the log says when it is done.
    pub fn refresh(&self) {
        // A mount that has ended needs it no more.
        let _ = self.duties.send(Duty::Refresh);
    }
}

/// Takes a mount away.
#[derive(Clone, Debug)]
pub struct Unmounter {
    mountpoint: PathBuf,
}

impl Unmounter {
    /// Unmounts, if nobody uses the mount.
    ///
    /// # Errors
    /// Fails if somebody does, or the system refuses.
    pub fn unmount(&self) -> Result<(), MountError> {
        self.run(UnmountFlags::empty(), &["-u"])
    }

    /// Detaches the mount: it vanishes at once, and serving ends with its last
    /// user.
    ///
    /// # Errors
    /// Fails if the system refuses.
    pub fn detach(&self) -> Result<(), MountError> {
        self.run(UnmountFlags::DETACH, &["-u", "-z"])
    }

    fn run(&self, flags: UnmountFlags, helper: &[&str]) -> Result<(), MountError> {
        let failed =
            |problem: String| MountError::Unmount { mountpoint: self.mountpoint.clone(), problem };
        match unmount(&self.mountpoint, flags) {
            Ok(()) => Ok(()),
            Err(Errno::BUSY) => Err(failed("it is in use".to_owned())),
            // Users other than root go through the helper of FUSE.
            Err(Errno::PERM) => {
                let output = Command::new("fusermount3")
                    .args(helper)
                    .args([OsStr::new("--"), self.mountpoint.as_os_str()])
                    .output()
                    .map_err(|error| failed(format!("cannot run fusermount3: {error}")))?;
                if output.status.success() {
                    return Ok(());
                }
                Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
            }
            Err(error) => Err(failed(system_words(&error.into()))),
        }
    }
}

fn config(options: &MountOptions) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoAtime,
        MountOption::DefaultPermissions,
        MountOption::FSName(source_name(&options.source)),
        // `Subtype` reaches the helper of FUSE alone, this one the kernel too.
        MountOption::CUSTOM(FILE_SYSTEM.replace("fuse.", "subtype=")),
    ];
    config.mount_options.extend(options.no_exec.then_some(MountOption::NoExec));
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(processors().clamp(2, THREADS_MAX));
    config.clone_fd = true;
    config
}

fn processors() -> usize {
    thread::available_parallelism().map_or(2, usize::from)
}

/// The source as the table of mounts shall show it.
fn source_name(source: &OsStr) -> String {
    let text = source.to_str().map_or_else(|| printable(source.as_bytes()), str::to_owned);
    if rustix::process::geteuid().is_root() {
        return text;
    }
    // The helper of FUSE, by which others mount, takes a list of options.
    text.replace('\\', "\\\\").replace(',', "\\,")
}

/// Lets the kernel read further ahead than its default. Only root may; others
/// read with smaller requests.
fn raise_readahead(mountpoint: &Path) {
    // What the kernel knows by itself, without a request to this mount: a
    // process that waits for an answer of its own cannot even be killed.
    let known = statx(CWD, mountpoint, AtFlags::STATX_DONT_SYNC, StatxFlags::empty());
    let Ok(known) = known else { return };
    let (major, minor) = (known.stx_dev_major, known.stx_dev_minor);
    let _ = fs::write(format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb"), READAHEAD_KIB);
}

/// Gives up leases that nobody uses, and refreshes, until told to stop.
fn look_after(
    tree: &Tree,
    mountpoint: &Path,
    notifier: &Notifier,
    janitor: &Janitor,
    duties: &Receiver<Duty>,
) {
    let mut looked = Instant::now();
    loop {
        match duties.recv_timeout(TICK) {
            Ok(Duty::Refresh) => refresh(tree, notifier),
            Ok(Duty::Shed) => {
                tree.shed(notifier);
                janitor.has_shed();
                continue;
            }
            Ok(Duty::Stop) | Err(RecvTimeoutError::Disconnected) => {
                tree.view().stop_prefetching();
                return;
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        lease_candidates(tree, mountpoint);
        if looked.elapsed() >= LOOK_INTERVAL {
            looked = Instant::now();
            give_up_leases(tree, mountpoint, notifier);
        }
    }
}

/// Leases the snapshots in which somebody has stayed: with a working directory,
/// say, and without having read anything yet.
fn lease_candidates(tree: &Tree, mountpoint: &Path) {
    let Some(settled) = Instant::now().checked_sub(BRIEFLY) else { return };
    let candidates = tree.usages().candidates(settled);
    if candidates.is_empty() {
        return;
    }
    // If it cannot be told who is where, all of them count.
    let names = names_in_use(mountpoint);
    let is_used = |usage: &Usage| names.as_ref().is_none_or(|names| is_named(usage, names));
    for usage in candidates.into_iter().filter(|usage| is_used(usage)) {
        // One that is gone by now tells so to whoever reads in it.
        let _ = tree.usages().touch(tree.view().reader(), &usage);
    }
}

/// Whether one of the names is the snapshot's, or begins its id.
fn is_named(usage: &Usage, names: &[Vec<u8>]) -> bool {
    let id = usage.id.to_string();
    names.iter().any(|name| id.as_bytes().starts_with(name))
}

/// Reads the list of snapshots again, whether or not it seems to have changed.
fn refresh(tree: &Tree, notifier: &Notifier) {
    tree.view().reader().doubt();
    let line = match tree.view().snapshots() {
        Ok(list) => {
            let _ = notifier.inval_inode(INodeNo(ROOT), 0, 0);
            list.damaged().iter().for_each(|damage| tree.log()(damage));
            format!("Refreshed; {} snapshots", list.len())
        }
        Err(error) => format!("Cannot refresh: {error}"),
    };
    tree.log()(&line);
}

/// Gives up the leases of snapshots that nobody uses any more.
fn give_up_leases(tree: &Tree, mountpoint: &Path, notifier: &Notifier) {
    if tree.single_totals().is_some() {
        // What is all of the mount is in use as long as it.
        return;
    }
    let Ok(list) = tree.view().snapshots() else { return };
    let is_over = |deleted: bool| if deleted { IDLE_DELETED } else { IDLE };
    let idle: Vec<_> = [true, false]
        .into_iter()
        .flat_map(|deleted| {
            let list = list.clone();
            let idle = tree.usages().idle(is_over(deleted)).into_iter();
            idle.filter(move |usage| list.get(&usage.id).is_none() == deleted)
        })
        .collect();
    if idle.is_empty() {
        return;
    }
    let Some(names) = names_in_use(mountpoint) else { return };
    for usage in idle.into_iter().filter(|usage| !is_named(usage, &names)) {
        usage.release();
        if list.get(&usage.id).is_none() {
            // What the kernel remembers of it is of no use any more. It waits
            // for lookups and listings of the root that are under way (it locks
            // that directory), and those wait for the serving threads alone,
            // which wait for nothing that this thread holds.
            let id = usage.id.to_string();
            let _ = notifier.inval_entry(INodeNo(ROOT), OsStr::new(&id));
        }
    }
}
