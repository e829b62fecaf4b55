//! Which names an archive may hold: each once, below directories only.

use std::collections::HashMap;

use crate::archive::entry::FoundKind;
use crate::base::hash::sha256;
use crate::base::limits::DIRECTORY_DEPTH_MAX;
use crate::base::name::shown;

/// Entries of an archive that is not in our order, at most: their names are kept.
const ENTRIES_MAX: usize = 1 << 22;
/// Bytes of the paths of all directories that are open at once, at most.
const OPEN_BYTES_MAX: usize = 128 << 20;
/// Bytes of all paths of an archive that is not in our order, at most, those of
/// directories included of which no entry tells: entries are held by their paths.
pub(super) const PATH_BYTES_MAX: usize = 512 << 20;

/// The names that were met.
pub(super) enum Names {
    /// Of an archive of ours: in the order of a walk, so that the last one is
    /// enough. The names of the directories that are open, each with the last name
    /// that was met in it.
    Ordered(Vec<Vec<u8>>),
    /// Of any other: what was met, by the hash of the path, and whether it is a
    /// directory that an entry tells of. And how many bytes all paths have.
    Any(HashMap<[u8; 16], Met>, usize),
}

/// What has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    Directory,
    /// A directory that only names below it tell of, so far.
    Implied,
    Other,
}

/// The short digest by which a path is known.
pub(super) fn key(path: &[u8]) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(&sha256(path)[..16]);
    key
}

impl Names {
    pub(super) fn new(is_own: bool) -> Self {
        if is_own { Self::Ordered(Vec::new()) } else { Self::Any(HashMap::new(), 0) }
    }

    /// Takes the next name, or says why the archive may not hold it. Returns the
    /// directories above it that no entry told of, topmost first: how much of the path
    /// is each. All of them in full could be thousands of times as long.
    pub(super) fn take(&mut self, path: &[u8], kind: &FoundKind) -> Result<Vec<usize>, String> {
        let levels = path.split(|byte| *byte == b'/').count();
        // Half of the path is what those above it have on average.
        let is_long = path.len().saturating_mul(levels) / 2 > OPEN_BYTES_MAX;
        if levels > DIRECTORY_DEPTH_MAX || is_long {
            return Err(format!("{} lies too deep", shown(path)));
        }
        let is_directory = *kind == FoundKind::Directory;
        match self {
            Self::Ordered(last) => ordered(last, path, is_directory).map(|()| Vec::new()),
            Self::Any(met, bytes) => any(met, bytes, path, is_directory),
        }
    }

    /// Whether a path was met that is no directory. In our order only the last one
    /// is known.
    pub(super) fn has_file(&self, path: &[u8]) -> bool {
        match self {
            Self::Ordered(_) => false,
            Self::Any(met, _) => met.get(&key(path)) == Some(&Met::Other),
        }
    }
}

/// `last` holds the names of the last path; behind a directory an empty one stands
/// for what will be met in it.
fn ordered(last: &mut Vec<Vec<u8>>, path: &[u8], is_directory: bool) -> Result<(), String> {
    let wrong = || Err(format!("{} is not in its place", shown(path)));
    if path.is_empty() {
        if !last.is_empty() || !is_directory {
            return wrong();
        }
        last.push(Vec::new());
        return Ok(());
    }
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let Some((name, above)) = names.split_last() else { return wrong() };
    // All above are open directories, and the name rises.
    let is_below = last.len() > above.len()
        && above.iter().zip(last.iter()).all(|(name, open)| *name == open.as_slice());
    let rises = last.get(above.len()).is_some_and(|before| before.as_slice() < *name);
    if !is_below || !rises {
        return wrong();
    }
    last.truncate(above.len());
    last.push(name.to_vec());
    if is_directory {
        last.push(Vec::new());
    }
    Ok(())
}

fn any(
    met: &mut HashMap<[u8; 16], Met>,
    bytes: &mut usize,
    path: &[u8],
    is_directory: bool,
) -> Result<Vec<usize>, String> {
    if path.is_empty() && !is_directory {
        return Err("its top is no directory".to_owned());
    }
    let mut implied = Vec::new();
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
    let above = std::iter::once(0).filter(|_| !path.is_empty()).chain(ends);
    for end in above {
        let directory = path.get(..end).unwrap_or_default();
        match met.get(&key(directory)) {
            Some(Met::Other) => {
                let (path, directory) = (shown(path), shown(directory));
                return Err(format!("{path} lies below {directory}, which is no directory"));
            }
            Some(_) => {}
            None => {
                met.insert(key(directory), Met::Implied);
                implied.push(end);
            }
        }
    }
    let now = if is_directory { Met::Directory } else { Met::Other };
    match met.insert(key(path), now) {
        None => {}
        // Some programs tell of a directory more than once.
        Some(Met::Implied | Met::Directory) if is_directory => {}
        Some(_) => return Err(format!("{} is there twice", shown(path))),
    }
    *bytes = bytes.saturating_add(path.len() + implied.iter().sum::<usize>());
    if met.len() > ENTRIES_MAX || *bytes > PATH_BYTES_MAX {
        return Err(format!(
            "it has more than {ENTRIES_MAX} entries, or {} of paths; unpack it and take a \
             snapshot of that",
            crate::base::format::bytes(PATH_BYTES_MAX as u64)
        ));
    }
    Ok(implied)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FoundKind = FoundKind::Fifo;

    fn take(is_own: bool, entries: &[(&str, FoundKind)]) -> Result<Vec<usize>, String> {
        let mut names = Names::new(is_own);
        let mut last = Ok(Vec::new());
        for (path, kind) in entries {
            last = Ok(names.take(path.as_bytes(), kind)?);
        }
        last
    }

    #[test]
    fn our_archives_have_their_names_in_the_order_of_a_walk() {
        use FoundKind::Directory as D;
        let good = [("", D), ("a", D), ("a/b", D), ("a/b/c", FILE), ("a/d", FILE), ("a!", FILE)];
        assert!(take(true, &good).is_ok());
        for bad in [
            &[("a", D)][..],
            &[("", D), ("b", FILE), ("a", FILE)],
            &[("", D), ("a", FILE), ("a", FILE)],
            &[("", D), ("a", FILE), ("a/b", FILE)],
            &[("", D), ("a/b", FILE)],
            &[("", D), ("a", D), ("b", FILE), ("a/x", FILE)],
            &[("", D), ("", D)],
        ] {
            assert!(take(true, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn paths_that_would_fill_memory_are_refused() {
        let deep = |levels: usize, name: usize| vec!["d".repeat(name); levels].join("/");
        assert!(take(false, &[(&deep(1000, 200), FILE)]).is_ok());
        assert!(take(false, &[(&deep(4000, 10), FILE)]).is_ok());
        for is_own in [true, false] {
            let wrong = take(is_own, &[(&deep(2000, 250), FILE)]).unwrap_err();
            assert!(wrong.contains("too deep") && wrong.len() < 3000, "{wrong}");
        }
        let many: Vec<_> = (0..10).map(|n| (format!("{n}/{}", deep(900, 250)), FILE)).collect();
        let many: Vec<_> = many.iter().map(|(path, kind)| (path.as_str(), kind.clone())).collect();
        assert!(take(false, &many).unwrap_err().contains("512.0 MiB of paths"));
    }

    #[test]
    fn in_other_archives_each_name_comes_once_and_below_directories_only() {
        use FoundKind::Directory as D;
        assert_eq!(take(false, &[("a/b/c", FILE)]).unwrap(), [0, 1, 3]);
        let good = [("a/b", FILE), ("a", D), ("a", D), ("", D), ("c", FILE)];
        assert!(take(false, &good).is_ok());
        for bad in [
            &[("a", FILE), ("a", FILE)][..],
            &[("a", FILE), ("a", D)],
            &[("a", D), ("a", FILE)],
            &[("a/b", FILE), ("a", FILE)],
            &[("a", FoundKind::Symlink(b"..".to_vec())), ("a/b", FILE)],
            &[("", FILE)],
            &[("a", FILE), ("", FoundKind::HardLink(b"a".to_vec()))],
        ] {
            assert!(take(false, bad).is_err(), "{bad:?}");
        }
    }
}
