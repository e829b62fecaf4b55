//! Users of the machine, as whom a test can act, and what each of them gets from
//! a file: the answers of the kernel, to be compared between two trees.

use std::path::Path;

use rustix::fs::{
    Access, AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid, accessat, fstat, getxattr,
    listxattr, open, openat, readlink, stat, statat,
};
use rustix::io::{Errno, read};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Who owns the files of the tests, and the group of most of them.
pub(super) const OWNER: u32 = 65_533;
pub(super) const GROUP: u32 = 65_530;
/// Whom ACLs name.
pub(super) const NAMED: u32 = 65_529;
pub(super) const NAMED_GROUP: u32 = 65_528;

/// A user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Person {
    pub(super) name: &'static str,
    uid: u32,
    gid: u32,
    groups: &'static [u32],
}

const fn person(name: &'static str, uid: u32, gid: u32, groups: &'static [u32]) -> Person {
    Person { name, uid, gid, groups }
}

pub(super) const NOBODY: Person = person("nobody", 65_534, 65_534, &[]);
pub(super) const ROOT: Person = person("root", 0, 0, &[]);

/// All of them.
pub(super) const PEOPLE: [Person; 8] = [
    NOBODY,
    person("the owner", OWNER, OWNER, &[]),
    person("a member of the group", 65_531, GROUP, &[]),
    person("a member by a further group", 65_531, 65_531, &[65_520, GROUP]),
    person("a user whom ACLs name", NAMED, NAMED, &[]),
    person("a member of a group that ACLs name", 65_527, 65_527, &[NAMED_GROUP]),
    person("a member of both groups", 65_526, NAMED_GROUP, &[GROUP]),
    ROOT,
];

impl Person {
    /// Acts as this user, in a thread of its own: on Linux each has its own ids.
    pub(super) fn act<T: Send>(self, action: impl FnOnce() -> T + Send) -> T {
        let act = move || {
            let groups: Vec<_> = self.groups.iter().map(|group| Gid::from_raw(*group)).collect();
            set_thread_groups(&groups).expect("root may");
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            set_thread_res_gid(gid, gid, gid).expect("root may");
            set_thread_res_uid(uid, uid, uid).expect("root may");
            action()
        };
        std::thread::scope(|scope| scope.spawn(act).join().expect("it does not panic"))
    }
}

/// What the kernel says.
pub(super) type Answer = Result<Vec<u8>, Errno>;
/// Something to do with a path.
pub(super) type Operation = (&'static str, fn(&Path) -> Answer);

const PLAIN: OFlags = OFlags::CLOEXEC.union(OFlags::NONBLOCK);

fn done<T>(answer: Result<T, Errno>) -> Answer {
    answer.map(|_| Vec::new())
}

fn content(path: &Path, flags: OFlags) -> Answer {
    let file = open(path, PLAIN | flags, Mode::empty())?;
    let mut bytes = vec![0; 1 << 12];
    let kind = FileType::from_raw_mode(fstat(&file)?.st_mode);
    // What a pipe holds is no matter of the file system.
    let length = if kind == FileType::RegularFile { read(&file, &mut bytes)? } else { 0 };
    bytes.truncate(length);
    Ok(bytes)
}

/// Opens what a descriptor without any permission stands for.
fn reopened(path: &Path) -> Answer {
    let found = open(path, PLAIN | OFlags::PATH, Mode::empty())?;
    let way = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found));
    content(Path::new(&way), OFlags::empty())
}

fn found_below(path: &Path) -> Answer {
    let directory = open(path, PLAIN | OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    done(statat(&directory, "inner", AtFlags::SYMLINK_NOFOLLOW))
}

fn read_below(path: &Path) -> Answer {
    let directory = open(path, PLAIN | OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    let file = openat(&directory, "inner", PLAIN, Mode::empty())?;
    let mut bytes = vec![0; 1 << 12];
    let length = read(&file, &mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}

fn names(path: &Path) -> Answer {
    let directory = open(path, PLAIN | OFlags::DIRECTORY, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::read_from(&directory)? {
        names.push(entry?.file_name().to_bytes_with_nul().to_vec());
    }
    names.sort();
    Ok(names.concat())
}

/// The value of an attribute.
pub(super) fn attribute(path: &Path, name: &str) -> Answer {
    let mut value = vec![0; 1 << 10];
    let length = getxattr(path, name, &mut value)?;
    value.truncate(length);
    Ok(value)
}

/// The names of all attributes, sorted.
fn attributes(path: &Path) -> Answer {
    let mut list = vec![0; 1 << 12];
    let length = listxattr(path, &mut list)?;
    list.truncate(length);
    let mut names: Vec<_> = list.split_inclusive(|byte| *byte == 0).collect();
    names.sort_unstable();
    Ok(names.concat())
}

fn access(path: &Path, wanted: Access) -> Answer {
    done(accessat(CWD, path, wanted, AtFlags::empty()))
}

fn metadata(path: &Path) -> Answer {
    let found = stat(path)?;
    Ok(format!("{:o} {} {} ", found.st_mode, found.st_uid, found.st_gid).into_bytes())
}

/// All that a user may try to learn of a file. None of them changes anything.
pub(super) const OPERATIONS: [Operation; 18] = [
    ("stat", metadata),
    ("access", |path| access(path, Access::EXISTS)),
    ("access to read", |path| access(path, Access::READ_OK)),
    ("access to run", |path| access(path, Access::EXEC_OK)),
    ("access to read and run", |path| access(path, Access::READ_OK | Access::EXEC_OK)),
    ("access by the effective ids", |path| {
        done(accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS))
    }),
    ("open and read", |path| content(path, OFlags::empty())),
    ("open without following", |path| content(path, OFlags::NOFOLLOW)),
    ("open without a time of access", |path| content(path, OFlags::NOATIME)),
    ("open for its place, and again by /proc", reopened),
    ("list", names),
    ("find what is in it", found_below),
    ("read what is in it", read_below),
    ("read the symlink", |path| done(readlink(path, Vec::new()))),
    ("names of attributes", attributes),
    ("an attribute", |path| attribute(path, "user.kept")),
    ("the ACL", |path| attribute(path, "system.posix_acl_access")),
    ("the ACL for what is made in it", |path| attribute(path, "system.posix_acl_default")),
];
