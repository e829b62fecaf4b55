//! Key files: the master key, sealed under what a password or a key makes.
//!
//! ```toml
//! version = 1
//! kind = "password"                  # or "key"
//! label = "admin"                    # what people call it
//! created = "2026-11-21T13:00:00Z"
//! salt = "64 hexadecimal digits"
//! memory_kib = 65536                 # the cost of Argon2id; of passwords only
//! passes = 3
//! lanes = 4
//! wrapped = "144 hexadecimal digits" # XAES-256-GCM: nonce, sealed master key, tag
//! ```
//!
//! All that stands before `wrapped` is bound to it, so a file whose cost or label
//! was edited opens with no password.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use hkdf::Hkdf;
use sha2::Sha256;

use crate::base::codec::Encoder;
use crate::base::id::{hex, parse_hex, parse_hex_bytes};
use crate::crypto::kdf::{KdfCost, KdfError};
use crate::crypto::master::MasterKey;
use crate::crypto::secret::{KEY_BYTES, RandomnessError, Secret, random};
use crate::crypto::xaes::{OVERHEAD_BYTES, SealError, SealingKey};

/// Bytes of a key file at most.
pub const KEY_FILE_BYTES_MAX: u64 = 16 << 10;
/// Bytes of a label at most.
const LABEL_BYTES_MAX: usize = 256;
const VERSION: u32 = 1;
const TAG: &[u8] = b"icecore key 1\0";
const LABEL_OF_KEYS: &[u8] = b"icecore key file 1";

/// What opens a key file.
pub enum Credential {
    /// Whatever a person can remember.
    Password(Zeroizing<Vec<u8>>),
    /// 32 random bytes.
    Key(Secret),
}

/// Which credential opens a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// A password.
    Password,
    /// A key of 32 bytes.
    Key,
}

impl KeyKind {
    /// Its name in files and lists.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Key => "key",
        }
    }
}

impl Credential {
    /// What it opens.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        match self {
            Self::Password(_) => KeyKind::Password,
            Self::Key(_) => KeyKind::Key,
        }
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind().name())
    }
}

/// A key file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// What opens it.
    pub kind: KeyKind,
    /// What people call it.
    pub label: String,
    /// When it was made, RFC 3339.
    pub created: String,
    cost: Option<KdfCost>,
    salt: [u8; 32],
    wrapped: [u8; KEY_BYTES + OVERHEAD_BYTES],
}

/// Why a key file cannot be made, understood or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It is no key file.
    #[error("it is no key file: {0}")]
    Form(String),
    /// A newer program made it.
    #[error("it has version {0}, which needs a newer icecore")]
    Newer(u32),
    /// Trying it is too costly, or too cheap.
    #[error(transparent)]
    Cost(#[from] KdfError),
    /// The credential is not the one that it was made with.
    #[error("it does not open")]
    Wrong,
    /// The system gives no randomness.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
}

#[derive(Serialize, Deserialize)]
struct Form {
    version: u32,
    kind: KeyKind,
    label: String,
    created: String,
    salt: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory_kib: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passes: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lanes: Option<u32>,
    wrapped: String,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl KeyFile {
    /// Wraps a master key. `cost` counts for passwords alone.
    ///
    /// # Errors
    /// Fails if the cost is out of bounds or there is no randomness.
    pub fn wrap(
        master: &MasterKey,
        credential: &Credential,
        cost: KdfCost,
        label: &str,
        created: &str,
    ) -> Result<Self, KeyFileError> {
        if !Self::is_label(label) {
            let text = format!("a label has at most {LABEL_BYTES_MAX} bytes and no control codes");
            return Err(KeyFileError::Form(text));
        }
        let kind = credential.kind();
        let mut file = Self {
            kind,
            label: label.to_owned(),
            created: created.to_owned(),
            cost: (kind == KeyKind::Password).then_some(cost),
            salt: random()?,
            wrapped: [0; KEY_BYTES + OVERHEAD_BYTES],
        };
        let mut wrapped = Vec::with_capacity(file.wrapped.len());
        let plain = |target: &mut Vec<u8>| target.extend_from_slice(master.secret().as_bytes());
        let sealed = file.wrapping_key(credential)?.seal(&file.bound(), &mut wrapped, plain);
        match sealed {
            Ok(()) => {}
            Err(SealError::Randomness(error)) => return Err(error.into()),
            Err(_) => return Err(KeyFileError::Wrong),
        }
        file.wrapped = wrapped.try_into().map_err(|_| KeyFileError::Wrong)?;
        Ok(file)
    }

    /// Whether people may call a key file so: at most 256 bytes, no control codes.
    #[must_use]
    pub fn is_label(text: &str) -> bool {
        text.len() <= LABEL_BYTES_MAX && !text.chars().any(char::is_control)
    }

    /// Returns the master key, if the credential is the right one.
    ///
    /// # Errors
    /// Fails if it is not, or the file was changed.
    pub fn unwrap(&self, credential: &Credential) -> Result<MasterKey, KeyFileError> {
        if credential.kind() != self.kind {
            return Err(KeyFileError::Wrong);
        }
        let opened = self.wrapping_key(credential)?.open(&self.bound(), &self.wrapped);
        let plain = Zeroizing::new(opened.map_err(|_| KeyFileError::Wrong)?);
        let mut key: [u8; KEY_BYTES] =
            plain.as_slice().try_into().map_err(|_| KeyFileError::Wrong)?;
        Ok(MasterKey::new(Secret::take(&mut key)))
    }

    /// The cost of trying a password; none for a key.
    #[must_use]
    pub const fn cost(&self) -> Option<KdfCost> {
        self.cost
    }

    fn wrapping_key(&self, credential: &Credential) -> Result<SealingKey, KeyFileError> {
        let secret = match (credential, self.cost) {
            (Credential::Password(password), Some(cost)) => cost.derive(password, &self.salt)?,
            (Credential::Key(key), None) => {
                let mut derived = Zeroizing::new([0; KEY_BYTES]);
                Hkdf::<Sha256>::new(Some(&self.salt), key.as_bytes())
                    .expand(LABEL_OF_KEYS, &mut *derived)
                    .map_err(|_| KeyFileError::Wrong)?;
                Secret::take(&mut derived)
            }
            _ => return Err(KeyFileError::Wrong),
        };
        Ok(SealingKey::new(&secret))
    }

    fn bound(&self) -> Vec<u8> {
        let cost = self.cost.unwrap_or(KdfCost { memory_kib: 0, passes: 0, lanes: 0 });
        let mut encoder = Encoder::new();
        encoder.raw(TAG);
        for text in [self.kind.name(), &self.label, &self.created] {
            encoder.bytes(text.as_bytes());
        }
        encoder.raw(&self.salt);
        for number in [cost.memory_kib, cost.passes, cost.lanes] {
            encoder.number(number.into());
        }
        encoder.finish()
    }

    /// Returns the file's text.
    ///
    /// # Errors
    /// Fails if it cannot be written as text, which no value leads to.
    pub fn to_text(&self) -> Result<String, KeyFileError> {
        let form = Form {
            version: VERSION,
            kind: self.kind,
            label: self.label.clone(),
            created: self.created.clone(),
            salt: hex(&self.salt),
            memory_kib: self.cost.map(|cost| cost.memory_kib),
            passes: self.cost.map(|cost| cost.passes),
            lanes: self.cost.map(|cost| cost.lanes),
            wrapped: hex(&self.wrapped),
        };
        toml::to_string(&form).map_err(|error| KeyFileError::Form(error.to_string()))
    }

    /// Understands a file's text. Its cost is bounded.
    ///
    /// # Errors
    /// Fails on anything that `to_text` would not have written.
    pub fn from_text(text: &str) -> Result<Self, KeyFileError> {
        // The words of the parser quote what is there, which may be anything.
        let invalid = |error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            KeyFileError::Form(format!("its text makes no sense from line {line} on"))
        };
        let Version { version } = toml::from_str(text).map_err(invalid)?;
        if version != VERSION {
            return Err(KeyFileError::Newer(version));
        }
        let form: Form = toml::from_str(text).map_err(invalid)?;
        let cost = match (form.memory_kib, form.passes, form.lanes) {
            (Some(memory_kib), Some(passes), Some(lanes)) => {
                let cost = KdfCost { memory_kib, passes, lanes };
                cost.validate()?;
                Some(cost)
            }
            _ => None,
        };
        let wrong = |what: &str| KeyFileError::Form(format!("its {what} makes no sense"));
        if cost.is_some() != (form.kind == KeyKind::Password) {
            return Err(wrong("cost"));
        }
        if form.label.len() > LABEL_BYTES_MAX || form.created.len() > LABEL_BYTES_MAX {
            return Err(wrong("label"));
        }
        Ok(Self {
            kind: form.kind,
            label: form.label,
            created: form.created,
            cost,
            salt: parse_hex(&form.salt).ok_or_else(|| wrong("salt"))?,
            wrapped: parse_hex_bytes(&form.wrapped)
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or_else(|| wrong("wrapped key"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: KdfCost = KdfCost { memory_kib: 1024, passes: 1, lanes: 1 };

    fn password(text: &str) -> Credential {
        Credential::Password(Zeroizing::new(text.as_bytes().to_vec()))
    }

    fn key(byte: u8) -> Credential {
        Credential::Key(Secret::take(&mut [byte; 32]))
    }

    fn made(credential: &Credential) -> (MasterKey, KeyFile) {
        let master = MasterKey::generate().unwrap();
        let file = KeyFile::wrap(&master, credential, CHEAP, "me", "2026-11-21T13:00:00Z").unwrap();
        (master, file)
    }

    fn opens(file: &KeyFile, credential: &Credential) -> Option<[u8; 32]> {
        match file.unwrap(credential) {
            Ok(master) => Some(*master.secret().as_bytes()),
            Err(KeyFileError::Wrong) => None,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn only_the_right_credential_opens_a_key_file() {
        for credential in [password("secret"), key(7)] {
            let (master, file) = made(&credential);
            let read = KeyFile::from_text(&file.to_text().unwrap()).unwrap();
            assert_eq!(read, file);
            assert_eq!(opens(&read, &credential), Some(*master.secret().as_bytes()));
            for wrong in [password("Secret"), password(""), key(8)] {
                assert_eq!(opens(&read, &wrong), None);
            }
            assert!(!file.to_text().unwrap().contains(&hex(master.secret().as_bytes())));
        }
    }

    #[test]
    fn whatever_is_edited_in_a_key_file_makes_it_open_with_nothing() {
        let credential = password("secret");
        let text = made(&credential).1.to_text().unwrap();
        for (from, to) in [
            ("\"me\"", "\"you\""),
            ("2026-11-21", "2026-11-20"),
            ("passes = 1", "passes = 2"),
            ("memory_kib = 1024", "memory_kib = 1025"),
            ("lanes = 1", "lanes = 2"),
        ] {
            assert!(text.contains(from), "{text}");
            let file = KeyFile::from_text(&text.replace(from, to)).unwrap();
            assert_eq!(opens(&file, &credential), None, "{to}");
        }
        for (from, to) in [
            ("memory_kib = 1024", "memory_kib = 4194303000"),
            ("passes = 1", "passes = 4000000"),
            ("passes = 1\n", ""),
            ("kind = \"password\"", "kind = \"key\""),
            ("version = 1", "version = 2"),
            ("wrapped = \"", "wrapped = \"0"),
            ("salt = \"", "salt = \"\u{e9}"),
        ] {
            let edited = text.replace(from, to);
            assert_ne!(edited, text);
            assert!(KeyFile::from_text(&edited).is_err(), "{to}");
        }
        assert!(KeyFile::from_text("").is_err());
    }
}
