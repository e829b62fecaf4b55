//! The handlers of the kernel's requests. Each finds its node, asks the view,
//! and answers.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use fuser::{
    AccessFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, InitFlags,
    IoctlFlags, KernelConfig, LockOwner, Notifier, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek,
    ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use crate::fuse::ahead::Ahead;
use crate::fuse::guard::{Pinning, guarded};
use crate::fuse::mount::Janitor;
use crate::fuse::polling::Polling;
use crate::fuse::statistics::Operation;
use crate::fuse::tree::{FOREVER, Found, Tree};

const GENERATION: Generation = Generation(0);
/// Bytes of a request at most, and of readahead.
const REQUEST_BYTES: u32 = 1 << 20;
/// Requests that the kernel may have waiting in the background.
const BACKGROUND_MAX: u16 = 64;

/// What saves the kernel requests, or time for them.
pub(crate) struct Helpers {
    pub(crate) polling: Option<Polling>,
    pub(crate) ahead: Ahead,
    pub(crate) kernel: Notifier,
    pub(crate) janitor: Janitor,
}

/// Answers the kernel.
pub(crate) struct Driver {
    tree: Arc<Tree>,
    pinning: Option<Pinning>,
    helpers: Arc<OnceLock<Helpers>>,
    /// Whether the kernel can do without OPEN, and without OPENDIR.
    no_open: bool,
    no_opendir: bool,
}

impl Driver {
    pub(crate) fn new(tree: Arc<Tree>, pin_threads: bool) -> Self {
        let pinning = pin_threads.then(Pinning::default);
        let helpers = Arc::default();
        Self { tree, pinning, helpers, no_open: false, no_opendir: false }
    }

    /// Where the helpers go once there is a device.
    pub(crate) fn helpers(&self) -> Arc<OnceLock<Helpers>> {
        self.helpers.clone()
    }

    /// Runs a handler: pinned to a processor if that is wanted, and with no way
    /// out for a panic.
    fn run(&self, operation: Operation, handler: impl FnOnce(&Tree)) {
        let begun = Instant::now();
        if let Some(pinning) = &self.pinning {
            pinning.pin();
        }
        guarded(self.tree.log(), operation.name(), || handler(&self.tree));
        self.tree.statistics().count(operation, begun);
        let Some(helpers) = self.helpers.get() else { return };
        if self.tree.is_crowded() {
            helpers.janitor.ask_to_shed();
        }
        if let Some(polling) = &helpers.polling {
            polling.wait();
        }
    }
}

/// Answers an entry.
fn send_entry(reply: ReplyEntry, found: &Found) {
    let Found { attributes, lasting, attributes_lasting } = found;
    reply.entry_with_ttls(attributes_lasting, lasting, attributes, GENERATION);
}

/// Answers that there is no such name, for ever.
fn send_absent(reply: ReplyEntry, like: FileAttr) {
    let absent = FileAttr { ino: INodeNo(0), ..like };
    reply.entry(&FOREVER, &absent, GENERATION);
}

/// Sends an attribute's value, or its size if that is all that is asked for.
fn send_value(reply: ReplyXattr, size: u32, value: &[u8]) {
    match u32::try_from(value.len()) {
        Ok(length) if size == 0 => reply.size(length),
        Ok(length) if length <= size => reply.data(value),
        _ => reply.error(Errno::ERANGE),
    }
}

impl Filesystem for Driver {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let wanted = [
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_EXPORT_SUPPORT,
            // The cached listing of the root is looked at again when its time
            // has changed.
            InitFlags::FUSE_AUTO_INVAL_DATA,
        ];
        let acl = self.tree.kernel_acl().then_some(InitFlags::FUSE_POSIX_ACL);
        for capability in wanted.into_iter().chain(acl) {
            // One that the kernel lacks costs speed, not truth.
            let _ = config.add_capabilities(capability);
        }
        self.no_open = config.add_capabilities(InitFlags::FUSE_NO_OPEN_SUPPORT).is_ok();
        self.no_opendir = config.add_capabilities(InitFlags::FUSE_NO_OPENDIR_SUPPORT).is_ok();
        let _ = config.set_max_write(REQUEST_BYTES);
        if let Err(most) = config.set_max_readahead(REQUEST_BYTES) {
            let _ = config.set_max_readahead(most);
        }
        let _ = config.set_max_background(BACKGROUND_MAX);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.run(Operation::Lookup, |tree| match tree.look_up(parent.0, name.as_bytes()) {
            Ok(Some(found)) => send_entry(reply, &found),
            Ok(None) if tree.may_grow(parent.0) => reply.error(Errno::ENOENT),
            Ok(None) => send_absent(reply, tree.root_attributes()),
            Err(errno) => reply.error(errno),
        });
    }

    fn forget(&self, _request: &Request, node: INodeNo, lookups: u64) {
        self.run(Operation::Forget, |tree| tree.forget(node.0, lookups));
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.run(Operation::GetAttributes, |tree| match tree.attributes(node.0) {
            Ok(found) => {
                reply.attr(&found.attributes_lasting, &found.attributes);
            }
            Err(errno) => reply.error(errno),
        });
    }

    fn readlink(&self, _request: &Request, node: INodeNo, reply: ReplyData) {
        self.run(Operation::ReadLink, |tree| match tree.link_target(node.0) {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(errno),
        });
    }

    fn open(&self, _request: &Request, _node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        if self.no_open {
            // The kernel asks this once, and from then on opens by itself.
            reply.error(Errno::ENOSYS);
        } else {
            reply.opened(FileHandle(0), fuser::FopenFlags::FOPEN_KEEP_CACHE);
        }
    }

    fn read(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.run(Operation::Read, |tree| {
            let bytes = match tree.read(node.0, offset, size) {
                Ok(bytes) => bytes,
                Err(errno) => return reply.error(errno),
            };
            tree.statistics().add_bytes_read(bytes.as_slice().len());
            if offset == 0
                && let Some(Helpers { ahead, kernel, .. }) = self.helpers.get()
            {
                tree.note_read(ahead, node.0, kernel);
            }
            reply.data(bytes.as_slice());
        });
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn opendir(&self, _request: &Request, _node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        if self.no_opendir {
            reply.error(Errno::ENOSYS);
        } else {
            let keep = fuser::FopenFlags::FOPEN_KEEP_CACHE | fuser::FopenFlags::FOPEN_CACHE_DIR;
            reply.opened(FileHandle(0), keep);
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        self.run(Operation::ReadDirectory, |tree| {
            let listed = tree.list(node.0, offset, &mut |next, name, number, kind: FileType| {
                reply.add(INodeNo(number), next, kind, OsStr::from_bytes(name))
            });
            match listed {
                Ok(()) => reply.ok(),
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn readdirplus(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        self.run(Operation::ReadDirectoryPlus, |tree| {
            let listed = tree.list_with_attributes(node.0, offset, &mut |next, name, found| {
                // There is one time for both.
                let lasting = found.lasting.min(found.attributes_lasting);
                let (attributes, name) = (&found.attributes, OsStr::from_bytes(name));
                reply.add(attributes.ino, next, name, &lasting, attributes, GENERATION)
            });
            match listed {
                Ok(()) => reply.ok(),
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn statfs(&self, _request: &Request, _node: INodeNo, reply: ReplyStatfs) {
        self.run(Operation::FileSystem, |tree| match tree.totals() {
            Ok((bytes, files)) => {
                let blocks = bytes.div_ceil(4096);
                reply.statfs(blocks, 0, 0, files, 0, 4096, 255, 4096);
            }
            Err(errno) => reply.error(errno),
        });
    }

    fn getxattr(
        &self,
        request: &Request,
        node: INodeNo,
        name: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        let (uid, name) = (request.uid(), name.as_bytes());
        self.run(Operation::GetXattr, |tree| match tree.xattr(node.0, name, tree.asker(uid)) {
            Ok(value) => send_value(reply, size, &value),
            Err(errno) => reply.error(errno),
        });
    }

    fn listxattr(&self, request: &Request, node: INodeNo, size: u32, reply: ReplyXattr) {
        let uid = request.uid();
        self.run(Operation::ListXattr, |tree| match tree.xattr_names(node.0, tree.asker(uid)) {
            Ok(names) => send_value(reply, size, &names),
            Err(errno) => reply.error(errno),
        });
    }

    fn lseek(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        self.run(Operation::Seek, |tree| match tree.seek(node.0, offset, whence) {
            Ok(position) => reply.offset(position),
            Err(errno) => reply.error(errno),
        });
    }

    fn access(&self, _: &Request, _: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        if mask.contains(AccessFlags::W_OK) { reply.error(Errno::EROFS) } else { reply.ok() }
    }

    fn ioctl(
        &self,
        _request: &Request,
        _node: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _input: &[u8],
        _output_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    // From here on: everything that would change something. The kernel refuses
    // most of it by itself, since the mount is read-only.

    fn setattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<std::time::SystemTime>,
        _: Option<FileHandle>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.error(Errno::EROFS);
    }

    fn mknod(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn mkdir(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn unlink(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn rmdir(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn symlink(&self, _: &Request, _: INodeNo, _: &OsStr, _: &std::path::Path, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: INodeNo,
        _: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn link(&self, _: &Request, _: INodeNo, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::EROFS);
    }

    fn setxattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: &[u8],
        _: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn removexattr(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn create(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        reply.error(Errno::EROFS);
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }
}
