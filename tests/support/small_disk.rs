//! A small ext4 file system in a file.

use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};

use super::args;
use super::command::{run_tool, try_tool};
use super::need::require_root;
use super::scratch::Scratch;

/// The disk, unmounted when it is dropped.
pub(crate) struct SmallDisk {
    scratch: Scratch,
}

impl SmallDisk {
    /// Makes and mounts one; nothing where that cannot be done, which is said.
    pub(crate) fn ext4(mebibytes: u64) -> Option<Self> {
        if !require_root("mounting a small disk") {
            return None;
        }
        let scratch = Scratch::new();
        let (image, point) = (scratch.join("image"), scratch.mkdir("disk"));
        let file = std::fs::File::create(&image).expect("a file can be made");
        file.set_len(mebibytes << 20).expect("it can be sparse");
        let tools = ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"];
        let Some(tool) = tools.iter().find(|path| Path::new(path).exists()) else {
            eprintln!("SKIPPED: there is no mkfs.ext4");
            return None;
        };
        run_tool(tool, args!["-q", "-m", "0", "-e", "remount-ro", &image]);
        let mounted = try_tool("mount", args!["-o", "loop", &image, &point]);
        if mounted.code != 0 {
            eprintln!("SKIPPED: no loop device: {}", mounted.error());
            return None;
        }
        Some(Self { scratch })
    }

    /// Where it is mounted.
    pub(crate) fn point(&self) -> PathBuf {
        self.scratch.join("disk")
    }

    /// Bytes that are free.
    pub(crate) fn free(&self) -> u64 {
        let disk = rustix::fs::statvfs(self.point()).expect("it is a disk");
        disk.f_bavail * disk.f_frsize
    }

    /// Takes all space but so many bytes, or as many as there are.
    pub(crate) fn fill(&self, left: u64) {
        let filler = std::fs::File::create(self.point().join("filler")).expect("a name fits");
        let flags = rustix::fs::FallocateFlags::empty();
        // A map of blocks may take some too: ever smaller pieces, to the last block.
        let (mut length, mut piece) = (0, self.free().saturating_sub(left));
        while piece >= 4096 {
            piece = piece.min(self.free().saturating_sub(left));
            if piece == 0 {
                break;
            }
            match rustix::fs::fallocate(&filler, flags, length, piece) {
                Ok(()) => length += piece,
                Err(_) => piece /= 2,
            }
        }
    }

    /// Gives back what [`Self::fill`] took.
    pub(crate) fn make_room(&self) {
        std::fs::remove_file(self.point().join("filler")).expect("it was filled");
    }

    /// Makes it read-only as the kernel does after an error; an administrator's
    /// own remount is refused while files are open for writing.
    pub(crate) fn turn_read_only(&self) -> bool {
        let device = try_tool("findmnt", args!["-no", "SOURCE", &self.point()]).text();
        let device = device.trim().trim_start_matches("/dev/");
        let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        let turned = std::fs::write(trigger, "a test").is_ok();
        if !turned {
            eprintln!("SKIPPED: the kernel cannot be told to find an error in an ext4");
        }
        turned
    }

    /// Remounts it with an option, as an administrator does. Returns whether that was
    /// possible: `ro` is not while files are open for writing.
    pub(crate) fn remount(&self, option: &str) -> bool {
        let option = format!("remount,{option}");
        try_tool("mount", args!["-o", option, self.point()]).code == 0
    }

    /// Mends and mounts it anew.
    pub(crate) fn mend(&self) {
        unmount(&*self.point(), UnmountFlags::empty()).expect("nothing uses it");
        let image = self.scratch.join("image");
        let _mended = try_tool("e2fsck", args!["-fy", &image]);
        run_tool("mount", args!["-o", "loop", &image, &self.point()]);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = unmount(&*self.point(), UnmountFlags::DETACH) {
            eprintln!("{}: not unmounted: {error}", self.point().display());
        }
    }
}
