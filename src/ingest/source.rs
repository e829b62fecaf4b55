//! The plan of a snapshot: which real paths appear where in its tree.
//!
//! An absolute source keeps its absolute path, a relative one its relative path
//! (leading `..` dropped), and `.` is the root itself. Sources that lie in one
//! another merge.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::base::format::system_words;
use crate::base::name::EntryName;
use crate::base::progress::Monitor;
use crate::ingest::error::{IngestError, SourceError, SourceErrors};

/// A place in the snapshot's tree that is a source, or leads to one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// The real path behind it.
    pub(crate) path: PathBuf,
    /// Whether all of it is to be saved, or only what is below.
    pub(crate) is_source: bool,
    /// Places below it.
    pub(crate) children: BTreeMap<EntryName, Place>,
}

/// Plans a snapshot of `sources`: returns its root. Sources that are not there
/// become errors, unless it is the only one.
pub(crate) fn plan(
    sources: &[PathBuf],
    working_directory: &Path,
    errors: &SourceErrors,
    monitor: &dyn Monitor,
) -> Result<Place, IngestError> {
    let mut root = Place { path: working_directory.to_owned(), ..Place::default() };
    let mut found = 0;
    for source in sources {
        let real = real_path(working_directory, source);
        match fs::symlink_metadata(&real) {
            Ok(_) => {
                root.add(source, &real)?;
                found += 1;
            }
            Err(error) => {
                let path = real.as_os_str().as_encoded_bytes();
                let problem = format!("cannot be read: {}", system_words(&error));
                if let [_] = sources {
                    let path = path.to_vec();
                    return Err(IngestError::NoSource(SourceError { path, problem }.to_string()));
                }
                errors.add(path, &problem, monitor);
            }
        }
    }
    if found == 0 {
        return Err(IngestError::NoSource("none of the sources can be read".to_owned()));
    }
    // The root shows the metadata of what it stands for: `/` if any source is
    // absolute, the working directory otherwise.
    if !root.is_source && sources.iter().any(|source| source.is_absolute()) {
        root.path = PathBuf::from("/");
    }
    Ok(root)
}

/// The path of a source, without the `.` in it that names nothing. A slash at
/// its end stays: it says that a symlink is to be followed.
fn real_path(working_directory: &Path, source: &Path) -> PathBuf {
    let mut real: PathBuf = working_directory.join(source).components().collect();
    if source.as_os_str().as_encoded_bytes().ends_with(b"/") {
        real.push("");
    }
    real
}

impl Place {
    /// Adds a source under its path in the snapshot.
    fn add(&mut self, source: &Path, real: &Path) -> Result<(), IngestError> {
        let names = names_in_snapshot(source)?;
        let parents = real_parents(source, real, names.len());
        let mut place = self;
        for (name, parent) in names.into_iter().zip(parents) {
            place = place
                .children
                .entry(name)
                .or_insert_with(|| Self { path: parent, ..Self::default() });
        }
        place.is_source = true;
        place.path = real.to_owned();
        Ok(())
    }
}

/// The names under which a source appears: `..` takes back the name before it.
fn names_in_snapshot(source: &Path) -> Result<Vec<EntryName>, IngestError> {
    let mut names = Vec::new();
    for component in source.components() {
        match component {
            Component::Normal(name) => {
                let name = EntryName::new(name.as_encoded_bytes());
                names.push(name.map_err(|error| IngestError::NoSource(error.to_string()))?);
            }
            Component::ParentDir => {
                names.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(names)
}

/// The real path behind each of `count` names. Behind a `..` the names above
/// cannot be cut off the text, so the system is asked to go up instead.
fn real_parents(source: &Path, real: &Path, count: usize) -> Vec<PathBuf> {
    let plain = !source.components().any(|component| component == Component::ParentDir);
    let above = real.parent().unwrap_or(real);
    (1..=count)
        .map(|depth| match count - depth {
            0 => real.to_owned(),
            up if plain => real.ancestors().nth(up).unwrap_or(real).to_owned(),
            up => (1..up).fold(above.to_owned(), |path, _| path.join("..")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::progress::Silent;

    fn names(source: &str) -> Vec<String> {
        let names = names_in_snapshot(Path::new(source)).unwrap();
        names.iter().map(|name| name.as_os_str().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn sources_keep_their_paths() {
        assert_eq!(names("/etc/ssh"), ["etc", "ssh"]);
        assert_eq!(names("a/./b/"), ["a", "b"]);
        assert_eq!(names("../b"), ["b"]);
        assert_eq!(names("a/../b"), ["b"]);
        assert!(names(".").is_empty() && names("/").is_empty() && names("..").is_empty());
    }

    #[test]
    fn what_names_nothing_is_no_part_of_a_path() {
        let real = |source: &str| real_path(Path::new("/w"), Path::new(source));
        for (source, path) in [(".", "/w"), ("./a/./b", "/w/a/b"), ("a/", "/w/a/"), ("/", "/")] {
            assert_eq!(real(source).as_os_str(), path);
        }
        assert_eq!(real("../a").as_os_str(), "/w/../a");
    }

    #[test]
    fn real_paths_follow_the_names() {
        let real = |source: &str| real_parents(Path::new(source), &Path::new("/w").join(source), 2);
        assert_eq!(real("/a/b"), [Path::new("/a"), Path::new("/a/b")]);
        assert_eq!(real("a/b"), [Path::new("/w/a"), Path::new("/w/a/b")]);
    }

    #[test]
    fn nested_and_missing_sources_merge_into_one_plan() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("a/b")).unwrap();
        let sources = ["a", "a/b", "none"].map(PathBuf::from);
        let errors = SourceErrors::default();
        let root = plan(&sources, directory.path(), &errors, &Silent).unwrap();
        assert_eq!(errors.count(), 1);
        let (_, a) = root.children.first_key_value().unwrap();
        assert!(a.is_source && !root.is_source);
        assert!(a.children.first_key_value().unwrap().1.is_source);
        assert!(plan(&sources[2..], directory.path(), &errors, &Silent).is_err());
    }
}
