//! Which snapshots other processes have open: the kernel asks for no OPEN on
//! this mount, so the tables of processes and of mounts tell instead.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use crate::fuse::mount_table::{self, MountEntry, lower_directories};
use crate::view::CHANGES;

/// Where the mount is seen, each with the part of it that is seen there.
type Windows = Vec<(PathBuf, PathBuf)>;

/// Returns the names of snapshots in the mount that any process has as working
/// directory, root, open file or mapping, or that are mounted elsewhere by a
/// bind mount or an overlay. Nothing if that cannot be told, since processes of
/// other users may use the mount.
pub(crate) fn names_in_use(mountpoint: &Path) -> Option<Vec<Vec<u8>>> {
    let complete = rustix::process::geteuid().is_root();
    let own = mount_table::read(Path::new("/proc/self/mountinfo"));
    let mount = own.iter().rfind(|entry| entry.place == mountpoint);
    let mut names = Vec::new();
    let windows = windows(&own, mount, mountpoint, &mut names);
    let mut by_namespace = HashMap::new();
    if let Ok(namespace) = fs::read_link("/proc/self/ns/mnt") {
        by_namespace.insert(namespace, windows.clone());
    }
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let name = process.file_name();
        if !name.as_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let path = process.path();
        // Containers see the mount elsewhere, if they do.
        let windows = match fs::read_link(path.join("ns/mnt")) {
            Ok(namespace) => by_namespace.entry(namespace).or_insert_with(|| {
                let table = mount_table::read(&path.join("mountinfo"));
                self::windows(&table, mount, mountpoint, &mut names)
            }),
            Err(_) => &windows,
        };
        let mut seen = |target: PathBuf| names.extend(names_through(&target, windows));
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
    let is_shared = || mount.is_some_and(is_shared);
    (complete || !is_shared()).then_some(names)
}

/// Whether other users may enter the mount.
fn is_shared(mount: &MountEntry) -> bool {
    mount.options.split(|byte| *byte == b',').any(|option| option == b"allow_other")
}

/// Where a table shows the mount. What is mounted elsewhere is in use, whether
/// or not anybody looks at it.
fn windows(
    table: &[MountEntry],
    mount: Option<&MountEntry>,
    mountpoint: &Path,
    names: &mut Vec<Vec<u8>>,
) -> Windows {
    let Some(mount) = mount else { return vec![(mountpoint.to_owned(), PathBuf::from("/"))] };
    let mut windows = Vec::new();
    for entry in table.iter().filter(|entry| entry.device == mount.device) {
        names.extend(names_inside(&entry.root));
        windows.push((entry.place.clone(), entry.root.clone()));
    }
    let lower = table.iter().flat_map(lower_directories);
    names.extend(lower.flat_map(|path| names_through(&path, &windows)));
    windows
}

/// The snapshots that a path leads into.
fn names_through(path: &Path, windows: &[(PathBuf, PathBuf)]) -> Vec<Vec<u8>> {
    let inside = windows.iter().filter_map(|(place, root)| {
        let below = path.strip_prefix(place).ok()?;
        Some(names_inside(&root.join(below)))
    });
    inside.flatten().collect()
}

/// The first name of a path in the mount; of a comparison both of its names.
fn names_inside(path: &Path) -> Vec<Vec<u8>> {
    let mut names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.as_bytes()),
        _ => None,
    });
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
        let windows = [("/mnt".into(), "/".into()), ("/bound".into(), "/cc/etc".into())];
        let of = |path: &str| names_through(Path::new(path), &windows);
        assert_eq!(of("/mnt/changes/aa..bb/added/x"), [b"aa", b"bb"]);
        assert_eq!(of("/mnt/aa/changes"), [b"aa"]);
        assert_eq!(of("/mnt/changes"), [b"changes"]);
        assert_eq!(of("/bound/passwd"), [b"cc"]);
        assert_eq!(of("/bound"), [b"cc"]);
        assert!(of("/mnt").is_empty() && of("/mntx/aa").is_empty());
    }

    #[test]
    fn bind_mounts_and_overlays_use_what_they_are_made_of() {
        let entry = |root: &str, place: &str, kind: &str, options: &str| MountEntry {
            device: if kind == "overlay" { b"0:9".into() } else { b"0:8".into() },
            root: root.into(),
            place: place.into(),
            kind: kind.into(),
            source: "source".into(),
            options: options.into(),
        };
        let table = [
            entry("/", "/mnt", "fuse.icecore", "ro"),
            entry("/aa/etc", "/bound", "fuse.icecore", "ro"),
            entry("/", "/merged", "overlay", "rw,lowerdir=/low:/mnt/bb/usr,upperdir=/up"),
        ];
        let mut names = Vec::new();
        let windows = windows(&table, table.first(), Path::new("/mnt"), &mut names);
        assert_eq!(names, [b"aa", b"bb"]);
        assert_eq!(names_through(Path::new("/bound/x"), &windows), [b"aa"]);
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
