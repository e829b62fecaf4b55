//! Which devices hold no files worth saving: pseudo file systems of the kernel,
//! and our own mounts.

use std::collections::HashMap;
use std::fs;

/// The major and the minor number of a device.
type DeviceNumbers = (u32, u32);

/// File systems that the kernel makes up. tmpfs is none of them.
const PSEUDO: [&str; 22] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fuse.icecore",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sysfs",
    "tracefs",
];

/// The pseudo file systems that are mounted, by device number.
#[derive(Debug, Default)]
pub struct PseudoFileSystems {
    types: HashMap<DeviceNumbers, String>,
}

impl PseudoFileSystems {
    /// Reads the table of mounts. Without one, none is known.
    #[must_use]
    pub fn read() -> Self {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self { types: table.lines().filter_map(parse_line).collect() }
    }

    /// The type of the pseudo file system on a device, if it is one.
    #[must_use]
    pub fn type_of(&self, major: u32, minor: u32) -> Option<&str> {
        self.types.get(&(major, minor)).map(String::as_str)
    }
}

/// Takes the device and the type from a line such as
/// `36 35 98:0 /root /mnt rw shared:1 - ext4 /dev/sda1 rw`.
fn parse_line(line: &str) -> Option<(DeviceNumbers, String)> {
    let (before, after) = line.split_once(" - ")?;
    let (major, minor) = before.split(' ').nth(2)?.split_once(':')?;
    let mut fields = after.split(' ');
    // Mounted by root, our mounts have no type of their own, only a source.
    let kind = match (fields.next()?, fields.next()) {
        ("fuse", Some("icecore")) => "fuse.icecore",
        (kind, _) => kind,
    };
    let device = (major.parse().ok()?, minor.parse().ok()?);
    PSEUDO.contains(&kind).then(|| (device, kind.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pseudo_file_systems_are_listed() {
        let proc = "23 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw";
        assert_eq!(parse_line(proc), Some(((0, 21), "proc".to_owned())));
        let ours = "99 28 0:50 / /my\\040mount ro - fuse.icecore icecore ro";
        assert_eq!(parse_line(ours), Some(((0, 50), "fuse.icecore".to_owned())));
        assert_eq!(parse_line(&ours.replace("fuse.icecore", "fuse")), parse_line(ours));
        for real in ["24 1 8:1 / / rw - ext4 /dev/sda1 rw", "25 1 0:30 / /tmp rw - tmpfs t rw", ""]
        {
            assert_eq!(parse_line(real), None);
        }
    }
}
