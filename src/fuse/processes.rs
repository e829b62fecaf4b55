//! Which snapshots other processes have open: the kernel asks for no OPEN on
//! this mount, so the process table tells instead.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::view::CHANGES;

/// Returns the names of snapshots below the mountpoint that any process has as
/// working directory, root, open file or mapping. Nothing if that cannot be
/// told, since processes of other users may use the mount.
pub(crate) fn names_in_use(mountpoint: &Path) -> Option<Vec<Vec<u8>>> {
    let complete = rustix::process::geteuid().is_root();
    let mut names = Vec::new();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let name = process.file_name();
        if !name.as_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let path = process.path();
        let mut seen = |target: PathBuf| names.extend(names_below(&target, mountpoint));
        for link in ["cwd", "root"] {
            if let Ok(target) = fs::read_link(path.join(link)) {
                seen(target);
            }
        }
        for directory in ["fd", "map_files"] {
            let Ok(links) = fs::read_dir(path.join(directory)) else { continue };
            links.flatten().filter_map(|link| fs::read_link(link.path()).ok()).for_each(&mut seen);
        }
    }
    // Users other than root see their own processes only, and these are the
    // only ones that may enter a mount of theirs.
    (complete || !is_shared(mountpoint)).then_some(names)
}

/// Whether other users may enter the mount.
fn is_shared(mountpoint: &Path) -> bool {
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    table.split(|byte| *byte == b'\n').any(|line| {
        let is_here =
            line.split(|byte| *byte == b' ').nth(4) == Some(mountpoint.as_os_str().as_bytes());
        is_here && line.windows(b"allow_other".len()).any(|window| window == b"allow_other")
    })
}

/// The first name below the mountpoint; of a comparison both of its names.
fn names_below(path: &Path, mountpoint: &Path) -> Vec<Vec<u8>> {
    let Ok(below) = path.strip_prefix(mountpoint) else { return Vec::new() };
    let mut names = below.components().map(|name| name.as_os_str().as_bytes());
    match (names.next(), names.next()) {
        (Some(first), Some(pair)) if first == CHANGES.as_bytes() => {
            pair.split(|byte| *byte == b'.').map(<[u8]>::to_vec).filter(|n| !n.is_empty()).collect()
        }
        (first, _) => first.into_iter().map(<[u8]>::to_vec).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_below_a_comparison_is_both_of_its_snapshots() {
        let of = |path: &str| names_below(&Path::new("/mnt").join(path), Path::new("/mnt"));
        assert_eq!(of("changes/aa..bb/added/x"), [b"aa", b"bb"]);
        assert_eq!(of("aa/changes"), [b"aa"]);
        assert_eq!(of("changes"), [b"changes"]);
        assert!(of("").is_empty());
    }

    #[test]
    fn an_open_file_and_a_working_directory_are_seen() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().canonicalize().unwrap();
        fs::create_dir(place.join("snapshot")).unwrap();
        fs::write(place.join("snapshot/file"), b"x").unwrap();
        assert_eq!(names_in_use(&place), Some(vec![]));
        let open = fs::File::open(place.join("snapshot/file")).unwrap();
        assert_eq!(names_in_use(&place), Some(vec![b"snapshot".to_vec()]));
        drop(open);
        assert_eq!(names_in_use(&place), Some(vec![]));
    }
}
