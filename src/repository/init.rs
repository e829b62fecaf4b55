//! Making a repository.
//!
//! The configuration is written last: only it makes a directory a repository, so
//! an `init` that was killed leaves none, and can be repeated.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::chunking::ChunkerConfig;
use crate::crypto::MasterKey;
use crate::repository::config::{Config, sync_directory};
use crate::repository::error::RepositoryError;
use crate::repository::keyring::{Keyring, create_directory};
use crate::repository::layout::Layout;
use crate::repository::lease::create_gate;
use crate::repository::writer::Writer;
use crate::store::rocks::RocksStore;

/// Bytes that a store without any content takes at most.
const EMPTY_STORE_BYTES_MAX: u64 = 1 << 20;

type WriteKey<'a> = &'a dyn Fn(&Keyring) -> Result<(), RepositoryError>;

impl Writer {
    /// Makes a repository in a directory that is absent or empty, or in which
    /// this was begun before and not ended.
    ///
    /// # Errors
    /// Fails if something else is there or the directory cannot be written.
    pub fn init(root: &Path, chunker: ChunkerConfig) -> Result<Config, RepositoryError> {
        Self::init_with(root, chunker, None)
    }

    /// The same for a repository that is encrypted under a master key; `write_key`
    /// makes the first key file of it.
    ///
    /// # Errors
    /// The same, and if `write_key` does.
    pub fn init_encrypted(
        root: &Path,
        chunker: ChunkerConfig,
        master: &MasterKey,
        write_key: &dyn Fn(&Keyring) -> Result<(), RepositoryError>,
    ) -> Result<Config, RepositoryError> {
        Self::init_with(root, chunker, Some((master, write_key)))
    }

    /// Says whether a repository can be made in a directory, before anybody is asked for
    /// a password of it.
    ///
    /// # Errors
    /// As [`Self::init`].
    pub fn check_vacant(root: &Path) -> Result<(), RepositoryError> {
        leftovers(&Layout::new(root)).map(drop)
    }

    fn init_with(
        root: &Path,
        chunker: ChunkerConfig,
        encryption: Option<(&MasterKey, WriteKey<'_>)>,
    ) -> Result<Config, RepositoryError> {
        let layout = Layout::new(root);
        let above = above_what_is_made(root);
        prepare(&layout)?;
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700);
        for directory in [layout.tmp(), layout.leases()] {
            builder.create(&directory).map_err(RepositoryError::io("create", &directory))?;
        }
        create_gate(&layout)?;
        drop(RocksStore::create(&layout.db(), &layout.tmp())?);
        let mut config = Config::generate(chunker)?;
        if let Some((master, write_key)) = encryption {
            create_directory(&layout)?;
            write_key(&Keyring::read(&layout)?)?;
            config = config.encrypted(master);
        }
        config.write(&layout)?;
        // A name is durable when the directory that holds it is synced.
        for directory in above {
            sync_directory(directory)?;
        }
        Ok(config)
    }
}

/// The directories in which names are new once `root` is made: its parent, and
/// each one above that up to the first that is there.
fn above_what_is_made(root: &Path) -> Vec<&Path> {
    let mut above = Vec::new();
    for directory in root.ancestors().skip(1) {
        above.push(if directory.as_os_str().is_empty() { Path::new(".") } else { directory });
        if directory.exists() {
            break;
        }
    }
    above
}

/// Leaves an empty directory that only its owner may enter.
fn prepare(layout: &Layout) -> Result<(), RepositoryError> {
    let root = layout.root();
    let Some(leftovers) = leftovers(layout)? else {
        let made = fs::DirBuilder::new().mode(0o700).recursive(true).create(root);
        return made.map_err(RepositoryError::io("create", root));
    };
    // Only now: keys without which a store could not be read must stay with it.
    for path in leftovers {
        fs::remove_dir_all(&path).map_err(RepositoryError::io("remove", &path))?;
    }
    let private = fs::Permissions::from_mode(0o700);
    fs::set_permissions(root, private).map_err(RepositoryError::io("protect", root))
}

/// What an `init` that did not end left in a directory, if there is one. Fails if there
/// is anything else in it.
fn leftovers(layout: &Layout) -> Result<Option<Vec<PathBuf>>, RepositoryError> {
    let root = layout.root();
    let occupied = |what| RepositoryError::Occupied { path: root.to_owned(), what };
    if layout.config().exists() {
        return Err(occupied("is a repository"));
    }
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RepositoryError::io("list", root)(error)),
    };
    let ours = [layout.db(), layout.tmp(), layout.leases(), layout.keys()];
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let paths = paths.collect::<Result<Vec<_>, _>>().map_err(RepositoryError::io("list", root))?;
    let (leftovers, others): (Vec<_>, Vec<_>) =
        paths.into_iter().partition(|path| ours.contains(path));
    // Said first: whoever has lost a `config` has to know what there is to be saved.
    if leftovers.iter().any(|path| holds_content(path)) {
        return Err(occupied("holds a store without its `config`"));
    }
    if !others.is_empty() {
        return Err(occupied("holds other files"));
    }
    Ok(Some(leftovers))
}

/// Whether there may be anything worth keeping in a part of a repository: a
/// store writes its content into files of its own, and flushes them when a
/// command ends.
fn holds_content(directory: &Path) -> bool {
    let Ok(entries) = fs::read_dir(directory) else { return true };
    let mut bytes = 0;
    for entry in entries.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "sst") {
            return true;
        }
        bytes += entry.metadata().map_or(u64::MAX / 2, |metadata| metadata.len());
    }
    bytes > EMPTY_STORE_BYTES_MAX
}
