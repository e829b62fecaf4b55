//! The `config` file: format version, required features, chunker parameters.
//! It holds data only, never a path or anything executable.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::files::open_own;
use crate::base::format::one_line;
use crate::base::hash::Digest256;
use crate::base::id::{hex, parse_hex};
use crate::base::limits::CONFIG_BYTES_MAX;
use crate::chunking::ChunkerConfig;
use crate::crypto::{MasterKey, random};
use crate::repository::error::RepositoryError;
use crate::repository::layout::Layout;

/// The newest format that this program reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// What is fixed for the life of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Tells this repository from every other.
    pub id: Digest256,
    /// How content is cut into chunks.
    pub chunker: ChunkerConfig,
    /// Of an encrypted repository: what ties all of this to its master key.
    pub encryption: Option<Digest256>,
}

/// The file's form. Unknown keys are ignored: a change that older programs must
/// not overlook comes with a required feature.
#[derive(Debug, Serialize, Deserialize)]
struct ConfigFile {
    format_version: u32,
    #[serde(default)]
    required_features: Vec<String>,
    id: String,
    chunker: ChunkerTable,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encryption: Option<EncryptionTable>,
}

#[derive(Debug, Serialize, Deserialize)]
struct EncryptionTable {
    mark: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct ChunkerTable {
    algorithm: String,
    min_bytes: u32,
    avg_bytes: u32,
    max_bytes: u32,
}

/// Only what is needed to tell whether the rest can be understood.
#[derive(Debug, Deserialize)]
struct Versions {
    format_version: u32,
    #[serde(default)]
    required_features: Vec<String>,
}

const ALGORITHM: &str = "fastcdc-v2020";
/// The end of the name of a key file that is being written.
pub(crate) const TEMPORARY_KEY: &[u8] = b".new";
/// The feature of encrypted repositories.
const ENCRYPTION: &str = "encryption-1";

impl Config {
    /// Returns the configuration of a new repository.
    ///
    /// # Errors
    /// Fails if the system gives no randomness.
    pub fn generate(chunker: ChunkerConfig) -> Result<Self, RepositoryError> {
        Ok(Self { id: random()?, chunker, encryption: None })
    }

    /// The same, encrypted under a master key.
    #[must_use]
    pub fn encrypted(self, master: &MasterKey) -> Self {
        Self { encryption: Some(self.mark(master)), ..self }
    }

    /// What ties the configuration to the master key.
    pub(crate) fn mark(&self, master: &MasterKey) -> Digest256 {
        let ChunkerConfig { min_bytes, avg_bytes, max_bytes } = self.chunker;
        let mut text = self.id.to_vec();
        for number in [min_bytes, avg_bytes, max_bytes] {
            text.extend_from_slice(&number.to_be_bytes());
        }
        master.mark(&text)
    }

    /// Checks that a master key is that of the repository at `layout`.
    ///
    /// # Errors
    /// Fails if it is not, or the repository is not encrypted.
    pub fn check_key(&self, layout: &Layout, master: &MasterKey) -> Result<(), RepositoryError> {
        let path = layout.root().to_owned();
        match self.encryption {
            None => Err(RepositoryError::NotEncrypted { path }),
            Some(mark) if mark != self.mark(master) => Err(RepositoryError::ForeignKey { path }),
            Some(_) => Ok(()),
        }
    }

    /// Reads and checks the configuration of a repository.
    ///
    /// # Errors
    /// Fails if there is none, it is not valid, or a newer program wrote it.
    pub fn read(layout: &Layout) -> Result<Self, RepositoryError> {
        let path = layout.config();
        let text = read_bounded(layout)?;
        let invalid = |detail: String| RepositoryError::Config { path: path.clone(), detail };
        let versions: Versions =
            toml::from_str(&text).map_err(|error| invalid(one_line(error.message())))?;
        check_versions(&versions, layout)?;
        let file: ConfigFile =
            toml::from_str(&text).map_err(|error| invalid(one_line(error.message())))?;
        let digest = |text: &str, what: &str| {
            parse_hex(text).ok_or_else(|| invalid(format!("{what} is not 64 hexadecimal digits")))
        };
        let id = digest(&file.id, "the id")?;
        if file.chunker.algorithm != ALGORITHM {
            return Err(RepositoryError::Newer {
                path: layout.root().to_owned(),
                detail: one_line(&format!("the chunker {:?} is unknown", file.chunker.algorithm)),
            });
        }
        let chunker = ChunkerConfig {
            min_bytes: file.chunker.min_bytes,
            avg_bytes: file.chunker.avg_bytes,
            max_bytes: file.chunker.max_bytes,
        };
        chunker.validate().map_err(|error| invalid(error.to_string()))?;
        let is_encrypted = versions.required_features.iter().any(|feature| feature == ENCRYPTION);
        let mark = file.encryption.map(|table| digest(&table.mark, "the mark of the encryption"));
        let mark = mark.transpose()?;
        // Either alone was edited: whoever takes the encryption away wants to read
        // what comes next.
        if is_encrypted != mark.is_some() || (!is_encrypted && has_keys(layout)) {
            let detail = "what it says of encryption contradicts itself or the directory `keys`";
            return Err(invalid(detail.to_owned()));
        }
        Ok(Self { id, chunker, encryption: mark })
    }

    /// Writes the configuration whole or not at all.
    ///
    /// # Errors
    /// Fails if the directory cannot be written.
    pub fn write(&self, layout: &Layout) -> Result<(), RepositoryError> {
        let file = ConfigFile {
            format_version: FORMAT_VERSION,
            required_features: self.encryption.iter().map(|_| ENCRYPTION.to_owned()).collect(),
            id: hex(&self.id),
            chunker: ChunkerTable {
                algorithm: ALGORITHM.to_owned(),
                min_bytes: self.chunker.min_bytes,
                avg_bytes: self.chunker.avg_bytes,
                max_bytes: self.chunker.max_bytes,
            },
            encryption: self.encryption.map(|mark| EncryptionTable { mark: hex(&mark) }),
        };
        let path = layout.config();
        let text = toml::to_string(&file).map_err(|error| RepositoryError::Config {
            path: path.clone(),
            detail: error.to_string(),
        })?;
        let temporary = layout.tmp().join("config");
        let failed = |action| RepositoryError::io(action, temporary.clone());
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let mut output = open_own(&mut options, &temporary).map_err(failed("create"))?;
        output.write_all(text.as_bytes()).map_err(failed("write"))?;
        output.sync_all().map_err(failed("sync"))?;
        fs::rename(&temporary, &path).map_err(RepositoryError::io("create", &path))?;
        sync_directory(layout.root())
    }
}

fn read_bounded(layout: &Layout) -> Result<String, RepositoryError> {
    let path = layout.config();
    let file =
        open_own(fs::OpenOptions::new().read(true), &path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                RepositoryError::NotFound {
                    path: layout.root().to_owned(),
                    has_store: layout.db().is_dir(),
                }
            }
            _ => RepositoryError::Io { action: "open", path: path.clone(), source: error },
        })?;
    let mut bytes = Vec::new();
    file.take(CONFIG_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(RepositoryError::io("read", &path))?;
    let invalid =
        |detail: &str| RepositoryError::Config { path: path.clone(), detail: detail.to_owned() };
    if bytes.len() as u64 > CONFIG_BYTES_MAX {
        return Err(invalid("it is far too large"));
    }
    String::from_utf8(bytes).map_err(|_| invalid("it is not text"))
}

fn check_versions(versions: &Versions, layout: &Layout) -> Result<(), RepositoryError> {
    let newer = |detail: String| RepositoryError::Newer { path: layout.root().to_owned(), detail };
    if versions.format_version > FORMAT_VERSION {
        return Err(newer(format!(
            "it has format version {}, this program knows up to {FORMAT_VERSION}",
            versions.format_version
        )));
    }
    let unknown = versions.required_features.iter().filter(|feature| *feature != ENCRYPTION);
    let features: Vec<_> = unknown.map(|feature| format!("{feature:?}")).collect();
    if !features.is_empty() {
        return Err(newer(one_line(&format!("it requires {}", features.join(", ")))));
    }
    Ok(())
}

/// Whether key files lie in a repository, beside what was left of one that was never
/// whole. Those that lie elsewhere are none.
pub(crate) fn has_keys(layout: &Layout) -> bool {
    let is_whole =
        |entry: fs::DirEntry| !entry.file_name().as_encoded_bytes().ends_with(TEMPORARY_KEY);
    layout.check_keys().is_ok()
        && fs::read_dir(layout.keys()).is_ok_and(|entries| entries.flatten().any(is_whole))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), RepositoryError> {
    fs::File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(RepositoryError::io("sync", path))
}
