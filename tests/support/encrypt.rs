//! Runs in which all repositories of the tests are encrypted
//! (`ICECORE_TEST_ENCRYPT=1`): how they are made, and who is given the password.

use std::path::Path;
use std::process::Command;

use icecore::crypto::{Credential, MasterKey};
use icecore::repository::{Keyring, Layout};

/// The password of encrypted repositories, the frozen one included.
pub(crate) const PASSWORD: &str = "correct horse";
const VARIABLE: &str = "ICECORE_PASSWORD";

/// Whether all repositories of this run are to be encrypted.
pub(crate) fn encrypts() -> bool {
    std::env::var_os("ICECORE_TEST_ENCRYPT").is_some_and(|value| value == "1")
}

/// The words that make a repository as this run wants it: the key costs little.
pub(crate) fn init_words() -> Vec<&'static str> {
    if encrypts() {
        vec!["init", "--encrypt", "--kdf-memory", "1MiB", "--kdf-passes", "1"]
    } else {
        vec!["init"]
    }
}

/// Whether a repository is encrypted.
pub(crate) fn is_encrypted(repository: &Path) -> bool {
    repository.join("keys").is_dir()
}

/// Gives a command the password of the repository that it is for, or sees to it that it
/// is given none.
pub(crate) fn give_password(command: &mut Command, is_needed: bool) {
    if is_needed {
        command.env(VARIABLE, PASSWORD);
    } else {
        command.env_remove(VARIABLE);
    }
}

/// Gives the password to any program of an encrypted run, for the `icecore` that it may
/// start, unless its environment is settled in that already.
pub(crate) fn give_password_by_default(command: &mut Command) {
    let is_settled = command.get_envs().any(|(name, _)| name == VARIABLE);
    if encrypts() && !is_settled {
        give_password(command, true);
    }
}

/// The key of a repository, if it is encrypted.
pub(crate) fn key_of(repository: &Path) -> Option<MasterKey> {
    let ring = Keyring::read(&Layout::new(repository.to_owned())).expect("keys can be read");
    let credential = Credential::Password(PASSWORD.as_bytes().to_vec().into());
    is_encrypted(repository).then(|| ring.unlock(&credential).expect("it opens").master)
}
