//! A mounted disk whose power can be cut and whose calls can be made to fail.
//!
//! It lives in the memory of the test and is served by FUSE, uncached: each call
//! of a program arrives at once, in its order.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request,
    Session, TimeOrNow, WriteFlags,
};
use rustix::fs::OFlags;

use super::frail::{BadPlace, Call, Content, Fault, Frail, Lie, Lost, Node};
use super::mount::detach;
use super::scratch::Scratch;

const AT_ONCE: Duration = Duration::ZERO;
const GENERATION: Generation = Generation(0);
const BLOCK: u32 = 4096;
/// Blocks that the disk says it has; it is never full.
const BLOCKS: u64 = 1 << 20;

/// Names of a directory when it was opened.
type Listing = Vec<(String, u64, FileType)>;

#[derive(Default)]
struct Listings {
    open: BTreeMap<u64, Listing>,
    next: u64,
}

struct Served {
    disk: Arc<Mutex<Frail>>,
    listings: Mutex<Listings>,
}

/// The disk, unmounted when it is dropped.
pub(crate) struct FrailDisk {
    disk: Arc<Mutex<Frail>>,
    scratch: Scratch,
    session: Option<BackgroundSession>,
}

/// What a disk held at some time.
pub(crate) struct Image(Frail);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FrailDisk {
    /// Mounts an empty disk.
    pub(crate) fn new() -> Self {
        let scratch = Scratch::new();
        let disk = Arc::new(Mutex::new(Frail::new()));
        let served = Served { disk: disk.clone(), listings: Mutex::default() };
        let point = scratch.mkdir("disk");
        let mut config = Config::default();
        config.n_threads = Some(2);
        let session = Session::new(served, &point, &config).expect("a disk can be mounted");
        let session = Some(session.spawn().expect("a thread can be started"));
        Self { disk, scratch, session }
    }

    /// Where it is mounted.
    pub(crate) fn point(&self) -> PathBuf {
        self.scratch.join("disk")
    }

    /// What it holds, all durable.
    pub(crate) fn image(&self) -> Image {
        let mut disk = lock(&self.disk);
        disk.settle();
        Image(disk.clone())
    }

    /// Holds what it held; counts, faults and lies are those of now.
    pub(crate) fn reset(&self, image: &Image) {
        let mut disk = lock(&self.disk);
        let lie = disk.lie;
        *disk = Frail { lie, ..image.0.clone() };
        disk.count_anew();
    }

    /// Calls of a kind since it was reset.
    pub(crate) fn count(&self, call: Call) -> u64 {
        lock(&self.disk).count(call)
    }

    /// Calls that change something since it was reset.
    pub(crate) fn changes(&self) -> u64 {
        lock(&self.disk).changes
    }

    /// Cuts the power behind so many changes since it was reset.
    pub(crate) fn cut_behind(&self, changes: u64) {
        lock(&self.disk).cut_at = changes;
    }

    /// Loses what was not durable when the power went (now at the latest), and
    /// comes back. No program may run on it.
    pub(crate) fn restart(&self, mut lost: Lost) {
        lock(&self.disk).restart(&mut lost);
    }

    /// Makes calls fail; none from now on without a fault.
    pub(crate) fn fail(&self, fault: Option<Fault>) {
        lock(&self.disk).fault = fault;
    }

    /// Gives nothing any more of some bytes of a file, whose path is below the top.
    pub(crate) fn spoil(&self, file: &Path, bytes: Range<u64>) {
        let mut disk = lock(&self.disk);
        let node = disk.find(file).expect("it is there");
        disk.bad = Some(BadPlace { node, bytes });
    }

    /// Gives everything again.
    pub(crate) fn mend(&self) {
        lock(&self.disk).bad = None;
    }

    /// Lets it say from now on that it did what it did not.
    pub(crate) fn lie(&self, lie: Lie) {
        lock(&self.disk).lie = lie;
    }
}

impl Drop for FrailDisk {
    fn drop(&mut self) {
        detach(Path::new(&self.point()));
        if let Some(session) = self.session.take() {
            let _ended = session.umount_and_join();
        }
    }
}

fn attributes(number: u64, node: &Node) -> FileAttr {
    let (size, kind) = match &node.content {
        Content::File { now, .. } => (now.len() as u64, FileType::RegularFile),
        Content::Directory { .. } => (0, FileType::Directory),
    };
    let time = node.changed;
    FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm: u16::try_from(node.mode & 0o7777).unwrap_or(0o600),
        nlink: node.links,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("it is in memory")
}

impl Served {
    /// Does a call, if it is to work.
    fn call<T>(
        &self,
        call: Call,
        run: impl FnOnce(&mut Frail) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let mut disk = lock(&self.disk);
        disk.admit(call)?;
        run(&mut disk)
    }

    /// Looks at metadata, which always works while there is power.
    fn look<T>(&self, run: impl FnOnce(&Frail) -> Result<T, Errno>) -> Result<T, Errno> {
        let disk = lock(&self.disk);
        if disk.is_off { Err(Errno::EIO) } else { run(&disk) }
    }

    fn names(&self, run: impl FnOnce(&mut Frail) -> Result<(), Errno>, reply: ReplyEmpty) {
        match self.call(Call::Name, run) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn entry(&self, run: impl FnOnce(&mut Frail) -> Result<u64, Errno>, reply: ReplyEntry) {
        let made = self.call(Call::Name, |disk| {
            let number = run(disk)?;
            Ok(attributes(number, disk.node(number)?))
        });
        match made {
            Ok(attributes) => reply.entry(&AT_ONCE, &attributes, GENERATION),
            Err(errno) => reply.error(errno),
        }
    }

    fn sync(&self, number: u64) -> Result<(), Errno> {
        let mut disk = lock(&self.disk);
        let admitted = disk.admit(Call::Sync);
        if admitted.is_err() {
            disk.node_mut(number)?.is_dropped = true;
        }
        admitted?;
        disk.sync(number)
    }

    fn list(&self, number: u64) -> Result<Listing, Errno> {
        self.call(Call::Read, |disk| {
            let names = disk.names(number)?.iter();
            let entries = names.map(|(name, number)| {
                let is_directory = disk.node(*number)?.is_directory();
                let kind = if is_directory { FileType::Directory } else { FileType::RegularFile };
                Ok((name.to_string_lossy().into_owned(), *number, kind))
            });
            let dots = [".", ".."].map(|name| Ok((name.to_owned(), number, FileType::Directory)));
            dots.into_iter().chain(entries).collect()
        })
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.look(|disk| {
            let number = disk.look_up(parent.0, name)?;
            Ok(attributes(number, disk.node(number)?))
        });
        match found {
            Ok(attributes) => reply.entry(&AT_ONCE, &attributes, GENERATION),
            Err(errno) => reply.error(errno),
        }
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.look(|disk| Ok(attributes(node.0, disk.node(node.0)?))) {
            Ok(attributes) => reply.attr(&AT_ONCE, &attributes),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        node: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changed = self.call(Call::Write, |disk| {
            if let Some(size) = size {
                disk.change(node.0, |bytes| bytes.resize(place(size), 0))?;
            }
            if let Some(mode) = mode {
                disk.node_mut(node.0)?.mode = mode & 0o7777;
            }
            Ok(attributes(node.0, disk.node(node.0)?))
        });
        match changed {
            Ok(attributes) => reply.attr(&AT_ONCE, &attributes),
            Err(errno) => reply.error(errno),
        }
    }

    fn mkdir(&self, _: &Request, at: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        self.entry(|disk| disk.make(at.0, name, mode, true), reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.names(|disk| disk.remove(parent.0, name), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.names(|disk| disk.remove(parent.0, name), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        new: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.names(|disk| disk.rename((parent.0, name), (to.0, new)), reply);
    }

    fn link(&self, _: &Request, node: INodeNo, to: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(|disk| disk.link(node.0, to.0, name).map(|()| node.0), reply);
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let made = self.call(Call::Name, |disk| {
            let number = disk.make(parent.0, name, mode, false)?;
            Ok(attributes(number, disk.node(number)?))
        });
        let uncached = FopenFlags::FOPEN_DIRECT_IO;
        match made {
            Ok(made) => reply.created(&AT_ONCE, &made, GENERATION, FileHandle(0), uncached),
            Err(errno) => reply.error(errno),
        }
    }

    fn open(&self, _: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.look(|disk| disk.node(node.0).map(drop)) {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.call(Call::Read, |disk| {
            let bytes = disk.bytes(node.0)?;
            let size = disk.readable(node.0, offset, u64::from(size))?;
            let start = place(offset).min(bytes.len());
            let end = place(offset.saturating_add(size)).min(bytes.len());
            Ok(bytes[start..end].to_vec())
        });
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let appends = OFlags::from_bits_retain(flags.0.cast_unsigned()).contains(OFlags::APPEND);
        let written = self.call(Call::Write, |disk| {
            disk.change(node.0, |bytes| {
                let start = if appends { bytes.len() } else { place(offset) };
                bytes.resize(bytes.len().max(start + data.len()), 0);
                bytes[start..start + data.len()].copy_from_slice(data);
            })
        });
        match written {
            Ok(()) => reply.written(u32::try_from(data.len()).expect("it is a request's")),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, node: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.sync(node.0) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn fsyncdir(&self, _: &Request, node: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.sync(node.0) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn opendir(&self, _: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.list(node.0) {
            Ok(listing) => {
                let mut listings = lock(&self.listings);
                let handle = listings.next;
                listings.next += 1;
                listings.open.insert(handle, listing);
                reply.opened(FileHandle(handle), FopenFlags::empty());
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listings = lock(&self.listings);
        let listing = listings.open.get(&handle.0).map_or(&[][..], Vec::as_slice);
        for (index, (name, number, kind)) in listing.iter().enumerate().skip(place(offset)) {
            if reply.add(INodeNo(*number), index as u64 + 1, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        lock(&self.listings).open.remove(&handle.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS / 2, BLOCKS / 2, BLOCKS, BLOCKS / 2, BLOCK, 255, BLOCK);
    }
}
