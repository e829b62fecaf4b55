//! Encrypted repositories: what opens them, what of them is in the clear, and what
//! whoever writes to their files can achieve.

mod keys;
mod memory;
mod mounting;
mod passed_on;
mod prompt;
mod rekey;
mod repairing;
mod replay;
mod same;
mod secrecy;
mod tampering;

use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use icecore::repository::Layout;
use icecore::store::rocks::RocksStore;
use icecore::store::{Family, Store as _};

use crate::support::command::{Outcome, run};
use crate::support::encrypt::give_password;
use crate::support::generate::file;
use crate::support::repo::plain_command;
use crate::support::scratch::Scratch;

/// An encrypted repository, and files with passwords and keys beside it.
struct Locked {
    scratch: Scratch,
}

impl Locked {
    /// Makes one with the password `first`.
    fn new() -> Self {
        let locked = Self { scratch: Scratch::new() };
        for (name, content) in [
            ("first", "first\n".to_owned()),
            ("second", "second\nof two lines\n".to_owned()),
            ("wrong", "wrong\n".to_owned()),
            ("key", "0123456789abcdef".repeat(4)),
            ("source/plans", "attack at dawn ".repeat(1000)),
        ] {
            locked.file(name, content.as_bytes());
        }
        locked.run("first", &["init", "--encrypt", "--kdf-memory", "1MiB"]).expect(0);
        locked
    }

    fn place(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    fn file(&self, name: &str, content: &[u8]) {
        let path = self.place(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        file(&path, content);
        // Of secrets that everybody can read it tells.
        let permissions = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, permissions).unwrap();
    }

    fn repo(&self) -> PathBuf {
        self.place("repo")
    }

    /// Its store, for whoever needs no password to write there.
    fn store(&self) -> RocksStore {
        let layout = Layout::new(self.repo());
        RocksStore::open(&layout.db(), &layout.tmp()).unwrap()
    }

    /// A command without any password.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = plain_command();
        give_password(&mut command, false);
        command.current_dir(self.scratch.path()).arg("-r").arg(self.repo()).args(words);
        command
    }

    /// Runs a command with the password of that file.
    fn run(&self, password: &str, words: &[&str]) -> Outcome {
        run(self.command(words).args(["--password-file", password]))
    }

    /// Takes a snapshot and returns its id.
    fn create(&self, options: &[&str]) -> String {
        let words = [&["create", "--json", "source"], options].concat();
        let summary = self.run("first", &words).expect(0).last_json_line();
        crate::support::repo::id_of(&summary)
    }
}

/// The records of a family whose keys begin so.
fn records(store: &RocksStore, family: Family, prefix: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        found.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    store.scan(family, &[], visit).unwrap();
    found.retain(|(key, _)| key.starts_with(prefix.as_bytes()));
    found
}
